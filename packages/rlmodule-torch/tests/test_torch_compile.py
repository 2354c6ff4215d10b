"""A module's forwards inside the compiler, the exporter, and on a device."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor, nn

from rlmodule_core import RLModuleConfig
from rlmodule_core.state import flatten_state
from rlmodule_specs import SpecError
from rlmodule_torch import (
    TorchBernoulli,
    TorchCategorical,
    TorchDiagGaussian,
    TorchMultiCategorical,
    TorchSquashedGaussian,
    TorchUpdater,
)
from rlmodule_torch.bc_module import DiscreteBCTorchModule

CONFIG = RLModuleConfig(
    observation_space=spaces.Box(-1, 1, (4,)),
    action_space=spaces.Discrete(2),
    model_config_dict={"fcnet_hiddens": [16]},
)


def bc_module() -> DiscreteBCTorchModule:
    return DiscreteBCTorchModule(CONFIG)


class Moded(DiscreteBCTorchModule):
    """What it computes depends on the modes of its layers."""

    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        self.policy = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2))


def moded_module() -> Moded:
    """Return one whose statistics are not those of a new one, in train mode as a module starts."""
    module = Moded(CONFIG)
    for _ in range(3):
        module.forward_train({"obs": 3.0 * torch.randn(16, 4) + 1.0})
    return module


class Inference(nn.Module):
    """What one exports: tensors in, tensors out."""

    def __init__(self, module: DiscreteBCTorchModule) -> None:
        super().__init__()
        self.module = module

    def forward(self, obs: Tensor) -> Tensor:
        inputs: Tensor = self.module.forward_inference({"obs": obs})["action_dist"].inputs
        return inputs


@pytest.mark.parametrize("phase", ["train", "exploration", "inference"])
def test_a_forward_compiles_into_one_graph_for_all_batch_sizes(phase: str) -> None:
    module, obs = bc_module(), torch.randn(6, 4)
    graphs: list[Any] = []

    def backend(graph: torch.fx.GraphModule, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    def inputs(obs: Tensor) -> Tensor:
        found: Tensor = getattr(module, f"forward_{phase}")({"obs": obs})["action_dist"].inputs
        return found

    torch.compiler.reset()  # what other tests compiled does not count
    compiled = torch.compile(inputs, fullgraph=True, dynamic=True, backend=backend)

    for rows in (6, 3, 5):
        part = obs[:rows].clone()  # a view would be compiled anew for its base
        torch.testing.assert_close(compiled(part), inputs(part))
    assert len(graphs) == 1
    assert compiled(obs).requires_grad == (phase == "train")


@pytest.mark.parametrize("phase", ["exploration", "inference"])
def test_acting_compiles_in_eval_mode_where_dropout_and_batch_norm_decide(phase: str) -> None:
    module, obs = moded_module(), torch.randn(6, 4)
    expected = module.policy.eval()(obs).detach()
    module.train()
    statistics = copy.deepcopy(module.get_state())

    def inputs(obs: Tensor) -> Tensor:
        found: Tensor = getattr(module, f"forward_{phase}")({"obs": obs})["action_dist"].inputs
        return found

    torch.compiler.reset()
    compiled = torch.compile(inputs, fullgraph=True, dynamic=True, backend="eager")

    for rows in (6, 3):
        torch.testing.assert_close(compiled(obs[:rows].clone()), expected[:rows])
    assert all(part.training for part in module.modules()), "the modes were not restored"
    for name, array in flatten_state(module.get_state()).items():
        np.testing.assert_array_equal(array, flatten_state(statistics)[name])


def test_training_compiles_in_train_mode_where_dropout_and_batch_norm_decide() -> None:
    module, obs = moded_module(), torch.randn(6, 4)
    module.eval()
    count = int(module.policy[1].num_batches_tracked)

    def inputs(obs: Tensor) -> Tensor:
        found: Tensor = module.forward_train({"obs": obs})["action_dist"].inputs
        return found

    torch.compiler.reset()
    compiled = torch.compile(
        lambda obs: module.forward_train({"obs": obs})["action_dist"].inputs, backend="eager"
    )

    torch.manual_seed(0)
    found = compiled(obs)
    torch.manual_seed(0)
    torch.testing.assert_close(found, module.policy.train()(obs))
    assert int(module.policy[1].num_batches_tracked) == count + 2
    assert found.requires_grad


def test_the_inference_forward_exports_in_eval_mode_where_dropout_and_batch_norm_decide() -> None:
    module, obs = moded_module(), torch.randn(6, 4)

    rows = torch.export.Dim("rows", min=1)
    program = torch.export.export(Inference(module), (obs,), dynamic_shapes=({0: rows},))

    for size in (6, 2):
        torch.testing.assert_close(program.module()(obs[:size]), module.policy.eval()(obs[:size]))


def test_the_inference_forward_exports_with_any_batch_size_and_without_a_check_in_the_graph() -> None:
    module, obs = bc_module(), torch.randn(6, 4)
    rows = torch.export.Dim("rows", min=1)

    program = torch.export.export(Inference(module), (obs,), dynamic_shapes=({0: rows},))

    for size in (6, 2):
        torch.testing.assert_close(program.module()(obs[:size]), Inference(module)(obs[:size]))
    operations = {node.target for node in program.graph.nodes if node.op == "call_function"}
    assert not any("assert" in str(operation) for operation in operations)
    with pytest.raises(SpecError, match="obs"):
        torch.export.export(Inference(module), (torch.randn(6, 5),))


@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`-wrapped function")
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (TorchCategorical, {"start": 1}),
        (TorchMultiCategorical, {"sizes": (2, 4)}),
        (TorchMultiCategorical, {"sizes": (3, 3)}),
        (TorchBernoulli, {}),
        (TorchDiagGaussian, {}),
        (TorchSquashedGaussian, {"low": -2.0, "high": (1.0, 2.0, 3.0)}),
    ],
)
def test_a_distribution_is_made_scored_and_drawn_from_in_one_graph(
    kind: Any, settings: dict[str, Any]
) -> None:
    def scores(flat: Tensor) -> list[Tensor]:
        distribution = kind(flat, **settings)
        mode = distribution.to_deterministic().sample()
        drawn = distribution.sample()
        return [mode, distribution.logp(mode), distribution.entropy(), distribution.logp(drawn).isfinite()]

    torch.compiler.reset()
    flat = torch.randn(5, 6)
    compiled = torch.compile(scores, fullgraph=True, backend="eager")

    torch.testing.assert_close(compiled(flat), scores(flat))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="NEEDS A GPU: nothing on CUDA was tested here")
def test_a_module_moves_to_a_gpu_and_back_with_its_state_and_learns_there() -> None:
    module, obs = bc_module(), torch.randn(6, 4)
    expected = Inference(module)(obs)

    module.to("cuda")

    assert module.device.type == "cuda"
    torch.testing.assert_close(Inference(module)(obs.cuda()).cpu(), expected, atol=1e-5, rtol=1e-4)
    updater = TorchUpdater(module, lambda data, _: _loss(module, data))
    before = [parameter.detach().clone() for parameter in module.parameters()]
    updater.step({"obs": obs.cuda()}, {"lr": 1e-2})
    assert not torch.equal(next(module.parameters()), before[0])
    state = module.get_state()
    other = bc_module()
    other.set_state(state)
    torch.testing.assert_close(
        Inference(other)(obs), Inference(module)(obs.cuda()).cpu(), atol=1e-5, rtol=1e-4
    )


class Loss(NamedTuple):
    total: Tensor


def _loss(module: DiscreteBCTorchModule, data: Any) -> Loss:
    return Loss(module.forward_train(data)["action_dist"].inputs.sum())
