"""`check_layer` against layers with one planted mistake each: all are refused, by the law that is broken, with a sentence that
names the mistake; and against correct but unusual layers: none is refused.
"""

from __future__ import annotations

import random
import time
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.conftest import with_rules
from tests.test_gradcheck import LOGITS, VANISHING
from tinyae import nn, ops
from tinyae.autodiff import Tensor, grad, set_recording
from tinyae.testing import LawError, check_layer

SCALE = np.array([0.5, 0.7, 0.9, 1.1])
BATCH = np.random.default_rng(7).normal(size=(4, 4))
STEPS = np.random.default_rng(8).normal(size=(3, 4, 2))
LENGTHS = np.array([4, 1, 3])


class Layer(nn.Module):
    """A layer from functions: `setup(self)` assigns its parts, `run(self, x, ...)` is its forward."""

    def __init__(self, run: Any, setup: Any = None) -> None:
        self.weight = weight()
        if setup is not None:
            setup(self)
        self.run = run

    def forward(self, x: Any, *others: Any, **options: Any) -> Any:
        return self.run(self, x, *others, **options)


def weight(*shape: int) -> nn.Parameter:
    return nn.Parameter(np.random.default_rng(3).uniform(0.5, 1.5, shape or (4,)).astype("float32"))


def layer(run: Any, **parts: Any) -> nn.Module:
    """`run(self, x)` with attributes; what is a function of nothing makes one."""
    return Layer(run, lambda self: vars(self).update({k: v() if callable(v) else v for k, v in parts.items()}))


def sine(rule: Any, forward: Any = np.sin) -> Any:
    return with_rules(forward, rule)


def plain(x: Any) -> bool:
    return isinstance(x, np.ndarray)


# ---------------------------------------------------------------------------------------------------------------------
# Wrong layers: name, (layer, options of check_layer), law, a word of the sentence.

LEAF = weight()
OUT = {"out": np.zeros((4, 4))}
KEPT: dict[Any, Any] = {}


def slope_of_bumps(self: Any, x: Any, t: Any = None) -> Any:
    """x times u'(t) of u(t) = tanh(w t) at points t, as for the residual of a differential equation."""
    with set_recording(True):
        t = Tensor(SCALE.astype(self.weight.dtype), requires_grad=True) if t is None else t
        return x * grad(ops.tanh(self.weight * t).sum(), t, create_graph=True)


class OfTheClass(nn.Module):
    gain = SimpleNamespace(value=weight())

    def forward(self, x: Any) -> Any:
        return x * self.gain.value


def with_default(x: Any, gain: Any = weight()) -> Any:  # noqa: B008
    return x * gain


def from_closure() -> Any:
    gain = weight()
    return lambda self, x: x * gain * self.weight


class Slotted:
    __slots__ = ("gain",)

    def __init__(self) -> None:
        self.gain = weight()


UNREGISTERED = {
    "plain object": (layer(lambda s, x: x * s.head.gain, head=lambda: SimpleNamespace(gain=weight())), "head.gain"),
    "object in a list": (layer(lambda s, x: x * s.heads[0].gain, heads=lambda: [SimpleNamespace(gain=weight())]), "heads.0"),
    "objects in a dict": (layer(lambda s, x: x * s.d["a"].g, d=lambda: {"a": SimpleNamespace(g=weight())}), "d.a.g"),
    "set": (layer(lambda s, x: x * next(iter(s.gains)), gains=lambda: {weight()}), "gains.0"),
    "slots": (layer(lambda s, x: x * s.head.gain, head=Slotted), "head.gain"),
    "closure": (Layer(from_closure()), "gain"),
    "class attribute": (OfTheClass(), "gain.value"),
    "default": (with_default, "leaf"),
    "global": (lambda x: x * LEAF, "LEAF"),
    "made in the call": (layer(lambda s, x: x * weight()), "made in the call"),
    "made in the call beside a variable": (layer(lambda s, x: slope_of_bumps(s, x) * weight()), "made in the call"),
    "variable made before": (
        layer(lambda s, x: slope_of_bumps(s, x, s.o.t), o=lambda: SimpleNamespace(t=Tensor(SCALE, requires_grad=True))), "o.t"),
    "computed in __init__": (
        Layer(lambda s, x: x * s.unit, lambda s: setattr(s, "unit", s.weight / ops.norm(s.weight))), "unit was computed before"),
    "a leaf that is no Parameter": (
        layer(lambda s, x: x * s.gain, gain=lambda: Tensor(np.ones(4, "float32"), requires_grad=True)), "nn.Parameter"),
    "only in evaluation": (
        layer(lambda s, x: x * (s.weight if s.training else s.o.gain), o=lambda: SimpleNamespace(gain=weight())), "evaluation"),
    "layer in an object": (
        layer(lambda s, x: s.o.dense(x), o=lambda: SimpleNamespace(dense=nn.Dense(4, 4))), "o.dense"),
}  # fmt: skip


def time_mean(self: Any, x: Any, lengths: Any) -> Any:
    valid = (np.arange(x.shape[1]) < np.asarray(lengths)[:, None])[..., None].astype(x.dtype)
    steps = np.maximum(np.asarray(lengths), 1)[:, None].astype(x.dtype)
    return ops.sum(x * valid, axis=1) / steps


MIXED: dict[str, Any] = {
    "softmax over the batch": lambda s, x: ops.softmax(x, axis=0),
    "softmax over everything": lambda s, x: ops.reshape(ops.softmax(ops.reshape(x, shape=(-1,))), shape=x.shape),
    "centered over the batch": lambda s, x: x - ops.mean(x, axis=0),
    "mean of everything": lambda s, x: x - ops.mean(x),
    "variance of the batch": lambda s, x: x / (ops.variance(x, axis=0) + 1.0),
    "largest of the batch": lambda s, x: x / (1.0 + ops.max(ops.absolute(x), axis=0)),
    "norm of the batch": lambda s, x: x / ops.norm(x),
    "divided by the batch size": lambda s, x: x / len(x),
    "attention to other samples": lambda s, x: ops.softmax(x @ x.T) @ x,
    "other samples, backward": lambda s, x: ops.tanh(x) + ops.tanh(x[::-1]) + ops.tanh(ops.sum(x, axis=0)),
    "a branch for one sample": lambda s, x: x if len(x) == 1 else ops.tanh(x),
    "squeezed for one sample": lambda s, x: ops.reshape(x, shape=(4,)) if len(x) == 1 else x,
    "an error for one sample": lambda s, x: ops.tanh(x) if len(x) > 1 else [][0],
}

SQUARE = {
    "the rule reads the last x": lambda f: lambda g, out, x: g * 2.0 * f.x,
    "on arrays": lambda f: lambda g, out, x: g * 2.0 * (f.x if plain(x) else x),
    "with create_graph": lambda f: lambda g, out, x: g * 2.0 * (x if plain(x) else f.x),
}


def remembering(rule: Any) -> Any:
    kept = SimpleNamespace()
    return with_rules(lambda x: (setattr(kept, "x", x), x * x)[1], rule(kept))


class ByHand(nn.Module):
    """As in a course: forward keeps x in an attribute, and the rule of the weight reads it."""

    def __init__(self, reads: Any) -> None:
        def product(x: Any, w: Any) -> Any:
            self.x = x
            return x * w

        self.weight = weight()
        self.product = with_rules(
            product, lambda g, out, x, w: g * w, lambda g, out, x, w: g * (self.x if reads(g) else x)
        )

    def forward(self, x: Any) -> Any:
        return self.product(x, self.weight)


def stacked() -> Any:
    """Forward pushes, backward pops: right only for the last call."""
    pushed: list[Any] = []

    return with_rules(lambda x: (pushed.append(x), x * x)[1], lambda g, out, x: g * 2.0 * (pushed[-1] if pushed else x))


def by_shape() -> Any:
    def forward(x: Any) -> Any:
        KEPT[x.shape] = x
        return x * x

    return with_rules(forward, lambda g, out, x: g * 2.0 * KEPT[x.shape])


def one_buffer(x: Any) -> Any:
    if x.dtype == np.float64 and x.shape == (4, 4):
        return np.sin(x, out=OUT["out"])
    return np.sin(x)


def cached_weight(self: Any, x: Any) -> Any:
    if self.unit is None:
        self.unit = (self.weight / ops.norm(self.weight)).detach()
    return x * self.unit


def carried(self: Any, x: Any) -> Any:
    out = ops.tanh(x) if self.state is None else ops.tanh(x + self.state)
    self.state = out.detach()
    return out


def counted(self: Any, x: Any) -> Any:
    self.calls += 1
    return ops.tanh(x) * (1.0 if self.calls < 3 else 0.5)


CALLS: dict[str, Any] = {
    **{f"square, {name}": remembering(rule) for name, rule in SQUARE.items()},
    "an attribute of the layer": ByHand(lambda g: True),
    "an attribute of the layer, on arrays": ByHand(plain),
    "an attribute of the layer, with create_graph": ByHand(lambda g: not plain(g)),
    "a stack": stacked(),
    "a global cache": by_shape(),
    "an output buffer": sine(lambda g, out, x: g * ops.cos(x), one_buffer),
    "a weight computed once": layer(cached_weight, unit=None),
    "a state carried on": layer(carried, state=None),
    "a counter with an effect": layer(counted, calls=0),
}


RANDOM: dict[str, Any] = {
    "of NumPy": (lambda s, x: x * np.random.random(), "global random numbers"),  # noqa: NPY002
    "of Python": (lambda s, x: x * random.random(), "global random numbers"),
    "of a new generator": (lambda s, x: x * float(np.random.default_rng().random()), "unseeded"),
    "the time": (lambda s, x: x * time.perf_counter(), "as if it drew"),
}


def ema(change: Any) -> Any:
    def run(self: Any, x: Any) -> Any:
        if not self.training:
            return x - np.asarray(self.mean, x.dtype)
        change(self, np.real(x.data.mean(axis=0)))
        return x - ops.mean(x, axis=0)

    return run


def replaced(self: Any, mean: Any) -> None:
    self.mean = 0.9 * self.mean + 0.1 * mean


def in_place(self: Any, mean: Any) -> None:
    self.mean *= 0.9
    self.mean += 0.1 * mean


def in_object(self: Any, mean: Any) -> None:
    self.o.mean = 0.9 * self.o.mean + 0.1 * mean


def warming(self: Any, x: Any) -> Any:
    if self.training:
        self.steps += 1
        return ops.tanh(x) * (1.0 / self.steps)
    return ops.tanh(x)


class CountsOnTheClass(nn.Module):
    level = 0.1

    def forward(self, x: Any) -> Any:
        if self.training:
            type(self).level += 0.5
            return ops.tanh(x)
        return ops.tanh(x + type(self).level)


STATE = {
    "running mean, replaced": (layer(ema(replaced), mean=lambda: np.zeros(4)), "mean"),
    "running mean, in place": (layer(ema(in_place), mean=lambda: np.zeros(4)), "mean"),
    "running mean of an object": (
        layer(lambda s, x: x - s.o.mean.astype(x.dtype) if not s.training else (
            in_object(s, np.real(x.data.mean(axis=0))), x - ops.mean(x, axis=0))[1],
            o=lambda: SimpleNamespace(mean=np.zeros(4))), "o.mean"),
    "on the class": (CountsOnTheClass(), "level"),
}  # fmt: skip

cos = ops.cos
WRONG: list[Any] = [
    *[(f"leaf: {name}", fn, {}, "registered parameters", word) for name, (fn, word) in UNREGISTERED.items()],
    *[(f"mixed: {name}", layer(run), {}, "batch independence", "alone") for name, run in MIXED.items()],
    ("mixed: with lengths", layer(lambda s, x, lengths: ops.tanh(x) * ops.mean(time_mean(s, x, lengths), axis=0)),
     {"lengths": LENGTHS}, "batch independence", "alone"),
    ("mixed: by the longest", layer(lambda s, x, lengths: time_mean(s, x, lengths) / float(np.max(lengths))),
     {"lengths": LENGTHS}, "batch independence", "alone"),
    ("mixed: batch statistics in evaluation too", layer(lambda s, x: x - ops.mean(x, axis=0) * (1.1 if s.training else 1.0)),
     {"modes_differ": True}, "batch independence", "alone"),
    *[(f"calls: {name}", fn, {}, "independent calls", "call") for name, fn in CALLS.items()],
    *[(f"random: {name}", layer(run), {}, "independent calls", word) for name, (run, word) in RANDOM.items()],
    ("random: in training only", layer(lambda s, x: x * random.random() if s.training else x), {"modes_differ": True},
     "independent calls", "global random numbers of NumPy or Python in training mode"),
    *[(f"state: {name}", fn, {"modes_differ": True}, "save and load", word) for name, (fn, word) in STATE.items()],
    ("state: a result that looks like a buffer", layer(lambda s, x: (setattr(s, "last", ops.tanh(x)), s.last)[1]), {},
     "save and load", "unexpected last"),
    ("state: a schedule", layer(warming, steps=0), {"modes_differ": True}, "independent calls", "steps"),
    ("dtype: NumPy number", layer(lambda s, x: x / np.sqrt(256)), {}, "precision", "float64 out"),
    ("dtype: linspace", layer(lambda s, x: x * np.linspace(0.1, 1.0, 4)), {}, "precision", "float64 out"),
    ("dtype: attribute", layer(lambda s, x: x + s.table, table=lambda: SCALE.copy()), {}, "precision", "float64 out"),
    ("dtype: always float32", layer(lambda s, x: Tensor(x.data.real.astype("float32"))), {}, "precision", "float32 out"),
    ("dtype: rule", sine(lambda g, out, x: g * cos(x) * (np.ones(1) if plain(g) else 1.0)), {}, "precision", "arrives as"),
    ("dtype: recorded rule", sine(lambda g, out, x: g * cos(x) * (1.0 if plain(g) else np.ones(1))), {}, "precision",
     "create_graph"),
    ("dtype: wrong for float32", sine(lambda g, out, x: g * cos(x) * (1.0 if x.dtype == np.float64 else 1.01)), {}, "precision",
     "gradient"),
    ("dtype: forward wrong for float32", sine(lambda g, out, x: g * cos(x), lambda x: np.sin(x) * (
        1.01 if x.dtype == np.float32 else 1.0)), {}, "precision", "result in float32"),
    ("layout: forward", sine(lambda g, out, x: g * cos(x), lambda x: np.sin(x.ravel("K").reshape(x.shape))), {},
     "memory layout", "result"),
    ("layout: rule", sine(lambda g, out, x: g * np.cos(x.ravel("K").reshape(x.shape)) if plain(x) else g * cos(x)), {},
     "memory layout", "gradient"),
    ("layout: cotangent", sine(lambda g, out, x: (g.ravel("K").reshape(g.shape) if plain(g) else g) * cos(x)), {},
     "memory layout", "gradient"),
    ("layout: contiguous only", sine(lambda g, out, x: g * cos(x), lambda x: np.sin(
        x if x.flags.c_contiguous else [][0])), {}, "memory layout", "IndexError"),
    ("layout: strides negative", sine(lambda g, out, x: g * cos(x), lambda x: np.sin(
        x if min(x.strides, default=0) >= 0 else x[::-1])), {}, "memory layout", "negative"),
    ("rules: 1e-8 apart", sine(lambda g, out, x: g * cos(x) * (1.0 if plain(x) else 1.0 + 1e-8)), {}, "one rule", "create_graph"),
    ("rules: a term of 1e-10", sine(lambda g, out, x: g * cos(x) + (0.0 if plain(g) else 1e-10 * g)), {}, "one rule", "arrays"),
    ("rules: 1e-5 apart", with_rules(np.abs, lambda g, out, x: g * ops.sign(x) * (1.0 if plain(g) else 1.00001)), {}, "one rule",
     "arrays"),
    ("empty: division", layer(lambda s, x: x * (len(x) / len(x))), {}, "empty batch", "ZeroDivisionError"),
    ("empty: first sample", layer(lambda s, x: x + 0.0 * float(x.data[0].real.sum())), {}, "empty batch", "IndexError"),
    ("empty: shape", layer(lambda s, x: x if len(x) else Tensor(np.zeros((1, 4), x.dtype))), {}, "empty batch", "shape (1, 4)"),
    ("gradient: 1e-8 missing", sine(lambda g, out, x: g * (cos(x) + 1e-8)), {}, "gradient", "analytic"),
    ("gradient: second argument of size 1e-7", layer(lambda s, x: with_rules(
        lambda x, w: np.ldexp(np.sin(x) + 1e-7 * np.sin(w), 0),
        lambda g, out, x, w: g * cos(x), lambda g, out, x, w: g * 0.0)(x, s.weight)), {}, "gradient", "weight"),
    ("gradient: twice", sine(lambda g, out, x: 2.0 * g * cos(x)), {}, "gradient", "analytic"),
    ("result: tuple", layer(lambda s, x: (x, x)), {}, "one result", "tuple"),
    ("result: array", layer(lambda s, x: x.data), {}, "one result", "ndarray"),
    ("result: nothing", layer(lambda s, x: None), {}, "one result", "NoneType"),
    ("result: one number", lambda x: ops.sum(x * x), {}, "permutation equivariance", "takes batch=False"),
    ("modes: undeclared", layer(lambda s, x: ops.tanh(x) if s.training else x), {}, "modes", "declare"),
    ("modes: batch norm undeclared", nn.BatchNorm(4), {}, "modes", "declare"),
    ("inputs: written into", layer(lambda s, x: Tensor(np.sin(x.data, out=x.data).copy())), {}, "inputs are only read", "written"),
    ("inputs: a rule writes into g", sine(lambda g, out, x: np.multiply(g, cos(x), out=g) if plain(g) else g * cos(x)), {},
     "inputs are only read", "the cotangent"),
    ("inputs: a rule writes into f(x)", sine(lambda g, out, x: g * cos(x) + np.multiply(out, 0.0, out=out) if plain(
        g) else g * cos(x)), {}, "inputs are only read", "the result"),
]  # fmt: skip


@pytest.mark.parametrize(("fn", "options", "law", "word"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_a_wrong_layer_is_refused_by_the_law_it_breaks(fn, options, law, word):
    with pytest.raises(LawError) as caught:
        check_layer(fn, STEPS if "lengths" in options else BATCH, **options)
    assert (caught.value.law, word in caught.value.detail) == (law, True), str(caught.value)


# ---------------------------------------------------------------------------------------------------------------------
# Correct layers that are unusual: name, layer, inputs, options.


def dropped(self: Any, x: Any) -> Any:
    if not self.training:
        return x
    return x * (self.rng.random(x.shape) < 0.8).astype(x.dtype) / 0.8


class BatchStatistics(nn.Module):
    """Batch normalization by hand."""

    def __init__(self) -> None:
        self.mean, self.var = Tensor(np.zeros(4, "float32")), Tensor(np.ones(4, "float32"))

    def forward(self, x: Any) -> Any:
        if not self.training:
            return (x - self.mean) / ops.sqrt(self.var + 1e-5)
        mean, var = ops.mean(x, axis=0), ops.variance(x, axis=0)
        self.mean.data = (0.9 * self.mean.data + 0.1 * mean.data).astype("float32")
        self.var.data = (0.9 * self.var.data + 0.1 * var.data).astype("float32")
        return (x - mean) / ops.sqrt(var + 1e-5)


class Tied(nn.Module):
    def __init__(self) -> None:
        self.encoder = nn.Dense(4, 3, activation="tanh", generator=np.random.default_rng(0))
        self.decoder = nn.TiedDense(self.encoder)
        self.again = [self.encoder, {"the same": self.encoder.weight}]

    def forward(self, x: Any) -> Any:
        return self.decoder(self.encoder(x))


def attention(self: Any, x: Any, lengths: Any) -> Any:
    """Softmax over the valid steps of (N, T, D), weighted mean of the steps."""
    scores = ops.sum(x * self.query, axis=2)
    valid = np.arange(x.shape[1]) < np.asarray(lengths)[:, None]
    shares = ops.softmax(ops.where(valid, scores, -1e9), axis=1)
    return ops.sum(ops.reshape(shares, shape=(*shares.shape, 1)) * x, axis=1)


class Residual(nn.Module):
    def __init__(self, depth: int) -> None:
        self.inner = Residual(depth - 1) if depth else nn.Dense(4, 4, generator=np.random.default_rng(0))

    def forward(self, x: Any) -> Any:
        return x + ops.tanh(self.inner(x))


def last_result(self: Any, x: Any) -> Any:
    """For inspection; with its history, when it is called before the check."""
    self.log.result = x * self.weight
    return self.log.result


def counted_calls(self: Any, x: Any) -> Any:
    self.calls += 1
    self.log.append(x.shape)
    return ops.tanh(x)


def sized_table(self: Any, x: Any) -> Any:
    if x.shape[-1] not in self.tables:
        self.tables[x.shape[-1]] = np.linspace(0.1, 1.0, x.shape[-1])
    return x * self.tables[x.shape[-1]].astype(x.dtype)


def refuses(self: Any, x: Any) -> Any:
    if not len(x):
        raise ValueError("an empty batch: give at least one sample.")
    return ops.tanh(x)


def used(module: Any) -> Any:
    ops.sum(module(Tensor(BATCH.astype("float32")))).backward(retain_graph=True)
    return module


def penalty(self: Any, x: Any) -> Any:
    """The norm of the derivative at x, also where nothing else is recorded."""
    with set_recording(True):
        leaf = x if x.requires_grad else Tensor(x.data, requires_grad=True)
        return ops.norm(grad(ops.tanh(leaf * self.weight).sum(), leaf, create_graph=True))


ROWS = np.array([[0, 3], [1, 1], [4, 0]])
LABELS = np.array([0, 2, 1, 1])
GENERATOR = np.random.default_rng
DIFFERS = {"modes_differ": True}
right = layer
RIGHT: list[Any] = [
    *[(f"vanishing derivative: {name}", fn, [BATCH], {}) for name, fn in VANISHING.items()],
    *[(name, fn, [BATCH * size], {}) for name, (fn, size) in LOGITS.items()],
    ("x - x", lambda x: x * x - x * x, [BATCH], {}),
    ("a constant", right(lambda s, x: Tensor(np.ones(x.shape, x.dtype))), [BATCH], {}),
    ("saturated tanh", nn.Tanh(), [BATCH * 20.0], {}),
    ("small numbers", right(lambda s, x: ops.tanh(x) * 1e-9), [BATCH], {}),
    ("large numbers", right(lambda s, x: ops.tanh(x) * 1e9 + 1e6), [BATCH], {}),
    ("one sample", nn.Dense(4, 2, activation="tanh", generator=GENERATOR(0)), [BATCH[:1]], {}),
    ("no sample", nn.Dense(4, 2, generator=GENERATOR(0)), [BATCH[:0]], {}),
    ("no batch", right(lambda s, x: ops.softmax(x, axis=0)), [BATCH], {"batch": False}),
    ("one sample, layer norm", nn.LayerNorm(4), [BATCH[:1]], {}),
    ("float32 input", nn.Dense(4, 2, generator=GENERATOR(0)), [BATCH.astype("float32")], {}),
    ("float64 layer", nn.Dense(4, 2, dtype=np.float64, generator=GENERATOR(0)), [BATCH], {}),
    ("a list as input", nn.Dense(2, 2, generator=GENERATOR(0)), [[[1.0, 2.0], [3.0, 4.0]]], {}),
    ("transposed input", nn.Dense(4, 2, generator=GENERATOR(0)), [BATCH.T], {}),
    ("own dropout", right(dropped, rng=lambda: GENERATOR(1)), [BATCH], DIFFERS),
    ("own dropout in an object", right(lambda s, x: dropped(SimpleNamespace(training=s.training, rng=s.o.rng), x),
     o=lambda: SimpleNamespace(rng=GENERATOR(1))), [BATCH], DIFFERS),
    ("dropout", nn.Sequential(nn.Dense(4, 3), nn.Dropout(0.5, GENERATOR(0))), [BATCH], DIFFERS),
    ("batch norm", nn.BatchNorm(4), [BATCH], DIFFERS),
    ("batch norm by hand", BatchStatistics(), [BATCH], DIFFERS),
    ("embedding", right(lambda s, rows: s.table[rows], table=lambda: weight(5, 3)), [ROWS], {}),
    ("labels beside x", right(lambda s, x, y: x * s.weight + ops.reshape(s.table[y], shape=(-1, 1)), table=lambda: weight(3)),
     [BATCH, LABELS], {}),
    ("two inputs", right(lambda s, x, y: ops.tanh(x) * s.weight + y), [BATCH, BATCH[::-1].copy()], {}),
    ("tied weights", Tied(), [BATCH], {}),
    ("shared twice", nn.Sequential(*[nn.Dense(4, 4, activation="tanh", generator=GENERATOR(0))] * 2), [BATCH], {}),
    ("parameters in a list", right(lambda s, x: x * s.all[0] + s.all[1], all=lambda: [weight(), weight()]), [BATCH], {}),
    ("parameters in a tuple", right(lambda s, x: x * s.all[0] + s.all[1][0], all=lambda: (weight(), (weight(),))), [BATCH], {}),
    ("parameters in a dict", right(lambda s, x: x * s.all["a"]["b"], all=lambda: {"a": {"b": weight()}}), [BATCH], {}),
    ("layers in a dict of lists", right(lambda s, x: s.all["a"][0](x), all=lambda: {"a": [nn.Dense(4, 2)]}), [BATCH], {}),
    ("nested", Residual(4), [BATCH], {}),
    ("frozen part", nn.Sequential(nn.Dense(4, 3, generator=GENERATOR(0)).freeze(), nn.Dense(3, 2)).train(), [BATCH], {}),
    ("weight norm", right(lambda s, x: x * (s.weight / ops.norm(s.weight))), [BATCH], {}),
    ("buffer", right(lambda s, x: x @ s.projection, projection=lambda: Tensor(BATCH[:, :2].astype("float32"))), [BATCH], {}),
    ("unused parameter", right(lambda s, x: ops.tanh(x)), [BATCH], {}),
    ("a derivative inside", right(slope_of_bumps), [BATCH], {}),
    ("a penalty on the derivative of x", right(penalty), [BATCH], {"batch": False}),
    ("last result kept", used(right(last_result, log=SimpleNamespace)), [BATCH], {}),
    ("calls counted", right(counted_calls, calls=0, log=list), [BATCH], {}),
    ("a cache by size", right(sized_table, tables=dict), [BATCH], {}),
    ("refuses an empty batch", right(refuses), [BATCH], {}),
    ("a function", lambda x: ops.tanh(x) * x, [BATCH], {}),
    ("a primitive", ops.softplus, [BATCH], {}),
    ("absolute value", right(lambda s, x: ops.absolute(x) * s.weight), [BATCH], {}),
    ("lstm with lengths", nn.LSTM(2, 2, generator=GENERATOR(0)), [STEPS], {
        "lengths": LENGTHS, "order": 1, "call": lambda f, x, n: f.flat(f(x, lengths=n)[1])}),
    ("attention with lengths", right(attention, query=lambda: weight(2)), [STEPS], {"lengths": LENGTHS}),
    ("mean of valid steps", right(time_mean), [STEPS], {"lengths": LENGTHS}),
    ("convolution", nn.Conv2d(1, 2, 2, generator=GENERATOR(0)), [BATCH.reshape(2, 2, 4, 1)], {"order": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("fn", "inputs", "options"), [
    pytest.param(*row, id=name, marks=[pytest.mark.thorough] if n % 2 else []) for n, (name, *row) in enumerate(RIGHT)
])  # fmt: skip
def test_a_correct_layer_is_not_refused(fn, inputs, options):
    check_layer(fn, *inputs, **options)


class Everything(nn.Module):
    """Changes all that it holds in every call, without an effect; `wrong` gives it a rule that is not linear."""

    total = 0
    seen: dict[str, int] = {}  # noqa: RUF012

    def __init__(self, wrong: bool) -> None:
        self.weight, self.array, self.calls, self.log, self.kept = weight(), np.zeros(3), 0, [], {"n": [0]}
        self.rng, self.buffer = np.random.default_rng(0), Tensor(np.zeros(2, "float32"))
        self.held = SimpleNamespace(n=0, rows=np.zeros(2), inner=SimpleNamespace(shapes=set()))
        nested = 0

        def count() -> None:
            nonlocal nested
            nested += 1

        self.count, self.nested = count, lambda: nested
        self.sine = sine(lambda g, out, x: g * cos(x) * (1.01 if wrong else 1.0))

    def forward(self, x: Any) -> Any:
        self.array += 1.0
        self.calls += 1
        self.log.append(self.calls)
        self.kept["n"][0] += 1
        self.kept[str(len(self.kept))] = x.shape
        self.rng.normal()
        self.held.n += 1
        self.held.rows = self.held.rows + 1.0
        self.held.inner.shapes.add(self.calls)
        self.last = self.calls
        type(self).total += 1
        self.seen["x"] = self.seen.get("x", 0) + 1
        self.count()
        KEPT["everything"] = x
        return self.sine(x * self.weight)

    def state(self) -> Any:
        held, kept = self.held, {**self.kept, "n": list(self.kept["n"])}
        return (
            [self.array.tolist(), self.calls, list(self.log), kept, held.n, held.rows.tolist(), set(held.inner.shapes)],
            [self.nested(), self.total, dict(self.seen), "everything" in KEPT, sorted(vars(self))],
            [self.rng.bit_generator.state, self.buffer.numpy().tolist(), self.weight.numpy().tolist(), self.training],
        )


@pytest.mark.parametrize("wrong", [False, True])
def test_a_layer_is_left_as_it_was_found_also_when_it_is_refused(wrong):
    fn = Everything(wrong)
    before, parts, node = fn.state(), vars(fn).copy(), fn.weight.node
    with pytest.raises(LawError, match="law of gradient") if wrong else nullcontext():
        check_layer(fn, BATCH)
    assert fn.state() == before
    assert all(vars(fn)[name] is part for name, part in parts.items())
    assert (fn.weight.node, fn.weight.grad) == (node, None)
