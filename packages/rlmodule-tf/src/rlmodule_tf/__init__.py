"""TensorFlow implementation of rlmodule-core."""

import importlib.util
import os
import platform
import sys
import warnings

# Read by TensorFlow when it is imported: no log lines below errors, and sums in one order on a CPU.
# Where the processor is an x86, it would else take oneDNN, which sums in another order at each run.
if (
    "tensorflow" in sys.modules
    and "TF_ENABLE_ONEDNN_OPTS" not in os.environ
    and platform.machine() in ("x86_64", "AMD64")
):
    warnings.warn(
        "tensorflow was imported before rlmodule_tf, so two runs on a CPU may differ in their last digits: "
        "import rlmodule_tf first, or set TF_ENABLE_ONEDNN_OPTS=0 in the environment (1 to keep it so)",
        stacklevel=2,
    )
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
