"""Study 16: your own table.    python examples/16_your_own_table.py --help

From a .csv to anomaly scores, and, two weeks later, from the run folder alone to the scores of new rows. The table holds pen strokes:
eight points x, y of each, its class (a digit), and an id. The new rows come from other writers, and some have a fault that we put in.
"""

import argparse
import csv
import sys
import tempfile
from pathlib import Path

import numpy as np

import tinyae as ta
from tinyae.cli.main import main

options = argparse.ArgumentParser(description="A table of your own: train, score, save, open again, one row.")
options.add_argument("--device", choices=("cpu", "gpu", "auto"), default="cpu", help="where to compute")
options.add_argument("--epochs", type=int, default=20, help="passes over the rows (default: 20)")
options.add_argument("--seed", type=int, default=0, help="for the weights and the order of the rows (default: 0)")
options.add_argument(
    "--data", default="pendigits", help="a name from `tinyae data` with labels, written as a table first"
)
options.add_argument(
    "--out", type=Path, metavar="DIR", help="keep tables, run and pictures there (default: keep nothing)"
)
args = options.parse_args()
try:
    if args.epochs < 1 or args.seed < 0:
        raise ValueError("--epochs must be at least 1 and --seed at least 0")
    data = ta.data.load(args.data)
    if data.train.y is None or data.test.y is None or data.train.flat.shape[1] > 1024:
        raise ValueError(f"this study takes labels and up to 1024 numbers for each sample, {data.name} is not that")
    ta.backend.backend_named(args.device)
except (ValueError, OSError, ta.backend.DeviceError) as error:
    options.error(str(error))
keep = tempfile.TemporaryDirectory() if args.out is None else None
folder = Path(keep.name) if keep else args.out
folder.mkdir(parents=True, exist_ok=True)
D = data.train.flat.shape[1]
NAMES = [f"{'xy'[n % 2]}{n // 2}" for n in range(D)] if data.example_shape == (8, 2) else [f"v{n}" for n in range(D)]


def write(name: str, columns: dict) -> Path:
    """A table as a .csv."""
    with (folder / name).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return folder / name


def command(*words: object) -> None:
    """Run a command as in a shell, and show it."""
    print("$ tinyae", *(str(w.relative_to(folder)) if isinstance(w, Path) and w != folder else w for w in words))
    if main([str(word) for word in words]):
        sys.exit(2)
    print()


# 1. A table as one has it: an id, a label, and columns of numbers in their own unit.
print("1. TRAIN\n")
known = np.round(data.train.flat * data.scale, 3)  # 0 to 100 on the tablet
ids = [f"s{n:05}" for n in range(len(known))]
training = write(
    f"{Path(data.name).stem}.csv", {"id": ids, "class": data.train.y, **dict(zip(NAMES, known.T, strict=True))}
)
roles = ("--id", "id", "--label", "class", "--device", args.device, "--seed", args.seed)
size = ("--sizes", f"64,{max(1, D // 2)}", "--epochs", args.epochs, "--batch-size", "64", "--lr", "0.003")
run_folder = folder / "run"
command("train", "deep", "--data", training, *roles, *size, "--out", run_folder, "--force")

# 2. New rows from other people, without labels and with the columns in another order. In every tenth row one column is wrong: it
#    holds the value of some other row. Nothing is fitted to new rows: scaling and threshold are those of the training part.
print("2. SCORE NEW ROWS\n")
rng = np.random.default_rng(args.seed)
rows = np.round(data.test.flat[:1000] * data.scale, 3)
rows = rows[: max(10, len(rows) // 10 * 10)]
faulty = np.arange(0, len(rows), 10)
where = rng.integers(0, D, len(faulty))
rows[faulty, where] = rows[rng.permutation(faulty), where]
order = rng.permutation(D)
names = [NAMES[n] for n in order]
new = write("new.csv", {"id": range(len(rows)), **dict(zip(names, rows[:, order].T, strict=True))})
scores = folder / "scores.csv"
command("anomalies", run_folder, "--data", new, "--out", scores)

with scores.open(newline="") as file:
    found = list(csv.DictReader(file))
high = np.array([row["flagged"] == "True" for row in found])
print(
    f"flagged: {high[faulty].mean():.1%} of the rows with a fault, {np.delete(high, faulty).mean():.1%} of the others"
)
blamed = [max(NAMES, key=lambda name, row=found[n]: float(row[f"error of {name}"])) for n in faulty]
right = np.mean([name == NAMES[n] for name, n in zip(blamed, where, strict=True)])
print(f"the column with the largest error is the wrong one in {right:.1%} of them; by chance {1 / D:.1%}")

# 3. Two weeks later the table is gone. The run folder knows the columns, their scaling, the classes and the threshold.
print("\n3. TWO WEEKS LATER\n")
training.unlink()
run = ta.Run.open(run_folder)
row = dict(
    zip(NAMES, rows[5].tolist(), strict=True)
)  # one row, as a dict; a file, a data frame or an array will do as well
code, score, made = run.encode(row), run.score(row), run.reconstruct(row)
start = ", ".join(f"{value:.2f}" for value in code[0, :4])
print(f"one row: score {score[0]:.3f}, threshold {run.detector().threshold:.3f}, code starts {start}")
for name in NAMES[:4]:
    print(f"  {name:4} {row[name]:8.2f}   reconstructed {made[name][0]:8.2f}")
back = run.decode(code)
print("the decoded code is the reconstruction:", all(np.allclose(back[name], made[name]) for name in NAMES))
try:
    run.score({name: row[name] for name in NAMES[1:]})
except ValueError as error:
    print("without a column:", str(error)[:100])
if keep:
    keep.cleanup()
