"""The LSTM autoencoder: every combination's gradient, masks, what each decoder is fed, and that it learns."""

from __future__ import annotations

import itertools
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinyae as ta
from tinyae import nn
from tinyae.autodiff import Tensor, grad
from tinyae.backend import CPU
from tinyae.data import Split
from tinyae.models import Batch, LSTMAutoencoder, build, lstm_autoencoder
from tinyae.models.lstm import FEEDINGS, MODES, SequenceDecoder, append_at_end, last_steps, reverse_padded
from tinyae.testing.tables.ops import lstm_reference
from tinyae.testing.verification import function_of

FUTURE = 2
LENGTHS = [5, 4, 3]
FED = (None, *FEEDINGS)


def made(mode: str = "reconstruct", fed: str | None = None, seed: int = 0, **options: Any) -> LSTMAutoencoder:
    """A small model in training mode, its weights moved away from where they start."""
    options |= {"future_steps": 0 if mode == "reconstruct" else FUTURE, "conditional": fed is not None, "feeding": fed}
    model = LSTMAutoencoder(2, 2, mode=mode, generator=np.random.default_rng(seed), **options)
    rng = np.random.default_rng(seed + 1)
    for p in model.parameters():
        p.data = (p.data + 0.3 * rng.normal(size=p.shape)).astype(p.dtype)
    for decoder in (model.decoder, model.predictor):
        if decoder is not None:
            decoder.truth_share = 0.5
    return model.train()


SETTINGS = itertools.product(MODES, FED, (True, False), (None, LENGTHS), (1, 2), (False, True), (False, True))
SQUARE = [(mode, fed, reverse, *more) for mode, fed, reverse, *more in SETTINGS if mode != "predict" or not reverse]
"""Mode, feeding (None: unconditional), reversed target, lengths, layers, bidirectional, peepholes."""


@pytest.mark.parametrize("combination", [
    pytest.param(c, marks=[pytest.mark.thorough] if n % 5 else [], id="-".join(map(str, c))) for n, c in enumerate(SQUARE)
])  # fmt: skip
def test_every_combination_has_the_gradient_of_its_loss(combination):
    """Along a random direction in all inputs and parameters at once, no component of which is small."""
    mode, fed, reverse, lengths, layers, both, peepholes = combination
    model = made(mode, fed, reverse_target=reverse, num_layers=layers, bidirectional=both, peepholes=peepholes)
    rng = np.random.default_rng(2)
    subject = function_of(model, rng.normal(size=(3, 5, 2)), call=lambda m, x: m.loss(Batch(x, lengths=lengths)).total)
    leaves = [Tensor(value, requires_grad=True) for value in subject.inputs]
    direction = [rng.choice([-1.0, 1.0], v.shape) * rng.uniform(0.5, 1.0, v.shape) for v in subject.inputs]
    slopes = grad(subject.fn(*leaves), leaves)
    slope = sum(float((g.data * d).sum()) for g, d in zip(slopes, direction, strict=True))
    step = 1e-5
    ends = [
        subject.fn(*[Tensor(v + sign * step * d) for v, d in zip(subject.inputs, direction, strict=True)]).item()
        for sign in (1, -1)
    ]
    assert slope == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-7, abs=1e-8)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fed", [None, "teacher", "own"])
def test_a_padded_batch_is_each_sequence_alone(mode, fed, rng):
    """Loss and gradients in float64, whatever stands in the padding."""
    model = made(mode, fed, num_layers=2, bidirectional=True, peepholes=True)
    x = rng.normal(size=(3, 5, 2))
    for n, length in enumerate(LENGTHS):
        x[n, length:] = (1e3, np.nan, -np.inf)[n]

    def together(m: Any, x: Any) -> Any:
        return m.loss(Batch(x, lengths=LENGTHS)).total

    def alone(m: Any, x: Any) -> Any:
        return sum((m.loss(x[n : n + 1, :k]).total for n, k in enumerate(LENGTHS)), 0.0) * (1 / 3)

    found = []
    for call in (together, alone):
        subject = function_of(model, x, call=call)
        leaves = [Tensor(v, requires_grad=True) for v in subject.inputs]
        loss = subject.fn(*leaves)
        found.append([loss.data, *[g.data for g in grad(loss, leaves)]])
    for a, b in zip(*found, strict=True):
        assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    for n, length in enumerate(LENGTHS):
        assert not found[0][1][n, length:].any()


def weights(layer: nn.LSTMLayer) -> tuple[Any, ...]:
    parts = (layer.weight_x, layer.weight_h, layer.bias)
    return tuple(None if p is None else p.numpy().astype("float64") for p in parts)


def by_hand(decoder: SequenceDecoder, code: np.ndarray, steps: int, truth: np.ndarray | None) -> np.ndarray:
    """One sequence (steps, D) from one code, in plain NumPy: step by step, fed the truth, its own output, or nothing."""
    (layer,) = decoder.lstm.layers[0]
    dense = decoder.readout.module
    state = code if decoder.start is None else code @ decoder.start.weight.numpy() + decoder.start.bias.numpy()
    h, c = np.split(state, 2)
    sample, made = np.zeros(decoder.features), []
    for t in range(steps):
        x = sample[None, None] if decoder.conditional else None
        out = lstm_reference(x, h[None], c[None], *weights(layer), steps=None if decoder.conditional else 1)
        h, c = out[0, 0], out[0, 1]
        made.append(h @ dense.weight.numpy() + dense.bias.numpy())
        sample = made[-1] if truth is None else truth[t]
    return np.array(made)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("fed", [None, "teacher", "own"])
@pytest.mark.parametrize("code_size", [None, 3])
def test_the_loss_is_a_transcription_of_the_paper(training, fed, code_size, rng):
    model = made("composite", fed, code_size=code_size).train(training)
    x = rng.normal(size=(3, 5, 2))
    past, after = x[:, :3], x[:, 3:]
    found = model.loss(x)
    (layer,) = model.encoder.lstm.layers[0]
    final = lstm_reference(past, None, None, *weights(layer))
    states = final[:, -2:].reshape(3, -1)
    project = model.encoder.project
    codes = states if project is None else states @ project.weight.numpy() + project.bias.numpy()
    sums = {"reconstruction": 0.0, "prediction": 0.0}
    for n in range(3):
        truths = (past[n, ::-1], after[n]) if training and fed == "teacher" else (None, None)
        told = by_hand(model.decoder, codes[n], 3, truths[0])[::-1]
        predicted = by_hand(model.predictor, codes[n], 2, truths[1])
        sums["reconstruction"] += ((told - past[n]) ** 2).sum() / 3
        sums["prediction"] += ((predicted - after[n]) ** 2).sum() / 3
    assert found.unit == "squared error per sequence"
    assert found.terms.keys() == sums.keys()
    for name, value in sums.items():
        assert found.terms[name].item() == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("fed", FEEDINGS)
def test_at_test_time_no_decoder_sees_the_truth(fed, rng):
    decoder = SequenceDecoder(2, 3, 6, conditional=True, feeding=fed, generator=rng)
    code = Tensor(rng.normal(size=(4, 6)).astype("float32"))
    truth = Tensor(np.full((4, 5, 2), np.nan, "float32"))
    with np.errstate(invalid="ignore"):
        assert np.isfinite(decoder.eval()(code, 5, truth).data).all()
        seen = decoder.train()(code, 5, truth).data
    assert np.isfinite(seen[:, 0]).all(), "the first step is given zeros"
    assert np.isfinite(seen).all() == (fed == "own")
    assert_array_equal(decoder.eval()(code, 5, truth).data, decoder(code, 5).data)


def test_scheduled_feeding_goes_from_teacher_to_own(rng):
    models = {fed: made("reconstruct", fed, teacher_epochs=4) for fed in FEEDINGS}
    x = Tensor(rng.normal(size=(3, 5, 2)).astype("float32"))
    scheduled = models["scheduled"]
    shares = []
    for epoch in range(1, 7):
        scheduled.begin_epoch(epoch, Batch(x))
        shares.append(scheduled.decoder.truth_share)
    assert shares == [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    assert scheduled.loss(x).item() == pytest.approx(models["own"].loss(x).item(), rel=1e-6)
    scheduled.begin_epoch(1, Batch(x))
    assert scheduled.loss(x).item() == pytest.approx(models["teacher"].loss(x).item(), rel=1e-6)
    scheduled.decoder.truth_share = 0.5
    assert scheduled.loss(x).item() != scheduled.loss(x).item(), "the coins are tossed anew at every call"


@pytest.mark.parametrize("fed", FED)
def test_a_step_stays_on_the_device_and_gives_the_cpus_numbers(fed, elsewhere, rng):
    x, found = rng.normal(size=(3, 5, 2)).astype("float32"), []
    for device in (elsewhere, CPU):
        model = made("composite", fed, num_layers=2, bidirectional=True, peepholes=True).to(device.name)
        given, lengths = Tensor(device.to_device(x)), device.to_device(np.array(LENGTHS))
        forbidden = dict.fromkeys(("forbid_sync", "forbid_copy", "forbid_float64"), True)
        with elsewhere.policy(**forbidden) if elsewhere.name == "strict" else nullcontext():
            loss = model.loss(Batch(given, lengths=lengths)).total
            loss.backward()
        found.append([loss.numpy(), *[p.grad.numpy() for p in model.parameters()]])
    for here, there in zip(*found, strict=True):
        assert np.isfinite(there).all()
        if fed != "scheduled":  # its coins are tossed by each device's own generator
            assert_allclose(there, here, rtol=1e-4, atol=1e-5)


def test_the_target_is_reversed_within_each_length(rng):
    x = np.arange(10.0).reshape(2, 5, 1)
    back = reverse_padded(Tensor(x), [3, 5]).data[:, :, 0]
    assert_array_equal(back, [[2, 1, 0, 3, 4], [9, 8, 7, 6, 5]])
    assert_array_equal(reverse_padded(Tensor(x), None).data, x[:, ::-1])
    assert_array_equal(last_steps(Tensor(x), [3, 5], 2).data[:, :, 0], [[1, 2], [8, 9]])
    both = append_at_end(Tensor(x), Tensor(-x[:, :2] - 1), np.array([3, 5])).data[:, :, 0]
    assert_array_equal(both, [[0, 1, 2, -1, -2, 0, 0], [5, 6, 7, 8, 9, -6, -7]])


@pytest.mark.parametrize("mode", MODES)
def test_what_users_call_has_the_shapes_that_it_says(mode, rng):
    model = made(mode, "teacher", code_size=3, steps=4)
    x = rng.normal(size=(5, 4, 2)).astype("float32")
    lengths = np.array([4, 1, 2, 3, 4])
    codes = model.encode(x, batch_size=2, lengths=lengths)
    assert codes.shape == (5, 3)
    for n, length in enumerate(lengths):
        assert_allclose(codes[n], model.encode(x[n : n + 1, :length])[0], rtol=1e-5, atol=1e-6)
    if mode != "predict":
        whole = model.reconstruct(x, batch_size=2, lengths=lengths)
        assert whole.shape == x.shape
        assert_allclose(model.decode(codes, 2, lengths=lengths), whole, rtol=1e-5, atol=1e-6)
        assert not whole[1, 1:].any()
        assert_allclose(model.reconstruct(x[1:2, :1])[0], whole[1, :1], rtol=1e-5, atol=1e-6)
    if mode != "reconstruct":
        ahead = model.predict(x, batch_size=2, lengths=lengths)
        assert ahead.shape == (5, FUTURE, 2)
        assert model.predict(x, steps=7).shape == (5, 7, 2)
        assert_allclose(model.predict(x, steps=7, lengths=lengths)[:, :FUTURE], ahead, rtol=1e-5, atol=1e-6)
        windows = rng.normal(size=(5, 6, 2)).astype("float32")
        assert_array_equal(model.batch(Split(windows)).x, windows[:, :4])
        assert model.reconstruct(model.batch(Split(windows))).shape == windows.shape
        whole = model.reconstruct(Batch(x, windows, lengths=lengths + FUTURE, future_only=mode == "predict"))
        assert_allclose(whole[1, 1:3], ahead[1], rtol=1e-5, atol=1e-6)


def test_the_encoder_is_of_use_alone(tmp_path, rng):
    model = build("lstm", {"input_shape": [6, 2], "hidden_size": 4, "code_size": 3, "bidirectional": True}, rng)
    x = rng.normal(size=(5, 6, 2)).astype("float32")
    alone = ta.load(ta.save(model.encoder, tmp_path / "encoder.safetensors"))
    assert type(alone) is type(model.encoder)
    assert_array_equal(alone(x).data, model.encode(x))
    assert alone(x[:, :2]).shape == (5, 3), "any number of steps becomes a vector of one length"


def test_it_learns_to_tell_back_and_to_go_on():
    """0.1 ... 0.9 with 100 units in 300 steps: nine steps reconstructed and the tenth predicted, each within 0.01."""
    window = np.arange(1, 11, dtype=np.float32).reshape(1, 10, 1) / 10
    model = LSTMAutoencoder(1, 100, mode="composite", future_steps=1, generator=np.random.default_rng(0))
    ta.fit(model, window, epochs=300, optimizer=ta.optim.Adam(model.parameters(), lr=3e-3), progress=False)
    seen = model.batch(Split(window)).x
    assert np.abs(model.reconstruct(seen) - window[:, :9]).max() < 0.01
    assert abs(model.predict(seen).item() - 1.0) < 0.01


def test_unequal_sequences_are_fitted_and_measured(rng):
    lengths = rng.integers(3, 7, 20)
    x = rng.normal(size=(20, 6, 2)).astype("float32") * (np.arange(6) < lengths[:, None])[..., None]
    split = Split(x, lengths=lengths)
    model = LSTMAutoencoder(2, 4, code_size=3, mode="composite", future_steps=2, conditional=True, generator=rng)
    history = ta.fit(model, split, split, epochs=2, batch_size=8, progress=False)
    assert history["train_loss"][1] < history["train_loss"][0]
    measured = ta.evaluate(model, split, batch_size=7)
    apart = [ta.evaluate(model, x[n : n + 1, :k]) for n, k in enumerate(lengths)]
    for name in ("loss", "reconstruction", "prediction", "squared_error"):
        assert measured[name] == pytest.approx(np.mean([one[name] for one in apart]), rel=1e-5)
    assert measured["loss"] == pytest.approx(measured["reconstruction"] + measured["prediction"])
    assert measured["loss"] == pytest.approx(measured["squared_error"], rel=1e-5)


@pytest.mark.parametrize(("call", "words"), [
    (lambda: LSTMAutoencoder(2, 3, feeding="teacher"), "feeding='teacher' needs a conditional decoder"),
    (lambda: LSTMAutoencoder(2, 3, conditional=True, feeding="half"), "unknown feeding 'half': .*teacher, own"),
    (lambda: LSTMAutoencoder(2, 3, mode="both"), "unknown mode 'both'"),
    (lambda: LSTMAutoencoder(2, 3, mode="predict"), "write future_steps=5"),
    (lambda: LSTMAutoencoder(2, 3, future_steps=2), "use 'composite'"),
    (lambda: LSTMAutoencoder(2, 3, mode="predict", future_steps=2, reverse_target=True), "leave it out"),
    (lambda: lstm_autoencoder((28, 28, 1)), r"takes sequences \(T, D\), got samples of shape \(28, 28, 1\)"),
    (lambda: lstm_autoencoder((5, 2), mode="predict", future_steps=5), "leaves no input in windows of 5 steps"),
    (lambda: made("predict").loss(Tensor(np.ones((3, 2, 2)))), "more than the 2 steps to predict"),
    (lambda: made("composite").loss(Batch(Tensor(np.ones((3, 5, 2))), lengths=[5, 2, 4])),
     "must exceed the 2 steps to predict, got 2"),
    (lambda: made("composite").loss(Batch(Tensor(np.ones((3, 5, 2))), lengths=[5, 9, 4])), "got 9 for sequence 1"),
    (lambda: made().loss(Batch(Tensor(np.ones((3, 5, 2))), lengths=[5, 0, 4])), "got 0 for sequence 1"),
    (lambda: made("composite").loss(Batch(Tensor(np.ones((3, 2, 2))), Tensor(np.ones((3, 5, 2))))),
     r"give \(N, 3, D\)"),
    (lambda: made("predict").reconstruct(np.ones((3, 5, 2), "f")), r"use predict\(x\)"),
    (lambda: made().predict(np.ones((3, 5, 2), "f")), "train mode 'predict' or 'composite'"),
    (lambda: made().decode(np.ones((3, 4), "f")), "how many steps"),
    (lambda: made().encode(np.ones((3, 5, 2), "f"), lengths=[1, 2]), "3 whole numbers"),
    (lambda: made().encode(np.ones((3, 5, 2), "f"), lengths=5), r"3 whole numbers, .*got int64 of shape \(\)"),
    (lambda: made().reconstruct(np.ones((3, 5, 2), "f"), lengths=np.ones(3)), r"got float64 of shape \(3,\)"),
    (lambda: made()(np.ones((3, 5, 2), "f"), np.ones(3)), r"got float64 of shape \(3,\)"),
    (lambda: made().decode(np.ones((3, 4), "f"), steps=2, lengths=[1, 2, 3]), "to the 2 steps .* got 3 for sequence 2"),
    (lambda: made(steps=5).decode(np.ones((3, 4), "f"), steps=0), "decode: steps must be .* got 0"),
    (lambda: made("predict").predict(np.ones((3, 5, 2), "f"), steps=0), "predict: steps must be .* got 0"),
    (lambda: made(steps=5).decode(np.ones((3, 7), "f")), r"or codes, must be \(N, 4\), got shape \(3, 7\)"),
])  # fmt: skip
def test_what_makes_no_sense_is_said(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize("lengths", [[5, 3, 4], np.array([5, 3, 4], "int32")], ids=["list", "array"])
def test_lengths_of_windows_may_be_a_list_beside_a_tensor_too(lengths, rng):
    model, x = made("composite").eval(), rng.normal(size=(3, 3, 2)).astype("float32")
    lengths = [n - FUTURE for n in lengths] if isinstance(lengths, list) else lengths - FUTURE
    expected = model.predict(x, lengths=np.array([3, 1, 2]))
    assert_allclose(model.predict(Tensor(x), lengths=lengths).data, expected, rtol=1e-6)
    assert_allclose(model.predict(x, lengths=lengths), expected, rtol=1e-6)
