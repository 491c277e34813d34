"""The estimators for scikit-learn: its own checks, and what a user of its tools sees."""

from __future__ import annotations

import importlib
import pickle
import sys
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal, assert_equal

import tinyae as ta
from tests.conftest import OPTIONAL

if not OPTIONAL:  # where the imports below fail if it is missing
    pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from tinyae import sklearn as estimators
from tinyae.data import Split
from tinyae.sklearn import AutoencoderOutlierDetector, AutoencoderTransformer, StackedClassifier, VAETransformer

TRANSFORMERS = (AutoencoderTransformer, VAETransformer, estimators.DenoisingTransformer)
ALL = (*TRANSFORMERS, AutoencoderOutlierDetector, StackedClassifier)


@pytest.fixture
def plane(rng: np.random.Generator) -> np.ndarray:
    """300 standardized rows of 6 columns near a plane."""
    rows = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 6)) + 0.3 * rng.normal(size=(300, 6))
    return StandardScaler().fit_transform(rows)


@parametrize_with_checks([kind(epochs=5) for kind in ALL])
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def test_a_linear_autoencoder_reaches_the_error_of_pca(plane: np.ndarray) -> None:
    coder, pca = AutoencoderTransformer(hidden_sizes=(), random_state=0).fit(plane), PCA(2).fit(plane)
    least = np.mean((plane - pca.inverse_transform(pca.transform(plane))) ** 2)
    assert least <= -coder.score(plane) < 1.03 * least


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_a_transformer_is_the_encoder_and_decoder_of_its_model(kind: Any, dtype: str, plane: np.ndarray) -> None:
    x = plane.astype(dtype)
    coder = kind(code_size=3, epochs=5, random_state=1).fit(x)
    codes, losses = coder.transform(x), coder.history_["train_loss"]
    assert codes.dtype == coder.inverse_transform(codes).dtype == coder.model_.dtype == dtype
    assert_array_equal(coder.inverse_transform(codes), coder.model_.reconstruct(x))
    assert coder.score(x) == pytest.approx(-np.mean((x - coder.model_.reconstruct(x)) ** 2))
    assert losses[4] < losses[0]


@pytest.mark.parametrize("kind", ALL)
def test_a_seed_repeats_a_fit_and_a_refit_starts_anew(kind: Any, plane: np.ndarray) -> None:
    y = plane[:, 0] > 0
    first = kind(epochs=2, random_state=3).fit(plane, y)
    expected = first.model_.state_dict()
    of_state = clone(first).set_params(random_state=np.random.RandomState(3))
    for again in (clone(first).fit(plane, y), of_state.fit(plane, y), pickle.loads(pickle.dumps(first))):
        assert_equal(again.model_.state_dict(), expected)
    assert_equal(first.fit(plane[:50, :4], y[:50]).fit(plane, y).model_.state_dict(), expected)
    other = first.set_params(random_state=4).fit(plane, y).model_.state_dict()
    assert any(not np.array_equal(other[name], value) for name, value in expected.items())


def test_a_grid_search_prefers_the_code_size_of_the_data(plane: np.ndarray) -> None:
    pipeline = make_pipeline(StandardScaler(), AutoencoderTransformer(hidden_sizes=(), epochs=40, random_state=0))
    search = GridSearchCV(pipeline, {"autoencodertransformer__code_size": [1, 2]}, cv=2).fit(plane)
    assert search.best_params_ == {"autoencodertransformer__code_size": 2}


def test_new_columns_have_names(plane: np.ndarray) -> None:
    table = pytest.importorskip("pandas").DataFrame(plane, columns=list("abcdef"))
    coder = make_column_transformer((VAETransformer(epochs=1), ["a", "c"])).set_output(transform="pandas")
    assert list(coder.fit_transform(table)) == [f"vaetransformer__vaetransformer{n}" for n in range(2)]


def test_a_vae_generates_rows_with_the_correlations_of_the_data(plane: np.ndarray) -> None:
    rows = VAETransformer(epochs=100, random_state=0).fit(plane).sample(2000, random_state=1)
    expected = np.corrcoef(plane.T)
    assert (np.corrcoef(rows.T) * expected)[np.abs(expected) > 0.5].min() > 0.0  # of the same signs


@pytest.mark.parametrize("contamination", [0.02, 0.4])
def test_a_detector_flags_the_worst_reconstructed_rows(contamination: float, plane: np.ndarray) -> None:
    detector = AutoencoderOutlierDetector(contamination=contamination, epochs=30, random_state=0)
    flagged = detector.fit_predict(plane) == -1
    assert flagged.mean() == pytest.approx(contamination, abs=1 / 300)
    errors = ((plane - detector.model_.reconstruct(plane)) ** 2).sum(axis=1)
    assert errors[flagged].min() > errors[~flagged].max()
    assert_allclose(detector.score_samples(plane), -errors)
    assert (detector.predict(plane + 6.0 * np.linalg.svd(plane)[2][-1]) == -1).mean() > 0.95  # orthogonal to the plane


def test_a_stacked_classifier_reads_digits_by_name() -> None:
    digits = ta.data.load("optdigits").train
    x, names = digits.flat[:300], np.array([f"digit {n}" for n in digits.y[:300]])
    classifier = StackedClassifier(hidden_sizes=(32, 16), epochs=50, random_state=0)
    assert cross_val_score(classifier, x, names, cv=2).min() > 0.6
    predicted = classifier.fit(x, names).predict(x)
    assert_array_equal(predicted, np.unique(names)[classifier.model_.classifier.predict(x)])


@pytest.mark.parametrize(("kind", "wrong", "message"), [
    (AutoencoderTransformer, {"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0"),
    (AutoencoderOutlierDetector, {"contamination": 1.0}, "contamination must be a finite number, above 0 and below 1"),
    (StackedClassifier, {"hidden_sizes": ()}, "at least one layer"),
    *[(kind, {"hidden_sizes": 5}, "must be a list of whole numbers, got 5") for kind in (AutoencoderTransformer, StackedClassifier)],
])  # fmt: skip
def test_parameters_are_checked_in_fit(kind: Any, wrong: dict[str, Any], message: str, plane: np.ndarray) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        kind(**wrong).fit(plane, plane[:, 0] > 0)


@pytest.mark.parametrize("kind", ALL)
def test_what_scikit_learn_would_drop_is_refused(kind: Any, plane: np.ndarray) -> None:
    """It takes the array of a masked one as it is, without the mask; and a table has no lengths."""
    fitted, y = kind(epochs=1).fit(plane, plane[:, 0] > 0), plane[:, 0] > 0
    use = fitted.transform if hasattr(fitted, "transform") else fitted.predict
    masked = np.ma.masked_greater(plane, 1.0)
    for call in (lambda x: clone(fitted).fit(x, y), use):
        with pytest.raises(TypeError, match=r"masked values, whose mask would be dropped: give numbers, X.filled"):
            call(masked)
        with pytest.raises(TypeError, match=r"a table .N, D., got a tinyae.Split, whose lengths would be dropped"):
            call(Split(plane.astype("float32")[:, :, None], lengths=np.full(300, 6)))
        assert call(np.ma.masked_array(plane)) is not None  # masks nothing


@pytest.mark.parametrize(("kind", "wrong", "message"), [
    (kind, wrong, message)
    for wrong, message in (
        ({"learning_rate": 0}, "learning_rate must be a finite number, above 0, got 0"),
        ({"code_size": 0}, "code_size must be a whole number of at least 1, got 0"),
        ({"hidden_sizes": [0]}, "hidden_sizes must be a whole number of at least 1, got 0"),
    )
    for kind in ALL if wrong.keys() <= kind().get_params().keys()
])  # fmt: skip
def test_a_message_names_the_parameter_as_it_is_typed(
    kind: Any, wrong: dict[str, Any], message: str, plane: np.ndarray
) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**wrong).fit(plane, plane[:, 0] > 0)


@pytest.mark.parametrize("kind", [AutoencoderTransformer, StackedClassifier])
def test_sizes_may_be_an_array(kind: Any, plane: np.ndarray) -> None:
    """A grid of sizes is often one; `np.array([4, 3])` has no truth value."""
    given, listed = (
        kind(hidden_sizes=sizes, epochs=1, random_state=0).fit(plane, plane[:, 0] > 0).model_.encode(plane)
        for sizes in (np.array([4, 3]), [4, 3])
    )
    assert_array_equal(given, listed)


def test_without_scikit_learn_one_sentence_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.delitem(sys.modules, "tinyae.sklearn")
    with pytest.raises(ImportError, match=r'pip install "tinyae\[sklearn\]"'):
        importlib.import_module("tinyae.sklearn")
