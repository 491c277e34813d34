"""Study 15: conditional (CVAE) and vector-quantized (VQ-VAE) autoencoders.    python examples/15_classes_and_codebooks.py --help

Two variants of the variational autoencoder. The conditional one is given the class of its input, so its code only has to hold
the style: slant, thickness, size. The vector-quantized one has discrete codes, whose size can be counted in bits.
"""

import argparse
from pathlib import Path

import numpy as np

import tinyae as ta

options = argparse.ArgumentParser(description="Conditional (CVAE) and vector-quantized (VQ-VAE) autoencoders.")
options.add_argument("--device", choices=("cpu", "gpu", "auto"), default="cpu", help="where to compute")
options.add_argument("--epochs", type=int, default=40, help="passes over the images for each model (default: 40)")
options.add_argument("--seed", type=int, default=0, help="for weights, noise and the order of images (default: 0)")
options.add_argument(
    "--data", default="optdigits", help="labeled images: a name from `tinyae data`, or a file of your own"
)
options.add_argument("--out", type=Path, metavar="DIR", help="write the pictures there (default: write nothing)")
args = options.parse_args()
try:
    if args.epochs < 1 or args.seed < 0:
        raise ValueError("--epochs must be at least 1 and --seed at least 0")
    data = ta.data.load(args.data)
    if data.image_shape is None or not data.has_labels or data.train.x.min() < 0 or data.train.x.max() > 1:
        raise ValueError(f"this study takes labeled images with values in [0, 1], {data.name} is not that")
    device = ta.backend.backend_named(args.device).name
except (ValueError, OSError, ta.backend.DeviceError) as error:
    options.error(str(error))
shape, classes = data.example_shape, int(data.train.y.max()) + 1
fitting = {"epochs": args.epochs, "batch_size": 64, "seed": args.seed, "progress": False}
histories = {}

print(f"1. WHAT IS THE CLASS WORTH? {data.name}, two latent dimensions\n")
# The same network twice, once with the class (one-hot) appended to the sample and to the code.
common = {"sizes": (200,), "latent_size": 2, "sample": "image"}
plain = ta.models.variational_autoencoder(shape, generator=np.random.default_rng(args.seed), **common).to(device)
conditional = ta.models.conditional_variational_autoencoder(
    shape, classes, generator=np.random.default_rng(args.seed), **common
).to(device)
print("             reconstruction        KL       sum, all in nats per image")
for words, model in (("plain", plain), ("conditional", conditional)):
    histories[words] = ta.fit(model, data, data, **fitting)
    scores = ta.evaluate(model, data.test)
    print(f"{words:12} {scores['reconstruction']:14.2f} {scores['kl']:9.2f} {scores['loss']:9.2f}")
print(f"the class itself costs {np.log(classes):.2f} nats if all classes are equally frequent")

# What is left in the code? If it held nothing of the class, 1 in 10 of the nearest codes would have the same class.
for words, model in (("plain", plain), ("conditional", conditional)):
    codes = [model.encode(model.batch(part)) for part in (data.train, data.test)]
    near, _ = ta.models.nearest(codes[0], codes[1], 8)
    print(
        f"{words:12} {ta.models.same_class_share(data.train.y, data.test.y, near):6.1%} of the 8 nearest codes have the same class"
    )

print("\n2. DISCRETE CODES: 8 positions, each holding one of 32 vectors\n")
rng = np.random.default_rng(args.seed)
quantized = ta.models.vq_autoencoder(
    shape, (200,), positions=8, codebook_size=32, code_features=4, sample="image", generator=rng
).to(device)  # fmt: skip
histories["vq"] = ta.fit(quantized, data, data, **fitting)
print("\n".join(quantized.report(data.test)))
print(f"test squared error {ta.evaluate(quantized, data.test.x)['squared_error']:.2f} per image")
numbers = quantized.indices(data.test.x[:1])
print(f"the code of the first test image is {numbers[0].tolist()}")

# Straight through: the backward pass skips the choice and passes the decoder's gradient to the encoder unchanged.
x = ta.Tensor(data.test.x[:1]).to(device)
z, e = quantized.eval().quantized(x)
at_vectors, at_encoder = ta.grad(quantized.reconstruction.loss(quantized.decoder(e), x), [e, z])
print(
    f"gradients at the vectors and at the encoder's output are equal: {np.array_equal(at_vectors.numpy(), at_encoder.numpy())}"
)

print("\n3. GENERATING IMAGES from a prior over codes\n")
# How often does each code occur? 32**8 are too many to count. In a tree, each position depends on one other: pairs can be counted.
held_out = quantized.indices(data.test.x)
tree = quantized.fit_prior(data.train.x).prior
apart = np.stack([np.bincount(column, minlength=32) + 1 / 32 for column in quantized.indices(data.train.x).T], axis=1)
alone = np.log((apart / apart.sum(axis=0))[held_out, np.arange(8)]).sum(axis=1)
for words, nats in (
    ("all equally likely", 8 * np.log(32)),
    ("independent", -alone.mean()),
    ("tree of pairs", -tree.log_prob(held_out).mean()),
):
    print(f"{words:20} {nats / np.log(2):6.2f} bits per test code")

if args.out:
    args.out.mkdir(parents=True, exist_ok=True)
    # For comparison with conditional/codes.png: without the class as an input, the codes form clusters by class.
    print("picture:", ta.training.pictures.draw_codes(plain, data, args.out / "codes_plain.png"))
    for name, model in (("conditional", conditional), ("vq", quantized)):
        (args.out / name).mkdir(parents=True, exist_ok=True)
        for file in ta.training.draw_run(model, data, histories[name], args.out / name):
            print("picture:", file)
