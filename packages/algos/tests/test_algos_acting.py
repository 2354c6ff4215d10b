"""What is drawn, what the environment gets of it, and the log-probs that are kept."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
import torch.distributions as td
from gymnasium import spaces

from rlmodule_algos import Policy
from rlmodule_algos.batching import Fragment
from rlmodule_algos.bc.bc import bc_module_loss
from rlmodule_algos.envs import EnvStream, make_vector_env
from rlmodule_algos.frameworks import Framework
from rlmodule_algos.ppo.module_torch import PPOTorchRLModule
from rlmodule_algos.sampling import EnvRunner, action_filter, evaluate_episodes
from rlmodule_catalogs import PPOCatalog
from rlmodule_core import SingleAgentRLModuleSpec, initial_weights_from
from rlmodule_torch import TorchRLModule

BRIDGE = Framework("torch").bridge
OBS = spaces.Box(-1.0, 1.0, (4,))
DISCRETE = spaces.Discrete(3, start=-1)
BOX = spaces.Box(np.array([-0.5, -0.1], np.float32), np.array([0.1, 0.5], np.float32))


class Drawn(gym.Env[Any, Any]):
    """Observations are drawn; the actions that arrive are kept."""

    def __init__(self, action_space: spaces.Space[Any]) -> None:
        self.observation_space, self.action_space = OBS, action_space
        self.arrived: list[Any] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        super().reset(seed=seed)
        return self.observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.arrived.append(np.copy(action))
        return self.observe(), 0.0, bool(self.np_random.random() < 0.2), False, {}

    def observe(self) -> Any:
        return self.np_random.uniform(-1.0, 1.0, 4).astype(np.float32)


class InTorch(PPOTorchRLModule):
    """The default module, without its NumPy form."""

    def numpy_form(self) -> None:
        return None


class Native(TorchRLModule):
    """A user's module that returns distributions of `torch.distributions`."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.discrete = isinstance(config.action_space, spaces.Discrete)
        self.layer = torch.nn.Linear(4, 3 if self.discrete else 2)

    def _forward_train(self, batch: Any, **kwargs: Any) -> Any:
        output = self.layer(batch["obs"])
        if self.discrete:
            return {"action_dist": td.Categorical(logits=output)}
        return {"action_dist": td.Independent(td.Normal(output, torch.full_like(output, 2.0)), 1)}

    _forward_exploration = _forward_inference = _forward_train


class NotIndependent(Native):
    """Forgets that the components belong together."""

    def _forward_exploration(self, batch: Any, **kwargs: Any) -> Any:
        return {"action_dist": td.Normal(self.layer(batch["obs"]), 1.0)}

    _forward_train = _forward_exploration


CLASSES = [PPOTorchRLModule, InTorch, Native]


def runner_of(
    module_class: type[TorchRLModule], action_space: spaces.Space[Any], seed: int = 3
) -> tuple[EnvRunner, list[Drawn], TorchRLModule]:
    made: list[Drawn] = []

    def make(settings: Any) -> Drawn:
        made.append(Drawn(action_space))
        return made[-1]

    spec = SingleAgentRLModuleSpec(
        module_class=module_class,
        observation_space=OBS,
        action_space=action_space,
        model_config_dict={"fcnet_hiddens": [8]},
        catalog_class=PPOCatalog,
    )
    BRIDGE.seed(seed)
    with initial_weights_from(0):
        module = spec.build()
    assert isinstance(module, TorchRLModule)
    stream = EnvStream(make_vector_env(make, {}, 3))
    return EnvRunner(stream, module, BRIDGE, seed=seed), made, module


def recomputed_logp(module: TorchRLModule, fragment: Fragment, action_space: spaces.Space[Any]) -> Any:
    """The log-probs of the actions that were kept, step by step, from the parameters and by the formulas."""
    result = np.zeros(fragment.actions.shape[:2])
    for t, b in np.ndindex(*result.shape):
        with torch.no_grad():
            given = module.forward_train({"obs": torch.from_numpy(fragment.obs[t, b][None])})["action_dist"]
        action = fragment.actions[t, b]
        if isinstance(action_space, spaces.Discrete):
            logits = given.logits[0] if isinstance(given, td.Categorical) else given.inputs[0]
            start = 0 if isinstance(given, td.Categorical) else int(action_space.start)
            p = np.exp(logits.double().numpy())
            result[t, b] = np.log(p[int(action) - start] / p.sum())
        else:
            native = isinstance(given, td.Distribution)
            mean = given.mean[0].double().numpy()
            std = np.full(2, 2.0) if native else np.exp(given.log_std[0].double().numpy())
            density = np.exp(-0.5 * ((action - mean) / std) ** 2) / (std * np.sqrt(2.0 * np.pi))
            result[t, b] = np.log(density).sum()
    return result


@pytest.mark.parametrize("action_space", [DISCRETE, BOX], ids=["Discrete", "Box"])
@pytest.mark.parametrize("module_class", CLASSES)
def test_kept_log_probs_are_those_of_the_kept_actions(
    module_class: type[TorchRLModule], action_space: spaces.Space[Any]
) -> None:
    if module_class is Native and action_space is DISCRETE:
        action_space = spaces.Discrete(3)  # native distributions know no start
    runner, _made, module = runner_of(module_class, action_space)
    assert (module.numpy_form() is not None) == (module_class is PPOTorchRLModule)
    fragment = runner.sample(20)
    assert fragment.action_logp.shape == (20, 3)
    assert fragment.action_logp.dtype == np.float32
    assert fragment.action_logp.std() > 0.0
    expected = recomputed_logp(module, fragment, action_space)
    np.testing.assert_allclose(fragment.action_logp, expected, atol=1e-5)


@pytest.mark.parametrize("module_class", CLASSES)
def test_box_actions_are_clipped_for_the_environment_and_kept_as_drawn(
    module_class: type[TorchRLModule],
) -> None:
    runner, made, _module = runner_of(module_class, BOX)
    drawn = runner.sample(20).actions
    assert (drawn < BOX.low).any()
    assert (drawn > BOX.high).any()
    arrived = np.stack([np.stack(env.arrived) for env in made], axis=1)
    np.testing.assert_array_equal(arrived, np.minimum(np.maximum(drawn, BOX.low), BOX.high))
    assert (arrived != drawn).any()
    assert all(BOX.contains(action) for env in made for action in env.arrived)


@pytest.mark.parametrize("low", [-np.inf, 0.0])
@pytest.mark.parametrize("high", [np.inf, 1.0])
def test_only_the_bounds_that_there_are_are_applied(low: float, high: float) -> None:
    fit = action_filter(spaces.Box(low, high, (3,), np.float64))
    actions = np.array([[-5.0, 0.5, 5.0]], np.float32)
    assert fit(actions).tolist() == [[max(-5.0, low), 0.5, min(5.0, high)]]
    assert actions.tolist() == [[-5.0, 0.5, 5.0]]


@pytest.mark.parametrize("module_class", [PPOTorchRLModule, InTorch])
def test_discrete_actions_begin_at_the_start_of_their_space(module_class: type[TorchRLModule]) -> None:
    runner, made, module = runner_of(module_class, DISCRETE)
    fragment = runner.sample(40)
    assert set(fragment.actions.ravel().tolist()) == {-1, 0, 1}
    assert np.stack([np.stack(env.arrived) for env in made], axis=1).tolist() == fragment.actions.tolist()

    stream = EnvStream(make_vector_env(lambda settings: made[0], {}, 1))
    evaluate_episodes(stream, module, BRIDGE, explore=False, seed=0)
    assert {int(action) for action in made[0].arrived[40:]} <= {-1, 0, 1}


def test_greedy_actions_are_the_modes_clipped() -> None:
    _runner, made, module = runner_of(PPOTorchRLModule, BOX)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if name.startswith("pi"):
                weight.mul_(50.0)
    stream = EnvStream(make_vector_env(lambda settings: made[0], {}, 1))
    stream.reset(0)
    obs = torch.from_numpy(np.array(stream.obs))
    mode = module.forward_inference({"obs": obs})["action_dist"].mean.numpy()
    evaluate_episodes(stream, module, BRIDGE, explore=False, seed=0)
    np.testing.assert_allclose(made[0].arrived[0], np.clip(mode[0], BOX.low, BOX.high), atol=1e-5)


@pytest.mark.parametrize("action_space", [spaces.Discrete(3), BOX], ids=["Discrete", "Box"])
@pytest.mark.parametrize("module_class", CLASSES)
def test_the_same_seed_gives_the_same_fragment_and_another_seed_another(
    module_class: type[TorchRLModule], action_space: spaces.Space[Any]
) -> None:
    first, again, other = (runner_of(module_class, action_space, seed)[0] for seed in (3, 3, 4))
    BRIDGE.seed(3)
    one = first.sample(20)
    BRIDGE.seed(3)
    two = again.sample(20)
    three = other.sample(20)
    for name in ("obs", "actions", "action_logp", "rewards", "terminated", "final_obs", "final_index"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert (one.actions != three.actions).any()
    assert (one.obs != three.obs).any()


def test_log_probs_of_single_components_are_refused_with_what_to_do() -> None:
    runner, _made, module = runner_of(NotIndependent, BOX)
    obs, actions = np.zeros((3, 4), np.float32), np.zeros((3, 2), np.float32)
    columns = BRIDGE.to_tensors({"obs": obs, "actions": actions})
    for call in (
        lambda: runner.sample(2),
        lambda: Policy(module).compute_log_likelihoods(actions, obs),
        lambda: bc_module_loss(module, Framework("torch"))(columns, {}),
    ):
        with pytest.raises(ValueError, match=r"NotIndependent.*\[3, 2\], expected \[3\].*Independent"):
            call()


def test_a_box_with_some_bounds_is_clipped_where_it_has_them() -> None:
    low, high = np.array([-0.1, -np.inf], np.float32), np.array([0.1, np.inf], np.float32)
    for_env = action_filter(spaces.Box(low, high))

    np.testing.assert_allclose(for_env(np.array([[3.0, 3.0], [-3.0, -3.0]])), [[0.1, 3.0], [-0.1, -3.0]])
