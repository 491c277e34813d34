"""`tinyae anomalies RUN`: the samples with a large reconstruction error."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from tinyae import plots
from tinyae.cli.options import SPLITS, chosen_part, errors_of_features, open_run
from tinyae.cli.results import Columns, is_results, naming, numbered, write_results
from tinyae.data import Dataset
from tinyae.models import AnomalyDetector, Autoencoder
from tinyae.models.settings import passes_on
from tinyae.training.pictures import Restored, class_name, draw_restored


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
