"""The autoencoders. `Autoencoder` joins any encoder and decoder; the functions build the classic forms."""

from tinyae.models.analysis import (
    AnomalyDetector,
    CodeNeighbors,
    count_oriented,
    gradient_per_step,
    nearest,
    orientation_selectivity,
    same_class_share,
)
from tinyae.models.autoencoder import (
    RECONSTRUCTIONS,
    Autoencoder,
    Batch,
    Reconstruction,
    interpolate,
    reconstruction_named,
)
from tinyae.models.baselines import (
    PCA,
    Codec,
    ShuffledCode,
    blend_weight,
    copy_last,
    linear_prediction,
    mean_sequence,
    sequence_errors,
    sequence_nats,
    shuffled_code,
    split_future,
)
from tinyae.models.conditional import ConditionalVariationalAutoencoder, conditional_variational_autoencoder
from tinyae.models.contractive import ContractiveAutoencoder, contractive_autoencoder
from tinyae.models.convolutional import (
    ConvAutoencoder,
    conv_autoencoder,
    conv_decoder,
    conv_denoising_autoencoder,
    conv_encoder,
    conv_variational_autoencoder,
)
from tinyae.models.denoising import DenoisingAutoencoder, denoising_autoencoder
from tinyae.models.dense import basic_autoencoder, deep_autoencoder
from tinyae.models.likelihoods import LIKELIHOODS, Likelihood, likelihood_named
from tinyae.models.lstm import LSTMAutoencoder, SequenceDecoder, SequenceEncoder, lstm_autoencoder
from tinyae.models.memory import ImageMemory, image_memory
from tinyae.models.registry import MODELS, ModelEntry, build, model_entry
from tinyae.models.sparse import SparseAutoencoder, sparse_autoencoder
from tinyae.models.stacked import SoftmaxClassifier, StackedAutoencoder, confusion_matrix, stacked_autoencoder
from tinyae.models.variational import (
    ImportanceWeightedAutoencoder,
    LatentReport,
    Posterior,
    VariationalAutoencoder,
    latent_grid,
    log_likelihood,
    normal_quantiles,
    variational_autoencoder,
)
from tinyae.models.vector_quantized import Codebook, CodePrior, VectorQuantizedAutoencoder, vq_autoencoder

__all__ = [
    "LIKELIHOODS",
    "MODELS",
    "PCA",
    "RECONSTRUCTIONS",
    "AnomalyDetector",
    "Autoencoder",
    "Batch",
    "CodeNeighbors",
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
    "blend_weight",
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
    "interpolate",
    "latent_grid",
    "likelihood_named",
    "linear_prediction",
    "log_likelihood",
    "lstm_autoencoder",
    "mean_sequence",
    "model_entry",
    "nearest",
    "normal_quantiles",
    "orientation_selectivity",
    "reconstruction_named",
    "same_class_share",
    "sequence_errors",
    "sequence_nats",
    "shuffled_code",
    "sparse_autoencoder",
    "split_future",
    "stacked_autoencoder",
    "variational_autoencoder",
    "vq_autoencoder",
]
