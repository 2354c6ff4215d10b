"""PPO's default module in TensorFlow."""

from rlmodule_tf import TfActorCriticModule


class PPOTfRLModule(TfActorCriticModule):
    """Encoder, policy head and value head, as PPOCatalog (or the catalog it is given) decides."""


DEFAULT_MODULE = PPOTfRLModule
