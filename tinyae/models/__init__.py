"""The autoencoders. `Autoencoder` joins any encoder and decoder; the functions build the classic forms."""

from tinyae.models.anomaly import AnomalyDetector
from tinyae.models.autoencoder import Autoencoder
from tinyae.models.dense import basic_autoencoder, deep_autoencoder
from tinyae.models.neighbours import CodeNeighbours, nearest, same_class_share
from tinyae.models.pca import PCA
from tinyae.models.reconstruction import RECONSTRUCTIONS, Reconstruction, reconstruction_named
from tinyae.models.registry import MODELS, ModelEntry, build, model_entry

__all__ = [
    "MODELS",
    "PCA",
    "RECONSTRUCTIONS",
    "AnomalyDetector",
    "Autoencoder",
    "CodeNeighbours",
    "ModelEntry",
    "Reconstruction",
    "basic_autoencoder",
    "build",
    "deep_autoencoder",
    "model_entry",
    "nearest",
    "reconstruction_named",
    "same_class_share",
]
