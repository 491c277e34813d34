"""The tape: a record of the operations that computed a result.

The parts build on each other. A `Node` is one recorded operation; a `Tensor` is an array together with the node that
computed it; a `Primitive` is a function on arrays with its gradient rules; and `expand` and `sum_to` are the one adjoint pair
that the engine needs. An `Observer` is notified of every result. `tinyae.autodiff.reverse` walks the tape backward;
`docs/tape.md` explains both.
"""

from __future__ import annotations

import functools
import inspect
import threading
import weakref
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from operator import attrgetter
from types import EllipsisType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, NoReturn, ParamSpec, TypeAlias, TypeVar, overload

import numpy as np
import numpy.typing as npt

from tinyae.autodiff.calls import Signature
from tinyae.backend import Array, backend_named, backend_of, check_same_device
from tinyae.backend.devices import as_array
from tinyae.checks import check_kind
from tinyae.notebook import array_summary

# ---------------------------------------------------------------------------------------------------------------------
# `Node`: one recorded result.
#
# A node records how its value was computed (primitive, raw arguments, raw result) and the nodes of its arguments. It
# keeps raw arrays and never Tensors, and points only to *older* nodes, so there are no reference cycles: reference
# counting frees a graph as soon as its last Tensor is gone. Every node has a serial number. A result is always created
# after its arguments, so sorting by serial number is a topological sort for any graph.
# Its fields are tuples and not lists because Python's cyclic garbage collector stops visiting a tuple once it has seen
# that it holds only arrays and numbers. It keeps visiting two objects a node: the node and the tuple of its parents.

_NOTHING: dict[str, Any] = {}


@dataclass(slots=True, eq=False, repr=False)
class Node:
    """One recorded operation, or (with `primitive` None) a leaf: a Tensor created with requires_grad=True."""

    primitive: Primitive[...] | None = None
    args: tuple[Operand, ...] = ()  # its raw positional arguments
    params: dict[str, Any] = field(default_factory=dict)  # its keyword parameters
    out: Operand = None  # its raw result
    residuals: object = None  # what a fused primitive saved for its own rule
    parents: tuple[Node, ...] = ()  # the nodes of those arguments that have one
    positions: tuple[int, ...] = ()  # the argument position of each parent
    stamp: int = 0  # the sum of the parents' versions when they were read; -1 once the graph was freed
    leaf: weakref.ref[Tensor] | None = None  # the leaf's Tensor
    version: int = 0  # how often the leaf's array was changed in place
    serial: int = field(default_factory=count().__next__)  # creation number; parents always have smaller ones

    @property
    def name(self) -> str:
        """The operation's name, or "leaf"."""
        return "leaf" if self.primitive is None else self.primitive.name

    def free(self) -> None:
        """Drop the arrays and the links to parents. A later sweep that needs them raises."""
        self.out = self.residuals = None
        self.args = self.parents = self.positions = ()
        self.params = _NOTHING
        self.stamp = -1

    def __repr__(self) -> str:
        return f"<Node {self.serial} {self.name}>"


def ancestors(root: Node, since: int = 0) -> list[Node]:
    """`root` and every node it depends on, newest first; nodes with a serial number below `since` are left out.

    This is the order of a reverse sweep: all uses of a node are visited before the node itself.
    """
    seen = {root}
    stack = [root]
    while stack:
        for parent in stack.pop().parents:
            if parent not in seen and parent.serial >= since:
                seen.add(parent)
                stack.append(parent)
    return sorted(seen, key=attrgetter("serial"), reverse=True)


# ---------------------------------------------------------------------------------------------------------------------
# State of each thread: whether operations are recorded, and the observers.


class Observer:
    """Callbacks that follow the computation of a thread: `with set_observers(*observers(), mine):`.

    The methods here do nothing. A subclass overrides the ones it needs, e.g. to find the first NaN.
    """

    def starts(self, what: Primitive[...] | Node) -> None:
        """A primitive is about to compute a result for Tensors, or a sweep to run the rules of a node."""

    def result(self, name: str, args: Sequence[Operand], out: Array, node: Node | None) -> None:
        """The primitive called `name` computed `out` from raw arguments; `node` is its record, or None."""

    def gradient(self, node: Node, position: int, g: Cotangent, c: Cotangent, parent: Node, total: Cotangent) -> None:
        """A rule of `node` computed c from the cotangent g; `total` is the sum at `parent` so far."""

    @contextmanager
    def during(self, scope: object) -> Iterator[None]:
        """Context of the results computed while a module is called, or while the rules of a node run on Tensors."""
        yield

    def called(self, module: object, inputs: tuple[object, ...], output: object) -> None:
        """The call `module(*inputs)` returned `output`."""

    def updated(self, method: str, param: Array | None, grad: Array | None) -> None:
        """An optimizer step updated `param` using `grad` (None if there is nothing to check)."""

    def detached(self, constant: Tensor) -> Tensor:
        """The Tensor that `detach()` returns in place of this constant; by default the constant itself."""
        return constant


F = TypeVar("F", bound=Callable[..., Any])
P = ParamSpec("P")
Q = ParamSpec("Q")


class Scope(AbstractContextManager[None]):
    """A context that may be entered again, also nested and in several threads, and decorates functions.

    For a generator function, it covers the body only, not what runs while the generator waits at a yield.
    """

    def __init__(self, make: Callable[[], AbstractContextManager[None]]) -> None:
        self._make = make
        self._entered: dict[int, list[AbstractContextManager[None]]] = defaultdict(list)  # of each thread

    def __enter__(self) -> None:
        inner = self._make()
        inner.__enter__()
        self._entered[threading.get_ident()].append(inner)

    def __exit__(self, *error: Any) -> bool | None:
        return self._entered[threading.get_ident()].pop().__exit__(*error)

    def __call__(self, function: F) -> F:
        @functools.wraps(function)
        def call(*args: Any, **params: Any) -> Any:
            with self:
                return function(*args, **params)

        @functools.wraps(function)
        def generate(*args: Any, **params: Any) -> Generator[Any, Any, Any]:
            body = function(*args, **params)
            resume, value = body.send, None
            while True:
                try:
                    with self:
                        made = resume(value)
                except StopIteration as end:
                    return end.value
                try:
                    resume, value = body.send, (yield made)
                except BaseException as error:  # thrown into the generator, or GeneratorExit when it is closed
                    resume, value = body.throw, error

        return generate if inspect.isgeneratorfunction(function) else call  # type: ignore[return-value]


def scope(function: Callable[P, Iterator[None]]) -> Callable[P, Scope]:
    """Like `contextlib.contextmanager`, for contexts without a value; the result is a `Scope`."""
    make = contextmanager(function)
    return functools.wraps(function)(lambda *args, **params: Scope(functools.partial(make, *args, **params)))


class _Recording(threading.local):
    on = True
    holomorphic = False


recording = _Recording()
"""`recording.on`: whether operations on Tensors are recorded. One switch per thread."""

_observers: dict[int, tuple[Observer, ...]] = {}
"""The observers of each thread. Without observers the dict is empty, and checking it costs almost nothing."""


@scope
def set_recording(on: bool) -> Iterator[None]:
    """Turn recording on or off for a block; the previous state is restored afterwards, even after an error."""
    before = recording.on
    recording.on = on
    try:
        yield
    finally:
        recording.on = before


@overload
def no_grad() -> Scope: ...
@overload
def no_grad(function: F, /) -> F: ...
def no_grad(function: Any = None, /) -> Any:
    """`with no_grad():` results are constants; nothing is recorded or kept for a backward pass.

    Also a decorator, `@no_grad()` or `@no_grad`, of functions and generator functions.
    """
    off = set_recording(False)
    return off if function is None else off(function)


@scope
def holomorphic() -> Iterator[None]:
    """Allow complex cotangents, which are right where only complex differentiable functions are used (not `abs`)."""
    before, recording.holomorphic = recording.holomorphic, True
    try:
        yield
    finally:
        recording.holomorphic = before


def observers() -> tuple[Observer, ...]:
    """The observers of this thread, in the order in which they are called."""
    return _observers.get(threading.get_ident(), ()) if _observers else ()


@scope
def set_observers(*those: Observer) -> Iterator[None]:
    """Make `those` the only observers of this thread within the block."""
    key, before = threading.get_ident(), observers()
    _observers[key] = those
    try:
        yield
    finally:
        _observers.pop(key)
        if before:
            _observers[key] = before


@contextmanager
def observed(scope: object) -> Iterator[None]:
    """Enter `Observer.during(scope)` of every observer of this thread; `scope` is a module or a node."""
    with ExitStack() as stack:
        for observer in observers():
            stack.enter_context(observer.during(scope))
        yield


# ---------------------------------------------------------------------------------------------------------------------
# `Tensor`: an array and the node that computed it.
#
# The class is deliberately thin. A Tensor holds a raw array, its tape node (None for a constant) and, on leaves, the
# gradient. It defines no arithmetic: one table in `tinyae.ops` binds the operators, and the declarations under
# TYPE_CHECKING below only describe them to editors and type checkers.


class Elsewhere:
    """Methods that arrays have elsewhere. Tensors do not: `tinyae.ops` lets each name say what to write instead."""

    __slots__ = ()

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if name.startswith("__") or name not in vars(Elsewhere)]


class Tensor(Elsewhere):
    """An array that remembers how it was computed.

    Args:
        data: an array, also of another library (not copied), a number or a nested list (converted to float32, or int64 for
            whole numbers).
        requires_grad: if True, the Tensor is a leaf, and `backward()` stores its gradient in `.grad`.
        dtype: convert `data` to this dtype.

    Tensors are values. There are no in-place operators: `x += y` makes a new Tensor and rebinds the name, `x[0] = 1`
    raises. Assigning to `.data` (as optimizers and initializers do) increments a version that `backward` checks. A deep
    copy or pickle of a leaf or a constant keeps the values, not the gradient; a result must be detached first.

    Example:
        >>> x = Tensor([1.0, 2.0], requires_grad=True)
        >>> (x * x).sum().backward()
        >>> x.grad
        Tensor([2., 4.], dtype=float32)
    """

    __slots__ = ("__weakref__", "_buffer", "_data", "_flat", "_grad", "node")
    __array_priority__ = 1000

    def __init__(self, data: npt.ArrayLike, requires_grad: bool = False, *, dtype: npt.DTypeLike | None = None) -> None:
        if isinstance(data, Tensor):
            raise TypeError("Tensor(Tensor) is ambiguous: use x.detach() for a constant that shares its values.")
        self._data = as_array(data, dtype)
        self._grad: Tensor | None = None
        self._buffer: Array | None = None
        self._flat = ""  # the piecewise constant operation that cut the gradient, if one did
        self.node: Node | None = None
        if requires_grad and check_kind("requires_grad", requires_grad, bool):
            if self._data.dtype.kind not in "fc":
                raise TypeError(
                    f"only floating-point Tensors can require gradients, got dtype {self._data.dtype}: "
                    "convert first, e.g. Tensor(data, requires_grad=True, dtype='float32')."
                )
            self.node = Node(leaf=weakref.ref(self))

    @property
    def data(self) -> Array:
        """The raw array (0-d results are arrays too). Assigning replaces it and increments the version.

        With requires_grad, the dtype stays: other floating-point numbers are cast to it.
        """
        data = self._data
        return np.asarray(data) if isinstance(data, np.generic) else data

    @data.setter
    def data(self, value: Array) -> None:
        self._data = self._fitting("data", value)
        self.bump_version()

    @property
    def grad(self) -> Tensor | None:
        """The gradient of a leaf, or None. A Tensor that is assigned has its shape and is cast to its dtype."""
        if self._grad is not None and self._grad._data is self._buffer:  # which the next gradient would overwrite
            self._grad = constant(backend_of(self._buffer).xp.array(self._buffer))
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(f"grad is a Tensor or None, got {type(value).__name__}: assign tinyae.Tensor(array).")
            fitting = self._fitting("grad", value._data)
            value = value if fitting is value._data else constant(fitting)
        self._grad = value

    def _fitting(self, attribute: str, value: Array) -> Array:
        """An array to assign, checked against the shape and, with requires_grad, cast to the dtype."""
        if isinstance(value, Tensor) or not hasattr(value, "shape"):
            raise TypeError(f"{attribute} is an array, got {type(value).__name__}: assign numpy.asarray(values).")
        if value.shape != self._data.shape:
            raise ValueError(f"cannot assign {attribute} of shape {value.shape} to a Tensor of shape {self.shape}.")
        if self.node is None or value.dtype == self.dtype:
            return value
        if value.dtype.kind != "f":
            raise TypeError(
                f"cannot assign {attribute} of dtype {value.dtype} to a Tensor that requires gradients: "
                f"convert it first, e.g. array.astype('{self.dtype}')."
            )
        return value.astype(self.dtype)

    def bump_version(self) -> None:
        """Record that the array was changed in place: `backward` of a graph that used the old values will raise."""
        if self.node is not None:
            self.node.version += 1

    shape: tuple[int, ...] = property(lambda self: self._data.shape, doc="Lengths of the axes.")  # type: ignore[assignment]
    ndim: int = property(lambda self: self._data.ndim, doc="Number of axes.")  # type: ignore[assignment]
    size: int = property(lambda self: self._data.size, doc="Number of elements.")  # type: ignore[assignment]
    dtype: np.dtype[Any] = property(lambda self: self._data.dtype, doc="Element type.")  # type: ignore[assignment]
    device: str = property(lambda self: backend_of(self._data).name, doc="`'cpu'` or `'gpu'`.")  # type: ignore[assignment]
    requires_grad: bool = property(  # type: ignore[assignment]
        lambda self: self.node is not None, doc="Whether a gradient can flow back through this Tensor."
    )
    is_leaf: bool = property(  # type: ignore[assignment]
        lambda self: self.node is None or self.node.primitive is None, doc="Made by the user, not by an operation."
    )

    def numpy(self) -> Array:
        """The values as a NumPy array on the host (on a GPU this copies and waits)."""
        return backend_of(self._data).to_host(self.data)

    def item(self) -> float:
        """The single value as a Python number (on a GPU this waits)."""
        if self.size != 1:
            raise ValueError(f"item() needs exactly one element, got shape {self.shape}: use numpy() or reduce first.")
        return self.numpy().item()

    def __dlpack__(self, **how: Any) -> Any:
        """The memory for `from_dlpack` of another library; `how` are the arguments of the array's own method."""
        if self.node is not None:
            raise BufferError("a Tensor that requires gradients is not handed to another library: detach() it first.")
        return self.data.__dlpack__(**how)

    def __dlpack_device__(self) -> tuple[int, int]:
        """The device of that memory, in DLPack's numbering."""
        return self.data.__dlpack_device__()

    def detach(self) -> Tensor:
        """The same values as a constant: no gradient flows through it."""
        result = constant(self._data)
        for observer in observers():
            result = observer.detached(result)
        return result

    def to(self, device: str) -> Tensor:
        """A copy on another device, as a constant or a new leaf; the Tensor itself if it is already there."""
        backend = backend_named(device)
        if self.device == backend.name:
            return self
        if not self.is_leaf:
            raise ValueError(
                "to(device) moves leaves and constants only: detach() first, or move the inputs before computing."
            )
        return Tensor(backend.to_device(self.numpy()), requires_grad=self.requires_grad)

    def __reduce__(self) -> tuple[Any, ...]:
        # A node holds a weak reference to its leaf, so a copied node would send gradients to the original.
        if self.node is not None and not self.is_leaf:
            name = self.node.name
            raise TypeError(f"a Tensor made by {name!r} cannot be copied or pickled with its history: detach() first.")
        return Tensor, (self._data, self.requires_grad)

    def __repr__(self) -> str:
        values = np.array2string(self.numpy(), separator=", ", prefix="Tensor(", threshold=200)
        origin = "" if self.node is None else ", requires_grad=True" if self.is_leaf else f", made_by={self.node.name}"
        return f"Tensor({values}, dtype={self.dtype}{origin})"

    def _repr_html_(self) -> str:
        return array_summary(type(self).__name__, self.numpy())

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len() of a 0-d Tensor: it is one number, x.item().")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if self.ndim == 0:  # Python would take the IndexError of x[0] for the end
            raise TypeError("iteration over a 0-d Tensor: use x.item().")
        return map(self.__getitem__, range(len(self)))

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(
                f"the truth value of a Tensor of shape {self.shape} is ambiguous: "
                "reduce it first, e.g. (x > 0).data.all()."
            )
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.size != 1 or self.dtype.kind not in "iu":
            raise TypeError(
                f"an index is one whole number, got a Tensor of shape {self.shape} and dtype {self.dtype}: "
                "write int(x) for one number, x.data for an array of indices."
            )
        return int(self.item())

    def __format__(self, spec: str) -> str:
        if not spec:
            return str(self)
        if self.size != 1:
            raise TypeError(
                f"the format {spec!r} is for one number, got a Tensor of shape {self.shape}: "
                "reduce it first, e.g. x.mean(), or leave the format out."
            )
        return format(self.item(), spec)

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError(
            "== between Tensors is ambiguous: use `a is b` for identity, tinyae.ops.equal(a, b) for elements."
        )

    def __ne__(self, other: object) -> NoReturn:
        raise TypeError(
            "!= between Tensors is ambiguous: use `a is not b` for identity, tinyae.ops.not_equal(a, b) for elements."
        )

    def __setitem__(self, index: object, value: object) -> NoReturn:
        raise TypeError("Tensors have no item assignment: build the new value with tinyae.ops.where or concatenate.")

    if TYPE_CHECKING:  # bound by the table in tinyae/ops/__init__.py, and backward by tinyae/autodiff/__init__.py
        T: Tensor

        def backward(
            self, grad_output: Seed = None, retain_graph: bool = False, create_graph: bool = False
        ) -> None: ...
        def __add__(self, other: Other) -> Tensor: ...

        __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __pow__ = __rpow__ = __add__
        __matmul__ = __rmatmul__ = __lt__ = __le__ = __gt__ = __ge__ = __add__
        __and__ = __rand__ = __or__ = __ror__ = __add__

        def __invert__(self) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def __getitem__(self, index: object) -> Tensor: ...
        def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor: ...

        mean = max = min = sum

        def reshape(self, *shape: int | tuple[int, ...]) -> Tensor: ...
        def transpose(self, *axes: int | tuple[int, ...]) -> Tensor: ...
    else:  # hidden from type checkers, which would take a Tensor with __array__ for an array in `array * x`

        def __array__(self, dtype=None, copy=None):
            raise TypeError(
                "a Tensor does not turn into a NumPy array by itself: use x.numpy(), "
                "or tinyae.ops instead of numpy functions."
            )


T = TypeVar("T", Tensor, Array)
"""A Tensor or a raw array; the result has the type of the argument."""
Axis: TypeAlias = int | tuple[int, ...] | None
"""The axes of a reduction; None for all of them."""
Cotangent: TypeAlias = Tensor | Array
"""A gradient during a sweep: a raw array, or a Tensor with `create_graph`."""
Seed: TypeAlias = Cotangent | None
"""The cotangent that starts a sweep; None means 1, for a result that is a single number."""
Other: TypeAlias = Tensor | Array | complex | np.generic
"""The other operand of an operator on Tensors."""
Operand: TypeAlias = Any
"""A further argument of a primitive: a raw array, a Tensor or a number. The same code serves all of them, so type
checkers cannot know more."""


def constant(data: Array) -> Tensor:
    """Wrap a raw array as a Tensor without a history (no conversion, no checks)."""
    return recorded(data, None)


def recorded(data: Array, node: Node | None) -> Tensor:
    """Wrap a raw result and the node that computed it, as every primitive does."""
    tensor = Tensor.__new__(Tensor)
    tensor._data, tensor.node = data, node
    tensor._grad = tensor._buffer = None
    tensor._flat = ""
    return tensor


# ---------------------------------------------------------------------------------------------------------------------
# `primitive`: a function on arrays together with its gradient rules.
#
# The forward function and its rule are written next to each other:
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
# A primitive returns a raw array for raw arrays and a Tensor for Tensors. A rule uses only operators and other primitives,
# so it works on both as well, and derivatives of every order follow.

Option = float | str | tuple[object, ...] | None
Rule = Callable[..., Any]
Parameters = Callable[..., dict[str, Any]]
_array_types: set[type] = {np.ndarray}
"""The types of all results so far: those of arrays and of NumPy's numbers."""


class Primitive(Generic[P]):
    """A differentiable function of arrays and options, made by `@primitive`.

    Arrays are given by position; options, keyword-only in the forward function, by name or after the arrays.
    """

    def __init__(
        self,
        forward: Callable[Concatenate[Any, P], Any],
        elementwise: bool = False,
        differentiable: bool = True,
        composed: Callable[..., Any] | None = None,
    ) -> None:
        functools.update_wrapper(self, forward)
        self.name = forward.__name__
        self.forward = forward
        self.elementwise = elementwise
        self.differentiable = differentiable
        self.composed = composed
        self.vjps: dict[int, Rule] = {}  # a rule for each argument, by position
        self.vjp_each: Rule | None = None  # one rule for any argument, given its position (variadic primitives)
        self.vjp_all: Rule | None = None  # one rule for all arguments of a fused primitive at once
        self.adjoint: Primitive[...] | None = None  # the other half of a linear pair

    # For type checkers: a Tensor among the first three arguments gives a Tensor (a recurrent layer's x may be None).
    # P is what follows the first argument.
    @overload
    def __call__(self, x: Tensor | None, /, *args: P.args, **params: P.kwargs) -> Tensor: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self: Primitive[Concatenate[Any, Q]], x: Other, y: Tensor, /, *args: Q.args, **params: Q.kwargs
    ) -> Tensor: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self: Primitive[Concatenate[Any, Any, Q]], x: Other, y: Other, z: Tensor, /, *args: Q.args, **params: Q.kwargs
    ) -> Tensor: ...
    @overload
    def __call__(self, x: Array | complex | np.generic, /, *args: P.args, **params: P.kwargs) -> Array: ...
    @overload  # one list of arrays, and options by position, of which P does not tell the types
    def __call__(self, xs: list[Tensor] | tuple[Tensor, ...], /, axis: int = 0) -> Tensor: ...
    @overload
    def __call__(self, xs: list[Array] | tuple[Array, ...], /, axis: int = 0) -> Array: ...
    @overload
    def __call__(self, x: T, option: Option, /, *options: Option, keepdims: bool = False) -> T: ...
    def __call__(self, *args: Any, **params: Any) -> Any:  # type: ignore[misc]
        raw: list[Operand] = []
        parents: list[Node] = []
        positions = []
        stamp, given_tensor = 0, False
        for arg in args:
            if isinstance(arg, Tensor):
                given_tensor = True
                if (node := arg.node) is not None:
                    positions.append(len(raw))
                    parents.append(node)
                    stamp += node.version
                arg = arg._data
            raw.append(arg)
        operands = tuple(raw)
        if _observers and given_tensor:
            for observer in observers():
                observer.starts(self)
        try:
            out = self.forward(*operands, **params)
        except (TypeError, ValueError, AttributeError) as error:
            if (call := self._reread(args, params, raw, error)) is None:
                raise
        else:
            residuals = made = None
            if self.composed is not None:
                out, residuals = out
            if type(out) not in _array_types:
                self._check_result(out, args, params)
            if not given_tensor:
                return out
            if parents and self.differentiable and recording.on:
                made = Node(self, operands, params or _NOTHING, out, residuals, tuple(parents), tuple(positions), stamp)
            if _observers:
                for observer in observers():
                    observer.result(self.name, raw, out, made)
            return recorded(out, made) if made is not None or not recording.on else self._constant(out, args, parents)
        return self(*call[0], **call[1])  # not in the handler: its errors have nothing to do with the first

    @functools.cached_property
    def _signature(self) -> Signature:
        return Signature(self.forward, self.name)

    def _reread(
        self, args: Sequence[Any], params: dict[str, Any], raw: list[Operand], error: Exception
    ) -> tuple[Sequence[Any], dict[str, Any]] | None:
        """The arguments as forward takes them, None if they already were; raises TypeError if they explain `error`."""
        if call := self._signature.reread(args, params):
            return call
        if fault := self._signature.fault(args, params, error):
            raise TypeError(fault) from error
        if isinstance(error, TypeError):
            check_same_device(self.name, raw)
        return None

    def _check_result(self, out: object, args: Sequence[Any], params: dict[str, Any]) -> None:
        """Raise TypeError unless `out`, of a type not seen before, is an array, or a number computed from numbers."""
        if hasattr(out, "shape") and not isinstance(out, (Tensor, np.ma.MaskedArray, np.matrix)):
            _array_types.add(type(out))
        elif not isinstance(out, (int, float, complex)) or any(hasattr(a, "shape") for a in args):
            raise TypeError(
                self._signature.fault(args, params)
                or f"{self.name} returned an object of type {type(out).__name__}: a primitive returns one array of the raw "
                "arrays that it is given; numpy.asarray(...) makes one of a number, several results are several primitives."
            )

    def _constant(self, out: Array, args: Sequence[Any], parents: Sequence[Node]) -> Tensor:
        """A result without a node; it keeps the name of the piecewise constant operation that is the reason."""
        result = recorded(out, None)
        inherited = (x._flat for x in args if isinstance(x, Tensor) and x._flat)
        result._flat = self.name if parents else next(inherited, "")
        return result

    def vjp(self, position: int | EllipsisType) -> Callable[[Rule], Rule]:
        """Decorator: the vector-Jacobian product for the argument at `position`.

        The rule is called as `rule(g, out, *args, **params)` and returns the gradient for that argument, of its shape.
        With `position` an Ellipsis, one rule serves every argument: `rule(g, out, position, *args, **params)`.
        """

        def register(rule: Rule) -> Rule:
            if isinstance(position, EllipsisType):
                self.vjp_each = rule
            elif position in self.vjps:
                raise ValueError(f"{self.name} has a rule for argument {position} already.")
            else:
                self.vjps[position] = rule
            return rule

        return register

    def fused_vjp(self, rule: Rule) -> Rule:
        """Decorator: the hand-written first-order rule of a fused primitive, for all arguments at once.

        Called as `rule(g, out, residuals, wanted, *args, **params)` with `wanted` the positions that need a gradient;
        returns one gradient per argument; those that were not wanted may be None. Higher orders re-trace `composed` instead.
        """
        if self.composed is None:
            raise ValueError(f"{self.name}: fused_vjp needs @primitive(composed=...), the twin that higher orders use.")
        self.vjp_all = rule
        return rule

    def __reduce__(self) -> str:
        # By name, like a function: the name of the forward function now refers to the primitive.
        return str(getattr(self, "__qualname__", self.name))

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"


@overload
def primitive(forward: Callable[Concatenate[Any, P], Any], /) -> Primitive[P]: ...
@overload
def primitive(
    *, elementwise: bool = False, differentiable: bool = True, composed: Callable[..., Any] | None = None
) -> Callable[[Callable[Concatenate[Any, P], Any]], Primitive[P]]: ...
def primitive(forward: Callable[..., Any] | None = None, /, **options: Any) -> object:
    """Decorator that makes a `Primitive` of a function on raw arrays.

    Args:
        elementwise: the arguments broadcast, and the engine sums gradients back to their shapes. Without it, a
            gradient of the wrong shape raises.
        differentiable: False if the result is piecewise constant (comparisons, sign).
        composed: the readable equivalent of a fused primitive. The function then returns `(out, residuals)`.
    """
    return functools.partial(Primitive, **options) if forward is None else Primitive(forward, **options)


def adjoint_pair(
    a: Primitive[...], b: Primitive[...], to_b: Parameters | None = None, to_a: Parameters | None = None
) -> None:
    """Make two linear primitives of one array the gradient rules of each other: <a(x), y> = <x, b(y)> for all x, y.

    Args:
        a, b: the pair; the same primitive twice if it is its own adjoint up to parameters.
        to_b: `to_b(x, **params_of_a)` returns the parameters of `b` for that call of `a`; default: the same ones.
        to_a: likewise for a call of `b`; default: `to_b`.
    """
    a.adjoint, b.adjoint = b, a
    a.vjp(0)(_through(b, to_b))
    if a is not b:
        b.vjp(0)(_through(a, to_a or to_b))


def _through(back: Primitive[...], convert: Parameters | None) -> Rule:
    """The rule of a linear primitive: its adjoint, applied to the cotangent."""
    if convert is None:
        return lambda g, out, x, **params: back(g, **params)
    return lambda g, out, x, **params: back(g, **convert(x, **params))


# ---------------------------------------------------------------------------------------------------------------------
# `expand` and `sum_to`: the one adjoint pair that the engine needs.
#
# Adding a (K,) bias to an (N, K) batch copies the bias N times. A copy read N times collects N gradients, so the
# gradient of a broadcast is the sum over the broadcast axes; and the gradient of that sum is the broadcast again.


@primitive
def expand(x: Array, *, shape: tuple[int, ...]) -> Array:
    """Broadcast x to `shape` by repeating axes of length 1 and adding leading ones.   Adjoint: `sum_to`."""
    return backend_of(x).xp.broadcast_to(x, shape)


@primitive
def sum_to(x: Array, *, shape: tuple[int, ...]) -> Array:
    """Sum x over the axes along which `shape` would be repeated to give x's shape.   Adjoint: `expand`."""
    lead = x.ndim - len(shape)
    if lead < 0 or any(n not in (1, m) for n, m in zip(shape, x.shape[lead:], strict=True)):
        raise ValueError(f"sum_to: {shape} does not broadcast to {x.shape}: give the shape that x was repeated from.")
    stretched = tuple(i + lead for i, n in enumerate(shape) if n == 1 and x.shape[i + lead] != 1)
    axes = tuple(range(lead)) + stretched
    return x.sum(axis=axes, keepdims=True).reshape(shape) if axes else x.reshape(shape)


adjoint_pair(expand, sum_to, lambda x, shape: {"shape": x.shape})
