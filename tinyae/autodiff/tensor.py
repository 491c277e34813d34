"""`Tensor`: an array, and where it came from.

It is deliberately thin. A Tensor holds a raw array, the tape node that made it (None for a constant) and, on leaves,
the gradient. It has no arithmetic of its own: the operators are bound in one table in `tinyae.ops`, and the
declarations under TYPE_CHECKING below only tell editors and type checkers about them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from tinyae.autodiff.node import Node
from tinyae.backend import Array, backend_named, backend_of
from tinyae.backend.ragged import array_advice, is_ragged

_new = object.__new__


class Tensor:
    """An array that remembers how it was computed.

    Args:
        data: an array (kept as it is, not copied), a number or a nested list (becomes float32; whole numbers int64).
        requires_grad: True makes a leaf: `backward()` will deposit `.grad` here.
        dtype: convert `data` to this dtype.

    Tensors are values. There are no in-place operators: `x += y` makes a new Tensor and rebinds the name, `x[0] = 1`
    raises. Assigning to `.data` (what optimizers and initialisers do) bumps a version that `backward` checks. A deep
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
        """Say that the array was changed in place: a graph that used the old values will refuse to run backward."""
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
