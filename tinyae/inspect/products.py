"""Every gradient of a tape as a sum of products: what arrives at each use, times the slope there.

An element x of a node is used by the elements y_o of the nodes that were computed from it, and the chain rule says

    dL/dx = sum over all uses, sum over o of  dL/dy_o * d y_o/dx          arrives * local slope = leaves

The reverse sweep never forms a Jacobian, but one column of it, d y_o/dx for all o, follows from the rule of the operation:
v(u) = J^T u is linear in the cotangent u, so that J e = d<v(u), e>/du for the unit vector e of x. That is one `grad` of a
recorded `grad`, for any operation. So the products come from the rules alone, and their sum can be compared with what the
sweep found, and with the slope of the loss as measured by replaying the tape.

Everything is computed in float64 on the host, on a tape that is retraced: the recorded operations are run again. They may
be run as their composed twins, which shows the inside of a fused operation.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyae.autodiff import Node, Observer, Primitive, Tensor, grad, observers, set_observers, set_recording
from tinyae.autodiff.tape import ancestors, recorded
from tinyae.backend import backend_of
from tinyae.inspect.graphs import Names, euclidean_norm, values_of
from tinyae.nn import Module, Parameter

Index = tuple[int, ...]
Floats = npt.NDArray[np.float64]

TOP = 8
"""Products that are listed; the others are added up."""

LARGE = 4_000_000
"""Elements of an array that is not taken apart: a column of a Jacobian has the size of a result."""

VISITED = 400
"""Nodes that are visited, at most."""

MOST_REPLAYED = 2_000
"""Operations that are run again to measure one slope; above it, the slope is not measured."""


@dataclass(frozen=True)
class Product:
    """One product of the sum: what arrives at an element of the node that used x, times the slope of that element in x."""

    index: Index
    arrives: float
    slope: float
    leaves: float


@dataclass(frozen=True)
class Window:
    """The part of an array of images in which slopes are not 0: the window of a convolution.

    Attributes:
        low, high: the first index and the one after the last, on each axis.
        slopes: those of the first sample and of one channel, (KH, KW).
        channel: the one with the largest slope.
    """

    low: Index
    high: Index
    slopes: list[list[float]]
    channel: int


@dataclass(frozen=True)
class Use:
    """What one node sends back to the element.

    Attributes:
        node: position of the node that used the element, in the order of the forward pass.
        arg: for which of its arguments.
        count: how many products are not 0; None if the arrays are too large to be taken apart.
        sum: of all products.
        top: the largest products, at most `TOP`.
        most: how many of the largest products have 90 % of the sum of all absolute values.
        window: for images.
        at: the values of the arguments at the first of `top`, by name, for an elementwise operation.
    """

    node: int
    arg: int
    count: int | None
    sum: float
    top: tuple[Product, ...] = ()
    most: int = 0
    window: Window | None = None
    at: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Made:
    """How the value of the element was computed: the forward half.

    Attributes:
        rows: (argument, index, value, slope) of the elements that it depends on, the largest at most `TOP`; slope is
            the derivative with respect to that element, a weight if the operation is linear.
        count: how many elements it depends on.
        rest: the sum of value * slope over those that are not in `rows`.
        total: the sum of value * slope over all, if the operation is linear; else None.
        activation: the function that is applied to the total in a fused operation; "" without one.
        window: for images, in argument 0.
    """

    rows: tuple[tuple[int, Index, float, float], ...]
    count: int
    rest: float
    total: float | None
    activation: str
    window: Window | None


@dataclass(frozen=True)
class Measured:
    """The slope of the loss by central differences: an estimate of its error, and whether the point is a kink."""

    slope: float
    error: float
    kink: bool


@dataclass
class Focus:
    """One element of a node, taken apart.

    Attributes:
        index: of the element.
        value, gradient: of the element, the gradient as the sweep found it.
        why: "largest", "zero", "median", "first", "user", "nan", or "on the way" from an older element.
        uses: what arrives, newest node first; empty for the loss itself.
        made: how the value was computed; None for a leaf.
        measured: the slope of the loss; None if that would take too long.
        zero: why the gradient is 0, in a sentence; "" if it is not.
    """

    index: Index
    value: float
    gradient: float
    why: str
    uses: tuple[Use, ...] = ()
    made: Made | None = None
    measured: Measured | None = None
    zero: str = ""


@dataclass
class Visit:
    """One node of the tape, with what the sweep does there.

    Attributes:
        number: position in the order of the forward pass, from 0; the sweep goes from the last to the first.
        node: the node of the retraced tape, with its arrays.
        name: of a leaf or a result; None without one.
        layer: dotted name of the layer in which it was recorded; "" outside of any.
        origin: the recorded operation; another one than that of `node` if a fused operation was run as its twin.
        call: which recorded node that was, counted like `number`.
        parents: the numbers of the nodes that it was computed from, by argument position.
        constants: descriptions of its other arguments, by position.
        value, gradient: float64 arrays.
        waiting: by argument position, the norm of what had arrived at that parent after this node was visited.
        focus: the elements that are taken apart.
    """

    number: int
    node: Node
    name: str | None
    layer: str
    origin: str
    call: int
    parents: dict[int, int]
    constants: dict[int, str]
    value: Floats
    gradient: Floats
    waiting: dict[int, float]
    focus: list[Focus] = field(default_factory=list)

    @property
    def op(self) -> str:
        """The name of the operation, "leaf" for a leaf."""
        return self.node.name


# ---------------------------------------------------------------------------------------------------------------------
# Recording: the layer of each node, and the tape once more in float64.


class Places(Observer):
    """What the engine reports: the layer of each node, what `detach()` made constant, and how cotangents add up.

    Attributes:
        layers: dotted name of the innermost layer, by the serial number of the node.
        constants: detached arrays and inputs of layers with words for them, by id, which stays theirs as long as they live.
        arrived: the norm of what had arrived at a parent once a node was visited, by the node and the argument.
    """

    def __init__(self, root: Module | None) -> None:
        self.names = {} if root is None else {id(part): name for name, part in root.named_modules()}
        self.inside = [""]
        self.layers: dict[int, str] = {}
        self.constants: dict[int, tuple[Any, str]] = {}
        self.arrived: dict[tuple[Node, int], float] = {}

    @contextmanager
    def during(self, scope: object) -> Iterator[None]:
        """Remember the layer that is being called; a layer without a name belongs to the one around it."""
        self.inside.append(self.names.get(id(scope), self.inside[-1]) or self.inside[-1])
        try:
            yield
        finally:
            self.inside.pop()

    def result(self, name: str, args: Sequence[Any], out: Any, node: Node | None) -> None:
        """Remember the layer of a node."""
        if node is not None and self.inside[-1]:
            self.layers[node.serial] = self.inside[-1]

    def detached(self, constant: Tensor) -> Tensor:
        """Remember what `detach()` cut off."""
        self.constants[id(constant.data)] = constant.data, "detached"
        return constant

    def called(self, module: object, inputs: tuple[object, ...], output: object) -> None:
        """Remember the constants that are given to a layer."""
        for x in inputs:
            if isinstance(x, Tensor) and x.node is None:
                self.constants.setdefault(id(x.data), (x.data, "the input"))

    def gradient(self, node: Node, position: int, g: Any, c: Any, parent: Node, total: Any) -> None:
        """Remember what has arrived at a parent so far."""
        self.arrived[node, position] = euclidean_norm(total)


def _host(value: Any) -> Any:
    """An array on the host, floating-point numbers as float64; the arrays inside of tuples too; else the value itself."""
    if isinstance(value, tuple) and type(value) is tuple:
        return tuple(_host(part) for part in value)
    if not hasattr(value, "dtype"):
        return value
    array = np.asarray(backend_of(value).to_host(value))
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def _retraced(order: list[Node], values: dict[Node, Any], unfused: bool) -> tuple[dict[Node, Tensor], dict[int, Any]]:
    """The tape once more, oldest node first: the Tensor of each node, and the constants by id."""
    tensors: dict[Node, Tensor] = {}
    constants: dict[int, Any] = {}
    for node in order:
        if node.primitive is None:
            tensors[node] = Tensor(_host(values[node]), requires_grad=True)
            continue
        given = dict(zip(node.positions, node.parents, strict=True))
        args = []
        for i, arg in enumerate(node.args):
            if i not in given and id(arg) not in constants:
                constants[id(arg)] = _host(arg)
            args.append(tensors[given[i]] if i in given else constants[id(arg)])
        params = {key: _host(value) for key, value in node.params.items()}
        if node.name == "cast":
            params["dtype"] = np.float64
        twin = node.primitive.composed if unfused else None
        # One argument is a Tensor, and so the twin, which may use operators, gets only Tensors.
        args = [Tensor(a) if twin is not None and isinstance(a, np.ndarray) else a for a in args]
        tensors[node] = (twin or node.primitive)(*args, **params)
    return tensors, constants


# ---------------------------------------------------------------------------------------------------------------------
# One operation alone: columns of its Jacobian for the backward half, rows for the forward half.


class Local:
    """One operation with its raw arguments as leaves, and its options."""

    def __init__(self, primitive: Primitive, args: Sequence[Any], params: Mapping[str, Any]) -> None:
        ruled = {i for i in range(len(args)) if primitive.vjp_all or primitive.vjp_each or i in primitive.vjps}
        self.args = [
            Tensor(a, requires_grad=i in ruled and a.dtype.kind == "f") if hasattr(a, "dtype") else a
            for i, a in enumerate(args)
        ]
        self.out = primitive(*self.args, **params)
        self.products: dict[int, tuple[Tensor, Tensor]] = {}

    def column(self, position: int, index: Index) -> Floats:
        """d out / d args[position][index], for every element of the result."""
        x = self.args[position]
        if position not in self.products:
            u = Tensor(np.zeros(self.out.shape), requires_grad=True)
            self.products[position] = u, grad(self.out, x, u, create_graph=True)
        u, v = self.products[position]
        if v.node is None:
            return np.zeros(self.out.shape)
        unit = np.zeros(x.shape)
        unit[index] = 1.0
        return grad(v, u, unit, allow_unused=True).numpy()

    def row(self, index: Index) -> dict[int, Floats]:
        """d out[index] / d args[i], for every argument i that has a rule."""
        unit = np.zeros(self.out.shape)
        unit[index] = 1.0
        positions = [i for i, a in enumerate(self.args) if isinstance(a, Tensor) and a.requires_grad]
        slopes = grad(self.out, [self.args[i] for i in positions], unit, allow_unused=True)
        return {i: slope.numpy() for i, slope in zip(positions, slopes, strict=True)}


def _local(node: Node, **changes: Any) -> Local | None:
    """The operation of a node alone; None if its arrays are too large."""
    if node.primitive is None or any(a.size > LARGE for a in (*node.args, node.out) if hasattr(a, "dtype")):
        return None
    return Local(node.primitive, node.args, {**node.params, **changes})


def _largest(products: Floats) -> list[Index]:
    """The indices of the `TOP` largest products, largest first, without those that are 0; NaN counts as the largest."""
    size = np.where(np.isnan(products), np.inf, np.abs(products)).ravel()
    few = np.sort(np.argpartition(-size, TOP)[:TOP]) if size.size > TOP else np.arange(size.size)
    return [at(i, products.shape) for i in few[np.argsort(-size[few], kind="stable")] if size[i]]


def at(flat: int, shape: tuple[int, ...]) -> Index:
    """The index of an element by its position in C order."""
    return tuple(int(i) for i in np.unravel_index(flat, shape)) if shape else ()


def _window(slopes: Floats) -> Window | None:
    """The box of the slopes that are not 0, in images (N, H, W, C), if it is at most 8 x 8 and less than everything."""
    if slopes.ndim != 4 or not slopes.any():
        return None
    places = np.nonzero(slopes)
    low, high = tuple(int(p.min()) for p in places), tuple(int(p.max()) + 1 for p in places)
    height, width = high[1] - low[1], high[2] - low[2]
    if max(height, width) > 8 or slopes.shape[1:3] == (height, width):
        return None
    top = at(int(np.abs(slopes).argmax()), slopes.shape)
    return Window(low, high, slopes[top[0], low[1] : high[1], low[2] : high[2], top[3]].tolist(), top[3])


# ---------------------------------------------------------------------------------------------------------------------
# The sweep.


class Sweep:
    """A tape, retraced in float64 and swept once, with the elements of every node that are taken apart.

    Args:
        y: the loss, a Tensor that holds one number.
        names: names for leaves, constants or results.
        places: the layers of the nodes, if they were observed.
        unfused: run fused operations as their composed twins.
        element: which elements to take apart besides the largest and a zero: "auto" adds the median, "first" the first
            of each node, an index that index wherever it exists.

    Attributes:
        visits: oldest node first; of more than `VISITED` those in the middle are left out.
        loss: the value.
        repeatable: whether `gradients_now` takes less than seconds.
        order: all nodes of the tape, which may be more.
    """

    def __init__(
        self,
        y: Tensor,
        names: Names | None = None,
        places: Places | None = None,
        unfused: bool = False,
        element: str | Index = "auto",
    ) -> None:
        with np.errstate(all="ignore"), set_recording(True):
            self._record(y, dict(names or {}), places or Places(None), unfused)
            most = 6 if len(self.visits) <= 60 else 4 if len(self.visits) <= 100 else 3
            wanted: dict[int, list[Index]] = {}
            for visit in self.visits:
                self._take_apart(visit, element, wanted, most)

    def _record(self, y: Tensor, names: dict[str, Tensor], places: Places, unfused: bool) -> None:
        old = ancestors(y.node)[::-1]  # type: ignore[arg-type]
        values = values_of(y, old)
        tensors, constants = _retraced(old, values, unfused)
        ends = [tensors[node].node.serial for node in old]  # type: ignore[union-attr]
        result = tensors[old[-1]]
        self.order = ancestors(result.node)[::-1]  # type: ignore[arg-type]
        self.numbers = numbers = {node: i for i, node in enumerate(self.order)}
        arrays = values_of(result, self.order)
        with set_observers(*observers(), places):
            gradients = grad(result, [recorded(arrays[node], node) for node in self.order])
        self.users: dict[int, list[tuple[int, int]]] = {i: [] for i in range(len(self.order))}
        for node in reversed(self.order):
            for position, parent in zip(node.positions, node.parents, strict=True):
                self.users[numbers[parent]].append((numbers[node], position))
        named = {tensors[t.node].node: name for name, t in names.items() if t.node is not None and t.node in tensors}
        known = {id(values[node]): f"the detached value of {named.get(tensors[node].node, node.name)}" for node in old}
        known = {key: words for key, (_, words) in places.constants.items()} | known
        known |= {
            id(t.data): f"{name}, frozen," if isinstance(t, Parameter) else name
            for name, t in names.items()
            if t.node is None
        }
        kept = {id(array): known[key] for key, array in constants.items() if key in known}
        self.loss = float(arrays[self.order[-1]])
        self.arrays, self.gradients = [arrays[n] for n in self.order], [g.numpy() for g in gradients]
        self.locals: dict[int, Local | None] = {}
        self.repeatable = len(self.order) <= MOST_REPLAYED and sum(a.size for a in self.arrays) <= 4 * LARGE
        self.visits = []
        for i, node in enumerate(self.order):
            if VISITED // 2 <= i < len(self.order) - VISITED // 2:
                continue
            call = bisect_left(ends, node.serial)  # a twin makes its nodes before its result
            origin, name = old[call], named.get(node)
            layer = places.layers.get(origin.serial, "")
            if not layer and name and node.primitive is None:
                layer = name.rpartition(".")[0]
            parents = dict(zip(node.positions, (numbers[p] for p in node.parents), strict=True))
            others = {
                j: _describe(a, kept.get(id(a))) for j, a in enumerate(node.args) if j not in parents and a is not None
            }
            self.visits.append(
                Visit(
                    i, node, name, layer, origin.name, call, parents, others,
                    np.asarray(self.arrays[i]), np.asarray(self.gradients[i]),
                    {j: places.arrived.get((node, j), 0.0) for j in parents},
                )
            )  # fmt: skip

    def gradients_now(self) -> list[Floats]:
        """The gradients of all nodes as a sweep finds them now, e.g. while a rule is broken."""
        result = recorded(self.arrays[-1], self.order[-1])
        with np.errstate(all="ignore"):
            targets = [recorded(array, node) for array, node in zip(self.arrays, self.order, strict=True)]
            return [g.numpy() for g in grad(result, targets, allow_unused=True)]

    def _local(self, number: int) -> Local | None:
        if number not in self.locals:
            self.locals[number] = _local(self.order[number])
        return self.locals[number]

    def _take_apart(self, visit: Visit, element: str | Index, wanted: dict[int, list[Index]], most: int) -> None:
        """Fill `visit.focus`, and ask in `wanted` for the elements of newer nodes that its largest products lead to."""
        for index, why in _chosen(visit.gradient, element, wanted.pop(visit.number, []), most).items():
            focus = Focus(index, float(visit.value[index]), float(visit.gradient[index]), why)
            focus.uses = self.uses(visit.number, index)
            for use in focus.uses:
                if use.top and len(asked := wanted.setdefault(use.node, [])) < most and use.top[0].index not in asked:
                    asked.append(use.top[0].index)
            focus.made = self._made(visit, index)
            focus.measured = self._measured(visit.number, index, focus.gradient)
            if focus.gradient == 0:
                focus.zero = self._why_zero(visit, index)
            visit.focus.append(focus)

    def uses(self, number: int, index: Index) -> tuple[Use, ...]:
        """What arrives at an element of a node, newest use first."""
        users = self.users[number]
        known = float(self.gradients[number][index]) if len(users) == 1 else math.nan
        return tuple(self._use(user, position, index, known) for user, position in users)

    def _use(self, user: int, position: int, index: Index, known: float) -> Use:
        """What the node `user` sends back to the element `index` of its argument; `known` if it is too large."""
        local = self._local(user)
        if local is None:
            return Use(user, position, None, known)
        slopes, arriving = local.column(position, index), self.gradients[user]
        products = np.asarray(slopes * arriving)
        top = tuple(Product(o, float(arriving[o]), float(slopes[o]), float(products[o])) for o in _largest(products))
        node, values = self.order[user], {}
        if top and node.primitive is not None and node.primitive.elementwise:
            for name, arg in zip(node.primitive.forward.__code__.co_varnames, node.args, strict=False):
                array = np.asarray(arg)
                if array.dtype.kind in "fiu":
                    values[name] = float(np.broadcast_to(array, products.shape)[top[0].index])
        sizes = np.cumsum(np.sort(np.abs(products), axis=None)[::-1])
        most = int(np.searchsorted(sizes, 0.9 * sizes[-1])) + 1 if sizes.size and sizes[-1] > 0 else 0
        count, total = int(np.count_nonzero(products)), float(products.sum())
        return Use(user, position, count, total, top, most, _window(slopes), values)

    def _made(self, visit: Visit, index: Index) -> Made | None:
        node = visit.node
        activation = str(node.params.get("activation") or "identity")
        changes = {"activation": "identity"} if activation != "identity" else {}
        local = _local(node, **changes) if changes else self._local(visit.number)
        if local is None:
            return None
        slopes = local.row(index)
        shares = {i: np.asarray(node.args[i] * slope) for i, slope in slopes.items()}
        total = float(np.asarray(local.out.numpy())[index])
        linear = _linear(shares, total)
        if linear is not None:
            shares = {i: shares[i] for i in linear}
        rows: list[tuple[int, Index, float, float]] = []
        for i, share in shares.items():
            # Also where the value is 0: the products of a linear operation, else the elements it depends on.
            order = _largest(share) if linear is not None else _largest(slopes[i])
            rows += [(i, o, float(node.args[i][o]), float(slopes[i][o])) for o in order]
        rows = sorted(rows, key=lambda row: -abs(row[2] * row[3]) if linear is not None else -abs(row[3]))[:TOP]
        count = sum(int(np.count_nonzero(slopes[i])) for i in shares)
        rest = sum(float(share.sum()) for share in shares.values()) - sum(row[2] * row[3] for row in rows)
        window = _window(slopes[0]) if 0 in slopes else None
        named = activation if changes else ""
        return Made(tuple(rows), count, rest, total if linear is not None else None, named, window)

    def _measured(self, number: int, index: Index, gradient: float) -> Measured | None:
        """The slope of the loss in one element, with everything that is constant on the tape held."""
        later, stack = set[int](), [number]
        while stack:
            new = {user for user, _ in self.users[stack.pop()]} - later
            later |= new
            stack += new
        if len(later) > MOST_REPLAYED or sum(self.arrays[i].size for i in (number, *later)) > LARGE:
            return None

        def loss(step: float) -> float:
            changed = {number: np.array(self.arrays[number])}
            changed[number][index] += step
            for i in sorted(later):
                node, args = self.order[i], list(self.order[i].args)
                for position, parent in zip(node.positions, node.parents, strict=True):
                    args[position] = changed.get(self.numbers[parent], args[position])
                changed[i] = np.asarray(node.primitive(*args, **node.params))  # type: ignore[misc]
            return float(changed.get(len(self.order) - 1, self.arrays[-1]))

        return measured_slope(loss, self.loss, float(self.arrays[number][index]), gradient)

    def _why_zero(self, visit: Visit, index: Index) -> str:
        """Why the gradient of the element is 0, in one sentence."""
        if visit.number == len(self.order) - 1:
            return ""
        reasons = []
        for user, position in self.users[visit.number]:
            node, local, arriving = self.order[user], self._local(user), self.gradients[user]
            if local is None:
                continue
            slopes = local.column(position, index)
            if not slopes.any():
                reasons.append(f"#{user} {node.name}: {self._blocked(node, position, index)}")
            elif not (slopes * arriving).any():
                reasons.append(
                    f"#{user} {node.name}: nothing arrives where this element is used, the gradient is 0 there"
                )
            else:
                reasons.append(f"#{user} {node.name}: its products cancel, or cancel those of another use")
        return "; ".join(dict.fromkeys(reasons))

    def _blocked(self, node: Node, position: int, index: Index) -> str:
        """Why no slope of an operation is other than 0 for this element."""
        name = node.name
        if node.params.get("activation") == "relu":
            plain = _local(node, activation="identity")
            if plain is not None and plain.column(position, index).any():
                name = "relu"
        return next((reason for ops, reason in _BLOCKS.items() if name in ops), f"the slope of {name} is 0 here")


_BLOCKS = {
    ("relu",): "a dead relu: its output is 0, and there the slope is 0",
    ("max_pool2d", "max", "min", "maximum", "minimum"): "another element was chosen, and only that one gets the gradient",
    ("limit",): "clipped: the value lies outside of the bounds, where the result does not follow it",
    ("where",): "masked: the other value was selected",
    ("getitem", "crop"): "cut away: the element is not among those selected",
    ("multiply", "matmul", "contract", "dense", "biased_conv2d", "biased_conv_transpose2d", "convolve",
     "convolve_transpose", "convolve_weight_grad", "lstm"): "every number that it is multiplied by is 0",
}  # fmt: skip
"""Operations that block a gradient, and why."""


def _linear(shares: Mapping[int, Floats], total: float) -> tuple[int, ...] | None:
    """The arguments over which value * slope adds up to the result; None if the operation is not linear in any way.

    By Euler's theorem the first argument alone does in a product, all arguments do in a sum, and the first and the last do
    in a product plus a bias.
    """
    positions = tuple(shares)
    for chosen in (positions[:1], positions, tuple(dict.fromkeys(positions[:1] + positions[-1:]))):
        parts = [shares[i] for i in chosen]
        size = sum(float(np.abs(part).sum()) for part in parts)
        if parts and abs(sum(float(part.sum()) for part in parts) - total) <= 1e-10 * max(size, 1e-300):
            return chosen
    return None


def _chosen(gradient: Floats, element: str | Index, wanted: list[Index], most: int) -> dict[Index, str]:
    """The elements of a node to take apart, and why."""
    shape, found = gradient.shape, dict[Index, str]()
    if not gradient.size:
        return found
    if not isinstance(element, str) and len(element) == len(shape):
        pairs = list(zip(element, shape, strict=True))
        if all(-n <= i < n for i, n in pairs):
            found[tuple(i % n for i, n in pairs)] = "user"
    if element == "first":
        found[(0,) * len(shape)] = "first"
    size = np.abs(gradient)
    broken = np.isnan(size)
    if broken.any():
        found.setdefault(at(int(broken.argmax()), shape), "nan")
        size = np.where(broken, -1.0, size)
    found.setdefault(at(int(size.argmax()), shape), "largest")
    for index in wanted:
        if len(found) < most - 1:
            found.setdefault(index, "on the way")
    if size.size > 1:
        zero = at(int((gradient == 0).argmax()), shape)
        if gradient[zero] == 0:
            found.setdefault(zero, "zero")
        if element == "auto" and len(found) < most and size.size <= LARGE:
            present = np.flatnonzero(size > 0)
            if present.size:
                middle = np.argpartition(size.ravel()[present], present.size // 2)[present.size // 2]
                found.setdefault(at(int(present[middle]), shape), "median")
    return found


def _describe(arg: Any, known: str | None) -> str:
    """A constant argument: its name and shape, or its number."""
    if not hasattr(arg, "shape"):
        return f"{arg:.6g}" if isinstance(arg, float) else str(arg)
    if arg.size == 1 and known is None:
        return f"{arg.item():.6g}" if arg.dtype.kind == "f" else str(arg.item())
    return f"{known or 'constant'} {tuple(arg.shape)}"


STEPS = (1e-3, 1e-4, 1e-5, 1e-6)
"""Steps of the differences, relative to the value where that is above 1."""


def measured_slope(loss: Callable[[float], float], middle: float, value: float, gradient: float) -> Measured:
    """The slope at 0 of a function of one number, `middle` at 0, from central differences at h and h/2.

    Their combination (4 D(h/2) - D(h)) / 3 has an error of order h**4, and how far it is from D(h/2) tells how good it is. A
    long step is precise unless the function bends within it, so the steps become shorter until it does not. At a kink the
    slopes on the two sides differ at every step; then the gradient is one of them, or between.
    """
    best = Measured(math.nan, math.inf, False)
    for relative in STEPS:
        h = relative * max(1.0, abs(value))
        ahead, behind, near, far = loss(h), loss(-h), loss(h / 2), loss(-h / 2)
        wide, narrow = (ahead - behind) / (2 * h), (near - far) / h
        slope = (4 * narrow - wide) / 3
        noise = 2e-16 * max(abs(middle), abs(ahead), abs(behind)) / h
        error = abs(slope - narrow) + 8 * noise
        jump = abs((near - 2 * middle + far) / (h / 2))
        bend = abs((ahead - 2 * middle + behind) / h)
        # Within a smooth function the difference of the one-sided slopes halves with the step; at a kink it stays.
        kink = jump > 0.75 * bend and jump > 64 * noise and jump > 1e-6 * max(abs(slope), abs(gradient))
        if error < best.error or kink:
            best = Measured(slope, error, kink)
        if not kink and error <= max(1e-7 * abs(slope), 16 * noise):
            break
    return best
