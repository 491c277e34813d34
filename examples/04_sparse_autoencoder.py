"""Study 4: the sparse autoencoder.    python examples/04_sparse_autoencoder.py --help

A code of 25 numbers, only a few of which are active for any one sample. On whitened patches of photographs, each unit
learns to detect an edge of one orientation in one place, as cells in the visual cortex do.
"""

import argparse
from pathlib import Path

import numpy as np

import tinyae as ta

options = argparse.ArgumentParser(description="Sparse codes: L-BFGS on patches of photographs.")
options.add_argument("--device", choices=("cpu", "gpu", "auto"), default="cpu", help="where to compute")
options.add_argument("--epochs", type=int, default=400, help="iterations of L-BFGS (default: 400)")
options.add_argument("--seed", type=int, default=0, help="for the initial weights (default: 0)")
options.add_argument("--data", default="natural-patches", help="a name from `tinyae data`, or a file of your own")
options.add_argument("--out", type=Path, metavar="DIR", help="write the pictures there (default: write nothing)")
args = options.parse_args()
try:
    if args.epochs < 1 or args.seed < 0:
        raise ValueError("--epochs must be at least 1 and --seed at least 0")
    data = ta.data.load(args.data)
    if data.image_shape is None or data.train.x.min() < 0 or data.train.x.max() > 1:
        raise ValueError(f"this study takes images with values in [0, 1], {data.name} is not that")
    device = ta.backend.backend_named(args.device).name
except (ValueError, OSError, ta.backend.DeviceError) as error:
    options.error(str(error))

print("1. THE DATA\n")
print(data)
K, RHO, BETA, DECAY = 25, 0.01, 3.0, 1e-4

# 2. The cost, term by term. A unit's mean activation over the batch is rho_hat; KL(rho || rho_hat) is 0 where it equals the
#    target rho and grows without bound toward 0 and 1. Weight decay keeps weights from growing needlessly.
print("\n2. THE COST BEFORE TRAINING\n")
rng = np.random.default_rng(args.seed)
model = ta.models.sparse_autoencoder(
    data.example_shape, K, rho=RHO, beta=BETA, weight_decay=DECAY, sample="image", generator=rng
).to(device)
patches = ta.Tensor(data.train.x).to(device)
print(model.loss(patches))
rho_hat = model.encode(data.train.x).mean(axis=0)
by_hand = BETA * np.sum(RHO * np.log(RHO / rho_hat) + (1 - RHO) * np.log((1 - RHO) / (1 - rho_hat)))
print(f"the sparsity term by its formula: {by_hand:.5g}; mean activations {rho_hat.min():.2f} to {rho_hat.max():.2f}")

print(f"\n3. {args.epochs} ITERATIONS OF L-BFGS\n")
optimizer = ta.optim.LBFGS(model.parameters())
history = ta.fit(model, data, epochs=args.epochs, optimizer=optimizer, progress=False)
for row in history.rows:
    if row["epoch"] in (1, 10, 50, len(history)) or row["epoch"] % 100 == 0:
        print(f"iteration {row['epoch']:3d}   cost {row['train_loss']:.4f} {model.loss_unit}")

# 4. The result. A filter counts as an edge if its power spectrum has a preferred orientation. PCA's components of the same
#    patches are the baseline: no linear code reconstructs better, but fewer of them are edges.
print("\n4. THE CODE\n")
codes = model.encode(data.test.x)
active = np.mean(codes > 0.2)
print(f"mean activation {codes.mean():.4f} (target {RHO}); {active:.1%} of all activations are above 0.2")
weights = model.encoder[1].weight.numpy()
pca = ta.models.PCA(min(K, weights.shape[0])).fit(data.train.x).components_.T
for words, filters in (
    ("sparse autoencoder", weights),
    ("PCA", pca),
    ("random weights", rng.normal(size=weights.shape)),
):
    if data.image_shape[2] == 1:
        print(f"{words:20} {ta.models.count_oriented(filters, data.image_shape):3d} of {filters.shape[1]} are oriented")

# Estimating rho_hat from batches: in small ones it is a rough estimate, and the penalty is too large, because
# the divergence is convex. L-BFGS takes all samples at once and does not have this problem.
for size in (10, 100, 1000):
    penalties = [
        float(ta.losses.bernoulli_kl(model.encode(data.train.x[i : i + size]), rho=RHO))
        for i in range(0, min(len(data.train), 20 * size), size)
    ]
    spread = f"{np.mean(penalties):.3f} +- {np.std(penalties):.3f}"
    print(f"KL of batches of {size:5d}: {spread} nats")

if args.out:
    args.out.mkdir(parents=True, exist_ok=True)
    for name, filters in (("sparse", weights), ("pca", pca)):
        figure = ta.plots.filters(filters, data.image_shape, title=f"{data.name}: {name} filters")
        print("picture:", ta.plots.save_figure(figure, args.out / f"filters_{name}.png"))
