"""IMPALA's default module in TensorFlow."""

from rlmodule_tf import TfActorCriticModule


class ImpalaTfRLModule(TfActorCriticModule):
    """Encoder, policy head and value head, as ImpalaCatalog (or the catalog it is given) decides."""


DEFAULT_MODULE = ImpalaTfRLModule
