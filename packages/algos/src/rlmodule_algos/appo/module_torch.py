"""APPO's default module in PyTorch."""

from rlmodule_torch import TorchActorCriticModule


class APPOTorchRLModule(TorchActorCriticModule):
    """Encoder, policy head and value head, as APPOCatalog (or the catalog it is given) decides."""


DEFAULT_MODULE = APPOTorchRLModule
