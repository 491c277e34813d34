"""The tape: what is recorded while a result is computed.

Four things that build on each other: `Node`, one recorded operation; `Tensor`, an array and the node it came from;
`Primitive`, a function on arrays with its gradient rules beside it; and `expand` with `sum_to`, the one adjoint pair that the
engine itself needs. `tinyae.autodiff.reverse` walks the tape backward; `docs/tape.md` explains both. At the end stands
`Watch`, a place for tools that look on.
"""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, overload

import numpy as np

from tinyae.backend import Array, backend_named, backend_of, check_same_device
from tinyae.backend.base import array_advice, is_ragged

# ---------------------------------------------------------------------------------------------------------------------
# `Node`: one recorded result; and the switch that says whether to record.
#
# A node knows how its value was made (primitive, raw arguments, raw result) and which nodes that needed. It keeps raw
# arrays and never Tensors, and only ever points to *older* nodes, so there are no reference cycles: a graph is freed by
# reference counting the moment its last Tensor goes. Every node carries a serial number. A result is always created
# after its arguments, so sorting by serial number is a topological sort, whatever the shape of the graph.

_next_serial = count().__next__


class Node:
    """One recorded operation, or (with `primitive` None) a leaf: a Tensor the user asked gradients for.

    Attributes:
        serial: creation number; parents always have smaller ones.
        primitive: the operation, None for a leaf.
        args: its raw positional arguments; None once the graph was freed.
        params: its keyword parameters.
        out: its raw result.
        residuals: what a fused primitive saved for its own rule.
        parents: the nodes of those arguments that have one.
        positions: the argument position of each parent.
        version: how often the leaf's array was changed in place.
        stamp: the sum of the parents' versions when they were read; versions only grow, so a changed parent changes
            the sum. -1 once the graph was freed.
        leaf: weak reference to the leaf's Tensor.
    """

    __slots__ = (
        "args",
        "leaf",
        "out",
        "params",
        "parents",
        "positions",
        "primitive",
        "residuals",
        "serial",
        "stamp",
        "version",
    )

    def __init__(
        self,
        primitive: Any = None,
        args: Any = (),
        params: Any = None,
        out: Any = None,
        residuals: Any = None,
        parents: Sequence[Node] = (),
        positions: Sequence[int] = (),
        stamp: int = 0,
        leaf: Any = None,
    ) -> None:
        self.serial = _next_serial()
        self.primitive = primitive
        self.args = args
        self.params = params
        self.out = out
        self.residuals = residuals
        self.parents = parents
        self.positions = positions
        self.version = 0
        self.stamp = stamp
        self.leaf = None if leaf is None else weakref.ref(leaf)

    def free(self) -> None:
        """Drop the arrays and the way back. A later sweep that needs them raises."""
        self.args = self.params = self.out = self.residuals = None
        self.parents = self.positions = ()
        self.stamp = -1

    def __repr__(self) -> str:
        name = "leaf" if self.primitive is None else self.primitive.name
        return f"<Node {self.serial} {name}>"


def ancestors(root: Node, since: int = 0) -> list[Node]:
    """`root` and everything it was made from, newest first; nodes with a serial below `since` are left out.

    Newest first is the order of a reverse sweep: when a node's turn comes, all its uses have been seen.
    """
    seen = {root}
    stack = [root]
    while stack:
        for parent in stack.pop().parents:
            if parent not in seen and parent.serial >= since:
                seen.add(parent)
                stack.append(parent)
    return sorted(seen, key=attrgetter("serial"), reverse=True)


class _Recording(threading.local):
    on = True


recording = _Recording()
"""`recording.on`: whether operations on Tensors are put on the tape. One switch per thread."""


@contextmanager
def set_recording(on: bool) -> Iterator[None]:
    """Switch recording for a block; restored afterwards, also when an error leaves the block."""
    before = recording.on
    recording.on = on
    try:
        yield
    finally:
        recording.on = before


def no_grad() -> Any:
    """`with no_grad():` operations give constants; nothing is recorded and no memory is kept for a backward pass.

    Works as a decorator too.
    """
    return set_recording(False)


# ---------------------------------------------------------------------------------------------------------------------
# `Tensor`: an array, and where it came from.
#
# It is deliberately thin. A Tensor holds a raw array, the tape node that made it (None for a constant) and, on leaves,
# the gradient. It has no arithmetic of its own: the operators are bound in one table in `tinyae.ops`, and the
# declarations under TYPE_CHECKING below only tell editors and type checkers about them.

_new = object.__new__


class Tensor:
    """An array that remembers how it was computed.

    Args:
        data: an array (kept as it is, not copied), a number or a nested list (becomes float32; whole numbers int64).
        requires_grad: True makes a leaf: `backward()` will deposit `.grad` here.
        dtype: convert `data` to this dtype.

    Tensors are values. There are no in-place operators: `x += y` makes a new Tensor and rebinds the name, `x[0] = 1`
    raises. Assigning to `.data` (what optimizers and initializers do) bumps a version that `backward` checks. A deep
    copy or pickle of a leaf or a constant keeps the values, not the gradient; a result has to be detached first.

    Example:
        >>> x = Tensor([1.0, 2.0], requires_grad=True)
        >>> (x * x).sum().backward()
        >>> x.grad
        Tensor([2., 4.], dtype=float32)
    """

    __slots__ = ("__weakref__", "_buffer", "_data", "grad", "node")
    __array_ufunc__ = None  # numpy_array * tensor is left to Tensor.__rmul__ instead of looping over elements
    __array_priority__ = 1000

    def __init__(self, data: Any, requires_grad: bool = False, *, dtype: Any = None) -> None:
        self._data = _as_array(data, dtype)
        self.grad: Tensor | None = None
        self._buffer: Array | None = None
        self.node: Node | None = None
        if requires_grad:
            if self._data.dtype.kind not in "fc":
                raise TypeError(
                    f"only floating-point Tensors can require gradients, got dtype {self._data.dtype}: "
                    "convert first, e.g. Tensor(data, requires_grad=True, dtype='float32')."
                )
            self.node = Node(leaf=self)

    @property
    def data(self) -> Array:
        """The raw array (0-d results are arrays too). Assigning replaces it and bumps the version."""
        data = self._data
        return np.asarray(data) if isinstance(data, np.generic) else data

    @data.setter
    def data(self, value: Array) -> None:
        if getattr(value, "shape", None) != self._data.shape:
            raise ValueError(
                f"cannot assign data of shape {getattr(value, 'shape', None)} to a Tensor of shape {self.shape}."
            )
        self._data = value
        self.bump_version()

    def bump_version(self) -> None:
        """Record that the array was changed in place: a graph that used the old values will refuse to run backward."""
        if self.node is not None:
            self.node.version += 1

    shape = property(lambda self: self._data.shape, doc="Lengths of the axes.")
    ndim = property(lambda self: self._data.ndim, doc="Number of axes.")
    size = property(lambda self: self._data.size, doc="Number of elements.")
    dtype = property(lambda self: self._data.dtype, doc="Element type.")
    device = property(lambda self: backend_of(self._data).name, doc="`'cpu'` or `'gpu'`.")
    requires_grad = property(
        lambda self: self.node is not None, doc="Whether a gradient can flow back through this Tensor."
    )
    is_leaf = property(
        lambda self: self.node is None or self.node.primitive is None, doc="Made by the user, not by an operation."
    )

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array on the host (on a GPU this copies and waits)."""
        return backend_of(self._data).to_host(self.data)

    def item(self) -> Any:
        """The single value as a Python number (on a GPU this waits)."""
        if self.size != 1:
            raise ValueError(f"item() needs exactly one element, got shape {self.shape}: use numpy() or reduce first.")
        return self.numpy().item()

    def detach(self) -> Tensor:
        """The same values as a constant: no gradient flows through it."""
        return constant(self._data)

    def to(self, device: str) -> Tensor:
        """A copy on another device, as a constant or as a fresh leaf; the Tensor itself where it is there already."""
        backend = backend_named(device)
        if self.device == backend.name:
            return self
        if not self.is_leaf:
            raise ValueError(
                "to(device) moves leaves and constants only: detach() first, or move the inputs before computing."
            )
        return Tensor(backend.to_device(self.numpy()), requires_grad=self.requires_grad)

    def __reduce__(self) -> tuple[Any, ...]:
        # A node points weakly at its leaf; copied as it stands, the copy's gradients would go to the original.
        if self.node is not None and not self.is_leaf:
            name = self.node.primitive.name
            raise TypeError(f"a Tensor made by {name!r} cannot be copied or pickled with its history: detach() first.")
        return Tensor, (self._data, self.requires_grad)

    def __repr__(self) -> str:
        values = np.array2string(self.numpy(), separator=", ", prefix="Tensor(", threshold=200)
        if self.is_leaf:
            origin = ", requires_grad=True" if self.requires_grad else ""
        else:
            origin = f", made_by={self.node.primitive.name}"  # type: ignore[union-attr]
        return f"Tensor({values}, dtype={self.dtype}{origin})"

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len() of a 0-d Tensor")
        return self.shape[0]

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(
                f"the truth value of a Tensor of shape {self.shape} is ambiguous: "
                "reduce it first, e.g. (x > 0).data.all()."
            )
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError(
            "== between Tensors is ambiguous: use `a is b` for identity, tinyae.ops.equal(a, b) for elements."
        )

    def __ne__(self, other: object) -> NoReturn:
        raise TypeError(
            "!= between Tensors is ambiguous: use `a is not b` for identity, tinyae.ops.not_equal(a, b) for elements."
        )

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        raise TypeError("Tensors have no item assignment: build the new value with tinyae.ops.where or concatenate.")

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        raise TypeError(
            "a Tensor does not turn into a NumPy array by itself: use x.numpy(), "
            "or tinyae.ops instead of numpy functions."
        )

    if TYPE_CHECKING:  # bound by the table in tinyae/ops/__init__.py, and backward by tinyae/autodiff/__init__.py
        T: Tensor

        def backward(self, grad_output: Any = None, retain_graph: bool = False, create_graph: bool = False) -> None: ...
        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __rpow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __rmatmul__(self, other: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...
        def __getitem__(self, index: Any) -> Tensor: ...
        def sum(self, axis: Any = None, keepdims: bool = False) -> Tensor: ...
        def mean(self, axis: Any = None, keepdims: bool = False) -> Tensor: ...
        def max(self, axis: Any = None, keepdims: bool = False) -> Tensor: ...
        def min(self, axis: Any = None, keepdims: bool = False) -> Tensor: ...
        def reshape(self, *shape: Any) -> Tensor: ...
        def transpose(self, *axes: Any) -> Tensor: ...


def constant(data: Array) -> Tensor:
    """Wrap a raw array as a Tensor without a history (no conversion, no checks)."""
    return recorded(data, None)


def recorded(data: Array, node: Node | None) -> Tensor:
    """Wrap a raw result together with the node that made it; what every primitive returns."""
    tensor = _new(Tensor)
    tensor._data = data
    tensor.node = node
    tensor.grad = None
    tensor._buffer = None
    return tensor


def _as_array(data: Any, dtype: Any) -> Array:
    if isinstance(data, Tensor):
        raise TypeError("Tensor(Tensor) is ambiguous: use x.detach() for a constant copy of the values.")
    if isinstance(data, (bool, int, float, list, tuple)) and not isinstance(data, np.generic):
        if is_ragged(data):
            raise ValueError(f"a Tensor holds a rectangular array of numbers: {array_advice(data, '')}.")
        array = np.asarray(data, dtype=dtype)
        if array.dtype == object or array.dtype.kind in "US":
            raise TypeError(
                f"a Tensor holds numbers in a rectangular array, got {type(data).__name__} with other content."
            )
        return array.astype(np.float32) if dtype is None and array.dtype == np.float64 else array
    backend = backend_of(data)
    if isinstance(data, np.generic):
        data = np.asarray(data)
    return data if dtype is None or data.dtype == dtype else backend.to_device(data, dtype)


# ---------------------------------------------------------------------------------------------------------------------
# `primitive`: a function on arrays together with the rules that carry gradients back through it.
#
# Forward and rule stand side by side:
#
#     @primitive(elementwise=True)
#     def tanh(x):
#         return backend_of(x).xp.tanh(x)
#
#     @tanh.vjp(0)
#     def _(g, out, x):
#         return g * (1 - out * out)
#
# g = dL/d(out), of the shape of the result, is called the cotangent; a rule returns dL/dx, of the shape of x. A rule for
# argument i computes the vector-Jacobian product g^T (d out / d x_i) without ever forming the Jacobian.
#
# A primitive given raw arrays returns a raw array, and given Tensors a Tensor; so the public function is also the
# kernel. A rule uses only operators and other primitives, and so works in both modes as well: on raw arrays for a first
# derivative (nothing is wrapped or recorded), on Tensors when the backward pass is itself to be differentiated. That is
# how one rule gives derivatives of every order.


class Primitive:
    """A differentiable function of arrays (positional) and metadata (keyword-only). Made by `@primitive`.

    Attributes:
        name: the function's name, as shown by `tinyae.inspect` and in errors.
        forward: the raw function.
        elementwise: arguments broadcast against each other; the engine sums gradients back to the arguments' shapes.
        differentiable: False for comparisons and the like: results are constants.
        composed: for a fused primitive, the same function written with other primitives.
        vjps: rule per argument position.
        vjp_each: one rule for a variadic primitive; it is told the position.
        vjp_all: one rule for all arguments of a fused primitive.
        adjoint: the other half of a linear pair.
    """

    def __init__(self, forward: Callable, elementwise: bool, differentiable: bool, composed: Callable | None) -> None:
        functools.update_wrapper(self, forward)
        self.name = forward.__name__
        self.forward = forward
        self.elementwise = elementwise
        self.differentiable = differentiable
        self.composed = composed
        self.vjps: dict[int, Callable] = {}
        self.vjp_each: Callable | None = None
        self.vjp_all: Callable | None = None
        self.adjoint: Primitive | None = None

    def __call__(self, *args: Any, **params: Any) -> Any:
        raw: list[Any] = []
        parents = []
        positions: tuple[int, ...] = ()
        stamp = 0
        given_tensor = False
        for arg in args:
            if isinstance(arg, Tensor):
                given_tensor = True
                node = arg.node
                if node is not None:
                    positions += (len(raw),)
                    parents.append(node)
                    stamp += node.version
                raw.append(arg._data)
            else:
                raw.append(arg)
        try:
            out = self.forward(*raw, **params)
        except TypeError:
            check_same_device(self.name, raw)
            raise
        residuals = None
        if self.composed is not None:
            out, residuals = out
        if not given_tensor:
            return out
        made = None
        if parents and self.differentiable and recording.on:
            made = Node(self, tuple(raw), params, out, residuals, tuple(parents), positions, stamp)
        if watches and (watch := current_watch()) is not None:
            watch.check_result(self.name, raw, out, made)
        return recorded(out, made)

    def vjp(self, position: int | Any) -> Callable[[Callable], Callable]:
        """Decorator: the vector-Jacobian product for the argument at `position`.

        The rule is called as `rule(g, out, *args, **params)` and returns the gradient for that argument, of its shape.
        With `position` an Ellipsis, one rule serves every argument: `rule(g, out, position, *args, **params)`.
        """

        def register(rule: Callable) -> Callable:
            if position is Ellipsis:
                self.vjp_each = rule
            elif position in self.vjps:
                raise ValueError(f"{self.name} has a rule for argument {position} already.")
            else:
                self.vjps[position] = rule
            return rule

        return register

    def fused_vjp(self, rule: Callable) -> Callable:
        """Decorator: the hand-written first-order rule of a fused primitive, for all arguments at once.

        Called as `rule(g, out, residuals, wanted, *args, **params)` with `wanted` the positions that need a gradient;
        returns one gradient per argument, None where it was not wanted. Higher orders re-trace `composed` instead.
        """
        if self.composed is None:
            raise ValueError(f"{self.name}: fused_vjp needs @primitive(composed=...), the twin that higher orders use.")
        self.vjp_all = rule
        return rule

    def __reduce__(self) -> str:
        # By name, as functions are: the forward function alone is not found under its own name any more.
        return str(getattr(self, "__qualname__", self.name))

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"


@overload
def primitive(forward: Callable, /) -> Primitive: ...
@overload
def primitive(
    *, elementwise: bool = False, differentiable: bool = True, composed: Callable | None = None
) -> Callable[[Callable], Primitive]: ...
def primitive(
    forward: Callable | None = None,
    /,
    *,
    elementwise: bool = False,
    differentiable: bool = True,
    composed: Callable | None = None,
) -> Any:
    """Decorator that makes a `Primitive` of a function on raw arrays.

    Args:
        elementwise: the arguments broadcast; the engine undoes the broadcasting of gradients. Leave it out and a
            gradient of the wrong shape raises.
        differentiable: False if the result is piecewise constant (comparisons, sign).
        composed: the readable twin of a fused primitive. The function then returns `(out, residuals)`.
    """
    if forward is not None:
        return Primitive(forward, False, True, None)
    return lambda function: Primitive(function, elementwise, differentiable, composed)


Parameters = Callable[..., dict[str, Any]]


def adjoint_pair(a: Primitive, b: Primitive, to_b: Parameters | None = None, to_a: Parameters | None = None) -> None:
    """Declare two linear primitives of one array each other's gradient rule: <a(x), y> = <x, b(y)> for all x, y.

    Args:
        a, b: the pair; the same primitive twice if it is its own adjoint up to parameters.
        to_b: `to_b(x, **params_of_a)` gives the parameters with which `b` is the adjoint of that call of `a`; default: the same
            ones.
        to_a: likewise for a call of `b`; default: `to_b`.
    """
    _linear_rule(a, b, to_b)
    if a is not b:
        _linear_rule(b, a, to_a or to_b)


def _linear_rule(forward: Primitive, back: Primitive, convert: Parameters | None) -> None:
    forward.adjoint = back

    @forward.vjp(0)
    def _(g: Any, out: Any, x: Any, **params: Any) -> Any:
        return back(g, **(params if convert is None else convert(x, **params)))


# ---------------------------------------------------------------------------------------------------------------------
# `expand` and `sum_to`: the one adjoint pair the engine itself needs.
#
# Adding a (K,) bias to an (N, K) batch copies the bias N times. A copy read N times collects N gradients, so the
# gradient of a broadcast is the sum over the broadcast axes; and the gradient of that sum is the broadcast again.


@primitive
def expand(x: Any, *, shape: tuple[int, ...]) -> Any:
    """Broadcast x to `shape` by repeating axes of length 1 and adding leading ones.   Adjoint: `sum_to`."""
    return backend_of(x).xp.broadcast_to(x, shape)


@primitive
def sum_to(x: Any, *, shape: tuple[int, ...]) -> Any:
    """Sum x over the axes along which `shape` would be repeated to give x's shape.   Adjoint: `expand`."""
    lead = x.ndim - len(shape)
    stretched = tuple(i + lead for i, n in enumerate(shape) if n == 1 and x.shape[i + lead] != 1)
    axes = tuple(range(lead)) + stretched
    return x.sum(axis=axes, keepdims=True).reshape(shape) if axes else x.reshape(shape)


def _shape_of(x: Any, shape: tuple[int, ...]) -> dict[str, Any]:
    return {"shape": x.shape}


adjoint_pair(expand, sum_to, _shape_of)


# ---------------------------------------------------------------------------------------------------------------------
# `Watch`: a place for tools that look on, such as `tinyae.inspect.detect_anomaly`.


class Watch(Protocol):
    """An observer that is shown every result and every gradient of a thread as it is computed, e.g. to find the first NaN.

    Attributes:
        scopes: (owner, name) of the layers being called, outermost first; the engine does not use the owners.
    """

    scopes: list[tuple[Any, str]]

    def check_result(self, name: str, raw: list[Any], out: Any, node: Node | None) -> None:
        """The primitive of that name computed `out` from the arguments `raw`, recorded as `node` (None if it was not)."""

    def check_rule(self, node: Node, position: int, g: Any, c: Any, parent: Node, total: Any) -> None:
        """A rule of `node` computed c from the cotangent g; `total` is what has arrived at `parent` so far."""

    def check_update(self, method: str, param: Any, grad: Any) -> None:
        """An optimizer has updated the parameters: a training step is done."""

    def next_step(self) -> None:
        """A training step ended that needs no check."""

    def around(self, rules: Callable[..., Any]) -> Callable[..., Any]:
        """`rules(primitive, node, ...)`, wrapped so that errors name the node whose rule is running."""


watches: dict[int, Watch] = {}
"""The open watches by thread. Empty unless somebody is looking."""


def current_watch() -> Watch | None:
    """The watch of this thread, None if there is none."""
    return watches.get(threading.get_ident()) if watches else None
