"""Study 5: the contractive autoencoder.    python examples/05_contractive_autoencoder.py --help

The code should follow the data and nothing else. The penalty is the squared norm of the code's derivative, so the loss
contains a derivative, and training it takes a derivative of a derivative.
"""

import argparse
from pathlib import Path

import numpy as np

import tinyae as ta
from tinyae.training.pictures import draw_contractive

options = argparse.ArgumentParser(description="Contraction: three ways to compute the norm of the encoder's Jacobian.")
options.add_argument("--device", choices=("cpu", "gpu", "auto"), default="cpu", help="where to compute")
options.add_argument("--epochs", type=int, default=20, help="passes over the data (default: 20)")
options.add_argument("--seed", type=int, default=0, help="for weights and the order of samples (default: 0)")
options.add_argument("--data", default="optdigits", help="a name from `tinyae data`, or a file of your own")
options.add_argument("--out", type=Path, metavar="DIR", help="write the pictures there (default: write nothing)")
args = options.parse_args()
try:
    if args.epochs < 1 or args.seed < 0:
        raise ValueError("--epochs must be at least 1 and --seed at least 0")
    data = ta.data.load(args.data)
    if data.train.x.min() < 0 or data.train.x.max() > 1 or data.train.flat.shape[1] > 4096:
        raise ValueError(f"this study takes up to 4096 values in [0, 1] per sample, {data.name} is not that")
    device = ta.backend.backend_named(args.device).name
except (ValueError, OSError, ta.backend.DeviceError) as error:
    options.error(str(error))
x = ta.Tensor(data.train.x[:64]).to(device)
shape, K = data.example_shape, min(32, data.train.flat.shape[1] // 2)


def model_with(contraction: float, jacobian: str = "auto") -> ta.models.ContractiveAutoencoder:
    """A model with the same initial weights every time."""
    rng = np.random.default_rng(args.seed)
    return ta.models.contractive_autoencoder(
        shape, [K], contraction=contraction, jacobian=jacobian, sample="sample", generator=rng
    ).to(device)


# 1. ||J||^2 = sum over code units j and inputs i of (d code_j / d x_i)^2. For one sigmoid layer it has a closed form:
#    the slope of unit j is h_j (1 - h_j), times its weights. For any other encoder the tape computes it, one backward
#    pass per code unit, and records these passes so that the loss can itself be differentiated. Random signs v give
#    an estimate from one pass: the mean of ||v^T J||^2 is ||J||^2.
print(f"1. THREE WAYS TO COMPUTE THE NORM: {data.name}\n")
for way in ("closed", "exact", "hutchinson"):
    model = model_with(1.0, way)
    norm = model.jacobian_norm(x).item()
    print(f"{way:12} ||J||^2 = {norm:.6f} per sample")

print(f"\n2. {args.epochs} EPOCHS WITH INCREASING CONTRACTION\n")
# How far does the code move when the input moves a little in a random direction, and how far when it moves from one
# sample toward another? A good code ignores the first and follows the second.
rng = np.random.default_rng(1)
noise = rng.normal(size=data.test.x[:200].shape).astype("float32")
noise /= np.linalg.norm(noise.reshape(len(noise), -1), axis=1).reshape(-1, *[1] * len(shape))
towards = data.test.x[200:400] - data.test.x[:200]
towards /= np.linalg.norm(towards.reshape(len(towards), -1), axis=1).reshape(-1, *[1] * len(shape)) + 1e-9
print("contraction   ||J||^2   test squared error   code moves: at random    toward another sample   ratio")
trained = {}
for contraction in (0.0, 0.1, 1.0, 10.0):
    model = model_with(contraction)
    ta.fit(model, data, epochs=args.epochs, batch_size=64, seed=args.seed, progress=False)
    trained[contraction] = model
    start = data.test.x[:200]
    moves = [
        float(np.linalg.norm(model.encode(start + 0.1 * step) - model.encode(start), axis=1).mean())
        for step in (noise[: len(start)], towards[: len(start)])
    ]
    error = ta.evaluate(model, data.test.x)["squared_error"]
    norm = model.jacobian_norm(x).item()
    print(f"{contraction:11g} {norm:9.4f} {error:20.3f} {moves[0]:23.5f} {moves[1]:24.5f} {moves[1] / moves[0]:7.2f}")

if args.out:
    args.out.mkdir(parents=True, exist_ok=True)
    shown = data.test.x[:10]
    rows, words = [shown], ["original"] * len(shown)
    for contraction, model in trained.items():
        rows.append(model.reconstruct(shown))
        words += [
            f"{contraction:g}: {error:.2f}" for error in np.square(rows[-1] - shown).reshape(len(shown), -1).sum(1)
        ]
    if data.image_shape is not None:
        figure = ta.plots.image_grid(
            np.concatenate(rows), columns=len(shown), titles=words,
            title=f"{data.name}: test images and reconstructions. Numbers: contraction, squared error per image",
        )  # fmt: skip
        print("picture:", ta.plots.save_figure(figure, args.out / "reconstructions.png"))
    for file in draw_contractive(trained[1.0], data, args.out):
        print("picture:", file)
