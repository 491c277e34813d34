"""Study 8: the stacked autoencoder.    python examples/08_stacked_autoencoder.py --help

Two layers, trained one after the other without labels; then a classifier on the deepest code, then everything together.
This is how deep networks were first trained, and it still helps when labels are few. The layers are
denoising autoencoders, as in `tinyae train stacked`, or, with `--layer sparse`, those of the UFLDL exercise.
"""

import argparse
from pathlib import Path

import numpy as np

import tinyae as ta
from tinyae.data import Split

options = argparse.ArgumentParser(description="Greedy layer-wise training, softmax on top, fine-tuning.")
options.add_argument("--device", choices=("cpu", "gpu", "auto"), default="cpu", help="where to compute")
options.add_argument("--epochs", type=int, default=20, help="epochs per stage (default: 20)")
options.add_argument("--seed", type=int, default=0, help="for weights, noise and the order of samples (default: 0)")
options.add_argument("--data", default="fashion-mini", help="a labeled set from `tinyae data`, or a file of your own")
options.add_argument("--layer", choices=("sparse", "denoising", "plain"), default="denoising", help="kind of layers")
options.add_argument("--out", type=Path, metavar="DIR", help="write the pictures there (default: write nothing)")
args = options.parse_args()
try:
    if args.epochs < 1 or args.seed < 0:
        raise ValueError("--epochs must be at least 1 and --seed at least 0")
    data = ta.data.load(args.data)
    if not data.has_labels or data.train.x.min() < 0 or data.train.x.max() > 1:
        raise ValueError(f"this study takes labeled data in [0, 1], {data.name} is not that")
    device = ta.backend.backend_named(args.device).name
except (ValueError, OSError, ta.backend.DeviceError) as error:
    options.error(str(error))
classes = int(data.train.y.max()) + 1
noun = "image" if data.image_shape else "sample"


def adam(parameters):
    """Every stage has its own optimizer, for its own parameters."""
    return ta.optim.Adam(parameters, lr=3e-3)


common = {"batch_size": 64, "optimizer": adam, "seed": args.seed, "progress": False}
stack = ta.models.stacked_autoencoder(
    data.example_shape, (200, 100), layer=args.layer, classes=classes, sample=noun,
    generator=np.random.default_rng(args.seed),
).to(device)  # fmt: skip

print(f"1. LAYER BY LAYER, WITHOUT LABELS: {data.name}, {args.layer} layers\n")
# The second layer is trained on the codes of the first, which is frozen.
for number, history in enumerate(ta.training.fit_stack(stack, data, epochs=args.epochs, **common), start=1):
    losses = history["train_loss"]
    unit = history.units["train_loss"]
    print(f"layer {number}: {losses[0]:8.2f} after the first epoch, {losses[-1]:8.2f} after {len(losses)}, {unit}")
if args.out:  # now: fine-tuning will change the encoders and not the decoders
    args.out.mkdir(parents=True, exist_ok=True)
    picture = args.out / "reconstructions.png"
    print("picture:", ta.training.pictures.draw_reconstructions(stack, data, picture))

print("\n2. THE CODES AS FEATURES\n")
# Softmax regression on codes and on pixels, with few labels: the codes were learned from all images, but without labels.
for labeled in (100, 1000):
    few = np.random.default_rng(args.seed).permutation(len(data.train))[:labeled]
    for words, of in (("pixels", lambda x: x.reshape(len(x), -1)), ("codes", stack.encode)):
        train, test = Split(of(data.train.x[few]), data.train.y[few]), Split(of(data.test.x), data.test.y)
        regression = ta.models.SoftmaxClassifier(
            None, train.x.shape[1], classes, weight_decay=1e-3, generator=np.random.default_rng(args.seed)
        )
        ta.training.fit_classifier(
            regression, train, epochs=5 * args.epochs, optimizer=adam(regression.parameters()), progress=False
        )
        print(
            f"{labeled:5d} labels, softmax classifier on {words:7} {regression.accuracy(test.x, test.y):.1%} accuracy"
        )

print("\n3. THE CLASSIFIER ON TOP, AND FINE-TUNING\n")
before, _ = ta.training.fit_stack_classifier(stack, data.train, data, epochs=(args.epochs, args.epochs), **common)
after = stack.classifier.accuracy(data.test.x, data.test.y)
print(f"all labels, classifier on the frozen codes: {before:.2%} accuracy")
print(f"all labels, the whole network fine-tuned:   {after:.2%} accuracy")

# The same network, labels and number of epochs, but without the layer-wise pre-training.
fresh = ta.models.stacked_autoencoder(
    data.example_shape, (200, 100), layer="plain", classes=classes, generator=np.random.default_rng(args.seed)
).to(device)
moving = [*fresh.encoder.parameters(), *fresh.classifier.output.parameters()]
ta.training.fit_classifier(
    fresh.classifier, data.train, epochs=args.epochs, optimizer=adam(moving), batch_size=64, progress=False
)
print(f"the same network from random weights:       {fresh.classifier.accuracy(data.test.x, data.test.y):.2%} accuracy")

if args.out:
    for file in ta.training.draw_run(stack, data, ta.History(), args.out):
        print("picture:", file)
