"""The three autoreset modes of vector environments give the same transitions."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit

from rlmodule_algos import EnvError
from rlmodule_algos.batching import Fragment
from rlmodule_algos.envs import EnvStream
from rlmodule_algos.frameworks import Framework
from rlmodule_algos.sampling import EnvRunner
from rlmodule_core import NumpyCategorical, NumpyRLModule
from rlmodule_core.nest import Nest, leaves, map_nest
from rlmodule_core.numpy_distributions import Array

NUM_ENVS = 3
MODES = list(AutoresetMode)


class Walk(gym.Env[Any, Any]):
    """Its observation tells seed, episode, step, a draw of its generator and the sum of the actions.

    Ends after as many steps as `length` says of (seed, episode).
    """

    def __init__(self, form: str, length: Callable[[int, int], int]) -> None:
        self.action_space = spaces.Discrete(3)
        numbers = spaces.Box(-np.inf, np.inf, (5,), np.float32)
        self.observation_space: gym.Space[Any] = numbers
        if form == "dict":
            inner = spaces.Tuple([spaces.Discrete(100), spaces.Box(-np.inf, np.inf, (2, 2), np.float64)])
            self.observation_space = spaces.Dict({"numbers": numbers, "inner": inner})
        elif form == "tuple":
            self.observation_space = spaces.Tuple([numbers, spaces.MultiBinary(2)])
        self.form, self.length = form, length
        self.own_seed, self.episode = 0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        super().reset(seed=seed)
        if seed is not None:
            self.own_seed, self.episode = seed, -1
        self.episode += 1
        self.step_count, self.total = 0, 0
        return self.observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.step_count += 1
        self.total += int(action)
        reward = float(self.np_random.normal()) + int(action)
        done = self.step_count >= self.length(self.own_seed, self.episode)
        return self.observe(), reward, done, False, {"step": self.step_count}

    def observe(self) -> Any:
        draw = self.np_random.random()
        numbers = np.array([self.own_seed, self.episode, self.step_count, draw, self.total], np.float32)
        if self.form == "dict":
            return {"inner": (self.step_count, np.full((2, 2), draw)), "numbers": numbers}
        if self.form == "tuple":
            return numbers, np.array([self.step_count % 2, self.episode % 2], np.int8)
        return numbers


class Scripted(NumpyRLModule):
    """Acts as a function of the observation alone."""

    def _forward_train(self, batch: Any, **kwargs: Any) -> Any:
        numbers = next(leaf for leaf in leaves(batch["obs"]) if leaf.shape[1:] == (5,))
        action = (numbers[:, 2].astype(int) + (1000 * numbers[:, 3]).astype(int)) % 3
        return {"action_dist": NumpyCategorical(1000.0 * np.eye(3, dtype=np.float32)[action])}

    _forward_exploration = _forward_inference = _forward_train

    def get_state(self) -> dict[str, Any]:
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """It has no state."""


def endings(kind: str, form: str) -> Callable[[], gym.Env[Any, Any]]:
    """Environments whose episodes terminate, are truncated, either of the two, or both at once."""
    varied = lambda seed, episode: 1 + (seed + 2 * episode) % 4  # noqa: E731
    never = lambda seed, episode: 10**9  # noqa: E731
    makers: dict[str, Callable[[], gym.Env[Any, Any]]] = {
        "terminates": lambda: Walk(form, varied),
        "truncates": lambda: TimeLimit(Walk(form, never), 3),
        "either": lambda: TimeLimit(Walk(form, lambda seed, episode: 1 + (seed + episode) % 7), 4),
        "both at once": lambda: TimeLimit(Walk(form, lambda seed, episode: 3), 3),
    }
    return makers[kind]


def sample(kind: str, form: str, mode: AutoresetMode, fragments: int = 5, steps: int = 7) -> Recorded:
    """Record fragments, so short that their cuts fall on every step of an episode."""
    env = SyncVectorEnv([endings(kind, form)] * NUM_ENVS, autoreset_mode=mode)
    runner = EnvRunner(EnvStream(env), Scripted(), Framework("torch").bridge, seed=11)
    recorded = [runner.sample(steps) for _ in range(fragments)]
    runner.close()
    return Recorded(recorded, runner)


class Recorded(NamedTuple):
    fragments: list[Fragment]
    runner: EnvRunner


class Step(NamedTuple):
    """One transition in plain numbers."""

    obs: list[float]
    action: int
    reward: float
    terminated: bool
    truncated: bool
    following: list[float]


def steps_of_row(fragments: list[Fragment], row: int) -> list[Step]:
    """Read the transitions of a row, as the fragment's documentation says where they are."""
    steps = []
    for fragment in fragments:
        final = {(t, b): index for index, (t, b) in enumerate(fragment.final_index.tolist())}
        for t in range(int(fragment.lengths[row])):
            ended = bool(fragment.terminated[t, row] or fragment.truncated[t, row])
            assert ended == ((t, row) in final)
            following = (
                numbers(fragment.final_obs, final[t, row]) if ended else numbers(fragment.obs, t + 1, row)
            )
            steps.append(
                Step(
                    numbers(fragment.obs, t, row),
                    int(fragment.actions[t, row]),
                    float(fragment.rewards[t, row]),
                    bool(fragment.terminated[t, row]),
                    bool(fragment.truncated[t, row]),
                    following,
                )
            )
    return steps


def numbers(nest: Nest, *index: int) -> list[float]:
    return [float(number) for leaf in leaves(nest) for number in np.ravel(leaf[index])]


def episodes_of(steps: list[Step]) -> list[tuple[float, int]]:
    """Add up finished episodes, one step after the other."""
    finished, total, length = [], 0.0, 0
    for step in steps:
        total, length = total + step.reward, length + 1
        if step.terminated or step.truncated:
            finished.append((round(total, 4), length))
            total, length = 0.0, 0
    return finished


KINDS = ["terminates", "truncates", "either", "both at once"]
FORMS = ["box", "dict", "tuple"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_each_autoreset_mode_gives_the_same_transitions(kind: str, form: str) -> None:
    by_mode = {mode: sample(kind, form, mode).fragments for mode in MODES}
    for row in range(NUM_ENVS):
        expected = steps_of_row(by_mode[AutoresetMode.DISABLED], row)
        assert len(expected) == 35  # no step is lost to resetting where we say when
        assert steps_of_row(by_mode[AutoresetMode.SAME_STEP], row) == expected
        shorter = steps_of_row(by_mode[AutoresetMode.NEXT_STEP], row)
        assert 17 <= len(shorter) < 35  # some of its calls were resets
        assert shorter == expected[: len(shorter)]
        flags = {(step.terminated, step.truncated) for step in shorter}
        assert (
            flags - {(False, False)}
            == {
                "terminates": {(True, False)},
                "truncates": {(False, True)},
                "either": {(True, False), (False, True)} | (flags & {(True, True)}),
                "both at once": {(True, True)},
            }[kind]
        )


@pytest.mark.parametrize("form", FORMS)
def test_modes_without_reset_steps_give_equal_fragments(form: str) -> None:
    ours = sample("either", form, AutoresetMode.DISABLED).fragments
    theirs = sample("either", form, AutoresetMode.SAME_STEP).fragments
    for one, other in zip(ours, theirs, strict=True):
        assert not one.padded
        for name in vars(one):
            map_nest(same_arrays, getattr(one, name), getattr(other, name))


def same_arrays(one: Any, other: Any) -> None:
    np.testing.assert_array_equal(one, other)
    assert np.asarray(one).dtype == np.asarray(other).dtype


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
def test_following_observations_are_those_of_the_episode_and_not_of_the_next(
    kind: str, mode: AutoresetMode
) -> None:
    for row in range(NUM_ENVS):
        steps = steps_of_row(sample(kind, "box", mode).fragments, row)
        assert steps[0].obs[:3] == [11 + row, 0, 0]  # seed, episode, step
        for step, later in itertools.pairwise(steps):
            seed, episode, count, _draw, total = step.obs
            assert [*step.following[:3], step.following[4]] == [seed, episode, count + 1, total + step.action]
            if step.terminated or step.truncated:
                assert later.obs[:3] == [seed, episode + 1, 0]
            else:
                assert later.obs == step.following


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
def test_returns_and_lengths_of_episodes_are_the_sums_over_their_steps(
    kind: str, mode: AutoresetMode
) -> None:
    fragments, runner = sample(kind, "box", mode)
    per_row = [steps_of_row(fragments, row) for row in range(NUM_ENVS)]
    finished = [episode for steps in per_row for episode in episodes_of(steps)]

    tracked = Counter((round(total, 4), length) for total, length in runner.episodes.recent)
    assert tracked == Counter(finished)
    assert runner.episodes.num_episodes == len(finished)
    assert runner.episodes.num_steps == sum(map(len, per_row)) == sum(f.num_steps for f in fragments)


@pytest.mark.parametrize("mode", MODES)
def test_observations_of_double_precision_come_as_single(mode: AutoresetMode) -> None:
    fragment = sample("either", "dict", mode).fragments[0]
    assert fragment.obs["inner"][1].dtype == fragment.final_obs["inner"][1].dtype == np.float32
    assert fragment.obs["inner"][0].dtype == fragment.final_obs["inner"][0].dtype == np.int64


@pytest.mark.parametrize("declared", [None, "sometimes"])
def test_a_vector_environment_that_does_not_say_how_it_resets_is_refused_and_closed(declared: Any) -> None:
    class Undeclared(SyncVectorEnv):
        was_closed = False

        def close_extras(self, **kwargs: Any) -> None:
            self.was_closed = True

    env = Undeclared([endings("terminates", "box")])
    env.metadata = {} if declared is None else {"autoreset_mode": declared}
    with pytest.raises(EnvError, match=r"Undeclared: metadata\['autoreset_mode'\].*SAME_STEP"):
        EnvStream(env)
    assert env.was_closed


def test_same_step_without_the_final_observation_is_refused() -> None:
    class Forgetful(SyncVectorEnv):
        def step(self, actions: Array) -> Any:
            obs, rewards, terminated, truncated, _infos = super().step(actions)
            return obs, rewards, terminated, truncated, {"final_observation": obs}

    stream = EnvStream(Forgetful([endings("both at once", "box")], autoreset_mode=AutoresetMode.SAME_STEP))
    with pytest.raises(EnvError, match=r"Forgetful: .*no 'final_obs'.*final_observation"):
        play(stream, steps=3)


def play(stream: EnvStream, steps: int) -> None:
    stream.reset(0)
    for _ in range(steps):
        stream.step(np.zeros(stream.num_envs, np.int64))
