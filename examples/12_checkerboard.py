"""Study 12: checkerboard artifacts, measured.    python examples/12_checkerboard.py --help

A decoder enlarges small images, and some ways of doing that leave a pattern with the stride as its period (Odena,
Dumoulin and Olah 2016). How often is each pixel written, what does that do to a flat image, and what is left of the pattern
after training? Five decoders of equal size: same encoder, code, data, epochs and seed, and about the same number of weights.
"""

import argparse
from pathlib import Path

import numpy as np

import tinyae as ta
from tinyae import nn
from tinyae.inspect import checkerboard_score

options = argparse.ArgumentParser(description="Five ways to upsample an image, and the pattern that each leaves.")
options.add_argument("--device", choices=("cpu", "gpu", "auto"), default="cpu", help="where to compute")
options.add_argument("--epochs", type=int, default=8, help="passes over the images for each decoder (default: 8)")
options.add_argument("--seed", type=int, default=0, help="for weights and the order of images (default: 0)")
options.add_argument("--data", default="fashion-mini", help="images: a name from `tinyae data`, or files of your own")
options.add_argument("--out", type=Path, metavar="DIR", help="write the pictures there (default: write nothing)")
args = options.parse_args()
try:
    if args.epochs < 1 or args.seed < 0:
        raise ValueError("--epochs must be at least 1 and --seed at least 0")
    data = ta.data.load(args.data)
    if data.image_shape is None or min(data.image_shape[:2]) < 8:
        raise ValueError(f"this study takes images of at least 8 x 8 pixels, which {data.name} does not hold")
    if min(part.x.min() for part in (data.train, data.test)) < 0 or max(p.x.max() for p in (data.train, data.test)) > 1:
        raise ValueError(f"this study takes values in [0, 1], those of {data.name} are not")
    device = ta.backend.backend_named(args.device).name
except (ValueError, OSError, ta.backend.DeviceError) as error:
    options.error(str(error))

print("1. HOW OFTEN A TRANSPOSED CONVOLUTION WRITES EACH PIXEL\n")
overlaps = {f"kernel {k}, stride 2": nn.overlap_counts(6, k, 2, "same") for k in (3, 4, 5)}
for name, counts in overlaps.items():
    rows = "".join(f"   {row}\n" for row in counts[4:8, 4:8])
    print(f"{name}, away from the borders:\n{rows}")

print("2. A FLAT INPUT, RANDOM WEIGHTS: a flat input should stay flat\n")
# A pixel is the sum of those weights whose taps can reach it. Equal counts are not equal sums: four independent sums
# within 2 x 2 pixels have 1 - 1/4 of their variance there. Only the first two are flat whatever the weights.
flat = np.ones((1, 16, 16, 8), "float32")


def enlargers(generator):
    """The five ways to upsample, one layer each, 8 channels to 1."""
    return {
        "nearest, then convolve": (nn.Upsample(2), nn.Conv2d(8, 1, 3, padding=1, generator=generator)),
        "bilinear, then convolve": (nn.Upsample(2, "bilinear"), nn.Conv2d(8, 1, 3, padding=1, generator=generator)),
        "transposed, kernel 3": (nn.ConvTranspose2d(8, 1, 3, 2, 1, 1, generator=generator),),
        "transposed, kernel 4": (nn.ConvTranspose2d(8, 1, 4, 2, 1, generator=generator),),
        "convolve, pixel shuffle": (nn.Conv2d(8, 4, 3, padding=1, generator=generator), nn.PixelShuffle(2)),
    }


drawn = [enlargers(np.random.default_rng(args.seed + i)) for i in range(200)]
for name in drawn[0]:
    outputs = np.concatenate([nn.Sequential(*ways[name])(flat).numpy() for ways in drawn])
    blocks = outputs[:, 4:-4, 4:-4].reshape(len(outputs), 12, 2, 12, 2)  # without the border, where zeros enter
    inside = blocks.mean(axis=(1, 3)).var(axis=(1, 2)).mean() / np.square(blocks).mean()
    print(f"{name:25} {inside:4.0%} of the variance lies within 2 x 2 pixels")

print("\n3. THE SCORE: the share of an image's variance at period 2, in excess of the neighboring frequencies\n")
board = (-1.0) ** np.add.outer(*(np.arange(n) for n in data.image_shape[:2]))[..., None]
for amplitude in (0.0, 0.02, 0.05, 0.1, 0.2):
    share, ratio = checkerboard_score(data.test.x + amplitude * board)
    print(f"test images + {amplitude:4.2f} x checkerboard: share {share:8.4f}, {ratio:6.2f} times the power around")

print(f"\n4. FIVE DECODERS: {data.name}, {args.epochs} epochs each\n")
# Upsampling, kernel size, channels of the hidden stage: fewer for larger kernels, so that all have about as many weights.
DECODERS = {"nearest": ("nearest", 3, 16), "bilinear": ("bilinear", 3, 16), "transposed 3/2": ("transposed", 3, 16)}
DECODERS |= {"transposed 4/2": ("transposed", 4, 9), "pixel shuffle": ("pixelshuffle", 3, 4)}


def autoencoder(how, kernel, width, seed):
    """The shared encoder, with one of the decoders."""
    shape, (first, second) = data.image_shape, (np.random.default_rng(seed), np.random.default_rng(seed + 1))
    encoder = ta.models.conv_encoder(shape, (16, 32), 32, form="strided", generator=first)
    design = {"form": "strided", "kernel_size": kernel, "upsampling": how, "generator": second}
    decoder = ta.models.conv_decoder(shape, (width, 32), 32, **design)
    return ta.models.ConvAutoencoder(encoder, decoder, (32,), sample="image").to(device)


x = data.test.x[:500]
wanted = checkerboard_score(x)
heads = f"{'parameters':>11}{'share in 20 draws':>19}{'epoch 1':>9}{'the end':>9}{'ratio':>7}{'squared error':>15}"
print(f"{'':16}{heads}\n{'the test images':55}{wanted.share:9.4f}{wanted.ratio:7.2f}")
columns, rows = [("input", x[[0, 0, 1, 2]], ["", "", ""])], [{"epoch": n} for n in range(args.epochs + 1)]
for name, design in DECODERS.items():
    draws = [autoencoder(*design, args.seed + 2 * i).reconstruct(x[:50]) for i in range(20)]
    model = autoencoder(*design, args.seed)
    scores = [checkerboard_score(model.reconstruct(x))]
    watch = [lambda epoch, scores=scores: scores.append(checkerboard_score(epoch.model.reconstruct(x)))]
    ta.fit(model, data, epochs=args.epochs, batch_size=64, seed=args.seed, progress=False, callbacks=watch)
    for row, score in zip(rows, scores, strict=True):
        row |= {name: score.ratio, "test images": wanted.ratio}
    trained = model.reconstruct(data.test.x)
    errors = np.square(trained - data.test.x).sum(axis=(1, 2, 3))
    before = np.mean([checkerboard_score(images).share for images in draws])
    shares = f"{before:19.4f}{scores[1].share:9.4f}{scores[-1].share:9.4f}{scores[-1].ratio:7.2f}"
    print(f"{name:16}{model.parameter_count():11,}{shares}{errors.mean():15.2f}", flush=True)
    stretched = (draws[0][:1] - draws[0][0].min()) / np.ptp(draws[0][0])
    columns.append((name, np.concatenate([stretched, trained[:3]]), [f"error {error:.1f}" for error in errors[:3]]))

if args.out:
    figure = ta.plots.overlap_maps(list(overlaps.values()), list(overlaps), title="How often each pixel is written")
    print("\npicture:", ta.plots.save_figure(figure, args.out / "overlaps.png"))
    names, pictures, under = zip(*columns, strict=True)
    pictures = np.stack(pictures, axis=1).reshape(-1, *data.image_shape)
    words = [*names, *(text for row in zip(*under, strict=True) for text in row)]
    title = f"{data.name}: five decoders, untrained (first row, stretched from black to white) and trained"
    figure = ta.plots.image_grid(pictures, columns=6, titles=words, title=title)
    print("picture:", ta.plots.save_figure(figure, args.out / "checkerboard.png"))
    units, title = dict.fromkeys(rows[0], "power at period 2 / power around it"), "What training does to the pattern"
    figure = ta.plots.loss_curves(rows, units=units, log_scale=True, title=title)
    print("picture:", ta.plots.save_figure(figure, args.out / "checkerboard_curves.png"))
