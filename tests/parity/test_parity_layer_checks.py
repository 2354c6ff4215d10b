"""A catalog whose layers do not fit: refused in words when the module is made, in both frameworks."""

from __future__ import annotations

from typing import Any

import pytest
from gymnasium import spaces
from torch import nn

from rlmodule_catalogs import BCCatalog, Catalog
from rlmodule_core import (
    ComplexEncoderConfig,
    FlattenEncoderConfig,
    MLPEncoderConfig,
    MLPHeadConfig,
    RecurrentEncoderConfig,
    RLModuleConfig,
)
from rlmodule_tf import TfActorCriticModule, TfActorModule
from rlmodule_torch import TorchActorCriticModule, TorchActorModule

SPACE, ACTIONS = spaces.Box(-1, 1, (4,)), spaces.Discrete(3)
MODULES: dict[str, Any] = {
    "torch": {"ActorCritic": TorchActorCriticModule, "Actor": TorchActorModule},
    "tf": {"ActorCritic": TfActorCriticModule, "Actor": TfActorModule},
}
frameworks = pytest.mark.parametrize("framework", ["torch", "tf"])


class Sized:
    """A config of a user's, which may say another size than its layer gives."""

    def __init__(self, said: int, given: int) -> None:
        self.output_dim, self.given = said, given

    def build(self, framework: str) -> Any:
        """Return dense layers of the size given."""
        return MLPEncoderConfig(input_dim=4, hidden=(self.given,)).build(framework)


class BuildsNothing:
    """A config whose layer is missing."""

    output_dim = 8

    def build(self, framework: str) -> Any:
        """Return nothing."""


def make(framework: str, catalog: Any, space: Any = SPACE, kind: str = "ActorCritic", **settings: Any) -> Any:
    config = RLModuleConfig(
        observation_space=space,
        action_space=ACTIONS,
        model_config_dict={"fcnet_hiddens": [8], **settings},
        catalog_class=catalog,
    )
    return MODULES[framework][kind](config)


def catalog(base: Any = Catalog, **decisions: Any) -> Any:
    """A catalog with answers of its own; those to `get_...` are methods, others attributes."""
    methods = {
        name: (lambda self, *args, answer=value: answer) if name.startswith("get_") else value
        for name, value in decisions.items()
    }
    return type("Mine", (base,), methods)


HEAD = MLPHeadConfig(input_dim=8, output_dim=3)
CASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "an encoder for another space": (
        {"get_encoder_config": MLPEncoderConfig(input_dim=5, hidden=(8,))},
        ["its encoder was called once with an observation of zeros and failed: "],
    ),
    "an encoder that says another size": (
        {"get_encoder_config": Sized(8, 7)},
        [
            r"get_pi_head_config\(\): its layer fails on what the encoder gives, \[1, 7\]",
            "get_vf_head_config",
        ],
    ),
    "heads for other features": (
        {
            "get_pi_head_config": MLPHeadConfig(input_dim=9, output_dim=3),
            "get_vf_head_config": MLPHeadConfig(input_dim=9, output_dim=1),
        },
        [
            r"get_pi_head_config\(\): its layer fails on what the encoder gives, \[1, 8\]",
            "get_vf_head_config",
        ],
    ),
    "heads of another size": (
        {"get_pi_head_config": MLPHeadConfig(input_dim=8, output_dim=4), "get_vf_head_config": HEAD},
        [
            r"get_pi_head_config\(\): expected a layer that gives \[1, 3\], got \[1, 4\]",
            r"get_vf_head_config\(\): expected a layer that gives \[1, 1\], got \[1, 3\]",
        ],
    ),
    "no policy head": (
        {"get_pi_head_config": None},
        [r"get_pi_head_config\(\) of its catalog must return a config with build\(framework\), got None"],
    ),
    "a class in place of a config": (
        {"get_vf_head_config": MLPHeadConfig},
        [r"get_vf_head_config\(\) of its"],
    ),
    "no encoder": (
        {"get_actor_critic_encoder_config": "cnn"},
        ["get_actor_critic_encoder_config.* got 'cnn'"],
    ),
    "a config that builds nothing": (
        {"get_vf_head_config": BuildsNothing()},
        [r"get_vf_head_config\(\): build\('t.*'\) of BuildsNothing must return a layer.*got None"],
    ),
}


@frameworks
@pytest.mark.parametrize("case", CASES)
def test_what_does_not_fit_is_refused_where_the_module_is_made(framework: str, case: str) -> None:
    decisions, told = CASES[case]
    with pytest.raises(ValueError, match="ActorCriticModule: ") as caught:
        make(framework, catalog(latent_dim=8, **decisions))
    for part in told:
        caught.match(part)


@frameworks
def test_a_module_without_a_critic_is_asked_alike(framework: str) -> None:
    wide = MLPHeadConfig(input_dim=8, output_dim=5)
    with pytest.raises(
        ValueError, match=r"ActorModule: get_pi_head_config\(\): expected .*\[1, 3\], got \[1, 5\]"
    ):
        make(framework, catalog(BCCatalog, get_pi_head_config=wide), kind="Actor")
    with pytest.raises(ValueError, match=r"ActorModule: get_encoder_config\(\) of its catalog must return"):
        make(framework, catalog(BCCatalog, get_encoder_config=None, latent_dim=8), kind="Actor")


@frameworks
def test_with_a_memory_the_heads_see_one_step(framework: str) -> None:
    wide = MLPHeadConfig(input_dim=6, output_dim=5)
    memory: dict[str, Any] = {"use_lstm": True, "lstm_cell_size": 6}
    with pytest.raises(ValueError, match=r"get_pi_head_config\(\): expected .*\[1, 1, 3\], got \[1, 1, 5\]"):
        make(framework, catalog(get_pi_head_config=wide), **memory)
    assert make(framework, Catalog, **memory).is_stateful()


@frameworks
def test_a_space_whose_samples_are_no_arrays_is_left_to_the_encoder_that_reads_it(framework: str) -> None:
    text = catalog(get_leaf_encoder_config=Sized(8, 8))
    assert make(framework, text, space=spaces.Text(4)).config.observation_space == spaces.Text(4)


def test_asking_leaves_the_modes_of_torchs_layers_as_they_were() -> None:
    class Dropping:
        output_dim = 4

        def build(self, framework: str) -> Any:
            return nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 4).eval())

    norm, drop, linear = make("torch", catalog(get_encoder_config=Dropping())).encoder.actor

    assert (norm.training, drop.training, linear.training) == (True, True, False)
    assert int(norm.num_batches_tracked) == 0


# --- configs that cannot be right, whatever the space ------------------------------------------

LEAF = FlattenEncoderConfig(shape=(2,))
LSTM = RecurrentEncoderConfig(base=LEAF, hidden_dim=3)


def test_a_memory_is_no_encoder_of_a_leaf_nor_of_another_memory() -> None:
    with pytest.raises(
        ValueError, match=r"ComplexEncoderConfig: leaves: \.arm\[1\]: a RecurrentEncoderConfig cannot"
    ):
        ComplexEncoderConfig(leaves=((("arm", 1), LSTM),))
    with pytest.raises(
        ValueError, match="RecurrentEncoderConfig: base: a RecurrentEncoderConfig cannot stand here"
    ):
        RecurrentEncoderConfig(base=LSTM)


def test_the_fusion_of_leaves_takes_what_they_give_together() -> None:
    with pytest.raises(
        ValueError, match="fusion: its input_dim is 5, but the leaves have 4 features together"
    ):
        ComplexEncoderConfig(
            leaves=((("a",), LEAF), (("b",), LEAF)), fusion=MLPEncoderConfig(input_dim=5, hidden=(3,))
        )
