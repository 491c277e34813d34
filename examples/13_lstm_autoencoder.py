"""Study 13: a sequence as a vector (the LSTM autoencoder).    python examples/13_lstm_autoencoder.py --help

An LSTM reads pen strokes, eight points (x, y) each, and its last state is the code. Another LSTM starts from the code and
reconstructs the points, or predicts how the stroke continues. Labels are only used to measure what the code contains.
(`tinyae train lstm` puts a dense layer with fewer values than the stroke between the two; `--code-size 0` is this study.)
"""

import argparse
from pathlib import Path

import numpy as np

import tinyae as ta
from tinyae.training import LinearProbe

options = argparse.ArgumentParser(
    description="LSTM autoencoders: reconstruct, predict, both; and a classifier of codes."
)
options.add_argument("--device", choices=("cpu", "gpu", "auto"), default="cpu", help="where to compute")
options.add_argument("--epochs", type=int, default=20, help="passes over the sequences (default: 20)")
options.add_argument("--seed", type=int, default=0, help="for the weights and the order of samples (default: 0)")
options.add_argument("--data", default="pendigits", help="sequences with labels; images are read row by row")
options.add_argument(
    "--out", type=Path, metavar="DIR", help="write encoder and pictures there (default: write nothing)"
)
args = options.parse_args()
try:
    if args.epochs < 1 or args.seed < 0:
        raise ValueError("--epochs must be at least 1 and --seed at least 0")
    data = ta.data.load(args.data)
    if data.kind not in ("sequences", "images") or data.train.y is None or data.test.y is None:
        raise ValueError(f"this study takes sequences or images with labels, {data.name} is not that")
    if data.has_lengths:
        raise ValueError(f"{data.name} holds sequences of unequal length, which example 14 takes: choose others here")
    if data.train.x.shape[1] < 2:
        raise ValueError(f"{data.name} holds sequences of one step, which have no future: give two or more steps")
    device = ta.backend.backend_named(args.device).name
except (ValueError, OSError, ta.backend.DeviceError) as error:
    options.error(str(error))

# (N, T, D): eight points of two numbers, or the rows of an image as its steps.
x, test = (np.reshape(s.x, (len(s), s.x.shape[1], -1)) for s in (data.train, data.test))
T, D = x.shape[1:]
F, H = max(1, T // 4), 64
print(f"{data.name}: {len(x):,} sequences of {T} steps of {D}\n")


def trained(**choices):
    """An LSTM autoencoder with these choices, trained on the sequences."""
    model = ta.models.LSTMAutoencoder(D, H, steps=T, generator=np.random.default_rng(args.seed), **choices).to(device)
    optimizer = ta.optim.Adam(model.parameters(), lr=5e-3)
    schedule = ta.optim.CosineLR(optimizer, args.epochs)
    ta.fit(
        model, x, epochs=args.epochs, batch_size=128, optimizer=optimizer, schedule=schedule, seed=args.seed,
        clip_norm=5.0, progress=False,
    )  # fmt: skip
    return model


print("1. TWO DECODERS: reconstruction and prediction")
small = ta.models.LSTMAutoencoder(D, 8, mode="composite", future_steps=F, generator=np.random.default_rng(args.seed))
loss = small.loss(ta.Tensor(x[:4]))
print(f"the encoder sees {T - F} of {T} steps; its code has {small.encoder.code_size} numbers")
print(f"{loss}\n")

print("2. RECONSTRUCTION from the last state of 64 units")
pca = ta.models.PCA(min(16, T * D // 2)).fit(x)
back = trained()
for words, error in (
    ("mean training sequence", np.square(test - x.mean(axis=0)).mean()),
    (f"PCA, {pca.code_size} numbers", pca.squared_error(test) / (T * D)),
    (f"LSTM, {back.encoder.code_size} numbers", ta.evaluate(back, test)["mse"]),
):
    print(f"{words:22} {error:.5f} mean squared error per element")

print("\n3. TEACHER FORCING: a conditional decoder with the true points as input, and with its own output")
# In training, the input of each step is the true previous point; at test time it is the decoder's own previous output.
both = trained(mode="composite", future_steps=F, conditional=True)
given = ta.Tensor(ta.backend.backend_named(device).to_device(test))
with ta.no_grad():
    for words, training in (("true points", True), ("its own output", False)):
        terms = both.train(training).loss(given).terms
        print(f"{words:20} " + ", ".join(f"{name} {term.item():.4f}" for name, term in terms.items()))
last = both.batch(ta.data.Split(test)).x[:, -1:]
print(f"{'last repeated':20} prediction {np.square(test[:, -F:] - last).sum(axis=(1, 2)).mean():.4f}")

print("\n4. WHAT THE CODE CONTAINS: a linear classifier on vectors of fixed length")
for words, features in (
    (f"{T} x {D} raw numbers", lambda v: v.reshape(len(v), -1)),
    ("codes, reconstructed", back.encode),
    ("codes, composite", both.encode),
):
    probe = LinearProbe(weight_decay=1e-4, iterations=10 * args.epochs).fit(features(x), data.train.y)
    print(f"{words:20} {probe.accuracy(features(test), data.test.y):6.2%} test accuracy")

if args.out:
    # The encoder is useful by itself: save it, load it into one of the same sizes, and give it strokes of any length.
    path = ta.save(back.encoder, args.out / "encoder.safetensors")
    encoder = ta.load(path, ta.models.SequenceEncoder(D, H))
    print(f"\n{path}: codes {encoder(test[:5, : T // 2]).shape} of five half sequences")
    figure = ta.plots.code_scatter(back.encode(test), data.test.y, data.class_names, title=f"{data.name}: codes")
    print("picture:", ta.plots.save_figure(figure, args.out / "codes.png"))
