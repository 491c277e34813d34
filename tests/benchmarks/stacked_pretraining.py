"""Does noise in the layer-wise training pay? Test errors of stacks on 10,000 MNIST digits, layer kinds side by side.

    TINYAE_DATA=... python -m tests.benchmarks.stacked_pretraining --seeds 3

The setting is the "basic" one of Vincent et al. (2010, Table 3): 10,000 training digits, several layers, softmax on top,
fine-tuning. Everything but the noise is the same: sizes, first weights, order of samples, passes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable

import numpy as np

from tinyae import data, optim
from tinyae.autodiff import Tensor
from tinyae.data import Split
from tinyae.models import stacked_autoencoder
from tinyae.training import fit_stack, fit_stack_classifier


def main() -> None:
    """Train every kind of stack with every seed and print one line for each, then the means."""
    options = argparse.ArgumentParser(description="Stacked denoising against stacked plain autoencoders.")
    options.add_argument("--seeds", type=int, default=3, help="how many (default: 3)")
    options.add_argument("--sizes", default="500,500", help="widths of the layers (default: 500,500)")
    options.add_argument("--level", type=float, default=0.25, help="share of masked elements (default: 0.25)")
    options.add_argument("--epochs", type=int, default=15, help="passes for each layer (default: 15)")
    options.add_argument("--tuning", type=int, default=20, help="passes of fine-tuning (default: 20)")
    args = options.parse_args()
    mnist = data.load("mnist")
    train = Split(mnist.train.x[:10_000], mnist.train.y[:10_000])
    sizes = [int(part) for part in args.sizes.split(",")]

    def adam(parameters: Iterable[Tensor]) -> optim.Optimizer:
        return optim.Adam(parameters, lr=1e-3)

    errors: dict[str, list[float]] = {}
    for seed in range(args.seeds):
        for layer in ("plain", "denoising"):
            started = time.perf_counter()
            stack = stacked_autoencoder(
                mnist.example_shape, sizes, layer=layer, level=args.level, classes=10, classifier_decay=0.0,
                sample="image", generator=np.random.default_rng(seed),
            )  # fmt: skip
            common = {"batch_size": 64, "optimizer": adam, "seed": seed, "progress": False}
            fit_stack(stack, train, epochs=args.epochs, **common)
            before, _ = fit_stack_classifier(stack, train, mnist.test, epochs=(10, args.tuning), **common)
            assert before is not None
            assert stack.classifier is not None
            assert mnist.test.y is not None
            after = 1 - stack.classifier.accuracy(mnist.test.x, mnist.test.y)
            errors.setdefault(layer, []).append(after)
            seconds = time.perf_counter() - started
            print(
                f"seed {seed} {layer:10} before {1 - before:.2%} after {after:.2%} wrong ({seconds:.0f} s)", flush=True
            )
    for layer, found in errors.items():
        print(f"{layer:10} {np.mean(found):.2%} wrong on average of {len(found)} seeds")


if __name__ == "__main__":
    main()
