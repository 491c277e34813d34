"""Modules: how parts are found, saved, loaded, moved, frozen, copied, shown and summarized."""

from __future__ import annotations

import copy
import pickle
import re
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from tinyae import nn
from tinyae.autodiff import Tensor
from tinyae.testing import strict_device
from tinyae.testing.strict import StrictArray


class Net(nn.Module):
    """Parts in every kind of container, one shared, one buffer, and things that are no parts."""

    def __init__(self, seed: int = 0) -> None:
        g = np.random.default_rng(seed)
        self.name = "net"
        self.second = nn.Dense(3, 2, generator=g)
        self.first = nn.Parameter(g.normal(size=(2, 2)))
        self.stack = [nn.Dense(2, 2, generator=g), (nn.ReLU(), nn.Parameter([1.0, 2.0]))]
        self.heads = OrderedDict(zeta=nn.Dense(2, 1, generator=g, bias=False), alpha=self.second)
        self.mean = Tensor(np.arange(3.0))
        self.array = np.zeros(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.heads["zeta"](self.stack[0](self.second(x)) @ self.first)


NAMES = ["second.weight", "second.bias", "first", "stack.0.weight", "stack.0.bias", "stack.1.1", "heads.zeta.weight"]


def test_parameters_are_found_in_order_of_assignment_and_shared_ones_once() -> None:
    net = Net()
    assert [name for name, _ in net.named_parameters()] == NAMES
    assert [id(p) for p in net.parameters()] == [id(p) for _, p in net.named_parameters()]
    assert [name for name, _ in net.named_buffers()] == ["mean"]
    assert [name for name, _ in net.named_modules()] == ["", "second", "stack.0", "stack.1.0", "heads.zeta"]
    assert net.parameter_count() == 3 * 2 + 2 + 4 + 4 + 2 + 2 + 2


def test_dtype_and_device_are_those_of_the_parameters() -> None:
    for module, dtype in ((nn.Dense(2, 2, dtype="float64"), "float64"), (Net(), "float32"), (nn.Tanh(), "float32")):
        assert (module.dtype, module.device) == (np.dtype(dtype), "cpu")


def test_replaced_and_deleted_parts_leave_no_trace() -> None:
    net = Net()
    net.second = nn.Dense(3, 4)
    assert dict(net.named_parameters())["second.weight"].shape == (3, 4)
    assert "heads.alpha.weight" in dict(net.named_parameters())
    del net.first
    assert "first" not in dict(net.named_parameters())


def test_modules_that_know_each_other_end_the_walk() -> None:
    parent, child = nn.Sequential(nn.Dense(2, 2)), nn.Tanh()
    child.parent = parent  # type: ignore[attr-defined]
    parent.child = child  # type: ignore[attr-defined]
    assert [name for name, _ in parent.named_parameters()] == ["0.weight", "0.bias"]
    assert "Sequential(...)" in repr(parent)


def test_plain_leaf_tensor_as_attribute_is_refused_and_a_stored_result_ignored() -> None:
    net = Net()
    net.kept = net.first * 2.0  # type: ignore[attr-defined]
    assert list(net.state_dict()) == [*NAMES[:6], "heads.zeta.weight", "mean"]
    net.weight = Tensor([1.0], requires_grad=True)  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match=r"weight is a Tensor with requires_grad=True.*nn\.Parameter"):
        net.parameters()


def test_names_that_collide_are_refused() -> None:
    net = nn.Module()
    net.parts = {"a": {"b": nn.Parameter([1.0])}, "a.b": nn.Parameter([2.0])}  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"'parts\.a\.b'.*distinct names"):
        net.state_dict()


def test_state_dict_round_trip_copies_in_both_directions() -> None:
    source, target = Net(seed=1), Net(seed=2)
    state = source.state_dict()
    arrays = [p.data for p in target.parameters()]
    assert list(state) == [*NAMES, "mean"]
    assert all(type(value) is np.ndarray for value in state.values())
    source.first.data[...] = 99.0
    assert not np.any(state["first"] == 99.0)
    state["mean"] = np.array([5.0, 6.0, 7.0])
    target.load_state_dict(state)
    state["first"][...] = -1.0
    for name, parameter in target.named_parameters():
        if name != "first":
            np.testing.assert_array_equal(parameter.numpy(), dict(source.named_parameters())[name].numpy())
    assert not np.any(target.first.numpy() == -1.0)
    np.testing.assert_array_equal(target.mean.numpy(), [5.0, 6.0, 7.0])
    assert all(a is p.data for a, p in zip(arrays, target.parameters(), strict=True))


def test_loading_writes_through_views_casts_and_bumps_the_version() -> None:
    layer = nn.Dense(3, 2)
    flat = np.zeros(8, np.float32)
    layer.weight.data, layer.bias.data = flat[:6].reshape(3, 2), flat[6:]  # type: ignore[union-attr]
    loss = layer(np.ones((2, 3), np.float32)).sum()
    loss = (layer.weight * layer.weight).sum() + loss
    layer.load_state_dict({"weight": np.arange(6.0).reshape(3, 2), "bias": Tensor([7, 8])})
    np.testing.assert_array_equal(flat, [0, 1, 2, 3, 4, 5, 7, 8])
    assert layer.weight.dtype == np.float32
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_load_state_dict_lists_everything_wrong_and_changes_nothing() -> None:
    net = Net()
    before = net.state_dict()
    state = {name: value + 1.0 for name, value in before.items()}
    del state["first"], state["stack.0.bias"]
    state["second.weight"] = np.zeros((2, 3))
    state["heads.zeta.weight"] = np.array([["x"], ["y"]])
    state["extra"] = np.zeros(5)
    with pytest.raises(ValueError, match="nothing was loaded") as caught:
        net.load_state_dict(state)
    faults = ["missing first (2, 2)", "missing stack.0.bias (2,)", "unexpected extra (5,)"]
    faults += ["second.weight has shape (2, 3), expected (3, 2)", "heads.zeta.weight holds <U1, expected numbers"]
    for part in ("Net", *faults):
        assert part in str(caught.value)
    np.testing.assert_equal(net.state_dict(), before)


def modes(module: nn.Module) -> list[bool]:
    return [part.training for _, part in module.named_modules()]


def test_train_and_eval_reach_every_module() -> None:
    net = Net()
    assert (modes(net), modes(net.eval()), modes(net.train())) == ([True] * 5, [False] * 5, [True] * 5)
    assert net.eval() is net.train() is net
    assert nn.Module.training  # the class default is untouched


def test_evaluating_restores_each_mode_after_an_error() -> None:
    net = Net()
    net.second.eval()

    def fail() -> None:
        with nn.evaluating(net):
            assert not any(modes(net))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert modes(net) == [True, False, True, True, True]


def test_freeze_and_unfreeze(rng: np.random.Generator) -> None:
    model = nn.Sequential(nn.Dense(3, 2, generator=rng), nn.Dense(2, 1, generator=rng))
    x = rng.normal(size=(4, 3)).astype(np.float32)
    model(x).sum().backward()
    assert model[0].freeze() is model[0]
    assert [p.requires_grad for p in model.parameters()] == [False, False, True, True]
    assert model[0].weight.grad is None
    model.zero_grad()
    model(x).sum().backward()
    assert [p.grad is None for p in model.parameters()] == [True, True, False, False]
    node = model[1].weight.node
    model.unfreeze()
    assert model[1].weight.node is node  # one that was not frozen keeps its place in recorded graphs
    model.zero_grad()
    model(x).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_what_is_frozen_trains_in_evaluation_mode(rng: np.random.Generator) -> None:
    """With everything inside it; a layer without parameters follows the nearest module around it that has some."""
    inner = nn.Sequential(nn.Dense(3, 2, generator=rng), nn.BatchNorm(2), nn.Sequential(nn.ReLU(), nn.Dropout(0.5)))
    mixed = nn.Sequential(nn.Dense(2, 2, generator=rng), nn.Dropout(0.5), nn.Dense(2, 2, generator=rng))
    model = nn.Sequential(inner, nn.Dropout(0.5), mixed)
    inner.freeze()
    mixed[0].freeze()
    model.train()
    evaluated = {name for name, module in model.named_modules() if not module.training}
    assert evaluated == {name for name, _ in model.named_modules() if name[:1] == "0"} | {"2.0"}
    assert not inner.train().training
    inner.unfreeze()
    assert all(modes(model.train()[0]))
    assert not any(modes(model.freeze().train()))
    assert nn.Dropout(0.5).freeze().train().training  # without parameters, and nothing around it


def test_zero_grad_starts_afresh(rng: np.random.Generator) -> None:
    layer = nn.Dense(3, 2, generator=rng)
    x = np.ones((4, 3), np.float32)
    for expected in (4.0, 8.0):
        layer(x).sum().backward()
        np.testing.assert_array_equal(layer.bias.grad.numpy(), [expected] * 2)
    layer.zero_grad()
    assert layer.bias.grad is None
    layer(x).sum().backward()
    np.testing.assert_array_equal(layer.bias.grad.numpy(), [4.0] * 2)


def test_to_moves_parameters_and_buffers_there_and_back(rng: np.random.Generator) -> None:
    device, encoder = strict_device(), nn.Dense(3, 2, generator=rng)
    model = nn.Sequential(encoder, nn.BatchNorm(2), nn.TiedDense(encoder))
    before = model.state_dict()
    model(rng.normal(size=(4, 3)).astype(np.float32)).sum().backward()
    parts = [*model.parameters(), *(b for _, b in model.named_buffers())]
    assert model.to("strict") is model
    assert [id(p) for p in parts[:5]] == [id(p) for p in model.parameters()]
    assert all(type(p.data) is StrictArray and p.device == "strict" and p.grad is None for p in parts)
    assert all(type(value) is np.ndarray for value in model.state_dict().values())
    arrays = [p.data for p in parts]
    model.load_state_dict(before)
    assert all(a is p.data for a, p in zip(arrays, parts, strict=True))
    with device.policy() as account:
        model.to("cpu")
    assert account.downloads == len(parts)  # nothing but to_host may bring an array back
    assert all(type(p.data) is np.ndarray for p in parts)
    np.testing.assert_equal(model.state_dict(), before)
    assert all(p.requires_grad for p in model.parameters())


def test_to_the_same_device_moves_nothing(rng: np.random.Generator) -> None:
    model = nn.Sequential(nn.Dense(3, 2, generator=rng), nn.BatchNorm(2))
    model(np.ones((4, 3), np.float32)).sum().backward()
    arrays = [p.data for p in model.parameters()]
    model.to("cpu")
    assert all(a is p.data for a, p in zip(arrays, model.parameters(), strict=True))
    assert model[0].weight.grad is not None
    with pytest.raises(ValueError, match="unknown device 'tpu'"):
        model.to("tpu")


def test_to_another_dtype_converts_parameters_and_buffers(rng: np.random.Generator) -> None:
    model = nn.Sequential(nn.Dense(3, 2, generator=rng), nn.BatchNorm(2))
    before, used = model.state_dict(), model(np.ones((4, 3), np.float32)).sum()
    assert model.to(dtype="float64") is model
    after = model.state_dict()
    assert {value.dtype for value in after.values()} == {np.dtype("float64")}
    np.testing.assert_array_equal(after["0.weight"], before["0.weight"])
    with pytest.raises(RuntimeError, match="changed in place"):
        used.backward()
    assert model(np.ones((4, 3))).dtype == np.float64
    with pytest.raises(TypeError, match="floating-point numbers, got dtype int32"):
        model.to(dtype="int32")


def _pickled(module: nn.Module) -> nn.Module:
    return pickle.loads(pickle.dumps(module))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, _pickled])
def test_copies_are_independent_and_keep_sharing_and_frozen_state(duplicate: Any, rng: np.random.Generator) -> None:
    encoder = nn.Dense(3, 2, generator=rng)
    model = nn.Sequential(encoder, nn.BatchNorm(2), nn.TiedDense(encoder))
    encoder.bias.node = None
    twin = duplicate(model)
    assert twin[2].weight is twin[0].weight
    assert [p.requires_grad for p in twin.parameters()] == [p.requires_grad for p in model.parameters()]
    x = rng.normal(size=(4, 3)).astype(np.float32)
    np.testing.assert_array_equal(twin(x).numpy(), model(x).numpy())
    twin(x).sum().backward()
    assert twin[0].weight.grad is not None
    assert model[0].weight.grad is None
    twin[0].weight.data[...] = 0.0
    assert np.any(model[0].weight.numpy() != 0.0)


def test_parameter_owns_its_memory_and_is_floating_point() -> None:
    array = np.ones((2, 3), np.float32).T
    parameter = nn.Parameter(array)
    array[...] = 5.0
    np.testing.assert_array_equal(parameter.numpy(), np.ones((3, 2)))
    assert parameter.data.flags["C_CONTIGUOUS"]
    assert isinstance(parameter, Tensor)
    assert parameter.requires_grad
    assert not isinstance(parameter * 2.0, nn.Parameter)
    assert nn.Parameter([1.0]).dtype == np.float32
    assert nn.Parameter([1], dtype=np.float64).dtype == np.float64
    assert repr(parameter) == "Parameter(shape=(3, 2), dtype=float32)"
    parameter.node = None
    assert repr(parameter).endswith("frozen)")
    with pytest.raises(TypeError, match="int64"):
        nn.Parameter([1, 2])
    with pytest.raises(AttributeError):
        parameter.note = 1  # type: ignore[attr-defined]


def test_repr_nests_and_names_the_parts() -> None:
    lines = repr(Net()).splitlines()
    assert lines[0] == "Net("
    assert "  second: Dense(3, 2)" in lines
    assert "  heads.zeta: Dense(2, 1, bias=False)" in lines
    nested = repr(nn.Sequential(nn.Sequential(nn.Softmax(axis=1)), nn.Dropout(0.25)))
    assert nested == "Sequential(\n  0: Sequential(\n    0: Softmax(axis=1)\n  )\n  1: Dropout(0.25)\n)"


def test_a_repr_is_the_call_that_made_the_layer_without_its_defaults() -> None:
    class Mine(nn.Module):
        def __init__(self, size: int, *more: int, scale: float = 1.0, gain: bool = False, other: Any = None) -> None:
            self.size, self.more, self.scale, self.other = size, more, scale, other
            self.gain = nn.Parameter([1.0]) if gain else None

    assert repr(Mine(2)) == "Mine(2)"
    assert repr(Mine(2, 3, 4, scale=0.5, gain=True, other=np.zeros(2))) == "Mine(2, 3, 4, scale=0.5, gain=True)"
    for layer, text in [
        (nn.Dense(3, 2, activation="relu", bias=False), "Dense(3, 2, activation='relu', bias=False)"),
        (nn.TopK(2), "TopK(2)"),
        (nn.Reshape((2, -1)), "Reshape(2, -1)"),
        (nn.BatchNorm(3, momentum=0.3), "BatchNorm(3, momentum=0.3)"),
        (nn.LSTM(2, 3, 2, True, 0.5, peepholes=True), "LSTM(2, 3, num_layers=2, bidirectional=True, dropout=0.5)"),
        (nn.LSTMLayer(2, 3, peepholes=True), "LSTMLayer(2, 3, peepholes=True)"),
    ]:
        assert repr(layer) == text


def test_call_wraps_floating_point_arrays_and_leaves_the_rest_alone(rng: np.random.Generator) -> None:
    class Record(nn.Module):
        def forward(self, *inputs: Any, **options: Any) -> Any:
            return inputs, options

    x, labels = rng.normal(size=3), np.arange(3)
    leaf = Tensor([1.0], requires_grad=True)
    others = (labels, leaf, 2.0, None)
    (wrapped, *found), options = Record()(x, *others, lengths=labels, noise=x)
    assert (type(wrapped), wrapped.requires_grad) == (Tensor, False)
    assert wrapped.data is x
    assert all(a is b for a, b in zip([*found, options["lengths"]], [*others, labels], strict=True))
    assert isinstance(options["noise"], Tensor)


def test_module_without_forward_says_so() -> None:
    with pytest.raises(NotImplementedError, match=r"Module has no forward: define forward\(self, x\)"):
        nn.Module()(1.0)


def test_sequential_is_a_sequence_that_shares_its_slices(rng: np.random.Generator) -> None:
    layers = [nn.Dense(4, 3, generator=rng), nn.Tanh(), nn.Dense(3, 2, generator=rng)]
    model = nn.Sequential(*layers)
    assert (len(model), [*model], model[-1]) == (3, layers, layers[2])
    assert (type(model[:2]), [*model[:2]]) == (nn.Sequential, layers[:2])
    assert list(model.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    x = rng.normal(size=(5, 4)).astype(np.float32)
    np.testing.assert_array_equal(model(x).numpy(), model[2:](model[:2](x)).numpy())
    assert nn.Sequential()(x).data is x
    with pytest.raises(IndexError):
        model[3]


def test_sequential_subclass_keeps_its_other_parts(rng: np.random.Generator) -> None:
    model = nn.Sequential(nn.Dense(2, 2, generator=rng))
    model.scale = nn.Parameter([1.0])  # type: ignore[attr-defined]
    assert list(model.state_dict()) == ["0.weight", "0.bias", "scale"]


@pytest.mark.parametrize("wrong", [[nn.Tanh()], np.tanh, nn.Tanh])
def test_sequential_refuses_what_is_no_module(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"argument 1 must be a Module.*Sequential\(\*list_of_layers\)"):
        nn.Sequential(nn.ReLU(), wrong)


def test_tied_names_are_stable_whichever_layer_comes_first(rng: np.random.Generator) -> None:
    encoder = nn.Dense(4, 3, generator=rng)
    decoder = nn.TiedDense(encoder)
    assert list(nn.Sequential(encoder, decoder).state_dict()) == ["0.weight", "0.bias", "1.bias"]
    assert list(nn.Sequential(decoder, encoder).state_dict()) == ["0.weight", "0.bias", "1.bias"]
    assert {n: v.shape for n, v in decoder.state_dict().items()} == {"weight": (4, 3), "bias": (4,)}
    assert decoder.parameters()[0] is encoder.weight
    encoder.weight = nn.Parameter(np.zeros((4, 3), np.float32))
    assert decoder.weight is encoder.weight
    decoder.freeze()
    assert [p.requires_grad for p in encoder.parameters()] == [False, True]


def _row(table: str, name: str) -> list[str]:
    """The cells of the line of one layer."""
    line = next(line for line in table.splitlines() if line.split()[:1] == [name])
    return re.split(r"\s{2,}", line.strip())


def test_basic_autoencoder_has_50992_parameters(rng: np.random.Generator) -> None:
    encoder, decoder = nn.Dense(784, 32, generator=rng), nn.Dense(32, 784, generator=rng)
    model = nn.Sequential(encoder, decoder)
    table = model.summary((784,))
    assert model.parameter_count() == 784 * 32 + 32 + 32 * 784 + 784 == 50992
    assert _row(table, "0") == ["0", "Dense", "(N, 32)", "25,120"]
    assert _row(table, "1") == ["1", "Dense", "(N, 784)", "25,872"]
    assert "50,992 parameters, 50,992 trainable" in table
    assert "input (N, 784)" in table
    assert model.summary(784) == table


def test_shared_weight_is_counted_once_and_frozen_ones_apart(rng: np.random.Generator) -> None:
    encoder = nn.Dense(784, 32, generator=rng)
    model = nn.Sequential(encoder, nn.BatchNorm(32), nn.TiedDense(encoder))
    encoder.freeze()
    table = model.summary(784)
    assert _row(table, "2") == ["2", "TiedDense", "(N, 784)", "784"]
    total = 784 * 32 + 32 + 64 + 784
    assert f"{total:,} parameters, {64 + 784} trainable, 64 numbers in buffers" in table


def test_nested_modules_images_and_modules_that_are_not_called(rng: np.random.Generator) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            self.gain = nn.Parameter(np.ones(3, np.float32))
            self.body = nn.Sequential(nn.Flatten(), nn.Dense(12, 3, generator=rng))
            self.spare = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x) * self.gain

    table = Net().summary((2, 3, 2))
    assert "input (N, 2, 3, 2)" in table
    assert _row(table, "(model)") == ["(model)", "Net", "(N, 3)", "3"]
    assert _row(table, "body.0") == ["body.0", "Flatten", "(N, 12)", "0"]
    assert _row(table, "body.1") == ["body.1", "Dense", "(N, 3)", "39"]
    assert _row(table, "spare") == ["spare", "ReLU", "not called", "0"]


def test_summary_leaves_modes_statistics_and_random_stream_alone(rng: np.random.Generator) -> None:
    generator = np.random.default_rng(3)
    model = nn.Sequential(nn.Dense(4, 3, generator=rng), nn.BatchNorm(3), nn.Dropout(0.5, generator))
    model[1].eval()
    before, state = model.state_dict(), generator.bit_generator.state
    model.summary(4)
    assert modes(model) == [True, True, False, True]
    assert generator.bit_generator.state == state
    np.testing.assert_equal(model.state_dict(), before)
    with pytest.raises(ValueError, match=r"Dense\(4, 3\).*must be 4, got shape \(2, 5\)"):
        model.summary(5)
    assert modes(model) == [True, True, False, True]


def test_summary_of_float64_model_runs_in_float64(rng: np.random.Generator) -> None:
    seen = []
    model = nn.Dense(4, 3, generator=rng, dtype=np.float64)
    with nn.observe_calls(lambda module, inputs, output: seen.append((inputs[0].dtype, output.requires_grad))):
        model.summary(4)
    assert seen == [(np.float64, False)]


def test_observers_see_inner_calls_first_and_stop_with_the_block(rng: np.random.Generator) -> None:
    model = nn.Sequential(nn.Tanh(), nn.Sequential(nn.ReLU()))
    x = rng.normal(size=(2, 3))
    calls: list[tuple[str, tuple, np.ndarray]] = []
    with nn.observe_calls(lambda module, inputs, output: calls.append((type(module).__name__, inputs, output.numpy()))):
        model(x)
    model(x)
    assert [name for name, _, _ in calls] == ["Tanh", "ReLU", "Sequential", "Sequential"]
    assert len(calls[0][1]) == 1
    np.testing.assert_array_equal(calls[0][1][0].numpy(), x)
    np.testing.assert_allclose(calls[0][2], np.tanh(x))
    np.testing.assert_allclose(calls[1][2], np.maximum(np.tanh(x), 0))


def test_observer_is_removed_by_an_error_and_private_to_its_thread(rng: np.random.Generator) -> None:
    def fail(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        raise RuntimeError("seen")

    model, x = nn.Tanh(), rng.normal(size=3)
    with nn.observe_calls(fail), ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(model, x).result()
        with pytest.raises(RuntimeError, match="seen"):
            model(x)
    with pytest.raises(RuntimeError, match="seen"), nn.observe_calls(fail):
        model(x)
    model(x)


def test_a_module_of_several_outputs_lists_their_shapes(rng: np.random.Generator) -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.Dense(4, 3, generator=rng)

        def forward(self, x: Tensor) -> Any:
            return self.layer(x), [x, x.sum(axis=1), "a name"]

    class Wide(nn.Module):
        def __init__(self) -> None:
            self.both = Both()

        def forward(self, x: Tensor) -> Tensor:
            return self.both(x)[0]

    assert "Both   (N, 3), (N, 4), (N,), str" in Wide().summary(4)
