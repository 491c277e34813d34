"""A network as a data store: half an autoencoder.

Train a decoder with a fixed input until its output is your image: the weights now store the image. A second input lets it
store a second image. If the inputs are learned too, similar images get similar inputs, and the inputs are codes. An autoencoder
only adds a map from a new image to its code: the encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

import numpy as np

from tinyae import ops
from tinyae.autodiff import Tensor
from tinyae.backend import as_generator, backend_of
from tinyae.checks import choose
from tinyae.data import Split
from tinyae.losses import Loss
from tinyae.models.autoencoder import Autoencoder, Batch, as_input, remembered
from tinyae.models.convolutional import UPSAMPLINGS, conv_decoder, usual_channels
from tinyae.models.dense import Shape, dense_pair
from tinyae.models.settings import passes_on, split
from tinyae.nn import Module, Parameter
from tinyae.nn.layers import check_size

CODES = ("ones", "one-hot", "learned")
"""The kinds of codes that a memory can have."""

DECODERS = ("dense", "conv")
"""The kinds of decoder that `image_memory` builds."""


class CodeTable(Module):
    """code = table[index]: index (N,) -> codes (N, K).   dL/dtable[i] = sum of dL/dcode[n] over all n with index[n] = i

    Args:
        table: (count, K). A `Parameter` is trained, any other array is a constant.

    Attributes:
        table: Parameter or constant Tensor.
    """

    def __init__(self, table: Any) -> None:
        self.table = table if isinstance(table, Tensor) else Tensor(table)

    def forward(self, index: Tensor) -> Tensor:
        """The rows of the table with these indices, integers of any dtype: a batch holds them as floats."""
        return ops.getitem(self.table, index=index.data.astype(np.int64))


class ImageMemory(Autoencoder):
    """A decoder that has memorized `count` samples, indexed by number.

    code_i = table[i],   output_i = decoder(code_i),   loss = mean over i of distance(output_i, sample_i)

    Args:
        decoder: any module from codes (N, K) to samples (N, ...). With loss "bce" it gives logits.
        codes: "ones", a vector of ones, for one sample; "one-hot", code i is 1 at i and 0 elsewhere, K = count;
            "learned", a table of real numbers that is trained with the decoder.
        count: how many samples.
        code_size: K; for "one-hot" it is `count`.
        settings: as for `Autoencoder`.
        generator: for the learned codes, which start as N(0, 0.01**2), nearly at one point, so that the gradient and not
            chance separates them; None draws fresh entropy.

    It is an `Autoencoder` whose encoder is a table: its input is the number of a sample instead of the sample.
    `tinyae.fit(memory, images)` and `tinyae.evaluate(memory, images)` number images[i] by i; `encode` and `reconstruct`
    take arrays of numbers, `loss` a Batch of numbers and samples. With learned codes this is the generative latent
    optimization of Bojanowski et al. (2018).
    """

    @passes_on(Autoencoder)
    def __init__(
        self,
        decoder: Module,
        codes: str,
        count: int,
        code_size: int,
        *,
        sample: str = "image",
        generator: np.random.Generator | None = None,
        **settings: Any,
    ) -> None:
        count = check_size("ImageMemory", "count", count)
        table = CodeTable(_first_codes(codes, count, code_size, generator))
        super().__init__(table, decoder, sample=sample, **settings)
        self.codes = codes
        self.count = count

    def objective(self, batch: Batch, *, generator: np.random.Generator | None = None) -> Loss:
        """The reconstruction loss of the samples `batch.target` (N, ...) with the numbers `batch.x` (N,)."""
        if batch.target is batch.x:
            raise ValueError(
                "a memory keeps no copy of its samples, got no target to compare with: write "
                "loss(Batch(numbers, samples)), or use tinyae.fit(memory, samples)."
            )
        return super().objective(batch, generator=generator)

    def batch(self, samples: Split) -> Batch:
        """Samples (N, ...) and their numbers 0 ... N-1, as floats; raises ValueError for more than `count`."""
        if len(samples) > self.count:
            raise ValueError(
                f"this memory has codes for {self.count} {self.sample_name}s, got {len(samples)}: "
                f"give it x[:{self.count}], or make it with count={len(samples)}."
            )
        return replace(super().batch(samples), x=backend_of(samples.x).xp.arange(len(samples), dtype=samples.x.dtype))

    def example_inputs(self, x: np.ndarray, generator: np.random.Generator) -> dict[str, np.ndarray]:
        """Numbers of samples (N,), as floats."""
        return {"x": generator.integers(self.count, size=len(x)).astype(x.dtype)}

    def reconstruct(self, x: Any, batch_size: int = 1024) -> Any:
        """The samples with the numbers x (N,), or with those of a Batch."""
        return (
            super().reconstruct(x, batch_size) if isinstance(x, Batch) else self._restored(self._numbers(x), batch_size)
        )

    def encode(self, x: Any, batch_size: int = 1024) -> Any:
        """The codes (N, K) of the samples with the numbers x (N,), or with those of a Batch."""
        return self._apply(self.encoder, self._numbers(x), batch_size)

    def _numbers(self, x: Any) -> Any:
        """A Tensor or a Batch as it is; an array of sample numbers (N,), if they are whole and below `count`."""
        x = as_input(x)
        if isinstance(x, np.ndarray) and (
            x.ndim != 1 or x.dtype.kind not in "iuf" or not ((x >= 0) & (x < self.count) & (x % 1 == 0)).all()
        ):
            raise ValueError(
                f"this memory holds {self.sample_name}s 0 to {self.count - 1}, got numbers of shape {x.shape}, "
                f"{x.min(initial=0):g} to {x.max(initial=0):g}: give whole numbers (N,) in that range."
            )
        return x

    def recall(self, index: int | Sequence[int] | np.ndarray) -> np.ndarray:
        """The sample with a number (...), or those with several numbers (N, ...), as a host array."""
        numbers = np.asarray(index)
        if numbers.dtype.kind not in "iu":
            raise TypeError(f"sample numbers must be integers, got {index!r}: write e.g. recall(3) or recall([0, 1]).")
        recalled = self.reconstruct(numbers.reshape(-1))
        return recalled[0] if numbers.ndim == 0 else recalled

    def with_encoder(self, encoder: Module) -> Autoencoder:
        """An `Autoencoder` with the same decoder object, and with an encoder in place of the table."""
        return Autoencoder(encoder, self.decoder, loss=self.reconstruction.name, sample=self.sample_name)


@remembered("memory")
@passes_on(ImageMemory, dense_pair, without=("code_activation", "output_activation", "tied"))
def image_memory(
    input_shape: Shape = 784,
    count: int | None = None,
    *,
    codes: Annotated[str, CODES] = "learned",
    code_size: int | None = None,
    decoder: Annotated[str, DECODERS] = "dense",
    hidden_sizes: Sequence[int] | None = None,
    channels: Sequence[int] | None = None,
    upsampling: Annotated[str, UPSAMPLINGS] = "transposed",
    generator: np.random.Generator | None = None,
    **settings: Any,
) -> ImageMemory:
    """A memory for 100 samples, by default with a dense decoder 16-256-784.

    Args:
        input_shape: shape of one sample.
        count: N, samples to memorize; by default 1 for "ones", 10 for "one-hot", 100 for "learned".
        codes: input of the decoder. See `ImageMemory`.
        code_size: K, latent dimensions; by default 16, for "one-hot" as many as samples.
        decoder: "dense", K -> hidden sizes -> D, or "conv", a dense layer and transposed convolutions that double its
            maps up to the image: 16 -> 7x7x64 -> 14x14x32 -> 28x28x1 by default.
        hidden_sizes: widths of the dense decoder, from the code to the output; by default 256.
        channels: of the convolutional decoder's maps, the largest map first; by default 32,64.
        upsampling: how the convolutional decoder doubles maps. See `conv_decoder`.
        generator: for the decoder's weights and then for learned codes; None draws fresh entropy.
        settings: of `ImageMemory`, `activation` and `normalization`.
    """
    rng = as_generator(generator)
    usual = {"ones": 1, "one-hot": 10, "learned": 100}[choose("codes", codes, CODES)]
    choose("decoder", decoder, DECODERS)
    if decoder == "conv" and hidden_sizes is not None:
        raise ValueError(
            f"a convolutional decoder has channels, got hidden_sizes={hidden_sizes}: write channels=(32, 64)."
        )
    if decoder == "dense" and channels is not None:
        raise ValueError(f"a dense decoder has hidden_sizes, got channels={channels}: write hidden_sizes=(256,).")
    network_settings, settings = split(settings, dense_pair)
    count = usual if count is None else count
    if code_size is None:
        code_size = count if codes == "one-hot" else 16
    if decoder == "conv":
        widths = usual_channels("strided") if channels is None else channels
        network = conv_decoder(
            input_shape, widths, code_size, form="strided", upsampling=upsampling, generator=rng, **network_settings
        )
    else:
        sizes = [*reversed((256,) if hidden_sizes is None else hidden_sizes), code_size]
        # Only the decoder of the pair is used: a memory has no encoder network.
        _, network = dense_pair(input_shape, sizes, generator=rng, **network_settings)
    return ImageMemory(network, codes, count, code_size, generator=rng, **settings)


def _first_codes(codes: str, count: int, code_size: int, generator: np.random.Generator | None) -> Any:
    """The table before training, (count, K)."""
    choose("codes", codes, CODES)
    if codes == "one-hot":
        if code_size != count:
            raise ValueError(
                f"one-hot codes of {count} samples have {count} numbers, got code_size={code_size}: "
                f"give {count}, or use codes='learned' for shorter codes."
            )
        return np.eye(count, dtype=np.float32)
    size = check_size("ImageMemory", "code_size", code_size)
    if codes == "learned":
        draws = as_generator(generator).standard_normal((count, size), dtype=np.float32)
        return Parameter(draws * np.float32(0.01))
    if count != 1:
        raise ValueError(
            f"a vector of ones is the same for all of {count} samples, so the decoder could not tell them apart: "
            "use count=1, or codes='one-hot'."
        )
    return np.ones((1, size), np.float32)
