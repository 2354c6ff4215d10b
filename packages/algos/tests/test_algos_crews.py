"""Modules that act together record the very steps that each would record alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from itertools import cycle
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from rlmodule_algos import PPO, MultiAgentCartPole, PPOConfig
from rlmodule_algos.batching import Fragment, evaluate_fragment
from rlmodule_algos.envs import MultiAgentEnv, SyncMultiAgentVectorEnv
from rlmodule_algos.sampling import MultiAgentEnvRunner, PolicyMapping, evaluate_agents
from rlmodule_algos.sampling.crews import Crews
from rlmodule_core import (
    DenseLayer,
    NumpyLayers,
    NumpyPolicy,
    RLModule,
    RLModuleConfig,
    SingleAgentRLModuleSpec,
    distribution_config,
    numpy_bridge,
    numpy_distribution,
)
from rlmodule_core.nest import leaves

FRAMEWORKS = [name for name, package in {"torch": "torch", "tf": "tensorflow"}.items() if find_spec(package)]
OBS, ACT = spaces.Box(-1.0, 1.0, (3,)), spaces.Discrete(3)
WIDE = spaces.Box(-2.0, 2.0, (3,))
LENGTHS = {"ann": 9, "bob": 5, "cy": 9, "dot": 7}
EVERY = {"ann": 1, "bob": 2, "cy": 3, "dot": 2}


class Turns(MultiAgentEnv):
    """Each agent acts in every step, every second or third, until it is truncated; dot's space is wider."""

    def __init__(self) -> None:
        self.possible_agents = list(LENGTHS)
        self.observation_spaces = {agent: WIDE if agent == "dot" else OBS for agent in LENGTHS}
        self.action_spaces = dict.fromkeys(LENGTHS, ACT)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        if seed is not None:
            self.rng = np.random.default_rng(seed)
        self.t = 0
        return self.look(), {}

    def look(self) -> dict[str, Any]:
        there = [agent for agent, length in LENGTHS.items() if self.t <= length]
        shown = [a for a in there if self.t % EVERY[a] == 0 or self.t == LENGTHS[a]]
        return {agent: self.rng.uniform(-1.0, 1.0, 3).astype(np.float32) for agent in shown}

    def step(self, actions: Mapping[str, Any]) -> Any:
        self.t += 1
        rewards = {agent: float(action) + self.t / 16 for agent, action in actions.items()}
        left = {agent: True for agent, length in LENGTHS.items() if length == self.t}
        return self.look(), rewards, {"__all__": False}, {**left, "__all__": self.t == 9}, {}


class Alone(NumpyPolicy):
    """A class of one's own acts by itself, whatever it does."""


def policies(
    cls: type[NumpyPolicy], *, certain: bool = False, ids: Sequence[str] = "abcd"
) -> dict[str, RLModule]:
    """Return policies of equal structure; `certain` ones leave nothing to chance."""
    made: dict[str, RLModule] = {}
    for seed, key in enumerate(ids):
        rng = np.random.default_rng(seed)
        first, second = (rng.normal(size=shape).astype(np.float32) for shape in ((8, 3), (3, 8)))
        layers = (
            DenseLayer(first, np.zeros(8, np.float32), "tanh"),
            DenseLayer(second * np.float32(1e5 if certain else 1), np.zeros(3, np.float32), "linear"),
        )
        make = numpy_distribution(distribution_config(ACT))
        made[key] = cls(RLModuleConfig(observation_space=OBS, action_space=ACT), NumpyLayers(layers), make)
    return made


OWN = dict(zip(LENGTHS, "abcd", strict=True)).__getitem__


def runner_of(
    modules: Mapping[str, RLModule], mapping: PolicyMapping, learns: Sequence[str] = "abcd"
) -> MultiAgentEnvRunner:
    return MultiAgentEnvRunner(
        SyncMultiAgentVectorEnv([Turns() for _ in range(3)]),
        modules,
        mapping,
        numpy_bridge,  # type: ignore[arg-type]  # all that acting takes of a bridge
        learns=lambda: [key for key in learns if key in modules],
        seed=4,
    )


def assert_same(actual: Mapping[str, Fragment], expected: Mapping[str, Fragment]) -> None:
    assert actual.keys() == expected.keys()
    for key, fragment in actual.items():
        for name in vars(fragment):
            pair = (leaves(getattr(each, name)) for each in (fragment, expected[key]))
            for one, other in zip(*pair, strict=True):
                if name == "action_logp":
                    np.testing.assert_allclose(one, other, atol=1e-5)
                else:
                    np.testing.assert_array_equal(one, other, err_msg=f"{key}.{name}")


def test_policies_of_equal_structure_act_together_and_others_by_themselves() -> None:
    modules = [*policies(NumpyPolicy).values(), *policies(Alone).values()]
    one, *_ = policies(NumpyPolicy).values()
    crews = Crews({0: one, **dict(enumerate(modules, start=2))}, numpy_bridge, np.random.default_rng(0))  # type: ignore[arg-type]
    assert crews.members == [[0, 2, 3, 4, 5], [6], [7], [8], [9]]
    assert crews.crew_of.tolist() == [0, -1, 0, 0, 0, 0, 1, 2, 3, 4]
    assert crews.place_of.tolist() == [0, 0, 1, 2, 3, 4, 0, 0, 0, 0]


def test_a_crew_records_for_each_module_what_it_records_alone() -> None:
    together, alone = (runner_of(policies(cls), OWN) for cls in (NumpyPolicy, Alone))
    for steps in (7, 3, 1, 20, 31):  # after 10 the steps of two of them are open
        fragments = together.collect(steps)
        assert_same(fragments, alone.collect(steps))
        assert steps < 7 or len(fragments) == 4
    assert together.episodes.get_state() == alone.episodes.get_state()


def test_the_fragments_of_a_crew_share_no_memory() -> None:
    fragments = runner_of(policies(NumpyPolicy), OWN).collect(20)
    columns = [
        column
        for fragment in fragments.values()
        for part in vars(fragment).values()
        for column in leaves(part)
    ]
    arrays = [column for column in columns if isinstance(column, np.ndarray)]
    for number, one in enumerate(arrays):
        assert not any(np.may_share_memory(one, other) for other in arrays[number + 1 :])


def test_evaluation_in_a_crew_plays_the_episodes_that_its_modules_play_alone() -> None:
    played = [
        evaluate_agents(
            SyncMultiAgentVectorEnv([Turns() for _ in range(3)]),
            policies(cls),
            OWN,
            numpy_bridge,  # type: ignore[arg-type]
            explore=False,
            seed=2,
        )
        for cls in (NumpyPolicy, Alone)
    ]
    assert played[0].get_state() == played[1].get_state()
    assert len({total for total, _length in played[0].recent}) == 3


def test_a_module_that_shares_a_crew_with_one_that_does_not_learn_records_the_same() -> None:
    every, some = runner_of(policies(NumpyPolicy), OWN), runner_of(policies(NumpyPolicy), OWN, learns="bd")
    for steps in (7, 1, 20):
        expected = every.collect(steps)
        assert_same(some.collect(steps), {key: expected[key] for key in "bd" if key in expected})
    assert every.episodes.get_state() == some.episodes.get_state()


def test_modules_join_and_leave_a_crew_between_two_collects_and_keep_their_open_steps() -> None:
    found: list[list[dict[str, Fragment]]] = []
    for cls in (NumpyPolicy, Alone):
        known = policies(cls, certain=True)
        modules = {key: known[key] for key in "abd"}
        mapping = {"ann": "a", "bob": "a", "cy": "b", "dot": "d"}
        runner = runner_of(modules, mapping.__getitem__)
        parts = [runner.collect(7), runner.collect(1)]
        modules["c"] = known["c"]
        mapping["bob"] = "c"  # from the next episode on
        parts += [runner.collect(5), runner.collect(1), runner.collect(14)]
        mapping["cy"] = "c"
        del modules["b"]
        runner.forget("b")
        parts += [runner.collect(1), runner.collect(20)]
        found.append(parts)
    for together, alone in zip(*found, strict=True):
        assert_same(together, alone)
    assert [sorted(part) for part in found[0]][4:] == [["a", "b", "c", "d"], ["a", "c", "d"], ["a", "c", "d"]]


def test_an_agent_has_a_row_with_each_module_that_acts_for_it_in_one_fragment() -> None:
    found = []
    for cls in (NumpyPolicy, Alone):
        turns = cycle("abcb")
        mapping = lambda agent, turns=turns: "d" if agent == "dot" else next(turns)  # noqa: E731
        runner = runner_of(policies(cls, certain=True), mapping)
        found.append([runner.collect(steps) for steps in (20, 7, 30)])
    for together, alone in zip(*found, strict=True):
        assert_same(together, alone)
    assert sum(len(found[0][0][key].lengths) for key in "abc") > 3 * 3  # pairs of an agent and an environment


# --- modules of the frameworks -------------------------------------------------------------------

KINDS = {
    "agent_0": {"fcnet_hiddens": [8]},
    "agent_1": {"fcnet_hiddens": [8], "use_lstm": True, "lstm_cell_size": 4, "max_seq_len": 6},
    "agent_2": {"fcnet_hiddens": [8]},
    "agent_3": {"fcnet_hiddens": [9]},
    "agent_4": {"fcnet_hiddens": [8], "fcnet_activation": "gelu"},  # which has no NumPy form
    "agent_5": {"fcnet_hiddens": [8]},
}


def built(framework: str) -> PPO:
    recipes = {agent: SingleAgentRLModuleSpec(model_config_dict=model) for agent, model in KINDS.items()}
    return (
        PPOConfig()
        .environment(MultiAgentCartPole, env_config={"num_agents": len(KINDS)})
        .framework(framework)
        .env_runners(num_envs_per_env_runner=3)
        .multi_agent(policies=recipes, policy_mapping_fn=lambda agent: agent)
        .training(train_batch_size=60, minibatch_size=20, num_epochs=2, lr=0.03)
        .debugging(seed=1)
        .build()
    )


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_modules_of_every_kind_act_side_by_side_with_the_weights_of_their_last_update(framework: str) -> None:
    with built(framework) as algorithm:
        bridge = algorithm.framework.bridge
        numbered = {number: algorithm.get_module(agent) for number, agent in enumerate(KINDS)}
        assert Crews(numbered, bridge, np.random.default_rng(0)).members == [[0, 2, 5], [1], [3], [4]]
        for _ in range(3):
            fragments = algorithm.pool.sample(3 * 20)
            assert fragments.keys() == KINDS.keys()
            for agent, (fragment,) in fragments.items():
                said = evaluate_fragment(fragment, algorithm.get_module(agent), bridge)
                difference = np.abs(said.logp - fragment.action_logp) * fragment.mask
                assert difference.max() < 1e-4, agent
            algorithm.train()
