"""The LSTM autoencoder: a sequence becomes a vector of fixed length, and the vector a sequence again, or what comes next.

One encoder reads the sequence; one decoder tells it back, in reverse order unless asked otherwise, another one goes on
with it. A code from which the past can be told holds the sequence, one from which the future can be told holds what
drives it, and the composite model asks for both.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tinyae import ops
from tinyae.autodiff import Tensor
from tinyae.backend import Array, as_generator, backend_of
from tinyae.losses import Loss
from tinyae.models import sequence_steps as order
from tinyae.models.autoencoder import Autoencoder
from tinyae.models.reconstruction import reconstruction_named
from tinyae.models.sequence_parts import SequenceDecoder, SequenceEncoder, check_feeding
from tinyae.nn.checks import check_size
from tinyae.ops.sequence import Lengths, check_lengths, settled, whole_numbers

MODES = {
    "reconstruct": ("reconstruction",),
    "predict": ("prediction",),
    "composite": ("reconstruction", "prediction"),
}
"""Mode -> what is decoded: the sequence itself, the steps after it, or both, each by a decoder of its own."""


class LSTMAutoencoder(Autoencoder):
    """Encoder LSTM, decoder LSTMs (Srivastava, Mansimov and Salakhutdinov 2015).

    code = encoder(x_1 ... x_T),   (y_T ... y_1) = decoder(code),   (y_{T+1} ... y_{T+F}) = predictor(code),
    loss = sum over steps of distance(y_t, x_t), one term "reconstruction" and one term "prediction"

    Args:
        features: D, numbers in a step.
        hidden_size: units of each LSTM layer.
        code_size: K; None makes the code the encoder's final state, which the decoders start from as it is.
        mode: "reconstruct" (decoder only), "predict" (predictor only) or "composite" (both, fitted at once).
        steps: T, how many steps `decode` gives unless told otherwise; None where it is always told.
        future_steps: F, the steps to predict.
        conditional: whether a decoder is given the sample of the step before; see `SequenceDecoder`.
        feeding: what a conditional decoder is fed in training, "teacher" (by default), "own" or "scheduled". At test
            time it is fed its own outputs, whatever this says.
        teacher_epochs: with "scheduled", the epochs in which the share of the truth falls from 1 to 0 in equal steps.
        reverse_target: reconstruct from the last step to the first, which is what the code remembers best. None is True
            where there is a reconstruction.
        num_layers, peepholes, dropout, forget_bias: of all LSTMs; see `nn.LSTM`.
        bidirectional: the encoder reads in both directions.
        loss, sample: as for `Autoencoder`.
        generator: for weights, dropout and coins.

    `loss` is given windows of T + F steps, of which the encoder sees the first T. Everywhere else x is what the encoder
    sees, (N, T, D). With `lengths` (N,) of a padded batch each sequence gives what it would give alone: the loss is the
    sum over its own steps, averaged over sequences.

    Attributes:
        encoder: a `SequenceEncoder`, of use without the rest; saved and loaded alone.
        decoder: a `SequenceDecoder`; in mode "predict" it is the predictor.
        predictor: the `SequenceDecoder` of the future, None in mode "reconstruct".
    """

    takes_lengths = True
    encoder: SequenceEncoder
    decoder: SequenceDecoder

    def __init__(
        self,
        features: int,
        hidden_size: int = 128,
        code_size: int | None = None,
        *,
        mode: str = "reconstruct",
        steps: int | None = None,
        future_steps: int = 0,
        conditional: bool = False,
        feeding: str | None = None,
        teacher_epochs: int = 10,
        reverse_target: bool | None = None,
        num_layers: int = 1,
        bidirectional: bool = False,
        peepholes: bool = False,
        dropout: float = 0.0,
        forget_bias: float = 1.0,
        loss: str = "squared_error",
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
        self.makes = MODES[mode]
        self.steps = None if steps is None else check_size("LSTMAutoencoder", "steps", steps)
        self.future_steps = future_steps
        self.reverse_target = mode != "predict" and (reverse_target is None or bool(reverse_target))
        self.teacher_epochs = check_size("LSTMAutoencoder", "teacher_epochs", teacher_epochs)

    # What users call.

    def forward(self, x: Tensor, lengths: Lengths = None) -> Tensor:
        """Raw outputs of `decoder` for x (N, T, D): the reconstruction in its natural order, in mode "predict" the future."""
        return self._ordered(self.decoder(self.encoder(x, lengths), self._count(x)), lengths)

    def encode(self, x: Any, batch_size: int = 1024, *, lengths: Lengths = None) -> Any:
        """Codes (N, K) of x (N, T, D), all of whose steps the encoder sees."""
        return self._by_length(self.encoder, x, batch_size, lengths)

    def decode(self, code: Any, batch_size: int = 1024, *, steps: int | None = None, lengths: Lengths = None) -> Any:
        """Sequences (N, steps, D) from codes (N, K): the past, in mode "predict" the future; zeros behind `lengths`."""
        count = (self.future_steps if self.mode == "predict" else self.steps) if steps is None else steps
        if count is None:
            raise ValueError("decode: how many steps? Write decode(code, steps=10), or build the model with steps=10.")
        count = check_size("decode", "steps", count)

        def decoded(code: Tensor, lengths: Lengths = None) -> Tensor:
            y = self.reconstruction.output(self._ordered(self.decoder(code, count), lengths))
            return y if lengths is None else y * order.real(y, lengths)

        return self._by_length(decoded, code, batch_size, lengths, count)

    def reconstruct(self, x: Any, batch_size: int = 1024, *, lengths: Lengths = None) -> Any:
        """What is left of x (N, T, D) after the code, of its shape; zeros behind `lengths`."""
        if self.mode == "predict":
            raise ValueError("mode 'predict' has no decoder of the past: use predict(x), or train mode 'composite'.")

        def reconstructed(x: Tensor, lengths: Lengths = None) -> Tensor:
            y = self.reconstruction.output(self(x, lengths=lengths))
            return y if lengths is None else y * order.real(y, lengths)

        return self._by_length(reconstructed, x, batch_size, lengths)

    def predict(self, x: Any, batch_size: int = 1024, *, steps: int | None = None, lengths: Lengths = None) -> Any:
        """The steps that follow x (N, T, D), or its end by `lengths`: (N, F, D), or as many as `steps` says."""
        if self.predictor is None:
            raise ValueError("mode 'reconstruct' predicts nothing: train mode 'predict' or 'composite'.")
        predictor, count = self.predictor, check_size("predict", "steps", self.future_steps if steps is None else steps)

        def predicted(x: Tensor, lengths: Lengths = None) -> Tensor:
            return self.reconstruction.output(predictor(self.encoder(x, lengths), count))

        return self._by_length(predicted, x, batch_size, lengths)

    def restore(self, x: Any, batch_size: int = 1024, *, lengths: Lengths = None) -> Any:
        """Whole windows (N, T + F, D) from what the encoder sees: the reconstruction, and after it the prediction.

        In mode "predict" the past is x itself, so that an error over the window is that of the prediction. `lengths` are
        those of the windows.
        """
        if self.predictor is None:
            return self.reconstruct(x, batch_size, lengths=lengths)

        def restored(x: Tensor, lengths: Lengths = None) -> Tensor:
            seen = None if lengths is None else lengths - self.future_steps
            past = x if self.mode == "predict" else self.reconstruct(x, lengths=seen)
            return order.joined(past, self.predict(x, lengths=seen), seen)

        return self._by_length(restored, x, batch_size, lengths)

    def scored(self, x: Any, lengths: Lengths = None) -> Array | None:
        """1 at the real steps of windows x (N, T + F, D) that a decoder wrote, (N, T + F, 1); in mode "predict" the last F."""
        if self.mode != "predict":
            return super().scored(x, lengths)
        lengths = np.full(len(x), x.shape[1]) if lengths is None else lengths
        return order.real(x, lengths) - order.real(x, lengths - self.future_steps)

    def inputs_for(self, x: Array, labels: Any = None) -> Array:
        """What the encoder sees of windows x (N, T + F, D): the first T steps, (N, T, D)."""
        return x[:, : self._past(x)] if self.future_steps else x

    def seen_steps(self, x: Array, lengths: Lengths = None) -> Array | None:
        """How many first steps of each window x (N, T + F, D), of `lengths` steps, the encoder sees; None without F."""
        if not self.future_steps:
            return None
        return np.full(len(x), x.shape[1] if lengths is None else lengths, np.int64) - self.future_steps

    # The objective.

    def loss(self, x: Tensor, target: Tensor | None = None, *, lengths: Lengths = None) -> Loss:
        """The terms of a batch, each summed over a sequence's own steps and averaged over sequences.

        Args:
            x: windows (N, T + F, D), or what the encoder sees of them, (N, T, D).
            target: the windows to compare with, if they are not x.
            lengths: how many steps of each window are real, the F to predict included; the encoder sees the others.
        """
        target = x if target is None else target
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
                self.check_lengths(lengths)
            seen = lengths - self.future_steps
            target = order.blanked(target, lengths)
        if x.shape[1] > past:
            x = x[:, :past]
        code = self.encoder(x, seen)
        terms: dict[str, Tensor] = {}
        if self.mode != "predict":
            wanted = target if past == target.shape[1] else target[:, :past]
            wanted = order.turned(wanted, seen) if self.reverse_target else wanted
            terms["reconstruction"] = self._distance(self.decoder(code, past, wanted), wanted, seen)
        if self.predictor is not None:
            wanted = order.future(target, lengths, self.future_steps)
            terms["prediction"] = self._distance(self.predictor(code, self.future_steps, wanted), wanted, None)
        return Loss(terms, self.loss_unit)

    def evaluation_loss(
        self, x: Tensor, target: Tensor, generator: np.random.Generator, lengths: Lengths = None
    ) -> Loss:
        """`loss` itself: in evaluation mode nothing is drawn and no decoder sees the truth."""
        return self.loss(x, target, lengths=lengths)

    def begin_epoch(self, number: int) -> None:
        """With feeding "scheduled", the share of the truth in epoch `number`: 1, falling to 0 over `teacher_epochs`."""
        for decoder in (self.decoder, self.predictor):
            if decoder is not None:
                decoder.truth_share = max(0.0, 1.0 - (number - 1) / self.teacher_epochs)

    @property
    def anneals(self) -> bool:
        """With feeding "scheduled"."""
        return self.decoder.feeding == "scheduled"

    def check_lengths(self, lengths: np.ndarray) -> None:
        """Raise ValueError unless the encoder sees a step of each window of these lengths (N,)."""
        short = np.flatnonzero(lengths <= self.future_steps)
        if self.future_steps and short.size:
            raise ValueError(
                f"lengths must be above the {self.future_steps} steps to predict, got {lengths[short[0]]} for sequence "
                f"{short[0]}: the encoder must see a step at least, so predict fewer (future_steps)."
            )

    def extra_repr(self) -> str:
        """Shown by `repr`."""
        future = f", future_steps={self.future_steps}" if self.future_steps else ""
        return f"{super().extra_repr()}, mode={self.mode!r}{future}, reverse_target={self.reverse_target}"

    # Helpers.

    def _distance(self, output: Tensor, wanted: Tensor, lengths: Lengths) -> Tensor:
        row = self.reconstruction
        if lengths is None:
            return row.loss(output, wanted, reduction="per_sample")
        elements = row.loss(output, wanted, reduction="none") * order.real(wanted, lengths)
        return ops.sum(elements) * (1.0 / max(len(wanted), 1))

    def _ordered(self, y: Tensor, lengths: Lengths) -> Tensor:
        return order.turned(y, lengths) if self.reverse_target else y

    def _count(self, x: Any) -> int:
        return self.future_steps if self.mode == "predict" else x.shape[1]

    def _past(self, windows: Any) -> int:
        past = windows.shape[1] - self.future_steps
        if windows.ndim != 3 or past < 1:
            raise ValueError(
                f"windows must be (N, T, D) with more than the {self.future_steps} steps to predict, got shape "
                f"{windows.shape}: make windows longer or future_steps smaller."
            )
        return past

    def _by_length(
        self, function: Callable[..., Tensor], x: Any, batch_size: int, lengths: Lengths, steps: int | None = None
    ) -> Any:
        """`_apply`, with the lengths of each batch beside it; no length may be above `steps`, where they are known here."""
        if lengths is None or not hasattr(x, "shape"):
            return self._apply(function, x, batch_size)
        lengths = whole_numbers("LSTMAutoencoder", lengths, len(x))
        if steps is not None:
            lengths = check_lengths("LSTMAutoencoder", lengths, len(x), steps)
        if isinstance(x, Tensor):
            return function(x, lengths)
        host = backend_of(lengths).to_host(lengths)
        starts = range(0, max(len(x), 1), max(batch_size, 1))
        parts = []
        for start in starts:
            rows = slice(start, start + max(batch_size, 1))
            parts.append(self._apply(partial(function, lengths=host[rows]), x[rows], batch_size))
        return np.concatenate(parts)


def check_mode(mode: str, future_steps: int) -> tuple[str, int]:
    """The mode and F; raises ValueError for an unknown mode, or a future where there is none or none where there is."""
    if mode not in MODES:
        raise ValueError(f"unknown mode {mode!r}: choose one of {', '.join(MODES)}.")
    if mode == "reconstruct":
        if future_steps:
            raise ValueError(f"mode 'reconstruct' predicts nothing, got future_steps={future_steps}: use 'composite'.")
        return mode, 0
    if not future_steps:
        raise ValueError(f"mode {mode!r} needs to know how many steps to predict: write future_steps=5, say.")
    return mode, check_size("LSTMAutoencoder", "future_steps", future_steps)
