"""`Loss`, a sum of named terms in one unit, so that nats per image are never added to nats per pixel; and reductions."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

from tinyae import ops
from tinyae.autodiff import Operand, T, Tensor
from tinyae.backend import Array
from tinyae.checks import choose
from tinyae.ops.elementwise import as_floats


class Loss:
    """A loss as the sum of named terms, all in the same unit.

    Args:
        terms: name -> Tensor holding one number, e.g. {"reconstruction": ..., "penalty": ...}.
        unit: the unit of every term, e.g. "nats per image"; see `tinyae.losses.unit`.

    Attributes:
        measured: name -> (number, unit): values that are reported but not minimized.
        of_mean: name of a term -> (values of the samples (N, ...), function): the term is the function of their mean, so
            that over a whole set it is not the mean of the batches; see `tinyae.evaluate`.

    `loss + loss` and `sum(losses)` join the terms; different units raise ValueError. `2.0 * loss` scales every term.

    Example:
        >>> reconstruction = Loss({"reconstruction": Tensor(75.5)}, "nats per image")
        >>> total = reconstruction + 0.5 * Loss({"penalty": Tensor(3.0)}, "nats per image")
        >>> total
        Loss(77.0 nats per image = reconstruction 75.5 + penalty 1.5)
    """

    def __init__(self, terms: dict[str, Tensor], unit: str) -> None:
        if not terms:
            raise ValueError("a Loss needs at least one term: Loss({'reconstruction': value}, unit).")
        for name, value in terms.items():
            if getattr(value, "size", 0) != 1:
                got = f"shape {value.shape}" if hasattr(value, "shape") else type(value).__name__
                raise ValueError(f"the term {name!r} of a Loss must be one number, got {got}: reduce it to a Tensor.")
        self.terms = dict(terms)
        self.unit = unit
        self.measured: dict[str, tuple[Any, str]] = {}
        self.of_mean: dict[str, tuple[Array, Callable[[Array], Any]]] = {}

    @cached_property
    def total(self) -> Tensor:
        """The sum of the terms."""
        first, *others = self.terms.values()
        return sum(others, start=first)

    def backward(self) -> None:
        """Backpropagate from the total."""
        self.total.backward()

    def item(self) -> float:
        """The total as a Python float; on a GPU this waits for the device."""
        return float(self.total.item())

    def __add__(self, other: Loss) -> Loss:
        if not isinstance(other, Loss):
            return NotImplemented
        if other.unit != self.unit:
            raise ValueError(
                f"cannot add a loss in {other.unit!r} to one in {self.unit!r}: use the same reduction for both, "
                "e.g. 'per_sample'."
            )
        shared = sorted(self.terms.keys() & other.terms.keys())
        if shared:
            raise ValueError(f"both losses have a term named {shared[0]!r}: use different names.")
        return Loss({**self.terms, **other.terms}, self.unit)

    def __radd__(self, other: int) -> Loss:
        """0 + loss, the first step of Python's `sum`."""
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def __mul__(self, factor: float) -> Loss:
        return Loss({name: term * factor for name, term in self.terms.items()}, self.unit)

    __rmul__ = __mul__

    def __repr__(self) -> str:
        parts = " + ".join(f"{name} {float(term.item()):.6g}" for name, term in self.terms.items())
        return f"Loss({self.item()} {self.unit} = {parts})"


# ---------------------------------------------------------------------------------------------------------------------
# Reductions: how the losses of the elements become one number, and the unit of that number.
#
# Two terms may be added only if their reductions agree:
#
#     reduction       formula                                   unit of a squared error        unit of a cross-entropy
#     "per_sample"    sum over a sample's elements,             squared error per sample       nats per sample
#                     mean over the N samples
#     "mean"          mean over all elements                    squared error per element      nats per element
#     "sum"           sum over everything                       squared error                  nats
#     "none"          the losses of the elements                squared error per element      nats per element
#
# The default is "per_sample": with it, a reconstruction error in nats and a KL divergence in nats add up to the negative
# ELBO of a sample.

REDUCTIONS = ("per_sample", "mean", "sum", "none")


def reduce(elements: T, reduction: str) -> T:
    """Reduce the losses of the elements (N, ...) as in the table above."""
    if reduction == "none":
        return elements
    return ops.sum(elements) * scale(elements.shape, reduction)


def scale(shape: tuple[int, ...], reduction: str) -> float:
    """The factor by which the sum over an array of `shape` is multiplied."""
    if reduction == "mean":
        return 1.0 / max(math.prod(shape), 1)
    if reduction == "per_sample":
        if not shape:
            raise ValueError("reduction 'per_sample' needs a batch axis, got a single number: use 'sum' or 'mean'.")
        return 1.0 / max(shape[0], 1)
    choose("reduction", reduction, REDUCTIONS)
    return 1.0


def unit(quantity: str, reduction: str, sample: str = "sample") -> str:
    """The unit of a reduced loss, e.g. unit("nats", "per_sample", "image") is "nats per image"."""
    per = {"per_sample": f" per {sample}", "mean": " per element", "none": " per element", "sum": ""}
    return quantity + per[choose("reduction", reduction, REDUCTIONS)]


def check_shapes(name: str, predictions: T, targets: Operand) -> T:
    """The predictions in floating point. Raises unless both are arrays of one shape: (N, 1) and (N,) would compare all pairs."""
    if getattr(predictions, "shape", 0) != getattr(targets, "shape", 1):
        raise _misfit(name, predictions, targets)
    return as_floats(predictions)


def _misfit(name: str, predictions: Operand, targets: Operand) -> TypeError | ValueError:
    for x in (predictions, targets):
        if not hasattr(x, "shape"):
            return TypeError(f"{name}() takes an array, got {type(x).__name__}: make one with numpy.asarray(...).")
    return ValueError(
        f"{name}: predictions have shape {predictions.shape}, targets {targets.shape}; they must be equal "
        "(losses do not broadcast): reshape one of them."
    )
