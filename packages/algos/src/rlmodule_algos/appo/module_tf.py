"""APPO's default module in TensorFlow."""

from rlmodule_tf import TfActorCriticModule


class APPOTfRLModule(TfActorCriticModule):
    """Encoder, policy head and value head, as APPOCatalog (or the catalog it is given) decides."""


DEFAULT_MODULE = APPOTfRLModule
