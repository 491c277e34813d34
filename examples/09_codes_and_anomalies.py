"""Study 9: using the code.    python examples/09_codes_and_anomalies.py --help

Two uses that need no labels. Codes are short descriptions, so similar samples can be found by comparing codes. And a sample
that a model of ordinary samples cannot reconstruct is an anomaly.
"""

import argparse
from pathlib import Path

import numpy as np

import tinyae as ta

options = argparse.ArgumentParser(description="Nearest neighbors by code, and anomalies by reconstruction error.")
options.add_argument("--device", choices=("cpu", "gpu", "auto"), default="cpu", help="where to compute")
options.add_argument("--epochs", type=int, default=50, help="passes over the images (default: 50)")
options.add_argument("--seed", type=int, default=0, help="for the weights and the order of samples (default: 0)")
options.add_argument("--data", default="fashion-mini", help="images: a name from `tinyae data`, or a file of your own")
options.add_argument("--out", type=Path, metavar="DIR", help="write the pictures there (default: write nothing)")
args = options.parse_args()
try:
    if args.epochs < 1 or args.seed < 0:
        raise ValueError("--epochs must be at least 1 and --seed at least 0")
    data = ta.data.load(args.data)
    if data.image_shape is None or data.train.y is None or data.test.y is None:
        raise ValueError(f"this study takes images with labels, {data.name} is not that")
    device = ta.backend.backend_named(args.device).name
except (ValueError, OSError, ta.backend.DeviceError) as error:
    options.error(str(error))

print(f"1. SEARCH BY CODE: {data.name}\n")
rng = np.random.default_rng(args.seed)
K = min(32, data.train.flat.shape[1] // 2)
model = ta.models.basic_autoencoder(data.example_shape, K, sample="image", generator=rng).to(device)
ta.fit(model, data, epochs=args.epochs, batch_size=64, seed=args.seed, progress=False)
queries, labels = data.test.x[:500], data.test.y[:500]

# The eight training images whose codes are nearest to the code of each query. The labels were not used for training;
# here they only tell how often a neighbor has the same class.
by_code, _ = ta.models.CodeNeighbors(model).fit(data.train.x).query(queries, 8)
by_pixel, _ = ta.models.nearest(data.train.flat, data.test.flat[:500], 8)
chance = np.mean(data.train.y[None, :] == labels[:, None])
for words, share in (
    (f"by code, {K} numbers", ta.models.same_class_share(data.train.y, labels, by_code)),
    (f"by pixel, {data.train.flat.shape[1]} numbers", ta.models.same_class_share(data.train.y, labels, by_pixel)),
    ("at random", chance),
):
    print(f"{words:24} {share:6.1%} of the 8 neighbors are of the query's class")

print("\n2. ANOMALIES: days of New York taxi traffic\n")
# A day is 48 half hours. The model is trained on July to October; the marathon, Thanksgiving, Christmas, New Year and a snow
# storm come later. Four numbers per day are enough for working days, weekends and the summer, but not for a storm.
taxi = ta.data.load("nyc-taxi")
days = ta.models.deep_autoencoder(
    taxi.example_shape, [24, 4], activation="tanh", loss="squared_error", sample="day", generator=rng
).to(device)
optimizer = ta.optim.Adam(days.parameters(), lr=3e-3)
ta.fit(days, taxi, epochs=4 * args.epochs, batch_size=16, optimizer=optimizer, seed=args.seed, progress=False)

# The threshold comes from the training days alone: 99 % of them score less.
detector = ta.models.AnomalyDetector(days, quantile=0.99).fit(taxi.train.x)
scores, flagged = detector.score(taxi.test.x), detector.flag(taxi.test.x)
print(
    f"threshold {detector.threshold:.3f} squared error per day; {flagged.sum()} of {len(flagged)} test days are above"
)
first = len(taxi.train)
for day in sorted(np.flatnonzero(flagged), key=lambda day: -scores[day])[:12]:
    happened = ", ".join(taxi.timeline.incidents_in(first + day)) or "-"
    print(f"  {taxi.timeline.stamp(first + day)}   {scores[day]:6.3f}   {happened}")

if args.out:
    args.out.mkdir(parents=True, exist_ok=True)
    picture = ta.training.pictures.draw_neighbors(model, data, by_code, args.out / "neighbors.png")
    figure = ta.plots.score_timeline(
        np.concatenate([detector.score(taxi.train.x), scores]),
        detector.threshold,
        train=first,
        spans=taxi.timeline.spans(),
        stamps=[taxi.timeline.stamp(i) for i in range(first + len(scores))],
        unit="squared error per day",
        across="day",
        title="nyc-taxi: reconstruction error of each day",
    )
    print("picture:", picture)
    print("picture:", ta.plots.save_figure(figure, args.out / "anomalies.png"))
