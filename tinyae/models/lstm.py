"""The LSTM autoencoder: it maps a sequence to a vector of fixed length, and the vector back to the sequence or its future.

An encoder reads the sequence; one decoder reconstructs it, by default in reverse order, another predicts how it continues.
A code for reconstruction must contain the sequence, one for prediction whatever determines the future; the
composite model needs both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

import numpy as np

from tinyae import ops
from tinyae.autodiff import Tensor
from tinyae.backend import Array, as_generator, backend_of
from tinyae.checks import checked, choose
from tinyae.data import Split
from tinyae.losses import Loss
from tinyae.models.autoencoder import RECONSTRUCTIONS, Autoencoder, Batch, as_input, reconstruction_named, remembered
from tinyae.models.dense import Shape
from tinyae.models.settings import defaults, passes_on
from tinyae.nn import LSTM, Dense, Module, TimeDistributed
from tinyae.nn.layers import check_size
from tinyae.ops.recurrent import Lengths, check_lengths, settled, whole_numbers

MODES = ("reconstruct", "predict", "composite")
"""What is decoded: the sequence itself, the steps that follow it, or both, each with a separate decoder."""


class LSTMAutoencoder(Autoencoder):
    """Encoder LSTM, decoder LSTMs (Srivastava, Mansimov and Salakhutdinov 2015).

    code = encoder(x_1 ... x_T),   (y_T ... y_1) = decoder(code),   (y_{T+1} ... y_{T+F}) = predictor(code),
    loss = sum over steps of distance(y_t, x_t), one term "reconstruction" and one term "prediction"

    Args:
        features: D, values per step.
        hidden_size: H, units of each LSTM layer.
        code_size: K, latent dimensions; 0 for the encoder's final state, where the decoders start. By default half as many
            as the encoder is given values, where that is known and fewer than the state has, so that it cannot copy; else 0, as
            in mode "predict".
        mode: what is decoded: "reconstruct" (decoder only), "predict" (predictor only) or "composite" (both at once).
        steps: T, how many steps `decode` returns by default; None if always passed.
        future_steps: F, the last steps of each window, to be predicted; by default a quarter of them, at least 1, where their
            number is known and the mode predicts.
        conditional: the input of a decoder at each step is the sample of the previous step. See `SequenceDecoder`.
        feeding: the input of a conditional decoder in training: the true sample ("teacher", the default), its own output
            ("own"), or either at random ("scheduled"). In evaluation it is always its own output.
        teacher_epochs: with scheduled feeding, epochs over which the share of true samples falls linearly to 0.
        reverse_target: reconstruct from the last step, which the code remembers best, to the first; by default true
            whenever there is a reconstruction.
        num_layers: LSTM layers, of the encoder and of each decoder.
        peepholes: the gates see the cell.
        dropout: probability of dropout between layers.
        forget_bias: initial bias of the forget gates.
        bidirectional: the encoder reads in both directions.
        generator: for weights, dropout and scheduled feeding.
        loss, sample: as for `Autoencoder`.

    `loss` and Batches have windows of T + F steps, of which the encoder sees the first T. Elsewhere x is what the encoder
    sees, (N, T, D). With the `lengths` (N,) of a padded batch each sequence gives the same result as alone: the loss sums
    over its steps without padding and averages over sequences.

    Attributes:
        encoder: a `SequenceEncoder`; it can be saved and loaded alone.
        decoder: a `SequenceDecoder`; in mode "predict" it is the predictor.
        predictor: the `SequenceDecoder` of the future, None in mode "reconstruct".
    """

    encoder: SequenceEncoder
    decoder: SequenceDecoder

    @passes_on(Autoencoder)
    def __init__(
        self,
        features: int,
        hidden_size: int,
        *,
        code_size: int | None = None,
        mode: Annotated[str, MODES] = "reconstruct",
        steps: int | None = None,
        future_steps: int | None = None,
        conditional: bool = False,
        feeding: Annotated[str, FEEDINGS] | None = None,
        teacher_epochs: int = 10,
        reverse_target: bool | None = None,
        num_layers: int = 1,
        bidirectional: bool = False,
        peepholes: bool = False,
        dropout: float = 0.0,
        forget_bias: float = 1.0,
        loss: Annotated[str, RECONSTRUCTIONS] = "squared_error",
        sample: str = "sequence",
        generator: np.random.Generator | None = None,
    ) -> None:
        rng = as_generator(generator)
        future_steps, code_size = check_mode(mode, future_steps), code_size or None
        if mode == "predict" and reverse_target:
            raise ValueError("reverse_target reverses the reconstruction, and mode 'predict' has none: leave it out.")
        lstm: dict[str, Any] = {
            "num_layers": num_layers, "peepholes": peepholes, "dropout": dropout, "forget_bias": forget_bias
        }  # fmt: skip
        encoder = SequenceEncoder(features, hidden_size, code_size, bidirectional=bidirectional, generator=rng, **lstm)
        decoders = [
            SequenceDecoder(
                features, hidden_size, encoder.code_size, conditional=conditional, feeding=feeding,
                output=reconstruction_named(loss).output, project=code_size is not None, generator=rng, **lstm,
            )
            for _ in range(2 if mode == "composite" else 1)
        ]  # fmt: skip
        super().__init__(encoder, decoders[0], loss=loss, sample=sample)
        self.predictor = None if mode == "reconstruct" else decoders[-1]
        self.mode = mode
        self.steps = None if steps is None else check_size("LSTMAutoencoder", "steps", steps)
        self.future_steps = future_steps
        self.reverse_target = mode != "predict" and (reverse_target is None or bool(reverse_target))
        self.teacher_epochs = check_size("LSTMAutoencoder", "teacher_epochs", teacher_epochs)

    def objective(self, batch: Batch, *, generator: np.random.Generator | None = None) -> Loss:
        """The terms of a batch, each summed over the steps of a sequence and averaged over sequences.

        The target holds windows (N, T + F, D); x the same, or only what the encoder sees of them, (N, T, D); lengths include
        the F steps to predict. In evaluation mode nothing is drawn and no decoder sees the true samples.
        """
        x, target, lengths = batch.x, batch.target, batch.lengths
        past = self._past(target)
        if x.ndim != 3 or not past <= x.shape[1] <= target.shape[1]:
            raise ValueError(
                f"loss: windows of {target.shape[1]} steps, {self.future_steps} of them to predict, do not fit inputs of "
                f"shape {x.shape}: give (N, {past}, D), or the windows themselves."
            )
        seen = None
        if lengths is not None:
            lengths = settled("LSTMAutoencoder", lengths, len(target), target.shape[1], target)
            if isinstance(lengths, np.ndarray):
                self._check_seen(lengths)
            seen = lengths - self.future_steps
            target = zero_padding(target, lengths)
        if x.shape[1] > past:
            x = x[:, :past]
        code = self.encoder(x, seen)
        terms: dict[str, Tensor] = {}
        if self.mode != "predict":
            wanted = target if past == target.shape[1] else target[:, :past]
            wanted = reverse_padded(wanted, seen) if self.reverse_target else wanted
            terms["reconstruction"] = self._distance(self.decoder(code, past, wanted), wanted, seen)
        if self.predictor is not None:
            wanted = last_steps(target, lengths, self.future_steps)
            terms["prediction"] = self._distance(self.predictor(code, self.future_steps, wanted), wanted, None)
        return Loss(terms, self.loss_unit)

    def batch(self, samples: Split) -> Batch:
        """Windows (N, T + F, D) as targets, and the first T steps of each, (N, T, D), as input of the encoder."""
        if samples.lengths is not None:
            self._check_seen(samples.lengths)
        whole = samples.source
        x = whole[:, : self._past(whole)] if self.future_steps else whole
        return Batch(x, whole, lengths=samples.lengths, future_only=self.mode == "predict")

    def forward(self, x: Tensor, lengths: Lengths = None) -> Tensor:
        """Raw outputs of `decoder` for x (N, T, D): the reconstruction, first step first; in mode "predict" the future."""
        code = self.encoder(x, lengths)
        count = self.future_steps if self.mode == "predict" else x.shape[1]
        return self._ordered(self.decoder(code, count), lengths)

    def encode(self, x: Any, batch_size: int = 1024, *, lengths: Lengths = None) -> Any:
        """Codes (N, K) of x (N, T, D); the encoder sees all T steps."""
        return self._apply(
            lambda b: self.encoder(b.x, b.context), self._batch_of(self._samples(x), lengths), batch_size, whole=True
        )

    def decode(self, code: Any, batch_size: int = 1024, *, steps: int | None = None, lengths: Lengths = None) -> Any:
        """Sequences (N, steps, D) from codes (N, K): the past, in mode "predict" the future; zeros beyond `lengths`."""
        count = (self.future_steps if self.mode == "predict" else self.steps) if steps is None else steps
        if count is None:
            raise ValueError("decode: how many steps? Write decode(code, steps=10), or build the model with steps=10.")
        count = check_size("decode", "steps", count)

        def decoded(b: Batch) -> Tensor:
            return self._output(self._ordered(self.decoder(b.x, count), b.lengths), b.lengths)

        return self._apply(decoded, self._batch_of(self._codes(code), lengths, count), batch_size, whole=True)

    def reconstruct(self, x: Any, batch_size: int = 1024, *, lengths: Lengths = None) -> Any:
        """The reconstruction of x (N, T, D); zeros beyond `lengths`.

        For a Batch of windows (N, T + F, D): the reconstruction followed by the prediction. In mode "predict" the past is x
        itself, so that the error of a window is that of the prediction.
        """
        if self.mode == "predict" and not isinstance(x, Batch):
            raise ValueError("mode 'predict' has no decoder for the past: use predict(x), or train mode 'composite'.")

        def reconstructed(b: Batch) -> Tensor:
            past = b.x if b.future_only else self._output(self(b.x, lengths=b.context), b.context)
            return append_at_end(past, self.predict(b.x, lengths=b.context), b.context) if b.future else past

        return self._apply(reconstructed, self._batch_of(self._samples(x), lengths), batch_size, whole=True)

    def predict(self, x: Any, batch_size: int = 1024, *, steps: int | None = None, lengths: Lengths = None) -> Any:
        """The F steps, or `steps`, that follow x (N, T, D), or its first `lengths` steps: (N, F, D)."""
        if self.predictor is None:
            raise ValueError("mode 'reconstruct' predicts nothing: train mode 'predict' or 'composite'.")
        predictor, count = self.predictor, check_size("predict", "steps", self.future_steps if steps is None else steps)

        def predicted(b: Batch) -> Tensor:
            return self._output(predictor(self.encoder(b.x, b.context), count), None)

        return self._apply(predicted, self._batch_of(self._samples(x), lengths), batch_size, whole=True)

    def example_inputs(self, x: np.ndarray, generator: np.random.Generator) -> dict[str, np.ndarray]:
        """The first T steps of windows x (N, T + F, D), and `lengths` (N,) of them."""
        past = self._past(x)
        return {"x": x[:, :past], "lengths": (1 + generator.permutation(len(x)) % past).astype(np.int32)}

    def named_outputs(self, part: str, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
        """The code, or what the mode has of reconstruction and prediction, from x (N, T, D) with `lengths`, or from a code."""
        if part == "encoder":
            return {"code": self.encode(**inputs)}
        found = {}
        if self.mode != "predict":
            found = {"reconstruction": self.decode(**inputs) if part == "decoder" else self.reconstruct(**inputs)}
        if self.predictor is not None:
            code = inputs["code"] if part == "decoder" else self.encode(**inputs)
            found["prediction"] = self._output(self.predictor(code, self.future_steps), None)
        return found

    # What changes from epoch to epoch.

    def begin_epoch(self, number: int, train: Batch) -> None:
        """Set the share of true samples for scheduled feeding in epoch `number`: from 1 it falls to 0 over `teacher_epochs`."""
        for decoder in (self.decoder, self.predictor):
            if decoder is not None:
                decoder.truth_share = max(0.0, 1.0 - (number - 1) / self.teacher_epochs)

    @property
    def objective_changes(self) -> bool:
        """True with feeding "scheduled"."""
        return self.decoder.feeding == "scheduled"

    # Helpers.

    def _check_seen(self, lengths: np.ndarray) -> None:
        """Raise ValueError unless the encoder sees at least one step of each window of these lengths (N,)."""
        short = np.flatnonzero(lengths <= self.future_steps)
        if self.future_steps and short.size:
            raise ValueError(
                f"lengths must exceed the {self.future_steps} steps to predict, got {lengths[short[0]]} for sequence "
                f"{short[0]}: the encoder must see at least one step, so predict fewer (future_steps)."
            )

    def _distance(self, output: Tensor, wanted: Tensor, lengths: Lengths) -> Tensor:
        row = self.reconstruction
        if lengths is None:
            return row.loss(output, wanted, reduction="per_sample")
        elements = row.loss(output, wanted, reduction="none") * length_mask(wanted, lengths)
        return ops.sum(elements) * (1.0 / max(len(wanted), 1))

    def _ordered(self, y: Tensor, lengths: Lengths) -> Tensor:
        return reverse_padded(y, lengths) if self.reverse_target else y

    def _output(self, y: Tensor, lengths: Lengths) -> Tensor:
        """Samples from a decoder's raw output, zeros beyond `lengths`."""
        y = self.reconstruction.output(y)
        return y if lengths is None else y * length_mask(y, lengths)

    def _past(self, windows: Any) -> int:
        past = windows.shape[1] - self.future_steps
        if windows.ndim != 3 or past < 1:
            raise ValueError(
                f"windows must be (N, T, D) with more than the {self.future_steps} steps to predict, got shape "
                f"{windows.shape}: make windows longer or future_steps smaller."
            )
        return past

    def _batch_of(self, x: Any, lengths: Lengths, steps: int | None = None) -> Batch:
        """x with its lengths, which are checked, if `steps` is given also against it."""
        x = as_input(x)
        if isinstance(x, Batch):
            return x
        if lengths is not None:
            lengths = whole_numbers("LSTMAutoencoder", lengths, len(x))
            if steps is not None:
                lengths = check_lengths("LSTMAutoencoder", lengths, len(x), steps)
            if not isinstance(x, Tensor):
                lengths = backend_of(lengths).to_host(lengths)
        return Batch(x, lengths=lengths)


def check_mode(mode: str, future_steps: int | None) -> int:
    """F; raises ValueError for an unknown mode, or an F that does not go with it."""
    choose("mode", mode, MODES)
    if mode == "reconstruct":
        if future_steps:
            raise ValueError(f"mode 'reconstruct' predicts nothing, got future_steps={future_steps}: use 'composite'.")
        return 0
    if not future_steps:
        raise ValueError(f"mode {mode!r} needs the number of steps to predict: write future_steps=5, say.")
    return check_size("LSTMAutoencoder", "future_steps", future_steps)


# ---------------------------------------------------------------------------------------------------------------------
# The two halves of a sequence autoencoder: from sequences to vectors of fixed length, and back.

FEEDINGS = ("teacher", "own", "scheduled")
"""The input of a conditional decoder in training: the true sample, its own output, or either at random."""


class SequenceEncoder(Module):
    """Encodes sequences x (N, T, D) of any length as codes (N, K): the final state of an LSTM.

    code = (h, c) of all layers and directions, concatenated;   with a `code_size`: code = (h, c) W + b

    Args:
        features: D.
        hidden_size: units of each layer and direction.
        code_size: K; None uses the state itself, as Srivastava et al. 2015 do.
        generator: for the weights.
        options: of `nn.LSTM`: num_layers, bidirectional, peepholes, dropout, forget_bias.
    """

    @checked
    def __init__(
        self,
        features: int,
        hidden_size: int,
        code_size: int | None = None,
        *,
        generator: np.random.Generator | None = None,
        **options: Any,
    ) -> None:
        rng = as_generator(generator)
        self.lstm = LSTM(check_size("SequenceEncoder", "features", features), hidden_size, generator=rng, **options)
        self.code_size = (
            self.lstm.state_size if code_size is None else check_size("SequenceEncoder", "code_size", code_size)
        )
        self.project = None if code_size is None else Dense(self.lstm.state_size, code_size, generator=rng)

    def forward(self, x: Tensor, lengths: Lengths = None) -> Tensor:
        """Codes (N, K). With `lengths` (N,) they do not depend on the padding of x."""
        _, states = self.lstm(x, lengths=lengths)
        state = self.lstm.flat(states)
        return state if self.project is None else self.project(state)


class SequenceDecoder(Module):
    """Decodes codes (N, K) to sequences (N, T, D): the code sets the initial state of an LSTM, which runs for T steps.

    An unconditional decoder has no input. The input of a conditional one is the sample of the previous step (zeros at the
    first): in training as `feeding` says, in evaluation mode always the decoder's own output.

    Args:
        features: D.
        hidden_size: units of each layer.
        code_size: K. If it equals the size of the state, the code is the state; otherwise W code + b is.
        conditional: whether the previous sample is an input.
        feeding: "teacher" (the true sample), "own" (its own output), "scheduled" (the true sample with probability
            `truth_share`, independently for each step and sequence; Bengio et al. 2015); None if unconditional.
        output: from decoder output to the sample that is fed back: the sigmoid if outputs are logits.
        project: use W even if the code could be the state.
        generator: for the weights and scheduled feeding.
        options: of `nn.LSTM`: num_layers, peepholes, dropout, forget_bias.
    """

    changes_in_training = ("truth_share",)

    @checked
    def __init__(
        self,
        features: int,
        hidden_size: int,
        code_size: int,
        *,
        conditional: bool = False,
        feeding: str | None = None,
        output: Callable[[Any], Any] = lambda y: y,
        project: bool = False,
        generator: np.random.Generator | None = None,
        **options: Any,
    ) -> None:
        rng = as_generator(generator)
        self.features = check_size("SequenceDecoder", "features", features)
        self.conditional = bool(conditional)
        self.feeding = check_feeding(feeding, self.conditional)
        self.lstm = LSTM(features if conditional else 0, hidden_size, generator=rng, **options)
        copied = code_size == self.lstm.state_size and not project
        self.start = None if copied else Dense(code_size, self.lstm.state_size, generator=rng)
        self.readout = TimeDistributed(Dense(hidden_size, features, generator=rng))
        self.output = output
        self.truth_share = 1.0
        self.generator = rng

    def forward(self, code: Tensor, steps: int, truth: Tensor | None = None) -> Tensor:
        """Raw outputs (N, steps, D) from codes (N, K).

        truth: the true samples (N, steps, D). Used in training mode only, and neither by an unconditional decoder nor
        with feeding "own".
        """
        states = self.lstm.unflat(code if self.start is None else self.start(code))
        if not self.conditional:
            return self.readout(self.lstm(None, states, steps=steps)[0])
        truth = truth if self.training and self.feeding != "own" else None
        xp, n = backend_of(code.data).xp, code.shape[0]
        if truth is not None and self.feeding == "teacher":
            first = xp.zeros((n, 1, self.features), dtype=code.dtype)
            fed = ops.concatenate(first, ops.getitem(truth, index=(slice(None), slice(0, steps - 1))), axis=1)
            return self.readout(self.lstm(fed, states)[0])
        coins = None if truth is None else self._coins(code, steps)
        sample = Tensor(xp.zeros((n, self.features), dtype=code.dtype))
        outputs: list[Tensor] = []
        for t in range(steps):
            out, states = self.lstm(sample[:, None], states)
            outputs.append(self.readout.module(out[:, 0]))
            sample = self.output(outputs[-1])
            if coins is not None and truth is not None:
                sample = ops.where(coins[t], truth[:, t], sample)
        return ops.stack(*outputs, axis=1)

    def _coins(self, code: Tensor, steps: int) -> Any:
        """Where the true sample is the input, (T, N, 1), drawn at random."""
        draws = backend_of(code.data).uniform(self.generator, (steps, code.shape[0], 1), np.dtype("float32"))
        return draws < self.truth_share


def check_feeding(feeding: str | None, conditional: bool) -> str | None:
    """The feeding of a decoder, "teacher" by default for a conditional one; raises ValueError if it is invalid."""
    if not conditional:
        if feeding is not None:
            raise ValueError(
                f"feeding={feeding!r} needs a conditional decoder; an unconditional one has no input: "
                "write conditional=True, or leave feeding out."
            )
        return None
    return choose("feeding", "teacher" if feeding is None else feeding, FEEDINGS)


# ---------------------------------------------------------------------------------------------------------------------
# Padded sequences: masks, reversal, past and future.
#
# Sequences are (N, T, D) with `lengths` (N,), or None if there is no padding. The indices are computed on the device of the
# sequences; only the N lengths are copied there.


def reverse_padded(x: Tensor, lengths: Lengths) -> Tensor:
    """Each sequence reversed within its length; the padding stays in place."""
    if lengths is None:
        return ops.getitem(x, index=(slice(None), slice(None, None, -1)))
    t, ends = step_grid(x, x.shape[1], lengths)
    return take_steps(x, backend_of(x.data).xp.where(t < ends, ends - 1 - t, t))


def last_steps(x: Tensor, lengths: Lengths, count: int) -> Tensor:
    """The last `count` steps of each sequence before its padding, (N, count, D)."""
    if lengths is None:
        return ops.getitem(x, index=(slice(None), slice(x.shape[1] - count, None)))
    t, ends = step_grid(x, count, lengths)
    return take_steps(x, ends - count + t)


def append_at_end(past: Tensor, after: Tensor, lengths: Lengths) -> Tensor:
    """`after` (N, F, D) appended where each sequence of `past` (N, T, D) ends, then zeros: (N, T + F, D)."""
    both = ops.concatenate(past, after, axis=1)
    if lengths is None:
        return both
    t, ends = step_grid(both, both.shape[1], lengths)
    xp, count, steps = backend_of(both.data).xp, after.shape[1], past.shape[1]
    place = xp.where(t < ends, t, xp.where(t < ends + count, t - ends + steps, t))
    return take_steps(both, place) * (t < ends + count)[..., None].astype(both.dtype)


def zero_padding(x: Tensor, lengths: Lengths) -> Tensor:
    """x with its padding set to zero. Not by a product: NaN times 0 is NaN."""
    t, ends = step_grid(x, x.shape[1], lengths)
    return ops.where((t < ends)[..., None], x, 0.0)


def length_mask(x: Tensor, lengths: Lengths) -> Array:
    """0 in the padding of x (N, T, ...) and 1 elsewhere, (N, T, 1, ...), with the dtype and device of x."""
    t, ends = step_grid(x, x.shape[1], lengths)
    return (t < ends).reshape(*x.shape[:2], *(1,) * (x.ndim - 2)).astype(x.dtype)


def take_steps(x: Tensor, steps: Array) -> Tensor:
    """x[n, steps[n, t]]: different steps for each sequence, (N, S, D) for `steps` (N, S)."""
    rows = backend_of(x.data).xp.arange(x.shape[0])[:, None]
    return ops.getitem(x, index=(rows, steps))


def step_grid(x: Tensor, steps: int, lengths: Lengths) -> tuple[Array, Array]:
    """The step numbers (1, T) and the lengths (N, 1), on the device of x."""
    backend = backend_of(x.data)
    return backend.xp.arange(steps)[None, :], backend.to_device(lengths).reshape(-1, 1)


# ---------------------------------------------------------------------------------------------------------------------
# The builder: an LSTM autoencoder for windows of a known shape, for the registry and the command line.


@remembered("lstm")
@passes_on(LSTMAutoencoder, without=("steps",))
def lstm_autoencoder(
    input_shape: Shape,
    hidden_size: int = 128,
    **settings: Any,
) -> LSTMAutoencoder:
    """An `LSTMAutoencoder` for windows of a known length, from which `code_size` and `future_steps` follow if not given.

    Args:
        input_shape: (T + F, D), steps and values per step.
        hidden_size, settings: as for `LSTMAutoencoder`.
    """
    shape = tuple(input_shape) if isinstance(input_shape, Iterable) else (input_shape,)
    if len(shape) != 2:
        raise ValueError(
            f"an LSTM takes sequences (T, D), got samples of shape {shape}: use data of kind sequences or series, "
            "pendigits or nyc-taxi, say."
        )
    steps, features = shape
    code_size, future_steps = settings.pop("code_size", None), settings.pop("future_steps", None)
    known = defaults(LSTMAutoencoder) | settings
    mode = known["mode"]
    if future_steps is None:
        future_steps = 0 if mode == "reconstruct" else max(1, steps // 4)
    future_steps = check_mode(mode, future_steps)
    if future_steps >= steps:
        raise ValueError(f"future_steps={future_steps} leaves no input in windows of {steps} steps: make it smaller.")
    if code_size is None and mode != "predict":
        state = 2 * hidden_size * known["num_layers"] * (1 + known["bidirectional"])
        half = max(1, (steps - future_steps) * features // 2)
        code_size = half if half < state else 0
    return LSTMAutoencoder(
        features, hidden_size, code_size=code_size, steps=steps - future_steps, future_steps=future_steps, **settings
    )  # fmt: skip
