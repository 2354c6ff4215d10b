"""Memories of agents that take turns: each goes on with its own observations and ends with its agent."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from gymnasium import spaces

from rlmodule_algos import PPO, PPOConfig
from rlmodule_algos.batching import Fragment, advantage_batch, evaluate_fragment
from rlmodule_algos.envs import MultiAgentEnv, SyncMultiAgentVectorEnv
from rlmodule_algos.frameworks import Framework
from rlmodule_algos.sampling import MultiAgentEnvRunner, evaluate_agents
from rlmodule_core import NumpyCategorical, NumpyRLModule

BRIDGE = Framework("torch").bridge
OBS, ACT = spaces.Box(-1.0, 1.0, (3,)), spaces.Discrete(2)
LENGTHS = {"ann": 9, "bob": 5, "cy": 9}
EVERY = {"ann": 1, "bob": 2, "cy": 3}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Compute with one thread: for networks as small as these two are many times slower."""
    with BRIDGE.threads(1):
        yield


class Turns(MultiAgentEnv):
    """Ann acts in every step, bob in every second until he is truncated, cy in every third.

    An observation is (what one's last three were, drawn, the number of the environment).
    """

    def __init__(self, env_config: Mapping[str, Any] | None = None) -> None:
        self.possible_agents = list(LENGTHS)
        self.observation_spaces = dict.fromkeys(LENGTHS, OBS)
        self.action_spaces = dict.fromkeys(LENGTHS, ACT)
        self.shown: dict[str, list[list[Any]]] = defaultdict(list)  # by agent and episode
        self.acted: dict[str, list[list[int]]] = defaultdict(list)
        self.total = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        if seed is not None:
            self.rng = np.random.default_rng(seed)
        self.t = 0
        for agent in LENGTHS:
            self.shown[agent].append([])
            self.acted[agent].append([])
        return self.look(), {}

    def look(self) -> dict[str, Any]:
        agents = [
            a for a in LENGTHS if self.t <= LENGTHS[a] and (self.t % EVERY[a] == 0 or self.t >= LENGTHS[a])
        ]
        obs = {agent: self.rng.uniform(-1.0, 1.0, 3).astype(np.float32) for agent in agents}
        for agent, one in obs.items():
            self.shown[agent][-1].append(one)
        return obs

    def step(self, actions: Mapping[str, Any]) -> Any:
        for agent, action in actions.items():
            self.acted[agent][-1].append(int(action))
        self.t += 1
        rewards = {agent: 1.0 for agent in LENGTHS if self.t <= LENGTHS[agent]}
        over = self.t == 9
        return self.look(), rewards, {"__all__": False}, {"bob": self.t == 5, "__all__": over}, {}


def built(framework: str = "torch", **model: Any) -> PPO:
    return (
        PPOConfig()
        .environment(Turns)
        .framework(framework)
        .env_runners(num_envs_per_env_runner=3)
        .multi_agent(policy_mapping_fn=lambda agent: "one" if agent == "ann" else "two")
        .training(
            model={"fcnet_hiddens": [8], "lstm_cell_size": 8, "max_seq_len": 4, **model},
            train_batch_size=60,
            minibatch_size=30,
            num_epochs=2,
            lr=0.03,
        )
        .debugging(seed=1)
        .build()
    )


def gap(algorithm: PPO, module_id: str, fragment: Fragment) -> npt.NDArray[np.float32]:
    """How far recomputed log-probs are from those of acting, `[T, B]`, 0 on padding."""
    said = evaluate_fragment(fragment, algorithm.get_module(module_id), algorithm.framework.bridge)
    difference: npt.NDArray[np.float32] = np.abs(said.logp - fragment.action_logp) * fragment.mask
    return difference


@pytest.mark.parametrize("model", [{"use_lstm": True}, {"use_gru": True, "vf_share_layers": True}])
def test_recomputed_log_probs_of_agents_that_take_turns_equal_those_of_acting(model: dict[str, Any]) -> None:
    with built(**model) as algorithm:
        for steps in (7, 1, 2, 20, 31):
            for module_id, (fragment,) in algorithm.pool.sample(3 * steps).items():
                assert gap(algorithm, module_id, fragment).max() < 1e-4


@pytest.mark.parametrize("model", [{"use_lstm": True}, {"use_gru": True}])
def test_only_steps_that_were_open_while_the_weights_moved_have_another_log_prob_now(
    model: dict[str, Any],
) -> None:
    opened = 0
    with built(**model) as algorithm:
        for _ in range(4):
            still_open = set(algorithm.pool.runner._open)  # type: ignore[attr-defined]
            for module_id, (fragment,) in algorithm.pool.sample(3 * 8).items():
                difference = gap(algorithm, module_id, fragment)
                if module_id in still_open:
                    opened += int((difference[0] > 1e-4).sum())
                    difference = difference[1:]
                assert difference.max() < 1e-4
            algorithm.train()
    assert opened > 0


def test_a_step_that_was_open_while_the_weights_moved_is_learned_with_the_log_prob_it_was_drawn_with() -> (
    None
):
    moved = 0
    with built(use_lstm=True) as algorithm:
        for _ in range(4):
            still_open = set(algorithm.pool.runner._open)  # type: ignore[attr-defined]
            for module_id, (fragment,) in algorithm.pool.sample(3 * 8).items():
                said = evaluate_fragment(
                    fragment, algorithm.get_module(module_id), algorithm.framework.bridge
                )
                batch = advantage_batch(fragment, said, gamma=0.99, lambda_=0.9)
                learned = np.sort(batch["action_logp"][batch["loss_mask"]])
                np.testing.assert_array_equal(learned, np.sort(fragment.action_logp[fragment.mask]))
                if module_id in still_open:
                    moved += int((gap(algorithm, module_id, fragment)[0] > 1e-3).sum())
            algorithm.train()
    assert moved > 0


def test_values_are_those_of_a_pass_over_each_agents_own_observations_alone() -> None:
    with built(use_lstm=True) as algorithm:
        env = SyncMultiAgentVectorEnv([Turns(), Turns()])
        runner = MultiAgentEnvRunner(
            env,
            algorithm.modules,
            lambda agent: "one" if agent == "ann" else "two",
            BRIDGE,
            learns=lambda: ["one", "two"],
            seed=4,
        )
        fragments = runner.collect(40)
        said = {key: evaluate_fragment(f, algorithm.get_module(key), BRIDGE) for key, f in fragments.items()}
        copies = [checked.env for checked in env._copies]
        found = Counter[str]()
        for key, fragment in fragments.items():
            place = {
                fragment.obs[t, row].tobytes(): (t, row)
                for row, n in enumerate(fragment.lengths.tolist())
                for t in range(n)
            }
            for agent in ["ann"] if key == "one" else ["bob", "cy"]:
                for copy in copies:
                    assert isinstance(copy, Turns)
                    for shown in copy.shown[agent]:
                        values = pass_over(algorithm, key, shown)
                        for step, (one, value) in enumerate(zip(shown, values, strict=True)):
                            if one.tobytes() in place:
                                at = place[one.tobytes()]
                                np.testing.assert_allclose(said[key].values[at], value, atol=2e-5)
                                following = values[step + 1]
                                np.testing.assert_allclose(said[key].next_values[at], following, atol=2e-5)
                                found[agent] += 1
    assert found == {"ann": 2 * 40, "bob": 2 * 14, "cy": 2 * 13}


def pass_over(algorithm: PPO, module_id: str, shown: list[Any]) -> Any:
    """Values of an episode of one agent, in one pass from the initial state."""
    module = algorithm.get_module(module_id)
    state = module.get_initial_state()
    batch = {
        "obs": BRIDGE.to_tensors(np.stack(shown)[None]),
        "state_in": {
            k: {n: BRIDGE.to_tensors(leaf[None]) for n, leaf in part.items()} for k, part in state.items()
        },
    }
    with BRIDGE.no_grad():
        return BRIDGE.to_numpy(module.forward_train(batch)["vf_preds"])[0]


# --- a memory that can be read ------------------------------------------------------------------


class Counting(NumpyRLModule):
    """Its state counts the agent's own steps; its action says whether that number is odd."""

    def _forward_exploration(self, batch: Any, **kwargs: Any) -> Any:
        count = batch["state_in"]["count"]
        assert batch["obs"].shape == (len(count), 1, 3)
        logits = 1000.0 * np.eye(2, dtype=np.float32)[count.astype(int) % 2]  # [B, 1, 2]
        return {"action_dist": NumpyCategorical(logits), "state_out": {"count": count + 1.0}}

    _forward_inference = _forward_train = _forward_exploration

    def get_initial_state(self) -> dict[str, Any]:
        return {"count": np.zeros(1, np.float32)}

    def get_state(self) -> dict[str, Any]:
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """It has no weights."""


def test_a_state_goes_on_with_an_agents_own_steps_alone_and_starts_afresh_when_it_left() -> None:
    copies = [Turns(), Turns(), Turns()]
    runner = MultiAgentEnvRunner(
        SyncMultiAgentVectorEnv(copies),
        {"all": Counting()},
        lambda agent: "all",
        BRIDGE,
        learns=lambda: ["all"],
        seed=0,
    )
    for steps in (7, 1, 12, 20):
        fragment = runner.collect(steps)["all"]
        assert fragment.sequences is not None
    for copy in copies:
        for agent, episodes in copy.acted.items():
            assert len(episodes) == 5
            for actions in episodes:
                assert actions == [t % 2 for t in range(len(actions))]
            assert len(episodes[0]) == -(-LENGTHS[agent] // EVERY[agent])


def test_evaluation_carries_the_state_of_every_agent_and_counts_first_episodes_alone() -> None:
    class Uneven(Turns):
        """Its first episode is longer than that of the others."""

        def step(self, actions: Mapping[str, Any]) -> Any:
            answer = super().step(actions)
            if self.t == 4 and len(self.acted["ann"]) == 1:
                answer[2]["__all__"] = True
            return answer

    copies = [Turns(), Uneven(), Turns()]
    env = SyncMultiAgentVectorEnv(copies)
    played = evaluate_agents(env, {"all": Counting()}, lambda agent: "all", BRIDGE, explore=False, seed=0)

    for copy in copies:
        for episodes in copy.acted.values():
            assert all(actions == [t % 2 for t in range(len(actions))] for actions in episodes)
    assert sorted(played.recent) == [(12.0, 4), (23.0, 9), (23.0, 9)]
    assert (played.num_episodes, played.num_steps) == (3, 9 + 4 + 9)
    steps = {"ann": 9 + 4 + 9, "bob": 3 + 2 + 3, "cy": 3 + 2 + 3}
    assert played.num_agent_steps == {"all": sum(steps.values())}
    assert sorted(played.module_returns["all"]) == sorted([9.0, 5.0, 9.0] * 2 + [4.0] * 3)
