"""Study 11: the convolutional autoencoder.    python examples/11_convolutional_autoencoder.py --help

A convolution looks for one pattern everywhere in an image, with the same few weights. First the sizes, and one output
by hand; then the network of the Keras blog, a dense one with an equally long code, and a strided one whose code is a
quarter of that, the default of `tinyae train conv`; then what a shifted image does to the code; last the denoising and the
variational variants. The other commands: `tinyae train conv --form keras`, `conv-denoising`, `conv-vae`.
"""

import argparse
from pathlib import Path

import numpy as np

import tinyae as ta

options = argparse.ArgumentParser(description="Convolutions: few weights, used everywhere.")
options.add_argument("--device", choices=("cpu", "gpu", "auto"), default="cpu", help="where to compute")
options.add_argument("--epochs", type=int, default=4, help="passes over the images for each model (default: 4)")
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
shape = data.image_shape


def train(name: str, build, *given, **more) -> tuple[ta.models.Autoencoder, ta.History]:
    """Build a model from the seed and train it; print its size and its error."""
    model = build(*given, **more, sample="image", generator=np.random.default_rng(args.seed)).to(device)
    optimizer = ta.optim.Adam(model.parameters(), lr=3e-3)
    history = ta.fit(
        model, data, data, epochs=args.epochs, batch_size=64, optimizer=optimizer, seed=args.seed, progress=False
    )
    error = ta.evaluate(model, data.test.x)["squared_error"]
    print(f"{name:<28} {model.parameter_count():>8,} weights, test squared error {error:7.2f} per image", flush=True)
    return model, history


print("1. ONE OUTPUT BY HAND\n")
model = ta.models.conv_autoencoder(shape, form="keras", generator=np.random.default_rng(args.seed))
layer, image = model.encoder[0], data.test.x[0]
row, column = shape[0] // 2, shape[1] // 2
window = image[row - 1 : row + 2, column - 1 : column + 2]  # the 3 x 3 pixels around the middle
sums = np.maximum(np.einsum("ijc,ijco->o", window, layer.weight.numpy()) + layer.bias.numpy(), 0.0)
found = layer(ta.Tensor(image[None])).numpy()[0, row, column]
k = int(sums.argmax())
print(f"the window around ({row}, {column}) times kernel {k}, summed: {sums[k]:.6f}; the layer: {found[k]:.6f}")
sizes = [f"{h}x{w}" for h, w in ta.models.convolutional.stage_sizes(shape[:2], 3)]
print(f"every stage halves, rounding up: {' -> '.join(sizes)}; the decoder goes back through the same sizes")

print(f"\n2. TRAINING on {data.name}, {args.epochs} epochs\n")
conv, history = train("blog's convolutions, 16-8-8", ta.models.conv_autoencoder, shape, form="keras")
K = int(np.prod(conv.code_shape))
dense, _ = train(f"dense, {pixels}-{K}-{pixels}", ta.models.basic_autoencoder, shape, K)
strided, _ = train("strided, 16-32, code of 32", ta.models.conv_autoencoder, shape)
for size in (K, 32):
    pca = ta.models.PCA(min(size, pixels)).fit(data.train.x)
    print(f"{f'PCA, {pca.code_size} components':<28} {pca.code_size * pixels:>8,} weights, test squared error", end=" ")
    print(f"{pca.squared_error(data.test.x):7.2f} per image")
for name, trained in (("blog's", conv), ("strided", strided)):
    print(f"{name + ':':<9}{ta.training.report(trained, data)[0]}")

print("\n3. A SHIFTED IMAGE\n")
x = np.pad(data.test.x[:100], ((0, 0), (16, 24), (16, 24), (0, 0)))
large = ta.models.conv_autoencoder(x.shape[1:], form="keras", generator=np.random.default_rng(args.seed))
large.load_state_dict(conv.to("cpu").state_dict())  # the weights do not depend on the size of the image
maps, moved = large.encode_maps(x), large.encode_maps(np.roll(x, (8, 8), axis=(1, 2)))
difference = np.abs(maps[:, 1:-3, 1:-3] - moved[:, 2:-2, 2:-2]).max()  # near the border, windows see the padding
print("a shift by 8 pixels, halved three times, is 1 place in the code. Apart from that shift, the codes agree to")
print(f"{difference:.1e} in maps with values up to {maps.max():.2f}")

print("\n4. DENOISING AND GENERATING\n")
noisy = data.test.x + 0.5 * np.random.default_rng(1).standard_normal(data.test.x.shape, dtype="float32")
denoiser, _ = train("conv-denoising, 32-32", ta.models.conv_denoising_autoencoder, shape)
for name, repair in (
    ("input", lambda v: v),
    ("plain", lambda v: conv.to(device).reconstruct(np.clip(v, 0.0, 1.0))),  # it was trained on gray levels only
    ("denoiser", denoiser.reconstruct),
):
    error = float(np.square(repair(noisy) - data.test.x).sum()) / len(noisy)
    print(f"   noisy test images, {name + ':':<10} squared error {error:7.2f} per image")
vae, _ = train("conv-vae, 32-64, code of 20", ta.models.conv_variational_autoencoder, shape)
print("  ", vae.latent_report(data.test.x))

if args.out:
    for file in ta.training.draw_run(conv, data, history, args.out):
        print("picture:", file)
    for file in ta.training.pictures.draw_denoising(denoiser, data, args.out):
        print("picture:", file)
    print("picture:", ta.training.pictures.draw_samples(vae, args.out / "samples.png"))
