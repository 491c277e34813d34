"""`tinyae anomalies RUN`: the test samples with a large reconstruction error."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tinyae import plots
from tinyae.cli.options import data_for, open_run
from tinyae.data import Dataset, Split
from tinyae.models import AnomalyDetector, Autoencoder
from tinyae.models.settings import passes_on
from tinyae.training.pictures import Restored, draw_restored


@passes_on(open_run)
def anomalies(
    run_folder: Path, *, quantile: float = 0.99, out: Path | None = None, data: str | None = None, **source: Any
) -> None:
    """score test samples by their reconstruction error and draw the scores

    Score every sample by its squared error. The threshold is a quantile of the training scores; test samples above it are
    listed, with the known incidents at that time. With --data, all samples are scored, with the run's own scaling and
    threshold.

    Args:
        quantile: Q, quantile of the training scores, in (0, 1).
        out: FILE.png, picture, .png, .svg or .pdf; by default RUN/anomalies.png.
    """
    run, model, judged = open_run(run_folder, data=data, **source)
    usual = judged.train
    if data is not None:  # the threshold is that of the run's own training samples
        usual, judged = data_for(run, model).train, _all_new(judged)
    detector = AnomalyDetector(model, quantile).fit(usual)
    assert detector.threshold is not None
    before, scores = (detector.score(split) if len(split) else np.zeros(0) for split in (judged.train, judged.test))
    unit = f"squared error per {model.sample_name}"
    flagged = np.flatnonzero(scores > detector.threshold)
    print(f"threshold {detector.threshold:.4g} {unit}: the {quantile:g} quantile of {len(usual):,} training scores")
    kind = "test" if data is None else judged.name
    print(f"{len(flagged):,} of {len(scores):,} {kind} {model.sample_name}s are above it")
    for line in _lines(judged, flagged, scores):
        print(line)
    figure = plots.score_timeline(
        np.concatenate([before, scores]),
        detector.threshold,
        train=len(before),
        spans=judged.timeline.spans() if judged.timeline else (),
        stamps=[judged.timeline.stamp(i) for i in range(len(before) + len(scores))] if judged.timeline else None,
        unit=unit,
        recording=_recording(judged),
        breaks=_breaks(judged),
        value_name=judged.unit,
        across=f"{model.sample_name}s in time order" if judged.timeline else model.sample_name,
        title=f"{judged.name}: {' and '.join(model.batch(judged.test).outputs)} error of each {model.sample_name}",
    )
    other = "" if data is None else f"_{Path(data).stem}"
    path = out or run.path / f"anomalies{other}.png"
    print(f"picture: {plots.save_figure(figure, path)}")
    if judged.kind in ("series", "sequences") and len(flagged):
        worst = flagged[np.argsort(-scores[flagged], kind="stable")][:_DRAWN]
        print(f"picture: {_draw_worst(model, judged, worst, path.with_name(f'{path.stem}_worst{path.suffix}'))}")


def _all_new(data: Dataset) -> Dataset:
    """The data with all samples in the test split."""
    parts = (data.train, data.test)
    whole = (
        None if getattr(data.test, name) is None else np.concatenate([getattr(part, name) for part in parts])
        for name in ("x", "y", "lengths")
    )
    return replace(data, train=data.train.rows(slice(0, 0)), test=Split(*whole))  # type: ignore[arg-type]


_DRAWN = 8
"""Flagged samples that are drawn with their reconstructions."""


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
        labels=[_when(data, int(index)) for index in worst],
        count=_DRAWN,
        title=f"{data.name}: the {model.sample_name}s with the largest errors, and their {made}",
    )
    return plots.save_figure(figure, path)


def _when(data: Dataset, index: int) -> str:
    """The time of a test sample, or its index."""
    return data.timeline.stamp(len(data.train) + index) if data.timeline else f"test {index}"


def _lines(data: Dataset, flagged: np.ndarray, scores: np.ndarray, most: int = 20) -> list[str]:
    """One line for each of the worst flagged test samples, and how many known incidents were detected."""
    worst = flagged[np.argsort(-scores[flagged], kind="stable")][:most]
    lines = []
    for index in worst:
        window = len(data.train) + int(index)
        when = _when(data, int(index))
        known = ", ".join(data.timeline.incidents_in(window)) if data.timeline else ""
        lines.append(f"  {when:20}{scores[index]:>10.4g}   {known}".rstrip())
    if len(flagged) > most:
        lines.append(f"  and {len(flagged) - most:,} more")
    if data.timeline and data.timeline.incidents:
        windows = [len(data.train) + int(index) for index in flagged]
        met = {name for window in windows for name in data.timeline.incidents_in(window)}
        outside = sum(not data.timeline.incidents_in(window) for window in windows)
        lines.append(
            f"known incidents detected: {len(met)} of {len(data.timeline.incidents)}; flagged outside them: {outside}"
        )
    return lines
