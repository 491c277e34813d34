"""`detect_anomaly`: where the first NaN or infinity appeared.

NaN propagates, so the loss in which it is noticed is seldom where it began. Within `with detect_anomaly():` every result and
every gradient of this thread is checked, and the first that is not finite raises an error with the operation, its arguments,
the layer and the training step.

The check is a `tinyae.autodiff.Observer`: the engine reports results and gradients to it, a Module its calls, and an
optimizer its steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyae.autodiff import Node, Observer, observers, set_observers
from tinyae.autodiff.tape import scope
from tinyae.backend import Array, backend_of
from tinyae.checks import check_kind
from tinyae.nn import Module


@dataclass(frozen=True)
class Range:
    """Summary of the values of an array.

    Attributes:
        name: e.g. "argument 0".
        shape, dtype: of the array; () and the type's name for a number.
        low, high: smallest and largest finite value, None if there is none.
        nans, infinities: how many values are NaN, and how many are infinite.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    low: float | None
    high: float | None
    nans: int
    infinities: int

    def __str__(self) -> str:
        parts = [] if self.low is None else [f"{self.low:.6g} to {self.high:.6g}"]
        parts += [f"{self.nans} NaN"] if self.nans else []
        parts += [f"{self.infinities} infinite"] if self.infinities else []
        return f"{self.name} {self.dtype} {self.shape}: {', '.join(parts) or 'empty'}"


class AnomalyError(FloatingPointError):
    """The first NaN or infinity that `detect_anomaly` found.

    Attributes:
        op: the operation that produced it or got it as an argument; the optimizer's name in an update.
        phase: "forward", "backward" or "update".
        layer: dotted name and class of the layer, e.g. "Autoencoder.encoder.0 (Dense)"; None outside any layer.
        step: the training step, from 1, counted by optimizer steps in the block.
        entered: True if an input already had it: the data, a parameter, or `grad_output`.
        ranges: the arrays checked; first those that are not finite.
    """

    def __init__(
        self, op: str, phase: str, place: str, ranges: list[Range], entered: bool, layer: str | None, step: int
    ) -> None:
        word = "NaN" if ranges[0].nans else "infinity"
        came = f"{'a' if word == 'NaN' else 'an'} {word} was given to" if entered else f"the first {word} appeared in"
        where = f"in layer {layer}" if layer else "outside of any layer"
        held = "; ".join(map(str, ranges))
        super().__init__(f"{came} {place} ({phase}), {where}, in step {step}: {held}.")
        self.op = op
        self.phase = phase
        self.layer = layer
        self.step = step
        self.entered = entered
        self.ranges = tuple(ranges)


class LayerWatch:
    """The part of an `Observer` that knows the layers."""

    def __init__(self) -> None:
        self.layers: list[tuple[Module, str]] = []  # those being called and their names, outermost first
        self.rules: list[Node] = []  # whose gradient rules are running on Tensors, outermost first
        self.origins: dict[int, str] = {}  # the layer in which a node was recorded, by its serial number
        self._labels: dict[tuple[object, ...], str] = {}  # names of layers by the call

    @property
    def layer(self) -> str | None:
        """The innermost layer being called."""
        return self.layers[-1][1] if self.layers else None

    @contextmanager
    def during(self, scope: object) -> Iterator[None]:
        """Remember the layer that is being called, or the node whose rules run."""
        stack: list[Any] = self.layers if isinstance(scope, Module) else self.rules
        if isinstance(scope, Module):
            call = (*self.layers, scope)
            scope = (scope, self._labels.get(call) or self._labels.setdefault(call, _label(self.layers, scope)))
        stack.append(scope)
        try:
            yield
        finally:
            stack.pop()


class AnomalyWatch(LayerWatch, Observer):
    """The state of one `detect_anomaly` block."""

    def __init__(self, infinity: bool) -> None:
        super().__init__()
        self.infinity = infinity  # whether to check for infinities too, not only for NaN
        self.step = 1  # the current training step

    def result(self, name: str, args: Sequence[Any], out: Array, node: Node | None) -> None:
        """Check the result of a primitive, and remember its layer."""
        if node is not None and self.layer:
            self.origins[node.serial] = self.layer
        if self._fine(out):
            return
        arguments = [_range(f"argument {i}", a) for i, a in enumerate(args) if _numeric(a)]
        arguments.sort(key=lambda r: not self._wrong(r))
        given, made = bool(arguments) and self._wrong(arguments[0]), _range("result", out)
        ranges = [*arguments, made] if given else [made, *arguments]
        if not self.rules:
            raise AnomalyError(name, "forward", name, ranges, given, self.layer, self.step)
        rule = self.rules[-1]
        place = f"{name} in the gradient rule of {rule.name}"
        raise AnomalyError(rule.name, "backward", place, ranges, given, self.origins.get(rule.serial), self.step)

    def gradient(self, node: Node, position: int, g: Any, c: Any, parent: Node, total: Any) -> None:
        """Check the result c of a gradient rule for the cotangent g, and `total`, the gradient of the parent so far."""
        made, arrived = getattr(c, "_data", c), getattr(total, "_data", total)
        if self._fine(made) and self._fine(arrived):
            return
        op = node.name
        seen = [_range("cotangent", getattr(g, "_data", g)), _range("result", node.out)]
        seen += [_range(f"argument {i}", a) for i, a in enumerate(node.args) if _numeric(a)]
        entered = self._wrong(seen[0])
        if not entered and self._fine(made):
            to = "a leaf" if parent.primitive is None else f"the result of {parent.name}"
            place = f"the sum of the gradients that arrive at {to}, the last from {op}"
            seen = [_range("sum", arrived), _range("last part", made)]
        else:
            place = f"the gradient rule of {op} for argument {position}"
            seen = seen if entered else [_range("gradient", made), *seen]
        raise AnomalyError(op, "backward", place, seen, entered, self.origins.get(node.serial), self.step)

    def updated(self, method: str, param: Array | None, grad: Array | None) -> None:
        """Check the parameters after an optimizer step, count the step, and forget the nodes of earlier ones."""
        if param is not None and not self._fine(param):
            ranges = [_range("all parameters", param), _range("all gradients", grad)]
            raise AnomalyError(method, "update", method, ranges, self._wrong(ranges[1]), None, self.step)
        self.step += 1
        self.origins.clear()

    def _fine(self, array: Any) -> bool:
        if getattr(getattr(array, "dtype", None), "kind", "") not in ("f", "c"):
            return True
        xp = backend_of(array).xp
        return bool(xp.isfinite(array).all()) if self.infinity else not bool(xp.isnan(array).any())

    def _wrong(self, found: Range) -> bool:
        return found.nans > 0 or (self.infinity and found.infinities > 0)


@scope
def detect_anomaly(infinity: bool = True) -> Iterator[None]:
    """Within the block, raise `AnomalyError` at the first NaN or infinity, forward or backward, in this thread.

    Args:
        infinity: False checks for NaN only, for code that masks with -inf on purpose.

    Put both the forward and the backward pass into the block: the layer of a backward error is the one in which the result
    was recorded. Every array is checked (on a GPU with a synchronization each), so this is for debugging, not for training.
    NumPy's warnings are off within the block.

    Example:
        >>> from tinyae import Tensor, ops
        >>> with detect_anomaly():
        ...     ops.log(Tensor([2.0, -1.0]))  # doctest: +ELLIPSIS, +NORMALIZE_WHITESPACE
        Traceback (most recent call last):
        tinyae.inspect.anomaly.AnomalyError: the first NaN appeared in log (forward), outside of any layer, in step 1:
        result float32 (2,): 0.693147 to 0.693147, 1 NaN; argument 0 float32 (2,): -1 to 2.
    """
    check_kind("detect_anomaly: infinity", infinity, bool)
    others = [observer for observer in observers() if not isinstance(observer, AnomalyWatch)]
    quiet = np.errstate(divide="ignore", over="ignore", invalid="ignore")
    with set_observers(*others, AnomalyWatch(infinity)), quiet:
        yield


def _label(layers: list[tuple[Module, str]], module: Module) -> str:
    """`Autoencoder.encoder.0 (Dense)`; `Outer > Inner` for a layer called by another that it is not part of."""
    kind = type(module).__name__
    if not layers:
        return kind
    for caller, label in reversed(layers):  # of a layer with several names, the one below what calls it
        name = next((name for name, part in caller.named_modules() if part is module), None)
        if name is not None:
            return f"{label.rpartition(' (')[0] or label}.{name} ({kind})" if name else label
    return f"{layers[-1][1]} > {kind}"


def _numeric(value: Any) -> bool:
    if isinstance(value, (bool, int, float)):
        return True
    return getattr(getattr(value, "dtype", None), "kind", "") in ("b", "i", "u", "f", "c")


def _range(name: str, value: Any) -> Range:
    """The range of a number or an array on any device; of complex numbers, that of their absolute values."""
    kind = str(value.dtype) if hasattr(value, "dtype") else type(value).__name__
    host = backend_of(value).to_host(value) if hasattr(value, "shape") else np.asarray(value)
    with np.errstate(all="ignore"):
        numbers = np.abs(host) if host.dtype.kind == "c" else host
        finite = numbers[np.isfinite(numbers)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (None, None)
    nans, infinities = int(np.isnan(numbers).sum()), int(np.isinf(numbers).sum())
    return Range(name, tuple(host.shape), kind, low, high, nans, infinities)
