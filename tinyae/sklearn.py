"""Autoencoders as scikit-learn estimators: for a Pipeline, GridSearchCV, cross_val_score and ColumnTransformer.

In reading order: what all five share; the three transformers, whose codes are new columns (`AutoencoderTransformer`,
`DenoisingTransformer`, `VAETransformer`); `AutoencoderOutlierDetector`; and `StackedClassifier`. Each builds a model of
`tinyae.models`, trains it with Adam, and keeps it as `model_`.

Columns are not scaled: put a `StandardScaler` before, as for scikit-learn's own neural networks, since the squared error of a
column in thousands counts a million times that of one in ones. The loss "bce" needs values in [0, 1]: `MinMaxScaler`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

try:
    from sklearn import base
    from sklearn.utils import check_array, check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError('tinyae.sklearn needs scikit-learn 1.6 or newer: pip install "tinyae[sklearn]".') from error

from tinyae import checks, models, ops
from tinyae.autodiff import Tensor
from tinyae.data import Dataset, Split
from tinyae.optim import Adam
from tinyae.training import History, fit, fit_stack, fit_stack_classifier, whole_history

STEPS, PASSES = 1000, 10  # at least, with `epochs=None`: in batches of 128, 500 passes over 200 rows, 10 over 100,000
_FLOATS = (np.float64, np.float32)  # a model has the precision of its training samples; of integers, the first

_estimator = dataclass(kw_only=True, eq=False, repr=False)  # its __init__ stores the parameters; `fit` checks them


@_estimator
class _Estimator(base.BaseEstimator):
    """What all share: the parameters of training, and the checks of samples. Each kind has a `_built`, its new model."""

    epochs: int | None = None
    batch_size: int = 128
    learning_rate: float = 5e-3
    random_state: int | np.random.RandomState | None = None
    verbose: bool = False

    def _started(self, x: np.ndarray) -> tuple[Any, dict[str, Any]]:
        """A new model in the precision of x (N, D), and the arguments of the function that trains it."""
        checks.number("learning_rate", self.learning_rate, above=0.0)
        sizes = checks.check_kind("hidden_sizes", self.hidden_sizes, Sequence[int])
        for size in sizes if hasattr(sizes, "__len__") else [None]:  # an iterator would be used up
            checks.whole_number("hidden_sizes", size, at_least=1, advice="give a tuple, e.g. (64,)")
        generator = _generator_of(self.random_state)
        model = self._built(x.shape[1], generator).to(dtype=x.dtype)
        steps = math.ceil(len(x) / checks.whole_number("batch_size", self.batch_size, at_least=1))
        epochs = max(PASSES, math.ceil(STEPS / steps)) if self.epochs is None else self.epochs
        order = {"batch_size": self.batch_size, "seed": int(generator.integers(2**31))}
        return model, {"epochs": epochs, "progress": bool(self.verbose), **order}

    def _applied(self, X: Any) -> tuple[Any, np.ndarray]:
        """The trained model, and new samples (N, D) in its precision."""
        check_is_fitted(self, "model_")
        x = validate_data(self, _table(X), reset=False, dtype=_FLOATS)
        return self.model_, x.astype(self.model_.dtype, copy=False)


def _generator_of(random_state: int | np.random.RandomState | None) -> np.random.Generator:
    """A generator that is seeded by what scikit-learn calls a random state."""
    return np.random.default_rng(check_random_state(random_state).randint(2**31 - 1))


def _table(X: Any) -> Any:
    """X, unless scikit-learn would drop what belongs to it, without a word: the mask of an array, the lengths of sequences."""
    if np.ma.is_masked(X):
        raise TypeError(
            "X has masked values, whose mask would be dropped: give numbers, X.filled(0.0), or impute them."
        )
    if isinstance(X, (Split, Dataset)):
        raise TypeError(
            f"X must be a table (N, D), got a tinyae.{type(X).__name__}, whose lengths would be dropped: give the flat samples of "
            "a part, data.train.flat, or train sequences of unequal length with tinyae.fit."
        )
    return X


@_estimator
class _Coder(_Estimator):
    """An estimator whose model is trained to reconstruct the samples."""

    hidden_sizes: Sequence[int] = (64,)
    code_size: int = 2
    activation: str = "relu"

    def fit(self, X: Any, y: object = None) -> Any:
        """Train a new model on X (N, D); y is ignored."""
        x = validate_data(self, _table(X), dtype=_FLOATS)
        checks.whole_number("code_size", self.code_size, at_least=1)
        model, training = self._started(x)
        history = fit(model, x, optimizer=Adam(model.parameters(), lr=self.learning_rate), **training)
        self.model_, self.history_ = model, History(history.units, history.rows)  # without the state of the optimizer
        self._n_features_out = int(self.code_size)
        return self


@_estimator
class _Deep(_Coder):
    """With a reconstruction loss to choose, and by default the deep autoencoder."""

    loss: str = "squared_error"

    def _built(self, features: int, generator: np.random.Generator) -> models.Autoencoder:
        settings: dict[str, Any] = {"activation": self.activation, "loss": self.loss, "generator": generator}
        return models.deep_autoencoder(features, [*self.hidden_sizes, self.code_size], **settings)


class _Transformer(base.ClassNamePrefixFeaturesOutMixin, base.TransformerMixin, _Coder):
    """`transform` is the encoder and `inverse_transform` the decoder."""

    def transform(self, X: Any) -> np.ndarray:
        """The codes (N, K) of X (N, D)."""
        model, x = self._applied(X)
        return model.encode(x)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """The reconstructions (N, D) of codes X (N, K)."""
        check_is_fitted(self, "model_")
        return self.model_.decode(check_array(_table(X), dtype=self.model_.dtype))

    def score(self, X: Any, y: object = None) -> float:
        """Minus the mean squared error per element of the reconstructions of X (N, D): the larger the better, at most 0."""
        model, x = self._applied(X)
        return -float(np.mean(np.square(x - model.reconstruct(x), dtype=np.float64)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


@_estimator
class AutoencoderTransformer(_Transformer, _Deep):
    """The columns of a table compressed into a code by an autoencoder (Hinton and Salakhutdinov 2006).

    D -> hidden_sizes -> code_size -> reversed hidden_sizes -> D, with a linear code. `hidden_sizes=()` is the linear
    autoencoder, which finds the subspace of PCA.

    Args:
        code_size: K, latent dimensions.
        hidden_sizes: widths of the layers before the code, mirrored in the decoder.
        activation: of the hidden layers.
        loss: reconstruction loss; "bce" for values in [0, 1].
        epochs: passes over the samples; None makes at least 1000 steps and 10 passes.
        batch_size, learning_rate: samples per step, and the step size of Adam.
        random_state, verbose: an int gives the same model in each `fit`, to the last bit; True shows a progress bar.

    Attributes:
        model_: the trained model; `tinyae.save` writes it to a file.
        history_: the loss of each epoch, a `tinyae.History`.
    """


@_estimator
class DenoisingTransformer(_Transformer, _Deep):
    """Features that an autoencoder learns by repairing corrupted rows (Vincent et al. 2010). Only `fit` adds noise.

    Args:
        code_size: K, which may be larger than D: noise prevents copying.
        activation: of the hidden layers and of the code.
        corruption: kind of noise: "masking" sets values to 0, the mean of a standardized column; "gaussian" adds to them.
        level: fraction of corrupted values in [0, 1), or the standard deviation of Gaussian noise.
        others: as for `AutoencoderTransformer`.
    """

    hidden_sizes: Sequence[int] = ()
    code_size: int = 64
    corruption: str = "masking"
    level: float = 0.25

    def _built(self, features: int, generator: np.random.Generator) -> models.Autoencoder:
        return models.denoising_autoencoder(
            features, self.code_size, hidden_sizes=self.hidden_sizes, corruption=self.corruption, level=self.level,
            activation=self.activation, loss=self.loss, generator=generator,
        )  # fmt: skip


@_estimator
class VAETransformer(_Transformer):
    """The code of a variational autoencoder, the mean of q(z|x); it also generates rows (Kingma and Welling 2014).

    Args:
        likelihood: p(x|z); "gaussian-scalar" learns one scale for all columns, "bernoulli" needs values that are 0 or 1.
        beta: weight of the KL; 1 is the bound on the log-likelihood, less reconstructs more closely.
        others: as for `AutoencoderTransformer`.
    """

    likelihood: str = "gaussian-scalar"
    beta: float = 1.0

    def _built(self, features: int, generator: np.random.Generator) -> models.Autoencoder:
        return models.variational_autoencoder(
            features, self.hidden_sizes, self.code_size, activation=self.activation, likelihood=self.likelihood,
            beta=self.beta, generator=generator,
        )  # fmt: skip

    def sample(self, n_samples: int = 1, random_state: int | np.random.RandomState | None = None) -> np.ndarray:
        """Generated rows (n_samples, D): z ~ N(0, I), then the mean of p(x|z)."""
        check_is_fitted(self, "model_")
        return self.model_.sample(n_samples, _generator_of(random_state))


@_estimator
class AutoencoderOutlierDetector(base.OutlierMixin, _Deep):
    """Outliers are the rows that an autoencoder reconstructs badly.

    Args:
        contamination: fraction of the training samples to flag, in (0, 1).
        others: as for `AutoencoderTransformer`.

    Attributes:
        detector_: the `tinyae.models.AnomalyDetector`; its `errors` are those of single columns.
        offset_: the `score_samples` below which a row is an outlier, minus the detector's threshold.
    """

    contamination: float = 0.1

    def fit(self, X: Any, y: object = None) -> Any:
        """Train a new model on X (N, D) and set the threshold from its errors; y is ignored."""
        quantile = 1.0 - checks.number("contamination", self.contamination, above=0.0, below=1.0)
        super().fit(X)
        model, x = self._applied(X)
        self.detector_ = models.AnomalyDetector(model, quantile).fit(x)
        self.offset_ = -np.float64(self.detector_.threshold)
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """Minus the squared error of each row (N,): the lower, the more unusual."""
        _, x = self._applied(X)
        return -self.detector_.score(x)

    def decision_function(self, X: Any) -> np.ndarray:
        """`score_samples` minus `offset_` (N,): negative for outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:
        """-1 for outliers, 1 for the others (N,)."""
        return np.where(self.decision_function(X) < 0.0, -1, 1)


@_estimator
class StackedClassifier(base.ClassifierMixin, _Estimator):
    """A deep classifier: layers trained one by one without labels, a softmax on top, then all together (Vincent et al. 2010).

    Args:
        hidden_sizes: widths of the layers, which are sigmoids, from the input to the softmax.
        epochs: of each layer, of the softmax, and of the fine-tuning.
        layer: kind of every layer: "denoising", "plain" or "sparse".
        corruption, level: of denoising layers, as for `DenoisingTransformer`.
        others: as for `AutoencoderTransformer`.
    """

    hidden_sizes: Sequence[int] = (64,)
    layer: str = "denoising"
    corruption: str = "masking"
    level: float = 0.25

    def _built(self, features: int, generator: np.random.Generator) -> models.Autoencoder:
        return models.stacked_autoencoder(
            features, self.hidden_sizes, layer=self.layer, corruption=self.corruption, level=self.level,
            loss="squared_error", classes=len(self.classes_), generator=generator,
        )  # fmt: skip

    def fit(self, X: Any, y: Any) -> Any:
        """Train a new network on X (N, D) and labels y (N,) of any type."""
        x, y = validate_data(self, _table(X), y, dtype=_FLOATS)
        check_classification_targets(y)
        self.classes_, numbers = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError("a classifier needs at least 2 classes, got 1 class: give samples of another class too.")
        model, training = self._started(x)
        training["optimizer"] = lambda parameters: Adam(parameters, lr=self.learning_rate)
        histories = fit_stack(model, x, **training)
        training["epochs"] = (training["epochs"],) * 2
        histories += fit_stack_classifier(model, Split(x, numbers), **training)[1]
        stages = [*(f"layer {number + 1}" for number in range(len(model.layers))), "classifier", "fine-tuning"]
        self.model_, self.history_ = model, whole_history(list(zip(stages, histories, strict=True)))
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class (N, C), in the order of `classes_`, the sorted labels."""
        model, x = self._applied(X)
        return ops.softmax(model.classifier.output(Tensor(model.encode(x)))).numpy()

    def predict(self, X: Any) -> np.ndarray:
        """The most probable label of each row (N,)."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]
