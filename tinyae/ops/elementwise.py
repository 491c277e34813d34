"""Elementwise operations: arithmetic, functions of one array, comparisons and choices."""

from __future__ import annotations

import math
from numbers import Real

from tinyae.autodiff import Operand, T, primitive
from tinyae.backend import Array, backend_of

# ---------------------------------------------------------------------------------------------------------------------
# Arithmetic, powers and signs. Arguments broadcast; Python numbers are not converted to arrays, so float32 stays float32.


@primitive(elementwise=True)
def add(x: Array, y: Operand) -> Array:
    """x + y.   d/dx = 1, d/dy = 1"""
    return x + y


@add.vjp(0)
@add.vjp(1)
def _(g, out, x, y):
    return g


@primitive(elementwise=True)
def subtract(x: Array, y: Operand) -> Array:
    """x - y.   d/dx = 1, d/dy = -1"""
    return x - y


@subtract.vjp(0)
def _(g, out, x, y):
    return g


@subtract.vjp(1)
def _(g, out, x, y):
    return -g


@primitive(elementwise=True)
def multiply(x: Array, y: Operand) -> Array:
    """x * y.   d/dx = y, d/dy = x"""
    return x * y


@multiply.vjp(0)
def _(g, out, x, y):
    return g * y


@multiply.vjp(1)
def _(g, out, x, y):
    return g * x


@primitive(elementwise=True)
def divide(x: Array, y: Operand) -> Array:
    """x / y.   d/dx = 1/y, d/dy = -x/y**2 = -(x/y)/y"""
    return x / y


@divide.vjp(0)
def _(g, out, x, y):
    return g / y


@divide.vjp(1)
def _(g, out, x, y):
    return -g * out / y


@primitive(elementwise=True)
def negative(x: Array) -> Array:
    """-x.   d/dx = -1"""
    return -x


@negative.vjp(0)
def _(g, out, x):
    return -g


@primitive(elementwise=True)
def power(x: Array, y: Operand) -> Array:
    """x ** y.   d/dx = y x**(y-1), d/dy = x**y log(x)

    At x = 0 and y = 0 both are 0, and so is d/dy = 0 for every y >= 0. For negative x, y must be a whole number, and d/dy
    is NaN.
    """
    return x**y


@power.vjp(0)
def _(g, out, x, y):
    if isinstance(y, (int, float)):
        return g * 0.0 if y == 0 else g * (y * power(x, y - 1))
    return g * (y * power(x, where(equal(x, 0.0) * equal(y, 0.0), 1.0, y - 1.0)))  # not 0 / 0


@power.vjp(1)
def _(g, out, x, y):
    zero = equal(x, 0.0) * (y >= 0.0)
    return where(zero, 0.0, g * out * log(where(zero, indicator(zero, g), x)))  # not 0 * log(0)


@primitive(elementwise=True)
def absolute(x: Array) -> Array:
    """|x|.   d/dx = sign(x); sub-gradient 0 at 0."""
    return backend_of(x).xp.abs(x)


@absolute.vjp(0)
def _(g, out, x):
    return g * sign(x)


@primitive(elementwise=True, differentiable=False)
def sign(x: Array) -> Array:
    """-1, 0 or 1 by the sign of x; a constant (its derivative is 0 wherever it exists)."""
    return backend_of(x).xp.sign(x)


def as_floats(x: T) -> T:
    """x, or whole numbers and booleans as float64, since sums and products of small integers wrap."""
    return x if x.dtype.kind in "fc" else x * 1.0


# ---------------------------------------------------------------------------------------------------------------------
# Functions of one array. None overflows where the true value is finite.


@primitive(elementwise=True)
def exp(x: Array) -> Array:
    """Exponential.   d/dx exp(x) = exp(x)"""
    return backend_of(x).xp.exp(x)


@exp.vjp(0)
def _(g, out, x):
    return g * out


@primitive(elementwise=True)
def expm1(x: Array) -> Array:
    """exp(x) - 1, accurate for small x.   d/dx expm1(x) = exp(x)"""
    return backend_of(x).xp.expm1(x)


@expm1.vjp(0)
def _(g, out, x):
    return g * exp(x)  # out + 1 would lose the digits of exp(x) for x far below 0


@primitive(elementwise=True)
def log(x: Array) -> Array:
    """Natural logarithm, x > 0.   d/dx log(x) = 1/x"""
    return backend_of(x).xp.log(x)


@log.vjp(0)
def _(g, out, x):
    return g / x


@primitive(elementwise=True)
def log1p(x: Array) -> Array:
    """log(1 + x), accurate for small x, x > -1.   d/dx = 1 / (1 + x)"""
    return backend_of(x).xp.log1p(x)


@log1p.vjp(0)
def _(g, out, x):
    return g / (1.0 + x)


@primitive(elementwise=True)
def sqrt(x: Array) -> Array:
    """Square root, x > 0 (the slope at 0 is infinite).   d/dx sqrt(x) = 1 / (2 sqrt(x))"""
    return backend_of(x).xp.sqrt(x)


@sqrt.vjp(0)
def _(g, out, x):
    return g * 0.5 / out


@primitive(elementwise=True)
def square(x: Array) -> Array:
    """x * x.   d/dx = 2 x"""
    return x * x


@square.vjp(0)
def _(g, out, x):
    return g * (2.0 * x)


@primitive(elementwise=True)
def sin(x: Array) -> Array:
    """Sine, x in radians.   d/dx sin(x) = cos(x)"""
    return backend_of(x).xp.sin(x)


@sin.vjp(0)
def _(g, out, x):
    return g * cos(x)


@primitive(elementwise=True)
def cos(x: Array) -> Array:
    """Cosine, x in radians.   d/dx cos(x) = -sin(x)"""
    return backend_of(x).xp.cos(x)


@cos.vjp(0)
def _(g, out, x):
    return -g * sin(x)


@primitive(elementwise=True)
def tanh(x: Array) -> Array:
    """Hyperbolic tangent.   d/dx tanh(x) = 1 - tanh(x)**2"""
    return backend_of(x).xp.tanh(x)


@tanh.vjp(0)
def _(g, out, x):
    return g * (1.0 - out * out)


@primitive(elementwise=True)
def sigmoid(x: Array) -> Array:
    """Logistic function s = 1 / (1 + exp(-x)).   d/dx s = s (1 - s)"""
    return backend_of(x).sigmoid(x)


@sigmoid.vjp(0)
def _(g, out, x):
    return g * (out * (1.0 - out))


@primitive(elementwise=True)
def softplus(x: Array) -> Array:
    """log(1 + exp(x)), a smooth relu.   d/dx = sigmoid(x)"""
    return backend_of(x).softplus(x)


@softplus.vjp(0)
def _(g, out, x):
    return g * exp(-softplus(-x))  # sigmoid(x), with all its digits also where it is close to 0


@primitive(elementwise=True)
def relu(x: Array) -> Array:
    """max(x, 0) (Nair and Hinton 2010).   d/dx = 1 for x > 0, else 0; sub-gradient 0 at 0."""
    return backend_of(x).xp.clip(x, 0.0, math.inf)


@relu.vjp(0)
def _(g, out, x):
    return g * not_equal(out, 0.0)


@primitive(elementwise=True)
def elu(x: Array) -> Array:
    """x for x > 0, else exp(x) - 1 (Clevert et al. 2016, alpha = 1).   d/dx = 1 for x > 0, else exp(x); 1 at 0."""
    xp = backend_of(x).xp
    return xp.maximum(x, 0.0) + xp.expm1(xp.minimum(x, 0.0))


@elu.vjp(0)
def _(g, out, x):
    return where(x > 0, g, g * (out + 1.0))


@primitive(elementwise=True)
def erf(x: Array) -> Array:
    """Error function, 2/sqrt(pi) times the integral of exp(-t**2) from 0 to x.   d/dx erf(x) = 2/sqrt(pi) exp(-x**2)"""
    return backend_of(x).erf(x)


@erf.vjp(0)
def _(g, out, x):
    return g * (2.0 / math.sqrt(math.pi) * exp(-(x * x)))


def _normal_cdf(x: T) -> T:
    """P(Z <= x) for a standard normal Z: (1 + erf(x / sqrt(2))) / 2."""
    return 0.5 * erf(x * math.sqrt(0.5)) + 0.5


@primitive(elementwise=True)
def gelu(x: Array) -> Array:
    """x P(x), P(x) = P(Z <= x) for a standard normal Z (Hendrycks and Gimpel 2016), exact.   d/dx = P(x) + x P'(x)

    P(x) = (1 + erf(x / sqrt(2))) / 2,   P'(x) = exp(-x**2 / 2) / sqrt(2 pi).
    """
    return x * _normal_cdf(x)


@gelu.vjp(0)
def _(g, out, x):
    return g * (_normal_cdf(x) + x * (exp(-0.5 * (x * x)) * math.sqrt(0.5 / math.pi)))


@primitive(elementwise=True)
def silu(x: Array) -> Array:
    """x s, s = sigmoid(x); also called swish (Elfwing, Uchibe and Doya 2018).   d/dx = s + x s (1 - s)"""
    return x * sigmoid(x)


@silu.vjp(0)
def _(g, out, x):
    s = sigmoid(x)
    return g * (s + out * (1.0 - s))


# ---------------------------------------------------------------------------------------------------------------------
# Comparisons and choices. A comparison is piecewise constant: its result is a constant Tensor of booleans.
#
# No rule turns the NaN of an input into a gradient of 0. At a NaN, relu, maximum, minimum and clip pass the cotangent on (to
# both arguments), as in PyTorch; a slope that is computed from the input, such as those of absolute and elu, is NaN itself.


@primitive(elementwise=True, differentiable=False)
def less(x: Array, y: Operand) -> Array:
    """x < y, elementwise."""
    return x < y


@primitive(elementwise=True, differentiable=False)
def less_equal(x: Array, y: Operand) -> Array:
    """x <= y, elementwise."""
    return x <= y


@primitive(elementwise=True, differentiable=False)
def greater(x: Array, y: Operand) -> Array:
    """x > y, elementwise."""
    return x > y


@primitive(elementwise=True, differentiable=False)
def greater_equal(x: Array, y: Operand) -> Array:
    """x >= y, elementwise."""
    return x >= y


@primitive(elementwise=True, differentiable=False)
def equal(x: Array, y: Operand) -> Array:
    """x == y, elementwise."""
    return x == y


@primitive(elementwise=True, differentiable=False)
def not_equal(x: Array, y: Operand) -> Array:
    """x != y, elementwise."""
    return x != y


@primitive(elementwise=True, differentiable=False)
def logical_and(x: Array, y: Operand) -> Array:
    """x and y, elementwise; a number is true unless it is 0. For masks, the operator `&`."""
    return backend_of(x if hasattr(x, "shape") else y).xp.logical_and(x, y)


@primitive(elementwise=True, differentiable=False)
def logical_or(x: Array, y: Operand) -> Array:
    """x or y, elementwise; a number is true unless it is 0. For masks, the operator `|`."""
    return backend_of(x if hasattr(x, "shape") else y).xp.logical_or(x, y)


@primitive(elementwise=True, differentiable=False)
def logical_not(x: Array) -> Array:
    """not x, elementwise; a number is true unless it is 0. For masks, the operator `~`."""
    return backend_of(x).xp.logical_not(x)


def masks(sign: str, *operands: Operand) -> tuple[Operand, ...]:
    """The operands of `&`, `|` or `~`; raises TypeError unless all are booleans, as comparisons return."""
    kinds = [str(getattr(x, "dtype", type(x).__name__)) for x in operands]
    if set(kinds) <= {"bool"}:
        return operands
    example = "~(x > 0)" if sign == "~" else f"(x > 0) {sign} (x < 1), with the parentheses"
    raise TypeError(f"{sign} combines masks of booleans, got {' and '.join(kinds)}: write e.g. {example}.")


@primitive(differentiable=False)
def indicator(condition: Array, like: Operand) -> Array:
    """1 where `condition` is true, else 0, in the dtype of `like` (a boolean times 0.5 is float64 for any input)."""
    return condition.astype(like.dtype)


@primitive(elementwise=True)
def where(condition: Array, x: Operand, y: Operand) -> Array:
    """x where `condition` c is true, else y.   dL/dx = G where c, else 0;   dL/dy = 0 where c, else G;   c gets none."""
    return backend_of(condition).xp.where(condition, x, y)


@where.vjp(1)
def _(g, out, condition, x, y):
    return where(condition, g, 0.0)


@where.vjp(2)
def _(g, out, condition, x, y):
    return where(condition, 0.0, g)


@primitive(elementwise=True)
def maximum(x: Array, y: Operand) -> Array:
    """The larger of x and y.   d/dx = 1 where x > y, 1/2 where x = y, else 0;   d/dy = 1 - d/dx"""
    return backend_of(x if hasattr(x, "shape") else y).xp.maximum(x, y)


@primitive(elementwise=True)
def minimum(x: Array, y: Operand) -> Array:
    """The smaller of x and y.   d/dx = 1 where x < y, 1/2 where x = y, else 0;   d/dy = 1 - d/dx"""
    return backend_of(x if hasattr(x, "shape") else y).xp.minimum(x, y)


@maximum.vjp(0)
@minimum.vjp(1)
def _(g, out, x, y):
    return g * (1.0 - 0.5 * (indicator(x < y, g) + indicator(x <= y, g)))


@maximum.vjp(1)
@minimum.vjp(0)
def _(g, out, x, y):
    return g * (1.0 - 0.5 * (indicator(x > y, g) + indicator(x >= y, g)))


def clip(x: T, low: Operand = None, high: Operand = None) -> T:
    """x limited to [low, high], each a number, an array that broadcasts against x, or None for no limit.

    d/dx = 1 inside and on the border, 0 outside. A Tensor as a bound gets the gradient of the elements beyond it.
    """
    if low is None and high is None:
        raise TypeError("clip needs a bound: write clip(x, low=0.0), clip(x, high=1.0) or both.")
    bounds = -math.inf if low is None else low, math.inf if high is None else high
    if all(isinstance(bound, Real) for bound in bounds) and not bounds[0] <= bounds[1]:
        raise ValueError(f"clip: low must not be above high, got low={low!r} and high={high!r}: exchange them.")
    return limit(x, low, high)  # type: ignore[return-value]


@primitive(elementwise=True)
def limit(x: Array, low: Operand, high: Operand) -> Array:
    """min(max(x, low), high), a bound of None left out; see `clip`.   d/dx = 1 inside and on the border, else 0

    The gradient goes to the one that is returned; on the border and at NaN that is x, and where low is above high it is high.
    """
    return backend_of(x).xp.clip(x, low, high)


@limit.vjp(0)
def _(g, out, x, low, high):
    beyond = x < low if high is None else x > high if low is None else (x < low) + (x > high)
    return where(beyond, 0.0, g)


@limit.vjp(1)
def _(g, out, x, low, high):
    return where((x < low) * (out >= low), g, 0.0)


@limit.vjp(2)
def _(g, out, x, low, high):
    return where((x if low is None else maximum(x, low)) > high, g, 0.0)
