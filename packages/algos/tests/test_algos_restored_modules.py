"""A restored run has the modules that were saved: those that had joined, without those that had left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlmodule_algos import Algorithm, APPOConfig, ImpalaConfig, MultiAgentCartPole, PPOConfig
from rlmodule_algos.frameworks import Framework
from rlmodule_algos.ppo import PPOTorchRLModule
from rlmodule_core import CheckpointError, SingleAgentRLModuleSpec
from rlmodule_core.nest import leaves

CONFIGS = {"ppo": PPOConfig, "impala": ImpalaConfig, "appo": APPOConfig}
TALL = SingleAgentRLModuleSpec(model_config_dict={"fcnet_hiddens": [5]})
by_algorithm = pytest.mark.parametrize("name", CONFIGS)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Compute with one thread: for networks as small as these two are many times slower."""
    with Framework("torch").bridge.threads(1):
        yield


class Mine(PPOTorchRLModule):
    """A class that no file may name."""


def built(name: str = "ppo", **policies: Any) -> Algorithm[Any]:
    """Return a run: `main` acts for all, `tall` has a recipe of its own, and `spare` does not learn."""
    known: dict[str, Any] = {"main": None, "tall": TALL, "spare": None}
    chosen: Any = CONFIGS[name]().environment(MultiAgentCartPole).debugging(seed=0)
    chosen.multi_agent(policy_mapping_fn=lambda agent: "main", policies=policies or known)
    chosen.multi_agent(policies_to_train=[key for key in policies or known if key != "spare"])
    chosen.training(model={"fcnet_hiddens": [8]}, train_batch_size=64)
    if name == "ppo":
        chosen.training(minibatch_size=64)
    algorithm: Algorithm[Any] = chosen.build()
    return algorithm


def same(one: Algorithm[Any], other: Algorithm[Any]) -> bool:
    states = [leaves(run.modules.get_state()) for run in (one, other)]
    alike = all(np.array_equal(a, b) for a, b in zip(*states, strict=True))
    return alike and sorted(one.modules) == sorted(other.modules) and one.iteration == other.iteration


@by_algorithm
def test_a_run_that_is_restored_gets_and_loses_modules_as_the_saved_one_did(
    name: str, tmp_path: Path
) -> None:
    with built(name) as saved, built(name) as fresh:
        saved.add_module("guest", TALL)
        saved.remove_module("spare")
        saved.train()
        saved.save(tmp_path)
        fresh.restore(tmp_path)
        assert sorted(fresh.modules) == ["guest", "main", "tall"]
        assert same(saved, fresh)
        assert sorted(fresh.learner.trained) == sorted(saved.learner.trained)
        again = tmp_path / "again"
        for run in (saved, fresh):
            assert set(run.train()["learners"]) == {"main"}
        fresh.save(again)
        with built(name) as third:
            third.restore(again)
            assert same(fresh, third)


@by_algorithm
def test_a_run_goes_back_to_before_its_modules_came_and_went(name: str, tmp_path: Path) -> None:
    with built(name) as run, built(name) as other:
        run.train()
        run.save(tmp_path)
        run.add_module("guest")
        run.remove_module("tall")
        run.remove_module("spare")
        run.train()
        run.restore(tmp_path)
        assert sorted(run.modules) == ["main", "spare", "tall"]
        assert sorted(run.learner.trained) == ["main", "tall"], "who did not learn does not"
        other.restore(tmp_path)
        assert same(run, other)
        assert set(run.train()["learners"]) == {"main"}


def test_what_does_not_fit_changes_nothing_also_where_modules_would_come(tmp_path: Path) -> None:
    with built() as saved, built(main=TALL, tall=TALL, spare=None) as other:
        saved.add_module("guest")
        saved.remove_module("spare")
        saved.save(tmp_path)
        before = leaves(other.modules.get_state())
        with pytest.raises(CheckpointError, match="does not fit this run: main: "):
            other.restore(tmp_path)
        assert sorted(other.modules) == ["main", "spare", "tall"]
        for one, now in zip(before, leaves(other.modules.get_state()), strict=True):
            np.testing.assert_array_equal(one, now)
        other.train()


def test_modules_that_another_config_has_or_lacks_are_still_refused(tmp_path: Path) -> None:
    with built() as saved, built(main=None, extra=None) as other:
        saved.save(tmp_path / "saved")
        with pytest.raises(CheckpointError, match=r"lacks the modules 'extra', and has, .* 'spare', 'tall'"):
            other.restore(tmp_path / "saved")
        assert sorted(other.modules) == ["extra", "main"]
    with built(main=None) as small, built() as large:
        small.save(tmp_path / "small")
        with pytest.raises(CheckpointError, match="it lacks the modules 'spare', 'tall'"):
            large.restore(tmp_path / "small")
        assert sorted(large.modules) == ["main", "spare", "tall"]


def test_a_module_of_a_class_of_ones_own_must_join_before_the_run_is_restored(tmp_path: Path) -> None:
    mine = SingleAgentRLModuleSpec(module_class=Mine)
    with built() as saved, built() as fresh:
        saved.add_module("guest", mine)
        saved.save(tmp_path)
        with pytest.raises(CheckpointError, match=r"'guest' joined .*Mine.*add_module, then restore"):
            fresh.restore(tmp_path)
        assert "guest" not in fresh.modules
        fresh.add_module("guest", mine)
        fresh.restore(tmp_path)
        assert same(saved, fresh)
        assert isinstance(fresh.get_module("guest"), Mine)


def test_a_module_that_left_and_joined_again_with_another_recipe_comes_back_with_that_one(
    tmp_path: Path,
) -> None:
    with built() as saved:
        saved.remove_module("spare")
        saved.add_module("spare", TALL)
        saved.save(tmp_path)
        with type(saved).from_checkpoint(tmp_path, saved.config) as back:
            assert same(saved, back)


def test_a_module_that_joins_under_the_id_of_a_policy_has_its_recipe_unless_another_is_given() -> None:
    with built() as run:
        run.remove_module("tall")
        module = run.add_module("tall")
        assert module.config is not None
        assert module.config.model_config_dict == {"fcnet_hiddens": [5]}
