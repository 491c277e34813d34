"""The reverse sweep: from a result back to everything it was computed from.

Nodes are visited newest first, and each one passes its cotangent to its parents through the rules of its primitive. A
value that is used twice receives two contributions, which add up. In `b = a + a; c = b + b` the node of `b` must
receive both before it passes anything on to `a`. Visiting nodes by decreasing serial number guarantees this.

The sweep runs on raw arrays, so a first derivative creates no Tensors. With `create_graph=True` the same rules run on
Tensors and are recorded themselves, so that the gradient can be differentiated again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from tinyae.autodiff.tape import (
    Cotangent,
    Node,
    Primitive,
    Rule,
    Seed,
    Tensor,
    adjoint_pair,
    ancestors,
    constant,
    observed,
    observers,
    primitive,
    recorded,
    recording,
    sum_to,
)
from tinyae.backend import Array, backend_of, check_same_device
from tinyae.checks import check_kind


class RuleError(ValueError):
    """A gradient rule returned something that cannot be a gradient: not an array, or an array of the wrong shape."""


@overload
def grad(
    y: Tensor, xs: Tensor, grad_output: Seed = None, create_graph: bool = False, allow_unused: bool = False
) -> Tensor: ...
@overload
def grad(
    y: Tensor, xs: Sequence[Tensor], grad_output: Seed = None, create_graph: bool = False, allow_unused: bool = False
) -> list[Tensor]: ...
def grad(
    y: Tensor,
    xs: Tensor | Sequence[Tensor],
    grad_output: Seed = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> Tensor | list[Tensor]:
    """Gradient of `y` with respect to one Tensor or each Tensor of a sequence. `.grad` and the graph stay unchanged.

    Args:
        y: the result to differentiate.
        xs: Tensors that `y` was computed from: leaves or intermediate results.
        grad_output: cotangent of `y`, of the same shape; optional if `y` holds a single number.
        create_graph: record the gradient computation, so that the returned gradients can be differentiated.
        allow_unused: give zeros for a Tensor that `y` does not depend on, instead of raising.

    Example:
        >>> x = Tensor(3.0, requires_grad=True)
        >>> slope = grad(x * x * x, x, create_graph=True)
        >>> slope.item(), grad(slope, x).item()
        (27.0, 18.0)
    """
    root, seed = _start(y, grad_output, create_graph, allow_unused=allow_unused)
    targets = list(xs) if isinstance(xs, Iterable) and not isinstance(xs, Tensor) else [xs]
    nodes = []
    for i, x in enumerate(targets):
        if not isinstance(x, Tensor) or x.node is None:
            raise TypeError(f"grad: xs[{i}] must be a Tensor with requires_grad=True, got {_describe(x)}.")
        nodes.append(x.node)
    cotangents = _sweep(root, seed, _between(root, nodes), create_graph, keep=set(nodes))
    results = []
    for i, (x, node) in enumerate(zip(targets, nodes, strict=True)):
        if node in cotangents:
            c = cotangents[node]
            _check_real(c, x)
            results.append(c if isinstance(c, Tensor) and c.dtype == x.dtype else _fresh(c, x))
        elif allow_unused:
            results.append(constant(backend_of(x._data).xp.zeros_like(x._data)))
        else:
            raise ValueError(
                f"grad: y does not depend on xs[{i}] of shape {x.shape}; pass allow_unused=True to get zeros."
            )
    return results[0] if isinstance(xs, Tensor) else results


def backward(y: Tensor, grad_output: Seed = None, retain_graph: bool = False, create_graph: bool = False) -> None:
    """Add the gradient of `y` to `.grad` of every leaf it was computed from, and free the graph.

    Args:
        y: the result, usually a loss.
        grad_output: cotangent of `y`, of the same shape; optional if `y` holds a single number.
        retain_graph: keep the graph for another backward pass; otherwise a second call raises.
        create_graph: make the gradients differentiable (implies `retain_graph`).
    """
    root, seed = _start(y, grad_output, create_graph, retain_graph=retain_graph)
    for node, c in _sweep(root, seed, ancestors(root), create_graph, free=not (retain_graph or create_graph)).items():
        if node.leaf is not None and (leaf := node.leaf()) is not None:
            _deposit(leaf, c)


def _start(y: Tensor, grad_output: Seed, create_graph: bool, **flag: bool) -> tuple[Node, Cotangent]:
    """The node of the result, and the first cotangent: `grad_output`, or 1 for a single number. Also checks the flags."""
    for name, value in {"create_graph": create_graph, **flag}.items():
        if not isinstance(value, bool):
            check_kind(name, value, bool)
    if not isinstance(y, Tensor) or y.node is None:
        raise TypeError(_not_recorded(y))
    _check_real(y, y)
    if grad_output is not None:
        seed = _given(y, grad_output)
    elif y.size == 1:
        seed = backend_of(y._data).xp.ones(y.shape, dtype=y.dtype)
    else:
        raise ValueError(
            f"y has shape {y.shape}, not one number: reduce it (y.sum()) or pass grad_output of that shape."
        )
    if create_graph:
        return y.node, cast(grad_output, dtype=y.dtype) if isinstance(grad_output, Tensor) else constant(seed)
    return y.node, seed


def _given(y: Tensor, grad_output: Cotangent) -> Array:
    """The array of `grad_output`, checked against the shape and device of `y` and cast to its dtype."""
    seed = grad_output._data if isinstance(grad_output, Tensor) else grad_output
    if isinstance(seed, (list, tuple)):
        raise TypeError("grad_output is a Tensor or an array, got a list: make one with numpy.asarray(...).")
    if getattr(seed, "shape", ()) != y.shape:
        raise ValueError(f"grad_output has shape {getattr(seed, 'shape', ())}, y has {y.shape}; they must be equal.")
    check_same_device("grad_output", (y._data, seed))
    _check_real(seed if hasattr(seed, "dtype") else np.asarray(seed), y)
    given: Array = backend_of(y._data).xp.asarray(seed, dtype=y.dtype)
    return given


def _between(root: Node, targets: list[Node]) -> list[Node]:
    """The nodes on a path from `root` to a target, newest first; no other gradients are computed."""
    # A node older than the oldest target cannot depend on any of them.
    order = ancestors(root, since=min((node.serial for node in targets), default=0))
    leads = set(targets)
    for node in reversed(order):
        _check_not_freed(node)
        if any(parent in leads for parent in node.parents):
            leads.add(node)
    return [node for node in order if node in leads]


def _sweep(
    root: Node,
    seed: Cotangent,
    order: list[Node],
    create_graph: bool = False,
    keep: Collection[Node] = (),
    free: bool = False,
) -> dict[Node, Cotangent]:
    """Visit `order`, newest first: each node passes its cotangent g to its parents, where contributions add up.

    Returns the cotangents of leaves and of the nodes in `keep`; with `keep`, nodes outside `order` get none. With `free`,
    a node drops its arrays once it has been visited.
    """
    cotangents = {root: seed}
    inside = set(order) if keep else None
    owned: set[Node] = set()  # nodes whose cotangent is a sum made here, which no one else can hold
    watching = observers()
    usual, recording.on = recording.on, create_graph
    try:
        for node in order:
            if (primitive := node.primitive) is None or (g := cotangents.pop(node, None)) is None:
                continue
            _check_unchanged(node)
            if watching:  # a loop over no observers would cost more than the question
                for observer in watching:
                    observer.starts(node)
            if node in keep:
                cotangents[node] = g
            out, args, params = node.out, node.args, node.params
            positions, parents = (node.positions, node.parents) if inside is None else _toward(inside, node)
            together = _vjps(node, primitive, g, positions, create_graph) if create_graph or primitive.vjp_all else None
            for i, parent in zip(positions, parents):  # noqa: B905  (strict=True costs 0.3 us a node)
                c = together[i] if together else (primitive.vjps.get(i) or _rule(primitive, i))(g, out, *args, **params)
                if getattr(c, "shape", None) != args[i].shape:
                    c = _undo_broadcasting(primitive, i, args[i].shape, c, g)
                before = cotangents.get(parent)
                cotangents[parent] = c if before is None else _added(before, c, parent, owned, create_graph)
                if watching:
                    for observer in watching:
                        observer.gradient(node, i, g, c, parent, cotangents[parent])
            if free:
                node.free()
    finally:
        recording.on = usual
    return cotangents


def _added(before: Cotangent, c: Cotangent, parent: Node, owned: set[Node], create_graph: bool) -> Cotangent:
    """before + c; in place if this sweep itself made `before`, as a sum."""
    if parent in owned and not create_graph:
        with suppress(TypeError):  # a complex c, which is rejected at the leaf
            before += c
            return before
    owned.add(parent)
    return before + c


def _toward(inside: set[Node], node: Node) -> tuple[list[int], list[Node]]:
    """The argument positions and parents of `node` that lead to a target."""
    pairs = [pair for pair in zip(node.positions, node.parents, strict=True) if pair[1] in inside]
    return [i for i, _ in pairs], [parent for _, parent in pairs]


def _check_not_freed(node: Node) -> None:
    if node.stamp < 0:
        raise RuntimeError(
            f"the graph behind {node.name} was freed by an earlier backward(): "
            "pass retain_graph=True to the first call if you need two."
        )


def _check_unchanged(node: Node) -> None:
    """Raise RuntimeError if the node was freed or one of its arrays was changed in place since it was recorded.

    Versions only increase, so any change also changes their sum.
    """
    stamp = node.version
    for parent in node.parents:
        stamp += parent.version
    if stamp != node.stamp:
        _check_not_freed(node)
        raise RuntimeError(
            f"an input or the result of {node.name} was changed in place after it was used: "
            "run the forward pass again before backward()."
        )


def _undo_broadcasting(
    primitive: Primitive[...], position: int, shape: tuple[int, ...], c: Cotangent, g: Cotangent
) -> Cotangent:
    """Sum a gradient to the shape of its argument; raise RuleError where broadcasting does not explain its shape."""
    rule = f"the gradient rule of {primitive.name} for argument {position} returned"
    if not hasattr(c, "shape"):
        raise RuleError(f"{rule} an object of type {type(c).__name__}, expected an array {shape}: return the gradient.")
    if not primitive.elementwise or c.shape != g.shape:
        fix = (
            "a rule of an elementwise primitive returns g, of the shape of the result, times something"
            if primitive.elementwise
            else "end the rule with sum_to(g, shape=...) or mark the primitive elementwise=True"
        )
        raise RuleError(f"{rule} shape {c.shape}, expected {shape}: {fix}.")
    return sum_to(c, shape=shape)


def _rule(primitive: Primitive[...], position: int) -> Rule:
    """The rule for one argument, taken from `vjps` or from the rule that serves all arguments."""
    if position in primitive.vjps:
        return primitive.vjps[position]
    each = primitive.vjp_each
    if each is None:
        raise TypeError(
            f"{primitive.name} has no gradient rule for argument {position}: detach() that argument, "
            f"or add @{primitive.name}.vjp({position})."
        )
    return lambda g, out, *args, **params: each(g, out, position, *args, **params)


def _vjps(
    node: Node, primitive: Primitive[...], g: Cotangent, positions: Sequence[int], create_graph: bool
) -> Mapping[int, Cotangent]:
    """Vector-Jacobian products that are computed together, by position: those of a fused primitive, or of recorded rules.

    With `create_graph` the rules run on Tensors and so record themselves; a fused primitive runs its composed twin again.
    """
    if primitive.vjp_all is not None and not create_graph:
        return dict(enumerate(primitive.vjp_all(g, node.out, node.residuals, positions, *node.args, **node.params)))
    node_of = dict(zip(node.positions, node.parents, strict=True))
    args = [recorded(a, node_of.get(i)) if hasattr(a, "shape") else a for i, a in enumerate(node.args)]
    with observed(node):
        if primitive.composed is None:
            out = recorded(node.out, node)
            return {i: _rule(primitive, i)(g, out, *args, **node.params) for i in positions}
        inputs = {i: alias(args[i]) for i in positions}
        again = primitive.composed(*[inputs.get(i, a) for i, a in enumerate(args)], **node.params)
        gradients = grad(again, list(inputs.values()), g, create_graph=True, allow_unused=True)
        return dict(zip(positions, gradients, strict=True))


@primitive
def alias(x: Array) -> Array:
    """x itself with a new node, to tell two uses of one Tensor apart.   d/dx x = 1"""
    return x


@primitive
def cast(x: Array, *, dtype: npt.DTypeLike) -> Array:
    """A copy of x in a floating-point dtype; complex numbers stay complex.   Adjoint: cast back to the dtype of x."""
    target: Any = dtype if hasattr(dtype, "kind") else np.dtype(dtype)  # the dtypes of other libraries as they are
    if target.kind not in "fc":
        raise TypeError(f"cast: dtype must be a floating-point one, got {target}: use x.data.astype for a constant.")
    return x.astype(np.result_type(target, np.complex64) if x.dtype.kind == "c" else target)


adjoint_pair(alias, alias)
adjoint_pair(cast, cast, lambda x, dtype: {"dtype": x.dtype})


# ---------------------------------------------------------------------------------------------------------------------
# Results of a sweep are copies, because a cotangent may be a view of an array that is in use elsewhere.


def _deposit(leaf: Tensor, c: Cotangent) -> None:
    """Add a cotangent to `leaf.grad`, which is stored in the optimizer's buffer if the leaf has one."""
    if leaf._grad is None and leaf._buffer is not None and not isinstance(c, Tensor):
        try:
            backend_of(leaf._buffer).xp.copyto(leaf._buffer, c)
        except TypeError:
            _check_real(c, leaf)
            raise
        leaf._grad = constant(leaf._buffer)
        return
    _check_real(c, leaf)
    if leaf._grad is not None:
        c = (leaf._grad if isinstance(c, Tensor) else leaf._grad._data) + c
    leaf._grad = _fresh(c, leaf)


def _fresh(c: Cotangent, like: Tensor) -> Tensor:
    """A copy of a cotangent with the dtype of `like`."""
    return cast(c, dtype=like.dtype) if isinstance(c, Tensor) else constant(backend_of(c).xp.array(c, dtype=like.dtype))


def _check_real(c: Cotangent, like: Tensor) -> None:
    """Raise TypeError for the cotangent of a complex Tensor, or one that came through complex numbers.

    The rules do not conjugate, so they are right for holomorphic functions only. A complex cotangent stays complex.
    """
    if (c.dtype.kind == "c" or like.dtype.kind == "c") and not recording.holomorphic:
        raise TypeError(
            f"gradients of complex numbers are not defined here, got a cotangent of dtype {c.dtype} for a Tensor of dtype "
            f"{like.dtype}: compute with real and imaginary parts, as two real Tensors."
        )


def _not_recorded(y: object) -> str:
    """Why there is nothing to differentiate in y, and what to do about it."""
    if isinstance(y, (list, tuple)):
        return "grad: y is one Tensor, got a list: add the results up, e.g. y[0].sum() + y[1].sum()."
    if isinstance(y, Tensor) and y._flat:
        return f"{y._flat} is piecewise constant, its gradient is 0 everywhere: use a smooth function in its place."
    return (
        f"cannot differentiate {_describe(y)}: nothing was recorded for it. Make an input with requires_grad=True, "
        "and compute outside no_grad()."
    )


def _describe(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a constant Tensor of shape {value.shape}"
    return f"an object of type {type(value).__name__}"
