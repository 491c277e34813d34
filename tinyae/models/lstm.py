"""The LSTM autoencoder: a sequence becomes a vector of fixed length, and the vector a sequence again, or what comes next.

One encoder reads the sequence; one decoder tells it back, in reverse order unless asked otherwise, another one goes on
with it. A code from which the past can be told holds the sequence, one from which the future can be told holds what
drives it, and the composite model asks for both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np

from tinyae import ops
from tinyae.autodiff import Tensor
from tinyae.backend import Array, as_generator, backend_of
from tinyae.checks import choose
from tinyae.data import Split
from tinyae.losses import Loss
from tinyae.models.autoencoder import (
    RECONSTRUCTIONS,
    Autoencoder,
    Batch,
    reconstruction_named,
    remembered,
)
from tinyae.models.dense import Shape
from tinyae.models.settings import defaults, passes_on
from tinyae.nn import LSTM, Dense, Module, TimeDistributed
from tinyae.nn.layers import check_size
from tinyae.ops.recurrent import Lengths, check_lengths, settled, whole_numbers

MODES = ("reconstruct", "predict", "composite")
"""What is decoded: the sequence itself, the steps after it, or both, each by a decoder of its own."""


class LSTMAutoencoder(Autoencoder):
    """Encoder LSTM, decoder LSTMs (Srivastava, Mansimov and Salakhutdinov 2015).

    code = encoder(x_1 ... x_T),   (y_T ... y_1) = decoder(code),   (y_{T+1} ... y_{T+F}) = predictor(code),
    loss = sum over steps of distance(y_t, x_t), one term "reconstruction" and one term "prediction"

    Args:
        features: D, numbers in a step.
        hidden_size: H, units of each LSTM layer.
        code_size: K, latent dimensions; by default the encoder's final state, which the decoders start from as it is.
        mode: what is decoded: "reconstruct" (decoder only), "predict" (predictor only) or "composite" (both at once).
        steps: T, how many steps `decode` gives unless told otherwise; None where it is always told.
        future_steps: F, the steps to predict.
        conditional: each step of a decoder is given the sample of the step before. See `SequenceDecoder`.
        feeding: what a conditional decoder is given in training: the truth ("teacher", the default), its own output or by
            "scheduled" the toss of a coin. At test time it is given its own outputs, whatever this says.
        teacher_epochs: of scheduled feeding: epochs until the truth is gone, its share falling in equal steps.
        reverse_target: reconstruct from the last step to the first, which is what the code remembers best; by default
            wherever there is a reconstruction.
        num_layers: LSTM layers, of the encoder and of each decoder.
        peepholes: the gates see the cell.
        dropout: share dropped between layers.
        forget_bias: where the bias of the forget gates starts.
        bidirectional: the encoder reads in both directions.
        generator: for weights, dropout and coins.
        loss, sample: as for `Autoencoder`.

    `loss` and Batches have windows of T + F steps, of which the encoder sees the first T. Everywhere else x is what the
    encoder sees, (N, T, D). With `lengths` (N,) of a padded batch each sequence gives what it would give alone: the loss is
    the sum over its own steps, averaged over sequences.

    Attributes:
        encoder: a `SequenceEncoder`, of use without the rest; saved and loaded alone.
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
        future_steps: int = 0,
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
        mode, future_steps = check_mode(mode, future_steps)
        if mode == "predict" and reverse_target:
            raise ValueError(
                "reverse_target turns the reconstruction round, and mode 'predict' has none: leave it out."
            )
        lstm: dict[str, Any] = {
            "num_layers": num_layers, "peepholes": peepholes, "dropout": dropout, "forget_bias": forget_bias
        }  # fmt: skip
        encoder = SequenceEncoder(features, hidden_size, code_size, bidirectional=bidirectional, generator=rng, **lstm)
        fed: dict[str, Any] = {
            "conditional": conditional,
            "feeding": check_feeding(feeding, conditional),
            "output": reconstruction_named(loss).output,
            "project": code_size is not None,
        }
        count = 2 if mode == "composite" else 1
        decoders = [
            SequenceDecoder(features, hidden_size, encoder.code_size, generator=rng, **fed, **lstm)
            for _ in range(count)
        ]
        super().__init__(encoder, decoders[0], loss=loss, sample=sample)
        self.predictor = None if mode == "reconstruct" else decoders[-1]
        self.mode = mode
        self.steps = None if steps is None else check_size("LSTMAutoencoder", "steps", steps)
        self.future_steps = future_steps
        self.reverse_target = mode != "predict" and (reverse_target is None or bool(reverse_target))
        self.teacher_epochs = check_size("LSTMAutoencoder", "teacher_epochs", teacher_epochs)

    def objective(self, batch: Batch, *, generator: np.random.Generator | None = None) -> Loss:
        """The terms of a batch, each summed over a sequence's own steps and averaged over sequences.

        Its target is windows (N, T + F, D), its x the same or what the encoder sees of them, (N, T, D); its lengths count the
        F steps to predict. In evaluation mode nothing is drawn and no decoder sees the truth.
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
        """Windows (N, T + F, D) as targets, and of each the first T steps (N, T, D), which the encoder sees."""
        if samples.lengths is not None:
            self._check_seen(samples.lengths)
        x = samples.x[:, : self._past(samples.x)] if self.future_steps else samples.x
        return Batch(x, samples.x, lengths=samples.lengths, future_only=self.mode == "predict")

    def forward(self, x: Tensor, lengths: Lengths = None) -> Tensor:
        """Raw outputs of `decoder` for x (N, T, D): the reconstruction in its natural order, in mode "predict" the future."""
        code = self.encoder(x, lengths)
        count = self.future_steps if self.mode == "predict" else x.shape[1]
        return self._ordered(self.decoder(code, count), lengths)

    def encode(self, x: Any, batch_size: int = 1024, *, lengths: Lengths = None) -> Any:
        """Codes (N, K) of x (N, T, D), all of whose steps the encoder sees."""
        return self._apply(lambda b: self.encoder(b.x, b.context), self._batch_of(x, lengths), batch_size, whole=True)

    def decode(self, code: Any, batch_size: int = 1024, *, steps: int | None = None, lengths: Lengths = None) -> Any:
        """Sequences (N, steps, D) from codes (N, K): the past, in mode "predict" the future; zeros behind `lengths`."""
        count = (self.future_steps if self.mode == "predict" else self.steps) if steps is None else steps
        if count is None:
            raise ValueError("decode: how many steps? Write decode(code, steps=10), or build the model with steps=10.")
        count = check_size("decode", "steps", count)

        def decoded(b: Batch) -> Tensor:
            return self._output(self._ordered(self.decoder(b.x, count), b.lengths), b.lengths)

        return self._apply(decoded, self._batch_of(code, lengths, count), batch_size, whole=True)

    def reconstruct(self, x: Any, batch_size: int = 1024, *, lengths: Lengths = None) -> Any:
        """What is left of x (N, T, D) after the code, of its shape; zeros behind `lengths`.

        Of a Batch of windows whole ones (N, T + F, D): the reconstruction and after it the prediction. In mode "predict" the
        past is x itself, so that an error over the window is that of the prediction.
        """
        if self.mode == "predict" and not isinstance(x, Batch):
            raise ValueError("mode 'predict' has no decoder of the past: use predict(x), or train mode 'composite'.")

        def reconstructed(b: Batch) -> Tensor:
            past = b.x if b.future_only else self._output(self(b.x, lengths=b.context), b.context)
            return append_at_end(past, self.predict(b.x, lengths=b.context), b.context) if b.future else past

        return self._apply(reconstructed, self._batch_of(x, lengths), batch_size, whole=True)

    def predict(self, x: Any, batch_size: int = 1024, *, steps: int | None = None, lengths: Lengths = None) -> Any:
        """The steps that follow x (N, T, D), or its end by `lengths`: (N, F, D), or as many as `steps` says."""
        if self.predictor is None:
            raise ValueError("mode 'reconstruct' predicts nothing: train mode 'predict' or 'composite'.")
        predictor, count = self.predictor, check_size("predict", "steps", self.future_steps if steps is None else steps)

        def predicted(b: Batch) -> Tensor:
            return self._output(predictor(self.encoder(b.x, b.context), count), None)

        return self._apply(predicted, self._batch_of(x, lengths), batch_size, whole=True)

    # What changes from epoch to epoch.

    def begin_epoch(self, number: int) -> None:
        """With feeding "scheduled", the share of the truth in epoch `number`: 1, falling to 0 over `teacher_epochs`."""
        for decoder in (self.decoder, self.predictor):
            if decoder is not None:
                decoder.truth_share = max(0.0, 1.0 - (number - 1) / self.teacher_epochs)

    @property
    def objective_changes(self) -> bool:
        """With feeding "scheduled"."""
        return self.decoder.feeding == "scheduled"

    def extra_repr(self) -> str:
        """Shown by `repr`."""
        future = f", future_steps={self.future_steps}" if self.future_steps else ""
        return f"{super().extra_repr()}, mode={self.mode!r}{future}, reverse_target={self.reverse_target}"

    # Helpers.

    def _check_seen(self, lengths: np.ndarray) -> None:
        """Raise ValueError unless the encoder sees a step of each window of these lengths (N,)."""
        short = np.flatnonzero(lengths <= self.future_steps)
        if self.future_steps and short.size:
            raise ValueError(
                f"lengths must be above the {self.future_steps} steps to predict, got {lengths[short[0]]} for sequence "
                f"{short[0]}: the encoder must see a step at least, so predict fewer (future_steps)."
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
        """Samples from a decoder's raw output, zeros behind `lengths`."""
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
        """x with its lengths, which are checked; none may be above `steps`, where those are known here."""
        if isinstance(x, Batch):
            return x
        if lengths is not None and hasattr(x, "shape"):
            lengths = whole_numbers("LSTMAutoencoder", lengths, len(x))
            if steps is not None:
                lengths = check_lengths("LSTMAutoencoder", lengths, len(x), steps)
            if not isinstance(x, Tensor):
                lengths = backend_of(lengths).to_host(lengths)
        return Batch(x, lengths=lengths)


def check_mode(mode: str, future_steps: int) -> tuple[str, int]:
    """The mode and F; raises ValueError for an unknown mode, or a future where there is none or none where there is."""
    choose("mode", mode, MODES)
    if mode == "reconstruct":
        if future_steps:
            raise ValueError(f"mode 'reconstruct' predicts nothing, got future_steps={future_steps}: use 'composite'.")
        return mode, 0
    if not future_steps:
        raise ValueError(f"mode {mode!r} needs to know how many steps to predict: write future_steps=5, say.")
    return mode, check_size("LSTMAutoencoder", "future_steps", future_steps)


# ---------------------------------------------------------------------------------------------------------------------
# The two halves of a sequence autoencoder: sequences to vectors of fixed length, and vectors to sequences.

FEEDINGS = ("teacher", "own", "scheduled")
"""What a conditional decoder is fed in training: the truth, its own output, or either by the toss of a coin."""


class SequenceEncoder(Module):
    """Sequences x (N, T, D) of any length as codes (N, K): the state that an LSTM ends with.

    code = (h, c) of all layers and directions side by side,   or with a `code_size`: code = (h, c) W + b

    Args:
        features: D.
        hidden_size: units of each layer and direction.
        code_size: K; None takes the state itself, as Srivastava et al. 2015 do.
        generator: for the weights.
        options: of `nn.LSTM`: num_layers, bidirectional, peepholes, dropout, forget_bias.
    """

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
        """Codes (N, K). With `lengths` (N,) the padding of x leaves no trace in them."""
        _, states = self.lstm(x, lengths=lengths)
        state = self.lstm.flat(states)
        return state if self.project is None else self.project(state)


class SequenceDecoder(Module):
    """Codes (N, K) as sequences (N, T, D): the code sets the state of an LSTM, which then runs for T steps.

    Unconditional, it is given nothing but its state. Conditional, each step is given the sample of the step before (zeros
    at the first): in training what `feeding` says, in evaluation mode always what the decoder has just made itself.

    Args:
        features: D.
        hidden_size: units of each layer.
        code_size: K. Where it is the length of the state the code is copied, else W code + b is the state.
        conditional: whether a step is given the sample before.
        feeding: "teacher" (the truth), "own" (its own output), "scheduled" (the truth with probability `truth_share`,
            for each step and sequence anew; Bengio et al. 2015); None for an unconditional decoder.
        output: decoder output -> sample, what is fed back: the sigmoid where outputs are logits.
        project: True makes W even where the code could be copied.
        generator: for the weights and the coins.
        options: of `nn.LSTM`: num_layers, peepholes, dropout, forget_bias.
    """

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

        truth: the samples (N, steps, D) to come. It is looked at in training mode alone, and never by an unconditional
        decoder or with feeding "own".
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
        """Where the truth is fed, (T, N, 1), drawn anew."""
        draws = backend_of(code.data).uniform(self.generator, (steps, code.shape[0], 1), np.dtype("float32"))
        return draws < self.truth_share

    def extra_repr(self) -> str:
        """What each step is given in training."""
        return f"feeding={self.feeding!r}" if self.conditional else "unconditional"


def check_feeding(feeding: str | None, conditional: bool) -> str | None:
    """The feeding of a decoder, "teacher" by default for a conditional one; raises where it makes no sense."""
    if not conditional:
        if feeding is not None:
            raise ValueError(
                f"feeding={feeding!r} was asked of an unconditional decoder, which is fed nothing: "
                "write conditional=True, or leave feeding out."
            )
        return None
    if feeding is None:
        return "teacher"
    choose("feeding", feeding, FEEDINGS)
    return feeding


# ---------------------------------------------------------------------------------------------------------------------
# Which steps of padded sequences are real, and in which order: masks, reversal, past and future.
#
# Sequences are (N, T, D) with `lengths` (N,) or None where all T steps are real. The indices are computed where the
# sequences are; only the lengths, N whole numbers, go to a device.


def reverse_padded(x: Tensor, lengths: Lengths) -> Tensor:
    """Each sequence back to front within its own length; the padding stays where it is."""
    if lengths is None:
        return ops.getitem(x, index=(slice(None), slice(None, None, -1)))
    t, ends = step_grid(x, x.shape[1], lengths)
    return take_steps(x, backend_of(x.data).xp.where(t < ends, ends - 1 - t, t))


def last_steps(x: Tensor, lengths: Lengths, count: int) -> Tensor:
    """The last `count` real steps of each sequence, (N, count, D)."""
    if lengths is None:
        return ops.getitem(x, index=(slice(None), slice(x.shape[1] - count, None)))
    t, ends = step_grid(x, count, lengths)
    return take_steps(x, ends - count + t)


def append_at_end(past: Tensor, after: Tensor, lengths: Lengths) -> Tensor:
    """`after` (N, F, D) where each sequence of `past` (N, T, D) ends, (N, T + F, D); zeros behind it."""
    both = ops.concatenate(past, after, axis=1)
    if lengths is None:
        return both
    t, ends = step_grid(both, both.shape[1], lengths)
    xp, count, steps = backend_of(both.data).xp, after.shape[1], past.shape[1]
    place = xp.where(t < ends, t, xp.where(t < ends + count, t - ends + steps, t))
    return take_steps(both, place) * (t < ends + count)[..., None].astype(both.dtype)


def zero_padding(x: Tensor, lengths: Lengths) -> Tensor:
    """x with zeros in its padding, whatever stands there: NaN times 0 would still be NaN."""
    t, ends = step_grid(x, x.shape[1], lengths)
    return ops.where((t < ends)[..., None], x, 0.0)


def length_mask(x: Tensor, lengths: Lengths) -> Array:
    """1 at the real steps of x (N, T, ...) and 0 in its padding, (N, T, 1, ...), in the dtype of x and where x is."""
    t, ends = step_grid(x, x.shape[1], lengths)
    return (t < ends).reshape(*x.shape[:2], *(1,) * (x.ndim - 2)).astype(x.dtype)


def take_steps(x: Tensor, steps: Array) -> Tensor:
    """x[n, steps[n, t]]: for each sequence steps of its own, (N, S, D) for `steps` (N, S)."""
    rows = backend_of(x.data).xp.arange(x.shape[0])[:, None]
    return ops.getitem(x, index=(rows, steps))


def step_grid(x: Tensor, steps: int, lengths: Lengths) -> tuple[Array, Array]:
    """The numbers of the steps (1, T), and the lengths (N, 1), where x is."""
    backend = backend_of(x.data)
    return backend.xp.arange(steps)[None, :], backend.to_device(lengths).reshape(-1, 1)


# ---------------------------------------------------------------------------------------------------------------------
# An LSTM autoencoder for windows of a known shape: the builder that a name, a run and the command line use.


@remembered("lstm")
@passes_on(LSTMAutoencoder, without=("steps",))
def lstm_autoencoder(
    input_shape: Shape,
    hidden_size: int = 128,
    *,
    future_steps: int | None = None,
    **settings: Any,
) -> LSTMAutoencoder:
    """An `LSTMAutoencoder` for windows of a known shape.

    Args:
        input_shape: (T + F, D), steps and numbers in a step.
        future_steps: F, last steps of each sequence, to be predicted; by default a quarter of them, at least 1, where the
            mode predicts.
        settings, and the others: as for `LSTMAutoencoder`.
    """
    shape = (input_shape,) if isinstance(input_shape, int) else tuple(input_shape)
    if len(shape) != 2:
        raise ValueError(
            f"an LSTM takes sequences (T, D), got samples of shape {shape}: use data of kind sequences or series, "
            "pendigits or nyc-taxi, say."
        )
    steps, features = shape
    mode = (defaults(LSTMAutoencoder) | settings)["mode"]
    if future_steps is None:
        future_steps = 0 if mode == "reconstruct" else max(1, steps // 4)
    _, future_steps = check_mode(mode, future_steps)
    if future_steps >= steps:
        raise ValueError(
            f"future_steps={future_steps} leaves nothing to see of windows of {steps} steps: make it smaller."
        )
    return LSTMAutoencoder(features, hidden_size, steps=steps - future_steps, future_steps=future_steps, **settings)
