"""ONNX files against the models that they were made from, computed by onnxruntime; and what is refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinyae as ta
from tinyae import nn, ops
from tinyae.models import LIKELIHOODS, MODELS, Autoencoder, build
from tinyae.models.settings import defaults
from tinyae.testing import strict_device
from tinyae.training.onnx_file import PARTS, RULES

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

SMALL: dict[str, Any] = {"input_shape": (6, 5)}
IMAGE: dict[str, Any] = {"input_shape": (9, 10, 2), "channels": (3, 4)}
STEPS: dict[str, Any] = {"input_shape": (8, 2), "hidden_size": 5}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("basic", {}), *(("basic", SMALL | {"activation": f}) for f in ("elu", "gelu", "silu", "tanh")),
    ("deep", {}), *(("deep", SMALL | {"sizes": (7, 4), "normalization": f}) for f in ("batch", "layer")),
    ("deep", SMALL | {"sizes": (7, 4), "tied": True, "loss": "squared_error"}),
    ("sparse", {}), ("sparse", {"sparsity": "topk"}), ("sparse", {"sparsity": "topk", "k": 2, "evaluation_k": 5}),
    ("contractive", {}), ("denoising", {}), ("stacked", {"classes": 10}), ("stacked", {"layer": "denoising", "tied": True}),
    ("memory", {}), ("memory", {"codes": "one-hot", "decoder": "conv", "input_shape": (28, 28, 1)}), ("memory", {"codes": "ones"}),
    *(("vae", SMALL | {"likelihood": likelihood}) for likelihood in LIKELIHOODS), ("vae", {}),
    ("cvae", {}), ("cvae", SMALL | {"classes": 3}), ("vqvae", {}), ("vqvae", SMALL | {"codebook_size": 5}),
    ("conv", {}), *(("conv", IMAGE | {"upsampling": u}) for u in ("nearest", "bilinear", "transposed", "pixelshuffle")),
    ("conv", IMAGE | {"form": "strided", "kernel_size": 4, "code_size": 6, "normalization": "batch"}),
    ("conv", IMAGE | {"form": "keras", "pooling": "average", "normalization": "layer", "activation": "sigmoid"}),
    ("conv-denoising", {}), ("conv-vae", {}),
    *(("lstm", STEPS | {"mode": mode}) for mode in ("reconstruct", "predict", "composite")),
    ("lstm", STEPS | {"num_layers": 2, "bidirectional": True, "code_size": 3, "dropout": 0.5}),
    ("lstm", STEPS | {"peepholes": True, "reverse_target": False}), ("lstm", STEPS | {"conditional": True, "loss": "bce"}),
]  # fmt: skip


def check(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    """The same outputs, to 1e-5 of the largest number."""
    assert found.keys() == wanted.keys()
    for name, y in wanted.items():
        np.testing.assert_allclose(found[name], y, rtol=0, atol=1e-5 * max(1.0, np.abs(y).max()))


def run(path: str | Path, **inputs: Any) -> dict[str, np.ndarray]:
    """The outputs of a file by name."""
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return dict(zip([y.name for y in session.get_outputs()], session.run(None, inputs), strict=True))


def case(model: Any, shape: list[int], part: str, n: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Inputs for a file, and what the model's public methods make of them."""
    rng, lengths, labels = np.random.default_rng(n), {}, {}
    x = given = rng.random((n, *shape), np.float32)
    if isinstance(model, ta.models.ImageMemory):
        x = given = rng.integers(model.count, size=n).astype(np.float32)
    elif isinstance(model, ta.models.ConditionalVariationalAutoencoder):
        numbers = rng.integers(model.classes, size=n)
        given = model.batch(ta.data.Split(x, numbers)).x
        labels = {"labels": np.eye(model.classes, dtype=np.float32)[numbers]}
    elif isinstance(model, ta.models.LSTMAutoencoder):
        lengths = {"lengths": rng.integers(1, shape[0] + 1, n).astype(np.int32)}
    code, wanted = model.encode(given, **lengths), {}
    if part == "encoder":
        return {"x": x} | lengths | labels, {"code": code}
    if getattr(model, "predictor", None):
        wanted["prediction"] = model.predict(given, **lengths)
    if getattr(model, "mode", "") != "predict" and part == "model":
        wanted["reconstruction"] = model.reconstruct(given, **lengths)
    elif getattr(model, "mode", "") != "predict":
        wanted["reconstruction"] = model.decode(np.concatenate([code, *labels.values()], axis=1))
    return ({"x": x} | lengths if part == "model" else {"code": code}) | labels, wanted


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
@pytest.mark.parametrize("part", PARTS)
def test_a_file_computes_what_the_model_computes(name: str, options: dict[str, Any], part: str, tmp_path: Path) -> None:
    model = build(name, options, np.random.default_rng(1)).eval()
    moved = {k: v + 0.02 * np.random.default_rng(2).standard_normal(v.shape) for k, v in model.state_dict().items()}
    model.load_state_dict(moved)  # no biases, running means and peepholes of 0
    shape = np.atleast_1d((defaults(MODELS[name].builder) | options)["input_shape"]).tolist()
    shape[0] -= getattr(model, "future_steps", 0)
    path = ta.export(model, tmp_path / "file.onnx", part)
    for n in (1, 7, 64):
        inputs, wanted = case(model, shape, part, n)
        check(run(path, **inputs), wanted)


rng = np.random.default_rng(3)
A, B, KERNEL = (rng.random(shape, np.float32) + 0.5 for shape in ((4, 3), (3,), (3, 2, 4, 5)))
UNARY = "negative absolute exp log sqrt sin cos tanh sigmoid softplus relu elu erf square silu gelu"
BOTH = "add subtract multiply divide power maximum minimum"
RULE_CASES: dict[str, Callable[[Any], Any]] = {
    **{f: (lambda x, f=f: getattr(ops, f)(x * x + 0.1 if f in ("log", "sqrt") else x)) for f in UNARY.split()},
    **{f: (lambda x, f=f: getattr(ops, f)(ops.sigmoid(x) + 0.5, A[0, 0]) + getattr(ops, f)(2.0, x + A[:, 0])) for f in BOTH.split()},
    "where": lambda x: ops.where(A[:, 0] > 1.0, x, 2.0), "transpose": lambda x: ops.transpose(x, axes=(0, -1, 1, 2)) * 1.0,
    **{f: (lambda x, f=f: getattr(ops, f)(x, axis=(1, -1), keepdims=True) + getattr(ops, f)(x)) for f in ["sum", "mean", "max", "min"]},
    "continuous_bernoulli_mean": lambda x: ta.losses.continuous_bernoulli_mean(x * x * x),
    "softmax": lambda x: ops.softmax(x, axis=1), "reshape": lambda x: x.reshape(-1, 2).reshape(x.shape[0], 4, -1),
    "getitem": lambda x: ops.getitem(ops.getitem(x, index=(..., None, slice(2, 0, -1))), index=(slice(None), -1, slice(1, None))),
    "expand": lambda x: ta.autodiff.expand(x, shape=(2, *x.shape)), "crop": lambda x: ops.crop(x, widths=((0, 0), (1, 0), (0, 2), (1, 1))),
    "concatenate": lambda x: ops.concatenate(x, 2.0 * x, axis=-1), "stack": lambda x: ops.stack(x, x * x, axis=-1),
    "matmul": lambda x: ops.matmul(x, A), "dense": lambda x: ops.dense(x, A, B, activation="gelu"),
    "convolve": lambda x: ops.conv2d(x, KERNEL, (2, 1), ((1, 0), (2, 1))),
    "convolve_transpose": lambda x: ops.conv_transpose2d(x, KERNEL.transpose(0, 1, 3, 2), (3, 2), ((1, 0), (0, 1)), (2, 1)),
    "biased_conv2d": lambda x: nn.Conv2d(4, 3, (3, 2), 2, "same", activation="silu", generator=np.random.default_rng(1))(x),
    "biased_conv_transpose2d": lambda x: nn.ConvTranspose2d(4, 3, (2, 3), 3, 0, 2, generator=np.random.default_rng(1))(x),
    "max_pool2d": lambda x: ops.max_pool2d(x, kernel_size=(3, 2), stride=2, padding="same"),
    "avg_pool2d": lambda x: ops.avg_pool2d(x, kernel_size=(2, 3), stride=(1, 2), padding=((1, 0), (0, 2))),
    "upsample_nearest": lambda x: ops.upsample_nearest(x, factor=(2, 3)),
    "upsample_bilinear": lambda x: ops.upsample_bilinear(x, factor=(3, 2)), "pixel_shuffle": lambda x: ops.pixel_shuffle(x, factor=2),
}  # fmt: skip


def through(function: Callable[[Any], Any]) -> Autoencoder:
    """A model whose encoder is a function."""
    layer = nn.Identity()
    layer.forward = function  # type: ignore[method-assign]
    return Autoencoder(layer, nn.Identity())


def test_every_model_and_every_rule_has_a_case() -> None:
    assert {name for name, _ in CASES} == {*MODELS}
    assert {rule.name for rule in RULES} == {*RULE_CASES, "lstm"}


@pytest.mark.parametrize("name", RULE_CASES)
def test_a_rule_computes_its_primitive(name: str, tmp_path: Path) -> None:
    path = ta.export(through(RULE_CASES[name]), tmp_path / "rule.onnx", "encoder", input_shape=(6, 5, 4))
    for n in (1, 4):
        x = np.random.default_rng(n).standard_normal((n, 6, 5, 4)).astype(np.float32)
        check(run(path, x=x), {"code": RULE_CASES[name](ta.Tensor(x)).numpy()})


@pytest.mark.parametrize(("function", "words"), [
    (lambda x: x * (x.data > x.data.mean()), "an argument of multiply .* outside the tape"),
    (lambda x: ops.where(x.data < 1e9, x, 0.0), "an argument of where .* outside the tape"),
    (lambda x: ops.where(x < 1e9, x, 0.0), "an argument of where .* comparison"),
    (lambda x: x + (0.0 * x).detach(), "an argument of add .* detach"),
    (lambda x: x * float(x.data[0, 0]), "an argument of multiply"),
    (lambda x: x[:, np.argsort(x.data[0])], "index of getitem"),
    (lambda x: x[1:], "getitem .* axis of samples"),
    (lambda x: x if len(x) > 4 else x * 2.0, "another path"),
    (lambda x: ta.Tensor(np.sort(x.data)), "the code of Autoencoder .* outside the tape"),
    (lambda x: ops.pixel_shuffle(x.reshape(-1, 1, 1, 4), factor=(1, 2)), "cannot be exported"),
    (lambda x: ops.cumsum(x, axis=1), "cumsum cannot be exported .* no rule"),
])  # fmt: skip
def test_what_has_no_equivalent_is_refused_before_writing(function: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words):
        ta.export(through(function), tmp_path / "x.onnx", "encoder", input_shape=(4,))
    assert not [*tmp_path.iterdir()]


class Shifted(Autoencoder):
    """A user's model whose codes are of x minus an offset."""

    def example_inputs(self, x: np.ndarray, generator: np.random.Generator) -> dict[str, np.ndarray]:
        return {"x": x, "offset": generator.standard_normal((len(x), 1))}

    def named_outputs(self, part: str, inputs: Any) -> dict[str, Any]:
        return super().named_outputs(part, {"x": inputs["x"] - inputs["offset"]})


def test_a_model_of_ones_own_says_what_it_needs(tmp_path: Path) -> None:
    x, offset = np.ones((7, 4), np.float32), np.arange(7, dtype=np.float32)[:, None]
    path = ta.export(Shifted(nn.Tanh(), nn.Identity()), tmp_path / "x.onnx", "encoder", input_shape=(4,))
    check(run(path, x=x, offset=offset), {"code": np.tanh(x - offset)})


def test_the_steps_to_predict_belong_to_a_sequence(tmp_path: Path) -> None:
    model = ta.models.LSTMAutoencoder(2, 3, mode="predict", future_steps=3).eval()
    path = ta.export(model, tmp_path / "x.onnx", input_shape=(8, 2))
    x, lengths = np.ones((4, 5, 2), np.float32), np.array([1, 2, 3, 5], np.int32)
    check(run(path, x=x, lengths=lengths), {"prediction": model.predict(x, lengths=lengths)})


@pytest.mark.parametrize("name", ["lstm", "cvae", "memory"])
def test_a_model_on_a_gpu_can_be_exported(name: str, tmp_path: Path) -> None:
    strict_device()
    options: dict[str, Any] = {"lstm": STEPS, "cvae": SMALL | {"classes": 3}, "memory": {}}[name]
    model = build(name, options, np.random.default_rng(1)).eval()
    inputs, wanted = case(model, np.atleast_1d(options.get("input_shape", 784)).tolist(), "model", 7)
    check(run(ta.export(model.to("strict"), tmp_path / "x.onnx"), **inputs), wanted)


def test_the_command_writes_a_file_that_says_what_it_is(tinyae: Any, refused: Any, monkeypatch: Any) -> None:
    tinyae("train basic --data optdigits --epochs 1 --code-size 3 --out run")
    assert tinyae("export run --part encoder").startswith("run/encoder.onnx: ")
    tinyae("export run --onnx there/whole.onnx")
    model, data = ta.load("run"), ta.data.load("optdigits")
    x = data.test.x[:5]
    check(run("run/encoder.onnx", x=x), {"code": model.encode(x)})
    check(run("there/whole.onnx", x=x), {"reconstruction": model.reconstruct(x)})
    file = onnx.load("run/encoder.onnx")
    told = {entry.key: json.loads(entry.value) for entry in file.metadata_props}
    assert (file.producer_name, told["tinyae.part"], told["tinyae.run"]["unit"]) == ("tinyae", "encoder", data.unit)
    assert "encoder.1.weight" in {constant.name for constant in file.graph.initializer}
    with pytest.raises(ValueError, match="input_shape"):
        ta.export(through(ops.exp), "no.onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert 'pip install "tinyae[onnx]"' in refused("export run")
