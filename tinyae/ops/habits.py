"""What to write instead of a function of NumPy or a method of PyTorch: `numpy.exp(x)`, `x.exp()` are `tinyae.ops.exp(x)`.

NumPy asks its arguments before it computes, so Tensors can refuse; only an operator, as in `array * x`, is passed on.
Looking up a foreign method raises AttributeError, so that `hasattr` is False.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from tinyae.autodiff.calls import Signature
from tinyae.autodiff.tape import Elsewhere, Tensor

CODE = {
    "add_ sub_ mul_ div_ pow_ neg_ abs_ exp_ sqrt_ tanh_ relu_ sigmoid_ clamp_": "x = and an operation without _",
    "all any argmax argmin argsort": "the method of the array x.data",
    "amax amin": "x.max(axis=...) or x.min(axis=...)",
    "astype type double float half long int": "tinyae.Tensor(x.data, dtype=...)",
    "cat hstack vstack": "tinyae.ops.concatenate(x, y, axis=...)",
    "clamp clip": "tinyae.ops.clip(x, low=..., high=...)",
    "clone copy contiguous": "x itself, which no operation changes",
    "copy_ fill_ zero_": "x.data = ... for values, x.grad = None for a gradient",
    "cpu cuda": 'x.to("cpu") or x.to("gpu")',
    "dim numel": "x.ndim or x.size",
    "mm bmm dot": "x @ y",
    "mul div sub pow neg abs": "the operator: x * y, x / y, x - y, x ** y, -x, abs(x)",
    "permute t": "x.transpose(...) or x.T",
    "requires_grad_": "tinyae.Tensor(x.data, requires_grad=True)",
    "squeeze unsqueeze expand_dims": "x[0] or x[None], x[:, 0] or x[:, None], or x.reshape(...)",
    "tolist": "x.numpy().tolist()",
    "var": "tinyae.ops.variance(x)",
    "view ravel": "x.reshape(...)",
}
INSTEAD: dict[str, str | Callable[..., Any]] = {name: code for names, code in CODE.items() for name in names.split()}
"""What to write for a name of NumPy or PyTorch. `teach` adds the operations that have the same name here."""

REFLECTED = {
    np.add: "__radd__", np.subtract: "__rsub__", np.multiply: "__rmul__", np.divide: "__rtruediv__",
    np.power: "__rpow__", np.matmul: "__rmatmul__", np.bitwise_and: "__rand__", np.bitwise_or: "__ror__",
    np.less: "__gt__", np.less_equal: "__ge__", np.greater: "__lt__", np.greater_equal: "__le__",
    np.equal: "__eq__", np.not_equal: "__ne__",
}  # fmt: skip
"""The function that NumPy calls for an operator with an array on the left, and the method of x that computes it."""

METADATA = (np.shape, np.ndim, np.size, np.result_type, np.iscomplexobj, np.isrealobj)
"""The functions that ask for a shape or dtype, not for values."""


class Missing:
    """A method of other libraries: looking it up raises AttributeError with the code to write."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, x: Tensor | None, owner: type[Tensor]) -> NoReturn:
        raise AttributeError(f"Tensor has no method {self.name}: write {instead(self.name)}.")


class Override(property):
    """`__array_ufunc__`: this function to NumPy, which asks the class; None to CuPy, which asks the Tensor."""

    def __call__(self, x: Tensor, ufunc: np.ufunc, method: str, left: Any, *others: Any, **options: Any) -> Tensor:
        """Leave `array * x` to the Tensor; reject all else."""
        reflected = None if options or left is x else getattr(x, REFLECTED.get(ufunc, ""), None)
        if reflected is not None and method == "__call__":
            return reflected(left)
        raise refused(f"numpy.{ufunc.__name__}{'' if method == '__call__' else f'.{method}'}")


def array_function(x: Tensor, function: Any, types: Any, args: Any, options: Any) -> Any:
    """`__array_function__`: refuse a function of NumPy, unless it asks for a shape or dtype."""
    if function in METADATA:
        return function._implementation(*args, **options)
    raise refused(f"{function.__module__}.{function.__name__}")


def refused(function: str) -> TypeError:
    """The error for a function of NumPy, with the code to write instead."""
    code = instead(function.rpartition(".")[2]) or "an operation of tinyae.ops"
    return TypeError(f"{function} does not take Tensors: use {code}, or x.numpy() for values without a gradient.")


def instead(name: str) -> str:
    """The code to write for a name of NumPy or PyTorch; empty if there is none."""
    found = INSTEAD.get(name, "")
    return f"tinyae.ops.{Signature(found, name).usage()}" if callable(found) else found


def teach(operations: dict[str, Callable[..., Any]]) -> None:
    """Let Tensors say what to write, for `operations` by their own name."""
    for name, operation in operations.items():
        INSTEAD.setdefault(name, operation)
    for name in INSTEAD:
        if not hasattr(Tensor, name):
            setattr(Elsewhere, name, Missing(name))
    setattr(Tensor, "__array_ufunc__", Override(lambda x: None))  # noqa: B010
    setattr(Tensor, "__array_function__", array_function)  # noqa: B010
