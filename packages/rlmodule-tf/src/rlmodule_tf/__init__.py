"""TensorFlow implementation of rlmodule-core."""

import importlib.util
import os

# Read by TensorFlow when it is imported: no log lines below errors, and sums in one order on a CPU.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
if importlib.util.find_spec("tensorflow") is None:
    raise ImportError("rlmodule-tf needs TensorFlow: pip install 'rlmodule-tf[cpu]' or 'rlmodule-tf[cuda]'")

from rlmodule_tf.__about__ import __version__
from rlmodule_tf.actor_critic import TfActorCriticModule, TfActorModule
from rlmodule_tf.convolution import TfCNNEncoder
from rlmodule_tf.distributions import (
    TfBernoulli,
    TfCategorical,
    TfDeterministic,
    TfDiagGaussian,
    TfDistribution,
    TfMultiCategorical,
    TfMultiDistribution,
    TfNative,
    TfSquashedGaussian,
    as_distribution,
    mask_logits,
)
from rlmodule_tf.layers import (
    TfActorCriticEncoder,
    TfFreeLogStdHead,
    TfMLPEncoder,
    TfMLPHead,
)
from rlmodule_tf.masking import constant, masked_mean, require_same_shape, squared_error, zero_padding
from rlmodule_tf.module import TfRLModule
from rlmodule_tf.multi_agent import TfMultiAgentRLModule
from rlmodule_tf.observations import (
    TfComplexEncoder,
    TfEmbeddingEncoder,
    TfFlattenEncoder,
    TfNormalizer,
    TfOneHotEncoder,
)
from rlmodule_tf.recurrent import TfRecurrentEncoder
from rlmodule_tf.updater import TfUpdater

__all__ = [
    "TfActorCriticEncoder",
    "TfActorCriticModule",
    "TfActorModule",
    "TfBernoulli",
    "TfCNNEncoder",
    "TfCategorical",
    "TfComplexEncoder",
    "TfDeterministic",
    "TfDiagGaussian",
    "TfDistribution",
    "TfEmbeddingEncoder",
    "TfFlattenEncoder",
    "TfFreeLogStdHead",
    "TfMLPEncoder",
    "TfMLPHead",
    "TfMultiAgentRLModule",
    "TfMultiCategorical",
    "TfMultiDistribution",
    "TfNative",
    "TfNormalizer",
    "TfOneHotEncoder",
    "TfRLModule",
    "TfRecurrentEncoder",
    "TfSquashedGaussian",
    "TfUpdater",
    "__version__",
    "as_distribution",
    "constant",
    "mask_logits",
    "masked_mean",
    "require_same_shape",
    "squared_error",
    "zero_padding",
]
