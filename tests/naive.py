"""Reverse-mode differentiation of single numbers: the whole idea on one page.

A computation is a graph. Each value remembers which values it was made from and the *slope* of the step: by how
much it changes when that one changes. The chain rule then says that the gradient of a result with respect to
anything behind it is

    the sum, over all paths from the result to it, of the product of the slopes along the path.

There can be exponentially many paths, so nobody walks them one by one. Instead every value is visited once,
after all of its uses, and what has arrived at it by then is passed on, times a slope, to the values that it was
made from.

This engine is slow, has no arrays and no safety; it is here to be read, and to be compared with the real one in
random tests.
"""

from __future__ import annotations

import math


class Value:
    """A number and how it was made: `parents` are pairs (value, slope)."""

    def __init__(self, number: float, parents: tuple[tuple[Value, float], ...] = ()) -> None:
        self.number = float(number)
        self.parents = parents
        self.grad = 0.0

    def __add__(self, other: Value) -> Value:
        return Value(self.number + other.number, ((self, 1.0), (other, 1.0)))

    def __sub__(self, other: Value) -> Value:
        return Value(self.number - other.number, ((self, 1.0), (other, -1.0)))

    def __mul__(self, other: Value) -> Value:
        return Value(self.number * other.number, ((self, other.number), (other, self.number)))

    def __truediv__(self, other: Value) -> Value:
        quotient = self.number / other.number
        return Value(quotient, ((self, 1.0 / other.number), (other, -quotient / other.number)))

    def tanh(self) -> Value:
        out = math.tanh(self.number)
        return Value(out, ((self, 1.0 - out * out),))

    def exp(self) -> Value:
        out = math.exp(self.number)
        return Value(out, ((self, out),))

    def log(self) -> Value:
        return Value(math.log(self.number), ((self, 1.0 / self.number),))

    def relu(self) -> Value:
        return Value(max(self.number, 0.0), ((self, float(self.number > 0)),))

    def detach(self) -> Value:
        """The same number with its history forgotten."""
        return Value(self.number)

    def backward(self, seed: float = 1.0) -> None:
        """Add seed * d(self)/d(leaf) to `grad` of every leaf, a leaf being a value without parents."""
        arrived = {self: seed}
        for value in reversed(parents_first(self)):
            g = arrived[value]
            for parent, slope in value.parents:
                arrived[parent] = arrived.get(parent, 0.0) + g * slope
            if not value.parents:
                value.grad += g


def parents_first(root: Value) -> list[Value]:
    """Everything `root` was made from, and `root`, each value after its parents: a topological order.

    A depth-first walk that lists a value when all its parents are listed. The stack is a list and not the
    interpreter's, which would overflow on a chain of a thousand steps.
    """
    order: list[Value] = []
    entered: set[Value] = set()
    stack = [(root, False)]
    while stack:
        value, parents_listed = stack.pop()
        if parents_listed:
            order.append(value)
        elif value not in entered:
            entered.add(value)
            stack.append((value, True))
            stack.extend((parent, False) for parent, _ in value.parents)
    return order
