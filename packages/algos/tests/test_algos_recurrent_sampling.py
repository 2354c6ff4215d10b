"""What a module with a memory is said to have thought while acting is what it thought.

The oracle unrolls every row by hand, one step at a time, and starts afresh where an episode begins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from rlmodule_algos import PPOConfig
from rlmodule_algos.batching import Evaluation, Fragment, evaluate_fragment
from rlmodule_algos.envs import EnvStream, Transition
from rlmodule_algos.frameworks import Bridge, Framework
from rlmodule_algos.ppo import PPO, PPOTorchRLModule
from rlmodule_algos.sampling import Actor, Draw
from rlmodule_algos.testing import RepeatPrevious
from rlmodule_core import RLModule, SingleAgentRLModuleSpec
from rlmodule_core.nest import Nest, leaves, map_nest

FRAMEWORKS = [name for name, package in {"torch": "torch", "tf": "tensorflow"}.items() if find_spec(package)]
Array = npt.NDArray[Any]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Compute with one thread: for networks as small as these two are many times slower."""
    with Framework("torch").bridge.threads(1):
        yield


def poles(mode: AutoresetMode) -> Any:
    """Four poles that fall early or are truncated after 15 steps."""

    def make(settings: Mapping[str, Any]) -> VectorEnv[Any, Any, Any]:
        one = lambda: gym.make("CartPole-v1", max_episode_steps=15)  # noqa: E731
        return SyncVectorEnv([one] * 4, autoreset_mode=mode)

    return make


ENVS: dict[str, Any] = {str(mode.value): poles(mode) for mode in AutoresetMode}
ENVS["task"] = lambda settings: RepeatPrevious({"num_envs": 4})


class Tilted(PPOTorchRLModule):
    """Its initial state is not 0, so that a state of zeros is not one by chance."""

    def get_initial_state(self) -> dict[str, Any]:
        state: dict[str, Any] = map_nest(lambda leaf: leaf + np.float32(0.5), super().get_initial_state())
        return state


def built(env: str, framework: str = "torch", **model: Any) -> PPO:
    config = (
        PPOConfig()
        .environment(ENVS.get(env, env))
        .framework(framework)
        .env_runners(num_envs_per_env_runner=4)
        .training(
            model={"fcnet_hiddens": [8], "lstm_cell_size": 8, "max_seq_len": 5, **model},
            train_batch_size=88,
            minibatch_size=44,
            num_epochs=2,
            lr=0.03,
        )
        .debugging(seed=3)
    )
    if framework == "torch":
        config.rl_module(rl_module_spec=SingleAgentRLModuleSpec(module_class=Tilted))
    return config.build()


def sampled(algorithm: PPO, steps: int) -> Fragment:
    (fragment,) = algorithm.pool.sample(4 * steps)["default_policy"]
    return fragment


def evaluated(algorithm: PPO, fragment: Fragment) -> Evaluation:
    return evaluate_fragment(fragment, algorithm.get_module(), algorithm.framework.bridge)


# --- ratio one --------------------------------------------------------------------------------

CASES = [
    *((env, {"use_lstm": True}) for env in ["CartPole-v1", *ENVS]),
    ("task", {"use_lstm": True, "max_seq_len": 20}),
    ("NextStep", {"use_gru": True, "max_seq_len": 20}),
    ("Disabled", {"use_gru": True, "vf_share_layers": True}),
    ("SameStep", {"use_lstm": True, "vf_share_layers": True, "max_seq_len": 20}),
    ("NextStep", {"use_lstm": True, "burn_in": 2}),
    ("task", {"use_gru": True, "burn_in": 2, "normalize_observations": True}),
]


@pytest.mark.parametrize(("env", "model"), CASES)
def test_recomputed_log_probs_equal_those_of_acting_over_fragments_with_training_between(
    env: str, model: dict[str, Any]
) -> None:
    with built(env, **model) as algorithm:
        for steps in (23, 1, 7, 23):  # none divides an episode
            fragment = sampled(algorithm, steps)
            gap = np.abs(evaluated(algorithm, fragment).logp - fragment.action_logp)[fragment.mask]
            assert gap.max(initial=0.0) < 1e-4
            before = map_nest(np.copy, algorithm.get_module().get_state())
            algorithm.train()
            after = algorithm.get_module().get_state()
            assert any((a != b).any() for a, b in zip(leaves(before), leaves(after), strict=True))


@pytest.mark.skipif("tf" not in FRAMEWORKS, reason="needs TensorFlow")
def test_recomputed_log_probs_and_values_equal_a_step_by_step_pass_in_tensorflow_too() -> None:
    with built("NextStep", "tf", use_lstm=True) as algorithm:
        algorithm.train()
        fragment = sampled(algorithm, 23)
        actual = evaluated(algorithm, fragment)
        assert np.abs(actual.logp - fragment.action_logp)[fragment.mask].max() < 1e-4
        assert_equals_unrolled(fragment, actual, algorithm)


# --- a literal oracle -------------------------------------------------------------------------


class Thought(NamedTuple):
    value: float
    logits: Array
    state: Nest  # after the step


def think(module: RLModule, bridge: Bridge, obs: Nest, state: Nest) -> Thought:
    """Show one observation, as a sequence of one step."""
    batch = {
        "obs": map_nest(lambda leaf: leaf[None, None], obs),
        "state_in": map_nest(lambda leaf: leaf[None], state),
        "mask": np.ones((1, 1), np.bool_),
    }
    tensors = {name: bridge.to_tensors(column) for name, column in batch.items()}
    with bridge.no_grad():
        output = module.forward_train(tensors)
    after = map_nest(lambda leaf: leaf[0], bridge.to_numpy(output["state_out"]))
    value = bridge.to_numpy(output["vf_preds"])[0, 0]
    return Thought(float(value), bridge.to_numpy(output["action_dist"].inputs)[0, 0], after)


def assert_equals_unrolled(fragment: Fragment, actual: Evaluation, algorithm: PPO) -> None:
    module, bridge, starts = algorithm.get_module(), algorithm.framework.bridge, fragment.sequences
    assert starts is not None
    assert actual.dist_inputs is not None
    first = {tuple(place): k for k, place in enumerate(starts.index.tolist())}
    final = {tuple(place): k for k, place in enumerate(fragment.final_index.tolist())}
    for row, length in enumerate(fragment.lengths.tolist()):
        state: Nest = None
        for t in range(length):
            if t == 0:
                state = map_nest(lambda leaf: leaf[first[0, row]], starts.state)  # noqa: B023  # used at once
            elif (t - 1, row) in final:
                state = module.get_initial_state()
            thought = think(module, bridge, fragment.obs[t, row], state)
            state, ends = thought.state, final.get((t, row))
            successor = fragment.obs[t + 1, row] if ends is None else fragment.final_obs[ends]
            following = think(module, bridge, successor, state).value
            p = np.exp(thought.logits.astype(np.float64))
            logp = np.log(p[fragment.actions[t, row]] / p.sum())
            np.testing.assert_allclose(actual.values[t, row], thought.value, atol=2e-5)
            if not fragment.terminated[t, row]:
                np.testing.assert_allclose(actual.next_values[t, row], following, atol=2e-5)
            np.testing.assert_allclose(actual.logp[t, row], logp, atol=2e-5)
            np.testing.assert_allclose(actual.dist_inputs[t, row], thought.logits, atol=2e-5)


@pytest.mark.parametrize("env", ENVS)
@pytest.mark.parametrize(
    "model",
    [{"use_lstm": True}, {"use_gru": True, "vf_share_layers": True, "burn_in": 2, "max_seq_len": 6}],
    ids=["lstm", "gru with burn-in"],
)
def test_values_successors_and_log_probs_equal_those_of_a_pass_step_by_step(
    env: str, model: dict[str, Any]
) -> None:
    ends: set[str] = set()
    with built(env, **model) as algorithm:
        algorithm.train()
        for _ in range(4):
            fragment = sampled(algorithm, 17)
            actual = evaluated(algorithm, fragment)
            assert_equals_unrolled(fragment, actual, algorithm)
            assert actual.index is not None
            ends |= where_episodes_end(fragment, actual)
    assert "ends a sequence that is full" in ends
    assert ends >= ({"terminated"} if env == "task" else {"terminated", "truncated"})


def where_episodes_end(fragment: Fragment, actual: Evaluation) -> set[str]:
    """Name the kinds of ends that occurred, so that no test passes for want of one."""
    assert actual.index is not None
    found = {name for name in ("terminated", "truncated") if getattr(fragment, name).any()}
    full = actual.index.lengths == actual.index.time.shape[1]
    ended = actual.index.final >= 0
    return found | ({"ends a sequence that is full"} if (full & ended).any() else set())


# --- the states that are stored -----------------------------------------------------------------


class Acted(NamedTuple):
    """One call of the module, and which rows were only being reset."""

    before: Nest
    after: Nest
    resets: Array


def spied(monkeypatch: pytest.MonkeyPatch) -> list[Acted]:
    """Write down every call that acts, as it happens."""
    calls: list[Acted] = []
    act, step = Actor.act, EnvStream.step

    def spy_act(self: Actor, obs: Nest, state: Nest = None, *, explore: bool) -> Draw:
        before = map_nest(np.copy, state)
        draw = act(self, obs, state, explore=explore)
        calls.append(Acted(before, map_nest(np.copy, draw.state), np.zeros(4, np.bool_)))
        return draw

    def spy_step(self: EnvStream, actions: Nest) -> Transition:
        transition = step(self, actions)
        if transition.resets is not None:
            calls[-1].resets[:] = transition.resets
        return transition

    monkeypatch.setattr(Actor, "act", spy_act)
    monkeypatch.setattr(EnvStream, "step", spy_step)
    return calls


@pytest.mark.parametrize("env", ENVS)
def test_the_stored_state_is_the_initial_one_where_an_episode_begins_and_elsewhere_that_of_acting(
    env: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = spied(monkeypatch)
    begun, carried = 0, 0
    with built(env, use_lstm=True) as algorithm:
        initial = leaves(algorithm.get_module().get_initial_state())
        begins = [True] * 4  # whether each row's next step is the first of an episode
        last: list[Any] = [None] * 4
        for steps in (17, 1, 23):
            calls.clear()
            fragment = sampled(algorithm, steps)
            assert fragment.sequences is not None
            stored = {tuple(place): k for k, place in enumerate(fragment.sequences.index.tolist())}
            for row, length in enumerate(fragment.lengths.tolist()):
                mine = [call for call in calls if not call.resets[row]]
                assert len(mine) == length
                for t, call in enumerate(mine):
                    expected = initial if begins[row] else last[row]
                    before = [leaf[row] for leaf in leaves(call.before)]
                    assert all((a == b).all() for a, b in zip(before, expected, strict=True))
                    if (t, row) in stored:
                        kept = [leaf[stored[t, row]] for leaf in leaves(fragment.sequences.state)]
                        assert all((a == b).all() for a, b in zip(kept, expected, strict=True))
                        begun, carried = begun + begins[row], carried + (not begins[row])
                    assert (t, row) in stored or not (begins[row] or t == 0)
                    begins[row] = bool(fragment.terminated[t, row] | fragment.truncated[t, row])
                    last[row] = [leaf[row] for leaf in leaves(call.after)]
    assert begun > 4
    assert carried > 4
