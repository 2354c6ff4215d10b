"""One gradient step. Knows nothing of algorithms: the loss is a function that it is given.

Source of the optimizer: Kingma and Ba 2015, https://arxiv.org/abs/1412.6980 (Adam).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from rlmodule_torch.bridge import as_array

GradClip: TypeAlias = Literal["value", "norm", "global_norm"]
LossFunction: TypeAlias = Callable[[Mapping[str, Any], Mapping[str, float]], NamedTuple]
"""(minibatch, coefficients) -> named tuple of scalars whose first field is the loss to minimise."""

MOMENTS = ("exp_avg", "exp_avg_sq")


class StepResult(NamedTuple):
    """What one step did."""

    loss: Any  # the named tuple that the loss function returned
    grad_norm: Tensor  # scalar, before clipping
    applied: bool  # False: the gradient was not finite and the weights were left alone


class TorchUpdater:
    """Adam over all trainable parameters of a module, held in one flat buffer.

    The parameters become views of the buffer, and so do their gradients, so that the norm, the
    clipping and the step are one operation each, whatever the number of layers. Make it after the
    module is on its device; the module keeps working as before.
    """

    def __init__(
        self,
        module: nn.Module,
        loss_function: LossFunction,
        *,
        adam_epsilon: float = 1e-5,
        grad_clip: float | None = None,
        grad_clip_by: GradClip = "global_norm",
    ) -> None:
        if grad_clip_by not in get_args(GradClip):
            raise ValueError(f"grad_clip_by: expected one of {get_args(GradClip)}, got {grad_clip_by!r}")
        parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        if not parameters:
            raise ValueError(f"{type(module).__name__} has no trainable parameters")
        self._loss_function = loss_function
        self._flat, self._gradient = _flatten(parameters)
        self._gradients = [(p, p.grad, p.data_ptr()) for p in parameters if p.grad is not None]
        self._adam = _Adam(self._flat, adam_epsilon)
        self._grad_clip = grad_clip
        self._grad_clip_by = grad_clip_by

    def step(self, batch: Mapping[str, Any], coefficients: Mapping[str, float]) -> StepResult:
        """Take one step on a minibatch with the learning rate `coefficients["lr"]`.

        A gradient that is not finite changes nothing. Raises RuntimeError if the parameters lie elsewhere
        now than when the updater was made: its steps would move nothing.
        """
        loss = self._backward(batch, coefficients)
        return StepResult(loss, *self._descend(coefficients["lr"]))

    def gradient(
        self, batch: Mapping[str, Any], coefficients: Mapping[str, float]
    ) -> tuple[NamedTuple, npt.NDArray[Any]]:
        """Return the loss and its gradient, flat over all parameters, as NumPy, and change nothing.

        This and `apply` are the halves of `step`, for gradients that several learners share.
        """
        loss = self._backward(batch, coefficients)
        return type(loss)(*map(as_array, loss)), as_array(self._gradient).copy()

    def apply(self, gradient: npt.NDArray[Any], lr: float) -> tuple[Tensor, bool]:
        """Take one step against a gradient that `gradient` returned, or a mean of several.

        Returns its norm before clipping, and whether the step was taken: not if it is not finite.
        """
        self._reclaim_gradients()
        self._gradient.copy_(torch.from_numpy(gradient))
        return self._descend(lr)

    def get_weights(self) -> npt.NDArray[Any]:
        """Return all parameters that learn, flat, in the order of the gradient."""
        return as_array(self._flat).copy()

    def set_weights(self, weights: npt.NDArray[Any]) -> None:
        """Set what `get_weights` returned, also that of another process with the same module."""
        self._flat.copy_(torch.from_numpy(np.array(weights)))

    def _backward(self, batch: Mapping[str, Any], coefficients: Mapping[str, float]) -> Any:
        """Fill the gradient, and return the loss without its graph."""
        self._reclaim_gradients()
        self._gradient.zero_()
        loss = self._loss_function(batch, coefficients)
        if not loss[0].requires_grad:
            raise RuntimeError(
                "the loss carries no gradient: does the forward behind it run under no_grad? forward_train "
                "falls back to _forward_exploration, so a module whose acting says no_grad needs a "
                "_forward_train of its own"
            )
        loss[0].backward()
        return type(loss)(*(field.detach() for field in loss))  # or every result would keep its graph

    def _reclaim_gradients(self) -> None:
        for parameter, part, place in self._gradients:
            if parameter.data_ptr() != place:
                raise RuntimeError(
                    "the parameters were moved since this updater was made, by to() or by another updater: "
                    "make one updater, last of all, for all modules that share parameters"
                )
            if parameter.grad is not part:  # someone's zero_grad() took it off
                parameter.grad = part

    def _descend(self, lr: float) -> tuple[Tensor, bool]:
        """Clip the gradient and step, if it is finite."""
        norm = torch.linalg.vector_norm(self._gradient)
        size = norm.item()  # the one wait for the device
        applied = math.isfinite(size)
        if applied:
            self._clip(self._gradient, size)
            self._adam.step(self._gradient, lr)
        return norm, applied

    def get_state(self) -> dict[str, Any]:
        """Return Adam's moments, each a flat array over all parameters, and its number of steps."""
        if not self._adam.num_steps:
            return {"step": 0}
        moments = {name: as_array(getattr(self._adam, name)).copy() for name in MOMENTS}
        return {"step": self._adam.num_steps, **moments}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Set what `get_state` returned. Raises ValueError if it belongs to other parameters."""
        missing = {"step", *(MOMENTS if state.get("step") else ())} - set(state)
        if missing:
            raise ValueError(f"optimizer state: {', '.join(sorted(missing))} missing")
        for name in MOMENTS if state["step"] else ():
            if np.shape(state[name]) != tuple(self._flat.shape):
                raise ValueError(
                    f"optimizer state {name}: expected {tuple(self._flat.shape)}, got {np.shape(state[name])}"
                )
        self._adam.num_steps = int(state["step"])
        for name in MOMENTS:
            moment: Tensor = getattr(self._adam, name).zero_()
            if state["step"]:
                moment.copy_(torch.from_numpy(np.array(state[name])))

    def _clip(self, gradient: Tensor, norm: float) -> None:
        if self._grad_clip is None:
            return
        limit = self._grad_clip
        if self._grad_clip_by == "value":
            gradient.clamp_(-limit, limit)
        elif self._grad_clip_by == "global_norm":
            if norm > limit:
                gradient.mul_(limit / norm)
        else:
            for _, part, _ in self._gradients:
                part.mul_((limit / part.norm()).clamp(max=1.0))


class _Adam:
    """Algorithm 1 of the paper on one buffer.

    Making an optimizer of `torch.optim` imports the compiler: two seconds and 50 MB at every start.
    On one buffer there is nothing else that it would do better.
    """

    BETA_1, BETA_2 = 0.9, 0.999

    def __init__(self, weights: Tensor, epsilon: float) -> None:
        self.num_steps = 0  # t
        self.exp_avg = torch.zeros_like(weights)  # m_t
        self.exp_avg_sq = torch.zeros_like(weights)  # v_t
        self._weights = weights
        self._epsilon = epsilon

    def step(self, gradient: Tensor, lr: float) -> None:
        """Move the weights against the gradient."""
        self.num_steps += 1
        self.exp_avg.lerp_(gradient, 1.0 - self.BETA_1)
        self.exp_avg_sq.mul_(self.BETA_2).addcmul_(gradient, gradient, value=1.0 - self.BETA_2)
        correction_1 = 1.0 - self.BETA_1**self.num_steps
        correction_2 = 1.0 - self.BETA_2**self.num_steps
        root = self.exp_avg_sq.sqrt().div_(math.sqrt(correction_2)).add_(self._epsilon)
        self._weights.addcdiv_(self.exp_avg, root, value=-lr / correction_1)


def _flatten(parameters: list[nn.Parameter]) -> tuple[Tensor, Tensor]:
    """Move parameters of one dtype and device into one buffer, of which they become views.

    Returns the buffer and the buffer of its gradient.
    """
    kinds = {(p.dtype, p.device) for p in parameters}
    if len(kinds) > 1:
        raise ValueError(
            f"trainable parameters must share one dtype and device, got {sorted(map(str, kinds))}"
        )
    flat = torch.cat([p.detach().reshape(-1) for p in parameters])
    gradient = torch.zeros_like(flat)
    offset = 0
    for p in parameters:
        place = slice(offset, offset + p.numel())
        p.data = flat[place].view(p.shape)
        p.grad = gradient[place].view(p.shape)
        offset += p.numel()
    return flat, gradient


make_updater = TorchUpdater
