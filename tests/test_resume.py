"""A run that was cut anywhere and continued equals the run that was not: bit for bit, for every model and optimizer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import tinyae as ta
from tests.launch_budgets import build_small, class_numbers, small_batch
from tests.test_training_files import small_files_only
from tinyae import nn, optim, training
from tinyae.data import Split
from tinyae.models import MODELS, basic_autoencoder, build, stacked_autoencoder
from tinyae.training import Checkpoint, EarlyStopping, TrainingDiverged, TrainingInterrupted, TrainingState
from tinyae.training.run import environment

Scheduled = Callable[[optim.Optimizer], Any]
EPOCHS, BATCH = 4, 3

OPTIMIZERS: dict[str, Callable[[Any], optim.Optimizer]] = {
    "adam": lambda p: optim.Adam(p, lr=3e-3, weight_decay=1e-3),
    "adamw": lambda p: optim.AdamW(p, lr=3e-3),
    "sgd": lambda p: optim.SGD(p, lr=1e-3),
    "nesterov": lambda p: optim.SGD(p, lr=1e-3, momentum=0.9, nesterov=True),
    "rmsprop": lambda p: optim.RMSprop(p, lr=1e-3),
    "adagrad": lambda p: optim.Adagrad(p, lr=1e-2),
    "lbfgs": optim.LBFGS,
}
SCHEDULES: dict[str, Scheduled] = {
    "none": lambda o: None,
    "step": lambda o: optim.StepLR(o, 2, 0.5),
    "cosine": lambda o: optim.CosineLR(o, EPOCHS),
    "warmup": lambda o: optim.WarmupLR(o, 2, after=optim.CosineLR(o, EPOCHS)),
}
MORE_MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "vae, warm-up": ("vae", {"input_shape": [6], "sizes": [5], "latent_size": 2, "warmup": 3}),
    "lstm, scheduled, dropout": (
        "lstm",
        {
            "input_shape": [5, 2], "hidden_size": 4, "num_layers": 2, "dropout": 0.3, "mode": "composite",
            "future_steps": 2, "conditional": True, "feeding": "scheduled", "teacher_epochs": 3,
        },
    ),
    "batch norm": ("deep", {"input_shape": [6], "sizes": [5, 3], "normalization": "batch"}),
}  # fmt: skip
"""Models whose objective changes from epoch to epoch, or whose layers draw or keep statistics."""

SAMPLED = ["basic", "denoising", "vae", "lstm", "vqvae"]


class Pair:
    """A model of fixed initial weights and its samples."""

    def __init__(self, name: str) -> None:
        if name in MORE_MODELS:
            kind, arguments = MORE_MODELS[name]
            self.model = build(kind, arguments, np.random.default_rng(0))
            x = np.random.default_rng(1).random((8, *arguments["input_shape"])).astype("float32")
            self.samples = Split(x)
        else:
            self.model, x = build_small(name), small_batch(name)
            self.samples = Split(x, class_numbers(name, x))

    def fit(self, epochs: int, optimizer: str = "adam", schedule: str = "none", **options: Any) -> ta.training.History:
        made = OPTIMIZERS[optimizer](self.model.parameters())
        if optimizer != "lbfgs":
            options |= {"batch_size": BATCH, "schedule": SCHEDULES[schedule](made)}
        return ta.fit(self.model, self.samples, epochs=epochs, optimizer=made, progress=False, **options)


def assert_same(one: TrainingState, other: TrainingState) -> None:
    """Two states are equal in every bit, but for the clock."""
    clock = ("seconds", "samples_per_second")
    assert [{k: v for k, v in row.items() if k not in clock} for row in one.rows] == [
        {k: v for k, v in row.items() if k not in clock} for row in other.rows
    ]
    for name in ("model", "optimizer", "schedule", "order_generator", "callbacks", "position", "epoch"):
        assert_equal(getattr(one, name), getattr(other, name), name)


def assert_equal(one: Any, other: Any, where: str) -> None:
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_equal(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_equal(a, b, f"{where}[{i}]")
    elif isinstance(one, np.ndarray):
        assert_array_equal(one, other, err_msg=where, strict=True)
    elif hasattr(one, "__dict__"):
        assert_equal(vars(one), vars(other), where)
    else:
        assert one == other, where


def matrix() -> list[Any]:
    """Every model x optimizer x schedule, all but a sample of them `thorough`."""
    cases = []
    for name in [*MODELS, *MORE_MODELS]:
        for optimizer in OPTIMIZERS:
            for schedule in ["none"] if optimizer == "lbfgs" else SCHEDULES:
                sampled = name in [*SAMPLED, *MORE_MODELS] and (optimizer, schedule) == ("adam", "warmup")
                sampled |= name == "basic" and (schedule == "cosine" or optimizer == "lbfgs")
                marks = [] if sampled else [pytest.mark.thorough, pytest.mark.matrix]
                cases.append(pytest.param(name, optimizer, schedule, marks=marks))
    return cases


@pytest.mark.parametrize(("name", "optimizer", "schedule"), matrix())
def test_a_run_cut_after_any_epoch_equals_one_long_run(name, optimizer, schedule, tmp_path):
    model = Pair(name).model
    if optimizer == "lbfgs" and (name == "vqvae" or model.objective_changes or model.named_generators()):
        pytest.skip("L-BFGS needs a fixed objective")
    whole = Pair(name).fit(EPOCHS, optimizer, schedule)
    for cut in range(1, EPOCHS):
        first = Pair(name).fit(cut, optimizer, schedule)
        state = TrainingState.load(first.state.save(tmp_path / "state.safetensors"))
        again = Pair(name).fit(EPOCHS, optimizer, schedule, start=state)
        assert_same(whole.state, again.state)


class AfterEveryStep(Checkpoint):
    """Keeps every state in memory."""

    def __init__(self) -> None:
        self.states: list[TrainingState] = []
        self.latest = None

    def after_step(self, capture: Callable[[], TrainingState]) -> None:
        self.states.append(capture())

    def after_epoch(self, state: TrainingState) -> None:
        self.states.append(state)

    def write(self, state: TrainingState) -> None:
        pass


@pytest.mark.parametrize("name", ["basic", *MORE_MODELS])
def test_a_run_cut_after_any_step_equals_one_long_run(name, tmp_path):
    steps = AfterEveryStep()
    whole = Pair(name).fit(3, schedule="cosine", checkpoint=steps)
    assert len(steps.states) == 3 * (3 + 1)  # three steps an epoch, and its end
    for taken in steps.states[:-1]:
        state = TrainingState.load(taken.save(tmp_path / "state.safetensors"))
        again = Pair(name).fit(3, schedule="cosine", start=state)
        assert_same(whole.state, again.state)


@pytest.mark.parametrize("name", [m if m in SAMPLED else pytest.param(m, marks=pytest.mark.thorough) for m in MODELS])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, FloatingPointError])
def test_after_any_exception_it_is_as_if_the_epoch_had_never_begun(name, error, monkeypatch):
    def run(break_at: int | None) -> TrainingState:
        pair = Pair(name)
        optimizer = OPTIMIZERS["adam"](pair.model.parameters())
        schedule = SCHEDULES["step"](optimizer)
        calls = 0
        loss = pair.model.loss

        def breaking(batch: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == break_at:
                raise error
            return loss(batch, **options)

        pair.model.loss = breaking
        common = {"batch_size": BATCH, "optimizer": optimizer, "schedule": schedule, "progress": False}
        if break_at is None:
            ta.fit(pair.model, pair.samples, epochs=2, **common)
        else:
            with pytest.raises(error):
                ta.fit(pair.model, pair.samples, epochs=5, **common)
            assert not pair.model.training
        return ta.fit(pair.model, pair.samples, epochs=2, **common).state

    assert_same(run(None), run(break_at=8))  # in the middle of the third epoch


@pytest.mark.parametrize("method", ["adam", "nesterov", "rmsprop"])
def test_a_divergence_leaves_an_optimizer_that_can_go_on(method):
    x = np.random.default_rng(0).random((40, 6)).astype("float32")
    model = basic_autoencoder(6, 2, loss="squared_error", generator=np.random.default_rng(0))
    optimizer = OPTIMIZERS[method](model.parameters())
    rate, optimizer.lr = optimizer.lr, 1e30
    before = model.state_dict()
    for batch_size in (8, 40):  # with one step an epoch, the weights that it spoiled are found in the next one
        with pytest.raises(TrainingDiverged, match="before training") as caught:
            ta.fit(model, 10 * x, optimizer=optimizer, batch_size=batch_size, progress=False)
        assert len(caught.value.history) == 0
        assert_equal(model.state_dict(), before, "model")
        assert all(np.isfinite(optimizer.flat.to_host(buffer)).all() for buffer in optimizer.buffers.values())
    optimizer.lr = rate
    history = ta.fit(model, x, optimizer=optimizer, epochs=30, batch_size=8, progress=False)
    assert history["train_loss"][-1] < history["train_loss"][0]


def test_a_callback_that_raises_keeps_its_epoch_and_what_it_changed():
    pair = Pair("vae, warm-up")
    optimizer = OPTIMIZERS["adam"](pair.model.parameters())

    states = []

    def halve(epoch: Any) -> None:
        epoch.optimizer.lr /= 2
        states.append(epoch.model.state_dict())
        if epoch.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(TrainingInterrupted, match="2 complete epochs are kept") as caught:
        ta.fit(pair.model, pair.samples, epochs=5, optimizer=optimizer, callbacks=[halve], progress=False)
    assert caught.value.history["epoch"] == [1, 2]
    assert_equal(pair.model.state_dict(), states[1], "model")
    assert optimizer.lr == 3e-3 / 4
    assert caught.value.history.state.epoch == 2
    assert pair.model.kl_weight == 2 / 4


def test_warm_up_goes_on_where_it_was_and_starts_anew_without_start():
    def weights(**options: Any) -> list[float]:
        seen: list[float] = []
        pair = Pair("vae, warm-up")
        first = pair.fit(2, callbacks=[lambda e: seen.append(e.model.kl_weight)])
        start = first.state if options.get("start") else None
        pair.fit(4, callbacks=[lambda e: seen.append(e.model.kl_weight)], start=start)
        return seen

    assert weights(start=True) == [0.25, 0.5, 0.75, 1.0]
    assert weights() == [0.25, 0.5, 0.25, 0.5, 0.75, 1.0]


def test_early_stopping_serves_several_runs_and_goes_on_with_a_continued_one():
    values: list[float] = []

    def told(epoch: Any) -> None:
        epoch.row["told"] = values[epoch.number - 1]

    stop = EarlyStopping("told", patience=3)
    values[:] = [3.0, 2.0, 1.0, 4.0]
    first = Pair("basic").fit(4, callbacks=[told, stop])
    assert (stop.best, stop.best_epoch) == (1.0, 3)
    values[:] = [3.0, 2.0, 1.0, 4.0, 5.0, 6.0, 7.0]
    assert len(Pair("basic").fit(7, callbacks=[told, stop], start=first.state)) == 6  # 3 epochs after the third
    values[:] = [30.0, 20.0, 10.0, 9.0, 8.0]
    assert len(Pair("basic").fit(5, callbacks=[told, stop])) == 5
    assert (stop.best, stop.best_epoch) == (8.0, 5)


def test_a_callback_after_the_one_that_stops_sees_the_last_epoch():
    seen: list[int] = []

    def stop(epoch: Any) -> None:
        if epoch.number == 2:
            raise StopIteration

    history = Pair("basic").fit(5, callbacks=[stop, lambda epoch: seen.append(epoch.number)])
    assert seen == history["epoch"] == [1, 2]
    assert history.state.ended


def small_stack() -> Any:
    return stacked_autoencoder(6, (5, 4), classes=3, generator=np.random.default_rng(0))


def test_a_stack_cut_in_any_stage_equals_one_long_run(tmp_path):
    rng = np.random.default_rng(1)
    samples = Split(rng.random((10, 6)).astype("float32"), rng.integers(0, 3, 10))

    def trained(start: TrainingState | None, checkpoint: Checkpoint | None = None) -> dict[str, np.ndarray]:
        model = small_stack()
        common = {"batch_size": 4, "checkpoint": checkpoint, "progress": False}
        if start is None or start.stage.startswith("layer"):
            training.fit_stack(model, samples, epochs=2, start=start, **common)
            start = None
        training.fit_stack_classifier(model, samples, samples, epochs=(2, 2), start=start, **common)
        return model.state_dict()

    steps = AfterEveryStep()
    whole = trained(None, steps)
    assert {state.stage for state in steps.states} == {"layer 1 of 2", "layer 2 of 2", "classifier", "fine-tuning"}
    for taken in steps.states:
        assert_equal(trained(TrainingState.load(taken.save(tmp_path / "state"))), whole, taken.stage)


def test_generators_are_kept_by_identity():
    lstm = Pair("lstm, scheduled, dropout").model
    state = ta.training.state.ModuleState.of(lstm)
    ((names, _),) = state.generators
    assert {"decoder.generator", "predictor.generator"} <= set(names)
    lstm.predictor.generator = np.random.default_rng(5)
    with pytest.raises(ValueError, match=r"has random generators .* this LSTMAutoencoder has"):
        state.restore(lstm)


@pytest.mark.parametrize(("name", "epochs", "options", "words"), [
    ("basic", 2, {}, r"2 complete epochs, got epochs=2: .* give more than 2"),
    ("basic", 3, {"optimizer": "sgd"}, "saved state of Adam, not of SGD"),
    ("basic", 3, {"schedule": "step"},
     "without a schedule and with 0 callbacks that have a state, this run has one"),
    ("basic", 3, {"callbacks": [EarlyStopping("train_loss")]},
     "with 0 callbacks that have a state, this run has none and 1"),
    ("vae", 3, {}, "does not match|has random generators"),
    ("basic", 3, {"title": "second"}, "the stage '', this run is 'second'"),
])  # fmt: skip
def test_a_state_of_another_run_is_refused(name, epochs, options, words):
    state = Pair("basic").fit(2).state
    with pytest.raises(ValueError, match=words):
        Pair(name).fit(epochs, start=state, **options)


def test_a_damaged_checkpoint_is_named(tmp_path):
    path = Pair("basic").fit(1).state.save(tmp_path / "state.safetensors")
    whole = path.read_bytes()
    for content in (b"", whole[: len(whole) // 2], whole[:-1], b"PK" + whole[2:]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"state.safetensors is not a complete safetensors file"):
            TrainingState.load(path)
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        TrainingState.load(tmp_path / "none")
    ta.save(nn.Dense(2, 2), path)
    with pytest.raises(ValueError, match="may be truncated, or another file"):
        TrainingState.load(path)


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path):
    state = Pair("basic").fit(1).state
    path = state.save(tmp_path / "state.safetensors")
    content = path.read_bytes()
    with small_files_only(len(content) // 2), pytest.raises(OSError, match=r"cannot write .*state.*: File too large"):
        state.save(path)
    assert path.read_bytes() == content


def test_the_file_holds_little_more_than_its_arrays(tmp_path):
    model = basic_autoencoder(784, 32, generator=np.random.default_rng(0))
    x = np.random.default_rng(1).random((16, 784)).astype("float32")
    checkpoint = Checkpoint(tmp_path / "c.safetensors", minutes=1e-9, note="kept")
    ta.fit(model, x, epochs=3, batch_size=8, checkpoint=checkpoint, progress=False)
    arrays = 3 * 4 * model.parameter_count()  # weights, and two moments of Adam
    assert checkpoint.path.stat().st_size <= 1.1 * arrays + 64 * 1024
    state, extra = TrainingState.load_with_extra(checkpoint.path)
    assert (state.epoch, state.position, extra) == (3, None, {"note": "kept"})
    assert json.dumps(state.rows)


def test_writing_takes_at_most_a_hundredth_of_the_time(tmp_path, monkeypatch):
    clock = 0.0
    monkeypatch.setattr("tinyae.training.state.time.perf_counter", lambda: clock)
    written: list[int] = []

    class Slow(TrainingState):
        def save(self, path: str | Path, **extra: Any) -> Path:
            nonlocal clock
            clock += 1.0
            written.append(self.epoch)
            return Path(path)

    state = Pair("basic").fit(1).state
    checkpoint = Checkpoint(tmp_path / "c")
    for epoch in range(1, 1001):
        clock += 0.5
        checkpoint.after_epoch(Slow(**{**vars(state), "epoch": epoch}))
    assert written[0] == 1
    assert len(written) - 1 == pytest.approx(0.01 * 500, abs=1)


def test_the_environment_does_not_depend_on_whether_scipy_is_loaded(monkeypatch):
    pools = [
        {"user_api": api, "internal_api": "openblas", "version": version, "architecture": "Zen", "filepath": path}
        for api, version, path in (
            ("blas", "0.3.31", "/x/numpy.libs/libscipy_openblas64.so"),
            ("blas", "0.3.30", "/x/scipy/.dylibs/libopenblas.dylib"),
            ("openmp", "5", "/x/libgomp.so"),
        )
    ]
    for loaded in (pools[:1], pools, pools[::-1]):
        monkeypatch.setattr("threadpoolctl.threadpool_info", lambda loaded=loaded: loaded)
        found = environment(ta.data.load("optdigits"), "cpu")
        assert (found["versions"]["blas"], found["processor"].split(", ")[1:]) == ("openblas 0.3.31", ["Zen"])
