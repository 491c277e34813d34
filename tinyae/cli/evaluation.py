"""How good a trained model is: its metrics, the classes of its codes and of their neighbors, and what it finds unusual."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from tinyae import plots, training
from tinyae.cli.options import (
    SPLITS,
    check_labels,
    chosen_part,
    class_count,
    errors_of_features,
    feature_errors,
    metrics_table,
    open_run,
    with_training,
)
from tinyae.cli.results import Columns, is_results, naming, numbered, write_results
from tinyae.data import Dataset
from tinyae.models import (
    AnomalyDetector,
    Autoencoder,
    VariationalAutoencoder,
    log_likelihood,
    model_entry,
    nearest,
    same_class_share,
)
from tinyae.models.settings import passes_on
from tinyae.streams import Stream, progress_bar
from tinyae.training import LinearProbe
from tinyae.training.pictures import Restored, class_name, class_names, draw_confusion, draw_neighbors, draw_restored

_AT_ONCE = 100
"""Samples per update of the progress bar."""


@passes_on(open_run)
def evaluate(
    run_folder: Path, *, importance_samples: int | None = None, first: int | None = None, **source: Any
) -> None:
    """evaluate a trained model

    Evaluate a trained model on both parts of its own data, or on new data.

    Args:
        importance_samples: K, for a variational autoencoder: estimate log p(x) of the test samples with K codes each, e.g.
            5000.
        first: N, with --importance-samples: use only the first N test samples.
    """
    if first is not None and importance_samples is None:
        raise ValueError("--first has no effect without --importance-samples: add, e.g., --importance-samples 5000.")
    run, model, data = open_run(run_folder, **source)
    if importance_samples and not isinstance(model, VariationalAutoencoder):
        raise ValueError(f"{run.path} holds a model without a distribution over codes: leave --importance-samples out.")
    parts = {"train": data.train, "test": data.test} if len(data.train) else {"new": data.test}
    columns = {name: training.evaluate(model, split) for name, split in parts.items()}
    lines = training.report(model, data, error=list(columns.values())[-1]["squared_error"])
    counts = " and ".join(f"{len(split):,} {name}" for name, split in parts.items())
    print(f"{run.path} on {data.name} ({counts} {model.sample_name}s)")
    print("\n".join([metrics_table(columns), *feature_errors(model, data), *lines]))
    if importance_samples and isinstance(model, VariationalAutoencoder):
        labels = None if data.test.y is None else data.test.y[:first]
        what = "x|class" if model_entry(run.config["model"]).conditional else "x"
        print(_importance_line(model, what, data.test.x[:first], labels, importance_samples))


def _importance_line(model: VariationalAutoencoder, what: str, x: np.ndarray, labels: np.ndarray | None, k: int) -> str:
    """-log p(`what`) with its standard error over the samples, the likelihood and the seed.

    A progress bar shows how far it is: thousands of codes per sample take minutes.
    """
    generator, found = np.random.default_rng(0), []
    visible = Stream(sys.stderr).isatty()
    with progress_bar(visible=visible, total=len(x), unit=f" {model.sample_name}s", desc=f"k = {k:,}") as bar:
        for start in range(0, len(x), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            classes = None if labels is None else labels[part]
            found.append(log_likelihood(model, x[part], k, labels=classes, generator=generator))
            bar.update(len(x[part]))
    nats = -np.concatenate(found)
    error = nats.std() / np.sqrt(len(nats))
    return (
        f"-log p({what}) of {len(x):,} test {model.sample_name}s by k = {k:,} importance samples: {nats.mean():.2f} +- {error:.2f} "
        f"{model.loss_unit}, likelihood {model.likelihood.name}, seed 0"
    )


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
    is_results(out, formats=())
    run, model, data = open_run(run_folder, **source)
    train, test = with_training(run, data).train, data.test
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
    largest = int(np.bincount(train.y.astype(np.intp)).argmax())
    always = "".join(f"{np.mean(y == largest):>10.2%}" for y in (train.y, test.y))
    print(f"{'always the largest class':24}{0:>8}{always}   {class_name(data, largest)}")
    title = f"confusion matrix of a linear classifier on the codes of test {model.sample_name}s"
    for path in draw_confusion(data, found[0], class_count(data), out or run.path / "probe.png", title=title):
        print(f"picture: {path}")


_MEASURED = 1000
"""Test samples used as queries; a search in 784 dimensions is slow."""

_LISTED = 10
"""Test samples whose neighbors are listed if they cannot be drawn."""


@passes_on(open_run)
def neighbors(run_folder: Path, *, count: int = 8, out: Path | None = None, **source: Any) -> None:
    """find the training samples whose codes are closest to those of test samples

    For each test sample, find the training samples whose codes are nearest in Euclidean distance. With labels, prints the
    fraction of neighbors with the same class, for codes and for raw inputs.

    Args:
        count: N, neighbors of each test sample.
        out: FILE.png, picture, .png, .svg or .pdf; by default RUN/neighbors.png.
    """
    is_results(out, formats=())
    run, model, judged = open_run(run_folder, **source)
    if out is not None and judged.image_shape is None:
        raise ValueError(f"--out is for a picture, and {judged.name} has no images to draw: leave it out.")
    own = with_training(run, judged)
    data = replace(judged, train=own.train)
    queries = data.test.rows(slice(0, _MEASURED))
    codes, asked = (model.encode(model.batch(split)).reshape(len(split), -1) for split in (data.train, queries))
    indices, _ = nearest(codes, asked, count)
    if data.train.y is not None and queries.y is not None:
        by_value, _ = nearest(data.train.flat, queries.flat, count)
        sizes = codes.shape[1], data.train.flat.shape[1]
        for words, size, found in (("codes", sizes[0], indices), ("raw inputs", sizes[1], by_value)):
            share = same_class_share(data.train.y, queries.y, found)
            print(f"nearest {count} by {words} ({size} dimensions): {share:.1%} have the same class")
    if data.image_shape is None:
        known = _with_class((_stamps(own) or [*map(str, range(len(own.train)))])[: len(own.train)], data, own.train.y)
        shown = queries.rows(slice(0, _LISTED))
        asked = _with_class([_when(judged, n) for n in range(len(shown))], data, shown.y)
        for name, row in zip(asked, indices, strict=False):
            print(
                f"test {model.sample_name} {name.removeprefix('test ')}: training {model.sample_name}s {', '.join(known[n] for n in row)}"
            )
        print(f"no picture: {data.name} has no images")
        return
    path = out or run.path / "neighbors.png"
    print(f"picture: {draw_neighbors(model, data, indices, path)}")


@passes_on(open_run)
def anomalies(
    run_folder: Path,
    *,
    quantile: float = 0.99,
    split: Annotated[str, SPLITS] | None = None,
    out: Path | None = None,
    **source: Any,
) -> None:
    """score samples by their reconstruction error and draw the scores

    Score every sample by its squared error. The threshold is a quantile of the training scores, which are saved with the run;
    samples above it are listed, with the known incidents at that time.

    Args:
        quantile: Q, quantile of the training scores, in (0, 1).
        split: the part of the run's own data; by default test.
        out: FILE, scores of all samples (.csv, .parquet, .npy) or picture (.png, .svg, .pdf); by default a picture
            RUN/anomalies.png.
    """
    written = is_results(out)
    run, model, data = open_run(run_folder, **source)
    samples, name = chosen_part(data, split)
    judged = data if samples is data.test else replace(data, train=samples.rows(slice(0, 0)), test=samples)
    detector = run.detector(quantile)
    assert detector.threshold is not None
    scores = detector.score(samples)
    exceeded = detector.exceeded(scores)
    flagged = np.flatnonzero(exceeded)
    worst = flagged[np.argsort(-scores[flagged], kind="stable")]
    unit = f"squared error per {model.sample_name}"
    print(f"threshold {detector.threshold:.4g} {unit}: the {quantile:g} quantile of the training scores")
    print(f"{len(flagged):,} of {len(scores):,} {name} {model.sample_name}s are above it")
    for line in _lines(judged, worst, scores):
        print(line)
    if written and out is not None:
        values = {"score": scores, "flagged": exceeded, **_errors(detector, judged)}
        write_results(out, naming(data, samples), values, scores)
        print(f"{out}: scores of {len(scores):,} {model.sample_name}s")
        return
    before = detector.score(judged.train) if len(judged.train) else np.zeros(0)
    order = "s in time order" if judged.timeline else ": training, then test" if len(before) else ""
    figure = plots.score_timeline(
        np.concatenate([before, scores]),
        detector.threshold,
        train=len(before),
        spans=judged.timeline.spans() if judged.timeline else (),
        stamps=_stamps(judged),
        unit=unit,
        recording=_recording(judged),
        breaks=_breaks(judged),
        value_name=judged.unit,
        across=f"{model.sample_name}{order}",
        title=f"{judged.name}: {' and '.join(model.batch(judged.test).outputs)} error of each {model.sample_name}",
    )
    other = f"_{Path(source['data']).stem}" if source.get("data") else ""
    path = out or run.path / f"anomalies{other}.png"
    print(f"picture: {plots.save_figure(figure, path)}")
    if len(worst):
        drawn = worst[: 16 if judged.image_shape else 8]
        print(f"picture: {_draw_worst(model, judged, drawn, path.with_name(f'{path.stem}_worst{path.suffix}'))}")


def _errors(detector: AnomalyDetector, data: Dataset) -> Columns:
    """Columns of errors: by feature, root-mean-square, in its unit; by step, the share of the score."""
    if data.kind == "images":
        return {}
    errors = detector.errors(data.test)
    by_feature = errors_of_features(detector.model, data, errors, each=True)
    names = data.feature_names or [f"value {n}" for n in range(by_feature.shape[1])]
    found: dict[str, np.ndarray] = {f"error of {name}": by_feature[:, n] for n, name in enumerate(names)}
    if errors.ndim == 3:
        found |= numbered("squared error at step", errors.sum(axis=2))
    return found


def _stamps(data: Dataset) -> list[str] | None:
    """The time of each sample, training samples first; else its id, or None if it has neither."""
    if data.timeline:
        return [data.timeline.stamp(n) for n in range(len(data.train) + len(data.test))]
    if data.train.ids is None or data.test.ids is None:
        return None
    return [str(name) for name in (*data.train.ids, *data.test.ids)]


def _recording(data: Dataset) -> np.ndarray | None:
    """The recording of a univariate series: of each window, the steps before the next window begins."""
    if data.kind != "series" or data.example_shape[1] != 1:
        return None
    x = np.concatenate([data.train.x, data.test.x])
    share = 1.0
    if data.timeline is not None and data.timeline.stride_seconds is not None:
        share = min(1.0, data.timeline.stride_seconds / data.timeline.window_seconds)
    return data.measured(x[:, : max(1, round(share * x.shape[1]))])


def _breaks(data: Dataset) -> list[int]:
    """Indices of the windows before which the recording has, or may have, a gap."""
    line = data.timeline
    if line is None:  # unknown: the last training window may end before the test part begins
        return [len(data.train)]
    if (line.stride_seconds or 0.0) > line.window_seconds:
        return list(range(1, len(data.train) + len(data.test)))
    return [] if line.border is None else [line.border[0]]


def _draw_worst(model: Autoencoder, data: Dataset, worst: np.ndarray, path: Path) -> Path:
    """Draw the flagged samples with the largest errors and their reconstructions."""
    restored = Restored.of(model, data.test.rows(worst))
    made = " and ".join(f"{word}s" for word in restored.outputs)
    figure = draw_restored(
        data,
        restored,
        labels=[(_class(data, int(n)) if data.image_shape else "") or _when(data, int(n)) for n in worst],
        count=len(worst),
        title=f"{data.name}: the {model.sample_name}s with the largest errors, and their {made}",
    )
    return plots.save_figure(figure, path)


def _when(data: Dataset, index: int) -> str:
    """The time of a test sample, or its id, or its index."""
    if data.timeline:
        return data.timeline.stamp(len(data.train) + index)
    if data.test.ids is not None:
        return str(data.test.ids[index])
    return f"test {index}" if len(data.train) else str(index)


def _with_class(names: Sequence[str], data: Dataset, labels: np.ndarray | None) -> list[str]:
    """Names of samples, with the class in parentheses where it is known."""
    classes = class_names(data, labels)
    return [*names] if classes is None else [f"{name} ({word})" for name, word in zip(names, classes, strict=True)]


def _class(data: Dataset, index: int) -> str:
    """The class of a test sample; "" without labels."""
    return "" if data.test.y is None else class_name(data, int(data.test.y[index]))


def _lines(data: Dataset, worst: np.ndarray, scores: np.ndarray, most: int = 20) -> list[str]:
    """One line for each flagged test sample, the worst first, and how many known incidents were detected."""
    clock = data.timeline
    known = [clock.incidents_in(len(data.train) + int(index)) if clock else [] for index in worst]
    words = [", ".join(filter(None, [_class(data, int(n)), *names])) for n, names in zip(worst, known, strict=True)]
    lines = [
        f"  {_when(data, int(index)):20}{scores[index]:>10.4g}   {told}".rstrip()
        for index, told in zip(worst[:most], words, strict=False)
    ]
    if len(worst) > most:
        lines.append(f"  and {len(worst) - most:,} more")
    if clock and clock.incidents:
        met, outside = {name for names in known for name in names}, sum(not names for names in known)
        lines.append(f"known incidents detected: {len(met)} of {len(clock.incidents)}; flagged outside them: {outside}")
    return lines
