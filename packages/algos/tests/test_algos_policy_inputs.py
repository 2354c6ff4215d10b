"""What policies refuse: nothing that is not of their spaces is answered with some action."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from rlmodule_algos import Policy, PPOConfig
from rlmodule_algos.frameworks import Framework
from rlmodule_algos.offline import record_agent_episodes, record_episodes
from rlmodule_catalogs import PPOCatalog
from rlmodule_core import SingleAgentRLModuleSpec

FRAMEWORKS = [name for name, package in {"torch": "torch", "tf": "tensorflow"}.items() if find_spec(package)]
BOX = spaces.Box(-1.0, 1.0, (4,))
NESTED = spaces.Dict(
    {
        "arm": spaces.Tuple([spaces.Box(-1.0, 1.0, (2,)), spaces.Discrete(3, start=1)]),
        "bits": spaces.MultiBinary(2),
        "dials": spaces.MultiDiscrete([2, 3]),
    }
)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Compute with one thread: for networks as small as these two are many times slower."""
    with Framework("torch").bridge.threads(1):
        yield


def policy(obs: gym.Space[Any] = BOX, act: gym.Space[Any] | None = None, framework: str = "torch") -> Policy:
    spec = SingleAgentRLModuleSpec(
        module_class=Framework(framework).algorithm_part("ppo", "module").DEFAULT_MODULE,
        observation_space=obs,
        action_space=act or spaces.Discrete(2),
        model_config_dict={"fcnet_hiddens": [8]},
        catalog_class=PPOCatalog,
    )
    return Policy(spec.build(), seed=0)


def zeros(*shape: int) -> Any:
    return np.zeros(shape, np.float32)


def sample(rows: int) -> dict[str, Any]:
    """A batch of NESTED."""
    classes = np.ones(rows, np.int64)
    bits, dials = np.zeros((rows, 2), np.int8), np.zeros((rows, 2), np.int64)
    return {"arm": (zeros(rows, 2), classes), "bits": bits, "dials": dials}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_observations_of_another_shape_are_refused_with_the_shape_that_is_needed(framework: str) -> None:
    acting = policy(framework=framework)
    for wrong, got in ((zeros(4), r"\[4\]"), (zeros(2, 5), r"\[2, 5\]"), (zeros(2, 1, 4), r"\[2, 1, 4\]")):
        with pytest.raises(
            ValueError, match=r"^compute_actions: obs: expected the shape \[.*4\], got " + got
        ):
            acting.compute_actions(wrong)
        with pytest.raises(ValueError, match=r"^compute_actions: obs: expected the shape"):
            acting.compute_actions_from_input_dict({"obs": wrong})
        with pytest.raises(ValueError, match=r"^compute_log_likelihoods: obs: expected the shape"):
            acting.compute_log_likelihoods(np.zeros(2, np.int64), wrong)
    for wrong in (zeros(2, 4), zeros(1, 4), zeros(3)):
        with pytest.raises(
            ValueError, match=r"^compute_single_action: obs: expected the shape \[4\], got \["
        ):
            acting.compute_single_action(wrong)
    assert acting.compute_single_action(zeros(4)).actions.shape == ()
    assert acting.compute_actions([[0.0] * 4]).actions.shape == (1,)
    assert acting.compute_actions(zeros(0, 4)).actions.shape == (0,)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_observations_that_are_not_finite_are_refused(bad: float) -> None:
    acting, obs = policy(), zeros(2, 4)
    obs[1, 2] = bad
    with pytest.raises(ValueError, match="compute_actions: obs: holds numbers that are not finite"):
        acting.compute_actions(obs)
    with pytest.raises(ValueError, match="compute_single_action: obs: holds numbers that are not finite"):
        acting.compute_single_action(obs[1])
    acting.compute_actions(zeros(1, 4) + 1e6)  # out of the bounds, as environments have it


def test_words_in_place_of_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="obs: expected numbers, got <U1"):
        policy().compute_actions([["a", "b", "c", "d"]])


NESTED_WRONG: dict[str, tuple[Any, str]] = {
    "key": ({"arm": (zeros(2, 2), np.ones(2, int))}, "obs: expected a mapping with the keys"),
    "length": (sample(2) | {"arm": (zeros(2, 2),)}, r"obs.arm: expected a tuple of 2"),
    "rows": (sample(2) | {"bits": np.zeros((3, 2), int)}, r"obs.bits: expected the shape \[2, 2\], got \[3"),
    "class": (sample(2) | {"arm": (zeros(2, 2), np.array([1, 0]))}, r"obs.arm\[1\]: 0 is outside \[1, 3\]"),
    "dial": (sample(2) | {"dials": np.array([[1, 0], [0, 3]])}, r"obs.dials: 3 is outside \[0, 2\]"),
    "bit": (sample(2) | {"bits": np.array([[1, 0], [0, 2]])}, r"obs.bits: 2 is outside \[0, 1\]"),
    "float": (
        sample(2) | {"arm": (zeros(2, 2), np.ones(2))},
        r"obs.arm\[1\]: expected integers, got float64",
    ),
}


@pytest.mark.parametrize("wrong", NESTED_WRONG)
def test_nested_observations_are_refused_with_the_leaf(wrong: str) -> None:
    obs, said = NESTED_WRONG[wrong]
    acting = policy(NESTED)
    assert acting.compute_actions(sample(2)).actions.shape == (2,)
    with pytest.raises(ValueError, match=f"^compute_actions: {said}"):
        acting.compute_actions(obs)


def test_all_problems_are_told_at_once() -> None:
    obs = sample(2) | {"bits": np.zeros((2, 3), int), "dials": np.full((2, 2), 9)}
    with pytest.raises(ValueError, match=r"obs.bits: expected .*; obs.dials: 9 is outside"):
        policy(NESTED).compute_actions(obs)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_log_likelihoods_are_of_actions_that_there_are(framework: str) -> None:
    acting = policy(framework=framework)
    for wrong, said in (([0, 7], r"7 is outside \[0, 1\]"), ([0], r"expected the shape \[2\], got \[1\]")):
        with pytest.raises(ValueError, match=f"^compute_log_likelihoods: actions: {said}"):
            acting.compute_log_likelihoods(wrong, zeros(2, 4))
    with pytest.raises(ValueError, match="actions: expected integers, got float64"):
        acting.compute_log_likelihoods([0.0, 1.0], zeros(2, 4))
    continuous = policy(act=spaces.Box(-1.0, 1.0, (1,)), framework=framework)
    with pytest.raises(ValueError, match="actions: holds numbers that are not finite"):
        continuous.compute_log_likelihoods(np.full((2, 1), np.nan, np.float32), zeros(2, 4))
    assert continuous.compute_log_likelihoods(np.full((2, 1), 3.0, np.float32), zeros(2, 4)).shape == (2,)


# --- policies that are recorded -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "at least 1, got 0"), (-1, "at least"), (2.0, "an integer, got 2.0"), (True, "an")],
)
def test_episodes_are_recorded_in_one_environment_or_more(count: Any, said: str) -> None:
    with pytest.raises(ValueError, match=f"^num_envs must be {said}"):
        record_episodes(lambda obs: np.zeros(len(obs), int), "CartPole-v1", 1, num_envs=count)
    with pytest.raises(ValueError, match=f"^num_episodes must be {said}"):
        record_episodes(lambda obs: np.zeros(len(obs), int), "CartPole-v1", count)


def test_what_cannot_act_is_not_recorded_and_an_algorithm_is_asked_for_its_policy() -> None:
    chosen = PPOConfig().environment("CartPole-v1").training(model={"fcnet_hiddens": [8]})
    with chosen.build() as algorithm:
        given: Any = algorithm
        with pytest.raises(ValueError, match=r"^policy: expected .*, got PPO; pass its get_policy\(\)$"):
            record_episodes(given, "CartPole-v1", 1)
        assert len(record_episodes(algorithm.get_policy(), "CartPole-v1", 1)) == 1
    nothing: Any = None
    with pytest.raises(ValueError, match=r"^policy: expected a function .*, got NoneType$"):
        record_episodes(nothing, "CartPole-v1", 1)


def test_of_many_agents_it_is_told_whose_policy_cannot_act() -> None:
    from rlmodule_algos.envs import SyncMultiAgentVectorEnv
    from rlmodule_algos.testing import ScriptedMultiAgentEnv

    env = ScriptedMultiAgentEnv({"ann": BOX}, {"ann": spaces.Discrete(2)}, [])
    policies: Any = {"ann": 3}
    with pytest.raises(ValueError, match=r"^policies\['ann'\]: expected a function .*, got int$"):
        record_agent_episodes(policies, SyncMultiAgentVectorEnv([env]), 1)
