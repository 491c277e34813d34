"""The reverse sweep: from a result back to everything it was made from.

Each node in turn, newest first, hands its cotangent to its parents through the rules of its primitive. A value used
twice receives two contributions, and they add. In `b = a + a; c = b + b` the node of `b` must wait for both of its
uses before it passes anything on to `a`: that is what the order is for, and serial numbers give it for free.

The sweep runs on raw arrays, so a first derivative creates no Tensors. With `create_graph=True` the very same rules
run on Tensors and record themselves, which makes the gradient differentiable in turn.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, overload

from tinyae.autodiff.tape import (
    Node,
    Primitive,
    Tensor,
    adjoint_pair,
    ancestors,
    constant,
    current_watch,
    primitive,
    recorded,
    set_recording,
    sum_to,
)
from tinyae.backend import backend_of, check_same_device

Cotangents = dict[Node, Any]


class RuleError(ValueError):
    """A gradient rule returned something that cannot be the gradient of its argument: no array, or one of another shape."""


@overload
def grad(
    y: Tensor, xs: Tensor, grad_output: Any = None, create_graph: bool = False, allow_unused: bool = False
) -> Tensor: ...
@overload
def grad(
    y: Tensor, xs: Sequence[Tensor], grad_output: Any = None, create_graph: bool = False, allow_unused: bool = False
) -> list[Tensor]: ...
def grad(y: Tensor, xs: Any, grad_output: Any = None, create_graph: bool = False, allow_unused: bool = False) -> Any:
    """Gradient of `y` with respect to one Tensor or each of a sequence; nothing is deposited, the graph stays usable.

    Args:
        y: the result to differentiate.
        xs: Tensors that `y` was made from: leaves or intermediate results.
        grad_output: cotangent of `y`, of its shape; may be left out if `y` holds one number.
        create_graph: record the gradient computation, so that the returned gradients can be differentiated.
        allow_unused: give zeros for a Tensor that `y` does not depend on, instead of raising.

    Example:
        >>> x = Tensor(3.0, requires_grad=True)
        >>> slope = grad(x * x * x, x, create_graph=True)
        >>> slope.item(), grad(slope, x).item()
        (27.0, 18.0)
    """
    root, seed = _start(y, grad_output, create_graph)
    single = isinstance(xs, Tensor)
    targets = [xs] if single else list(xs)
    for i, x in enumerate(targets):
        if not isinstance(x, Tensor) or x.node is None:
            raise TypeError(f"grad: xs[{i}] must be a Tensor with requires_grad=True, got {_describe(x)}.")
    wanted = {x.node for x in targets}
    # What is older than the oldest target cannot have been made from any of them.
    order = ancestors(root, since=min((node.serial for node in wanted), default=0))
    cotangents = _sweep(root, seed, _between(order, wanted), create_graph, keep=wanted)
    results = []
    for i, x in enumerate(targets):
        if x.node in cotangents:
            c = cotangents[x.node]
            results.append(c if create_graph else _fresh(c, x))
        elif allow_unused:
            results.append(constant(backend_of(x._data).xp.zeros_like(x._data)))
        else:
            raise ValueError(
                f"grad: y does not depend on xs[{i}] of shape {x.shape}; pass allow_unused=True to get zeros."
            )
    return results[0] if single else results


def backward(y: Tensor, grad_output: Any = None, retain_graph: bool = False, create_graph: bool = False) -> None:
    """Add the gradient of `y` to `.grad` of every leaf it was made from, and free the graph.

    Args:
        y: the result, usually a loss.
        grad_output: cotangent of `y`, of its shape; may be left out if `y` holds one number.
        retain_graph: keep the graph for another backward pass; otherwise a second call raises.
        create_graph: make the deposited gradients differentiable (implies `retain_graph`).
    """
    root, seed = _start(y, grad_output, create_graph)
    order = ancestors(root)
    free = not (retain_graph or create_graph)
    cotangents = _sweep(root, seed, order, create_graph, free=free)
    for node, c in cotangents.items():
        leaf = None if node.leaf is None else node.leaf()
        if leaf is not None:
            _deposit(leaf, c)


def _start(y: Tensor, grad_output: Any, create_graph: bool) -> tuple[Node, Any]:
    """Check the root and make the first cotangent."""
    if not isinstance(y, Tensor) or y.node is None:
        raise TypeError(
            f"cannot differentiate {_describe(y)}: nothing was recorded for it. Make an input with requires_grad=True, "
            "and compute outside no_grad()."
        )
    if grad_output is None:
        if y.size != 1:
            raise ValueError(
                f"y has shape {y.shape}, not one number: reduce it to a loss (e.g. y.sum()) "
                "or pass grad_output of that shape."
            )
        seed = backend_of(y._data).xp.ones(y.shape, dtype=y.dtype)
    else:
        seed = grad_output._data if isinstance(grad_output, Tensor) else grad_output
        if getattr(seed, "shape", ()) != y.shape:
            raise ValueError(
                f"grad_output has shape {getattr(seed, 'shape', ())}, y has {y.shape}; they must be equal."
            )
        check_same_device("grad_output", (y._data, seed))
        seed = backend_of(y._data).xp.asarray(seed, dtype=y.dtype)
    if create_graph:
        return y.node, grad_output if isinstance(grad_output, Tensor) else constant(seed)
    return y.node, seed


def _between(order: list[Node], targets: set[Any]) -> list[Node]:
    """Keep the nodes that lead to a target; gradients for anything else are never computed."""
    leads = set(targets)
    for node in reversed(order):
        _check_not_freed(node)
        if any(parent in leads for parent in node.parents):
            leads.add(node)
    return [node for node in order if node in leads]


def _check_not_freed(node: Node) -> None:
    if node.args is None:
        raise RuntimeError(
            f"the graph behind {node.primitive.name} was freed by an earlier backward(): "
            "pass retain_graph=True to the first call if you need two."
        )


def _sweep(
    root: Node,
    seed: Any,
    order: list[Node],
    create_graph: bool = False,
    keep: Collection[Node] = (),
    free: bool = False,
) -> Cotangents:
    """Visit `order`, newest first: each node hands its cotangent g on to its parents, and what arrives at one adds up.

    Returns the cotangents of leaves and of the nodes in `keep`; with `keep`, nodes outside `order` get none. With `free`,
    a node drops its arrays when its turn is over.
    """
    cotangents: Cotangents = {root: seed}
    inside = set(order) if keep else None
    owned: set[Node] = set()  # nodes whose cotangent is a sum made here, which nobody else can hold
    watch = current_watch()
    with set_recording(create_graph):
        for node in order:
            if node.primitive is None or node not in cotangents:
                continue
            _check_unchanged(node)
            g = cotangents[node] if keep and node in keep else cotangents.pop(node)
            primitive, out, args, params = node.primitive, node.out, node.args, node.params
            positions, parents = node.positions, node.parents
            if inside is not None:
                positions, parents = _leading_inside(node, inside)
            at_once = None
            if create_graph or primitive.vjp_all is not None:
                at_once = _gradients_at_once(node, g, positions, create_graph)
            for i, parent in zip(positions, parents):  # noqa: B905  (strict=True costs 0.3 us a node)
                if at_once is not None:
                    c = at_once[i]
                else:
                    c = (primitive.vjps.get(i) or _rule(primitive, i))(g, out, *args, **params)
                if getattr(c, "shape", None) != args[i].shape:
                    c = _undo_broadcasting(node, i, c, g)
                if parent not in cotangents:
                    cotangents[parent] = c
                elif parent in owned and not create_graph:
                    cotangents[parent] += c
                else:
                    cotangents[parent] = cotangents[parent] + c
                    owned.add(parent)
                if watch is not None:
                    watch.check_rule(node, i, g, c, parent, cotangents[parent])
            if free:
                node.free()
    return cotangents


def _check_unchanged(node: Node) -> None:
    """Raise RuntimeError if the node was freed, or one of its arrays has been changed in place since it was recorded."""
    stamp = node.version
    for parent in node.parents:
        stamp += parent.version
    if stamp != node.stamp:
        _check_not_freed(node)
        raise RuntimeError(
            f"an input or the result of {node.primitive.name} was changed in place after it was used: "
            "run the forward pass again before backward()."
        )


def _leading_inside(node: Node, inside: set[Node]) -> tuple[list[int], list[Node]]:
    """The positions and nodes of those arguments that lead on to a target."""
    kept = [(i, parent) for i, parent in zip(node.positions, node.parents, strict=True) if parent in inside]
    return [i for i, _ in kept], [parent for _, parent in kept]


def _gradients_at_once(node: Node, g: Any, wanted: Sequence[int], create_graph: bool) -> Any:
    """The gradients of all wanted arguments, by position: of rules that record themselves, or of one fused rule."""
    if not create_graph:
        return node.primitive.vjp_all(g, node.out, node.residuals, wanted, *node.args, **node.params)
    watch = current_watch()
    recorded_rules = _gradients_recorded if watch is None else watch.around(_gradients_recorded)
    return recorded_rules(node.primitive, node, g, list(wanted))


def _undo_broadcasting(node: Node, position: int, c: Any, g: Any) -> Any:
    """A gradient of another shape than its argument's, summed to it; anything but broadcasting is a mistake in the rule."""
    primitive, shape = node.primitive, node.args[position].shape
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


def _rule(primitive: Primitive, position: int) -> Any:
    rule = primitive.vjps.get(position)
    if rule is not None:
        return rule
    each = primitive.vjp_each
    if each is None:
        raise TypeError(
            f"{primitive.name} has no gradient rule for argument {position}: detach() that argument, "
            f"or add @{primitive.name}.vjp({position})."
        )
    return lambda g, out, *args, **params: each(g, out, position, *args, **params)


@primitive
def alias(x: Any) -> Any:
    """x itself under a new node: tells two uses of one Tensor apart.   d/dx x = 1"""
    return x


@primitive
def clone(x: Any) -> Any:
    """A copy of x in memory of its own.   d/dx x = 1"""
    return backend_of(x).xp.array(x)


adjoint_pair(alias, alias)
adjoint_pair(clone, clone)


def _gradients_recorded(primitive: Primitive, node: Node, g: Tensor, wanted: list[int]) -> dict[int, Tensor]:
    """The rules of one node on Tensors, so that they record themselves; a fused primitive re-traces its composed
    twin.
    """
    node_of = dict(zip(node.positions, node.parents, strict=True))
    args = [recorded(a, node_of.get(i)) if hasattr(a, "shape") else a for i, a in enumerate(node.args or ())]
    params = node.params or {}
    if primitive.composed is not None:
        inputs = {i: alias(args[i]) for i in wanted}
        again = primitive.composed(*[inputs.get(i, a) for i, a in enumerate(args)], **params)
        gradients = grad(again, list(inputs.values()), g, create_graph=True, allow_unused=True)
        return dict(zip(wanted, gradients, strict=True))
    out = recorded(node.out, node)
    return {i: _rule(primitive, i)(g, out, *args, **params) for i in wanted}


def _deposit(leaf: Tensor, c: Any) -> None:
    """Add a cotangent to `leaf.grad`. What is stored is a fresh array (or the optimizer's buffer), never an alias."""
    recording = isinstance(c, Tensor)
    if leaf.grad is not None:
        leaf.grad = _fresh((leaf.grad if recording else leaf.grad._data) + c, leaf)
    elif leaf._buffer is not None and not recording:
        backend_of(leaf._buffer).xp.copyto(leaf._buffer, c)
        leaf.grad = constant(leaf._buffer)
    else:
        leaf.grad = _fresh(c, leaf)


def _fresh(c: Any, like: Tensor) -> Tensor:
    """A copy of a cotangent with the dtype of what it belongs to (a cotangent may be a view that others hold)."""
    if isinstance(c, Tensor):
        return clone(c)
    return constant(backend_of(c).xp.array(c, dtype=like.dtype))


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a constant Tensor of shape {value.shape}"
    return f"an object of type {type(value).__name__}"
