"""`Autoencoder`: an encoder, a decoder, and how well the one undoes the other.

Below it stand what a reconstruction is measured by, how a model remembers its builder's arguments, and the steps of
sequences that models share.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ParamSpec, TypeVar

import numpy as np

from tinyae import losses, ops
from tinyae.autodiff import Tensor, no_grad
from tinyae.backend import Array, backend_named, backend_of
from tinyae.backend.base import array_advice
from tinyae.checks import choose
from tinyae.losses import Loss, unit
from tinyae.nn import Module, evaluating
from tinyae.ops.recurrent import Lengths


class Autoencoder(Module):
    """Encoder and decoder trained together to give back their input (Rumelhart, Hinton and Williams 1986; Hinton and
    Salakhutdinov 2006).

    code = encoder(x),   output = decoder(code),   loss = distance(output, x)

    Args:
        encoder: module from x (N, ...) to codes (N, K).
        decoder: module from codes (N, K) to x's shape. With loss "bce" it gives logits.
        loss: reconstruction loss; "bce" is the Bernoulli cross-entropy of logits, in nats.
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

    def __init__(
        self, encoder: Module, decoder: Module, *, loss: Annotated[str, RECONSTRUCTIONS] = "bce", sample: str = "sample"
    ) -> None:
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
        return None if lengths is None else length_mask(x, lengths)

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


# ---------------------------------------------------------------------------------------------------------------------
# What an autoencoder is asked to reconstruct well: one row per reconstruction loss.
#
# A decoder's raw output is not always the reconstruction. With the Bernoulli cross-entropy the decoder gives logits,
# the loss is computed from them, and the picture is their sigmoid; with the others the output is the reconstruction.


@dataclass(frozen=True)
class Reconstruction:
    """One way to score a reconstruction.

    Attributes:
        name: as users write it, `loss="bce"`.
        loss: function of (decoder output, targets, reduction=...).
        output: decoder output -> reconstruction.
        quantity: what the loss counts, e.g. "nats".
        bounded: whether targets must lie in [0, 1].
    """

    name: str
    loss: Callable[..., Any]
    output: Callable[[Any], Any]
    quantity: str
    bounded: bool

    def check_targets(self, targets: np.ndarray) -> None:
        """Raise once, before training, if targets cannot be what this loss needs."""
        if self.bounded and targets.size and not (targets.min() >= 0 and targets.max() <= 1):
            raise ValueError(
                f"loss {self.name!r} needs targets in [0, 1], got values from {targets.min():g} to {targets.max():g}: "
                "scale the data (e.g. divide by its maximum), or use loss='squared_error' (--loss squared_error)."
            )


def _identity(x: Any) -> Any:
    return x


RECONSTRUCTIONS = {
    row.name: row
    for row in (
        Reconstruction("bce", losses.bce_with_logits, ops.sigmoid, "nats", bounded=True),
        Reconstruction("squared_error", losses.squared_error, _identity, "squared error", bounded=False),
        Reconstruction("half_squared_error", losses.half_squared_error, _identity, "half squared error", bounded=False),
        Reconstruction("absolute_error", losses.absolute_error, _identity, "absolute error", bounded=False),
        Reconstruction("huber", losses.huber, _identity, "Huber error", bounded=False),
    )
}
"""The reconstruction losses by name."""


def reconstruction_named(name: str) -> Reconstruction:
    """The row of a reconstruction loss; raises ValueError with the known names."""
    choose("reconstruction loss", name, RECONSTRUCTIONS)
    return RECONSTRUCTIONS[name]


# ---------------------------------------------------------------------------------------------------------------------
# The recipe of a model: the name of its builder and the plain arguments it was called with, which is enough to build it
# again.

P = ParamSpec("P")
A = TypeVar("A", bound=Autoencoder)


def remembered(name: str) -> Callable[[Callable[P, A]], Callable[P, A]]:
    """Decorator of the builder of the registry's model `name`: what it builds knows its recipe, for `tinyae.save`.

    Its encoder knows it too, so that it can be saved and loaded without the rest. The generator is left out, as the weights
    are saved. A builder that was given anything but numbers, texts, and lists or dicts of them leaves no recipe.
    """

    def decorate(builder: Callable[P, A]) -> Callable[P, A]:
        signature = inspect.signature(builder)

        @functools.wraps(builder)
        def build(*args: P.args, **kwargs: P.kwargs) -> A:
            model = builder(*args, **kwargs)
            remember(model, name, _given(signature, args, kwargs))
            return model

        return build

    return decorate


def remember(model: Autoencoder, name: str, arguments: dict[str, Any]) -> None:
    """Write down how `model` and its encoder were built, if the arguments are plain."""
    try:
        plain = {key: _plain(value) for key, value in arguments.items()}
    except TypeError:
        return
    model.recipe = {"model": name, "arguments": plain}
    model.encoder.recipe = {**model.recipe, "part": "encoder"}


def _given(signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """What was passed by name, without the generator."""
    arguments = dict(signature.bind(*args, **kwargs).arguments)
    others = next((p.name for p in signature.parameters.values() if p.kind is p.VAR_KEYWORD), None)
    arguments.update(arguments.pop(others, {}) if others else {})
    arguments.pop("generator", None)
    return arguments


def _plain(value: Any) -> Any:
    """A value as JSON has it; raises TypeError for what JSON has not."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _plain(part) for key, part in value.items()}
    raise TypeError(f"a recipe holds numbers, texts, lists and dicts, got {type(value).__name__}.")


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
