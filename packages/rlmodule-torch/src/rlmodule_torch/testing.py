"""The contract of RLModule, with what PyTorch adds to it, as tests that any module can run."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from rlmodule_core import Columns
from rlmodule_core.module import Output
from rlmodule_core.nest import leaves
from rlmodule_core.state import flatten_state
from rlmodule_core.testing import ACTING, PHASES, RLModuleConformance
from rlmodule_torch.module import TorchRLModule


class TorchRLModuleConformance(RLModuleConformance):
    """As RLModuleConformance, and: gradients, modes, parameters."""

    def make_module(self) -> TorchRLModule:
        """Return a new module."""
        raise NotImplementedError("make_module: return a new module of yours")

    def test_acting_carries_no_gradient(self) -> None:
        """Not even where gradients are on around the call, and they stay on."""
        module = self.make_module()
        for phase in ACTING:
            distribution = self._distribution(module, self._act(module, phase, 2))
            value = distribution.sample()
            with suppress(NotImplementedError):  # a deterministic policy has no logp
                assert not distribution.logp(value).requires_grad, f"{phase}: logp carries a gradient"
        assert torch.is_grad_enabled()

    def test_training_carries_a_gradient(self) -> None:
        """What `forward_train` gives to learn from depends on some parameter: the policy, or other floats."""
        module = self.make_module()
        output = self._act(module, "train", 2)
        found = self._learned(module, output)
        if not found or not any(parameter.requires_grad for parameter in module.parameters()):
            return
        assert any(tensor.requires_grad for tensor in found.values()), (
            f"forward_train carries no gradient in {', '.join(found)}: does it run under no_grad?"
        )

    def _learned(self, module: TorchRLModule, output: Output) -> dict[str, Tensor]:
        """Return what a loss would be made of: the score of an action, without one all tensors of floats."""
        if Columns.ACTION_DIST in output:
            distribution = self._distribution(module, output)
            with suppress(NotImplementedError):  # a deterministic policy has no logp
                return {Columns.ACTION_DIST: distribution.logp(distribution.sample())}
            output = {**output, Columns.ACTION_DIST: distribution.rsample()}
        return {
            name: leaf
            for name, column in output.items()
            for leaf in leaves(column)
            if isinstance(leaf, Tensor) and leaf.is_floating_point()
        }

    def _draws(self) -> dict[str, Any]:
        return {**super()._draws(), "torch": torch.rand(4).tolist()}

    def test_every_phase_leaves_the_modes_as_they_were(self) -> None:
        """Of each layer, after success and after a refused batch."""
        module = self.make_module()
        for training in (True, False):
            module.train(training)
            for phase in PHASES:
                self._act(module, phase, 2)
                modes = {name: part.training for name, part in module.named_modules()}
                assert set(modes.values()) == {training}, f"{phase} changed the modes: {modes}"

    def test_every_parameter_is_in_the_state_under_its_name(self) -> None:
        """So that a state means the same to everyone."""
        module = self.make_module()
        state = flatten_state(module.get_state())
        for name, parameter in module.named_parameters():
            assert name in state, f"{name} is not in the state, which has {', '.join(state)}"
            found, expected = state[name].shape, tuple(parameter.shape)
            assert found == expected, f"{name} has shape {found} in the state, and is {expected}"
