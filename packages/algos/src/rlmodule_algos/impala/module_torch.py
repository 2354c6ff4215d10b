"""IMPALA's default module in PyTorch."""

from rlmodule_torch import TorchActorCriticModule


class ImpalaTorchRLModule(TorchActorCriticModule):
    """Encoder, policy head and value head, as ImpalaCatalog (or the catalog it is given) decides."""


DEFAULT_MODULE = ImpalaTorchRLModule
