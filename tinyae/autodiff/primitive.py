"""`primitive`: a function on arrays together with the rules that carry gradients back through it.

Forward and rule stand side by side:

    @primitive(elementwise=True)
    def tanh(x):
        return backend_of(x).xp.tanh(x)

    @tanh.vjp(0)
    def _(g, out, x):
        return g * (1 - out * out)

A primitive given raw arrays returns a raw array, and given Tensors a Tensor; so the public function is also the
kernel. A rule
uses only operators and other primitives, and so works in both modes as well: on raw arrays for a first derivative
(nothing is wrapped or recorded), on Tensors when the backward pass is itself to be differentiated. That is how one
rule gives derivatives of every order.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, overload

from tinyae.autodiff.node import Node, current_watch, recording, watches
from tinyae.autodiff.tensor import Tensor, recorded
from tinyae.backend import check_same_device


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
        to_b: `to_b(x, **params_of_a)` gives the parameters with which `b` undoes that call of `a`; default: the same
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
