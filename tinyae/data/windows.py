"""Windows: a long series cut into samples of equal length, for training and, from a later part, for testing.

No window reaches across the border between the two parts, and the scaling is fitted on the training part alone, so that
nothing of the test part is known before it is measured. With a horizon every window carries the steps that follow it:
the future that a model is to predict.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyae.data.dataset import Dataset, Split
from tinyae.data.scaling import Scaler
from tinyae.data.sequences import as_series
from tinyae.data.timeline import Timeline


def cut_windows(series: Any, length: int, *, stride: int = 1, horizon: int = 0) -> npt.NDArray[np.float64]:
    """All windows (N, length + horizon, D) of a series (T,) or (T, D), one beginning every `stride` steps.

    Window n is series[n stride : n stride + length + horizon]; N = floor((T - length - horizon) / stride) + 1.

    Raises ValueError for sizes below 1, for a horizon or a window longer than the series, and for NaN, with its place.

    >>> cut_windows([1, 2, 3, 4, 5], 2, stride=2, horizon=1)[:, :, 0].tolist()
    [[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]]
    """
    values = as_series(series, "the series")
    _check_sizes(length, stride, horizon, len(values), f"the series of {len(values)} steps")
    view = np.lib.stride_tricks.sliding_window_view(values, length + horizon, axis=0)[::stride]
    return np.ascontiguousarray(view.transpose(0, 2, 1))


def windows(
    series: Any,
    length: int,
    *,
    stride: int = 1,
    horizon: int = 0,
    train: float | int = 0.8,
    scaling: str | Scaler = "standard",
    name: str = "series",
    unit: str = "",
    timeline: Timeline | None = None,
    feature_names: tuple[str, ...] = (),
) -> Dataset:
    """A series (T,) or (T, D) in time order as a data set of windows.

    Args:
        length: steps that a model sees.
        stride: steps from one window to the next; `length` cuts without overlap.
        horizon: steps that follow each window and are to be predicted; samples have length + horizon steps.
        train: the training part from the start of the series: a share in (0, 1), or a whole number of steps.
        scaling: "standard", "range" or "none", see `Scaler.fit`; fitted on the training part. Or a scaler that is fitted
            already, to see these data as a model saw others.
        name, unit: of the series. Several features have no unit in common once each is scaled by itself.
        timeline: the clock of the series, one window of it being one step.
        feature_names: what each feature is, D words, or none.

    Returns:
        A data set of kind "series" with `horizon` and `scaler`: `data.scaler.inverse(x)` has the unit of the series.
    """
    values = as_series(series, "the series")
    border = _border(train, len(values))
    _check_sizes(length, stride, horizon, border, f"the training part ({border} of {len(values)} steps)")
    _check_sizes(length, stride, horizon, len(values) - border, f"the test part ({len(values) - border} steps)")
    scaler = scaling if isinstance(scaling, Scaler) else Scaler.fit(values[:border], scaling)
    if scaler.offset.shape != values.shape[1:]:
        raise ValueError(f"a scaler of {len(scaler.offset)} features does not fit a series of {values.shape[1]}.")
    before, after = (
        Split(cut_windows(scaler.apply(part), length, stride=stride, horizon=horizon).astype(np.float32))
        for part in (values[:border], values[border:])
    )
    fitted = (
        f"{scaling.method}, fitted beforehand"
        if isinstance(scaling, Scaler)
        else f"{scaling}, fitted on the training part"
    )
    single = values.shape[1] == 1
    return Dataset(
        name,
        f"windows of {length} steps" + (f" and the {horizon} that follow" if horizon else ""),
        "series",
        before,
        after,
        unit=unit or "units of the series" if single or scaling == "none" else "",
        scale=float(scaler.scale[0]) if single else 1.0,
        origin="cut from a series",
        notes=f"A window every {stride} steps. Train is the first {border:,} steps, test the other "
        f"{len(values) - border:,}; no window lies in both. Scaling: {fitted}.",
        timeline=None if timeline is None else timeline.of_windows(length + horizon, stride, len(before), border),
        scaler=scaler,
        horizon=horizon,
        feature_names=tuple(feature_names),
    )


def rewindow(
    data: Dataset, length: int, *, stride: int | None = None, horizon: int = 0, scaling: str | None = None
) -> Dataset:
    """A recording that was cut into windows without gap or overlap, cut anew; both parts stay what they were.

    `stride` None cuts without overlap. `scaling` None keeps the numbers as they are.
    """
    if data.kind != "series" or data.horizon or (data.timeline is not None and data.timeline.strided):
        raise ValueError(
            f"{data.name} is no recording cut into windows end to end, so it cannot be cut anew: "
            "give a series to tinyae.data.windows."
        )
    parts = [split.x.reshape(-1, split.x.shape[2]) for split in (data.train, data.test)]
    made = windows(
        np.concatenate(parts), length, stride=stride or length, horizon=horizon, train=len(parts[0]),
        scaling=scaling or "none", name=data.name, unit=data.unit,
        timeline=None if data.timeline is None else data.timeline.finer(data.train.x.shape[1]),
        feature_names=data.feature_names,
    )  # fmt: skip
    assert made.scaler is not None
    features = len(made.scaler.scale)
    first = data.scaler or Scaler(np.zeros(features), np.full(features, data.scale))
    return replace(
        made,
        source=data.source,
        licence=data.licence,
        origin=data.origin,
        scale=made.scale * data.scale,
        scaler=made.scaler.after(first),
    )


def _border(train: float | int, steps: int) -> int:
    """The number of training steps. ValueError unless both parts keep some."""
    if steps < 2:
        raise ValueError(f"a series of {steps} step cannot be divided: give two or more, to train and to test with.")
    border = int(train) if isinstance(train, int | np.integer) else round(float(train) * steps)
    if not 0 < border < steps:
        raise ValueError(
            f"train={train!r} leaves {border} of {steps} steps to train with: give a share such as 0.8, or a number of "
            f"steps from 1 to {steps - 1}."
        )
    return border


def _check_sizes(length: int, stride: int, horizon: int, steps: int, whole: str) -> None:
    for name, size, least in (("length", length, 1), ("stride", stride, 1), ("horizon", horizon, 0)):
        if not isinstance(size, int | np.integer) or isinstance(size, bool) or size < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, got {size!r}.")
    if horizon >= steps:
        raise ValueError(
            f"a horizon of {horizon} steps is longer than {whole}: predict fewer steps or give a longer series."
        )
    if length + horizon > steps:
        raise ValueError(
            f"a window of {length} steps with a horizon of {horizon} does not fit into {whole}: "
            "make it shorter or give a longer series."
        )
