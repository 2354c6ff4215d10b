"""Means over real rows, and the guard against silent broadcasting."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import mse_loss


def zero_padding(mask: Tensor | None, *columns: Tensor) -> tuple[Tensor, ...]:
    """Return the columns, `[*mask, ...]`, with 0 where `mask` is False; None leaves them as they are.

    A loss does this first: a NaN of padding that went through a nonlinear operation would come back
    in the gradient, however it is masked afterwards.
    """
    if mask is None:
        return columns
    return tuple(torch.where(_over(mask, column), column, torch.zeros_like(column)) for column in columns)


def _over(mask: Tensor, column: Tensor) -> Tensor:
    """Return the mask with an axis of one for each that the column has behind it."""
    extra = column.dim() - mask.dim()
    return mask.reshape(*mask.shape, *[1] * extra) if extra else mask


def masked_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Return the mean of the rows where `mask` is True; None means all. No such row: 0."""
    if mask is None:
        return values.mean()
    kept = torch.where(mask, values, torch.zeros_like(values))
    return kept.sum() / mask.sum().clamp(min=1)


def constant(values: Tensor) -> Tensor:
    """Return the values without their gradient."""
    return values.detach()


def squared_error(values: Tensor, targets: Tensor) -> Tensor:
    """Return `(values - targets)^2`, each; one operation forward and one back."""
    return mse_loss(values, targets, reduction="none")


def require_same_shape(**tensors: Tensor) -> None:
    """Raise ValueError unless all shapes agree: `[N]` against `[N, 1]` would broadcast to `[N, N]`."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
        raise ValueError(f"a loss takes columns of one shape, got {listed}")
