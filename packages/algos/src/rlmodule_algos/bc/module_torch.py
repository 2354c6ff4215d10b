"""BC's default module in PyTorch."""

from rlmodule_torch import TorchActorModule


class BCTorchRLModule(TorchActorModule):
    """Encoder and policy head, as BCCatalog (or the catalog it is given) decides; there is no critic."""


DEFAULT_MODULE = BCTorchRLModule
