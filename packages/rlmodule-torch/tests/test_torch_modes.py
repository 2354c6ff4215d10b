"""The mode of every layer in every phase: frozen, put in later, scripted, with hooks, and compiled."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from gymnasium import spaces
from torch import Tensor, nn

from rlmodule_core import Batch, Output, RLModuleConfig
from rlmodule_torch import TorchCategorical, TorchRLModule

CONFIG = RLModuleConfig(observation_space=spaces.Box(-1, 1, (4,)), action_space=spaces.Discrete(4))
OBS = torch.randn(64, 4)


class Net(TorchRLModule):
    """The network that it is given."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__(CONFIG)
        self.net = net

    def _forward_exploration(self, batch: Batch, **kwargs: Any) -> Output:
        return {"action_dist": TorchCategorical(self.net(batch["obs"]))}

    _forward_inference = _forward_exploration


class FrozenNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)

    def train(self, mode: bool = True) -> FrozenNorm:
        super().train(mode)
        self.norm.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm(x)
        return normed


class FrozenNet(Net):
    """Freezes one of its layers itself."""

    def train(self, mode: bool = True) -> FrozenNet:
        super().train(mode)
        if "net" in self._modules:
            self.net[0].eval()  # type: ignore[index]
        return self


def frozen_instance() -> Net:
    module = Net(nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.5)))
    norm: Any = module.net[0]  # type: ignore[index]
    norm.eval()
    norm.train = lambda mode=True: norm
    return module


FROZEN: dict[str, Callable[[], Net]] = {
    "a layer": lambda: Net(nn.Sequential(FrozenNorm(), nn.Dropout(0.5))),
    "the module": lambda: FrozenNet(nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.5))),
    "one object": frozen_instance,
}


def inputs(module: TorchRLModule, phase: str = "inference") -> Tensor:
    found: Tensor = getattr(module, f"forward_{phase}")({"obs": OBS})["action_dist"].inputs
    return found


@pytest.mark.parametrize("start_training", [True, False])
@pytest.mark.parametrize("who", FROZEN)
def test_a_layer_that_an_overridden_train_freezes_stays_frozen_while_the_others_train(
    who: str, start_training: bool
) -> None:
    module = FROZEN[who]().train(start_training)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    modes = [layer.training for layer in module.modules()]

    for _ in range(2):
        assert inputs(module, "train").eq(0).any()  # dropped
        assert not inputs(module, "inference").eq(0).any()

    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert [layer.training for layer in module.modules()] == modes


def test_an_overridden_train_that_does_more_than_set_flags_is_called_to_switch_and_to_restore() -> None:
    class Merging(nn.Linear):
        merged = False

        def train(self, mode: bool = True) -> Merging:
            super().train(mode)
            self.merged = not mode
            return self

        def forward(self, x: Tensor) -> Tensor:
            assert self.merged is not self.training
            return super().forward(x)

    layer = Merging(4, 4)
    module = Net(layer)

    for phase in ("train", "inference", "exploration", "train"):
        inputs(module, phase)
        assert layer.training
        assert not layer.merged


def insert(net: Any) -> None:
    net.insert(1, nn.Dropout(0.5))


def delete_and_insert(net: Any) -> None:
    del net[1]  # from here on its `_modules` is another dict
    net.insert(1, nn.Dropout(0.5))


def write(net: Any) -> None:
    net._modules["1"] = nn.Dropout(0.5)


def add_to_an_empty_part(net: Any) -> None:
    net[1]._modules["0"] = nn.Dropout(0.5)


class Listed(nn.ModuleList):
    def forward(self, x: Tensor) -> Tensor:
        for layer in self:
            x = layer(x)
        return x


@pytest.mark.parametrize("change", [insert, delete_and_insert, write, add_to_an_empty_part])
@pytest.mark.parametrize("kind", ["Sequential", "ModuleList"])
def test_a_layer_put_in_later_in_any_way_is_in_the_mode_of_the_phase(
    kind: str, change: Callable[[Any], None]
) -> None:
    layers = [nn.Identity(), nn.Sequential(), nn.Identity()]
    module = Net(nn.Sequential(*layers) if kind == "Sequential" else Listed(layers))
    assert torch.equal(inputs(module), OBS)

    change(module.net)

    assert torch.equal(inputs(module), OBS)
    assert inputs(module, "train").eq(0).any()
    assert torch.equal(inputs(module), OBS)


def test_layers_taken_out_are_left_alone() -> None:
    module = Net(nn.Sequential(nn.Dropout(0.5), nn.Identity()))
    inputs(module)
    taken: Any = module.net[0]  # type: ignore[index]
    del module.net[0]  # type: ignore[operator]
    taken.eval()
    module.net.register_forward_hook(lambda *_: states.append(taken.training))
    states: list[bool] = []

    inputs(module, "train")

    assert states == [False]


def test_a_hook_registered_later_sees_the_mode_of_the_phase() -> None:
    module = Net(nn.Linear(4, 4))
    inputs(module)
    seen: list[bool] = []
    module.net.register_forward_hook(lambda layer, *_: seen.append(layer.training))

    for phase in ("inference", "train", "exploration"):
        inputs(module, phase)

    assert seen == [False, True, False]


def test_a_forward_may_change_modes_itself_and_those_found_are_restored_all_the_same() -> None:
    class Changing(Net):
        def _forward_train(self, batch: Batch, **kwargs: Any) -> Output:
            self.net.eval()
            return self._forward_exploration(batch)

    module = Changing(nn.Sequential(nn.Dropout(0.5))).train()

    assert torch.equal(inputs(module, "train"), OBS)

    assert module.training
    assert module.net[0].training  # type: ignore[index]


@pytest.mark.parametrize("start_training", [True, False])
@pytest.mark.parametrize("last", [nn.Tanh, nn.Dropout])
def test_a_forward_that_calls_train_or_eval_leaves_every_flag_as_it_was(
    start_training: bool, last: type[nn.Module]
) -> None:
    class Switching(Net):
        """Its layers are none that care, save perhaps the last."""

        def _forward_exploration(self, batch: Batch, **kwargs: Any) -> Output:
            self.train(not self.training)
            return super()._forward_exploration(batch)

        def _forward_inference(self, batch: Batch, **kwargs: Any) -> Output:
            self.eval()
            self.forward_exploration(batch)
            return super()._forward_exploration(batch)

    module = Switching(nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.ReLU()), last()))
    module.train(start_training)
    module.net[0].train(not start_training)  # type: ignore[index]
    before = {name: layer.training for name, layer in module.named_modules()}

    for phase in ("train", "exploration", "inference"):
        inputs(module, phase)
        assert {name: layer.training for name, layer in module.named_modules()} == before, phase


def test_a_scripted_layer_is_in_the_mode_of_the_phase() -> None:
    with pytest.warns(DeprecationWarning, match="script"):
        script = torch.jit.script(nn.Sequential(nn.Dropout(0.5)))
    module = Net(script)

    assert inputs(module, "train").eq(0).any()
    assert torch.equal(inputs(module), OBS)
    assert script.training


@pytest.mark.parametrize("phase", ["train", "inference"])
def test_a_copy_switches_its_own_layers(phase: str) -> None:
    module = Net(nn.Sequential(nn.Dropout(0.5)))
    inputs(module)
    twin = copy.deepcopy(module)
    twin.eval()

    assert inputs(twin, phase).eq(0).any() == (phase == "train")

    assert all(layer.training for layer in module.modules())
    assert not any(layer.training for layer in twin.modules())


NETS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(4, 4),
    "dropout": lambda: nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)),
    "norm": lambda: nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 4)),
    "frozen": lambda: nn.Sequential(FrozenNorm(), nn.Linear(4, 4)),
}


@pytest.mark.parametrize("start_training", [True, False])
@pytest.mark.parametrize("net", NETS)
def test_a_compiled_forward_is_compiled_once_whatever_other_modules_are_made_meanwhile(
    net: str, start_training: bool
) -> None:
    module, graphs = Net(NETS[net]()).train(start_training), []
    modes = [layer.training for layer in module.modules()]

    def backend(graph: torch.fx.GraphModule, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    act = torch.compile(
        lambda obs: module.forward_inference({"obs": obs})["action_dist"].inputs,
        fullgraph=True,
        backend=backend,
    )
    for _ in range(12):
        torch.testing.assert_close(act(OBS), inputs(module))
        Net(nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)))

    assert len(graphs) == 1
    assert [layer.training for layer in module.modules()] == modes


def test_a_compiled_forward_sees_a_layer_that_is_put_in_later_in_the_mode_of_the_phase() -> None:
    module = Net(nn.Sequential(nn.Identity()))
    torch.compiler.reset()
    act = torch.compile(
        lambda obs: module.forward_inference({"obs": obs})["action_dist"].inputs,
        fullgraph=True,
        backend="eager",
    )
    assert torch.equal(act(OBS), OBS)

    module.net.insert(0, nn.Dropout(0.5))  # type: ignore[operator]

    assert torch.equal(act(OBS), OBS)
    assert module.net[0].training  # type: ignore[index]
