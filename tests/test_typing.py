"""What mypy --strict says of a user's module: right ones pass as they are written, mistakes are found."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

HEADER = """
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import torch
from torch import nn

from rlmodule_algos.ppo import PPOTorchRLModule
from rlmodule_catalogs import PPOCatalog
from rlmodule_core import (
    Buildable,
    MultiAgentRLModule,
    MultiAgentRLModuleConfig,
    NestedDict,
    RLModule,
    RLModuleConfig,
    SingleAgentRLModuleSpec,
)
from rlmodule_specs import SpecType, TfTensorSpec, TorchTensorSpec
from rlmodule_torch import TorchRLModule


class Mine(TorchRLModule):
    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        self.policy = nn.Linear(self.config.observation_space.shape[0], self.config.action_space.n)
        self.hidden: int = self.config.model_config_dict["fcnet_hiddens"][0]

    def _forward_train(self, batch: NestedDict) -> Mapping[str, Any]:
        return {"action_dist": torch.distributions.Categorical(logits=self.policy(batch["obs"]))}

    def _forward_exploration(self, batch: NestedDict) -> Mapping[str, Any]:
        with torch.no_grad():
            return self._forward_train(batch)

    def _forward_inference(self, batch: NestedDict) -> Mapping[str, Any]:
        with torch.no_grad():
            return self._forward_train(batch)


class Child(Mine):
    def __init__(self, encoder: nn.Module, local_dim: int) -> None:
        TorchRLModule.__init__(self, config=None)
        self.encoder = encoder


def built() -> RLModule:
    env = gym.make("CartPole-v1")
    return SingleAgentRLModuleSpec(
        module_class=Mine,
        observation_space=env.observation_space,
        action_space=env.action_space,
        model_config_dict={"fcnet_hiddens": [64]},
    ).build()
"""

RIGHT = {
    "observations_need_no_cast": """
def logits(module: Mine, batch: NestedDict) -> torch.Tensor:
    found: torch.Tensor = module.policy(batch["obs"]["global"] + batch["obs", "local"])
    return found
""",
    "a_batch_of_any_annotation_with_or_without_more_arguments": """
class Open(TorchRLModule):
    def _forward_exploration(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"actions": batch["obs"]}

    def _forward_inference(self, batch: dict[str, Any], *, scale: float = 1.0) -> Mapping[str, Any]:
        return {"actions": batch["obs"] * scale}
""",
    "a_class_needs_only_two_forwards": """
class Two(TorchRLModule):
    def _forward_exploration(self, batch: NestedDict) -> Mapping[str, Any]:
        return {"action_dist": batch["obs"]}

    def _forward_inference(self, batch: NestedDict) -> Mapping[str, Any]:
        return self._forward_exploration(batch)


output = Two(None).forward_train({"obs": torch.zeros(3, 4)})
""",
    "the_four_forms_of_a_spec": """
class Keys(Mine):
    def input_specs_exploration(self) -> SpecType:
        return ["obs"]

    def input_specs_train(self) -> SpecType:
        return [("obs", "global"), ("obs", "local"), "action_mask"]

    def input_specs_inference(self) -> SpecType:
        return {"obs": TorchTensorSpec("b, h", h=10), "tf": TfTensorSpec("b, h", h=10)}

    def output_specs_exploration(self) -> SpecType:
        return {"action_dist": torch.distributions.Categorical}
""",
    "ppos_modules_and_catalog_extended": """
class MyTorch(PPOTorchRLModule):
    def _forward_train(self, batch: Mapping[str, Any], **kwargs: Any) -> Mapping[str, Any]:
        return super()._forward_train({**batch, "obs": batch["obs"] * 2})


class MyAwesomeCatalog(PPOCatalog):
    def get_actor_critic_encoder_config(self) -> Buildable:
        return super().get_actor_critic_encoder_config()


spec = SingleAgentRLModuleSpec(module_class=MyTorch, catalog_class=MyAwesomeCatalog)
""",
    "the_settings_in_a_spec": """
def hidden(config: MultiAgentRLModuleConfig) -> int:
    module_spec = next(iter(config.modules.values()))
    size: int = module_spec.model_config_dict["fcnet_hiddens"][0]
    return size
""",
    "modules_collected_in_a_dict_of_their_class": """
class Many(MultiAgentRLModule):
    def build(self) -> None:
        rl_modules = {}
        for module_id in self.config.modules:
            rl_modules[module_id] = Child(nn.Linear(2, 2), 2)
        self._rl_modules = rl_modules
""",
    "a_nested_dict_as_the_batch": """
output = built().forward_train(NestedDict({"obs": torch.zeros(3, 4)}))
agents = built().as_multi_agent().forward_train(NestedDict({"a": {"obs": torch.zeros(3, 4)}}))
""",
    "ppos_module_extended_with_the_batch_of_ones_own_module": """
class My(PPOTorchRLModule):
    def _forward_train(self, batch: NestedDict) -> Mapping[str, Any]:
        return super()._forward_train(batch)
""",
    "the_observation_space_of_a_catalog": """
class MyCatalog(PPOCatalog):
    def size(self) -> int:
        size: int = self.observation_space.shape[0]
        return size
""",
}

# The lines of the seed that ours do not allow yet, each with what is in the way.
WRONG = {
    "a_forward_that_returns_a_number": (
        """
class Bad(Mine):
    def _forward_train(self, batch: NestedDict) -> Mapping[str, Any]:
        return 3
""",
        'Incompatible return value type (got "int", expected "Mapping[str, Any]")',
    ),
    "a_forward_that_promises_a_number": (
        """
class Bad(Mine):
    def _forward_train(self, batch: NestedDict) -> int:
        return 3
""",
        'Return type "int" of "_forward_train" incompatible with return type "Mapping[str, Any]"',
    ),
    "a_spec_that_is_none": (
        """
class Bad(Mine):
    def input_specs_train(self) -> int:
        return 3
""",
        'Return type "int" of "input_specs_train" incompatible with return type "SpecType" in supertype',
    ),
    "a_batch_that_is_a_list": (
        """
output = built().forward_train([1.0])
""",
        'Argument 1 to "forward_train" of "RLModule" has incompatible type "list[float]"',
    ),
    "a_public_forward_overridden": (
        """
class Bad(Mine):
    def forward_train(self, batch: NestedDict) -> Mapping[str, Any]:
        return {}
""",
        'Signature of "forward_train" incompatible with supertype "rlmodule_core.module.RLModule"',
    ),
    "a_class_that_is_no_module": (
        """
spec = SingleAgentRLModuleSpec(module_class=nn.Linear)
""",
        'Argument "module_class" to "SingleAgentRLModuleSpec" has incompatible type "type[Linear]"',
    ),
    "a_config_that_is_a_space": (
        """
module = Mine(gym.spaces.Discrete(2))
""",
        'Argument 1 to "Mine" has incompatible type "Discrete',
    ),
    "a_build_that_fills_in_no_modules": (
        """
class Bad(MultiAgentRLModule):
    def build(self) -> None:
        self._rl_modules = {"a": nn.Linear(1, 1)}
""",
        'expected "str": "RLModule"',
    ),
}


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What mypy says of each snippet and example, in one run, with the settings of this repository."""
    folder = tmp_path_factory.mktemp("snippets")
    snippets = {**RIGHT, **{name: code for name, (code, _) in WRONG.items()}}
    for name, code in snippets.items():
        (folder / f"snippet_{name}.py").write_text(HEADER + code)
    files = [*sorted(folder.glob("*.py")), *EXAMPLES]
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert ran.returncode in (0, 1), ran.stdout + ran.stderr
    found: dict[str, list[str]] = {file.stem.removeprefix("snippet_"): [] for file in files}
    for line in ran.stdout.splitlines():
        if said := re.search(r"(\w+)\.py:\d+: error: (.+)", line):
            found.setdefault(said[1].removeprefix("snippet_"), []).append(said[2])
    return found


@pytest.mark.parametrize("name", [*RIGHT, *(path.stem for path in EXAMPLES)])
def test_what_a_user_writes_passes(errors: dict[str, list[str]], name: str) -> None:
    assert errors[name] == []


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_found(errors: dict[str, list[str]], name: str) -> None:
    assert any(WRONG[name][1] in error for error in errors[name]), errors[name]
