"""Action distributions over TensorFlow tensors."""

from rlmodule_tf.distributions.base import TfDistribution
from rlmodule_tf.distributions.bernoulli import TfBernoulli
from rlmodule_tf.distributions.categorical import (
    TfCategorical,
    TfMultiCategorical,
    mask_logits,
)
from rlmodule_tf.distributions.deterministic import TfDeterministic
from rlmodule_tf.distributions.gaussian import TfDiagGaussian, TfSquashedGaussian
from rlmodule_tf.distributions.multi import DISTRIBUTIONS, TfMultiDistribution
from rlmodule_tf.distributions.native import TfNative, as_distribution

__all__ = [
    "DISTRIBUTIONS",
    "TfBernoulli",
    "TfCategorical",
    "TfDeterministic",
    "TfDiagGaussian",
    "TfDistribution",
    "TfMultiCategorical",
    "TfMultiDistribution",
    "TfNative",
    "TfSquashedGaussian",
    "as_distribution",
    "mask_logits",
]
