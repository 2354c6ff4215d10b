"""PPO's default module in PyTorch."""

from rlmodule_torch import TorchActorCriticModule


class PPOTorchRLModule(TorchActorCriticModule):
    """Encoder, policy head and value head, as PPOCatalog (or the catalog it is given) decides."""


DEFAULT_MODULE = PPOTorchRLModule
