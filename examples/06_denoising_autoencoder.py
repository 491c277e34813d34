"""Study 6: the denoising autoencoder.    python examples/06_denoising_autoencoder.py --help

Corrupt an image and train the network to output the clean one (Vincent et al. 2008). Copying, which an autoencoder with more
latent dimensions than pixels can learn, is then wrong. Four models that differ only in their training noise reconstruct
the same corrupted test images.
"""

import argparse
from pathlib import Path

import numpy as np

import tinyae as ta
from tinyae.training.pictures import draw_denoising

LEVELS = (0.0, 0.1, 0.25, 0.5)  # fraction of the pixels that are set to 0

options = argparse.ArgumentParser(description="Four overcomplete autoencoders, trained on images with missing pixels.")
options.add_argument("--device", choices=("cpu", "gpu", "auto"), default="cpu", help="where to compute")
options.add_argument("--epochs", type=int, default=8, help="passes over the images for each model (default: 8)")
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
shape, K = data.example_shape, 1000

print("1. THE NOISE\n")
# A noise layer draws anew whenever it is called in training mode, from the generator it was given.
noise = ta.nn.MaskingNoise(0.5, np.random.default_rng(args.seed))
few = ta.Tensor(data.train.x[:100])
first, second = noise(few), noise(few)
print(f"{noise}: {np.mean(first.numpy() != second.numpy()):.1%} of the values differ between two presentations")
print(f"in evaluation mode: {np.mean(noise.eval()(few).numpy() != few.numpy()):.1%} differ from the clean images")

print(f"\n2. FOUR TRAININGS: {data.name}, {pixels}-{K}-{pixels}, masking noise, {args.epochs} epochs each\n")
models = {}
for level in LEVELS:
    # All models use the same seed, so they start from the same weights. Level 0 is the plain autoencoder.
    model = ta.models.denoising_autoencoder(
        shape, K, corruption="masking", level=level, sample="image", generator=np.random.default_rng(args.seed)
    ).to(device)
    history = ta.fit(model, data, epochs=args.epochs, batch_size=128, seed=args.seed, progress=False)
    models[level] = model
    seconds = sum(history["seconds"])
    print(
        f"trained with {level:3.0%} masked: loss {history['train_loss'][-1]:7.2f} {model.loss_unit}, {seconds:.0f} s",
        flush=True,
    )

print("\n3. RECONSTRUCTING CORRUPTED TEST IMAGES, squared error per image against the clean image\n")
# A row is one set of corrupted test images; all models see the same ones.
print(f"{'masked':>8}{'input':>10}" + "".join(f"{f'trained {level:.0%}':>14}" for level in LEVELS))
errors = {}
for level in LEVELS:
    damaged = ta.nn.MaskingNoise(level).corrupt(data.test.x, np.random.default_rng(args.seed + 1))
    row = [damaged, *(model.reconstruct(damaged) for model in models.values())]
    errors[level] = [float(np.square(images - data.test.x).sum()) / len(damaged) for images in row]
    print(f"{level:8.0%}{errors[level][0]:10.2f}" + "".join(f"{error:14.2f}" for error in errors[level][1:]))
as_it_is, plain, *_, denoising = errors[0.5]
print(
    f"\nhalf of the pixels missing: {as_it_is:.2f} for the input itself; {plain:.2f} with the plain autoencoder; "
    f"{denoising:.2f} with the one trained for it"
)
# The first row is instructive too. Each model expects the corruption it was trained with: on clean images, the sums in its first
# layer are larger than ever in training, and its reconstructions are worse than those of corrupted images.

print("\n4. EMPHASIS: alpha weights the corrupted pixels in the loss, beta the others (Vincent et al. 2010)\n")
damaged, hit = noise.corrupt_with_mask(data.test.x, np.random.default_rng(args.seed + 1))
for alpha, beta in ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0)):
    model = ta.models.denoising_autoencoder(
        shape, K, level=0.5, alpha=alpha, beta=beta, sample="image", generator=np.random.default_rng(args.seed)
    ).to(device)
    ta.fit(model, data, epochs=max(1, args.epochs // 4), batch_size=128, seed=args.seed, progress=False)
    squares = np.square(model.reconstruct(damaged) - data.test.x)
    print(
        f"alpha {alpha:g}, beta {beta:g}: mean squared error of corrupted pixels {squares[hit == 1].mean():.4f}, "
        f"of the others {squares[hit == 0].mean():.4f}"
    )

if args.out:
    for file in ta.training.draw_run(models[0.5], data, history, args.out):
        print("picture:", file)
    draw_denoising(models[0.5], data, args.out, levels=LEVELS[1:])  # again, at the levels of the table
    plain_filters = ta.training.pictures.first_layer_filters(models[0.0], data.image_shape)
    figure = ta.plots.filters(*plain_filters, title="First-layer filters, trained without noise")
    print("picture:", ta.plots.save_figure(figure, args.out / "filters_plain.png"))
