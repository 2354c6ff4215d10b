"""From an Atari id to pixels, through ale-py's own vector environment."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv

from rlmodule_algos import EnvError
from rlmodule_algos.envs import EnvStream, make_vector_env


@pytest.fixture
def atari() -> None:
    pytest.importorskip("ale_py")


@pytest.mark.usefixtures("atari")
def test_pong_comes_from_its_id_as_stacked_pixels_and_streams() -> None:
    env = make_vector_env("ALE/Pong-v5", {}, 3)
    stream = EnvStream(env)
    assert env.single_observation_space == spaces.Box(0, 255, (4, 84, 84), np.uint8)
    assert env.single_action_space == spaces.Discrete(6)
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    stream.reset(0)
    rng, paid = np.random.default_rng(0), 0.0
    for _ in range(200):
        transition = stream.step(rng.integers(6, size=3))
        assert stream.obs.shape == (3, 4, 84, 84)
        assert stream.obs.dtype == np.uint8
        paid += float(np.abs(transition.rewards).sum())
    assert paid > 0  # the other side scores
    stream.close()


@pytest.mark.usefixtures("atari")
def test_an_episode_of_atari_that_ends_restarts_at_the_next_step() -> None:
    """Frames are counted until an episode is cut: 40 frames of 4 a step."""
    settings = {"max_num_frames_per_episode": 40, "noop_max": 0, "use_fire_reset": False}
    stream = EnvStream(make_vector_env("ALE/Pong-v5", settings, 2))
    stream.reset(0)
    ends = []
    for _ in range(60):
        transition = stream.step(np.zeros(2, np.int64))
        if transition.ended is not None:
            final = np.asarray(transition.final_obs)
            assert final.shape[1:] == (4, 84, 84)
            assert transition.truncated.all()
            assert not transition.terminated.any()
        ends.append(transition.ended is not None)
        assert (transition.resets is not None) == (len(ends) > 1 and ends[-2])
    assert sum(ends) >= 3
    stream.close()


@pytest.mark.usefixtures("atari")
def test_atari_does_not_declare_for_other_environments_how_they_restart() -> None:
    env = make_vector_env("ALE/Pong-v5", {}, 1)
    assert "autoreset_mode" not in VectorEnv.metadata
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    other = make_vector_env("ALE/Pong-v5", {"autoreset_mode": AutoresetMode.SAME_STEP}, 1)
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert other.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP


def test_atari_without_its_package_is_refused_with_the_extra_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ale_py", None)
    with pytest.raises(EnvError, match=r"'ALE/Pong-v5': Atari needs ale-py.*rlmodule-algos\[atari\]"):
        make_vector_env("ALE/Pong-v5", {}, 1)
