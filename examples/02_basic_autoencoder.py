"""Study 2: the basic autoencoder, from its parts.    python examples/02_basic_autoencoder.py --help

784 pixels go in, a code of 32 numbers is kept, 784 pixels come out. Nothing prescribes what the 32 numbers mean: the network
only has to reconstruct its input. All scores are for test images that were not used in training.
"""

import argparse
from pathlib import Path

import numpy as np

import tinyae as ta

options = argparse.ArgumentParser(description="The basic autoencoder, built from its parts and trained on images.")
options.add_argument("--device", choices=("cpu", "gpu", "auto"), default="cpu", help="where to compute")
options.add_argument("--epochs", type=int, default=80, help="passes over the training images (default: 80)")
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

print("1. THE DATA\n")
print(data)
shape = data.example_shape  # (28, 28, 1) for an image; pixels are floats in [0, 1]
pixels = data.train.flat.shape[1]
noun = "image" if data.image_shape else "sample"
K = min(32, pixels // 2, len(data.train))  # latent dimensions
# The Bernoulli cross-entropy ("bce") needs values in [0, 1]; data with another range use squared error.
bounded = all(part.x.min() >= 0 and part.x.max() <= 1 for part in (data.train, data.test))

# 2. The parts. The encoder compresses, the decoder expands, and `Autoencoder` compares the output with the input.
#    One generator draws all weights, so one seed gives one model. `he_uniform` is the initialization that suits relu.
print("\n2. THE MODEL\n")
rng = np.random.default_rng(args.seed)
encoder = ta.nn.Sequential(
    ta.nn.Flatten(),  # (N, 28, 28, 1) -> (N, 784)
    ta.nn.Dense(pixels, K, activation="relu", initializer="he_uniform", generator=rng),  # code = relu(x W1 + b1)
)
decoder = ta.nn.Sequential(
    ta.nn.Dense(K, pixels, generator=rng),  # logits z = code W2 + b2; a pixel is sigmoid(z)
    ta.nn.Reshape(*shape),  # (N, 784) -> (N, 28, 28, 1)
)
model = ta.models.Autoencoder(encoder, decoder, loss="bce" if bounded else "squared_error", sample=noun)
print(model.summary(shape))

# The same in one line. With the same seed it draws the same weights, so it computes the same numbers.
ready_made = ta.models.basic_autoencoder(shape, K, generator=np.random.default_rng(args.seed))
few = data.test.x[:5]
print("the ready-made model gives the same codes:", np.array_equal(model.encode(few), ready_made.encode(few)))

# 3. One step by hand: forward, backward, step. That is all that `ta.fit` does, thousands of times.
print("\n3. ONE STEP BY HAND\n")
model.to(device)  # move first: the optimizer holds views of the parameters it is given
optimizer = ta.optim.Adam(model.parameters(), lr=1e-3)
batch = ta.Tensor(data.train.x[:128]).to(device)
before = model.loss(batch)  # the forward pass: every operation records a node on the tape
before.backward()  # the reverse sweep: every parameter gets its .grad
optimizer.step()  # every parameter moves a little against its gradient
optimizer.zero_grad()  # gradients accumulate, so clear them before the next batch
print(f"loss of 128 {noun}s before the step {before.item():.2f}, after it {model.loss(batch).item():.2f} {before.unit}")

print(f"\n4. {args.epochs} EPOCHS\n")
history = ta.fit(
    model, data, data, epochs=args.epochs, batch_size=128, optimizer=optimizer, seed=args.seed, progress=False
)
for row in history.rows:
    if row["epoch"] in (1, args.epochs) or row["epoch"] % 10 == 0:
        print(
            f"epoch {row['epoch']:3d}   train {row['train_loss']:8.2f}   test {row['test_loss']:8.2f}"
            f" {model.loss_unit}   test squared error {row['test_squared_error']:6.2f} per {noun}"
        )

# 5. The baseline. Of all LINEAR maps to K numbers and back, PCA has the smallest squared error on the training images.
#    A model with relu and sigmoid should beat it; otherwise its extra freedom was for nothing.
print("\n5. THE NUMBERS\n")
scores = ta.evaluate(model, data.test.x)
pca = ta.models.PCA(K).fit(data.train.x)
print(f"autoencoder, {K} numbers per code: test squared error {scores['squared_error']:.2f} per {noun}")
print(f"PCA,         {K} numbers per code: test squared error {pca.squared_error(data.test.x):.2f} per {noun}")
if bounded:
    print(f"test cross-entropy {scores['bce']:.2f} nats per {noun}, {scores['bce_element']:.4f} nats per element")

if args.out:
    for file in ta.training.draw_run(model, data, history, args.out):
        print("picture:", file)
