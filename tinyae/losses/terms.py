"""`Loss`: named terms in one unit, so that nats per image are never added to nats per pixel."""

from __future__ import annotations

from typing import Any

from tinyae.autodiff import Tensor


class Loss:
    """A loss as the sum of named terms, all in one unit.

    Args:
        terms: name -> Tensor holding one number, e.g. {"reconstruction": ..., "penalty": ...}.
        unit: the unit of every term, e.g. "nats per image"; see `tinyae.losses.unit`.

    Losses of one unit add up term by term; adding unlike units raises, also in `sum(losses)`. `2.0 * loss` scales every
    term.

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
            if value.size != 1:
                raise ValueError(
                    f"the term {name!r} of a Loss must be one number, got shape {value.shape}: reduce it first."
                )
        self.terms = dict(terms)
        self.unit = unit

    @property
    def total(self) -> Tensor:
        """The sum of the terms."""
        first, *rest = self.terms.values()
        for term in rest:
            first = first + term
        return first

    def backward(self) -> None:
        """Backpropagate from the total."""
        self.total.backward()

    def item(self) -> float:
        """The total as a Python float (on a GPU this waits)."""
        return float(self.total.item())

    def __add__(self, other: Any) -> Loss:
        if not isinstance(other, Loss):
            return NotImplemented
        if other.unit != self.unit:
            raise ValueError(
                f"cannot add a loss in {other.unit!r} to one in {self.unit!r}: reduce both the same way, "
                "e.g. reduction='per_sample' for both."
            )
        shared = sorted(self.terms.keys() & other.terms.keys())
        if shared:
            raise ValueError(f"both losses have a term named {shared[0]!r}: give them different names.")
        return Loss({**self.terms, **other.terms}, self.unit)

    def __radd__(self, other: Any) -> Loss:
        """0 + loss, with which Python's `sum` begins."""
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def __mul__(self, factor: float) -> Loss:
        return Loss({name: term * factor for name, term in self.terms.items()}, self.unit)

    __rmul__ = __mul__

    def __repr__(self) -> str:
        parts = " + ".join(f"{name} {float(term.item()):.6g}" for name, term in self.terms.items())
        return f"Loss({self.item()} {self.unit} = {parts})"
