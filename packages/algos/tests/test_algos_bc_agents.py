"""BC of several agents: each module learns from its agents' episodes, as if the others were not there."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from rlmodule_algos import Algorithm, BCConfig
from rlmodule_algos.offline import OfflineDataError
from rlmodule_algos.testing import CrossedAgents, episodes, multi_agent_episodes
from rlmodule_core.nest import leaves
from rlmodule_core.state import flatten_state

FRAMEWORKS = [name for name, package in {"torch": "torch", "tf": "tensorflow"}.items() if find_spec(package)]
FALLING = [[0, 1e-2], [100, 1e-4]]


@pytest.fixture(scope="module")
def data() -> Any:
    env = CrossedAgents.make_vector({}, 4)
    assert env is not None
    return multi_agent_episodes(env, CrossedAgents.experts(), 20, seed=0)


def of_agents(data: Any, *agents: str) -> Any:
    return [{agent: episode[agent] for agent in agents} for episode in data]


def config(data: Any, framework: str = "torch", **training: Any) -> BCConfig:
    made = BCConfig().environment(CrossedAgents).framework(framework).offline_data(input_=data)
    made.training(
        **{"train_batch_size": 20, "minibatch_size": 10, "model": {"fcnet_hiddens": [8]}, **training}
    )
    return made.multi_agent(policy_mapping_fn=lambda agent: f"of_{agent}").debugging(seed=0)


def weights(algorithm: Algorithm[Any], module_id: str) -> list[Any]:
    return [np.copy(leaf) for leaf in leaves(algorithm.get_module(module_id).get_state())]


def same(before: list[Any], after: list[Any]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


# --- no agent moves another ---------------------------------------------------------------------


def test_what_an_agent_learns_is_the_same_whether_there_is_data_of_others_or_not(data: Any) -> None:
    def learned(data: Any) -> tuple[list[dict[str, float]], list[Any]]:
        with config(data, lr=FALLING, num_epochs=2).build() as algorithm:
            results = [algorithm.train()["learners"]["of_a1"] for _ in range(3)]
            return results, weights(algorithm, "of_a1")

    together, alone = learned(data), learned(of_agents(data, "a1"))

    assert together[0] == alone[0]
    assert same(together[1], alone[1])


def test_a_schedule_follows_the_steps_that_its_module_has_learned_from(data: Any) -> None:
    with config(data, lr=FALLING).build() as algorithm:
        results = [algorithm.train()["learners"] for _ in range(3)]
        assert algorithm.env_steps == 3 * 3 * 20

    for number, learned in enumerate(results):
        expected = np.interp(20 * number, *np.transpose(FALLING))
        assert [module["curr_lr"] for module in learned.values()] == pytest.approx([expected] * 3)


def test_a_restored_run_goes_on_as_the_one_that_was_saved_would_have(data: Any, tmp_path: Path) -> None:
    """Whatever the run had done that takes the state over."""
    settings = config(data, lr=FALLING, num_epochs=2)
    with settings.build() as going, settings.copy().build() as restored:
        for _ in range(2):
            going.train()
        going.save(tmp_path)
        restored.train()
        restored.restore(tmp_path)
        assert restored.env_steps == going.env_steps == 2 * 3 * 20
        for _ in range(2):
            assert restored.train()["learners"] == going.train()["learners"]
        for module_id in going.modules:
            assert same(weights(restored, module_id), weights(going, module_id))


# --- who comes and goes -------------------------------------------------------------------------


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_module_that_is_removed_is_skipped_and_learns_again_when_it_is_added(
    data: Any, framework: str
) -> None:
    with config(data, framework).build() as algorithm:
        algorithm.train()
        algorithm.remove_module("of_a1")
        assert set(algorithm.train()["learners"]) == {"of_a0", "of_a2"}
        assert set(algorithm.get_state()["data"]) == {"of_a0", "of_a2"}

        algorithm.add_module("of_a1")
        before = weights(algorithm, "of_a1")
        learned = algorithm.train()["learners"]
        assert set(learned) == set(algorithm.get_state()["data"]) == {"of_a0", "of_a1", "of_a2"}
        assert learned["of_a1"]["num_steps_trained"] == 20
        assert not np.isnan(learned["of_a1"]["validation_loss"])
        assert not same(before, weights(algorithm, "of_a1"))
        assert algorithm.env_steps == (3 + 2 + 3) * 20


def test_a_module_that_is_added_again_sees_observations_normalised_as_before(data: Any) -> None:
    model = {"fcnet_hiddens": [8], "normalize_observations": True}
    with config(data, model=model).build() as algorithm:

        def seen() -> Any:
            state = algorithm.get_module("of_a1").get_state()
            return [leaf for name, leaf in flatten_state(state).items() if "mean" in name]

        before = seen()
        assert before
        algorithm.remove_module("of_a1")
        algorithm.add_module("of_a1")
        assert same(before, seen())


def test_a_module_that_is_added_starts_its_schedule_anew(data: Any) -> None:
    with config(data, lr=FALLING).build() as algorithm:
        algorithm.train()
        algorithm.remove_module("of_a1")
        algorithm.add_module("of_a1")
        learned = algorithm.train()["learners"]

    assert learned["of_a1"]["curr_lr"] == pytest.approx(1e-2)
    assert learned["of_a0"]["curr_lr"] < 1e-2


def test_an_added_module_that_no_episode_is_of_is_skipped(data: Any) -> None:
    with config(of_agents(data, "a0", "a2")).build() as algorithm:
        algorithm.remove_module("of_a1")
        algorithm.add_module("of_a1")
        assert set(algorithm.train()["learners"]) == {"of_a0", "of_a2"}


@pytest.mark.parametrize("removed_here_too", [False, True])
def test_a_checkpoint_of_fewer_modules_is_restored_without_those_that_had_been_removed(
    removed_here_too: bool, data: Any, tmp_path: Path
) -> None:
    with config(data).build() as saved, config(data).build() as restored:
        saved.remove_module("of_a1")
        saved.train()
        saved.save(tmp_path)
        if removed_here_too:
            restored.remove_module("of_a1")
        restored.restore(tmp_path)
        assert set(restored.modules) == {"of_a0", "of_a2"}
        assert restored.train()["learners"] == saved.train()["learners"]


def test_data_that_has_gone_is_an_error_before_a_module_is_added(data: Any) -> None:
    answers = iter([data, []])
    with config(lambda: next(answers)).build() as algorithm:
        algorithm.remove_module("of_a1")
        with pytest.raises(OfflineDataError, match="at least one episode"):
            algorithm.add_module("of_a1")
        assert set(algorithm.modules) == {"of_a0", "of_a2"}
        assert set(algorithm.train()["learners"]) == {"of_a0", "of_a2"}


# --- data ---------------------------------------------------------------------------------------


def test_the_only_episode_of_a_module_is_learned_from_whatever_the_seed(data: Any) -> None:
    rare = [*of_agents(data[:9], "a0", "a2"), data[9]]
    for seed in range(5):
        settings = config(rare).offline_data(validation_fraction=0.8).debugging(seed=seed)
        with settings.build() as algorithm:
            assert set(algorithm.train()["learners"]) == {"of_a0", "of_a1", "of_a2"}


def test_episodes_of_one_agent_are_refused_in_words_where_the_environment_has_many() -> None:
    one = episodes(gym.make_vec("CartPole-v1", 1), lambda obs, _: np.zeros(len(obs), np.int64), 1, seed=0)
    said = (
        r"offline_data: its episodes are of one agent, but the environment has \['a0', 'a1', 'a2'\]; "
        r"give each as \{agent id: episode\}"
    )
    with pytest.raises(OfflineDataError, match=said):
        config(one).build()


def test_episodes_of_many_agents_are_refused_in_words_where_the_environment_has_one(data: Any) -> None:
    said = (
        r"offline_data: its episodes are of the agents \['a0', 'a1', 'a2'\], but the environment has one "
        r"agent; give its episodes alone, not as \{agent id: episode\}"
    )
    with pytest.raises(OfflineDataError, match=said):
        BCConfig().environment("CartPole-v1").offline_data(input_=data).build()


def test_episodes_of_unknown_agents_are_refused_with_those_that_there_are(data: Any) -> None:
    renamed = [{"a0": episode["a0"], "b": episode["a1"]} for episode in data]
    said = r"it has episodes of \['b'\]; the agents of the environment are \['a0', 'a1', 'a2'\]"
    with pytest.raises(OfflineDataError, match=said):
        config(renamed).build()
