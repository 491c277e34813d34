"""`Autoencoder`: an encoder and a decoder, trained so that the decoder undoes the encoder.

In reading order: `Batch`, the input and the target of a model; `Autoencoder`; the reconstruction losses; and how a model
remembers its builder's arguments.
"""

from __future__ import annotations

import inspect
import json
from collections import UserDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial, reduce, wraps
from typing import Annotated, Any, ClassVar, ParamSpec, TypeVar, overload

import numpy as np
import numpy.typing as npt

from tinyae import losses, ops
from tinyae.autodiff import Tensor, no_grad
from tinyae.backend import Array, Backend, backend_named, backend_of
from tinyae.checks import checked, choose, whole_number
from tinyae.data import Dataset, Lengths, Split, padding
from tinyae.data.dataset import as_samples
from tinyae.data.source import LazyRows, find
from tinyae.losses import Loss, unit
from tinyae.nn import Module, evaluating


@dataclass(frozen=True, eq=False)
class Batch:
    """Inputs and targets of a model for some samples: a minibatch, or a whole data set.

    Attributes:
        x: the network's input, (N, ...): the samples, or what `Autoencoder.batch` makes of them.
        target: what the output is compared with, (N, ...); x by default.
        labels: class numbers (N,), or None.
        lengths: for sequences of unequal length, how many steps of `target` are not padding, (N,) on the host; or None.
        future_only: whether the model outputs only the steps that `target` has after those of x.

    x and target are arrays on one device, or, for a loss, Tensors (see `tensors`). Raises ValueError unless all parts have N
    rows.
    """

    x: Any
    target: Any = None
    labels: Array | None = None
    lengths: Lengths | None = None
    future_only: bool = False

    def __post_init__(self) -> None:
        if self.target is None:
            object.__setattr__(self, "target", self.x)
        for name in ("x", "labels", "lengths"):
            part = getattr(self, name)
            if part is not None and part is not self.target and len(part) != len(self.target):
                raise ValueError(
                    f"a Batch needs one row for each sample, got {len(self.target)} targets and {len(part)} {name}: "
                    "give parts of equal length."
                )

    def __len__(self) -> int:
        return len(self.target)

    def rows(self, index: slice | npt.NDArray[Any]) -> Batch:
        """The samples selected by a slice or an array of indices."""
        return self._each(lambda part: part[index], lengths=None if self.lengths is None else self.lengths[index])

    def to(self, backend: Backend, dtype: npt.DTypeLike) -> Batch:
        """Contiguous arrays on a device; class numbers as int64. Of `LazyRows`, the samples come there when they are read."""

        def moved(part: Any) -> Any:
            if isinstance(part, LazyRows):
                return part.to(backend, dtype)
            return backend.xp.ascontiguousarray(backend.to_device(part, dtype))

        return self._each(moved, labels=None if self.labels is None else backend.to_device(self.labels, "int64"))

    def tensors(self) -> Batch:
        """The same with x and target as Tensors; one Tensor if they are the same array."""
        return self._each(Tensor, labels=self.labels)

    def batches(self, batch_size: int, order: npt.NDArray[np.int64] | None = None, skip: int = 0) -> Iterator[Batch]:
        """Minibatches of Tensors, of the samples `order[skip:]`, of all in turn without an order; the last may be smaller.

        The order is on the host, so that a seed gives the same one on every device. Sequences are cut to the longest of
        their minibatch, so that no step is computed that is padding in all of them.
        """
        batch_size = whole_number("batch_size", batch_size, at_least=1)
        order = np.arange(len(self)) if order is None else order
        backend = self.target.backend if isinstance(self.target, LazyRows) else backend_of(self.target)
        numbers = backend.to_device(order)
        for start in range(skip, len(order), batch_size):
            rows = slice(start, start + batch_size)
            lengths = None if self.lengths is None else self.lengths[order[rows]]
            yield self._each(partial(_taken, backend, numbers[rows], order[rows], lengths), lengths=lengths).tensors()

    @property
    def future(self) -> int:
        """F, how many steps `target` (N, T + F, D) has after those of x (N, T, D); 0 where they are not sequences."""
        return self.target.shape[1] - self.x.shape[1] if self.x.ndim == self.target.ndim == 3 else 0

    @property
    def context(self) -> Lengths | None:
        """How many steps of each x are not padding, (N,); None for all."""
        return None if self.lengths is None else self.lengths - self.future

    @property
    def mask(self) -> npt.NDArray[np.bool_] | None:
        """The steps of `target` that the model outputs, (N, T + F, 1) on the host: neither padding nor input. None for all."""
        if self.lengths is None and not self.future_only:
            return None
        steps = self.target.shape[1]
        lengths = np.full(len(self), steps) if self.lengths is None else self.lengths
        written = ~padding(lengths, steps)
        if self.future_only:
            written &= padding(lengths - self.future, steps)
        return written[..., None]

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the model's outputs: "reconstruction", "prediction" or both."""
        return ("reconstruction",) * (not self.future_only) + ("prediction",) * bool(self.future)

    def _each(self, function: Callable[[Any], Any], **others: Any) -> Batch:
        """`function` applied to x, to target (once, if they are the same array) and to labels."""
        x = function(self.x)
        target = x if self.target is self.x else function(self.target)
        parts = {"x": x, "target": target, "labels": None if self.labels is None else function(self.labels)}
        return replace(self, **(parts | others))


def _taken(
    backend: Backend, rows: Array, order: npt.NDArray[np.int64], lengths: Lengths | None, part: Array | LazyRows
) -> Array:
    """Rows of an array on its device, or of `LazyRows`, whose numbers are on the host; sequences are cut to the longest of `lengths`."""
    chosen = part[order] if isinstance(part, LazyRows) else backend.xp.take(part, rows, axis=0)
    return chosen if lengths is None or chosen.ndim < 3 else chosen[:, : int(lengths.max())]


class Autoencoder(Module):
    """Encoder and decoder trained together to reconstruct the input (Rumelhart, Hinton and Williams 1986; Hinton and
    Salakhutdinov 2006).

    code = encoder(x),   output = decoder(code),   loss = distance(output, x)

    Args:
        encoder: module from x (N, ...) to codes (N, K).
        decoder: module from codes (N, K) to x's shape. With loss "bce" it gives logits.
        loss: reconstruction loss; "bce" is the Bernoulli cross-entropy of logits, in nats.
        sample: what one sample is called in units, e.g. "image" in "nats per image"; kept as `sample_name`.

    `encode`, `decode` and `reconstruct` take either Tensors (differentiable, all at once, in the model's current mode)
    or arrays and lists on the host, also of other libraries (in batches, in evaluation mode, nothing recorded; they return
    NumPy arrays). Given a `Batch`, `encode` and `reconstruct` use its x.

    A new kind of autoencoder defines `objective`, and `batch` if the network's input is not simply the samples.

    Attributes:
        loss_unit: the unit of `loss`, e.g. "nats per image".
        takes_noise: whether the samples to encode may lie outside the range of the targets, as those that were damaged.
        value_bits: bits of one value of a code: 32 of a real number, fewer of a code that is discrete.
    """

    takes_noise: ClassVar[bool] = False
    value_bits: float = 32.0

    @checked
    def __init__(
        self, encoder: Module, decoder: Module, *, loss: Annotated[str, RECONSTRUCTIONS] = "bce", sample: str = "sample"
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.reconstruction = reconstruction_named(loss)
        self.sample_name = sample
        self.loss_unit = unit(self.reconstruction.quantity, "per_sample", sample)
        self.recipe: dict[str, Any] | None = None

    def objective(self, batch: Batch, *, generator: np.random.Generator | None = None) -> Loss:
        """The loss of a batch of Tensors: distance(output, target), summed over a sample's elements, averaged over samples.

        generator: replaces the model's own, if it draws; so that evaluation does not change what training draws next.
        """
        value = self.reconstruction.loss(self(batch.x), batch.target, reduction="per_sample")
        return Loss({"reconstruction": value}, self.loss_unit)

    def loss(self, batch: Batch | Tensor, *, generator: np.random.Generator | None = None) -> Loss:
        """`objective` of a batch, or of samples x (N, ...) to be reconstructed."""
        return self.objective(batch if isinstance(batch, Batch) else Batch(batch), generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """The decoder's raw output for x (logits if the loss is "bce")."""
        return self.decoder(self.encoder(x))

    def batch(self, samples: Split) -> Batch:
        """Input and target for the network from samples: the samples are both."""
        if samples.lengths is not None:
            shortest, longest = samples.lengths.min(), samples.lengths.max()
            raise ValueError(
                f"the sequences are of unequal length, from {shortest} to {longest} steps, and "
                f"{type(self).__name__} would learn their padding too: train lstm, or cut all to one length."
            )
        return Batch(samples.source)

    @overload
    def encode(self, x: Tensor, batch_size: int = 1024) -> Tensor: ...
    @overload
    def encode(self, x: npt.ArrayLike, batch_size: int = 1024) -> np.ndarray: ...
    @overload
    def encode(self, x: Batch, batch_size: int = 1024) -> Any: ...
    def encode(self, x: Any, batch_size: int = 1024) -> Any:
        """Codes (N, K) of x (N, ...)."""
        return self._apply(self.encoder, self._samples(x), batch_size)

    @overload
    def decode(self, code: Tensor, batch_size: int = 1024) -> Tensor: ...
    @overload
    def decode(self, code: npt.ArrayLike, batch_size: int = 1024) -> np.ndarray: ...
    def decode(self, code: Any, batch_size: int = 1024) -> Any:
        """Reconstructions (N, ...) from codes (N, K)."""
        return self._apply(lambda c: self.reconstruction.output(self.decoder(c)), self._codes(code), batch_size)

    @overload
    def reconstruct(self, x: Tensor, batch_size: int = 1024) -> Tensor: ...
    @overload
    def reconstruct(self, x: npt.ArrayLike, batch_size: int = 1024) -> np.ndarray: ...
    @overload
    def reconstruct(self, x: Batch, batch_size: int = 1024) -> Any: ...
    def reconstruct(self, x: Any, batch_size: int = 1024) -> Any:
        """The decoded code of x, of x's shape; for a Batch, of its target's shape. ValueError if the model gives another."""
        x = self._samples(x)
        restored = self._restored(x, batch_size)
        expected = x.target if isinstance(x, Batch) else x
        if restored.shape != expected.shape:
            raise ValueError(
                f"got samples of shape {expected.shape[1:]}, but reconstructions have shape {restored.shape[1:]}: give samples "
                "of the shape that the model was built for."
            )
        return restored

    def example_inputs(self, x: np.ndarray, generator: np.random.Generator) -> dict[str, np.ndarray]:
        """What `named_outputs` takes, by name, for samples x (N, ...): x, and what else this kind of model needs."""
        return {"x": x}

    def named_outputs(self, part: str, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
        """What a part computes for other programs (see `tinyae.export`): the "encoder" a code, the "decoder" and the "model" the rest.

        The inputs are Tensors, whole numbers arrays: those of `example_inputs`; for the decoder a code in place of x.
        """
        if part == "encoder":
            return {"code": self.encode(inputs["x"])}
        return {"reconstruction": self.decode(inputs["code"]) if part == "decoder" else self.reconstruct(inputs["x"])}

    def report(self, samples: Split) -> list[str]:
        """Lines that this model adds to the report after training, computed on held-out samples."""
        return []

    def begin_epoch(self, number: int, train: Batch) -> None:
        """Called by `tinyae.fit` before epoch `number`, counted from 1, with all samples to train on.

        For subclasses whose objective changes over time, or that need a statistic of the data.
        """

    @property
    def objective_changes(self) -> bool:
        """Whether the objective changes from epoch to epoch, which rules out L-BFGS."""
        return False

    def extra_repr(self) -> str:
        """The settings that are not the default, and the loss."""
        return ", ".join(filter(None, [super().extra_repr(), f"loss={self.reconstruction.name!r}"]))

    def _restored(self, x: Any, batch_size: int) -> Any:
        return self._apply(lambda v: self.reconstruction.output(self(v)), x, batch_size)

    def _samples(self, x: Any) -> Any:
        """A Tensor or a Batch as it is; an array or list as an array, if `check_samples` takes it."""
        x = as_input(x)
        if isinstance(x, (Tensor, Batch)) or not len(x):
            return x
        return check_samples(x, "x", self, encode=True).source

    def _codes(self, code: Any) -> Any:
        """A Tensor as it is, other codes as an array; ValueError unless it is (N, ...) and finite."""
        code = as_input(code)
        if isinstance(code, np.ndarray) and (code.ndim < 2 or not np.isfinite(code).all()):
            raise ValueError(f"codes must be finite and (N, K), got shape {code.shape}: give rows without NaN.")
        return code

    def _apply(self, function: Callable[[Any], Any], x: Any, batch_size: int, *, whole: bool = False) -> Any:
        """Apply `function` to a Tensor directly, to everything else batch by batch in evaluation mode.

        Of a Batch, `function` receives x; with `whole`, it receives Batches of Tensors.
        """
        x = as_input(x.x if isinstance(x, Batch) and not whole else x)
        data = x if isinstance(x, Batch) else Batch(x)
        if isinstance(data.x, Tensor):
            return function(x)
        batch_size = whole_number("batch_size", batch_size, at_least=1)
        if len(data.x) == 0:
            raise ValueError(f"got an empty array of shape {data.x.shape}: there is nothing to encode or decode.")
        return in_batches(self, function if whole else lambda batch: function(batch.x), data, batch_size)


def in_batches(model: Module, function: Callable[[Batch], Tensor], data: Batch, batch_size: int) -> np.ndarray:
    """`function` of a few samples at a time, as Tensors on the model's device, in evaluation mode; the results on the host."""
    backend, dtype = backend_named(model.device), model.dtype
    with no_grad(), evaluating(model):
        parts = []
        for start in range(0, len(data), batch_size):
            out = function(data.rows(slice(start, start + batch_size)).to(backend, dtype).tensors()).data
            parts.append(backend_of(out).to_host(out))
    return np.concatenate(parts)


def as_input(x: Any) -> Any:
    """A Tensor or a Batch as it is, anything else as an array (N, ...) on the host."""
    known = isinstance(x, (Tensor, Batch))
    return x if known else as_samples(x, "expected a Tensor or an array of numbers (N, ...)")


def check_samples(
    source: Dataset | Split | npt.ArrayLike, name: str, model: Autoencoder, *, encode: bool = False
) -> Split:
    """The samples of a Dataset (training part), Split, array or source that a model is to train on or to be measured on.

    Raises TypeError unless they are floating-point numbers, and ValueError unless they are (N, ...) with N > 0, finite in
    the model's dtype, and such that its loss can have them as targets; `name` begins the message. Samples only to
    `encode` need not be black and white, and those of a model that `takes_noise` may lie anywhere.
    """
    if isinstance(source, Dataset):
        source = source.train
    x = source.source if isinstance(source, Split) else source
    x = as_samples(x, f"{name}: expected an array of numbers, a Split or a Dataset")
    if x.dtype.kind != "f":
        raise TypeError(
            f"{name}: samples must be floating point, got dtype {x.dtype}: "
            "scale them first, e.g. x.astype('float32') / 255."
        )
    if x.ndim < 2 or x.size == 0:
        raise ValueError(f"{name}: samples must be (N, ...) with N > 0, got shape {x.shape}.")
    largest = float(np.finfo(model.dtype).max)
    low, high = float(x.min()), float(x.max())
    if not (low >= -largest and high <= largest):
        kind = f"too large for {model.dtype}" if np.isfinite(low) and np.isfinite(high) else "NaN or infinite"
        count, first = find(lambda part: ~(np.abs(part.astype(np.float64)) <= largest), x)
        raise ValueError(f"{name}: {count} values are {kind}, the first at index {first}: remove or fill them first.")
    if not encode or ((low < 0.0 or high > 1.0) and not model.takes_noise):
        model.reconstruction.check_targets(x)
    return source if isinstance(source, Split) else Split(x)


def interpolate(first: np.ndarray, second: np.ndarray, steps: int = 8) -> np.ndarray:
    """Codes (steps, K) equally spaced on the straight line from one code (K,) to another.

    (1 - t) first + t second   for t from 0 to 1.   `model.decode(interpolate(*model.encode(pair)))` decodes the path.
    """
    steps = whole_number("interpolate: steps", steps, at_least=2, advice="the two endpoints count")
    first, second = (as_samples(code, "interpolate: a code must be an array (K,)") for code in (first, second))
    first, second = (code[0] if code.ndim == 2 and len(code) == 1 else code for code in (first, second))
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(f"interpolate: give two codes (K,) of one model, got shapes {first.shape} and {second.shape}.")
    dtype = first.dtype if first.dtype.kind == "f" else np.dtype("float32")
    t = np.linspace(0.0, 1.0, steps, dtype=dtype)[:, None]
    return (1.0 - t) * first + t * second


# ---------------------------------------------------------------------------------------------------------------------
# The reconstruction losses.
#
# A decoder's raw output is not always the reconstruction. With the Bernoulli cross-entropy the decoder outputs logits,
# from which the loss is computed, and the reconstruction is their sigmoid; with the others the output is the reconstruction.


@dataclass(frozen=True)
class Reconstruction:
    """A reconstruction loss.

    Attributes:
        name: as users write it, `loss="bce"`.
        loss: function of (decoder output, targets, reduction=...).
        output: decoder output -> reconstruction.
        quantity: what the loss measures, e.g. "nats".
        bounded: whether targets must lie in [0, 1].
    """

    name: str
    loss: Callable[..., Any]
    output: Callable[[Any], Any]
    quantity: str
    bounded: bool

    def check_targets(self, targets: np.ndarray) -> None:
        """Raise ValueError, before training, for targets that this loss cannot take."""
        if self.bounded and targets.size and not (targets.min() >= 0 and targets.max() <= 1):
            raise ValueError(
                f"loss {self.name!r} needs targets in [0, 1], got values from {targets.min():g} to {targets.max():g}: "
                "scale the data (e.g. divide by its maximum), or use loss='squared_error'."
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
    """A reconstruction loss by name; raises ValueError with the known names."""
    return RECONSTRUCTIONS[choose("reconstruction loss", name, RECONSTRUCTIONS)]


# ---------------------------------------------------------------------------------------------------------------------
# The recipe of a model: the name of its builder and the arguments of the call, which suffice to rebuild it.

P = ParamSpec("P")
A = TypeVar("A", bound=Autoencoder)


def remembered(name: str) -> Callable[[Callable[P, A]], Callable[P, A]]:
    """Decorator for the builder of the registry's model `name`: its models carry a recipe, for `tinyae.save`.

    Encoder and decoder carry it too, so that each can be saved and loaded alone. The generator is not part of the recipe, since the
    weights are saved. A call with anything but numbers, strings, and lists or dicts of them leaves no recipe.
    """

    def decorate(builder: Callable[P, A]) -> Callable[P, A]:
        signature = inspect.signature(builder)

        @wraps(builder)
        def build(*args: P.args, **kwargs: P.kwargs) -> A:
            model = builder(*args, **kwargs)
            arguments = dict(zip(signature.parameters, args, strict=False)) | kwargs
            arguments.pop("generator", None)
            remember(model, name, arguments)
            return model

        return build

    return decorate


def remember(model: Autoencoder, name: str, arguments: dict[str, Any]) -> None:
    """Record how `model`, its encoder and its decoder were built, and what they were then, if JSON can hold the arguments."""
    try:
        plain = _plain({k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in arguments.items()})
    except TypeError:
        return
    model.recipe = {"model": name, "arguments": plain}
    model.encoder.recipe = {**model.recipe, "part": "encoder"}
    model.decoder.recipe = {**model.recipe, "part": "decoder"}
    for part in (model, model.encoder, model.decoder):
        part.__dict__["_as_built"] = UserDict(described(part))  # not a dict, in which parts would be searched for


def _plain(value: Any) -> Any:
    """A value as JSON stores it; raises TypeError for what JSON cannot store."""
    return json.loads(json.dumps(value, default=np.generic.item))


# ---------------------------------------------------------------------------------------------------------------------
# A model may be changed after it was built. Its recipe remains valid as long as its parts are of the same types and shapes;
# settings that differ are stored with the recipe and set again.


@dataclass(frozen=True)
class _Fixed:
    """What cannot be set again from a file, in words: a type, a shape, a function."""

    words: str


Description = Mapping[tuple[str, str], Any]


def described(module: Module) -> Description:
    """What a module is made of, apart from the numbers in its parameters and buffers, random generators and modes.

    By (dotted name of a part, attribute): its value as JSON stores it, or a `_Fixed`; with attribute "", the type or shape.
    """
    found: dict[tuple[str, str], Any] = {}
    for name, part in [("", module), *module.named_parts()]:
        if isinstance(part, Tensor):
            found[name, ""] = _Fixed(str(part.shape))
            continue
        found[name, ""] = _Fixed(type(part).__qualname__)
        for key, value in vars(part).items():
            if key not in ("training", "recipe") and (key[0] != "_" or key in part.changes_in_training):
                _describe(value, name, key, found)
    return found


def _describe(value: Any, name: str, attribute: str, found: dict[tuple[str, str], Any]) -> None:
    """Put an attribute into `found`, and those of an object in it."""
    if isinstance(value, (Module, Tensor, np.random.Generator)):
        return
    try:
        found[name, attribute] = _plain(value)
    except TypeError:
        if isinstance(value, Reconstruction) and RECONSTRUCTIONS.get(value.name) == value:  # or a copy of it
            found[name, attribute] = {_LOSS: value.name}
        elif not isinstance(value, (list, tuple, dict)):  # those hold modules
            found[name, attribute] = _Fixed(getattr(value, "__qualname__", type(value).__qualname__))
            inside = {} if callable(value) or isinstance(value, Reconstruction) else getattr(value, "__dict__", {})
            for key, part in inside.items() if attribute.count(".") < 2 else ():
                _describe(part, name, f"{attribute}.{key}", found)


_LOSS, _MISSING = "reconstruction loss", _Fixed("missing")


def changes(now: Description, built: Description) -> list[list[Any]]:
    """[part, attribute, value] of each setting that is not as it was `built`; ValueError if something else is not."""
    found = []
    for place in dict.fromkeys([*now, *built]):
        name, attribute = place
        value, then, root = now.get(place, _MISSING), built.get(place, _MISSING), (name, attribute.partition(".")[0])
        if value == then or (built.get(root, _MISSING) is None and isinstance(now.get(root), _Fixed)):
            continue  # the second: computed since then, such as the prior of a VQ-VAE
        if isinstance(value, _Fixed):
            words = then.words if isinstance(then, _Fixed) else then
            raise ValueError(f"{f'{name}.{attribute}'.strip('.') or 'it'} is {value.words}, and was {words}")
        found.append([*place, value])
    return found


def set_again(module: Module, changes: list[list[Any]]) -> None:
    """Set what `changes` found."""
    parts = dict(module.named_modules())
    for name, attribute, value in changes:
        *path, last = attribute.split(".")
        if attribute.startswith("__") or ".__" in attribute:
            raise ValueError(f"{attribute} cannot be a setting")
        owner = reduce(getattr, path, parts[name])
        if isinstance(value, dict) and value.keys() == {_LOSS}:
            value = reconstruction_named(value[_LOSS])
        setattr(owner, last, value if isinstance(getattr(owner, last, None), list) else _as_tuples(value))


def _as_tuples(value: Any) -> Any:
    """JSON's lists as the tuples that they were."""
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value
