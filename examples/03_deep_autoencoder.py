"""Study 3: the deep autoencoder.    python examples/03_deep_autoencoder.py --help

784-1000-500-250-30 and back, the network of Hinton and Salakhutdinov (Science 313, 2006). In 2006 it did not train
from random weights: with logistic units the gradient vanished on its way through eight layers, so it was first trained
layer by layer. Today three things replace that: rectified linear units, initial weights that preserve the size of the
signal (He et al. 2015), and Adam.
"""

import argparse
from pathlib import Path

import numpy as np

import tinyae as ta

options = argparse.ArgumentParser(description="A deep autoencoder, trained from scratch.")
options.add_argument("--device", choices=("cpu", "gpu", "auto"), default="cpu", help="where to compute")
options.add_argument("--epochs", type=int, default=15, help="passes over the training images (default: 15)")
options.add_argument("--seed", type=int, default=0, help="for the weights and the order of the images (default: 0)")
options.add_argument("--data", default="fashion-mini", help="a name from `tinyae data`, or a file of your own")
options.add_argument("--out", type=Path, metavar="DIR", help="write the pictures there (default: write nothing)")
args = options.parse_args()
try:
    if args.epochs < 1 or args.seed < 0:
        raise ValueError("--epochs must be at least 1 and --seed at least 0")
    data = ta.data.load(args.data)
    if data.train.flat.shape[1] > 4096:
        raise ValueError(f"this study takes samples of up to 4096 numbers, {data.name} has {data.train.flat.shape[1]}")
    device = ta.backend.backend_named(args.device).name
except (ValueError, OSError, ta.backend.DeviceError) as error:
    options.error(str(error))
shape, pixels = data.example_shape, data.train.flat.shape[1]
noun = "image" if data.image_shape else "sample"
K = min(30, pixels // 2, len(data.train))  # latent dimensions
# The Bernoulli cross-entropy ("bce") needs values in [0, 1]; data with another range use squared error.
bounded = all(part.x.min() >= 0 and part.x.max() <= 1 for part in (data.train, data.test))

# 1. Why initialization matters. A signal goes through eight layers of 500 relu units. Each unit adds up 500 inputs, so with
#    weights of standard deviation s the signal's mean square changes by a factor of 500 s^2 / 2 in each layer (relu
#    lets half through). He's rule is s = sqrt(2 / 500), which makes it 1. With half or twice that s it is 1/4 or 4.
print("1. A RANDOM SIGNAL THROUGH EIGHT RELU LAYERS\n")
for name, factor in (("half of He's weights", 0.5), ("He's weights", 1.0), ("twice He's weights", 2.0)):
    rng = np.random.default_rng(args.seed)
    signal = ta.Tensor(rng.standard_normal((256, 500)).astype("float32"))
    sizes = []
    for _ in range(8):
        weight = ta.nn.he_normal((500, 500), rng) * factor
        signal = ta.ops.relu(signal @ ta.Tensor(weight))
        sizes.append((signal * signal).mean().item() ** 0.5)
    print(f"{name:22}" + "".join(f"{size:10.3g}" for size in sizes) + "   root mean square per layer, no unit")

# 2. The model. The decoder mirrors the encoder; the code is linear, so it may take any value. See `model.summary`.
sizes, rng = [1000, 500, 250, K], np.random.default_rng(args.seed)
loss = "bce" if bounded else "squared_error"
model = ta.models.deep_autoencoder(shape, sizes, loss=loss, sample=noun, generator=rng).to(device)
print(
    f"\n2. THE MODEL for {data.name}: {'-'.join(map(str, [pixels, *sizes]))}, {model.parameter_count():,} parameters\n"
)

#    Does the gradient arrive? Its norm at each weight matrix before training, in the order of the backward pass.
#    The unit is the loss's unit per unit of weight.
first = model.loss(ta.Tensor(data.train.x[:128]).to(device))
first.backward()
norms = [(name, p.grad.numpy()) for name, p in model.named_parameters() if name.endswith("weight")]
for name, gradient in reversed(norms):
    print(f"{name:18} {gradient.shape!s:13} gradient norm {np.linalg.norm(gradient):8.2f} {first.unit}")
model.zero_grad()

print(f"\n3. {args.epochs} EPOCHS\n")
baseline = ta.models.PCA(K).fit(data.train.x).squared_error(data.test.x)


def report(epoch: ta.training.Epoch) -> None:
    """Called by `fit` after every epoch."""
    error = epoch.row["test_squared_error"]
    print(
        f"epoch {epoch.number:3d}   train {epoch.row['train_loss']:8.2f}   test {epoch.row['test_loss']:8.2f}"
        f" {model.loss_unit}   test squared error {error:6.2f} per {noun}{'  (below PCA)' * (error < baseline)}",
        flush=True,
    )


optimizer = ta.optim.Adam(model.parameters(), lr=1e-3)
history = ta.fit(
    model, data, data, epochs=args.epochs, batch_size=64, optimizer=optimizer, seed=args.seed,
    callbacks=[report], progress=False,
)  # fmt: skip

print("\n4. THE NUMBERS\n")
scores = ta.evaluate(model, data.test.x)
print(f"deep autoencoder, {K} numbers per code: test squared error {scores['squared_error']:.2f} per {noun}")
print(f"PCA,              {K} numbers per code: test squared error {baseline:.2f} per {noun}")
if bounded:
    print(f"test cross-entropy {scores['bce']:.2f} nats per {noun}, {scores['bce_element']:.4f} nats per element")

if args.out:
    for file in ta.training.draw_run(model, data, history, args.out):
        print("picture:", file)
