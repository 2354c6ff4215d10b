"""The contract of RLModule, with what PyTorch adds to it, as tests that any module can run."""

from __future__ import annotations

from contextlib import suppress

import torch

from rlmodule_core import Columns
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
        """What `forward_train` gives depends on some parameter, where it gives an `action_dist` to score."""
        module = self.make_module()
        output = self._act(module, "train", 2)
        if Columns.ACTION_DIST not in output or not any(p.requires_grad for p in module.parameters()):
            return
        distribution = self._distribution(module, output)
        with suppress(NotImplementedError):  # a deterministic policy has no logp
            score = distribution.logp(distribution.sample())
            assert score.requires_grad, "forward_train carries no gradient: does it run under no_grad?"

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
            assert state[name].shape == tuple(parameter.shape), name
