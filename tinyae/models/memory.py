"""A network as a data store, on the way to the autoencoder: half of one.

Give a decoder a fixed input and train it until the output is your image: the image is now in the weights. Give it a
second input and it can hold a second image. When the inputs themselves are learnt, images that are alike come to
have inputs that are alike, and the inputs are codes. What is then still missing for an autoencoder is a way from a
new image to its code, and that is the encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyae import ops
from tinyae.autodiff import Tensor
from tinyae.backend import Array, as_generator, backend_of
from tinyae.losses import Loss
from tinyae.models.autoencoder import Autoencoder
from tinyae.models.pair import Shape, dense_pair
from tinyae.nn import Module, Parameter
from tinyae.nn.checks import check_size

CODES = ("ones", "one-hot", "learned")
"""The three kinds of input a memory can have."""

_START = np.float32(0.01)
"""Standard deviation of learned codes before training."""


class CodeTable(Module):
    """code = table[index]: index (N,) -> codes (N, K).   dL/dtable[i] = sum of dL/dcode over the places where i was asked for

    Args:
        table: (count, K). A `Parameter` is trained, any other array is a constant.

    Attributes:
        table: Parameter or constant Tensor.
    """

    def __init__(self, table: Any) -> None:
        self.table = table if isinstance(table, Tensor) else Tensor(table)

    def forward(self, index: Tensor) -> Tensor:
        """The rows of the table for an index of whole numbers, of any dtype: a batch of numbers travels as floats."""
        numbers = index.data.astype(np.int64)
        return ops.getitem(self.table, index=numbers)

    def extra_repr(self) -> str:
        """Rows, columns, and whether they are learnt."""
        kind = "learned" if isinstance(self.table, Parameter) else "fixed"
        return f"{self.table.shape[0]}, {self.table.shape[1]}, {kind}"


class ImageMemory(Autoencoder):
    """A decoder that has learnt `count` samples by heart; each is called by its number.

    code_i = table[i],   output_i = decoder(code_i),   loss = mean over i of distance(output_i, sample_i)

    Args:
        decoder: any module from codes (N, K) to samples (N, ...). With loss "bce" it gives logits.
        codes: "ones", a vector of ones, for one sample; "one-hot", code i is 1 at i and 0 elsewhere, K = count;
            "learned", a table of real numbers that is trained with the decoder.
        count: how many samples.
        code_size: K. It may be left out for "one-hot", where it is `count`.
        loss, sample: as for `Autoencoder`.
        generator: for the learned codes, which start as N(0, 0.01**2), almost at one point, so that what moves them
            apart is the gradient and not chance; None draws fresh entropy.

    It is an `Autoencoder` whose encoder is a table: where that takes a sample, the memory takes the sample's number.
    `tinyae.fit(memory, images)` and `tinyae.evaluate(memory, images)` call images[i] by the number i; `encode`,
    `reconstruct` and `loss` take arrays of numbers. Learned codes with a free decoder are the generative latent
    optimization of Bojanowski et al. (2018).
    """

    def __init__(
        self,
        decoder: Module,
        codes: str = "learned",
        count: int = 1,
        code_size: int | None = None,
        *,
        loss: str = "bce",
        sample: str = "image",
        generator: np.random.Generator | None = None,
    ) -> None:
        count = check_size("ImageMemory", "count", count)
        super().__init__(CodeTable(_first_codes(codes, count, code_size, generator)), decoder, loss=loss, sample=sample)
        self.codes = codes
        self.count = self.capacity = count

    def inputs_for(self, x: Array, labels: Any = None) -> Array:
        """The numbers 0 ... N-1 of the samples x (N, ...), as floats; raises ValueError for more than `count`."""
        if len(x) > self.count:
            raise ValueError(
                f"this memory has codes for {self.count} {self.noun}s, got {len(x)}: "
                f"give it x[:{self.count}], or make it with count={len(x)}."
            )
        return backend_of(x).xp.arange(len(x), dtype=x.dtype)

    def loss(self, x: Tensor, target: Tensor | None = None) -> Loss:
        """The reconstruction loss of samples `target` (N, ...), called by their numbers x (N,)."""
        if target is None:
            raise ValueError(
                "a memory holds no copy of its samples to compare with: write loss(numbers, samples), "
                "or leave it to tinyae.fit(memory, samples)."
            )
        return super().loss(x, target)

    def recall(self, index: int | Sequence[int] | np.ndarray) -> np.ndarray:
        """What the memory holds under a number (...), or under several (N, ...), as a host array."""
        numbers = np.asarray(index)
        if numbers.dtype.kind not in "iu":
            raise TypeError(
                f"a memory is asked by whole numbers, got {index!r}: write e.g. recall(3) or recall([0, 1])."
            )
        if numbers.size and not (numbers.min() >= 0 and numbers.max() < self.count):
            raise ValueError(f"this memory holds {self.noun}s 0 to {self.count - 1}, got {index!r}.")
        recalled = self.reconstruct(numbers.reshape(-1))
        return recalled[0] if numbers.ndim == 0 else recalled

    def interpolate(self, first: int, second: int, steps: int = 8) -> np.ndarray:
        """What lies between two memories: `steps` samples (steps, ...) from the code of `first` to that of `second`.

        decoder((1 - t) code_first + t code_second) for t from 0 to 1 at equal distances.
        """
        if steps < 2:
            raise ValueError(f"steps must be at least 2, the two ends themselves, got {steps}.")
        self.recall([first, second])  # says what is wrong with the numbers
        ends = self.encode(np.array([first, second]))
        t = np.linspace(0.0, 1.0, steps, dtype=ends.dtype)[:, None]
        return self.decode((1.0 - t) * ends[0] + t * ends[1])

    def with_encoder(self, encoder: Module) -> Autoencoder:
        """An `Autoencoder` of the same decoder (the same object), with an encoder in place of the table."""
        return Autoencoder(encoder, self.decoder, loss=self.reconstruction.name, sample=self.noun)

    def extra_repr(self) -> str:
        """Shown by `repr`."""
        return f"codes={self.codes!r}, count={self.count}, {super().extra_repr()}"


def image_memory(
    input_shape: Shape = 784,
    count: int | None = None,
    *,
    codes: str = "learned",
    code_size: int | None = None,
    hidden_sizes: Sequence[int] = (256,),
    activation: str = "relu",
    loss: str = "bce",
    sample: str = "image",
    generator: np.random.Generator | None = None,
) -> ImageMemory:
    """A memory with a dense decoder K -> hidden sizes -> D, by default 16-256-784 for 100 samples.

    Args:
        input_shape: shape of one sample; D is the product of its numbers.
        count: how many samples; by default 1 for "ones", 10 for "one-hot", 100 for "learned".
        codes: see `ImageMemory`.
        code_size: K, by default 16 (`count` for "one-hot").
        hidden_sizes: widths of the decoder's hidden layers, from the code outwards.
        activation: of the hidden layers.
        loss, sample, generator: see `ImageMemory`; the generator also draws the decoder's weights.
    """
    rng = as_generator(generator)
    _check_codes(codes)
    count = {"ones": 1, "one-hot": 10, "learned": 100}[codes] if count is None else count
    if code_size is None:
        code_size = count if codes == "one-hot" else 16
    # The pair is made for its second half: the encoder it mirrors is what a memory does without.
    _, decoder = dense_pair(input_shape, [*reversed(hidden_sizes), code_size], activation=activation, generator=rng)
    return ImageMemory(decoder, codes, count, code_size, loss=loss, sample=sample, generator=rng)


def _check_codes(codes: str) -> None:
    if codes not in CODES:
        raise ValueError(f"unknown codes {codes!r}: choose one of {', '.join(CODES)}.")


def _first_codes(codes: str, count: int, code_size: int | None, generator: np.random.Generator | None) -> Any:
    """The table before training, (count, K)."""
    _check_codes(codes)
    if codes == "one-hot":
        if code_size not in (None, count):
            raise ValueError(
                f"one-hot codes of {count} samples have {count} numbers, got code_size={code_size}: leave it out, "
                "or use codes='learned' for shorter codes."
            )
        return np.eye(count, dtype=np.float32)
    if code_size is None:
        raise ValueError(f"codes={codes!r} needs a code_size, the width of the decoder's input: write code_size=16.")
    size = check_size("ImageMemory", "code_size", code_size)
    if codes == "learned":
        return Parameter(as_generator(generator).standard_normal((count, size), dtype=np.float32) * _START)
    if count != 1:
        raise ValueError(
            f"a vector of ones is the same for all of {count} samples, so the decoder could not tell them apart: "
            "use count=1, or codes='one-hot'."
        )
    return np.ones((1, size), np.float32)
