"""The contractive autoencoder: a code that hardly changes with the input (Rifai, Vincent, Muller, Glorot, Bengio 2011).

Reconstruction makes the code sensitive to the input; the penalty makes it insensitive. The code stays sensitive only to the
directions in which the data vary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np

from tinyae import ops
from tinyae.autodiff import Tensor, grad, set_recording
from tinyae.backend import as_generator, backend_named, backend_of
from tinyae.checks import choose, whole_number
from tinyae.losses import Loss
from tinyae.models.autoencoder import Autoencoder, Batch, remembered
from tinyae.models.dense import Shape, dense_pair
from tinyae.models.settings import passes_on, split
from tinyae.nn import Dense, Flatten, Module, Sequential, evaluating
from tinyae.ops.linear import ACTIVATIONS, OF_INPUT, through_activation

JACOBIANS = ("auto", "closed", "exact", "hutchinson")
"""How the norm of the Jacobian is computed."""


class ContractiveAutoencoder(Autoencoder):
    """Reconstruction + contraction * mean over samples of ||J(x)||_F**2, J(x)_ji = d code_j / d x_i.

    Args:
        encoder, decoder, settings: as for `Autoencoder`.
        contraction: weight of the Jacobian's norm, at least 0.
        jacobian: how that norm is computed.
            "closed" is the formula for one dense layer, sum_j f'(z_j)**2 sum_i W_ij**2. "exact" differentiates
            any encoder: K backward passes, each recorded and differentiated again. "hutchinson" estimates it from
            `probes` random sign vectors v: E[||v^T J||**2] = ||J||_F**2 (Hutchinson 1990). "auto" uses "closed" if it
            applies, else "exact".
        probes: random directions for "hutchinson", at least 1.
        generator: for the probes; None draws fresh entropy.
    """

    takes_noise = True

    @passes_on(Autoencoder)
    def __init__(
        self,
        encoder: Module,
        decoder: Module,
        *,
        contraction: float = 0.1,
        jacobian: Annotated[str, JACOBIANS] = "auto",
        probes: int = 1,
        generator: np.random.Generator | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(encoder, decoder, **settings)
        choose("jacobian", jacobian, JACOBIANS)
        if not 0.0 <= contraction < math.inf:
            raise ValueError(f"contraction must be at least 0 and finite, got {contraction:g}: 0.1 is a start.")
        single = _single_layer(encoder)
        if jacobian == "closed" and single is None:
            raise ValueError(
                f"jacobian 'closed' needs an encoder of one Dense layer, not with {' or '.join(OF_INPUT)}, whose slopes do "
                "not follow from the code: use 'exact' or 'hutchinson'."
            )
        self.contraction = float(contraction)
        self.jacobian = ("closed" if single is not None else "exact") if jacobian == "auto" else jacobian
        self.probes = whole_number("probes", probes, at_least=1)
        self.generator = as_generator(generator)

    def objective(self, batch: Batch, *, generator: np.random.Generator | None = None) -> Loss:
        """The terms "reconstruction" and "contraction"; `generator` replaces the model's own for random directions."""
        if self.jacobian == "closed":
            code = self.encoder(batch.x)
            penalty = self._closed(code)
        else:
            code, penalty = self._differentiated(batch.x, self.generator if generator is None else generator)
        value = self.reconstruction.loss(self.decoder(code), batch.target)
        return Loss({"reconstruction": value, "contraction": self.contraction * penalty}, self.loss_unit)

    def jacobian_norm(self, x: Tensor) -> Tensor:
        """Mean over samples x (N, ...) of the squared Frobenius norm of the encoder's Jacobian, a scalar."""
        if self.jacobian == "closed":
            return self._closed(self.encoder(x))
        return self._differentiated(x, self.generator)[1]

    def jacobian_at(self, x: np.ndarray) -> np.ndarray:
        """The encoder's Jacobian J (N, K, ...) at host samples x (N, ...), by one backward pass per code unit; on the host."""
        backend = backend_named(self.device)
        with set_recording(True), evaluating(self):
            leaf = Tensor(backend.to_device(x, self.dtype), requires_grad=True)
            code = self.encoder(leaf)
            rows = [backend.to_host(grad(code, leaf, one).data) for one in _units(code)]
        return np.stack(rows, axis=1)

    def _closed(self, code: Tensor) -> Tensor:
        """sum_j f'(z_j)**2 * sum_i W_ij**2, f' in terms of the code."""
        layer = _single_layer(self.encoder)
        assert layer is not None
        ones = Tensor(backend_of(code.data).xp.ones_like(code.data))
        slope = through_activation(ones, code, layer.activation)
        lengths = ops.sum(ops.square(layer.weight), axis=0)
        return ops.sum(ops.square(slope) * lengths) * (1.0 / len(code))

    def _differentiated(self, x: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        """The code, and the penalty from its derivatives with respect to x, which are themselves differentiable."""
        with set_recording(True):  # also in evaluation, where nothing else is recorded
            leaf = x if x.requires_grad else Tensor(x.data, requires_grad=True)
            code = self.encoder(leaf)
            rows = (grad(code, leaf, v, create_graph=True) for v in self._directions(code, generator))
            first, *others = (ops.sum(ops.square(row)) for row in rows)
        scale = 1.0 / len(x) if self.jacobian == "exact" else 1.0 / (len(x) * self.probes)
        return code, sum(others, start=first) * scale

    def _directions(self, code: Tensor, generator: np.random.Generator) -> list[Any]:
        """Cotangents (N, K): one per code unit, or random signs."""
        backend = backend_of(code.data)
        if self.jacobian == "hutchinson":
            draws = [backend.uniform(generator, code.shape, code.dtype) for _ in range(self.probes)]
            return [(draw < 0.5).astype(code.dtype) * 2.0 - 1.0 for draw in draws]
        return _units(code)


@remembered("contractive")
@passes_on(ContractiveAutoencoder, dense_pair, without=("code_activation", "output_activation", "normalization"))
def contractive_autoencoder(
    input_shape: Shape = 784,
    sizes: Sequence[int] = (128,),
    *,
    activation: Annotated[str, ACTIVATIONS] = "sigmoid",
    generator: np.random.Generator | None = None,
    **settings: Any,
) -> ContractiveAutoencoder:
    """D -> sizes -> D with sigmoid units, by default 784-128-784; the paper ties the weights.

    Args:
        input_shape: shape of one sample; D is the product of its numbers.
        sizes: widths of the encoder's layers; the last is the code.
        activation: of all layers of the encoder and the hidden ones of the decoder.
        generator: for the initial weights and, from there on, for the probes; None draws fresh entropy.
        settings: of `ContractiveAutoencoder`, and `tied`.
    """
    rng = as_generator(generator)
    network, settings = split(settings, dense_pair)
    pair = dense_pair(input_shape, sizes, activation=activation, code_activation=activation, generator=rng, **network)
    return ContractiveAutoencoder(*pair, generator=rng, **settings)


def _units(code: Tensor) -> list[Any]:
    """For each unit of a code (N, K) a cotangent (N, K), 1 for that unit and 0 elsewhere."""
    xp = backend_of(code.data).xp
    return list(xp.repeat(xp.eye(code.shape[1], dtype=code.dtype)[:, None], len(code), axis=1))


def _single_layer(encoder: Module) -> Dense | None:
    """The encoder's one Dense layer whose slopes follow from the code, None if it is anything else."""
    parts = [module for _, module in encoder.named_modules() if not isinstance(module, (Flatten, Sequential))]
    alone = parts[0] if len(parts) == 1 else None
    return alone if isinstance(alone, Dense) and alone.activation not in OF_INPUT else None
