"""BC's default module in TensorFlow."""

from rlmodule_tf import TfActorModule


class BCTfRLModule(TfActorModule):
    """Encoder and policy head, as BCCatalog (or the catalog it is given) decides; there is no critic."""


DEFAULT_MODULE = BCTfRLModule
