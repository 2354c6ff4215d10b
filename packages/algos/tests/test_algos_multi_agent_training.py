"""Many modules in one run: who learns, who does not, who comes, who goes, and what is kept of it all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from rlmodule_algos import PPO, Algorithm, ConfigError, PPOConfig
from rlmodule_algos.envs import MultiAgentEnv
from rlmodule_algos.frameworks import Framework
from rlmodule_algos.testing import CrossedAgents
from rlmodule_core import SingleAgentRLModuleSpec
from rlmodule_core.nest import leaves, map_nest

OBS, ACT = spaces.Box(-1.0, 1.0, (3,)), spaces.Discrete(2)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Compute with one thread: for networks as small as these two are many times slower."""
    with Framework("torch").bridge.threads(1):
        yield


class Relay(MultiAgentEnv):
    """`first` acts in every step, `late` from step `late_from` on; an episode has 6 steps."""

    late_from = 3

    def __init__(self, env_config: Mapping[str, Any]) -> None:
        self.possible_agents = ["first", "late"]
        self.observation_spaces = dict.fromkeys(self.possible_agents, OBS)
        self.action_spaces = dict.fromkeys(self.possible_agents, ACT)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        if seed is not None:
            self.rng = np.random.default_rng(seed)
        self.t = 0
        return self.look(), {}

    def look(self) -> dict[str, Any]:
        there = self.possible_agents[: 2 if self.t >= self.late_from else 1]
        return {agent: self.rng.uniform(-1.0, 1.0, 3).astype(np.float32) for agent in there}

    def step(self, actions: Mapping[str, Any]) -> Any:
        self.t += 1
        rewards = {agent: float(action) for agent, action in actions.items()}
        return self.look(), rewards, {"__all__": self.t == 6}, {"__all__": False}, {}


class Lonely(Relay):
    """`late` never comes."""

    late_from = 99


def config_of(env: type[MultiAgentEnv] = Relay, **multi_agent: Any) -> PPOConfig:
    return (
        PPOConfig()
        .environment(env)
        .env_runners(num_envs_per_env_runner=4)
        .multi_agent(**multi_agent)
        .training(model={"fcnet_hiddens": [8]}, train_batch_size=48, minibatch_size=24, num_epochs=2)
        .debugging(seed=0)
    )


def own(agent: str) -> str:
    return f"of_{agent}"


def weights(algorithm: Algorithm[Any], module_id: str) -> list[Any]:
    return [np.copy(leaf) for leaf in leaves(algorithm.get_module(module_id).get_state())]


def same(before: list[Any], after: list[Any]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


# --- who learns ---------------------------------------------------------------------------------


def test_a_module_without_data_is_skipped_and_the_others_go_on() -> None:
    with config_of(Lonely, policy_mapping_fn=own).build() as algorithm:
        before = {key: weights(algorithm, key) for key in algorithm.modules}
        results = [algorithm.train() for _ in range(2)]
        after = {key: weights(algorithm, key) for key in algorithm.modules}

    assert [set(result["learners"]) for result in results] == [{"of_first"}] * 2
    assert not same(before["of_first"], after["of_first"])
    assert same(before["of_late"], after["of_late"])


def test_fragments_of_one_step_train_also_where_a_module_completed_none() -> None:
    with config_of(policy_mapping_fn=own).training(train_batch_size=4, minibatch_size=4).build() as algorithm:
        trained = [set(algorithm.train()["learners"]) for _ in range(12)]
    assert trained == [*[{"of_first"}] * 3, *[{"of_first", "of_late"}] * 3] * 2


def test_modules_that_are_not_trained_stay_as_they_are_bit_for_bit_and_the_others_move() -> None:
    config = config_of(policy_mapping_fn=own, policies_to_train=["of_late"])
    config.training(model={"fcnet_hiddens": [8], "normalize_observations": True})
    with config.build() as algorithm:
        before = {key: weights(algorithm, key) for key in algorithm.modules}
        learned = [set(algorithm.train()["learners"]) for _ in range(3)]
        after = {key: weights(algorithm, key) for key in algorithm.modules}

    assert learned == [{"of_late"}] * 3
    assert same(before["of_first"], after["of_first"])
    assert not same(before["of_late"], after["of_late"])


def test_no_module_moves_another() -> None:
    """What one learns is the same whether the other learns or not."""
    alone = config_of(policy_mapping_fn=own, policies_to_train=["of_first"])
    with config_of(policy_mapping_fn=own).build() as both, alone.build() as one:
        both.train()
        one.train()
        assert same(weights(both, "of_first"), weights(one, "of_first"))


def test_an_update_stops_for_the_module_alone_whose_policy_moved_too_far() -> None:
    def updates(kl_stop: float | None) -> dict[str, int]:
        config = config_of(policy_mapping_fn=own).training(kl_stop=kl_stop, lr=0.01)
        with config.build() as algorithm:
            for leaf in algorithm.get_module("of_late").parameters():  # type: ignore[attr-defined]
                leaf.data.mul_(1e-3)  # its policy hardly depends on what it learns
            learned = algorithm.train()["learners"]
            return {key: values["num_updates"] for key, values in learned.items()}

    assert updates(None) == {"of_first": 4, "of_late": 2}
    assert updates(1e-6) == {"of_first": 2, "of_late": 2}


# --- mistakes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "multi_agent", "named"),
    [
        (
            Relay,
            {"policies": ["a", "b"], "policy_mapping_fn": own},
            r"\['of_first', 'of_late'\].*\['a', 'b'\]",
        ),
        (CrossedAgents, {}, r"\['a0', 'a1', 'a2'\] have different spaces, but one module, 'default_policy'"),
        (Relay, {"policies_to_train": ["x"]}, r"policies_to_train: \['x'\].*\['default_policy'\]"),
    ],
)
def test_what_does_not_fit_together_is_a_config_error_with_the_names(
    env: type[MultiAgentEnv], multi_agent: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        config_of(env, **multi_agent).build()


@pytest.mark.parametrize("multi_agent", [{"policies": ["a"]}, {"policy_mapping_fn": own}])
def test_policies_of_an_environment_with_one_agent_are_a_config_error(multi_agent: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="'CartPole-v1' has one agent; leave them out"):
        PPOConfig().environment("CartPole-v1").multi_agent(**multi_agent).build()


def test_a_mapping_that_turns_to_an_unknown_module_is_a_config_error_and_the_run_goes_on_after() -> None:
    answer = {"late": "of_late"}
    with config_of(policy_mapping_fn=lambda agent: answer.get(agent, "of_first")).build() as algorithm:
        answer["late"] = "nobody"
        with pytest.raises(ConfigError, match=r"'late'\) returned 'nobody'; .*\['of_first', 'of_late'\]"):
            algorithm.train()
        assert algorithm.env_steps == 0
        answer["late"] = "of_first"
        assert set(algorithm.train()["learners"]) == {"of_first"}


def test_a_mapping_that_turns_to_a_module_of_other_spaces_is_a_config_error() -> None:
    answer = {"a0": "four", "a1": "four", "a2": "three"}
    with config_of(CrossedAgents, policy_mapping_fn=lambda agent: answer[agent]).build() as algorithm:
        answer["a2"] = "four"
        with pytest.raises(ConfigError, match=r"'a2'.*returned 'four', which acts for 'a0' already"):
            algorithm.train()


# --- who comes and goes -------------------------------------------------------------------------


@pytest.mark.parametrize("policies", [(), ("main", "spare")])
def test_a_module_may_be_added_between_iterations_and_removed_again(policies: tuple[str, ...]) -> None:
    answer = {"first": "main", "late": "main"}
    config = config_of(policy_mapping_fn=lambda agent: answer[agent], policies=policies)
    with config.build() as algorithm:
        assert set(algorithm.train()["learners"]) == {"main"}
        algorithm.add_module("rival")
        answer["late"] = "rival"
        before = weights(algorithm, "rival")
        results = [algorithm.train() for _ in range(2)]
        assert set(results[1]["learners"]) == {"main", "rival"}
        assert not same(before, weights(algorithm, "rival"))
        assert results[1]["env_runners"]["num_agent_steps_sampled"]["rival"] == 4 * 2 * 3

        answer["late"] = "main"
        algorithm.remove_module("rival")
        assert set(algorithm.train()["learners"]) == {"main"}
        assert set(algorithm.modules) == {"main", *policies}
        with pytest.raises(KeyError, match="no module 'rival'"):
            algorithm.remove_module("rival")


def test_removing_a_module_drops_its_open_steps_and_maps_its_agents_anew_within_the_episode() -> None:
    asked: Counter[str] = Counter()
    answer = {"first": "main", "late": "rival"}

    def mapping(agent: str) -> str:
        asked[agent] += 1
        return answer[agent]

    with config_of(policy_mapping_fn=mapping).training(train_batch_size=16, minibatch_size=8).build() as run:
        run.train()  # four steps: in the middle of an episode
        asked.clear()
        answer["late"] = "main"
        run.remove_module("rival")
        learned = run.train()["learners"]
        assert set(learned) == {"main"}
        assert asked == {"first": 4, "late": 4}  # now; `first` in the next episode


def test_a_module_of_spaces_of_its_own_joins_with_a_recipe_and_else_is_asked_for_them() -> None:
    with config_of(CrossedAgents, policy_mapping_fn=own).build() as algorithm:
        with pytest.raises(ValueError, match="observation_space"):
            algorithm.add_module("more")
        with pytest.raises(ValueError, match="'of_a0' is there already"):
            algorithm.add_module("of_a0")
        algorithm.add_module("more", SingleAgentRLModuleSpec(observation_space=OBS, action_space=ACT))
        assert algorithm.get_module("more").config.observation_space == OBS


# --- saved and restored -------------------------------------------------------------------------


def test_a_restored_run_has_every_module_every_optimizer_and_every_counter(tmp_path: Path) -> None:
    config = config_of(policy_mapping_fn=own, policies_to_train=["of_first"])
    with config.build() as trained, config.copy().debugging(seed=9).build() as fresh:
        for _ in range(2):
            trained.train()
        trained.save(tmp_path)
        fresh.restore(tmp_path)
        assert isinstance(fresh, PPO)
        for key in ("of_first", "of_late"):
            assert same(weights(trained, key), weights(fresh, key))
        old, new = (run.get_state()["learner"]["optimizers"] for run in (trained, fresh))
        assert old.keys() == new.keys() == {"of_first"}
        map_nest(np.testing.assert_array_equal, old, new)
        assert fresh.episodes.get_state() == trained.episodes.get_state()  # type: ignore[attr-defined]
        steps = {"of_first": 2 * 48, "of_late": 2 * 24}
        assert dict(fresh.episodes.num_agent_steps) == steps

        result = fresh.train()["env_runners"]
        assert result["num_env_steps_sampled_lifetime"] == 3 * 48
        assert result["num_agent_steps_sampled_lifetime"] == {"of_first": 3 * 48, "of_late": 3 * 24}
        assert result["num_episodes_lifetime"] == 3 * 8


def test_a_module_that_joined_is_restored_into_a_run_that_it_joined_too(tmp_path: Path) -> None:
    config = config_of(policy_mapping_fn=lambda agent: "main")
    with config.build() as trained, config.copy().debugging(seed=9).build() as fresh:
        for run in (trained, fresh):
            run.add_module("rival")
        trained.train()
        trained.save(tmp_path)
        fresh.restore(tmp_path)
        assert same(weights(trained, "rival"), weights(fresh, "rival"))
