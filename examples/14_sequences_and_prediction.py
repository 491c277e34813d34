"""Study 14: what is a model of sequences worth?    python examples/14_sequences_and_prediction.py --help

A squared error means little by itself. Here a recurrent autoencoder is compared with simple baselines, its decoder is
tested for whether it uses the code, and a rule of thumb about its size is put to the test.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

import tinyae as ta

options = argparse.ArgumentParser(description="Sequences: baselines, shuffled codes, and how many units it takes.")
options.add_argument("--device", choices=("cpu", "gpu", "auto"), default="cpu", help="where to compute")
options.add_argument("--epochs", type=int, default=20, help="passes over the sequences (default: 20)")
options.add_argument("--seed", type=int, default=0, help="for the weights and the order of samples (default: 0)")
options.add_argument("--data", default="pendigits", help="sequences, windows or gray images (read row by row)")
options.add_argument("--out", type=Path, metavar="DIR", help="write the pictures there (default: write nothing)")
args = options.parse_args()
try:
    if args.epochs < 1 or args.seed < 0:
        raise ValueError("--epochs must be at least 1 and --seed at least 0")
    data = ta.data.load(args.data)
    if data.kind == "images" and data.train.x.shape[3] == 1:  # an image is a sequence of its rows
        train, test = (replace(split, x=split.x[..., 0]) for split in (data.train, data.test))
        data = replace(data, kind="sequences", train=train, test=test)
    if data.kind not in ("sequences", "series"):
        raise ValueError(f"this study takes sequences or gray images, {data.name} holds {data.kind}")
    parts = (data.train, data.test)
    shortest = min(part.x.shape[1] if part.lengths is None else int(part.lengths.min()) for part in parts)
    if shortest < 2:
        raise ValueError(f"{data.name} holds sequences of one step, which have no future: give two or more steps")
    device = ta.backend.backend_named(args.device).name
except (ValueError, OSError, ta.backend.DeviceError) as error:
    options.error(str(error))

# Part of the sequences is enough for a comparison, and keeps the study short.
data = replace(data, train=data.train.rows(slice(0, 2000)), test=data.test.rows(slice(0, 1000)))
T, D = data.example_shape
noun = "sequence"


def trained(hidden: int, **choices) -> ta.models.LSTMAutoencoder:
    """An LSTM autoencoder with `hidden` units, trained on the data."""
    model = ta.models.lstm_autoencoder(
        (T, D), hidden, sample=noun, generator=np.random.default_rng(args.seed), **choices
    ).to(device)
    adam = ta.optim.Adam(model.parameters(), lr=1e-2)
    ta.fit(
        model, data, epochs=args.epochs, batch_size=32, optimizer=adam, schedule=ta.optim.CosineLR(adam, args.epochs),
        clip_norm=1.0, seed=args.seed, progress=False,
    )  # fmt: skip
    return model


print(f"1. COMPARED WITH BASELINES: {data.name}, {T} steps of {D}\n")
# One encoder, two decoders: one reconstructs the input, the other predicts what follows. At test time neither sees the truth.
composite = trained(32, code_size=8, mode="composite", future_steps=max(1, shortest // 4))
lines = ta.training.compare_sequences(composite, data)
print("\n".join(lines[:-1]))

print("\n2. DOES THE DECODER USE THE CODE?\n")
# Each sequence is decoded from its own code and from that of another one. If the decoder ignores the code, the error is the same.
print(lines[-1])

print("\n3. HOW MANY UNITS? The rule of thumb says three for each number in a step.\n")
# The state of H units is 2 H numbers, and a whole sequence must fit into them. So 2 H should be compared with T D, the
# numbers in a sequence, not with D, the numbers in a step. `code_size=0`: the state itself is the code.
print(
    f"{'units':>6} {'H / D':>6} {'state 2 H':>10} {'2 H / (T D)':>12} {'test squared error':>20} {'PCA, as many':>14}"
)
pca_train, pca_test = (split.x.reshape(len(split), -1) for split in (data.train, data.test))


def linear(numbers: int) -> str:
    """Test error of PCA with this many components; omitted for films, since its covariance has (T D)**2 entries."""
    if T * D > 4096 or numbers > len(pca_train):
        return "-"
    return f"{ta.models.PCA(numbers).fit(pca_train).squared_error(pca_test):.4f}" if numbers < T * D else "0"


sizes = sorted({max(1, round(ratio * D)) for ratio in (0.5, 1, 2, 3, 5, 8, 16)})
for hidden in [size for size in sizes if size <= 128] or [8, 32, 128]:  # for a wide step, no multiple is small enough
    error = ta.evaluate(trained(hidden, code_size=0), data.test)["squared_error"]
    print(
        f"{hidden:6} {hidden / D:6.1f} {2 * hidden:10} {2 * hidden / (T * D):12.2f} {error:20.4f} {linear(2 * hidden):>14}"
    )

if args.out:
    args.out.mkdir(parents=True, exist_ok=True)
    for file in ta.training.draw_run(composite, data, ta.History(), args.out):
        print("picture:", file)
