"""The autoencoders. `Autoencoder` joins any encoder and decoder; the functions build the classic forms."""

from tinyae.models.anomaly import AnomalyDetector
from tinyae.models.autoencoder import Autoencoder
from tinyae.models.baselines import (
    Codec,
    ShuffledCode,
    copy_last,
    linear_prediction,
    mean_sequence,
    sequence_errors,
    sequence_nats,
    shuffled_code,
    softened,
    split_future,
)
from tinyae.models.classifier import SoftmaxClassifier, confusion_matrix
from tinyae.models.code_prior import CodePrior
from tinyae.models.conditional import ConditionalVariationalAutoencoder, conditional_variational_autoencoder
from tinyae.models.contractive import ContractiveAutoencoder, contractive_autoencoder
from tinyae.models.conv import (
    ConvAutoencoder,
    conv_autoencoder,
    conv_denoising_autoencoder,
    conv_variational_autoencoder,
)
from tinyae.models.conv_pair import conv_decoder, conv_encoder
from tinyae.models.denoising import DenoisingAutoencoder, denoising_autoencoder
from tinyae.models.dense import basic_autoencoder, deep_autoencoder
from tinyae.models.importance import ImportanceWeightedAutoencoder, log_likelihood
from tinyae.models.likelihoods import LIKELIHOODS, Likelihood, likelihood_named
from tinyae.models.lstm import LSTMAutoencoder
from tinyae.models.lstm_windows import lstm_autoencoder
from tinyae.models.memory import ImageMemory, image_memory
from tinyae.models.neighbours import CodeNeighbours, nearest, same_class_share
from tinyae.models.orientation import count_oriented, orientation_selectivity
from tinyae.models.pca import PCA
from tinyae.models.posterior import LatentReport, Posterior
from tinyae.models.reconstruction import RECONSTRUCTIONS, Reconstruction, reconstruction_named
from tinyae.models.registry import MODELS, ModelEntry, build, model_entry
from tinyae.models.sensitivity import gradient_per_step
from tinyae.models.sequence_parts import SequenceDecoder, SequenceEncoder
from tinyae.models.sparse import SparseAutoencoder, sparse_autoencoder
from tinyae.models.stacked import StackedAutoencoder, stacked_autoencoder
from tinyae.models.variational import VariationalAutoencoder
from tinyae.models.variational_dense import variational_autoencoder
from tinyae.models.vq import Codebook, VectorQuantizedAutoencoder, vq_autoencoder

__all__ = [
    "LIKELIHOODS",
    "MODELS",
    "PCA",
    "RECONSTRUCTIONS",
    "AnomalyDetector",
    "Autoencoder",
    "CodeNeighbours",
    "CodePrior",
    "Codebook",
    "Codec",
    "ConditionalVariationalAutoencoder",
    "ContractiveAutoencoder",
    "ConvAutoencoder",
    "DenoisingAutoencoder",
    "ImageMemory",
    "ImportanceWeightedAutoencoder",
    "LSTMAutoencoder",
    "LatentReport",
    "Likelihood",
    "ModelEntry",
    "Posterior",
    "Reconstruction",
    "SequenceDecoder",
    "SequenceEncoder",
    "ShuffledCode",
    "SoftmaxClassifier",
    "SparseAutoencoder",
    "StackedAutoencoder",
    "VariationalAutoencoder",
    "VectorQuantizedAutoencoder",
    "basic_autoencoder",
    "build",
    "conditional_variational_autoencoder",
    "confusion_matrix",
    "contractive_autoencoder",
    "conv_autoencoder",
    "conv_decoder",
    "conv_denoising_autoencoder",
    "conv_encoder",
    "conv_variational_autoencoder",
    "copy_last",
    "count_oriented",
    "deep_autoencoder",
    "denoising_autoencoder",
    "gradient_per_step",
    "image_memory",
    "likelihood_named",
    "linear_prediction",
    "log_likelihood",
    "lstm_autoencoder",
    "mean_sequence",
    "model_entry",
    "nearest",
    "orientation_selectivity",
    "reconstruction_named",
    "same_class_share",
    "sequence_errors",
    "sequence_nats",
    "shuffled_code",
    "softened",
    "sparse_autoencoder",
    "split_future",
    "stacked_autoencoder",
    "variational_autoencoder",
    "vq_autoencoder",
]
