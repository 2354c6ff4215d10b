"""From a fragment that others sampled to a batch: where V-trace ends, and how old the batch is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pytest
from gymnasium import spaces

from rlmodule_algos import ImpalaConfig
from rlmodule_algos.actor_learner.results import lags
from rlmodule_algos.batching import Fragment, VTraceSettings, evaluate_fragment, vtrace_batch
from rlmodule_core.nest import map_nest

KEY = "default_policy"
GAMMA = 0.9
Array = npt.NDArray[np.float64]


class FiveSteps(gym.Env[npt.NDArray[np.float32], np.int64]):
    """Episodes of five steps that end as they are told, with observations and rewards by chance."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.observation_space = spaces.Box(-10.0, 10.0, (3,))
        self.action_space = spaces.Discrete(2)
        self.end: str = config["end"]
        self.t = 0

    def _obs(self) -> npt.NDArray[np.float32]:
        return self.np_random.uniform(-1.0, 1.0, 3).astype(np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.t = 0
        return self._obs(), {}

    def step(self, action: np.int64) -> Any:
        self.t += 1
        over = self.t == 5
        reward = float(self.np_random.normal())
        return self._obs(), reward, over and self.end == "terminated", over and self.end == "truncated", {}


def config(end: str = "truncated") -> ImpalaConfig:
    made = ImpalaConfig().environment(FiveSteps, env_config={"end": end}).debugging(seed=0)
    made.training(train_batch_size=36, model={"fcnet_hiddens": [8]})
    return made.env_runners(num_envs_per_env_runner=3, rollout_fragment_length=12)


def papers_sum(fragment: Fragment, ratios: Array, values: Array, following: Array) -> tuple[Array, Array]:
    """(1) of https://arxiv.org/abs/1802.01561 and the advantage of its section 4.2, thresholds of 1."""
    steps, rows = ratios.shape
    clipped, targets, advantages = np.minimum(1.0, ratios), values.copy(), np.zeros_like(values)
    for b in range(rows):
        for s in range(steps):
            trace = 1.0  # gamma^(t - s) c_s ... c_(t - 1)
            for t in range(s, steps):
                delta = fragment.rewards[t, b] + GAMMA * following[t, b] - values[t, b]
                targets[s, b] += trace * clipped[t, b] * delta
                trace *= GAMMA * clipped[t, b]
                if fragment.terminated[t, b] or fragment.truncated[t, b]:
                    break
        for s in range(steps):
            last = s == steps - 1 or fragment.terminated[s, b] or fragment.truncated[s, b]
            after = following[s, b] if last else targets[s + 1, b]
            advantages[s, b] = clipped[s, b] * (fragment.rewards[s, b] + GAMMA * after - values[s, b])
    return targets, advantages


@pytest.mark.parametrize("end", ["truncated", "terminated"])
def test_v_trace_flows_back_over_no_end_of_an_episode_and_none_of_a_fragment(end: str) -> None:
    with config(end).build() as algorithm:
        (fragment,) = algorithm.collect().fragments[KEY]
        module, bridge = algorithm.modules[KEY], algorithm.framework.bridge
        rng = np.random.default_rng(0)  # another policy than the one that acted, and values that differ
        moved = map_nest(
            lambda leaf: leaf + rng.normal(scale=0.5, size=leaf.shape).astype(leaf.dtype), module.get_state()
        )
        module.set_state(moved)
        evaluation = evaluate_fragment(fragment, module, bridge)
        settings = VTraceSettings(gamma=GAMMA, lambda_=1.0, clip_rho=1.0, clip_c=1.0, clip_pg_rho=1.0)
        batch: dict[str, Any] = vtrace_batch(fragment, evaluation, settings)

        def value(obs: Any) -> Array:
            shown = bridge.to_tensors({"obs": obs.reshape(-1, 3)})
            given = bridge.to_numpy(bridge.call(module, "forward_train", shown)["vf_preds"])
            return np.asarray(given, np.float64).reshape(obs.shape[:-1])

        values, final = value(fragment.obs), value(fragment.final_obs)

    ended = fragment.truncated if end == "truncated" else fragment.terminated
    assert [list(np.flatnonzero(row)) for row in ended.T] == [[4, 9]] * 3  # and two steps more
    assert values.std() > 0.1
    following = values[1:].copy()
    following[tuple(fragment.final_index.T)] = final if end == "truncated" else 0.0
    ratios = np.exp(evaluation.logp.astype(np.float64) - fragment.action_logp)
    assert np.abs(ratios - 1.0).max() > 0.1
    targets, advantages = papers_sum(fragment, ratios, values[:-1], following)
    np.testing.assert_allclose(batch["value_targets"], targets.reshape(-1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(batch["advantages"], advantages.reshape(-1), rtol=1e-4, atol=1e-5)


def test_the_mean_lag_is_one_over_the_steps_and_not_over_the_fragments() -> None:
    with config().build() as algorithm:
        (fragment,) = algorithm.collect().fragments[KEY]
        fresh = replace(fragment, weights_version=0)  # 36 steps
        old = replace(fragment, lengths=np.array([4, 4, 4]), weights_version=-4)  # 12 steps

    assert lags([fresh, old], 0) == {"lag_min": 0.0, "lag_mean": 1.0, "lag_max": 4.0}
