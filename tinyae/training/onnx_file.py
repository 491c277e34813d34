"""A model as an ONNX file, for runtimes without tinyae: a forward pass is recorded, and each node is translated by its rule.

A value that is computed from the input outside the tape is a constant on the tape, and would be one in the file. So there are
two passes, with different samples and numbers of samples: a constant that differs between them is rejected, and so is a pass
that takes another path. An axis whose length differs is that of the batch, which stays free.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from tinyae import losses, models, nn, ops
from tinyae.atomic import write_bytes
from tinyae.autodiff import Node, Observer, Tensor, expand, set_observers, set_recording
from tinyae.autodiff.tape import ancestors
from tinyae.backend import Array, backend_named, backend_of
from tinyae.backend.windows import ConvSpec, shortest
from tinyae.checks import choose
from tinyae.models.memory import CodeTable
from tinyae.models.settings import defaults
from tinyae.ops.convolution import conv_spec, pair
from tinyae.training.run import Run, package_version

PARTS = ("model", "encoder", "decoder")
SAMPLES = (3, 5)  # in each of the two passes


def export(
    model: models.Autoencoder | Run | str | Path,
    path: str | Path,
    part: Annotated[str, PARTS] = "model",
    *,
    input_shape: Sequence[int] | None = None,
) -> Path:
    """Write a model, or a part of it, in evaluation mode as an ONNX file; returns its path.

    Args:
        model: a model, or a run or its folder, whose configuration becomes part of the metadata.
        path: the file, usually `.onnx`.
        part: "model", from samples to reconstructions; "encoder", to codes; "decoder", from codes.
        input_shape: of one sample, a sequence with all its steps; by default that for which the model was built.

    Inputs are `x` (N, ...) or `code` (N, K), for any N, one-hot `labels` (N, C) for a conditional model, and `lengths` (N,), int32, for
    an LSTM that reads sequences. Outputs are `code` (the mean of a random code), `reconstruction`, and `prediction`. Raises ValueError,
    before anything is written, if an operation has no rule or a constant depends on the input; ImportError without onnx.
    """
    choose("part", part, PARTS)
    try:
        onnx = import_module("onnx")
    except ModuleNotFoundError:
        raise ImportError('exporting needs onnx, which is not installed: pip install "tinyae[onnx]".') from None
    run = model if isinstance(model, models.Autoencoder | Run) else Run.open(model)
    network: models.Autoencoder = run.model() if isinstance(run, Run) else run
    file = translated(network, onnx, *(Pass(network, part, sampled(network, part, n, input_shape)) for n in SAMPLES))
    told = {"part": part, "recipe": network.recipe, "run": run.config if isinstance(run, Run) else None}
    onnx.helper.set_model_props(file, {f"tinyae.{name}": json.dumps(value) for name, value in told.items()})
    try:
        onnx.checker.check_model(file, full_check=True)
    except Exception as error:
        raise cannot(type(network).__name__, f"the graph would not be valid, {error}") from error
    return write_bytes(path, file.SerializeToString())


def cannot(what: str, why: str) -> ValueError:
    """The error for what has no equivalent in an ONNX file."""
    return ValueError(f"{what} cannot be exported to ONNX: {why}")


def sampled(model: models.Autoencoder, part: str, n: int, shape: Sequence[int] | None = None) -> dict[str, Array]:
    """The inputs of a part by name, for n random samples."""
    rng, move = np.random.default_rng(n), backend_named(model.device).to_device
    if shape is None:
        if model.recipe is None:
            raise ValueError("export: this model does not know the shape of a sample: write input_shape=(784,), say.")
        settings = defaults(models.model_entry(model.recipe["model"]).builder) | model.recipe["arguments"]
        shape = np.atleast_1d(settings["input_shape"]).tolist()
    x = rng.standard_cauchy((n, *shape))  # small and large numbers
    given = {k: move(a, model.dtype) if a.dtype.kind == "f" else a for k, a in model.example_inputs(x, rng).items()}
    if part == "decoder":
        given["code"] = Pass(model, "encoder", given).outputs["code"]
        given = {name: a for name, a in given.items() if name not in ("x", "lengths")}
    return given


class Pass:
    """A forward pass in evaluation mode: inputs and outputs by name, and the steps between them in their order.

    A step is a node of the tape, or a layer that has a rule: its name, rule, raw arguments, parameters and result. `computed` is, by id,
    what operations made of the inputs, also where the tape has no record, as of comparisons.
    """

    def __init__(self, model: models.Autoencoder, part: str, inputs: dict[str, Array]) -> None:
        self.inputs, self.computed, self._layers = inputs, {id(x): x for x in inputs.values()}, dict[int, Any]()
        watch = Observer()
        watch.result, watch.called = self._result, self._called  # type: ignore[method-assign]
        given = {k: Tensor(x, requires_grad=True) if x.dtype.kind == "f" else x for k, x in inputs.items()}
        with np.errstate(all="ignore"), nn.evaluating(model), set_recording(True), set_observers(watch):
            found = model.named_outputs(part, given)
        self.outputs = {name: y.data for name, y in found.items()}
        nodes = {node for y in found.values() if y.node is not None for node in ancestors(y.node) if node.primitive}
        steps = {
            id(node.out): (node.name, RULES.get(node.primitive), node.args, node.params, node.out)
            for node in sorted(nodes, key=lambda node: node.serial)
        }
        first = {key: step for key, step in self._layers.items() if key not in steps}  # codes that are constants
        self.steps = [*(first | steps | self._layers).values()]

    def _result(self, name: str, args: Sequence[Any], out: Array, node: Node | None) -> None:
        if any(id(x) in self.computed for x in args):
            self.computed[id(out)] = out

    def _called(self, module: Any, inputs: tuple[Any, ...], output: Any) -> None:
        if (kind := type(module)) in LAYERS:
            args, rule = tuple(x.data for x in inputs), partial(LAYERS[kind], layer=module)
            self._layers[id(output.data)] = (kind.__name__, rule, args, {}, output.data)


def translated(model: models.Autoencoder, onnx: Any, first: Pass, second: Pass) -> Any:
    """The ONNX model of two passes."""
    if [step[0] for step in first.steps] != [step[0] for step in second.steps]:
        raise cannot(type(model).__name__, "its forward pass takes another path for other samples.")
    shapes = {name: _shape(x, second.inputs[name]) for name, x in first.inputs.items()}
    graph = Graph(onnx, np.dtype(model.dtype), {id(p.data): name for name, p in model.named_parameters()}, shapes)
    names = {id(x): name for each in (first, second) for name, x in each.inputs.items()}
    of_lengths = [_of_lengths(**each.inputs) if "lengths" in each.inputs else {} for each in (first, second)]

    def common(a: Any, b: Any, what: str) -> Any:
        """What a rule receives for an argument that is a and b in the two passes: the name of a value, or a constant."""
        if id(a) in names and names[id(a)] == names.get(id(b)):
            return names[id(a)]
        if type(a) is type(b) is tuple and len(a) == len(b):
            return tuple(common(x, y, what) for x, y in zip(a, b, strict=True))
        if type(a) is type(b) and not hasattr(a, "shape") and a == b:
            return a
        if hasattr(a, "shape") and id(a) not in first.computed:
            x, y = (backend_of(value).to_host(value) for value in (a, b))
            for name, value in of_lengths[0].items():
                if np.array_equal(x, value) and np.array_equal(y, of_lengths[1][name]):
                    return graph.cast(graph.inside(x.shape[1]), graph.dtype) if name == "mask" else name
            if np.array_equal(x, y):
                return x
            if _shape(x, y)[:1] == ("N",) and x.dtype == graph.dtype and not (x.any() or y.any()):  # an initial state
                return graph.expand(0.0, ("N", *x.shape[1:]))
        raise cannot(what, "it depends on the input outside the tape: a comparison, detach(), or what NumPy computed.")

    for (operation, rule, *one), (_, _, *two) in zip(first.steps, second.steps, strict=True):
        (args, params, out), (args_too, params_too, out_too) = one, two
        given = common(args, args_too, f"an argument of {operation}")
        if not any(isinstance(x, str) for x in given):
            continue  # computed from parameters alone
        if rule is None:
            raise cannot(operation, "it has no rule in tinyae/training/onnx_file.py.")
        also = {k: common(a, params_too[k], f"{k} of {operation}") for k, a in params.items() if k != "shape"}
        graph.out = _shape(out, out_too)
        names[id(out)] = names[id(out_too)] = value = rule(graph, *given, **also)
        graph.shapes[value] = graph.out
    if lost := [name for name, y in first.outputs.items() if id(y) not in names]:
        raise cannot(f"the {lost[0]} of {type(model).__name__}", "it is computed outside the tape, as NumPy does.")

    declare, kind = onnx.helper.make_tensor_value_info, onnx.helper.np_dtype_to_tensor_dtype
    ends = (first.inputs, second.inputs), (first.outputs, second.outputs)
    declared = ([declare(k, kind(x.dtype), _shape(x, b[k])) for k, x in a.items()] for a, b in ends)
    graph.nodes += [onnx.helper.make_node("Identity", [names[id(y)]], [name]) for name, y in first.outputs.items()]
    constants = [onnx.numpy_helper.from_array(np.asarray(x, order="C"), name) for name, x in graph.constants.items()]
    body = onnx.helper.make_graph(graph.nodes, type(model).__name__, *declared, constants)
    make = partial(onnx.helper.make_model, producer_name="tinyae", producer_version=package_version())
    return make(body, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 18)])  # both of 2022


def _shape(x: Array, y: Array) -> Shape:
    """The shape of a value that is x and y in the two passes."""
    return tuple(m if m == n else "N" if (m, n) == SAMPLES else None for m, n in zip(x.shape, y.shape, strict=False))


def _of_lengths(x: Array, lengths: np.ndarray) -> dict[str, np.ndarray]:
    """What a model may compute from lengths outside the tape: indices of the samples and of their steps in reverse, and a mask."""
    rows, t, ends = np.arange(len(x))[:, None], np.arange(x.shape[1])[None, :], lengths[:, None]
    return {
        "lengths": lengths,
        "rows": rows,
        "reversed": np.where(t < ends, ends - 1 - t, t),
        "mask": (t < ends)[..., None],
    }


# The rules: `rule(graph, *args, **params)` adds nodes to the `Graph`. An argument is the name of a value in the graph, or an array
# or a number that is the same for every input; the rule returns the name of the result, whose shape is `graph.out`.

Rule = Callable[..., Any]
Shape = tuple[Any, ...]
"""The lengths of axes: a number, "N" for the batch, or None for one that depends on the batch in another way."""


class Graph:
    """A growing ONNX graph: `graph("Add", x, 1.0)` adds a node and returns the name of its result.

    Numbers get the `dtype` of the model; `names` are of parameters, by the id of their arrays; `shapes`, of inputs and results.
    """

    def __init__(self, onnx: Any, dtype: np.dtype[Any], names: dict[int, str], shapes: dict[str, Shape]) -> None:
        self.onnx, self.dtype, self.names, self.shapes = onnx, dtype, names, shapes
        self.batch_of, self.out = next(iter(shapes.items()))
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}
        self._known: dict[Any, Any] = {}

    def __call__(self, op: str, *inputs: Any, results: int = 1, **attributes: Any) -> Any:
        """The result of a node, or several; a node that is there already is not added again."""
        names = [self._name(x) for x in inputs]
        key = (op, *names, str(attributes))
        if key not in self._known:
            made = [f"{op.lower()}_{len(self.nodes)}" + f"_{n}" * (results > 1) for n in range(results)]
            self.nodes.append(self.onnx.helper.make_node(op, names, made, name=made[0], **attributes))
            self._known[key] = made[0] if results == 1 else made
        return self._known[key]

    def _name(self, x: Any) -> str:
        """The name of a value; a constant becomes an initializer: lists are whole numbers, numbers get the dtype."""
        if isinstance(x, str):
            return x
        array = np.asarray(x, None if hasattr(x, "dtype") else np.int64 if isinstance(x, list) else self.dtype)
        key = (array.dtype, array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = self.names.get(id(x), f"constant_{len(self.constants)}")
            self.constants[self._known[key]] = array
        return self._known[key]

    def cast(self, x: Any, dtype: Any) -> str:
        """x in another dtype."""
        return self("Cast", x, to=self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def expand(self, x: Any, shape: Shape) -> str:
        """x repeated to a shape."""
        batch = self("Shape", self.batch_of, end=1)
        return self("Expand", x, self("Concat", *(batch if n == "N" else [n] for n in shape), axis=0))

    def inside(self, steps: int) -> str:
        """Which of the first `steps` steps of each sequence are not padding, (N, T, 1)."""
        ends = self("Unsqueeze", self.cast("lengths", np.int64), [1])
        return self("Unsqueeze", self("Less", np.arange(steps)[None], ends), [2])


def _reduced(graph: Graph, x: str, *, op: str, axis: Any = None, keepdims: bool = False) -> Any:
    axes = range(len(graph.shapes[x])) if axis is None else axis if isinstance(axis, tuple) else [axis]
    return graph(op, x, list(axes), keepdims=int(keepdims))


def _getitem(graph: Graph, x: str, *, index: Any) -> Any:
    parts, shape = list(index) if isinstance(index, tuple) else [index], graph.shapes[x]
    if all(isinstance(part, str) for part in parts) and parts == ["rows", "reversed"]:
        return graph("ReverseSequence", x, graph.cast("lengths", np.int64), batch_axis=0, time_axis=1)
    if not all(part is None or part is ... or isinstance(part, int | np.integer | slice) for part in parts):
        raise cannot("getitem", "an index must be a number or a slice.")
    place = parts.index(...) if ... in parts else len(parts)
    parts[place : place + 1] = [slice(None)] * (len(shape) - sum(part not in (None, ...) for part in parts))
    new = [sum(p is None or isinstance(p, slice) for p in parts[:i]) for i, part in enumerate(parts) if part is None]
    for axis, part in reversed([*enumerate(part for part in parts if part is not None)]):
        if part != slice(None):
            if not isinstance(shape[axis], int):
                raise cannot("getitem", "it is along the axis of samples.")
            x = graph("Gather", x, np.arange(shape[axis])[part], axis=axis)
    return graph("Unsqueeze", x, new) if new else x


def _activated(graph: Graph, z: str, activation: str) -> Any:
    return z if activation == "identity" else RULES[getattr(ops, activation)](graph, z)


def _on_images(graph: Graph, op: str, x: Any, *others: Any, spec: ConvSpec | None = None, **attributes: Any) -> Any:
    """A node that takes and returns (N, C, H, W), for images (N, H, W, C); `spec` is of its window."""
    if spec is not None:
        pads = [before for before, _ in spec.padding] + [after for _, after in spec.padding]
        attributes |= {"kernel_shape": list(spec.kernel), "strides": list(spec.stride), "pads": pads}
    y = graph(op, graph("Transpose", x, perm=[0, 3, 1, 2]), *others, **attributes)
    return graph("Transpose", y, perm=[0, 2, 3, 1])


def _convolve(graph: Graph, x: Any, w: Any, *b: Any, op: str, spec: ConvSpec, activation: str = "identity") -> Any:
    more = {"output_padding": list(spec.output_padding)} if op == "ConvTranspose" else {}
    y = _on_images(graph, op, x, graph("Transpose", w, perm=[3, 2, 0, 1]), *b, spec=spec, **more)
    return _activated(graph, y, activation)


def _pool(graph: Graph, x: str, *, op: str, kernel_size: Any, stride: Any = None, padding: Any = 0, **more: Any) -> Any:
    spec = conv_spec(op, graph.shapes[x][1:3], kernel_size, kernel_size if stride is None else stride, padding)
    return _on_images(graph, op, x, spec=spec, **more)


def _resize(graph: Graph, x: str, *, factor: Any, **how: Any) -> Any:
    return _on_images(graph, "Resize", x, "", np.array([1, 1, *pair("upsample", "factor", factor)], np.float32), **how)


def _lstm(
    graph: Graph, x: Any, h0: Any, c0: Any, w_x: Any, w_h: Any, b: Any, peepholes: Any = None, *,
    lengths: str | None = None, reverse: bool = False, steps: int | None = None,
) -> Any:  # fmt: skip
    # ONNX has the gates in the order i, o, f, g, time as the first axis, and zeros as outputs in the padding.
    if any(isinstance(w, str) for w in (w_x, w_h, b, peepholes)):
        raise cannot("lstm", "its weights depend on the input.")
    size, count = len(w_h), graph.out[1] - 1
    order = [gate * size + unit for gate in (0, 3, 1, 2) for unit in range(size)]
    sequence = graph.expand(0.0, (count, "N", 1)) if x is None else graph("Transpose", x, perm=[1, 0, 2])
    w_x = np.zeros((1, 4 * size), b.dtype) if x is None else w_x
    h0, c0 = ("" if state is None else graph("Unsqueeze", state, [0]) for state in (h0, c0))
    y, h, c = graph(
        "LSTM", sequence, w_x.T[order][None], w_h.T[order][None], np.append(b[order], np.zeros_like(b))[None],
        lengths or "", h0, c0, "" if peepholes is None else peepholes[[0, 2, 1]].reshape(1, -1),
        results=3, hidden_size=size, direction="reverse" if reverse else "forward",
    )  # fmt: skip
    y = graph("Transpose", graph("Squeeze", y, [1]), perm=[1, 0, 2])
    if lengths is not None:  # in the padding: backward the initial state, forward the final one
        rest = (h0 or np.zeros((1, 1, size), b.dtype)) if reverse else h
        y = graph("Where", graph.inside(count), y, graph("Transpose", rest, perm=[1, 0, 2]))
    return graph("Concat", y, graph("Transpose", c, perm=[1, 0, 2]), axis=1)


def _top_k(graph: Graph, x: str, *, layer: nn.TopK) -> Any:
    largest, _ = graph("TopK", x, [layer.k if layer.evaluation_k is None else layer.evaluation_k], results=2)
    return graph("Where", graph("GreaterOrEqual", x, graph("ReduceMin", largest, [1])), x, 0.0)


def _gray_mean(graph: Graph, z: str) -> Any:
    # As in `losses.continuous_bernoulli_mean`: a series near 0; above and below it, no difference of close numbers.
    near = graph("Less", graph("Abs", z), 1.0)
    size, small = graph("Abs", graph("Where", near, 1.0, z)), graph("Where", near, z, 0.0)
    tail, inverse, square = graph("Exp", graph("Neg", size)), graph("Div", 1.0, size), graph("Mul", small, small)
    rest, slope = graph("Sub", 1.0, tail), losses.functions._SLOPES[-1]
    for coefficient in losses.functions._SLOPES[-2::-1]:
        slope = graph("Add", graph("Mul", square, slope), coefficient)
    upper = graph("Sub", graph("Div", 1.0, rest), inverse)
    far = graph("Where", graph("Greater", z, 0.0), upper, graph("Sub", inverse, graph("Div", tail, rest)))
    return graph("Where", near, graph("Add", graph("Mul", small, slope), 0.5), far)


def _codebook(graph: Graph, z: str, *, layer: models.Codebook) -> Any:
    e = layer.vectors.numpy()
    distances = graph("Sub", (e * e).sum(axis=1), graph("Mul", graph("MatMul", z, e.T), 2.0))
    return graph("Gather", e, graph("ArgMin", distances, axis=1, keepdims=0))


# fmt: off
SAME = {  # the primitives that are one node with the same arguments
    "add": "Add", "subtract": "Sub", "multiply": "Mul", "divide": "Div", "negative": "Neg", "power": "Pow", "absolute": "Abs", "exp": "Exp",
    "log": "Log", "sqrt": "Sqrt", "sin": "Sin", "cos": "Cos", "tanh": "Tanh", "sigmoid": "Sigmoid", "erf": "Erf", "softplus": "Softplus",
    "relu": "Relu", "elu": "Elu", "where": "Where", "maximum": "Max", "minimum": "Min", "matmul": "MatMul",
}
RULES: dict[Any, Rule] = {
    **{getattr(ops, name): lambda graph, *args, op=op: graph(op, *args) for name, op in SAME.items()},
    ops.square: lambda graph, x: graph("Mul", x, x), ops.silu: lambda graph, x: graph("Mul", x, graph("Sigmoid", x)),
    ops.gelu: lambda graph, x: graph("Mul", graph("Mul", x, 0.5), graph("Add", graph("Erf", graph("Mul", x, 0.5**0.5)), 1.0)),
    ops.sum: partial(_reduced, op="ReduceSum"), ops.mean: partial(_reduced, op="ReduceMean"),
    ops.max: partial(_reduced, op="ReduceMax"), ops.min: partial(_reduced, op="ReduceMin"),
    ops.softmax: lambda graph, x, axis=-1: graph("Softmax", x, axis=axis), losses.continuous_bernoulli_mean: _gray_mean,
    ops.reshape: lambda graph, x: graph("Reshape", x, [n if isinstance(n, int) else -1 for n in graph.out]),
    ops.transpose: lambda graph, x, axes=None: graph(
        "Transpose", x, perm=[a % len(graph.out) for a in axes or range(len(graph.out))[::-1]]),
    ops.getitem: _getitem, ops.lstm: _lstm, expand: lambda graph, x: graph.expand(x, graph.out),
    ops.crop: lambda graph, x, widths: _getitem(graph, x, index=tuple(slice(first or None, -last or None) for first, last in widths)),
    ops.concatenate: lambda graph, *xs, axis=0: graph("Concat", *xs, axis=axis),
    ops.stack: lambda graph, *xs, axis=0: graph("Concat", *(graph("Unsqueeze", x, [axis]) for x in xs), axis=axis),
    ops.dense: lambda graph, x, w, b, activation="identity": _activated(graph, graph("Add", graph("MatMul", x, w), b), activation),
    ops.convolve: partial(_convolve, op="Conv"), ops.biased_conv2d: partial(_convolve, op="Conv"),
    ops.convolve_transpose: partial(_convolve, op="ConvTranspose"), ops.biased_conv_transpose2d: partial(_convolve, op="ConvTranspose"),
    ops.max_pool2d: partial(_pool, op="MaxPool"), ops.avg_pool2d: partial(_pool, op="AveragePool", count_include_pad=1),
    ops.upsample_nearest: partial(_resize, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
    ops.upsample_bilinear: partial(_resize, mode="linear", coordinate_transformation_mode="half_pixel"),
    ops.pixel_shuffle: lambda graph, x, factor: _on_images(graph, "DepthToSpace", x, blocksize=shortest(factor), mode="DCR"),
}
"""The rule of each primitive. A parameter `shape` is not passed on: it is `graph.out`."""

LAYERS: dict[type, Rule] = {
    nn.TopK: _top_k, models.Codebook: _codebook,
    CodeTable: lambda graph, x, layer: graph("Gather", layer.table.numpy(), graph.cast(x, np.int64)),
}
"""The rules of layers that choose by the values of their input, outside the tape."""
# fmt: on
