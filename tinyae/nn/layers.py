"""Dense layers, activations, reshaping and normalization; then the initializers and checks that all layers share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import DTypeLike

from tinyae import ops
from tinyae.autodiff import Tensor
from tinyae.backend import as_generator, backend_of
from tinyae.backend.base import array_advice
from tinyae.checks import check_kind, choose, number, whole_number
from tinyae.nn.module import Module, Parameter
from tinyae.ops.linear import ACTIVATIONS, activated

# ---------------------------------------------------------------------------------------------------------------------
# Dense layers: every output depends on every input.


class Dense(Module):
    """y = f(x W + b) with x (..., D), W (D, K), b (K,), y (..., K).

    Args:
        in_features: D.
        out_features: K.
        activation: f, one of `"identity"`, `"relu"`, `"elu"`, `"sigmoid"`, `"tanh"`, `"gelu"`, `"silu"`, fused with the
            matrix product.
        bias: whether to add b.
        initializer: of W, a name in `INITIALIZERS` or a function with the same signature. b starts at 0.
        generator: the `numpy.random.Generator` that W is drawn from; None seeds one from fresh entropy (not repeatable).
        dtype: of W and b. An input of a wider dtype promotes the result, as in NumPy.

    Attributes:
        weight: Parameter (D, K).
        bias: Parameter (K,), or None.

    Gradients: see `tinyae.ops.linear`.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        activation: str = "identity",
        bias: bool = True,
        initializer: str | Initializer = "glorot_uniform",
        generator: np.random.Generator | None = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.in_features = check_size("Dense", "in_features", in_features)
        self.out_features = check_size("Dense", "out_features", out_features)
        self.activation = check_activation("Dense", activation)
        dtype = check_dtype("Dense", dtype)
        check_kind("Dense: bias", bias, bool)
        draw = initializer_named(initializer)
        self.weight = Parameter(draw((self.in_features, self.out_features), as_generator(generator), dtype=dtype))
        self.bias = Parameter(np.zeros(self.out_features, dtype)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """f(x W + b). Raises ValueError unless the last axis of x has length in_features."""
        check_last_axis(self, x, self.in_features)
        if self.bias is not None:
            return ops.dense(x, self.weight, self.bias, activation=self.activation)
        return activated(ops.matmul(x, self.weight), self.activation)


class TiedDense(Module):
    """y = f(x W^T + b) with the transpose of another layer's weight W (D, K): x (..., K), b (D,), y (..., D).

    Tying the decoder to the encoder halves the number of weights, and the decoder cannot compensate for a small encoder
    weight with a large one (Vincent et al. 2010, section 2.2). W is shared: both uses add to its gradient.

    Args:
        source: the Dense layer that owns W.
        activation: f, as for Dense.

    Attributes:
        source: the layer; its bias is not shared.
        bias: Parameter (D,), starts at 0.

    In a model that holds both layers, W is listed once: `encoder.weight`, `encoder.bias`, `decoder.bias`.
    """

    def __init__(self, source: Dense, *, activation: str = "identity") -> None:
        if not isinstance(source, Dense):
            raise TypeError(
                f"TiedDense: source must be the Dense layer that owns the weight, got {type(source).__name__}: "
                "write TiedDense(encoder)."
            )
        self.source = source
        self.activation = check_activation("TiedDense", activation)
        weight = source.weight.data
        self.bias = Parameter(backend_of(weight).xp.zeros(source.in_features, dtype=weight.dtype))

    @property
    def weight(self) -> Parameter:
        """The source's W (D, K), used transposed."""
        return self.source.weight

    def members(self) -> Iterator[tuple[str, Module | Tensor]]:
        """The bias and the shared weight, but not the source layer itself."""
        yield "weight", self.weight
        yield "bias", self.bias

    def forward(self, x: Tensor) -> Tensor:
        """f(x W^T + b). Raises ValueError unless the last axis of x has length K."""
        check_last_axis(self, x, self.source.out_features)
        return ops.dense(x, ops.transpose(self.weight), self.bias, activation=self.activation)

    def extra_repr(self) -> str:
        """Input and output size, and the activation if there is one."""
        activation = "" if self.activation == "identity" else f", activation={self.activation!r}"
        return f"{self.source.out_features}, {self.source.in_features}{activation}"


# ---------------------------------------------------------------------------------------------------------------------
# Functions of `tinyae.ops` as modules, for use in `Sequential`. See there for the derivatives.


class Identity(Module):
    """y = x. A placeholder where a module is expected."""

    def forward(self, x: Tensor) -> Tensor:
        return x


class ReLU(Module):
    """y = max(x, 0), any shape."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.relu(x)


class ELU(Module):
    """y = x for x > 0, else exp(x) - 1, any shape: like relu, but its mean output can be 0 (Clevert et al. 2016)."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.elu(x)


class GELU(Module):
    """y = x P(x), P(x) the probability that a standard normal variable is at most x (Hendrycks and Gimpel 2016)."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.gelu(x)


class SiLU(Module):
    """y = x sigmoid(x), any shape; also called swish (Elfwing, Uchibe and Doya 2018)."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.silu(x)


class Sigmoid(Module):
    """y = 1 / (1 + exp(-x)), any shape, in (0, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.sigmoid(x)


class Tanh(Module):
    """y = tanh(x), any shape, in (-1, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.tanh(x)


class Softplus(Module):
    """y = log(1 + exp(x)), any shape, positive; for variances and rates."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.softplus(x)


class Softmax(Module):
    """y_i = exp(x_i) / sum_j exp(x_j) along one axis: positive numbers that sum to 1.

    Args:
        axis: the axis of the sum.
    """

    def __init__(self, axis: int = -1) -> None:
        self.axis = whole_number("Softmax: axis", axis, at_least=-64, advice="-1 is the last one")

    def forward(self, x: Tensor) -> Tensor:
        return ops.softmax(x, axis=self.axis)


# ---------------------------------------------------------------------------------------------------------------------
# Modules that reshape: each sample, or a sequence to apply one layer to every step.


class Flatten(Module):
    """Reshape (N, ...) to (N, D), where D is the number of elements of a sample: from an image to a vector."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.flatten(x)


class Reshape(Module):
    """Reshape (N, ...) to (N, *shape) in C order: from a vector to an image.

    Args:
        shape: the shape of one sample, without N, as numbers or one tuple; one of them may be -1.
    """

    def __init__(self, *shape: int | tuple[int, ...] | list[int]) -> None:
        lengths = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        whole = all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n >= -1 for n in lengths)
        if not whole or lengths.count(-1) > 1:
            raise ValueError(
                f"Reshape: lengths must be whole numbers, at most one of them -1, got {lengths}: "
                "write e.g. Reshape(28, 28, 1)."
            )
        self.shape: tuple[int, ...] = lengths  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        """x reshaped. Raises ValueError if a sample has the wrong number of elements."""
        size = math.prod(x.shape[1:])
        known = math.prod(n for n in self.shape if n != -1)
        fits = size == known if -1 not in self.shape else known > 0 and size % known == 0
        if x.ndim < 1 or not fits:
            raise ValueError(
                f"{self}: a sample of shape {x.shape[1:]} has {size} elements and cannot be reshaped to {self.shape}: "
                f"got x of shape {x.shape}; change the lengths so that their product is {size}."
            )
        return ops.reshape(x, shape=(x.shape[0], *(size // known if n == -1 else n for n in self.shape)))


class TimeDistributed(Module):
    """Apply one module to each time step independently: (N, T, ...) is reshaped to (N T, ...) and back.

    Args:
        module: maps a batch of steps. All steps share its parameters, so their gradients add up.
    """

    def __init__(self, module: Module) -> None:
        if not isinstance(module, Module):
            raise TypeError(
                f"TimeDistributed: expected a Module, got {type(module).__name__}: write e.g. nn.Dense(8, 2)."
            )
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """The module's outputs (N, T, ...). Raises ValueError unless x has a time axis."""
        check_floats(self, x)
        if x.ndim < 3:
            raise ValueError(f"{self}: the input must be sequences (N, T, ...), got shape {x.shape}.")
        n, steps = x.shape[:2]
        y = self.module(ops.reshape(x, shape=(n * steps, *x.shape[2:])))
        return ops.reshape(y, shape=(n, steps, *y.shape[1:]))


# ---------------------------------------------------------------------------------------------------------------------
# `TopK`: only the k largest elements of a code are kept.


class TopK(Module):
    """y_j = x_j if x_j is among the k largest elements of its row, else 0; x (N, K).   dL/dx_j = dL/dy_j there, else 0

    The k-sparse autoencoder (Makhzani and Frey 2014) is a linear autoencoder with this layer between encoder and decoder,
    as its only nonlinearity. The gradient treats the selection as constant. Elements tied with the k-th largest are kept
    too, so there may be more than k.

    Args:
        k: how many elements are kept in training mode, at least 1.
        evaluation_k: how many are kept in evaluation mode; the paper recommends slightly more than k. None means k.
    """

    def __init__(self, k: int, evaluation_k: int | None = None) -> None:
        self.k = check_size("TopK", "k", k)
        self.evaluation_k = None if evaluation_k is None else check_size("TopK", "evaluation_k", evaluation_k)

    def forward(self, x: Tensor) -> Tensor:
        """x with all but its k largest elements set to 0. Raises ValueError if a row has fewer than k."""
        check_floats(self, x)
        k = self.k if self.training or self.evaluation_k is None else self.evaluation_k
        if x.ndim != 2 or x.shape[1] < k:
            raise ValueError(f"{self}: x must be (N, K) with K at least {k}, got shape {x.shape}: choose a smaller k.")
        xp = backend_of(x.data).xp
        least = xp.sort(x.data, axis=1)[:, x.shape[1] - k : x.shape[1] - k + 1]
        return ops.where(x.data >= least, x, 0.0)


# ---------------------------------------------------------------------------------------------------------------------
# Normalization layers.
#
# Both compute y = weight * (x - mean) / sqrt(variance + eps) + bias, with the mean and variance over the features of one
# sample (LayerNorm) or over the samples of one feature (BatchNorm). They are composed of
# primitives, so autodiff supplies their gradients, including those through the mean and the variance.


class Normalization(Module):
    """Base class of `LayerNorm` and `BatchNorm`: the numbers and Parameters of both, and their last step."""

    def __init__(self, features: int, eps: float = 1e-5, *, dtype: DTypeLike = np.float32) -> None:
        owner = type(self).__name__
        self.features = check_size(owner, "features", features)
        self.eps = number(f"{owner}: eps", eps, above=0.0, advice="1e-5 is usual")
        dtype = check_dtype(owner, dtype)
        self.weight = Parameter(np.ones(self.features, dtype))
        self.bias = Parameter(np.zeros(self.features, dtype))

    def _scaled(self, centered: Tensor, variance: Tensor) -> Tensor:
        return centered / ops.sqrt(variance + self.eps) * self.weight + self.bias


class LayerNorm(Normalization):
    """Normalize each sample over its last axis (Ba, Kiros and Hinton 2016, eq. 4); x and y (..., D).

    The same in training and evaluation, and independent of the rest of the batch.

    Args:
        features: D.
        eps: added to the variance (the sum of squares divided by D), so that a constant sample gives `bias` and not NaN.
        dtype: of weight and bias.

    Attributes:
        weight, bias: Parameters (D,), the gain (starts at 1) and the shift (starts at 0).
    """

    def forward(self, x: Tensor) -> Tensor:
        check_last_axis(self, x, self.features)
        _, centered, variance = _moments(x, (x.ndim - 1,))
        return self._scaled(centered, variance)


class BatchNorm(Normalization):
    """Normalize each feature over the batch (Ioffe and Szegedy 2015, Algorithm 1).

    The input is (N, D), (N, T, D) or (N, H, W, C): the mean of a feature is taken over all axes but the last, n numbers.
    In training mode, the mean and variance (divided by n) are those of the batch, and running averages are updated:
    running <- (1 - momentum) * running + momentum * batch, where the variance is divided by n - 1. In evaluation mode the
    running averages are used, so that each sample is normalized independently of the others.

    Args:
        features: D or C.
        momentum: weight of the current batch in the running averages, in [0, 1].
        eps: added to the variance.
        dtype: of parameters and buffers.

    Attributes:
        weight, bias: Parameters (D,), start at 1 and 0.
        running_mean, running_var: buffers (D,), start at 0 and 1.
    """

    def __init__(
        self, features: int, momentum: float = 0.1, eps: float = 1e-5, *, dtype: DTypeLike = np.float32
    ) -> None:
        check_kind("BatchNorm: momentum", momentum, float)
        if not 0.0 <= momentum <= 1.0:
            raise ValueError(f"BatchNorm: momentum must be in [0, 1], got {momentum!r}: 0.1 is usual.")
        super().__init__(features, eps, dtype=dtype)
        self.momentum = float(momentum)
        self.running_mean = Tensor(np.zeros(self.features, dtype))
        self.running_var = Tensor(np.ones(self.features, dtype))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize over all axes but the last.

        Raises ValueError in training mode for a batch with one number per feature: its variance would be 0.
        """
        check_last_axis(self, x, self.features)
        if not self.training:
            return self._scaled(x - self.running_mean, self.running_var)
        n = x.size // self.features
        if n < 2:
            raise ValueError(
                f"{self}: training needs at least 2 numbers per feature, got shape {x.shape}: "
                "use a larger batch (fit with drop_last=True leaves out a last batch of 1), or call eval() first."
            )
        mean, centered, variance = _moments(x, tuple(range(x.ndim - 1)))
        unbiased = variance.data * (n / (n - 1))
        for running, batch in ((self.running_mean, mean.data), (self.running_var, unbiased)):
            average = (1.0 - self.momentum) * running.data + self.momentum * batch.reshape(-1)
            running.data = average.astype(running.dtype, copy=False)
        return self._scaled(centered, variance)


def _moments(x: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """The mean over `axes`, x - mean, and the variance; mean and variance keep the axes with length 1."""
    mean = ops.mean(x, axis=axes, keepdims=True)
    centered = x - mean
    return mean, centered, ops.mean(ops.square(centered), axis=axes, keepdims=True)


# ---------------------------------------------------------------------------------------------------------------------
# Weight initialization.
#
# A signal that passes through L layers is multiplied by L weight matrices. If each one scales its variance by a factor
# other than 1, the signal vanishes or explodes with depth, and so does the gradient on the way back. Each initializer
# chooses the variance of the weights from the fan-in (number of inputs of one output) and the fan-out (number of outputs
# that one input affects).
#
# Weights are drawn on the host in float64 from a given generator: a model starts from the same numbers on every device,
# and a float32 model from the rounded float64 numbers.
#
# Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, AISTATS 2010.
# He, Zhang, Ren and Sun, Delving deep into rectifiers, ICCV 2015. Saxe, McClelland and Ganguli, Exact solutions to the
# nonlinear dynamics of learning in deep linear networks, ICLR 2014.

Shape = tuple[int, ...]
Initializer = Callable[..., np.ndarray]
"""Called as `initializer(shape, generator, dtype=...)`; returns a NumPy array."""


def fans(shape: Shape) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight (D, K) or a convolution kernel (KH, KW, C_in, C_out).

    A kernel sums KH * KW * C_in inputs into one output, and one input affects KH * KW * C_out outputs.
    """
    if len(shape) < 2:
        raise ValueError(f"fan-in and fan-out need a shape (D, K) or (KH, KW, C_in, C_out), got {shape}: use 'zeros'.")
    window = math.prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


def glorot_uniform(shape: Shape, generator: np.random.Generator, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Uniform in +-sqrt(6 / (fan_in + fan_out)), variance 2 / (fan_in + fan_out) (Glorot and Bengio 2010, eq. 16)."""
    limit = math.sqrt(6.0 / sum(fans(shape)))
    return generator.uniform(-limit, limit, shape).astype(dtype)


def glorot_normal(shape: Shape, generator: np.random.Generator, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Normal with variance 2 / (fan_in + fan_out) (Glorot and Bengio 2010, eq. 12), for tanh and sigmoid."""
    return (generator.standard_normal(shape) * math.sqrt(2.0 / sum(fans(shape)))).astype(dtype)


def he_uniform(shape: Shape, generator: np.random.Generator, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Uniform in +-sqrt(6 / fan_in), variance 2 / fan_in (He et al. 2015, eq. 10)."""
    limit = math.sqrt(6.0 / fans(shape)[0])
    return generator.uniform(-limit, limit, shape).astype(dtype)


def he_normal(shape: Shape, generator: np.random.Generator, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Normal with variance 2 / fan_in (He et al. 2015, eq. 10), for relu, which zeroes half of its inputs."""
    return (generator.standard_normal(shape) * math.sqrt(2.0 / fans(shape)[0])).astype(dtype)


def orthogonal(shape: Shape, generator: np.random.Generator, dtype: DTypeLike = np.float32) -> np.ndarray:
    """A random matrix with orthonormal columns (or rows, if there are fewer) (Saxe et al. 2014, section 3).

    A convolution kernel is orthogonal as a matrix (KH * KW * C_in, C_out).
    """
    fan_in, _ = fans(shape)
    columns = shape[-1]
    tall = generator.standard_normal((max(fan_in, columns), min(fan_in, columns)))
    q, r = np.linalg.qr(tall)
    q *= np.where(np.diag(r) < 0.0, -1.0, 1.0)  # makes the distribution uniform
    return (q if fan_in >= columns else q.T).reshape(shape).astype(dtype)


def zeros(shape: Shape, generator: np.random.Generator, dtype: DTypeLike = np.float32) -> np.ndarray:
    """All zeros, for biases. Zero weights would give all units of a layer the same gradient, so they stay equal."""
    return np.zeros(shape, dtype)


INITIALIZERS: dict[str, Initializer] = {
    "glorot_uniform": glorot_uniform,
    "glorot_normal": glorot_normal,
    "he_uniform": he_uniform,
    "he_normal": he_normal,
    "orthogonal": orthogonal,
    "zeros": zeros,
}
"""The initializers by name."""


def initializer_named(initializer: str | Initializer) -> Initializer:
    """The initializer of that name; a function is returned as it is. Raises ValueError for an unknown name."""
    return initializer if callable(initializer) else INITIALIZERS[choose("initializer", initializer, INITIALIZERS)]


# ---------------------------------------------------------------------------------------------------------------------
# Checks that all layers share.


def check_size(owner: str, name: str, value: object) -> int:
    """Return a length given to a constructor as an int of at least 1."""
    return whole_number(f"{owner}: {name}", value, at_least=1, advice=f"write e.g. {name}=32")


def check_dtype(owner: str, dtype: DTypeLike) -> np.dtype:
    """Return a dtype given to a constructor, which must be a floating-point one."""
    try:
        kind = np.dtype(dtype or "None")  # NumPy takes None for float64
    except TypeError:
        raise TypeError(f"{owner}: dtype must name a NumPy dtype, got {dtype!r}: write dtype='float32'.") from None
    if kind.kind != "f":
        raise TypeError(f"{owner}: parameters need a floating-point dtype, got {kind}: write dtype='float32'.")
    return kind


def check_floats(layer: Module, x: object) -> None:
    """Raise TypeError unless the input of `layer` is a floating-point Tensor."""
    if not isinstance(x, Tensor) or x.dtype.kind != "f":
        got = f"{type(x).__name__} of {x.dtype}" if hasattr(x, "dtype") else type(x).__name__
        raise TypeError(
            f"{layer}: the input must be a Tensor or array of floating-point numbers, got {got}: "
            f"{array_advice(x, 'convert it first, e.g. numpy.asarray(x, dtype=numpy.float32)')}."
        )


def check_last_axis(layer: Module, x: Tensor, expected: int) -> None:
    """Raise unless the input of `layer` is a floating-point Tensor (..., `expected`)."""
    if not isinstance(x, Tensor) or x.dtype.kind != "f" or x.shape[-1:] != (expected,):
        check_floats(layer, x)
        raise ValueError(
            f"{layer}: the last axis of the input must be {expected}, got shape {x.shape}: {_reshaping(x, expected)}."
        )


def _reshaping(x: Tensor, expected: int) -> str:
    """Advice on giving x a last axis of length `expected`."""
    if x.ndim > 2 and math.prod(x.shape[1:]) == expected:
        return "put nn.Flatten() before this layer"
    if x.ndim == 1 and x.size and x.size % expected == 0:
        return f"add a batch axis, e.g. x.reshape({x.size // expected}, {expected})"
    return "reshape the input" + (f", or build the layer for {x.shape[-1]} features" if x.ndim else "")


def check_activation(owner: str, activation: str) -> str:
    """Return the name of an activation that can be fused with a matrix product, or raise ValueError."""
    otherwise = ", or put a module such as nn.Softplus() after the layer"
    return choose("activation", activation, ACTIVATIONS, owner=owner, otherwise=otherwise)
