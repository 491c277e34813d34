"""`detect_anomaly`: where the first NaN or infinity appeared.

One NaN makes everything NaN that is computed from it, so where it shows, in the loss, is seldom where it came from.
Within `with detect_anomaly():` every result and every gradient of this thread is looked at as soon as there is one, and
the first that is not finite raises an error that names the operation, what it was given, the layer and the training step.

The engine knows nothing of this: it reports to every `tinyae.autodiff.Observer` in its list, a Module reports when it is
called, and an optimizer when a step is done.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyae.autodiff import Node, Observer, observers, set_observers
from tinyae.backend import Array, backend_of
from tinyae.nn import Module


@dataclass(frozen=True)
class Range:
    """What an array holds: enough to see why a result could not be finite.

    Attributes:
        name: what it is called, e.g. "argument 0".
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
    """The first NaN or infinity that `detect_anomaly` met.

    Attributes:
        op: the operation that made it, or that was given it; the optimizer's name in an update.
        phase: "forward", "backward" or "update".
        layer: dotted name and class of the layer, e.g. "Autoencoder.encoder.0 (Dense)"; None outside of any.
        step: the training step, counted from 1 by the optimizers' steps since the block began.
        entered: True if it was there before: in data, in a parameter, or in `grad_output`.
        ranges: what was looked at; first what is not finite.
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


class AnomalyWatch(Observer):
    """What one `detect_anomaly` block knows: the layer being called, the step, and the layer of each recorded node.

    Attributes:
        infinity: whether infinities count, or NaN only.
        step: the present training step, from 1.
        layers: (module, name) of the layers being called, outermost first.
        rules: the nodes whose gradient rules are running on Tensors, outermost first.
        origins: the layer in which a node was recorded, by its serial number, since the last step.
    """

    def __init__(self, infinity: bool) -> None:
        self.infinity = infinity
        self.step = 1
        self.layers: list[tuple[Module, str]] = []
        self.rules: list[Node] = []
        self.origins: dict[int, str] = {}

    @property
    def layer(self) -> str | None:
        """The innermost layer being called."""
        return self.layers[-1][1] if self.layers else None

    @contextmanager
    def during(self, scope: object) -> Iterator[None]:
        """Remember the layer that is being called, or the node whose rules run."""
        stack: list[Any] = self.layers if isinstance(scope, Module) else self.rules
        stack.append((scope, _label(self.layers, scope)) if isinstance(scope, Module) else scope)
        try:
            yield
        finally:
            stack.pop()

    def result(self, name: str, args: Sequence[Any], out: Array, node: Node | None) -> None:
        """Look at what the primitive of that name made of Tensors, and remember in which layer."""
        if node is not None and self.layer:
            self.origins[node.serial] = self.layer
        if self._fine(out):
            return
        arguments = [_range(f"argument {i}", a) for i, a in enumerate(args) if _numeric(a)]
        given = [r for r in arguments if self._wrong(r)]
        ranges = [*given, *[r for r in arguments if r not in given], _range("result", out)]
        if not given:
            ranges = [ranges[-1], *ranges[:-1]]
        if not self.rules:
            raise AnomalyError(name, "forward", name, ranges, bool(given), self.layer, self.step)
        rule = self.rules[-1]
        place = f"{name} in the gradient rule of {rule.name}"
        raise AnomalyError(rule.name, "backward", place, ranges, bool(given), self.origins.get(rule.serial), self.step)

    def gradient(self, node: Node, position: int, g: Any, c: Any, parent: Node, total: Any) -> None:
        """Look at what a gradient rule made of the cotangent g: c, and `total`, what has arrived at the parent so far."""
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
        """Look at the parameters after an optimizer's update, and count the step: graphs of earlier steps are done with."""
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


@contextmanager
def detect_anomaly(infinity: bool = True) -> Iterator[None]:
    """Within the block, raise `AnomalyError` at the first NaN or infinity, forward or backward, in this thread.

    Args:
        infinity: False lets infinities pass, for code that masks with -inf on purpose, and stops at NaN only.

    Put the forward pass and the backward pass into the block: the layer of a backward error is the one in which the
    result was recorded. It looks at every array (on a GPU it waits for each), so it is for finding a mistake, not for
    training. NumPy's own warnings are silent within.

    Example:
        >>> from tinyae import Tensor, ops
        >>> with detect_anomaly():
        ...     ops.log(Tensor([2.0, -1.0]))  # doctest: +ELLIPSIS, +NORMALIZE_WHITESPACE
        Traceback (most recent call last):
        tinyae.inspect.anomaly.AnomalyError: the first NaN appeared in log (forward), outside of any layer, in step 1:
        result float32 (2,): 0.693147 to 0.693147, 1 NaN; argument 0 float32 (2,): -1 to 2.
    """
    others = [observer for observer in observers() if not isinstance(observer, AnomalyWatch)]
    quiet = np.errstate(divide="ignore", over="ignore", invalid="ignore")
    with set_observers(*others, AnomalyWatch(infinity)), quiet:
        yield


def _label(layers: list[tuple[Module, str]], module: Module) -> str:
    """`Autoencoder.encoder.0 (Dense)`; `Outer > Inner` for one that is called by another but is not part of it."""
    kind = type(module).__name__
    if not layers:
        return kind
    root = layers[0][0]
    name = next((name for name, part in root.named_modules() if part is module), None)
    if name is None:
        return f"{layers[-1][1]} > {kind}"
    return f"{type(root).__name__}.{name} ({kind})" if name else kind


def _numeric(value: Any) -> bool:
    if isinstance(value, (bool, int, float)):
        return True
    return getattr(getattr(value, "dtype", None), "kind", "") in ("b", "i", "u", "f", "c")


def _range(name: str, value: Any) -> Range:
    """The range of an array of any device, or of a number; of complex numbers that of their sizes."""
    kind = str(value.dtype) if hasattr(value, "dtype") else type(value).__name__
    host = backend_of(value).to_host(value) if hasattr(value, "shape") else np.asarray(value)
    with np.errstate(all="ignore"):
        numbers = np.abs(host) if host.dtype.kind == "c" else host
        finite = numbers[np.isfinite(numbers)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (None, None)
    nans, infinities = int(np.isnan(numbers).sum()), int(np.isinf(numbers).sum())
    return Range(name, tuple(host.shape), kind, low, high, nans, infinities)
