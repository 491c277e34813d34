"""`tinyae probe RUN`: the accuracy of a linear classifier on the codes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tinyae.cli.options import check_labels, class_count, open_run, training_part
from tinyae.models.settings import passes_on
from tinyae.training import LinearProbe
from tinyae.training.pictures import draw_confusion


@passes_on(open_run)
def probe(
    run_folder: Path, *, weight_decay: float = 0.0, iterations: int = 200, out: Path | None = None, **source: Any
) -> None:
    """fit a linear classifier to the codes

    Fit a softmax regression to the standardized codes of the training samples. Prints its accuracy, for codes and for raw
    inputs. The model is not changed.

    Args:
        weight_decay: of the classifier.
        iterations: maximum number of L-BFGS iterations.
        out: FILE.png, picture, .png, .svg or .pdf; by default RUN/probe.png.
    """
    run, model, data = open_run(run_folder, **source)
    train, test = training_part(run, data), data.test
    data = replace(data, train=train)
    check_labels(data, "a classifier needs")
    assert train.y is not None
    assert test.y is not None
    print(f"linear classifiers on {data.name}: {len(train):,} samples to fit them, {len(test):,} to test them")
    print(f"{'':24}{'features':>8}{'train':>10}{'test':>10}   accuracy")
    given = {
        "codes": [model.encode(model.batch(split)).reshape(len(split), -1) for split in (train, test)],
        "raw inputs": [train.flat, test.flat],
    }
    found: list[np.ndarray] = []
    for words, (before, after) in given.items():
        fitted = LinearProbe(weight_decay, iterations).fit(before, train.y, progress=True, title=words)
        found.append(fitted.predict(after))
        shares = fitted.accuracy(before, train.y), np.mean(found[-1] == test.y)
        print(f"{words:24}{before.shape[1]:>8}" + "".join(f"{share:>10.2%}" for share in shares))
    largest = np.bincount(train.y.astype(np.intp)).argmax()
    print(
        f"{'always the largest class':24}{0:>8}" + "".join(f"{np.mean(y == largest):>10.2%}" for y in (train.y, test.y))
    )
    title = f"confusion matrix of a linear classifier on the codes of test {model.sample_name}s"
    for path in draw_confusion(data, found[0], class_count(data), out or run.path / "probe.png", title=title):
        print(f"picture: {path}")
