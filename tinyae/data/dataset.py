"""What a loaded data set is: two splits of arrays and everything one must know to read their numbers.

A plain frozen record, so that a model never needs to know where the numbers came from. The unit travels with
the values: `scale` turns one unit of `x` back into what was measured (gray levels, passengers, millivolts), which
is what lets a report print an error that means something.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from tinyae.backend.ragged import array_advice
from tinyae.data.scaling import Scaler
from tinyae.data.sequences import Lengths, check_lengths
from tinyae.data.timeline import Timeline

Kind = Literal["images", "sequences", "series", "vectors"]
"""images (N, H, W, C); sequences (N, T, D); series (N, T, D), windows of one recording
in time order; vectors (N, D)."""

_AXES: dict[str, int] = {"images": 4, "sequences": 3, "series": 3, "vectors": 2}


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a data set.

    Attributes:
        x: the examples, float32, first axis N.
        y: the class of each example, int64 (N,), or None where there are no classes.
        lengths: of sequences of unequal length, int64 (N,), the steps that are real; x is 0 behind them. None where
            all T steps are.

    Raises ValueError if there is not one label and one length for each example, or a length that is not from 1 to T.
    """

    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.int64] | None = None
    lengths: Lengths | None = None

    def __post_init__(self) -> None:
        if not hasattr(self.x, "shape"):
            raise TypeError(
                f"the examples of a Split must be a NumPy array (N, ...), got {type(self.x).__name__}: "
                f"{array_advice(self.x, 'write numpy.asarray(x, dtype=numpy.float32)')}."
            )
        if self.y is not None and self.y.shape != self.x.shape[:1]:
            raise ValueError(
                f"labels of shape {self.y.shape} do not fit {len(self.x)} examples: give one class number "
                f"for each, shape ({len(self.x)},)."
            )
        if self.lengths is not None:
            check_lengths(self.lengths, self.x)

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, index: slice | npt.NDArray[Any]) -> Split:
        """The examples of a slice, or of an array of numbers or booleans, with their labels and lengths."""
        return Split(*(None if part is None else part[index] for part in (self.x, self.y, self.lengths)))  # type: ignore[arg-type]

    @property
    def known(self) -> dict[str, Any]:
        """`lengths=` for a model, where the sequences are of unequal length; else nothing."""
        return {} if self.lengths is None else {"lengths": self.lengths}

    @property
    def flat(self) -> npt.NDArray[np.float32]:
        """The examples as vectors (N, D), D the number of values of one example. A view: no copy is made."""
        return self.x.reshape(len(self.x), math.prod(self.x.shape[1:]))

    def __repr__(self) -> str:
        labels = "no labels" if self.y is None else "labelled"
        lengths = "" if self.lengths is None else f", lengths {self.lengths.min()} to {self.lengths.max()}"
        return f"<Split of {len(self):,} x {by(self.x.shape[1:])} {self.x.dtype}, {labels}{lengths}>"


@dataclass(frozen=True, eq=False)
class Dataset:
    """A training and a test split, with their meaning.

    Attributes:
        name: the name it was asked for by, or the file name.
        title: one line of meaning.
        kind: "images" (N, H, W, C), "sequences" and "series" (N, T, D), "vectors" (N, D).
        train, test: the two parts, each a `Split`.
        class_names: what the label numbers stand for; empty where that is unknown.
        unit: what was measured, in words, and
        scale: how many of these units 1.0 in `x` stands for (255 gray levels, 30000 passengers, 1 mV).
        source, licence: where the data come from and on what terms.
        origin: where they were read from this time.
        notes: how the splits were made, and whatever else one should know.
        timeline: of the windows of a recording, None for everything else.
        scaler: how a series was scaled before it was cut into windows, None where nothing was fitted.
        horizon: how many of the last steps of each sequence are the future, for a model that predicts.
        frame_shape: (H, W) where each step of a sequence is an image of D = H W pixels, else None.
        feature_names: what each of the D numbers of a step or vector is; empty where that is unknown.
    """

    name: str
    title: str
    kind: Kind
    train: Split
    test: Split
    class_names: tuple[str, ...] = ()
    unit: str = ""
    scale: float = 1.0
    source: str = ""
    licence: str = ""
    origin: str = ""
    notes: str = ""
    timeline: Timeline | None = None
    scaler: Scaler | None = None
    horizon: int = 0
    frame_shape: tuple[int, int] | None = None
    feature_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"unknown kind {self.kind!r}: choose one of {', '.join(get_args(Kind))}.")
        if self.train.x.ndim != _AXES[self.kind] or self.train.x.shape[1:] != self.test.x.shape[1:]:
            raise ValueError(
                f"{self.kind} need {_AXES[self.kind]} axes and one shape of example in both splits; got "
                f"train {self.train.x.shape} and test {self.test.x.shape}."
            )
        if self.frame_shape is not None and math.prod(self.frame_shape) != self.train.x.shape[-1]:
            raise ValueError(
                f"frames of {self.frame_shape} pixels do not fit steps of {self.train.x.shape[-1]} values."
            )

        if self.feature_names and len(self.feature_names) != self.train.x.shape[-1]:
            raise ValueError(
                f"{len(self.feature_names)} feature_names do not fit {self.train.x.shape[-1]} features: "
                "give one for each, or none."
            )

    @property
    def has_labels(self) -> bool:
        """True if both splits name a class for each example."""
        return self.train.y is not None and self.test.y is not None

    @property
    def has_lengths(self) -> bool:
        """True if the sequences are of unequal length."""
        return self.train.lengths is not None or self.test.lengths is not None

    @property
    def example_shape(self) -> tuple[int, ...]:
        """The shape of one example: (H, W, C), (T, D) or (D,)."""
        return self.train.x.shape[1:]

    def measured(self, x: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Values of examples in what was measured: passengers, millivolts, gray levels."""
        return x.astype(np.float64) * self.scale if self.scaler is None else self.scaler.inverse(x)

    @property
    def value_name(self) -> str:
        """What an axis of values of `x` measures: "mV", "passengers per half hour / 30000", "(mV - 0.3) / 0.52"."""
        if self.scaler is not None and self.scaler.fitted:
            return self.scaler.words(self.unit or "value")
        return f"{self.unit} / {self.scale:g}" if self.unit and self.scale != 1.0 else self.unit or "value"

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """(H, W, C) for images, None for everything else."""
        if self.kind != "images":
            return None
        height, width, channels = self.train.x.shape[1:]
        return height, width, channels

    def __repr__(self) -> str:
        rows = [("train", _numbers(self.train)), ("test", _numbers(self.test))]
        if self.class_names:
            rows.append(("classes", f"{len(self.class_names)}: {', '.join(self.class_names)}"))
        elif self.train.y is not None:
            rows.append(("classes", f"{len(np.unique(self.train.y))} without names"))
        if self.scaler is not None and self.scaler.fitted:
            rows.append(("unit", self.scaler.meaning(self.unit or "value")))
        elif self.unit:
            rows.append(("unit", f"1.0 is {self.scale:g} {self.unit}"))
        rows += [(key, getattr(self, key)) for key in ("notes", "source", "licence", "origin")]
        return "\n".join([f"{self.name}: {self.title} ({self.kind})", *table(rows)])


def by(shape: tuple[int, ...]) -> str:
    """A shape in words: `28 x 28 x 1`."""
    return " x ".join(str(n) for n in shape)


def table(rows: list[tuple[str, str]], width: int = 100) -> list[str]:
    """Lines of name and text, the text wrapped beside its name; a row without text is left out."""
    import textwrap

    lines: list[str] = []
    for name, text in rows:
        lines += textwrap.wrap(
            text,
            width,
            initial_indent=f"  {name:<9}",
            subsequent_indent=" " * 11,
            break_long_words=False,
            break_on_hyphens=False,
        )
    return lines


def _numbers(split: Split) -> str:
    x = split.x
    if not len(split):
        return "empty"
    lengths = "" if split.lengths is None else f" (lengths {split.lengths.min()} to {split.lengths.max()})"
    return (
        f"{len(split):,} of {by(x.shape[1:])}{lengths}, {x.dtype} in [{x.min():.4g}, {x.max():.4g}], "
        f"mean {x.mean(dtype=np.float64):.4g}"
    )
