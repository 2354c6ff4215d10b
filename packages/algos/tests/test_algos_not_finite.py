"""Numbers that are not finite: a batch is skipped, many in a row end the run, and none gets to the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from rlmodule_algos import Algorithm, APPOConfig, BCConfig, ImpalaConfig, LearnerError, PPOConfig
from rlmodule_algos.frameworks import Framework
from rlmodule_algos.testing import CrossedAgents
from rlmodule_core import CheckpointError
from rlmodule_core.state import flatten_state, nest_state

FRAMEWORKS = [name for name, package in {"torch": "torch", "tf": "tensorflow"}.items() if find_spec(package)]
CONFIGS: dict[str, Any] = {"ppo": PPOConfig, "impala": ImpalaConfig, "appo": APPOConfig, "bc": BCConfig}
SAMPLING = ["ppo", "impala", "appo"]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Compute with one thread: for networks as small as these two are many times slower."""
    with Framework("torch").bridge.threads(1):
        yield


class Paying(gym.Env[Any, Any]):
    """Pays what it is told to, in every step; episodes last five steps."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (2,))
    action_space = gym.spaces.Discrete(2)
    reward = 1.0

    def __init__(self, settings: Any) -> None:
        self.t = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.t = 0
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> Any:
        self.t += 1
        return np.zeros(2, np.float32), Paying.reward, self.t == 5, False, {}


@pytest.fixture
def pay() -> Iterator[Callable[[float], None]]:
    yield lambda reward: setattr(Paying, "reward", reward)
    Paying.reward = 1.0


def config(name: str, framework: str = "torch") -> Any:
    made = CONFIGS[name]().environment(Paying).framework(framework).debugging(seed=0)
    made.training(train_batch_size=64, model={"fcnet_hiddens": [8]})
    if name in ("ppo", "bc"):
        made.training(minibatch_size=32, num_epochs=1)
    if name == "bc":
        return made.offline_data(input_=[episode() for _ in range(20)])
    return made.env_runners(num_envs_per_env_runner=8, rollout_fragment_length=8)


def episode() -> dict[str, Any]:
    return {
        "obs": np.zeros((6, 2), np.float32),
        "actions": np.array([0, 1, 0, 1, 1]),
        "rewards": np.ones(5, np.float32),
        "terminated": np.arange(5) == 4,
        "truncated": np.zeros(5, np.bool_),
    }


def spoil(algorithm: Algorithm[Any], module_id: str = "default_policy", value: float = np.nan) -> str:
    """Put a number that is not finite among the weights of a module; returns the name of the tensor."""
    module = algorithm.get_module(module_id)
    state = dict(flatten_state(module.get_state()))
    name = next(key for key in state if "bias" in key and key.startswith("pi"))
    state[name] = np.full_like(state[name], value)
    module.set_state(nest_state(state))
    return name


def iterations_until(algorithm: Algorithm[Any], error: type[Exception]) -> tuple[int, str]:
    for count in range(1, 50):
        try:
            algorithm.train()
        except error as raised:
            return count, str(raised)
    pytest.fail("it went on")


# --- in a row -------------------------------------------------------------------------------------


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", CONFIGS)
def test_ten_batches_in_a_row_without_a_finite_gradient_end_the_run_and_say_what_was_first(
    name: str, framework: str
) -> None:
    with config(name, framework).build() as algorithm:
        algorithm.train()
        tensor = spoil(algorithm)
        count, said = iterations_until(algorithm, LearnerError)

    assert count == (10 if name != "appo" else 9)  # APPO's buffer held a batch from before
    assert "module 'default_policy'" in said
    assert "10 batches in a row" in said
    assert f"not finite first: {tensor} (nan)" in said
    assert "restore an older checkpoint" in said


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", SAMPLING)
@pytest.mark.filterwarnings("error::RuntimeWarning")  # NumPy's own words about them would come first
def test_rewards_whose_square_is_not_finite_end_the_run_with_finite_weights(
    name: str, framework: str, pay: Callable[[float], None]
) -> None:
    pay(1e30)
    with config(name, framework).build() as algorithm:
        before = flatten_state(algorithm.modules.get_state())
        _, said = iterations_until(algorithm, LearnerError)
        after = flatten_state(algorithm.modules.get_state())

    assert "not finite first: vf_loss of the loss (inf)" in said
    for key, array in before.items():
        np.testing.assert_array_equal(after[key], array)


@pytest.mark.parametrize("name", SAMPLING)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_rewards_whose_sum_is_not_finite_end_the_run_without_a_word_of_numpy(
    name: str, pay: Callable[[float], None]
) -> None:
    pay(3e38)
    with config(name).build() as algorithm:
        _, said = iterations_until(algorithm, LearnerError)

    assert "not finite first: advantages of the batch (nan)" in said


def test_bc_has_not_learned_from_steps_whose_gradient_was_not_finite() -> None:
    with config("bc").build() as algorithm:
        before = algorithm.train()["learners"]["default_policy"]["num_steps_trained"]
        spoil(algorithm)
        skipped = algorithm.train()["learners"]["default_policy"]
        steps = algorithm.env_steps

    assert before == steps > 0
    assert (skipped["num_steps_trained"], skipped["num_updates"]) == (0, 0)


@pytest.mark.parametrize("name", SAMPLING)
def test_skipped_batches_with_others_in_between_end_nothing(name: str) -> None:
    skipped = 0
    with config(name).build() as algorithm:
        algorithm.train()
        for _ in range(4):
            good = algorithm.modules.get_state()
            spoil(algorithm)
            for _ in range(3):
                skipped += algorithm.train()["learners"]["default_policy"]["num_skipped_updates"]
            algorithm.modules.set_state(good)
            for _ in range(3):  # whatever was sampled with NaN is used up
                algorithm.train()

    assert skipped >= 12


@pytest.mark.parametrize("name", SAMPLING)
def test_the_error_comes_again_until_an_older_checkpoint_is_restored(name: str, tmp_path: Path) -> None:
    with config(name).build() as algorithm:
        algorithm.train()
        algorithm.save(tmp_path)
        spoil(algorithm)
        iterations_until(algorithm, LearnerError)
        with pytest.raises(LearnerError, match="11 batches in a row"):
            algorithm.train()
        algorithm.restore(tmp_path)
        spoil(algorithm)
        count, _ = iterations_until(algorithm, LearnerError)
        assert count >= 5  # counted anew: APPO takes two steps an iteration
        algorithm.restore(tmp_path)

        assert algorithm.train()["learners"]["default_policy"]["num_skipped_updates"] == 0


def same_name(agent: str) -> str:
    return agent


def test_the_module_at_fault_is_named_among_others_that_learn() -> None:
    made = PPOConfig().environment(CrossedAgents).multi_agent(policy_mapping_fn=same_name)
    made.training(train_batch_size=40, minibatch_size=40, num_epochs=1, model={"fcnet_hiddens": [8]})
    with made.env_runners(num_envs_per_env_runner=4).debugging(seed=0).build() as algorithm:
        tensor = spoil(algorithm, "a1")
        _, said = iterations_until(algorithm, LearnerError)

    assert "module 'a1'" in said
    assert tensor in said


# --- on disk --------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", CONFIGS)
def test_weights_that_are_not_finite_are_not_saved_and_an_older_checkpoint_stays(
    name: str, framework: str, value: float, tmp_path: Path
) -> None:
    with config(name, framework).build() as algorithm:
        older = algorithm.save(tmp_path)
        algorithm.iteration = 1
        tensor = spoil(algorithm, value=value)
        with pytest.raises(CheckpointError) as caught:
            algorithm.save(tmp_path)

        assert f"module 'default_policy': {tensor} ({value})" in str(caught.value)
        assert "restore an older checkpoint" in str(caught.value)
        assert list(tmp_path.iterdir()) == [older]
        algorithm.restore(tmp_path)
        algorithm.save(tmp_path / "again")


def test_a_module_that_does_not_learn_is_not_saved_with_nan_either(tmp_path: Path) -> None:
    made = PPOConfig().environment(CrossedAgents)
    made.multi_agent(policy_mapping_fn=same_name, policies_to_train=["a0"])
    with made.training(model={"fcnet_hiddens": [8]}).build() as algorithm:
        spoil(algorithm, "a2")
        with pytest.raises(CheckpointError, match="module 'a2': "):
            algorithm.save(tmp_path)

    assert not list(tmp_path.iterdir())


def test_a_constant_of_a_module_may_be_infinite(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from rlmodule_algos.ppo import PPOTorchRLModule
    from rlmodule_core import SingleAgentRLModuleSpec

    class Masking(PPOTorchRLModule):  # type: ignore[misc, unused-ignore]
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.register_buffer("floor", torch.full((2,), -torch.inf))

    made = config("ppo").rl_module(rl_module_spec=SingleAgentRLModuleSpec(module_class=Masking))
    with made.build() as algorithm:
        algorithm.save(tmp_path)
