"""The denoising autoencoder: it removes noise that was added to its input.

An ordinary autoencoder with a code as wide as the input can copy it: the loss is small and nothing is learned. Here
copying does not help, because the input is corrupted and the target is clean. To fill the gaps the network must learn how
the elements of a sample depend on each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np

from tinyae import losses, ops
from tinyae.autodiff import Tensor
from tinyae.backend import as_generator
from tinyae.losses import Loss
from tinyae.models.autoencoder import Autoencoder, Batch, remembered
from tinyae.models.dense import Shape, dense_pair
from tinyae.models.settings import passes_on, split
from tinyae.nn import NOISES, Module, Noise, noise_named
from tinyae.ops.linear import ACTIVATIONS


class DenoisingAutoencoder(Autoencoder):
    """An autoencoder that receives corrupted samples and is trained to output the clean ones (Vincent et al. 2008; 2010).

    noisy, m = noise(x),   output = decoder(encoder(noisy)),   loss = sum of w * distance(output, x),
    w = alpha where the noise changed x (m = 1), beta elsewhere   (Vincent et al. 2010)

    Args:
        encoder, decoder, settings: as for `Autoencoder`.
        noise: a noise layer. It draws fresh noise from its own generator whenever `loss` is called in training mode.
        alpha: weight of corrupted elements in the loss, at least 0.
        beta: weight of clean elements in the loss, at least 0. alpha = 1, beta = 0 is the paper's "full emphasis".

    Only `loss` adds noise. `encode`, `decode` and `reconstruct` use samples unchanged, corrupted or not:
    `model.reconstruct(model.corrupt(x))` denoises. In evaluation mode `loss` is the ordinary reconstruction loss of clean
    samples, unless it is given a generator to draw the noise from, as `tinyae.evaluate` does.

    As with `Dropout`, the generator's state is not part of a saved model: to continue a run with exactly the same noise,
    save `model.noise.generator.bit_generator.state` too.
    """

    takes_noise = True

    @passes_on(Autoencoder)
    def __init__(
        self, encoder: Module, decoder: Module, noise: Noise, *, alpha: float = 1.0, beta: float = 1.0, **settings: Any
    ) -> None:
        super().__init__(encoder, decoder, **settings)
        if not (0 <= alpha < math.inf and 0 <= beta < math.inf and alpha + beta > 0):
            raise ValueError(
                f"DenoisingAutoencoder: alpha and beta must be at least 0, finite and not both 0, got alpha={alpha!r}, "
                f"beta={beta!r}: alpha=1, beta=0.5 gives corrupted elements twice the weight."
            )
        if noise.touches_every_element and alpha != beta:
            raise ValueError(
                f"DenoisingAutoencoder: alpha and beta must be equal for {noise}, which corrupts every element, got "
                f"alpha={alpha!r}, beta={beta!r}: leave both at 1, or use masking or salt-and-pepper noise."
            )
        self.noise = noise
        self.alpha = float(alpha)
        self.beta = float(beta)

    def objective(self, batch: Batch, *, generator: np.random.Generator | None = None) -> Loss:
        """The loss of a freshly corrupted batch against `batch.target`; see the class for when the batch stays clean.

        With a generator the squared errors before and after denoising are measured too: of the corrupted samples
        ("corrupted_squared_error") and of their reconstructions ("denoised_squared_error").
        """
        if not (self.noise.training or generator is not None):
            return super().objective(batch)
        noisy, hit = self.noise.corrupt_with_mask(batch.x, generator)
        output = self(noisy)
        loss = Loss({"reconstruction": self._distance(output, batch.target, hit)}, self.loss_unit)
        if generator is not None:
            denoised = self.reconstruction.output(output)
            for name, x in (("corrupted", noisy), ("denoised", denoised)):
                error = losses.squared_error(x.data, batch.target.data)
                loss.measured[f"{name}_squared_error"] = (error, f"squared error per {self.sample_name}")
        return loss

    def corrupt(self, x: Any, generator: np.random.Generator | None = None) -> Any:
        """x (N, ...), Tensor or array, with fresh noise in any mode; `generator` replaces the noise layer's own."""
        return self.noise.corrupt(x, generator)

    def _distance(self, output: Tensor, target: Tensor, hit: Any) -> Tensor:
        """Weighted by alpha and beta, summed over a sample's elements and averaged over samples."""
        row = self.reconstruction
        if self.alpha == self.beta:
            value = row.loss(output, target, reduction="per_sample")
            return value if self.alpha == 1.0 else self.alpha * value
        weights = hit * (self.alpha - self.beta)
        weights += self.beta
        elements = row.loss(output, target, reduction="none")
        return ops.sum(ops.multiply(elements, weights)) * (1.0 / len(target))


@remembered("denoising")
@passes_on(DenoisingAutoencoder, dense_pair, without=("code_activation", "output_activation"))
def denoising_autoencoder(
    input_shape: Shape = 784,
    code_size: int = 1000,
    *,
    hidden_sizes: Sequence[int] = (),
    corruption: Annotated[str, NOISES] = "masking",
    level: float = 0.25,
    activation: Annotated[str, ACTIVATIONS] = "relu",
    generator: np.random.Generator | None = None,
    **settings: Any,
) -> DenoisingAutoencoder:
    """D -> K -> D with noise on the input, by default 784-1000-784 with a quarter of the elements masked.

    The code may be wider than the input ("overcomplete"): the noise prevents copying.

    Args:
        input_shape: shape of one sample; D is the product of its numbers.
        code_size: K, latent dimensions.
        hidden_sizes: widths of layers before the code, mirrored in the decoder.
        corruption: kind of noise; "salt-and-pepper" is between 0 and 1.
        level: fraction of corrupted elements in [0, 1), or the standard deviation of Gaussian noise.
        activation: of the code and the hidden layers. The paper uses "sigmoid"; "relu" denoises better.
        generator: for the initial weights and, from there on, for the noise; None draws fresh entropy.
        settings: of `DenoisingAutoencoder`, `tied` (as in the paper) and `normalization`.
    """
    rng = as_generator(generator)
    network, settings = split(settings, dense_pair)
    noise = noise_named(corruption, level, rng)
    pair = dense_pair(
        input_shape, [*hidden_sizes, code_size], activation=activation, code_activation=activation, generator=rng,
        **network,
    )  # fmt: skip
    return DenoisingAutoencoder(*pair, noise, **settings)
