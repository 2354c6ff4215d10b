"""The bases of the torch distributions. Shapes as in `rlmodule_core.distribution`."""

from __future__ import annotations

import torch.distributions as td
from torch import Tensor

from rlmodule_core import Distribution
from rlmodule_core.distribution import DistributionIn
from rlmodule_core.parametric_distribution import ParametricDistribution

CHOICES = (td.Categorical, td.OneHotCategorical)


class AnyTorchDistribution(DistributionIn):
    """Ours and a user's own; those of `torch.distributions` may stand beside them."""

    framework = "torch"
    wanted = "a distribution, such as TorchCategorical(logits) or one of torch.distributions"


class TorchDistribution(Distribution[Tensor]):
    """Base of all distributions over torch tensors."""

    framework = "torch"

    def native_form(self) -> td.Distribution | None:
        """Return the same distribution as one of `torch.distributions`, or None if it has none."""
        return None


class TorchParametric(TorchDistribution, ParametricDistribution[Tensor]):
    """Base of those that are flat inputs and settings."""

    _tensor = Tensor
    _made = "torch.as_tensor({0}, device={1}.device)"
    _joined = "torch.cat([mean, log_std], dim=-1)"


def _native_kl(one: TorchDistribution, other: object) -> Tensor:
    """Return KL(one || other) where one of them at least is native; TypeError where torch has none."""
    p = one.native_form()
    q = other.native_form() if isinstance(other, TorchDistribution) else None
    names = f"{_named(one)} and {_named(other)}"
    if p is None or q is None:
        raise TypeError(
            f"kl: PyTorch knows no divergence between {names}; make both of one class, ours or of "
            "torch.distributions (our Categorical from 0, Bernoulli and DiagGaussian have such a form)"
        )
    sizes = [native.logits.shape[-1] for native in (p, q) if isinstance(native, CHOICES)]
    if p.event_shape != q.event_shape or len(set(sizes)) > 1:
        raise ValueError(
            f"kl: both must be over the same values, got {names} with values of shape "
            f"{list(p.event_shape)} and {list(q.event_shape)}"
            + (f", of {' and '.join(map(str, sizes))} classes" if sizes else "")
        )
    try:
        divergence: Tensor = td.kl_divergence(p, q)
    except NotImplementedError:
        raise TypeError(
            f"kl: PyTorch knows no divergence between {names}; register one with "
            "torch.distributions.register_kl"
        ) from None
    return divergence


def _named(distribution: object) -> str:
    return type(getattr(distribution, "native", distribution)).__name__
