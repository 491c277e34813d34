"""Study 10: the variational autoencoder (VAE).    python examples/10_variational_autoencoder.py --help

A VAE (Kingma and Welling 2014) gives each image a distribution over codes instead of one code, and penalizes its distance
from N(0, I). Two terms, two sums; "sum or mean?" is the question most often asked about it. The answer: sum both,
over pixels and latent dimensions, then average over images. Section 3 shows what the other answer does.
"""

import argparse
from pathlib import Path

import numpy as np

import tinyae as ta

options = argparse.ArgumentParser(description="A variational autoencoder, with units.")
options.add_argument("--device", choices=("cpu", "gpu", "auto"), default="cpu", help="where to compute")
options.add_argument("--epochs", type=int, default=15, help="passes over the images for each model (default: 15)")
options.add_argument("--seed", type=int, default=0, help="for weights, noise and the order of images (default: 0)")
options.add_argument("--data", default="fashion-mini", help="images: a name from `tinyae data`, or a file of your own")
options.add_argument("--out", type=Path, metavar="DIR", help="write the pictures there (default: write nothing)")
args = options.parse_args()
try:
    if args.epochs < 1 or args.seed < 0:
        raise ValueError("--epochs must be at least 1 and --seed at least 0")
    data = ta.data.load(args.data)
    pixels = data.train.flat.shape[1]
    if data.image_shape is None or pixels > 4096:
        raise ValueError(f"this study takes images of up to 4096 numbers, which {data.name} does not hold")
    if min(part.x.min() for part in (data.train, data.test)) < 0 or max(p.x.max() for p in (data.train, data.test)) > 1:
        raise ValueError(f"this study takes values in [0, 1], those of {data.name} are not")
    device = ta.backend.backend_named(args.device).name
except (ValueError, OSError, ta.backend.DeviceError) as error:
    options.error(str(error))
K = 20  # latent dimensions

print("1. ONE IMAGE, ONE CODE, BY HAND\n")
rng = np.random.default_rng(args.seed)
model = ta.models.variational_autoencoder(data.example_shape, (400,), K, sample="image", generator=rng).to(device)
x = ta.Tensor(data.test.x[:1]).to(device)
q = model.posterior(x)  # the distribution over codes: means and log-variances, (1, K) each
mean, log_variance = q.mean.numpy()[0], q.log_variance.numpy()[0]
kl = 0.5 * np.sum(mean**2 + np.exp(log_variance) - 1 - log_variance)
print(f"KL(q(z|x) || N(0, I)) by hand: {kl:.6f} nats, summed over {K} latent dimensions; q.kl(): {q.kl().item():.6f}")
z = q.sample(np.random.default_rng(1))  # mean + std * noise, differentiable in both
print(
    f"-log p(x|z) for one z: {model.likelihood.nats(model.decoder(z), x).item():.2f} nats, summed over {pixels} pixels"
)
print(f"likelihood {model.likelihood.name}: {model.likelihood.meaning}")


def train(name: str, **settings) -> ta.models.VariationalAutoencoder:
    """Train a VAE on the training images and print a line for some of the epochs."""
    rng = np.random.default_rng(args.seed)
    model = ta.models.variational_autoencoder(
        data.example_shape, (400,), sample="image", generator=rng, **settings
    ).to(device)  # fmt: skip

    def report(epoch: ta.training.Epoch) -> None:
        row = epoch.row
        if epoch.number in (1, args.epochs) or epoch.number % 5 == 0:
            print(
                f"{name}, epoch {epoch.number:3d}: test reconstruction {row['test_reconstruction']:8.2f}"
                f" + KL {row['test_kl']:6.2f} {model.loss_unit}",
                flush=True,
            )

    settings = {"epochs": args.epochs, "batch_size": 64, "seed": args.seed, "callbacks": [report], "progress": False}
    histories[name] = ta.fit(model, data, data, **settings)
    return model


histories: dict[str, ta.History] = {}
print(f"\n2. TRAINING: {data.name}, {pixels}-400-{K}, {args.epochs} epochs\n")
model = train("sums", latent_size=K)
print(model.latent_report(data.test.x))

print(
    f"\n3. THE OTHER ANSWER: means over {pixels} pixels and over {K} latent dimensions, which is beta = {pixels / K:.3g}\n"
)
collapsed = train("means", latent_size=K, beta=pixels / K)
report = collapsed.latent_report(data.test.x)
print(report)
if report.warning:
    print("warning:", report.warning)

print("\n4. TWO LATENT DIMENSIONS, drawn as a plane\n")
plane = train("plane", latent_size=2)
print(plane.latent_report(data.test.x))

print("\n5. WHAT A NUMBER OF NATS MEANS depends on the likelihood; these two cannot be compared\n")
gray = ta.evaluate(model, data.test.x)["loss"]
print(f"gray-bce:             {gray:9.2f} nats per image, {model.likelihood.meaning}")
density = train("continuous-bernoulli", latent_size=K, likelihood="continuous-bernoulli")
print(
    f"continuous-bernoulli: {ta.evaluate(density, data.test.x)['loss']:9.2f} nats per image, {density.likelihood.meaning}"
)

print(
    "\n6. DISCRETE CODES: 16 of 64 vectors per image (VQ-VAE; `tinyae train vqvae`; with classes: CVAE, `tinyae train cvae`)\n"
)
rng = np.random.default_rng(args.seed)
quantized = ta.models.vq_autoencoder(data.example_shape, sample="image", generator=rng).to(device)
ta.fit(quantized, data, epochs=args.epochs, batch_size=64, seed=args.seed, progress=False)
print("\n".join(quantized.report(data.test)))
print(f"test squared error {ta.evaluate(quantized, data.test.x)['squared_error']:.2f} per image")

if args.out:
    for name, drawn in (("sums", model), ("plane", plane)):
        for file in ta.training.draw_run(drawn, data, histories[name], args.out / name):
            print("picture:", file)
    print("picture:", ta.training.pictures.draw_samples(collapsed, args.out / "samples_with_means.png"))
