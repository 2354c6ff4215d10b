"""Many torch modules as one: an `nn.Module` that owns them, whoever wrote its class."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor, nn

from rlmodule_core import (
    CheckpointError,
    MultiAgentRLModule,
    MultiAgentRLModuleConfig,
    MultiAgentRLModuleSpec,
    RLModuleConfig,
    SingleAgentRLModuleSpec,
)
from rlmodule_core.testing import RLModuleConformance
from rlmodule_specs import SpecError
from rlmodule_torch import TorchCategorical, TorchMultiAgentRLModule, TorchRLModule, TorchUpdater
from rlmodule_torch.bc_module import DiscreteBCTorchModule

GLOBAL, HIDDEN = 2, 64


class Head(TorchRLModule):
    """A head of its own on an encoder that it is given."""

    def __init__(self, encoder: nn.Module, local: int, actions: int) -> None:
        super().__init__(config=None)
        self.encoder = encoder
        self.head = nn.Sequential(nn.Linear(HIDDEN + local, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, actions))

    def _forward_exploration(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        obs = batch["obs"]
        both = torch.cat([self.encoder(obs["global"]), obs["local"]], dim=-1)
        return {"action_dist": TorchCategorical(self.head(both))}

    _forward_inference = _forward_exploration


class Neutral(MultiAgentRLModule):
    """Knows nothing of torch but what build() makes."""

    def build(self) -> None:
        self.encoder = nn.Sequential(nn.Linear(GLOBAL, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN))
        self._rl_modules = {
            key: Head(self.encoder, spec.observation_space["local"].shape[0], spec.action_space.n)
            for key, spec in self.config.modules.items()
        }


class Owner(Neutral, TorchMultiAgentRLModule):
    """The same, of the class that says so."""


def recipe(local: int) -> SingleAgentRLModuleSpec:
    parts: dict[str, Any] = {"global": spaces.Box(-1, 1, (GLOBAL,)), "local": spaces.Box(-1, 1, (local,))}
    return SingleAgentRLModuleSpec(
        observation_space=spaces.Dict(parts), action_space=spaces.Discrete(local), model_config_dict={}
    )


def shared(cls: type[MultiAgentRLModule] = Neutral) -> Any:
    specs = {"local_2d": recipe(2), "local_5d": recipe(5)}
    return MultiAgentRLModuleSpec(marl_module_class=cls, module_specs=specs).build()


def batch(local: int, rows: int = 3) -> dict[str, Any]:
    return {"obs": {"global": torch.ones(rows, GLOBAL), "local": torch.ones(rows, local)}}


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def bc_spec(obs: int, hidden: int) -> SingleAgentRLModuleSpec:
    return SingleAgentRLModuleSpec(
        module_class=DiscreteBCTorchModule,
        observation_space=spaces.Box(-1, 1, (obs,)),
        action_space=spaces.Discrete(2),
        model_config_dict={"fcnet_hiddens": [hidden]},
    )


def test_the_parameters_are_as_many_as_the_layers_have_by_hand() -> None:
    alone = bc_spec(4, 64).build()
    two = MultiAgentRLModuleSpec(module_specs={"a": bc_spec(10, 32), "b": bc_spec(5, 16)}).build()

    assert isinstance(alone, nn.Module)
    assert count(alone) == (4 * 64 + 64) + (64 * 2 + 2) == 450
    assert [count(module) for module in two.values()] == [418, 130]  # type: ignore[arg-type]
    assert isinstance(two, TorchMultiAgentRLModule)
    assert count(two) == 548


@pytest.mark.parametrize("cls", [Neutral, Owner])
def test_a_shared_encoder_is_one_module_whose_parameters_count_once(cls: Any) -> None:
    modules = shared(cls)
    encoder = (2 * 64 + 64) + (64 * 64 + 64)
    heads = [(64 + n) * 64 + 64 + 64 * n + n for n in (2, 5)]

    assert isinstance(modules, nn.Module)
    assert isinstance(modules, cls)
    assert type(modules).__name__ == cls.__name__
    assert count(modules) == encoder + sum(heads) == 13_575
    assert len(list(modules.parameters())) == 12
    names = [name for name, _ in modules.named_parameters()]
    assert names[0] == "encoder.0.weight"  # what build() set as an attribute is owned too
    assert any(name.startswith("_owned.local_5d.head") for name in names)


@pytest.mark.parametrize("remake", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
@pytest.mark.parametrize("cls", [Neutral, Owner])
def test_copies_share_among_themselves_and_not_with_the_original(cls: Any, remake: Any) -> None:
    modules = shared(cls)
    other = remake(modules)

    assert type(other) is type(modules)
    assert count(other) == 13_575
    assert other["local_2d"].encoder is other["local_5d"].encoder is other.encoder
    with torch.no_grad():
        other.encoder[0].weight.zero_()
    assert modules.encoder[0].weight.any()
    other.add_module("late", bc_spec(4, 8).build())
    assert count(other) > 13_575


class Loss(NamedTuple):
    total: Tensor


def test_one_step_moves_shared_weights_once_by_the_gradients_of_all_who_share_them() -> None:
    modules = shared()

    def loss(data: Mapping[str, Any], _: Any) -> Loss:
        scores = [m.forward_train(data[key])["action_dist"].inputs.sum() for key, m in modules.items()]
        return Loss(torch.stack(scores).sum())

    weight = modules.encoder[0].weight
    data = {"local_2d": batch(2), "local_5d": batch(5)}
    parts = [
        torch.autograd.grad(modules[key].forward_train(data[key])["action_dist"].inputs.sum(), weight)[0]
        for key in data
    ]
    before = weight.detach().clone()
    updater = TorchUpdater(modules, loss)

    updater.step(data, {"lr": 1e-3})

    torch.testing.assert_close(weight.grad, parts[0] + parts[1])
    moved = (weight.detach() - before).abs()
    assert moved.max() <= 1.01e-3  # Adam's first step is lr; two of them would be more
    assert moved.max() > 0.9e-3


def test_the_survivor_of_a_removed_owner_still_learns() -> None:
    modules = shared()
    modules.remove_module("local_2d")
    updater = TorchUpdater(
        modules,
        lambda data, _: Loss(modules["local_5d"].forward_train(data)["action_dist"].inputs.sum()),
    )
    before = modules.encoder[0].weight.detach().clone()

    updater.step(batch(5), {"lr": 1e-3})

    assert count(modules) == 13_575 - (66 * 64 + 64 + 64 * 2 + 2)
    assert (modules.encoder[0].weight.detach() - before).abs().max() > 0.9e-3


def test_a_second_updater_on_shared_parameters_stops_the_first_in_words() -> None:
    modules = shared()
    loss: Any = lambda data, _: Loss(modules["local_2d"].forward_train(data)["action_dist"].inputs.sum())  # noqa: E731
    first = TorchUpdater(modules["local_2d"], loss)
    second = TorchUpdater(modules["local_5d"], loss)

    with pytest.raises(RuntimeError, match=r"moved since this updater was made.*for all modules that share"):
        first.step(batch(2), {"lr": 1e-3})
    second.step(batch(2), {"lr": 1e-3})


def test_ids_may_be_any_str_and_modules_come_and_go() -> None:
    modules = MultiAgentRLModule()
    assert not isinstance(modules, nn.Module)  # it does not know yet what it will hold

    for key in ("a.b", "keys", "", "training"):
        modules.add_module(key, bc_spec(4, 8).build())

    assert isinstance(modules, nn.Module)
    assert count(modules) == 4 * (4 * 8 + 8 + 8 * 2 + 2)
    modules.remove_module("keys")
    assert count(modules) == 3 * (4 * 8 + 8 + 8 * 2 + 2)
    assert modules.keys() == {"a.b", "", "training"}
    modules.to("meta")
    assert {parameter.device.type for parameter in modules.parameters()} == {"meta"}


def test_a_checkpoint_keeps_what_is_shared(tmp_path: Path) -> None:
    modules = shared()
    path = modules.save_to_checkpoint(tmp_path / "c")

    loaded = Neutral.from_checkpoint(path)
    alone = Neutral.from_checkpoint(path, module_ids=["local_5d"])

    assert (path / "tensors.safetensors").stat().st_size < 4 * 13_575 + 2000
    assert count(loaded) == 13_575  # type: ignore[arg-type]
    for key, local in (("local_2d", 2), ("local_5d", 5)):
        expected = modules[key].forward_inference(batch(local))["action_dist"].inputs
        torch.testing.assert_close(
            loaded[key].forward_inference(batch(local))["action_dist"].inputs, expected
        )
    torch.testing.assert_close(alone["local_5d"].forward_inference(batch(5))["action_dist"].inputs, expected)


def test_a_checkpoint_of_other_sizes_is_refused(tmp_path: Path) -> None:
    path = shared().save_to_checkpoint(tmp_path / "c")

    class Narrow(Neutral):
        def build(self) -> None:
            super().build()
            self._rl_modules = {"local_2d": Head(nn.Linear(GLOBAL, HIDDEN), 2, 2)}

    with pytest.raises(CheckpointError, match=r"local_2d: Head.set_state: the state does not fit: .*missing"):
        Narrow.from_checkpoint(path, module_ids=["local_2d"])


class TestHeadOnItsOwnEncoder(RLModuleConformance):
    """A module with config=None is a module like any other, except that it cannot be saved alone."""

    saves = False

    def make_module(self) -> TorchRLModule:
        return Head(nn.Linear(GLOBAL, HIDDEN), 2, 2)

    def make_batch(self, module: Any, phase: str, rows: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(rows)
        draw = {key: torch.randn(rows, 2, generator=generator) for key in ("global", "local")}
        return {"obs": draw}


def test_a_container_takes_a_config_of_its_own_or_none() -> None:
    assert len(TorchMultiAgentRLModule()) == 0
    config = MultiAgentRLModuleConfig(modules={"a": bc_spec(4, 8)})
    assert count(TorchMultiAgentRLModule(config)) == 58
    assert RLModuleConfig().observation_space is None


@pytest.mark.parametrize("held_in", [dict, nn.ModuleDict])
def test_what_the_container_alone_owns_is_saved_set_and_copied_too(tmp_path: Path, held_in: Any) -> None:
    modules = critic_container(held_in)
    with torch.no_grad():
        modules.critic.weight.fill_(5.0)
    other = critic_container(held_in)

    other.set_state(modules.get_state())
    loaded = Coordinated.from_checkpoint(modules.save_to_checkpoint(tmp_path / "c"))

    assert set(modules.get_state()) == {"a", "__own__"}
    for again in (other, loaded, copy.deepcopy(modules)):
        assert again.critic.weight.eq(5.0).all()
        assert count(again) == 58 + 5  # type: ignore[arg-type]
    other.add_module("b", bc_spec(4, 8).build())
    other.remove_module("a")
    assert count(other) == 58 + 5
    with pytest.raises(ValueError, match=r"critic\.weight has shape \(2,\)"):
        other.set_state({"__own__": {"critic": {"weight": np.zeros(2), "bias": np.zeros(1)}}})


class Coordinated(MultiAgentRLModule):
    """Holds a critic that is none of its modules'."""

    held_in: Any = dict

    def build(self) -> None:
        super().build()
        self.critic = nn.Linear(4, 1)
        self._rl_modules = self.held_in(self._rl_modules)


def critic_container(held_in: Any) -> Any:
    Coordinated.held_in = held_in
    return Coordinated(MultiAgentRLModuleConfig(modules={"a": bc_spec(4, 8)}))


def test_ids_with_dots_do_not_mix_up_the_weights_of_two_modules() -> None:
    one, two = Held(b=nn.ModuleDict({"x": nn.Linear(1, 1)})), Held(x=nn.Linear(1, 1))
    modules = MultiAgentRLModule()
    modules.add_module("a", one)
    modules.add_module("a.b", two)

    state = modules.get_state()

    first, second = (next(module.parameters()).item() for module in (one, two))
    assert state["a"]["b"]["x"]["weight"].item() == first
    assert state["a.b"]["x"]["weight"].item() == second


class Held(TorchRLModule):
    def __init__(self, **parts: nn.Module) -> None:
        super().__init__(None)
        for name, part in parts.items():
            setattr(self, name, part)

    def _forward_exploration(self, batch: Any) -> dict[str, Any]:
        return {}

    _forward_inference = _forward_exploration


class Plain(TorchRLModule):
    """One layer, and a failure after its weights were set, as of a device without memory left."""

    fails = False

    def __init__(self) -> None:
        super().__init__(config=None)
        self.layer = nn.Linear(2, 2)

    def _forward_exploration(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        return {"action_dist": TorchCategorical(self.layer(batch["obs"]))}

    _forward_inference = _forward_exploration

    def set_state(self, state: Any) -> None:
        super().set_state(state)
        if self.fails:
            self.fails = False
            raise RuntimeError("no memory left")


def two_plain() -> Any:
    container = MultiAgentRLModule()
    container.add_module("a", Plain())
    container.add_module("b", Plain())
    return container


@pytest.mark.parametrize("state", [None, 5, {"a": None}, {"a": 5}])
def test_what_is_no_state_of_a_container_is_refused_in_words(state: Any) -> None:
    with pytest.raises(
        ValueError, match=r"TorchMultiAgentRLModule\.set_state: (expected \{module|a: a state is)"
    ):
        two_plain().set_state(state)


def test_whatever_fails_while_states_are_set_all_modules_are_as_before() -> None:
    container, other = two_plain(), two_plain()
    before = {name: tensor.clone() for name, tensor in container.state_dict().items()}
    container["b"].fails = True

    with pytest.raises(RuntimeError, match="no memory left"):
        container.set_state(other.get_state())

    for name, tensor in container.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_assigning_a_module_to_an_id_points_to_add_module() -> None:
    with pytest.raises(TypeError, match=r"call add_module\('a', module\)"):
        two_plain()["a"] = Plain()


@pytest.mark.parametrize("kind", [Neutral, Owner])
def test_calling_the_container_itself_names_the_forwards_unless_the_class_says_what_that_is(
    kind: type[MultiAgentRLModule],
) -> None:
    class Called(kind):  # type: ignore[misc, valid-type]
        def forward(self, batch: Mapping[str, Any]) -> Any:
            return self.forward_train(batch)

    batch = {"a": {"obs": {"global": torch.zeros(3, GLOBAL), "local": torch.zeros(3, 5)}}}
    config = MultiAgentRLModuleConfig(modules={"a": recipe(5)})
    with pytest.raises(
        TypeError, match=rf"^{kind.__name__} cannot be called itself: call forward_train\(batch\)"
    ):
        kind(config)(batch)
    assert Called(config)(batch)["a"]["action_dist"].inputs.shape == (3, 5)


@pytest.mark.parametrize("phase", ["train", "exploration", "inference"])
def test_a_container_compiles_into_one_graph_and_names_the_module_that_refuses_its_batch(phase: str) -> None:
    modules = MultiAgentRLModuleSpec(module_specs={"a": bc_spec(4, 8), "b": bc_spec(5, 8)}).build()
    graphs: list[Any] = []

    def backend(graph: torch.fx.GraphModule, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    def logits(left: Tensor, right: Tensor) -> list[Tensor]:
        output = getattr(modules, f"forward_{phase}")({"a": {"obs": left}, "b": {"obs": right}})
        return [part["action_dist"].inputs for part in output.values()]

    torch.compiler.reset()  # what other tests compiled does not count
    compiled = torch.compile(logits, fullgraph=True, dynamic=True, backend=backend)

    for rows in (6, 3, 5):
        given = torch.randn(rows, 4), torch.randn(rows, 5)
        torch.testing.assert_close(compiled(*given), logits(*given))
    assert len(graphs) == 1
    with pytest.raises(SpecError, match=rf"^b: DiscreteBCTorchModule\.forward_{phase}: the batch breaks"):
        torch.compile(logits, backend="eager")(torch.ones(3, 4), torch.ones(3, 6))


def test_a_container_with_layers_that_forgets_super_is_told_to_call_it() -> None:
    class NoSuper(TorchMultiAgentRLModule):
        def __init__(self, config: MultiAgentRLModuleConfig) -> None:
            self.encoder = nn.Linear(2, 2)

    with pytest.raises(TypeError, match=r"NoSuper\.__init__: .*call super\(\)\.__init__\(config\)"):
        MultiAgentRLModuleSpec(marl_module_class=NoSuper, module_specs={"a": bc_spec(4, 8)}).build()
