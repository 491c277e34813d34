"""`Autoencoder`: an encoder, a decoder, and how well the one undoes the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinyae.autodiff import Tensor, no_grad
from tinyae.backend import Array, backend_named, backend_of
from tinyae.backend.ragged import array_advice
from tinyae.losses import Loss, unit
from tinyae.models import sequence_steps
from tinyae.models.reconstruction import reconstruction_named
from tinyae.nn import Module, evaluating


class Autoencoder(Module):
    """Encoder and decoder trained together to give back their input (Rumelhart, Hinton and Williams 1986; Hinton and
    Salakhutdinov 2006).

    code = encoder(x),   output = decoder(code),   loss = distance(output, x)

    Args:
        encoder: module from x (N, ...) to codes (N, K).
        decoder: module from codes (N, K) to x's shape. With loss "bce" it gives logits.
        loss: "bce" (Bernoulli cross-entropy, in nats), "squared_error", "absolute_error" or "huber".
        sample: what one sample is called in units, e.g. "image" in "nats per image"; kept as `noun`.

    `encode`, `decode` and `reconstruct` take either Tensors (differentiable, in one piece, the model's present mode)
    or host NumPy arrays (in batches, in evaluation mode, nothing recorded, NumPy out): a whole data set is never
    pushed through at once.
    """

    capacity: int | None = None
    """How many samples a model can hold that only knows those it was trained on; None if it takes any."""

    makes: tuple[str, ...] = ("reconstruction",)
    """What `restore` gives in words: "reconstruction", "prediction" or both. Without the first, the steps that the model
    sees are handed back as they were given."""

    takes_lengths: bool = False
    """Whether `loss`, `evaluation_loss` and `reconstruct` take `lengths=`, (n,) on the host, of sequences of unequal
    length that are padded with zeros."""

    def __init__(self, encoder: Module, decoder: Module, *, loss: str = "bce", sample: str = "sample") -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.reconstruction = reconstruction_named(loss)
        self.noun = sample
        self.recipe: dict[str, Any] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """The decoder's raw output for x (logits if the loss is "bce")."""
        return self.decoder(self.encoder(x))

    def encode(self, x: Any, batch_size: int = 1024) -> Any:
        """Codes (N, K) of x (N, ...)."""
        return self._apply(self.encoder, x, batch_size)

    def decode(self, code: Any, batch_size: int = 1024) -> Any:
        """Reconstructions (N, ...) from codes (N, K)."""
        return self._apply(lambda c: self.reconstruction.output(self.decoder(c)), code, batch_size)

    def reconstruct(self, x: Any, batch_size: int = 1024) -> Any:
        """Decode the code of x: what is left of x after the bottleneck, of x's shape."""
        return self._apply(lambda v: self.reconstruction.output(self(v)), x, batch_size)

    def restore(self, x: Any, batch_size: int = 1024, *, lengths: Any = None) -> Any:
        """Whole samples (N, ...) from what the network is given, `inputs_for(samples)`: what pictures and errors compare.

        `reconstruct` itself, unless a subclass is given a part of a sample only; `lengths` where `takes_lengths` says so.
        """
        known: dict[str, Any] = {} if lengths is None else {"lengths": lengths}
        return self.reconstruct(x, batch_size, **known)

    def scored(self, x: Any, lengths: Any = None) -> Array | None:
        """Where `restore` is a guess, 1, and where it is given or padding, 0: an array that spreads over samples x (N, ...).

        None where all of it is a guess.
        """
        return None if lengths is None else sequence_steps.real(x, lengths)

    def loss(self, x: Tensor, target: Tensor | None = None) -> Loss:
        """Reconstruction loss of a batch, summed over a sample's elements and averaged over samples.

        `target` is what to reconstruct if it is not x itself (denoising).
        """
        row = self.reconstruction
        value = row.loss(self(x), x if target is None else target, reduction="per_sample")
        return Loss({"reconstruction": value}, self.loss_unit)

    def evaluation_loss(self, x: Tensor, target: Tensor, generator: np.random.Generator) -> Loss:
        """The loss that `tinyae.evaluate` reports: `loss` itself; a model that draws takes its noise from `generator`."""
        return self.loss(x, target)

    def begin_epoch(self, number: int) -> None:
        """Told by `tinyae.fit` before the epoch `number`, from 1: for a subclass whose objective changes with time."""

    @property
    def anneals(self) -> bool:
        """Whether the objective changes with the epochs, which a method that takes all samples at once cannot follow."""
        return False

    def check_lengths(self, lengths: np.ndarray) -> None:
        """Raise ValueError unless sequences of these lengths (N,) can be given to the model."""
        if not self.takes_lengths:
            raise ValueError(
                f"the sequences are of unequal length, from {lengths.min()} to {lengths.max()} steps, and "
                f"{type(self).__name__} would learn their padding as well: train lstm, or cut all to one length."
            )

    def failure(self) -> str:
        """What a subclass knows about a training step that went wrong, for the error message; "" if nothing."""
        return ""

    def remarks(self, x: np.ndarray, labels: Any = None) -> list[str]:
        """Lines that a subclass adds to the report after training, from held-out samples x (N, ...)."""
        return []

    def inputs_for(self, x: Array, labels: Any = None) -> Array:
        """What the network is given for samples x (N, ...), on any device, and their class numbers `labels` (N,) or None.

        x itself; a memory is given the samples' numbers, a conditional model the classes too.
        """
        return x

    def seen_steps(self, x: Array, lengths: Any = None) -> Array | None:
        """How many first steps of each sample x (N, T, D) the model sees, (N,); None if it predicts nothing."""
        return None

    def measures(self, x: Tensor, generator: np.random.Generator) -> dict[str, Any]:
        """Numbers that `tinyae.evaluate` adds to the common ones: name -> sum over the samples x, on the device.

        For subclasses to define, with `measure_units`; a model that draws takes its noise from `generator`.
        """
        return {}

    @property
    def measure_units(self) -> dict[str, str]:
        """The units of `measures`, per sample or per element as in "squared error per image"."""
        return {}

    @property
    def loss_unit(self) -> str:
        """The unit of `loss`, e.g. "nats per image"."""
        return unit(self.reconstruction.quantity, "per_sample", self.noun)

    @property
    def device(self) -> str:
        """Where the parameters live, `'cpu'` or `'gpu'`."""
        for parameter in self.parameters():
            return parameter.device
        return "cpu"

    def extra_repr(self) -> str:
        """Shown by `repr`."""
        return f"loss={self.reconstruction.name!r}"

    def _apply(self, function: Callable[[Any], Any], x: Any, batch_size: int) -> Any:
        """Run `function` on a Tensor as it is, on a host array batch by batch in evaluation mode."""
        if isinstance(x, Tensor):
            return function(x)
        if not isinstance(x, np.ndarray):
            raise TypeError(
                f"expected a Tensor or a NumPy array, got {type(x).__name__}: "
                f"{array_advice(x, 'numpy.asarray(x, dtype=numpy.float32) may help')}."
            )
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
        if len(x) == 0:
            raise ValueError(f"got an empty array of shape {x.shape}: there is nothing to encode or decode.")
        backend = backend_named(self.device)
        dtype = next((p.dtype for p in self.parameters()), x.dtype)
        with no_grad(), evaluating(self):
            parts = []
            for start in range(0, len(x), batch_size):
                out = function(Tensor(backend.to_device(x[start : start + batch_size], dtype)))
                parts.append(backend_of(out.data).to_host(out.data))
        return np.concatenate(parts)
