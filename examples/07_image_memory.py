"""Study 7: from a network that remembers one image to an autoencoder.    python examples/07_image_memory.py --help

Four steps. A decoder with a fixed input memorizes one image. With one-hot inputs it stores several. With learned
inputs it stores many, and the inputs become codes: similar images get similar codes. Replace the table of codes by an
encoder, and it is an autoencoder, which also encodes images that it has never seen.
"""

import argparse
from pathlib import Path

import numpy as np

import tinyae as ta
from tinyae.training.pictures import draw_between

options = argparse.ArgumentParser(description="A network as a data store, in four steps to the autoencoder.")
options.add_argument("--device", choices=("cpu", "gpu", "auto"), default="cpu", help="where to compute")
options.add_argument("--epochs", type=int, default=40, help="passes over the images in steps 3 and 4 (default: 40)")
options.add_argument("--seed", type=int, default=0, help="for the weights and the order of images (default: 0)")
options.add_argument("--data", default="fashion-mini", help="images: a name from `tinyae data`, or a file of your own")
options.add_argument("--decoder", choices=("dense", "conv"), default="dense", help="from codes to images")
options.add_argument("--out", type=Path, metavar="DIR", help="write the pictures there (default: write nothing)")
args = options.parse_args()
try:
    if args.epochs < 1 or args.seed < 0:
        raise ValueError("--epochs must be at least 1 and --seed at least 0")
    data = ta.data.load(args.data)
    if data.image_shape is None or data.train.flat.shape[1] > 4096:
        raise ValueError(f"this study takes images of up to 4096 numbers, which {data.name} does not hold")
    if data.train.x.min() < 0 or data.train.x.max() > 1:
        raise ValueError(f"this study takes values in [0, 1], those of {data.name} are not")
    device = ta.backend.backend_named(args.device).name
except (ValueError, OSError, ta.backend.DeviceError) as error:
    options.error(str(error))
shape = data.example_shape
K, count = 16, min(1000, len(data.train))
figures = {}


def memory(codes: str, count: int) -> ta.models.ImageMemory:
    """A memory with the same seed each time: a layer of 256 between code and image, or transposed convolutions."""
    rng = np.random.default_rng(args.seed)
    settings = {"codes": codes, "decoder": args.decoder, "loss": "squared_error", "generator": rng}
    return ta.models.image_memory(shape, count, **settings).to(device)


def adam(model: ta.models.Autoencoder, lr: float = 1e-2 if args.decoder == "dense" else 3e-3) -> ta.optim.Adam:
    """The optimizer of all four steps."""
    return ta.optim.Adam(model.parameters(), lr=lr)


print(f"1. ONE IMAGE of {data.name}, recalled from a vector of ones\n")
one = memory("ones", 1)
stages, words = [data.train.x[0]], ["the image"]
optimizer = adam(one)
for steps in (0, 5, 10, 20, 40, 80):
    done = 0 if len(stages) == 1 else int(words[-1].split()[0])
    if steps > done:
        ta.fit(one, data.train.x[:1], epochs=steps - done, optimizer=optimizer, progress=False)
    stages.append(one.recall(0))
    words.append(f"{steps} steps")
    print(f"after {steps:3d} steps: squared error {float(np.square(stages[-1] - stages[0]).sum()):10.5f}")
figures["1_one_image"] = ta.plots.image_grid(
    np.stack(stages), columns=len(stages), titles=words, title="One image, recalled from a vector of ones"
)

print("\n2. TEN IMAGES, recalled from one-hot codes\n")
ten = memory("one-hot", 10)
ta.fit(ten, data.train.x[:10], epochs=200, batch_size=10, optimizer=adam(ten), seed=args.seed, progress=False)
score = ta.evaluate(ten, data.train.x[:10])["squared_error"]
print(f"squared error {score:.1e} per image; the code of image 3 is {ten.encode(np.array([3]))[0].astype(int)}")
figures["2_ten_images"] = ta.plots.reconstructions(
    data.train.x[:10], ten.recall(range(10)), title="Ten images, recalled from one-hot codes"
)

print(f"\n3. {count} IMAGES, recalled from {K} learned numbers each\n")
images = data.train.x[:count]
many = memory("learned", count)
table = ta.fit(many, images, epochs=args.epochs, batch_size=50, optimizer=adam(many), seed=args.seed, progress=False)
codes = many.encode(np.arange(count))
print(f"squared error {ta.evaluate(many, images)['squared_error']:.3f} per image, with PCA and {K} components", end=" ")
print(f"{ta.models.PCA(min(K, count)).fit(images).squared_error(images):.3f}")
if data.train.y is not None:
    # Nothing in the loss orders the codes. Does a code's nearest neighbor have the same class nevertheless?
    near, _ = ta.models.nearest(codes, codes, 2)
    same = ta.models.same_class_share(data.train.y[:count], data.train.y[:count], near[:, 1:])
    chance = np.square(np.bincount(data.train.y[:count]) / count).sum()
    print(f"the nearest other code has the same class for {same:.0%} of the images (by chance {chance:.0%})")

print("\n4. AN ENCODER in place of the table\n")
# The decoder stays, the same object. To take over where the table stopped, the encoder is first fitted to the table's codes.
rng = np.random.default_rng(args.seed)
encoder, _ = ta.models.dense.dense_pair(shape, [256, K], generator=rng)
if args.decoder == "conv":
    encoder = ta.models.conv_encoder(shape, (32, 64), K, form="strided", generator=rng)
student = ta.models.Autoencoder(encoder.to(device), ta.nn.Identity(), loss="squared_error")
x, wanted = ta.Tensor(images).to(device), ta.Tensor(codes).to(device)
ta.optim.LBFGS(student.parameters(), max_iterations=100).step(lambda: student.loss(ta.models.Batch(x, wanted)).total)
model = many.with_encoder(encoder)
before = ta.evaluate(model, images)["squared_error"]
print(f"the table {table['train_loss'][-1]:.3f}, the encoder fitted to its codes {before:.3f} {model.loss_unit}")
settings = {"epochs": args.epochs, "batch_size": 50, "optimizer": adam(model, lr=1e-3), "seed": args.seed}
history = ta.fit(model, images, data, **settings, progress=False)
print(f"after {args.epochs} more epochs {history['train_loss'][-1]:.3f} {model.loss_unit}")
print(f"images it has never seen: {history['test_squared_error'][-1]:.3f}; a table has no codes for those")

if args.out:
    figures["4_unseen_images"] = ta.plots.reconstructions(
        data.test.x[:10], model.reconstruct(data.test.x[:10]), title="With an encoder: images it has never seen"
    )
    rows = [{"epoch": row["epoch"], "train_table": row["train_loss"]} for row in table.rows]
    rows.append({"epoch": len(table), "encoder": before})
    rows += [{"epoch": len(table) + row["epoch"], "encoder": row["train_loss"]} for row in history.rows]
    figures["4_loss"] = ta.plots.loss_curves(
        rows, units=dict.fromkeys(("train_table", "encoder"), model.loss_unit), title="Table, then encoder"
    )
    for name, figure in figures.items():
        print("picture:", ta.plots.save_figure(figure, args.out / f"{name}.png"))
    print("picture:", draw_between(many, [(i, i + 1) for i in range(0, 12, 2)], args.out / "3_between.png"))
