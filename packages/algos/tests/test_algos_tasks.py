"""The tasks that learning is tested with have exactly the baselines that they claim."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rlmodule_algos.testing import (
    Catch,
    GatedLeaves,
    PreviousEpisodeCue,
    Recall,
    RepeatPrevious,
    StatelessCartPole,
    TaskPolicy,
    episodes,
)
from rlmodule_algos.testing.gated_leaves import read_values

RNG = np.random.default_rng(0)


def guess(num_actions: int) -> TaskPolicy:
    """Act at random."""
    return lambda obs, starts: RNG.integers(num_actions, size=len(starts))


def always(action: int) -> TaskPolicy:
    return lambda obs, starts: np.full(len(starts), action)


def mean_score(task: Any, policy: TaskPolicy, num_episodes: int) -> float:
    """Play, and average return / scored steps over the episodes."""
    played = episodes(task, policy, num_episodes, seed=1)
    return float(np.mean([episode["rewards"].sum() for episode in played]) / task.scored_steps)


# --- Catch ------------------------------------------------------------------------------------


def catch_score(policy: TaskPolicy, zeroed: str | None = None) -> float:
    """Average the return over all 64 starts: exact for a policy that ends each start in one way.

    The starts are read from the same episodes with nothing zeroed.
    """
    count = 2048
    seeing, task = (Catch({"num_envs": count, "zeroed": what}) for what in (None, zeroed))
    full, _ = seeing.reset(seed=0)
    obs, _ = task.reset(seed=0)
    start = 8 * full[:, 0, :, 0].argmax(axis=1) + full[:, 7, :, 1].argmax(axis=1)
    total = np.zeros(count)
    for t in range(7):
        obs, rewards, terminated, truncated, _ = task.step(policy(obs, np.full(count, t == 0)))
        assert terminated.all() == terminated.any() == (t == 6)
        assert not truncated.any()
        total += rewards
    assert len(set(start)) == 64
    return float(np.mean([total[start == one].mean() for one in range(64)]))


def test_the_expert_always_catches() -> None:
    assert catch_score(Catch({}).expert()) == 1.0
    assert mean_score(Catch({}), Catch({}).expert(), 200) == 1.0


@pytest.mark.parametrize("policy", [always(0), always(1), always(2), Catch({}).expert()])
def test_a_policy_that_does_not_see_the_ball_gets_minus_three_quarters(policy: TaskPolicy) -> None:
    assert catch_score(policy, zeroed="ball") == -0.75


def test_random_actions_catch_one_ball_in_eight() -> None:
    assert mean_score(Catch({"num_envs": 512}), guess(3), 8192) == pytest.approx(-0.75, abs=0.03)


def test_the_best_policy_that_does_not_see_the_paddle_gets_five_eighths() -> None:
    """Of all courses, take the one that leads most starts under the ball; where the ball falls is seen."""
    best: dict[int, tuple[int, ...]] = {}
    caught: dict[int, int] = dict.fromkeys(range(8), 0)
    for course in itertools.product([-1, 0, 1], repeat=7):
        paddle = np.arange(8)
        for move in course:
            paddle = np.clip(paddle + move, 0, 7)
        for ball in range(8):
            if (paddle == ball).sum() > caught[ball]:
                caught[ball], best[ball] = int((paddle == ball).sum()), course
    assert 2 * sum(caught.values()) / 64 - 1 == 0.625

    def follow(obs: Any, starts: Any) -> Any:
        seen = obs[..., 0].max(axis=2)
        t, ball = seen.argmax(axis=1), obs[..., 0].max(axis=1).argmax(axis=1)
        return 1 + np.array(
            [best[column][row] for column, row in zip(ball.tolist(), t.tolist(), strict=True)]
        )

    assert catch_score(follow, zeroed="paddle") == 0.625


def test_a_zeroed_channel_is_black_and_the_others_stay() -> None:
    full = Catch({}).reset(seed=0)[0]
    for channel, zeroed in enumerate(Catch.zeroable):
        image = Catch({"zeroed": zeroed}).reset(seed=0)[0]
        assert not image[..., channel].any()
        np.testing.assert_array_equal(np.delete(image, channel, axis=3), np.delete(full, channel, axis=3))


def test_the_pixels_of_catch_are_one_ball_one_paddle_and_one_distractor() -> None:
    (episode,) = episodes(Catch({"num_envs": 1}), always(2), 1, seed=0)
    image = episode["obs"]
    assert set(np.unique(image)) == {0, 255}
    assert (image.reshape(8, 64, 3) == 255).sum(axis=1).tolist() == [[1, 1, 1]] * 8
    assert image[..., 0].max(axis=2).argmax(axis=1).tolist() == list(range(8))  # it falls
    paddle = image[:, 7, :, 1].argmax(axis=1)
    assert paddle.tolist() == [min(paddle[0] + t, 7) for t in range(8)]
    assert len(np.unique(image[..., 2].reshape(8, 64).argmax(axis=1))) > 4  # it jumps


# --- memory -----------------------------------------------------------------------------------


def test_what_repeat_previous_pays_for_is_the_token_two_steps_ago() -> None:
    for episode in episodes(RepeatPrevious({}), guess(4), 50, seed=0):
        tokens, actions = episode["obs"].argmax(axis=1), episode["actions"]
        assert (episode["obs"].sum(axis=1) == 1).all()
        expected = [0.0, 0.0] + [float(actions[t] == tokens[t - 2]) for t in range(2, 32)]
        assert episode["rewards"].tolist() == expected


def test_no_memoryless_policy_is_better_than_a_guess_at_repeat_previous() -> None:
    """What it sees says nothing of what is asked: all pairs of tokens are equally frequent."""
    pairs = np.zeros((4, 4))
    for episode in episodes(RepeatPrevious({"num_envs": 64}), always(0), 2048, seed=0):
        tokens = episode["obs"][:-1].argmax(axis=1)
        np.add.at(pairs, (tokens[2:], tokens[:-2]), 1)
    frequency = pairs / pairs.sum()
    np.testing.assert_allclose(frequency, 1 / 16, atol=0.004)
    assert frequency.max(axis=1).sum() == pytest.approx(0.25, abs=0.01)  # the best table in hindsight


@pytest.mark.parametrize("task", [RepeatPrevious, Recall, PreviousEpisodeCue])
def test_guessing_at_memory_tasks_scores_a_quarter(task: Any) -> None:
    assert mean_score(task({"num_envs": 256}), guess(4), 4096) == pytest.approx(0.25, abs=0.03)
    assert mean_score(task({"num_envs": 256}), always(3), 4096) == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize("task", [RepeatPrevious, Recall])
def test_remembering_is_enough_for_memory_tasks(task: Any) -> None:
    assert mean_score(task({}), task({}).expert(), 64) == 1.0


def test_recall_shows_its_cue_once_and_asks_at_the_end() -> None:
    for episode in episodes(Recall({}), guess(4), 50, seed=0):
        assert episode["obs"].sum(axis=1).tolist() == [1.0] + [0.0] * 8
        right = float(episode["actions"][7] == episode["obs"][0].argmax())
        assert episode["rewards"].tolist() == [0.0] * 7 + [right]


def test_a_memory_that_outlives_the_episode_betrays_itself_at_the_control() -> None:
    cue = np.zeros(16, np.int64)

    def leaking(obs: Any, starts: Any) -> Any:
        cue[:] = np.where(obs.any(axis=1), obs.argmax(axis=1), cue)
        return cue.copy()

    def starting_afresh(obs: Any, starts: Any) -> Any:
        cue[starts] = 0
        return leaking(obs, starts)

    played = episodes(PreviousEpisodeCue({}), leaking, 640, seed=0)
    later = [episode["rewards"].tolist() for episode in played[16:]]  # nothing came before the first 16
    assert later == [[1.0] * 7 + [0.0]] * 624
    assert mean_score(PreviousEpisodeCue({}), starting_afresh, 4096) == pytest.approx(0.25, abs=0.03)


def test_the_control_shows_its_cue_at_the_last_step_alone() -> None:
    for episode in episodes(PreviousEpisodeCue({}), guess(4), 20, seed=0):
        assert episode["obs"].sum(axis=1).tolist() == [0.0] * 7 + [1.0, 0.0]


# --- GatedLeaves ------------------------------------------------------------------------------


def majority(obs: Any) -> Any:
    """The number that most leaves show, whatever `sel` is."""
    counts = (read_values(obs)[..., None] == np.arange(4)).sum(axis=0)
    return counts.argmax(axis=1)


def selected(obs: Any) -> Any:
    return GatedLeaves({}).expert()(obs, np.zeros(len(obs["sel"]), np.bool_))


@pytest.mark.parametrize(
    ("zeroed", "policy", "score"),
    [
        (None, selected, 1.0),
        ("a", selected, 0.8125),
        ("b.vec", selected, 0.8125),
        ("c[0]", selected, 0.8125),
        ("c[1]", selected, 0.8125),
        ("sel", majority, 0.53125),
        (None, majority, 0.53125),
        ("sel", selected, 0.25 + 0.75 * 0.25),  # it always trusts `a`
        (None, lambda obs: np.full(len(obs["sel"]), 2), 0.25),
    ],
)
def test_gated_leaves_pay_exactly_what_the_leaves_that_are_read_can_tell(
    zeroed: str | None, policy: Callable[[Any], Any], score: float
) -> None:
    """Average over all 4^5 observations, told by the same episodes with nothing zeroed."""
    count = 2048
    seeing, task = (GatedLeaves({"num_envs": count, "zeroed": what}) for what in (None, zeroed))
    full, _ = seeing.reset(seed=0)
    obs, _ = task.reset(seed=0)
    kinds, paid = [], []
    for _ in range(8):
        numbers = [*read_values(full), full["sel"]]
        kinds.append(sum(4**power * part for power, part in enumerate(numbers)))
        actions = policy(obs)
        full = seeing.step(actions)[0]
        obs, rewards, *_ = task.step(actions)
        paid.append(rewards)
    kind, reward = np.concatenate(kinds), np.concatenate(paid)
    assert len(set(kind.tolist())) == 4**5
    assert np.mean([reward[kind == one].mean() for one in range(4**5)]) == score


def test_a_zeroed_leaf_is_zero_and_the_others_stay() -> None:
    full = GatedLeaves({}).reset(seed=3)[0]
    for name in GatedLeaves.zeroable:
        obs = GatedLeaves({"zeroed": name}).reset(seed=3)[0]
        parts = {"sel": (obs["sel"], full["sel"]), "a": (obs["a"], full["a"])}
        parts["b.vec"] = obs["b"]["vec"], full["b"]["vec"]
        parts |= {f"c[{index}]": (obs["c"][index], full["c"][index]) for index in range(2)}
        for other, (part, whole) in parts.items():
            np.testing.assert_array_equal(part, np.zeros_like(whole) if other == name else whole)


def test_the_noise_never_hides_which_part_is_the_largest() -> None:
    vec = GatedLeaves({"num_envs": 4096}).reset(seed=0)[0]["b"]["vec"]
    assert vec.min() >= -0.1
    assert vec.max() <= 1.1
    assert np.ptp(vec[vec > 0.5]) > 0.19  # and is there
    assert ((vec > 0.5).sum(axis=1) == 1).all()


# --- CartPole without velocities --------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "score", "tolerance"),
    [
        (always(1), 9.35, 0.2),
        (guess(2), 22.2, 1.0),
        (lambda obs, starts: (obs[:, 1] > 0).astype(int), 42.0, 1.0),
    ],
)
def test_what_cartpole_pays_without_memory(policy: TaskPolicy, score: float, tolerance: float) -> None:
    task = StatelessCartPole({"num_envs": 256})
    assert 500 * mean_score(task, policy, 2048) == pytest.approx(score, abs=tolerance)


def test_the_balancer_forgets_what_the_episode_before_showed() -> None:
    fresh, used = (StatelessCartPole({}).expert() for _ in range(2))
    obs, starts = RNG.normal(size=(500, 2)), np.ones(500, np.bool_)
    used(RNG.normal(size=(500, 2)), starts)
    np.testing.assert_array_equal(used(obs, starts), fresh(obs, starts))


def test_one_remembered_observation_is_enough_to_balance() -> None:
    task = StatelessCartPole({"num_envs": 64})
    played = episodes(task, task.expert(), 128, seed=0)
    assert [len(episode["actions"]) for episode in played] == [500] * 128
    assert all(episode["truncated"][-1] and not episode["terminated"].any() for episode in played)
