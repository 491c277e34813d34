"""`step`: a page that steps through the backward pass of a loss, node by node, in a browser.

The page is one file without any request: the template `step.html`, and what `Sweep` found as JSON in it:

    Page    schema, title, loss, unit, command, version, remarks, ops: {name: Op}, nodes: [Node], groups, unrolled: [Film],
            frozen: [{name, shape}] of the parameters that no gradient is computed for
    Op      about, formula (MathML), rule (source text), breaks: [{name, changed: {node: [gradient of each focus]}}]
    Film    layer, stack, steps: [{t, nodes, h, c: ids, dh, dc: norms}], units: [{i: index, h, c: [[from above, from the
            right, and for c the forget gate on that way] of each step]}]
    Node    id, op, name, layer, origin, shape, params, parents: {argument: id}, constants: {argument: text}, terms,
            waiting: {argument: norm}, norm, value: Map, gradient: Map, input: Map of a constant image, focus: [Focus]
    Focus   i (index), v (value), g (gradient), why, uses: [Use], made, measured: [slope, error, kink], zero
    Use     node, arg, count, sum, most, top: [[index, arrives, slope, leaves]], rest: [count, sum], at,
            window: [low, high, slopes, channel]
    Map     digits, step, rows, cols, max, cells (base64 of int8), fixed: the index of the axes that are not shown

Numbers are rounded to 12 digits; those that are not finite are strings. Ids are positions on the tape, so that equal
seeds give equal bytes. Where a page would become too large, elements and products are left out, and the page says so.
"""

from __future__ import annotations

import base64
import html
import inspect
import itertools
import json
import math
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinyae.atomic import write_text
from tinyae.autodiff import Tensor, observers, set_observers
from tinyae.checks import checked
from tinyae.inspect.formulas import formula, mathml, rule_source
from tinyae.inspect.graphs import Names, brief, check_recorded, named_tensors
from tinyae.inspect.products import Floats, Focus, Index, Made, Places, Sweep, Use, Visit, Window
from tinyae.losses import Loss
from tinyae.nn import Module, Parameter

SCHEMA = 1
"""Version of the JSON; it changes when a name or a meaning does."""

LIMITS = {"fused": 150, "images and sequences": 300, "unfused": 600}
"""The largest page in KiB: of fused operations, of those on images and sequences, and of composed twins."""


class _Size(NamedTuple):
    """Cells of a map along a side, elements of a node, products of a sum, and nodes."""

    side: int
    foci: int
    top: int
    nodes: int = 400


_SIZES = (
    _Size(64, 8, 8), _Size(48, 6, 8), _Size(32, 4, 8), _Size(32, 3, 6), _Size(24, 3, 4), _Size(16, 2, 3), _Size(8, 2, 2),
    _Size(8, 2, 2, 200), _Size(8, 2, 2, 100), _Size(8, 2, 2, 50),
)  # fmt: skip
"""What is left out, step by step, until a page fits."""

PLUMBING = ("reshape", "transpose", "getitem", "alias", "cast")
"""Operations that only move elements: the page folds them into the edge."""


@dataclass(frozen=True, repr=False)
class StepPage:
    """A page; in a notebook it is shown inline.

    Attributes:
        data: what the page holds, as it is in its JSON.
        html: the page.
    """

    data: dict[str, Any]
    html: str

    @property
    def kib(self) -> float:
        """The size of the file in KiB."""
        return len(self.html.encode()) / 1024

    def save(self, path: str | Path) -> Path:
        """Write the page to a file, which any browser opens from the disk."""
        return write_text(path, self.html)

    def _repr_html_(self) -> str:
        frame = 'width="100%" height="860" style="border:0" title="the backward pass, step by step"'
        return f'<iframe {frame} srcdoc="{html.escape(self.html)}"></iframe>'

    def __repr__(self) -> str:
        return f"<StepPage of {len(self.data['nodes'])} nodes, {self.kib:.0f} KiB: save(path) it>"


@checked
def step(
    loss: Tensor | Loss | Callable[[], Tensor | Loss],
    names: Module | Names | None = None,
    path: str | Path | None = None,
    *,
    element: str | Index = "auto",
    unfused: bool = False,
    title: str = "",
    command: str = "",
) -> StepPage:
    """A page that steps through the backward pass of a loss and shows where each number of a gradient comes from.

    Everything is computed in float64 on a copy of the tape; `.grad` is not changed and the graph is not freed.

    Args:
        loss: one number, or a function that computes it. With a function, and a Module for `names`, each node knows the
            layer in which it was computed; else only the parameters do.
        names: a Module, or names for leaves, constants or results.
        path: where to write the page; by default it is only returned.
        element: which elements to take apart besides the one with the largest gradient: "auto", "first", or an index.
        unfused: run fused operations as their composed twins, so that `dense` is a product, a sum and an activation.
        title: what was computed.
        command: how to make the page again.

    Raises:
        TypeError, ValueError: there is no tape, or the loss is not one number.

    Example:
        >>> w = Tensor([1.5, -2.0], requires_grad=True)
        >>> page = step((w * w).sum(), {"w": w})
        >>> focus = page.data["nodes"][0]["focus"][0]
        >>> focus["i"], focus["g"], [(use["sum"], use["count"]) for use in focus["uses"]]
        ((1,), -4, [(-2, 1), (-2, 1)])
    """
    places = Places(names if isinstance(names, Module) else None)
    if callable(loss):
        with set_observers(*observers(), places):
            loss = loss()
    named = named_tensors(names)
    terms: dict[str, Tensor] = {}
    unit = ""
    if isinstance(loss, Loss):
        terms, unit, loss = loss.terms, loss.unit, loss.total
    check_recorded(loss)
    if loss.size != 1:
        raise ValueError(
            f"step: the loss must be one number, got shape {loss.shape}: reduce it first, e.g. loss.mean()."
        )
    if not isinstance(element, str):
        element = tuple(element)
    sweep = Sweep(loss, {**terms, **named}, places, unfused, element)
    frozen = [
        {"name": name, "shape": list(t.shape)}
        for name, t in named.items()
        if isinstance(t, Parameter) and t.node is None
    ]
    about = {"title": title or "The backward pass, step by step", "unit": unit, "command": command, "frozen": frozen}
    page = _fitted(sweep, about, [*terms])
    if path is not None:
        page.save(path)
    return page


def _fitted(sweep: Sweep, about: dict[str, Any], terms: list[str]) -> StepPage:
    """The page with as much in it as fits its limit."""
    unfused = any(visit.origin != visit.op for visit in sweep.visits)
    deep = any("conv" in visit.op or visit.op == "lstm" for visit in sweep.visits)
    kind = "unfused" if unfused else "images and sequences" if deep else "fused"
    template = files("tinyae.inspect").joinpath("step.html").read_text(encoding="utf-8")
    ops = {op: _operation(sweep, op) for op in dict.fromkeys(visit.op for visit in sweep.visits)}
    reached = _terms_reached(sweep, terms)
    page = StepPage({}, "")
    for size in _SIZES:
        half = size.nodes // 2
        visits = sweep.visits if len(sweep.visits) <= size.nodes else sweep.visits[:half] + sweep.visits[-half:]
        numbers = {visit.number for visit in visits}
        unrolled = _unrolled(sweep, visits, size.foci)
        data = {
            "schema": SCHEMA, **about, "loss": _number(sweep.loss), "version": _version(), "unfused": unfused,
            "plumbing": PLUMBING, "remarks": _remarks(sweep, visits, kind, size),
            "ops": {op: {**entry, "breaks": [_cut(each, size, numbers) for each in entry["breaks"]]} for op, entry in ops.items()},
            "groups": _groups(visits, unrolled), "unrolled": unrolled,
            "nodes": [_node(visit, reached[visit.number], size) for visit in visits],
        }  # fmt: skip
        text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
        page = StepPage(data, template.replace("/*DATA*/", text, 1))
        if page.kib <= LIMITS[kind]:
            break
    return page


def _cut(broken: dict[str, Any], size: _Size, numbers: set[int]) -> dict[str, Any]:
    """A broken rule with the gradients of the nodes and elements that are on the page."""
    changed = {node: gradients[: size.foci] for node, gradients in broken["changed"].items() if node in numbers}
    return {**broken, "changed": changed}


def _version() -> str:
    try:
        return version("tinyae")
    except PackageNotFoundError:
        return "unknown"


def _remarks(sweep: Sweep, visits: list[Visit], kind: str, size: _Size) -> list[str]:
    """What the reader should know about this page."""
    found = []
    if left_out := len(sweep.order) - len(visits):
        found.append(f"{left_out:,} of {len(sweep.order):,} nodes are left out, those in the middle of the tape.")
    if size is not _SIZES[0]:
        found.append(
            f"To stay below {LIMITS[kind]} KiB, the page shows at most {size.foci} elements of a node, {size.top} products "
            f"of a sum and maps of {size.side} x {size.side} cells."
        )
    broken = [visit for visit in visits if not np.isfinite(visit.gradient).all()]
    if broken:
        first = broken[-1]
        found.append(
            f"The gradient of #{first.number} {first.name or first.op} is the first of the sweep that is not finite; "
            "tinyae.detect_anomaly() names the rule."
        )
    large = [visit for visit in visits if any(use.count is None for focus in visit.focus for use in focus.uses)]
    if large:
        found.append(
            f"#{large[0].number} and {len(large) - 1} more nodes are too large to be taken apart into products."
        )
    if any(focus.measured is None for visit in visits for focus in visit.focus):
        found.append("Some slopes were not measured, because replaying what depends on them would take too long.")
    if not sweep.repeatable:
        found.append("No rule is broken on this page, because sweeping the tape again would take too long.")
    return found


# ---------------------------------------------------------------------------------------------------------------------
# The parts of the JSON.


def _number(x: float, digits: int = 12) -> float | int | str:
    """A number for JSON; "NaN", "Infinity" or "-Infinity" if it is not finite."""
    if math.isfinite(x):
        rounded = float(f"{x:.{digits}g}")
        return int(rounded) if rounded == int(rounded) and abs(rounded) < 1e6 else rounded
    return "NaN" if math.isnan(x) else "Infinity" if x > 0 else "-Infinity"


def _norm(gradient: Floats) -> float | int | str:
    return _number(float(np.linalg.norm(gradient)), 4)


def _node(visit: Visit, terms: set[str], size: _Size) -> dict[str, Any]:
    shown = visit.focus[: size.foci]
    fixed = shown[0].index if shown else ()
    found = {
        "id": visit.number,
        "op": visit.op,
        "name": visit.name,
        "layer": visit.layer,
        "origin": visit.origin,
        "shape": list(visit.value.shape),
        "params": {k: brief(v) for k, v in visit.node.params.items() if v is not None and v is not False},
        "parents": visit.parents,
        "constants": visit.constants,
        "terms": sorted(terms),
        "waiting": {i: _number(norm, 4) for i, norm in visit.waiting.items()},
        "norm": _norm(visit.gradient),
        "value": _map(visit, visit.value, fixed, size.side),
        "gradient": _map(visit, visit.gradient, fixed, size.side),
        "focus": [_focus(focus, size.top) for focus in shown],
    }
    if 0 in visit.constants and any(focus.made is not None and focus.made.window for focus in shown):
        found["input"] = _map(visit, visit.node.args[0], (fixed[0], 0, 0, 0), size.side)
    return {key: value for key, value in found.items() if value or key in ("id", "shape")}


def _focus(focus: Focus, top: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "i": focus.index,
        "v": _number(focus.value),
        "g": _number(focus.gradient),
        "why": focus.why,
    }
    found["uses"] = [_use(use, top) for use in focus.uses]
    if focus.made is not None:
        found["made"] = _made(focus.made, top)
    if focus.measured is not None:
        slope, error, kink = focus.measured.slope, focus.measured.error, focus.measured.kink
        found["measured"] = [_number(slope), _number(error, 2), kink]
    if focus.zero:
        found["zero"] = focus.zero
    return found


def _use(use: Use, top: int) -> dict[str, Any]:
    found: dict[str, Any] = {"node": use.node, "arg": use.arg, "count": use.count, "sum": _number(use.sum)}
    if use.count is not None and use.count > 2:
        found["most"] = use.most
    shown = use.top[:top]
    found["top"] = [[p.index, _number(p.arrives), _number(p.slope), _number(p.leaves)] for p in shown]
    if use.count is not None and use.count > len(shown):
        found["rest"] = [use.count - len(shown), _number(use.sum - math.fsum(p.leaves for p in shown))]
    if use.window is not None:
        found["window"] = _box(use.window)
    if use.at:
        found["at"] = {name: _number(value, 6) for name, value in use.at.items()}
    return found


def _made(made: Made, top: int) -> dict[str, Any]:
    shown = made.rows[:top]
    found: dict[str, Any] = {"rows": [[i, index, _number(x), _number(slope)] for i, index, x, slope in shown]}
    found["count"] = made.count
    if made.total is not None:
        hidden = made.rest + math.fsum(x * slope for _, _, x, slope in made.rows[top:])
        found |= {"total": _number(made.total), "rest": _number(hidden)}
    if made.activation:
        found["activation"] = made.activation
    if made.window is not None:
        found["window"] = _box(made.window)
    return found


def _box(window: Window) -> list[Any]:
    return [window.low, window.high, [[_number(s, 4) for s in row] for row in window.slopes], window.channel]


def _terms_reached(sweep: Sweep, terms: list[str]) -> list[set[str]]:
    """The terms of the loss that depend on each node; nothing if there is only one term."""
    named = {visit.number: visit.name for visit in sweep.visits if visit.name in terms and len(terms) > 1}
    reached: list[set[str]] = [set() for _ in sweep.order]
    for i in reversed(range(len(sweep.order))):
        name = named.get(i)
        reached[i] = {name} if name else set().union(*(reached[user] for user, _ in sweep.users[i]))
    return reached


def _groups(visits: list[Visit], unrolled: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Runs of nodes of one layer, and time step, in the order of the sweep; parameters, which come last, are one of their own."""
    steps = {i: f", t = {step['t']}" for film in unrolled for step in film["steps"] for i in step["nodes"]}

    def label(visit: Visit) -> str:
        place = (visit.layer or "outside of any layer") + steps.get(visit.number, "")
        return "parameters" if visit.op == "leaf" else place

    runs = itertools.groupby(reversed(visits), label)
    return [{"label": name, "nodes": [visit.number for visit in run]} for name, run in runs]


def _unrolled(sweep: Sweep, visits: list[Visit], foci: int) -> list[dict[str, Any]]:
    """The steps of every LSTM that was run as its composed twin: norms, and the sums at three units, followed through time."""
    found = []
    for last in visits:
        if last.origin != "lstm" or last.op != "stack":
            continue
        states = last.node.parents[:-1]
        numbers = {visit.node: visit.number for visit in visits if visit.call == last.call}
        ends = sorted(numbers[h] for h in states if h in numbers)
        steps: list[dict[str, Any]] = []
        for t, h in enumerate(states, 1):
            if h not in numbers:
                continue
            squashed = [p for p in h.parents if p.name == "tanh"]
            c = numbers.get(squashed[0].parents[0]) if squashed else None
            begin = max((end for end in ends if end < numbers[h]), default=-1)
            inside = [i for i in numbers.values() if begin < i <= numbers[h]]
            norms = [_norm(sweep.gradients[i]) if i is not None else None for i in (numbers[h], c)]
            steps.append({"t": t, "h": numbers[h], "c": c, "dh": norms[0], "dc": norms[1], "nodes": inside})
        if not steps:
            continue
        steps.sort(key=lambda step: step["h"])  # the order of the forward pass, also of a layer that reads backward
        ids = [step[name] for step in steps for name in ("h", "c") if step[name] is not None]
        shown = Counter(focus.index for visit in visits if visit.number in ids for focus in visit.focus[:foci])
        units = []
        for unit, _ in shown.most_common(3):
            lanes: dict[str, list[Any]] = {"h": [], "c": []}
            for step, name in itertools.product(steps, lanes):
                sides, above = [0.0, 0.0], {*step["nodes"], *([last.number] if name == "h" else [])}
                for use in sweep.uses(step[name], unit) if step[name] is not None else ():
                    sides[use.node not in above] += use.sum
                    if name == "c" and use.node not in above and use.top and sweep.order[use.node].name == "multiply":
                        sides.append(use.top[0].slope)
                lanes[name].append([_number(side, 4) for side in sides])
            units.append({"i": unit, **lanes})
        found.append({"layer": last.layer or "lstm", "stack": last.number, "units": units, "steps": steps})
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Operations: what they are, their rules, and the rules broken on purpose.


def _operation(sweep: Sweep, op: str) -> dict[str, Any]:
    node = next(visit.node for visit in sweep.visits if visit.op == op)
    if node.primitive is None:
        return {"about": "a leaf: a parameter, where the sweep ends", "formula": "", "rule": "", "breaks": []}
    text = formula(node.primitive)
    about = inspect.cleandoc(node.primitive.__doc__ or "").split("\n\n")[0].replace("\n", " ").replace("`", "")
    return {
        "about": " ".join(about.split("   ")[0].split()),
        "formula": mathml(text),
        "text": text,
        "rule": rule_source(node.primitive),
        "slopes": _SLOPES.get(op),
        "fused": node.primitive.composed is not None,
        "breaks": _breaks(sweep, op),
    }


_LAYER = ("the weight between the two elements", "the input that this weight multiplies", "1")
_SLOPES = {
    **dict.fromkeys(
        ("dense", "biased_conv2d", "biased_conv_transpose2d", "matmul", "convolve", "convolve_transpose"), _LAYER
    ),
    **dict.fromkeys(
        ("add", "sum", "reshape", "transpose", "getitem", "concatenate", "stack", "pad", "crop"), ("1",) * 9
    ),
    "multiply": ("the other factor", "the other factor"),
    "subtract": ("1", "\u22121"),
    "mean": ("1 over the number of elements",),
}
"""What the local slope is, in words, by operation and argument; an activation of a fused operation comes on top."""

_KINDS = (
    "missing sum",
    "stale value",
    "transposed operand",
    "dropped broadcast",
    "swapped arguments",
    "sign",
    "factor",
)
"""Mistakes that teach most, in this order."""


def _breaks(sweep: Sweep, op: str) -> list[dict[str, Any]]:
    """Up to three mistakes in the rules of an operation, of different kinds, and every gradient of a focus that they change.

    On a long tape it is one, since each may change every number on the page.
    """
    from tinyae.testing.mutation import mutations_of, planted

    if not sweep.repeatable:
        return []
    nodes = [visit.node for visit in sweep.visits if visit.op == op]
    used = {position for node in nodes for position in node.positions}
    candidates = [m for m in mutations_of(nodes[0].primitive) if m.position in used and m.kind in _KINDS]  # type: ignore[arg-type]
    found: dict[str, dict[str, Any]] = {}
    most = 3 if len(sweep.visits) <= 100 else 1
    for mutation in sorted(candidates, key=lambda m: _KINDS.index(m.kind)):
        if mutation.kind in found:
            continue
        with planted(mutation), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                gradients = sweep.gradients_now()
            except Exception:  # a broken rule may raise anything
                continue
        changed = {visit.number: _changed(visit, gradients[visit.number]) for visit in sweep.visits}
        changed = {number: now for number, now in changed.items() if now}
        if changed:
            name = f"{mutation.kind}: {mutation.mutator.detail} (rule of argument {mutation.position})"
            found[mutation.kind] = {"name": name, "changed": changed}
        if len(found) == most:
            break
    return list(found.values())


def _changed(visit: Visit, now: Floats) -> list[Any]:
    """The gradients of the elements in focus if one of them is another one now; else nothing."""
    pairs = [(float(now[focus.index]), focus.gradient) for focus in visit.focus]
    size = float(np.abs(visit.gradient).max()) if visit.gradient.size else 0.0
    if all(abs(a - b) <= 1e-9 * size or (a != a and b != b) for a, b in pairs):
        return []
    return [_number(a, 6) for a, _ in pairs]


# ---------------------------------------------------------------------------------------------------------------------
# Maps: any array as a small picture.
#
# Each axis of the array is written in digits, as a number is; a digit moves along the rows or the columns of the picture.
# So 784 pixels become a square, and the channels of images stand side by side, and one line in the page finds the cell of
# any index. Axes that are left out are fixed at the index of the first element in focus.

Digit = tuple[int, int, int]
"""(length, rows per step, columns per step)."""


def _digits(shape: tuple[int, ...], kernel: bool) -> list[list[Digit]]:
    if len(shape) == 4 and kernel:
        h, w, c, o = shape
        return [[(h, 1, 0)], [(w, 0, 1)], [(c, h, 0)], [(o, 0, w)]]
    if len(shape) >= 4:
        h, w, c = shape[-3:]
        across = _divisor(c)
        return [[]] * (len(shape) - 3) + [[(h, 1, 0)], [(w, 0, 1)], [(c // across, h, 0), (across, 0, w)]]
    if not shape:
        return []
    wide = shape[-1] if shape[-1] <= 64 or (len(shape) > 1 and shape[-2] > 8) else _divisor(shape[-1])
    columns = [(shape[-1] // wide, 1, 0), (wide, 0, 1)] if wide < shape[-1] else [(wide, 0, 1)]
    rows: list[list[Digit]] = [[]] * (len(shape) - 1)
    if len(shape) > 1 and wide == shape[-1]:
        rows = [*rows[:-1], [(shape[-2], 1, 0)]]
    return [*rows, columns]


def _divisor(n: int) -> int:
    """The smallest divisor of n from its square root on: a square, or close to one."""
    return next(d for d in range(max(math.isqrt(n - 1) + 1, 1), n + 1) if n % d == 0) if n > 1 else 1


def _map(visit: Visit, array: Floats, fixed: Index, side: int) -> dict[str, Any] | None:
    """A picture of an array of at most side x side cells; a cell is the number with the largest absolute value in it."""
    if not array.size:
        return None
    kernel = visit.op == "leaf"
    digits = _digits(array.shape, kernel)
    plane = array[tuple(slice(None) if axis else fixed[i] for i, axis in enumerate(digits))]
    plane = plane.reshape([n for axis in digits for n, _, _ in axis])
    flat = [digit for axis in digits for digit in axis]
    rows = sorted((i for i, d in enumerate(flat) if d[1]), key=lambda i: -flat[i][1])
    cols = sorted((i for i, d in enumerate(flat) if d[2]), key=lambda i: -flat[i][2])
    height = math.prod(flat[i][0] for i in rows)
    plane = plane.transpose(rows + cols).reshape(height, -1)
    side *= 2 if kernel and len(digits) == 4 else 1  # so that small kernels, side by side, are not mixed
    step = [-(-n // side) for n in plane.shape]
    high, low = plane, plane
    for axis in (0, 1):
        if step[axis] > 1:
            starts = np.arange(0, plane.shape[axis], step[axis])
            high, low = np.maximum.reduceat(high, starts, axis), np.minimum.reduceat(low, starts, axis)
    cells = np.where(np.abs(low) > np.abs(high), low, high)
    finite = np.isfinite(cells)
    largest = float(np.abs(cells[finite]).max(initial=0.0))
    with np.errstate(all="ignore"):
        scaled = np.where(finite, cells, 0.0) / (largest or 1.0) * 127
    steps = np.where(finite, np.sign(scaled) * np.ceil(np.abs(scaled)), -128).astype(np.int8)
    found = {
        "digits": digits, "step": step, "rows": cells.shape[0], "cols": cells.shape[1], "max": _number(largest, 4),
        "cells": base64.b64encode(steps.tobytes()).decode() if largest or not finite.all() else "",
    }  # fmt: skip
    left_out = {i: fixed[i] for i, axis in enumerate(digits) if not axis}
    return found | {"fixed": left_out} if left_out else found
