"""The four operations, powers and signs. Arguments broadcast; Python numbers stay Python numbers (and keep float32
float32).
"""

from __future__ import annotations

import math
from typing import Any

from tinyae.autodiff import primitive
from tinyae.backend import backend_of


@primitive(elementwise=True)
def add(x: Any, y: Any) -> Any:
    """x + y.   d/dx = 1, d/dy = 1"""
    return x + y


@add.vjp(0)
def _(g: Any, out: Any, x: Any, y: Any) -> Any:
    return g


@add.vjp(1)
def _(g: Any, out: Any, x: Any, y: Any) -> Any:
    return g


@primitive(elementwise=True)
def subtract(x: Any, y: Any) -> Any:
    """x - y.   d/dx = 1, d/dy = -1"""
    return x - y


@subtract.vjp(0)
def _(g: Any, out: Any, x: Any, y: Any) -> Any:
    return g


@subtract.vjp(1)
def _(g: Any, out: Any, x: Any, y: Any) -> Any:
    return -g


@primitive(elementwise=True)
def multiply(x: Any, y: Any) -> Any:
    """x * y.   d/dx = y, d/dy = x"""
    return x * y


@multiply.vjp(0)
def _(g: Any, out: Any, x: Any, y: Any) -> Any:
    return g * y


@multiply.vjp(1)
def _(g: Any, out: Any, x: Any, y: Any) -> Any:
    return g * x


@primitive(elementwise=True)
def divide(x: Any, y: Any) -> Any:
    """x / y.   d/dx = 1/y, d/dy = -x/y**2 = -(x/y)/y"""
    return x / y


@divide.vjp(0)
def _(g: Any, out: Any, x: Any, y: Any) -> Any:
    return g / y


@divide.vjp(1)
def _(g: Any, out: Any, x: Any, y: Any) -> Any:
    return -g * out / y


@primitive(elementwise=True)
def negative(x: Any) -> Any:
    """-x.   d/dx = -1"""
    return -x


@negative.vjp(0)
def _(g: Any, out: Any, x: Any) -> Any:
    return -g


@primitive(elementwise=True)
def power(x: Any, y: Any) -> Any:
    """x ** y.   d/dx = y x**(y-1), d/dy = x**y log(x)

    A whole-number exponent given as a Python number works for negative x; an array exponent needs x > 0.
    """
    return x**y


@power.vjp(0)
def _(g: Any, out: Any, x: Any, y: Any) -> Any:
    if isinstance(y, (int, float)):  # x ** 0 and x ** 1 have finite derivatives at 0 too
        return g * 0.0 if y == 0 else g * (y * power(x, y - 1))
    return g * (y * power(x, y - 1.0))


@power.vjp(1)
def _(g: Any, out: Any, x: Any, y: Any) -> Any:
    return g * out * (math.log(x) if isinstance(x, (int, float)) else log(x))


@primitive(elementwise=True)
def absolute(x: Any) -> Any:
    """|x|.   d/dx = sign(x); sub-gradient 0 at 0."""
    return backend_of(x).xp.abs(x)


@absolute.vjp(0)
def _(g: Any, out: Any, x: Any) -> Any:
    return g * sign(x)


@primitive(elementwise=True, differentiable=False)
def sign(x: Any) -> Any:
    """-1, 0 or 1 by the sign of x; a constant (its derivative is 0 wherever it exists)."""
    return backend_of(x).xp.sign(x)


@primitive(elementwise=True)
def log(x: Any) -> Any:
    """Natural logarithm, x > 0.   d/dx log(x) = 1/x"""
    return backend_of(x).xp.log(x)


@log.vjp(0)
def _(g: Any, out: Any, x: Any) -> Any:
    return g / x
