"""Policies: NumPy in and out, the three calls agree with each other and with the module itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

from rlmodule_algos import PPOConfig
from rlmodule_algos.envs import EnvStream
from rlmodule_algos.frameworks import Framework
from rlmodule_algos.policy import Policy
from rlmodule_algos.sampling import EnvRunner, evaluate_episodes
from rlmodule_algos.testing import Recall, RepeatPrevious
from rlmodule_catalogs import PPOCatalog
from rlmodule_core import NumpyCategorical, NumpyRLModule, RLModule, SingleAgentRLModuleSpec
from rlmodule_core.nest import Nest, leaves, map_nest
from rlmodule_torch import TorchRLModule

FRAMEWORKS = [name for name, package in {"torch": "torch", "tf": "tensorflow"}.items() if find_spec(package)]
OBS = spaces.Box(-1.0, 1.0, (3,))
NESTED = spaces.Dict(
    {
        "turn": spaces.Discrete(3, start=-1),
        "arm": spaces.Tuple([spaces.Box(-0.1, 0.1, (2,)), spaces.MultiBinary(2)]),
    }
)
SPACES: dict[str, gym.Space[Any]] = {
    "discrete": spaces.Discrete(4, start=3),
    "box": spaces.Box(-0.1, 0.1, (2,)),
    "nested": NESTED,
}
MODELS: dict[str, dict[str, Any]] = {
    "stateless": {},
    "lstm": {"use_lstm": True, "lstm_cell_size": 6},
    "gru": {"use_gru": True, "lstm_cell_size": 6},
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Compute with one thread: for networks as small as these two are many times slower."""
    with Framework("torch").bridge.threads(1):
        yield


class Native(TorchRLModule):
    """A user's module: its distribution is torch's own."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.layer = torch.nn.Linear(3, 4)

    def _forward_train(self, batch: Mapping[str, Any], **kwargs: Any) -> dict[str, Any]:
        return {"action_dist": torch.distributions.Categorical(logits=self.layer(batch["obs"]))}

    _forward_exploration = _forward_inference = _forward_train


def module_of(framework: str, space: gym.Space[Any], model: dict[str, Any]) -> RLModule:
    return SingleAgentRLModuleSpec(
        module_class=Framework(framework).algorithm_part("ppo", "module").DEFAULT_MODULE,
        observation_space=OBS,
        action_space=space,
        model_config_dict={"fcnet_hiddens": [8], **model},
        catalog_class=PPOCatalog,
    ).build()


def observations(rows: int) -> Any:
    return np.random.default_rng(rows).uniform(-1.0, 1.0, (rows, 3)).astype(np.float32)


def some_state(module: RLModule, rows: int) -> Nest:
    rng = np.random.default_rng(rows)
    return map_nest(
        lambda leaf: rng.normal(size=(rows, *leaf.shape)).astype(np.float32), module.get_initial_state()
    )


def assert_same(one: Nest, other: Nest) -> None:
    for a, b in zip(leaves(one), leaves(other), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("space", SPACES)
def test_the_calls_agree_with_each_other_and_log_likelihoods_with_what_was_drawn(
    framework: str, model: str, space: str
) -> None:
    module = module_of(framework, SPACES[space], MODELS[model])
    obs, state = observations(5), some_state(module, 5)
    for explore in (True, False):
        drawn = Policy(module, seed=7).compute_actions(obs, state, explore)
        columns = {"obs": obs, "state_in": state}
        again = Policy(module, seed=7).compute_actions_from_input_dict(columns, explore)
        for part, other in zip(drawn, again, strict=True):
            assert_same(part, other)
        assert all(isinstance(leaf, np.ndarray) and len(leaf) == 5 for leaf in leaves(drawn))
        assert drawn.extra["action_logp"].shape == (5,)
        assert len(leaves(drawn.state_outs)) == len(leaves(state))

        likely = Policy(module).compute_log_likelihoods(drawn.actions, obs, state)
        assert likely.shape == (5,)
        np.testing.assert_allclose(likely, drawn.extra["action_logp"], atol=1e-5)

        one = Policy(module, seed=3).compute_single_action(
            obs[2], map_nest(lambda leaf: leaf[2], state), explore
        )
        row = Policy(module, seed=3).compute_actions(
            obs[2:3], map_nest(lambda leaf: leaf[2:3], state), explore
        )
        assert_same(one.actions, map_nest(lambda leaf: leaf[0], row.actions))
        assert_same(one.state_outs, map_nest(lambda leaf: leaf[0], row.state_outs))
        assert one.extra["action_logp"].shape == ()


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("model", MODELS)
def test_log_probs_are_those_of_the_flat_parameters_and_greedy_actions_the_most_likely(
    framework: str, model: str
) -> None:
    module = module_of(framework, SPACES["discrete"], MODELS[model])
    obs, state = observations(64), some_state(module, 64)
    for explore in (True, False):
        actions, _state, extra = Policy(module, seed=1).compute_actions(obs, state, explore)
        p = np.exp(extra["action_dist_inputs"].astype(np.float64))
        p /= p.sum(axis=-1, keepdims=True)
        assert p.shape == (64, 4)
        np.testing.assert_allclose(extra["action_logp"], np.log(p[np.arange(64), actions - 3]), atol=1e-5)
        assert set(actions.tolist()) <= {3, 4, 5, 6}
        assert ((actions - 3) == p.argmax(axis=-1)).all() != explore


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("model", ["lstm", "gru"])
def test_a_policy_that_is_given_its_state_back_says_what_one_pass_over_the_sequence_does(
    framework: str, model: str
) -> None:
    module, bridge = module_of(framework, SPACES["discrete"], MODELS[model]), Framework(framework).bridge
    obs, policy = observations(6), Policy(module)
    states: list[Nest] = [None]  # none given: the initial one
    inputs = []
    for one in obs:
        _action, after, extra = policy.compute_single_action(one, states[-1])
        states.append(after)
        inputs.append(extra["action_dist_inputs"])
    start = map_nest(lambda leaf: leaf[None], module.get_initial_state())
    batch = {"obs": bridge.to_tensors(obs[None]), "state_in": bridge.to_tensors(start)}
    with bridge.no_grad():
        whole = module.forward_train(batch)
    np.testing.assert_allclose(np.stack(inputs), bridge.to_numpy(whole["action_dist"].inputs)[0], atol=1e-5)
    assert_same(states[-1], map_nest(lambda leaf: leaf[0], bridge.to_numpy(whole["state_out"])))


def test_a_native_distribution_gives_log_probs_but_no_flat_parameters() -> None:
    module, obs = Native(None), observations(50)
    torch.manual_seed(0)
    for explore in (True, False):
        actions, state, extra = Policy(module).compute_actions(obs, explore=explore)
        logits = module.layer(torch.from_numpy(obs)).detach().double()
        expected = logits.log_softmax(dim=-1).numpy()[np.arange(50), actions]
        assert extra.keys() == {"action_logp"}
        assert state == {}
        np.testing.assert_allclose(extra["action_logp"], expected, atol=1e-5)
        np.testing.assert_allclose(Policy(module).compute_log_likelihoods(actions, obs), expected, atol=1e-5)
        assert (actions == logits.numpy().argmax(axis=-1)).all() != explore


def test_an_input_dict_without_observations_is_a_key_error_with_its_columns() -> None:
    with pytest.raises(KeyError, match=r"no column 'obs'; it has \['state_in'\]"):
        Policy(Native(None)).compute_actions_from_input_dict({"state_in": {}})


def test_a_policy_acts_with_the_weights_as_they_are_at_each_call() -> None:
    module = module_of("torch", SPACES["discrete"], {})
    policy, obs = Policy(module), observations(3)
    before = policy.compute_actions(obs, explore=False).extra["action_dist_inputs"]
    module.set_state(map_nest(lambda leaf: 0.0 * leaf, module.get_state()))
    after = policy.compute_actions(obs, explore=False).extra["action_dist_inputs"]
    assert np.abs(before).max() > 0.0
    assert not after.any()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_an_algorithm_returns_the_action_or_with_a_state_the_triple(framework: str) -> None:
    config = PPOConfig().environment("Pendulum-v1").framework(framework).debugging(seed=0)
    config.training(model={"fcnet_hiddens": [8], "use_lstm": True, "lstm_cell_size": 6})
    with config.build() as algorithm:
        obs, initial = observations(1)[0], algorithm.get_module().get_initial_state()
        action = algorithm.compute_single_action(obs)
        same, state, extra = algorithm.compute_single_action(obs, initial)
        other, *_ = algorithm.compute_single_action(obs, state)
    assert isinstance(action, np.ndarray)
    assert action.shape == (1,)
    np.testing.assert_array_equal(action, same)
    assert (other != same).any()
    assert extra["action_logp"].shape == ()
    map_nest(lambda leaf, like: np.testing.assert_equal(leaf.shape, like.shape), state, initial)


# --- evaluation carries the state ---------------------------------------------------------------


class Latched(NumpyRLModule):
    """Says the first token that it was shown, as long as its state is kept."""

    def _forward_exploration(self, batch: Any, **kwargs: Any) -> Any:
        token, known = batch["obs"][:, 0], batch["state_in"]["token"]
        kept = np.where(known.any(axis=-1, keepdims=True), known, token)
        return {"action_dist": NumpyCategorical(1e4 * kept[:, None]), "state_out": {"token": kept}}

    _forward_inference = _forward_train = _forward_exploration

    def get_initial_state(self) -> dict[str, Any]:
        return {"token": np.zeros(4, np.float32)}

    def get_state(self) -> dict[str, Any]:
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """It has no weights."""


class Delayed(Latched):
    """Says what it was shown two steps ago."""

    def _forward_exploration(self, batch: Any, **kwargs: Any) -> Any:
        known = batch["state_in"]["token"]  # [B, 2, 4] the last two, the older one first
        after = np.concatenate([known[:, 1:], batch["obs"]], axis=1)
        return {"action_dist": NumpyCategorical(1e4 * known[:, :1]), "state_out": {"token": after}}

    _forward_inference = _forward_train = _forward_exploration

    def get_initial_state(self) -> dict[str, Any]:
        return {"token": np.zeros((2, 4), np.float32)}


@pytest.mark.parametrize("explore", [False, True])
@pytest.mark.parametrize(("task", "module"), [(Recall, Latched()), (RepeatPrevious, Delayed())])
def test_a_module_that_remembers_gets_the_whole_return_of_a_task_of_memory(
    task: Any, module: NumpyRLModule, explore: bool
) -> None:
    stream, bridge = EnvStream(task({"num_envs": 12})), Framework("torch").bridge
    episodes = evaluate_episodes(stream, module, bridge, explore=explore, seed=0)
    assert [episode.episode_return for episode in episodes] == [task.scored_steps] * 12

    runner = EnvRunner(stream, module, bridge, seed=1)  # and so it does while sampling
    for steps in (7, 32, 1, 60):
        runner.sample(steps)
    assert runner.episodes.num_episodes >= 12 * 3
    assert {episode.episode_return for episode in runner.episodes.recent} == {float(task.scored_steps)}
