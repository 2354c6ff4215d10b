"""Framework-neutral contracts for reinforcement-learning modules."""

from rlmodule_core.__about__ import __version__
from rlmodule_core.checkpoint import (
    CheckpointError,
    is_checkpoint,
    numbered_checkpoints,
    read_checkpoint,
    write_checkpoint,
)
from rlmodule_core.class_names import register_class
from rlmodule_core.columns import Columns
from rlmodule_core.distribution import Distribution
from rlmodule_core.distribution_config import DistributionConfig, distribution_config
from rlmodule_core.encoder_configs import (
    CNNEncoderConfig,
    ComplexEncoderConfig,
    ConvLayer,
    EmbeddingEncoderConfig,
    FlattenEncoderConfig,
    NormalizerConfig,
    OneHotEncoderConfig,
    RecurrentEncoderConfig,
)
from rlmodule_core.frameworks import framework_module
from rlmodule_core.initializers import initial_weights_from
from rlmodule_core.model_config import (
    ActorCriticEncoderConfig,
    Buildable,
    FreeLogStdHeadConfig,
    MLPEncoderConfig,
    MLPHeadConfig,
    ModelConfig,
)
from rlmodule_core.module import Batch, Output, RLModule, State
from rlmodule_core.module_config import RLModuleConfig
from rlmodule_core.module_spec import SingleAgentRLModuleSpec
from rlmodule_core.multi_agent import DEFAULT_MODULE_ID, MultiAgentRLModule, MultiAgentRLModuleConfig
from rlmodule_core.multi_agent_spec import MultiAgentRLModuleSpec
from rlmodule_core.nested_dict import NestedDict
from rlmodule_core.numpy_distributions import (
    NumpyBernoulli,
    NumpyCategorical,
    NumpyDeterministic,
    NumpyDiagGaussian,
    NumpyDistribution,
    NumpyMultiCategorical,
    NumpyMultiDistribution,
    NumpySquashedGaussian,
    numpy_distribution,
)
from rlmodule_core.numpy_layers import DenseLayer, NumpyLayers
from rlmodule_core.numpy_module import NumpyPolicy, NumpyRLModule, numpy_form_of
from rlmodule_core.numpy_policies import NumpyPolicies, can_act_together
from rlmodule_core.spaces import UnsupportedSpaceError, space_from_dict, space_to_dict, spec_from_space

__all__ = [
    "DEFAULT_MODULE_ID",
    "ActorCriticEncoderConfig",
    "Batch",
    "Buildable",
    "CNNEncoderConfig",
    "CheckpointError",
    "Columns",
    "ComplexEncoderConfig",
    "ConvLayer",
    "DenseLayer",
    "Distribution",
    "DistributionConfig",
    "EmbeddingEncoderConfig",
    "FlattenEncoderConfig",
    "FreeLogStdHeadConfig",
    "MLPEncoderConfig",
    "MLPHeadConfig",
    "ModelConfig",
    "MultiAgentRLModule",
    "MultiAgentRLModuleConfig",
    "MultiAgentRLModuleSpec",
    "NestedDict",
    "NormalizerConfig",
    "NumpyBernoulli",
    "NumpyCategorical",
    "NumpyDeterministic",
    "NumpyDiagGaussian",
    "NumpyDistribution",
    "NumpyLayers",
    "NumpyMultiCategorical",
    "NumpyMultiDistribution",
    "NumpyPolicies",
    "NumpyPolicy",
    "NumpyRLModule",
    "NumpySquashedGaussian",
    "OneHotEncoderConfig",
    "Output",
    "RLModule",
    "RLModuleConfig",
    "RecurrentEncoderConfig",
    "SingleAgentRLModuleSpec",
    "State",
    "UnsupportedSpaceError",
    "__version__",
    "can_act_together",
    "distribution_config",
    "framework_module",
    "initial_weights_from",
    "is_checkpoint",
    "numbered_checkpoints",
    "numpy_distribution",
    "numpy_form_of",
    "read_checkpoint",
    "register_class",
    "space_from_dict",
    "space_to_dict",
    "spec_from_space",
    "write_checkpoint",
]
