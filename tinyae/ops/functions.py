"""Elementwise functions of one array, each in a form that overflows for no finite input whose true value is finite."""

from __future__ import annotations

from typing import Any

from tinyae.autodiff import primitive
from tinyae.backend import backend_of
from tinyae.ops.comparisons import where


@primitive(elementwise=True)
def exp(x: Any) -> Any:
    """Exponential.   d/dx exp(x) = exp(x)"""
    return backend_of(x).xp.exp(x)


@exp.vjp(0)
def _(g: Any, out: Any, x: Any) -> Any:
    return g * out


@primitive(elementwise=True)
def log1p(x: Any) -> Any:
    """log(1 + x), accurate for small x, x > -1.   d/dx = 1 / (1 + x)"""
    return backend_of(x).xp.log1p(x)


@log1p.vjp(0)
def _(g: Any, out: Any, x: Any) -> Any:
    return g / (1.0 + x)


@primitive(elementwise=True)
def sqrt(x: Any) -> Any:
    """Square root, x > 0 (the slope at 0 is infinite).   d/dx sqrt(x) = 1 / (2 sqrt(x))"""
    return backend_of(x).xp.sqrt(x)


@sqrt.vjp(0)
def _(g: Any, out: Any, x: Any) -> Any:
    return g * 0.5 / out


@primitive(elementwise=True)
def square(x: Any) -> Any:
    """x * x.   d/dx = 2 x"""
    return x * x


@square.vjp(0)
def _(g: Any, out: Any, x: Any) -> Any:
    return g * (2.0 * x)


@primitive(elementwise=True)
def sin(x: Any) -> Any:
    """Sine, x in radians.   d/dx sin(x) = cos(x)"""
    return backend_of(x).xp.sin(x)


@sin.vjp(0)
def _(g: Any, out: Any, x: Any) -> Any:
    return g * cos(x)


@primitive(elementwise=True)
def cos(x: Any) -> Any:
    """Cosine, x in radians.   d/dx cos(x) = -sin(x)"""
    return backend_of(x).xp.cos(x)


@cos.vjp(0)
def _(g: Any, out: Any, x: Any) -> Any:
    return -g * sin(x)


@primitive(elementwise=True)
def tanh(x: Any) -> Any:
    """Hyperbolic tangent.   d/dx tanh(x) = 1 - tanh(x)**2"""
    return backend_of(x).xp.tanh(x)


@tanh.vjp(0)
def _(g: Any, out: Any, x: Any) -> Any:
    return g * (1.0 - out * out)


@primitive(elementwise=True)
def sigmoid(x: Any) -> Any:
    """Logistic function s = 1 / (1 + exp(-x)) = (1 + tanh(x/2)) / 2.   d/dx s = s (1 - s)"""
    return backend_of(x).sigmoid(x)


@sigmoid.vjp(0)
def _(g: Any, out: Any, x: Any) -> Any:
    return g * (out * (1.0 - out))


@primitive(elementwise=True)
def softplus(x: Any) -> Any:
    """log(1 + exp(x)), a smooth relu.   d/dx = sigmoid(x)"""
    return backend_of(x).softplus(x)


@softplus.vjp(0)
def _(g: Any, out: Any, x: Any) -> Any:
    return g * sigmoid(x)


@primitive(elementwise=True)
def relu(x: Any) -> Any:
    """max(x, 0) (Nair and Hinton 2010).   d/dx = 1 for x > 0, else 0; sub-gradient 0 at 0."""
    return backend_of(x).xp.maximum(x, 0.0)


@relu.vjp(0)
def _(g: Any, out: Any, x: Any) -> Any:
    return g * (x > 0)


@primitive(elementwise=True)
def leaky_relu(x: Any, *, slope: float = 0.01) -> Any:
    """x for x > 0, else slope * x (Maas et al. 2013).   d/dx = 1 or slope; slope at 0."""
    return backend_of(x).xp.where(x > 0, x, x * slope)


@leaky_relu.vjp(0)
def _(g: Any, out: Any, x: Any, slope: float = 0.01) -> Any:
    return where(x > 0, g, g * slope)


@primitive(elementwise=True)
def elu(x: Any) -> Any:
    """x for x > 0, else exp(x) - 1 (Clevert et al. 2016, alpha = 1).   d/dx = 1 for x > 0, else exp(x); 1 at 0."""
    xp = backend_of(x).xp
    return xp.maximum(x, 0.0) + xp.expm1(xp.minimum(x, 0.0))


@elu.vjp(0)
def _(g: Any, out: Any, x: Any) -> Any:
    return where(x > 0, g, g * (out + 1.0))
