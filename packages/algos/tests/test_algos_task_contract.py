"""What holds for every task: seeds, resets of some rows, options, and memory of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rlmodule_algos import EnvError
from rlmodule_algos.envs import EnvStream, make_vector_env
from rlmodule_algos.testing import (
    Catch,
    GatedLeaves,
    PreviousEpisodeCue,
    Recall,
    RepeatPrevious,
    StatelessCartPole,
    episodes,
)
from rlmodule_core.nest import leaves, map_nest

TASKS: list[Any] = [Catch, RepeatPrevious, Recall, PreviousEpisodeCue, GatedLeaves, StatelessCartPole]
every_task = pytest.mark.parametrize("task", TASKS)


def same(one: Any, other: Any) -> bool:
    pairs = zip(leaves(one), leaves(other), strict=True)
    return all(np.array_equal(left, right) for left, right in pairs)


def actions_of(task: Any, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(task.single_action_space.n, size=task.num_envs)


@every_task
def test_the_same_seed_gives_the_same_episodes_and_another_seed_others(task: Any) -> None:
    def play(env: Any, seed: int) -> list[Any]:
        return [env.reset(seed=seed)[0], *(env.step(actions_of(env, t))[:3] for t in range(5))]

    env = task({})
    first = play(env, 4)
    assert not same(first, play(env, 5))
    assert same(first, play(env, 4))  # whatever came before
    assert same(first, play(task({}), 4))


@every_task
def test_every_observation_is_one_of_the_space_of_its_dtype(task: Any) -> None:
    env = task({"num_envs": 3})
    stream = EnvStream(env)
    stream.reset(0)
    for t in range(70):
        assert env.observation_space.contains(stream.obs)
        stream.step(actions_of(env, t))


@every_task
def test_resetting_some_rows_leaves_the_others_where_they_were(task: Any) -> None:
    env, mask = task({"num_envs": 4}), np.array([True, False, True, False])
    env.reset(seed=1)
    before = env.step(actions_of(env))[0]
    after = env.reset(options={"reset_mask": mask})[0]
    assert same(map_nest(lambda leaf: leaf[~mask], before), map_nest(lambda leaf: leaf[~mask], after))


@pytest.mark.parametrize("task", TASKS[:-1])
def test_every_row_ends_after_its_own_steps(task: Any) -> None:
    env, mask = task({"num_envs": 4}), np.array([True, False, True, False])
    env.reset(seed=1)
    env.step(actions_of(env))
    env.reset(options={"reset_mask": mask})
    for _ in range(env.episode_steps - 2):
        assert not env.step(actions_of(env))[2].any()
    assert env.step(actions_of(env))[2].tolist() == (~mask).tolist()
    env.reset(options={"reset_mask": ~mask})
    _obs, _rewards, terminated, truncated, _infos = env.step(actions_of(env))
    assert terminated.tolist() == mask.tolist()
    assert not truncated.any()


@every_task
def test_tasks_never_change_what_they_handed_out(task: Any) -> None:
    env = task({"num_envs": 2})
    kept = [env.reset(seed=0)[0]]
    kept += [part for t in range(7) for part in env.step(actions_of(env, t))[:4]]
    copies = [map_nest(np.copy, part) for part in kept]
    env.reset(seed=5)
    env.step(actions_of(env))
    assert same(kept, copies)


@every_task
def test_a_task_is_a_source_of_environments_of_any_number(task: Any) -> None:
    assert make_vector_env(task, {}, 3).num_envs == 16
    assert make_vector_env(task, {"num_envs": 5}, 3).num_envs == 5


@every_task
@pytest.mark.parametrize(
    ("env_config", "message"),
    [
        ({"num_env": 3}, "unknown option 'num_env' in env_config; did you mean 'num_envs'"),
        ({"colour": "red"}, r"unknown option 'colour' in env_config; it has \['num_envs'"),
        ({"num_envs": 0}, "num_envs: expected a positive int, got 0"),
        ({"num_envs": 2.0}, "num_envs: expected a positive int, got 2.0"),
        ({"num_envs": True}, "num_envs: expected a positive int, got True"),
    ],
)
def test_options_that_a_task_does_not_know_are_refused(
    task: Any, env_config: dict[str, Any], message: str
) -> None:
    with pytest.raises(EnvError, match=rf"{task.__name__}: {message}"):
        task(env_config)


@pytest.mark.parametrize("task", [Catch, GatedLeaves])
def test_only_parts_of_the_observation_can_be_zeroed(task: Any) -> None:
    with pytest.raises(EnvError, match=r"zeroed: expected one of \[.*\], got 'bal'"):
        task({"zeroed": "bal"})
    with pytest.raises(EnvError, match="unknown option 'zeroed'"):
        Recall({"zeroed": "ball"})


@pytest.mark.parametrize("task", TASKS[:-1])
def test_actions_that_no_policy_of_the_space_draws_are_refused(task: Any) -> None:
    env = task({"num_envs": 3})
    env.reset(seed=0)
    for actions, message in (
        (np.zeros(2, int), r"expected integers \[3\], got int64 \[2\]"),
        (np.zeros(3), r"expected integers \[3\], got float64 \[3\]"),
        (np.array([0, 0, 4]), r"expected 0 to \d, got \[0, 0, 4\]"),
        (np.array([0, -1, 0]), r"expected 0 to \d, got \[0, -1, 0\]"),
    ):
        with pytest.raises(ValueError, match=rf"{task.__name__}: actions: {message}"):
            env.step(actions)


@pytest.mark.parametrize("task", TASKS[:-1])
def test_a_task_must_be_reset_before_the_first_step_and_after_the_last(task: Any) -> None:
    env = task({"num_envs": 2})
    with pytest.raises(ValueError, match=r"rows \[0, 1\] are over; reset them first"):
        env.step(np.zeros(2, int))
    env.reset(seed=0)
    env.step(np.zeros(2, int))
    env.reset(options={"reset_mask": np.array([True, False])})
    for _ in range(env.episode_steps - 1):
        env.step(np.zeros(2, int))
    with pytest.raises(ValueError, match=r"rows \[1\] are over; reset them first"):
        env.step(np.zeros(2, int))


# --- episodes as data -------------------------------------------------------------------------


@every_task
def test_episodes_are_whole_and_hold_the_final_observation(task: Any) -> None:
    env = task({"num_envs": 3})
    played = episodes(env, lambda obs, starts: actions_of(env, int(leaves(obs)[0].sum())), 7, seed=2)
    assert len(played) == 7
    for episode in played:
        assert list(episode) == ["obs", "actions", "rewards", "terminated", "truncated"]
        length = len(episode["actions"])
        assert {len(leaf) for leaf in leaves(episode["obs"])} == {length + 1}
        assert length == (env.episode_steps if task is not StatelessCartPole else length)
        ended = episode["terminated"] | episode["truncated"]
        assert ended.tolist() == [False] * (length - 1) + [True]
        assert episode["rewards"].dtype == np.float32
        assert ended.dtype == bool


def test_the_final_observation_is_that_of_its_own_row() -> None:
    for episode in episodes(Catch({"num_envs": 4}), lambda obs, starts: np.ones(4, int), 8, seed=0):
        balls = episode["obs"][..., 0].max(axis=1).argmax(axis=1)
        assert balls.tolist() == [balls[0]] * 8


def test_episodes_are_those_of_the_rows_in_turn_not_the_shortest() -> None:
    env = StatelessCartPole({"num_envs": 2})

    def one_row_balances(obs: Any, starts: Any) -> Any:
        return np.array([balance(obs, starts)[0], 1])

    balance = env.expert()
    lengths = [len(episode["actions"]) for episode in episodes(env, one_row_balances, 4, seed=0)]
    assert lengths[::2] == [500, 500]
    assert max(lengths[1::2]) < 12


def test_episodes_tell_a_policy_where_they_begin() -> None:
    seen = []

    def note(obs: Any, starts: Any) -> Any:
        seen.append(starts.tolist())
        return np.zeros(2, np.int64)

    episodes(Recall({"num_envs": 2}), note, 4, seed=0)
    assert seen == ([[True] * 2] + [[False] * 2] * 7) * 2


def test_episodes_of_an_environment_that_restarts_itself_hold_no_step_that_was_a_reset() -> None:
    balanced = StatelessCartPole({}).expert
    for env in (make_vector_env("CartPole-v1", {}, 2), StatelessCartPole({"num_envs": 2})):
        policy = balanced() if env.single_observation_space.shape == (2,) else full(balanced())
        played = episodes(env, policy, 4, seed=0)
        assert [len(episode["rewards"]) for episode in played] == [500] * 4
        assert all(episode["rewards"].sum() == 500 for episode in played)


def full(policy: Any) -> Any:
    return lambda obs, starts: policy(obs[:, [0, 2]], starts)
