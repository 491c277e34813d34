"""The options of `train`, which nobody lists: they are what the builders, optimizers and schedules declare."""

from __future__ import annotations

import argparse
import inspect
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest

from tinyae import load, nn
from tinyae.autodiff import Tensor
from tinyae.backend import as_generator
from tinyae.cli.arguments import arguments_section, help_of, settings_of
from tinyae.cli.main import COMMANDS, main, parser
from tinyae.cli.train import _FROM_DATA, make_optimizer, make_schedule, settle_training
from tinyae.losses import Loss
from tinyae.models import MODELS, Autoencoder, Batch, ModelEntry, basic_autoencoder, variational_autoencoder
from tinyae.models.autoencoder import remembered
from tinyae.models.settings import passes_on, split
from tinyae.training import Run

every_model = pytest.mark.parametrize("name", MODELS)


# A new model is its file and a row of the registry: the rest follows.

SHAPES = ("round", "square")


class Toy(Autoencoder):
    """An autoencoder with a setting of its own.

    Args:
        encoder, decoder, settings: as for `Autoencoder`.
        stretch: S, factor of the loss, above 0. It changes no minimum.
        shape: what it looks like.
    """

    @passes_on(Autoencoder)
    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        *,
        stretch: float = 2.0,
        shape: Annotated[str, SHAPES] = "round",
        **settings: Any,
    ) -> None:
        super().__init__(encoder, decoder, **settings)
        if not stretch > 0:
            raise ValueError(f"stretch must be above 0, got {stretch:g}.")
        self.stretch, self.shape = stretch, shape

    def objective(self, batch: Batch, *, generator: Any = None) -> Loss:
        """The loss, stretched."""
        loss = super().objective(batch, generator=generator)
        return Loss({name: self.stretch * term for name, term in loss.terms.items()}, loss.unit)


@remembered("toy")
@passes_on(Toy)
def toy_autoencoder(
    input_shape: Any, sizes: Sequence[int] = (6,), *, deep: bool = False, generator: Any = None, **settings: Any
) -> Toy:
    """A toy.

    Args:
        input_shape: shape of one sample.
        sizes: widths of layers.
        deep: another layer.
        generator: for the weights.
    """
    rng, d = as_generator(generator), math.prod(input_shape)
    encoder = nn.Sequential(nn.Flatten(), nn.Dense(d, 6, generator=rng))
    return Toy(encoder, nn.Sequential(nn.Dense(6, d, generator=rng), nn.Reshape(*input_shape)), **settings)


@pytest.fixture
def toy(monkeypatch) -> None:
    """The toy in the registry."""
    monkeypatch.setitem(MODELS, "toy", ModelEntry("toy", "a toy", toy_autoencoder, data="optdigits", epochs=2, lr=5e-3))


def test_a_registered_model_has_its_help(toy, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as stopped:
        main(["train", "toy", "--help"])
    assert stopped.value.code == 0
    told = capsys.readouterr().out
    for line in (
        "--stretch S           factor of the loss, above 0 (default: 2)",
        "what it looks like (default: round)",
        "--shape {round,square}",
        "--deep                another layer",
        "--sizes N,N,...",
        "--loss {bce,squared_error,half_squared_error,absolute_error,huber}",
        "passes over the training samples; with LBFGS, maximum iterations (default: 2)",
        "learning rate, above 0 (default: 0.005)",
        "(default: optdigits)",
    ):
        assert line in told
    assert not any(flag in told for flag in ("--generator", "--input-shape", "--sample", "--encoder"))


def test_a_registered_model_runs(toy, tinyae, refused, tmp_path):
    tinyae("train toy --stretch 3 --shape square --loss squared_error --out run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    given = {"stretch": 3.0, "shape": "square", "loss": "squared_error", "deep": False, "sizes": [6]}
    assert config["arguments"] == given | {"input_shape": [8, 8, 1], "sample": "image"}
    model = load("run")
    assert (model.stretch, model.shape, model.reconstruction.name) == (3.0, "square", "squared_error")
    tinyae("evaluate run")
    assert refused("train toy --stretch 0 --out no") == "tinyae: error: --stretch must be above 0, got 0."


@every_model
def test_every_option_says_what_it_sets(name):
    for setting in settings_of(MODELS[name].builder).values():
        if setting.name not in _FROM_DATA:
            assert help_of(setting), f"{name}: write what {setting.name} is into the Args: of what declares it"
            assert setting.default is not inspect.Parameter.empty


@every_model
def test_a_setting_is_declared_again_for_another_default_or_meaning_only(name):
    builder = MODELS[name].builder
    code, texts = inspect.unwrap(builder).__code__, arguments_section(builder.__doc__)
    own = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    for target in builder.__passes_on__:
        for parameter in inspect.signature(target).parameters.values():
            if parameter.kind is parameter.KEYWORD_ONLY and parameter.name in own and parameter.name not in _FROM_DATA:
                another = inspect.signature(builder).parameters[parameter.name].default != parameter.default
                assert another or parameter.name in texts, f"{name}: {parameter.name} is declared twice"


def test_a_builder_shows_the_settings_that_it_passes_on():
    shown = inspect.signature(variational_autoencoder).parameters
    assert {"beta", "warmup", "free_bits", "likelihood", "activation", "normalization", "sample"} <= shown.keys()
    assert "settings" not in shown
    assert not {"outputs", "extra", "loss"} & shown.keys()
    assert shown["beta"].default == 1.0
    with pytest.raises(TypeError, match="betta"):
        variational_autoencoder(6, (4,), 2, betta=1.0)
    with pytest.raises(TypeError, match="loss"):
        variational_autoencoder(6, (4,), 2, loss="huber")
    with pytest.raises(TypeError, match="code_activation"):
        basic_autoencoder(6, 2, code_activation="tanh")


@pytest.mark.parametrize(
    "text", ["9" * 5000, "", " ", "0x10", "1e", "--", "1,2,3,x", "nan", "\N{SUPERSCRIPT TWO}", "9" * 19]
)
def test_every_numeric_option_answers_a_strange_value_in_a_few_words(text):
    parsers, readers = [parser()], set()
    for one in parsers:
        for action in one.filled()._actions:
            if isinstance(action, argparse._SubParsersAction):
                parsers += action.choices.values()
            elif callable(action.type) and action.type not in (str, Path):
                readers.add(action.type)
    assert {"positive_int", "whole_number", "finite_number", "height_width", "int_list"} <= {
        r.__name__ for r in readers
    }
    for reader in readers:
        told, found = "", None
        try:
            found = reader(text)
        except argparse.ArgumentTypeError as error:
            told = str(error)
        if told:
            assert re.fullmatch(r"must be .*, got '.*'.*", told)
            assert len(told) < 120
        else:
            assert (reader.__name__, found) in (("finite_number", float("9" * 19)), ("int_list", []))


def test_split_and_the_section_of_arguments():
    def function(*, a: int = 1, b: int = 2) -> None:
        pass

    assert split({"b": 3, "c": 4}, function) == ({"b": 3}, {"c": 4})
    text = "What.\n\n    Args:\n        a, b: one\n            and two.\n        c: as for `x`.\n\n    Returns:\n        d: e.\n"
    assert arguments_section(text) == {"a": "one and two.", "b": "one and two.", "c": "as for `x`."}
    assert arguments_section("No section.") == {}


def test_every_command_is_a_function_with_words():
    for command in COMMANDS:
        for setting in settings_of(command).values():
            assert setting.text, f"{command.__name__}: {setting.name}"


def settled(*words: str) -> Any:
    options = parser().parse_args(["train", "basic", *words])
    settle_training(options, MODELS["basic"])
    return options


def rates(*words: str) -> list[float]:
    options = settled(*words, "--lr", "1")
    optimizer = make_optimizer(vars(options), [Tensor(np.ones(2), requires_grad=True)])
    schedule, found = make_schedule(vars(options), optimizer, options.epochs), []
    for _ in range(options.epochs):
        found.append(optimizer.lr)
        if schedule is not None:
            schedule.step()
    return found


@pytest.mark.parametrize(("words", "expected"), [
    ("--epochs 3", [1, 1, 1]),
    ("--epochs 4 --schedule cosine", [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]),
    ("--epochs 2 --schedule cosine --final-lr 0.5", [1, 0.75]),
    ("--epochs 5 --schedule step --step-size 2", [1, 1, 0.1, 0.1, 0.01]),
    ("--epochs 3 --schedule step --step-size 1 --gamma 0.5", [1, 0.5, 0.25]),
    ("--epochs 5 --schedule warmup --warmup-steps 4", [0.25, 0.5, 0.75, 1, 1]),
    ("--epochs 5 --schedule cosine --warmup-steps 2", [0.5, 1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]),
    ("--epochs 4 --schedule step --step-size 1 --gamma 0.5 --warmup-steps 2", [0.5, 1, 0.5, 0.25]),
])  # fmt: skip
def test_the_learning_rate_of_each_epoch(words, expected):
    np.testing.assert_allclose(rates(*words.split()), expected, rtol=1e-12)


def test_momentum_and_nesterov_reach_the_optimizer(tmp_path, tinyae):
    method = "--optimizer sgd --lr 0.1 --momentum 0.9 --nesterov"
    optimizer = make_optimizer(vars(settled(*method.split())), [Tensor(np.ones(2), requires_grad=True)])
    assert (optimizer.lr, optimizer.momentum, optimizer.nesterov) == (0.1, 0.9, True)
    tinyae("train basic --data optdigits --epochs 1 --code-size 4 --schedule step --step-size 1 --out run", method)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert {"momentum": 0.9, "nesterov": True, "schedule": "step", "step_size": 1}.items() <= config.items()
    assert config["gamma"] == 0.1, "defaults too, so that a run keeps them when they change"


def test_normalization_stands_between_the_sums_and_the_activation(rng):
    x = rng.standard_normal((7, 6)).astype("float32")
    for normalization, axis in (("layer", 1), ("batch", 0)):
        model = MODELS["deep"].builder(6, (5, 2), normalization=normalization, loss="squared_error", generator=rng)
        dense, norm, relu, code = model.encoder
        assert [type(layer) for layer in (dense, norm, relu, code)] == [
            nn.Dense, nn.BatchNorm if axis == 0 else nn.LayerNorm, nn.ReLU, nn.Dense,
        ]  # fmt: skip
        z = x @ dense.weight.numpy()
        assert dense.bias is None, "the shift of the normalization takes its place"
        z = (z - z.mean(axis, keepdims=True)) / np.sqrt(z.var(axis, keepdims=True) + 1e-5)
        codes = np.maximum(z, 0) @ code.weight.numpy() + code.bias.numpy()
        np.testing.assert_allclose(model.encode(Tensor(x)).data, codes, rtol=1e-4, atol=1e-5)


@every_model
def test_weights_without_normalization_are_what_they_were(name):
    shape = (4, 4, 1) if name != "lstm" else (4, 2)
    builder = MODELS[name].builder
    if "normalization" not in inspect.signature(builder).parameters:
        with pytest.raises((TypeError, ValueError)):
            builder(shape, normalization="batch")
        return
    deeper = {"hidden_sizes": (5,)} if name == "denoising" else {}
    plain, normed = (
        builder(shape, **deeper, normalization=n, generator=np.random.default_rng(0)) for n in ("none", "batch")
    )
    before = [p.numpy() for p in plain.parameters()]
    after = [p.numpy() for m in (normed.encoder, normed.decoder) for p in m.parameters()]
    kept = [p for p in after if any(p.shape == q.shape and np.array_equal(p, q) for q in before)]
    assert len(kept) >= len(before), "the same draws, with gains and shifts beside them"
    assert len(after) > len(before)


def test_average_pooling_halves_by_the_mean(rng):
    model = MODELS["conv"].builder((4, 4, 1), form="keras", channels=(2,), pooling="average", generator=rng)
    assert isinstance(model.encoder[1], nn.AvgPool2d)
    assert model.code_shape == (2, 2, 2)
    x = rng.random((3, 4, 4, 1)).astype("float32")
    maps = model.encoder[0](Tensor(x)).data
    np.testing.assert_allclose(model.encode_maps(x), maps.reshape(3, 2, 2, 2, 2, 2).mean((2, 4)), rtol=1e-5)


@pytest.mark.parametrize("words", [
    pytest.param("conv --form keras --channels 2,2 --pooling average --normalization batch", marks=pytest.mark.thorough),
    pytest.param("conv-vae --channels 2,2 --latent-size 2 --normalization layer", marks=pytest.mark.thorough),
    "vae --sizes 8 --latent-size 2 --normalization batch",
    "memory --count 20 --normalization layer",
])  # fmt: skip
def test_a_normalized_model_is_trained_and_found_again(words, tinyae):
    tinyae("train", words, "--data optdigits --epochs 1 --out run")
    model = load("run")
    assert any(isinstance(part, (nn.BatchNorm, nn.LayerNorm)) for _, part in model.named_modules())


@pytest.mark.thorough
def test_a_short_last_batch_can_be_left_out(tinyae):
    """3,823 samples are 15 batches of 254 and 13 more."""
    tinyae("train basic --data optdigits --batch-size 254 --drop-last --epochs 1 --out run")
    config = Run.open("run").config
    assert config["drop_last"] is True
    tinyae("train --resume run --epochs 2")
    tinyae("train basic --data optdigits --batch-size 254 --drop-last --epochs 2 --out whole")
    tinyae("diff run whole")


@pytest.mark.parametrize(("words", "size"), [
    ("conv --data optdigits --channels 2,3 --batch-size 1000", 2 * 2 * 3),  # the last maps
    ("lstm --hidden-size 3 --batch-size 3000", 2 * 3),  # h and c
])  # fmt: skip
def test_a_code_size_of_0_leaves_the_dense_layer_out(words, size, tinyae):
    tinyae(f"train {words} --code-size 0 --epochs 1 --out run")
    run = Run.open("run")
    assert run.encode(run.data().test.x[:1]).size == size


def test_samples_out_of_reach_of_the_output_are_remarked_upon(tinyae, tmp_path, rng):
    np.save("x.npy", rng.normal(size=(40, 6)).astype("float32"))
    told = tinyae("train sparse --data x.npy --optimizer adam --epochs 1 --out run")
    assert "remark: the output of this model is a sigmoid, from 0 to 1, but the samples go from -" in told
