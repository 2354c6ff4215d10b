"""Checkpoints of torch modules: every weight comes back in the dtype that it had."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from gymnasium import spaces
from torch import nn

from rlmodule_core import (
    CheckpointError,
    MultiAgentRLModule,
    MultiAgentRLModuleConfig,
    RLModuleConfig,
    SingleAgentRLModuleSpec,
    register_class,
)
from rlmodule_torch import TorchCategorical, TorchMultiAgentRLModule, TorchRLModule

CONFIG = RLModuleConfig(observation_space=spaces.Box(-1, 1, (3,)), action_space=spaces.Discrete(2))
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


@register_class
class Tied(TorchRLModule):
    """A weight under two names, one that is frozen, statistics, and a count."""

    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        self.layer, self.norm = nn.Linear(3, 2), nn.BatchNorm1d(3)
        self.again = self.layer
        self.norm.weight.requires_grad_(False)

    def _forward_exploration(self, batch: Any) -> Any:
        return {"action_dist": TorchCategorical(self.layer(self.norm(batch["obs"])))}

    _forward_inference = _forward_exploration


@register_class
class Sharing(MultiAgentRLModule):
    """Modules with one layer in common, and a layer that is only the container's."""

    def build(self) -> None:
        super().build()
        modules: Any = self._rl_modules
        self.extra = nn.Linear(2, 2)
        for module in modules.values():
            module.layer = module.again = next(iter(modules.values())).layer


def spec() -> SingleAgentRLModuleSpec:
    return SingleAgentRLModuleSpec(
        module_class=Tied,
        observation_space=CONFIG.observation_space,
        action_space=CONFIG.action_space,
        model_config_dict={},
    )


def assert_same(one: nn.Module, other: nn.Module) -> None:
    expected, found = one.state_dict(), other.state_dict()
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype is tensor.dtype, name
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_module_that_was_moved_to_another_dtype_comes_back_in_it(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    module = Tied(CONFIG).to(dtype)

    loaded: Any = Tied.from_checkpoint(module.save_to_checkpoint(tmp_path / "module"))

    assert_same(module, loaded)
    assert loaded.norm.num_batches_tracked.dtype is torch.int64
    assert loaded.layer.weight is loaded.again.weight
    assert loaded.layer.weight.requires_grad
    assert not loaded.norm.weight.requires_grad
    obs = torch.ones(4, 3, dtype=dtype)
    assert loaded.forward_inference({"obs": obs})["action_dist"].inputs.dtype is dtype


def test_a_module_of_several_dtypes_comes_back_as_it_was(tmp_path: Path) -> None:
    module = Tied(CONFIG)
    module.norm.double()
    module.layer.to(torch.bfloat16)

    assert_same(module, Tied.from_checkpoint(module.save_to_checkpoint(tmp_path / "module")))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_container_comes_back_in_its_dtype_with_what_it_shares(dtype: torch.dtype, tmp_path: Path) -> None:
    modules: Any = Sharing(MultiAgentRLModuleConfig(modules={"a": spec(), "b": spec()}))
    modules.add_module("late", spec().build())
    modules.to(dtype)
    modules["b"].norm.float()

    loaded: Any = MultiAgentRLModule.from_checkpoint(modules.save_to_checkpoint(tmp_path / "modules"))

    assert issubclass(type(loaded), TorchMultiAgentRLModule)
    assert_same(modules, loaded)
    assert loaded.extra.weight.dtype is dtype
    assert loaded["a"].layer.weight is loaded["b"].layer.weight
    part: Any = Sharing.from_checkpoint(tmp_path / "modules", module_ids=["b"])
    assert_same(modules["b"], part["b"])


class Popping(TorchRLModule):
    """Takes a setting, and one inside another, out of its config."""

    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        width = config.model_config_dict.pop("width") + config.model_config_dict["more"].pop("width")
        config.extra = "mine"  # type: ignore[attr-defined]
        self.layers = nn.Sequential(nn.Linear(3, width), nn.Linear(width, 2))

    def _forward_exploration(self, batch: Any) -> Any:
        return {"action_dist": TorchCategorical(self.layers(batch["obs"]))}

    _forward_inference = _forward_exploration


def popping_spec() -> SingleAgentRLModuleSpec:
    settings = {"width": 4, "more": {"width": 1}}
    return SingleAgentRLModuleSpec(**{**vars(spec()), "module_class": Popping, "model_config_dict": settings})


def test_a_module_whose_constructor_takes_settings_out_of_its_config_comes_back(tmp_path: Path) -> None:
    recipe = popping_spec()
    module: Any = recipe.build()
    recipe.build()  # a recipe can be used again

    loaded: Any = Popping.from_checkpoint(module.save_to_checkpoint(tmp_path / "module"))

    assert torch.equal(loaded.layers[0].weight, module.layers[0].weight)
    config = MultiAgentRLModuleConfig(modules={"a": popping_spec()})
    path = MultiAgentRLModule(config).save_to_checkpoint(tmp_path / "many")
    assert list(MultiAgentRLModule.from_checkpoint(path, module_classes={"a": Popping})) == ["a"]


@dataclass(kw_only=True)
class Wide(RLModuleConfig):
    width: int = 8


def test_a_config_with_fields_of_its_own_is_refused_when_saving(tmp_path: Path) -> None:
    config = Wide(observation_space=CONFIG.observation_space, action_space=CONFIG.action_space, width=3)

    with pytest.raises(CheckpointError, match=r"a Wide, has width, .* put it into model_config_dict"):
        Tied(config).save_to_checkpoint(tmp_path / "module")
    with pytest.raises(ValueError, match=r"Wide\.to_dict: width"):
        config.to_dict()

    assert not (tmp_path / "module").exists()


@pytest.mark.parametrize("passed", ["Tied", 5, Tied(CONFIG)])
def test_a_class_that_is_none_is_refused_in_words(tmp_path: Path, passed: Any) -> None:
    path = Tied(CONFIG).save_to_checkpoint(tmp_path / "module")
    with pytest.raises(ValueError, match="module_class: expected a class of modules, got"):
        TorchRLModule.from_checkpoint(path, module_class=passed)

    container = Tied(CONFIG).as_multi_agent().save_to_checkpoint(tmp_path / "many")
    with pytest.raises(ValueError, match=r"module_classes\['default_policy'\]: expected a class"):
        MultiAgentRLModule.from_checkpoint(container, module_classes={"default_policy": passed})


def test_a_path_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    for path in (tmp_path / "file" / "module", tmp_path / "file" / "below" / "module"):
        with pytest.raises(CheckpointError, match="which is a file"):
            Tied(CONFIG).save_to_checkpoint(path)


class Complex(Tied):
    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        self.phase = nn.Parameter(torch.full((2,), 1j))


def test_complex_weights_come_back_from_a_checkpoint(tmp_path: Path) -> None:
    loaded = Complex.from_checkpoint(Complex(CONFIG).save_to_checkpoint(tmp_path / "module"))

    assert loaded.phase.dtype is torch.complex64
    assert loaded.phase.eq(1j).all()
