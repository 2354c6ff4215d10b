"""PPO's adaptive KL penalty and what belongs to each module alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from rlmodule_algos import PPO, MultiAgentCartPole, PPOConfig
from rlmodule_algos.batching import counted
from rlmodule_algos.frameworks import Framework
from rlmodule_algos.learning import adapted_kl_coefficient
from rlmodule_core import Columns
from rlmodule_core.nest import map_nest

FRAMEWORKS = [name for name, package in {"torch": "torch", "tf": "tensorflow"}.items() if find_spec(package)]
LSTM: dict[str, Any] = {"fcnet_hiddens": [8], "use_lstm": True, "lstm_cell_size": 8}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Compute with one thread: for networks as small as these two are many times slower."""
    with Framework("torch").bridge.threads(1):
        yield


def config(env: Any = "CartPole-v1", **training: Any) -> PPOConfig:
    small = {
        "train_batch_size": 128,
        "minibatch_size": 128,
        "num_epochs": 1,
        "model": {"fcnet_hiddens": [8]},
        "use_kl_loss": True,
        "lr": 1e-2,
    }
    return PPOConfig().environment(env).training(**{**small, **training}).debugging(seed=0)


def two_agents(**training: Any) -> PPOConfig:
    chosen = config(MultiAgentCartPole, **training).multi_agent(policy_mapping_fn=str)
    return chosen.environment(env_config={"num_agents": 2})


def built(config: PPOConfig) -> PPO:
    algorithm = config.build()
    assert isinstance(algorithm, PPO)
    return algorithm


def batches_of(algorithm: PPO, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Note every batch that is learned from."""
    seen: list[dict[str, Any]] = []
    update = algorithm.learner.update

    def noted(module_id: str, batch: Mapping[str, Any], **rest: Any) -> Any:
        seen.append({name: map_nest(np.copy, column) for name, column in batch.items()})
        return update(module_id, batch, **rest)

    monkeypatch.setattr(algorithm.learner, "update", noted)
    return seen


def probabilities(algorithm: PPO, obs: Any) -> Any:
    logits = algorithm.get_policy().compute_actions(obs).extra["action_dist_inputs"].astype(np.float64)
    unnormed = np.exp(logits)
    return unnormed / unnormed.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_penalty_adapts_to_how_far_the_whole_update_moved_the_policy_also_of_one_step(
    framework: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with built(config(kl_target=1e-6).framework(framework)) as algorithm:
        seen = batches_of(algorithm, monkeypatch)
        learned = algorithm.train()["learners"]["default_policy"]
        after = probabilities(algorithm, seen[0]["obs"])
        again = algorithm.train()["learners"]["default_policy"]

    old = np.exp(seen[0]["action_dist_inputs"].astype(np.float64))
    old /= old.sum(axis=-1, keepdims=True)
    moved = (old * np.log(old / after)).sum(axis=-1).mean()
    assert learned["num_updates"] == 1
    assert abs(learned["mean_kl"]) < 1e-6  # of the loss, before the step
    assert learned["kl_after_update"] == pytest.approx(moved, rel=1e-3)
    assert moved > 1.5e-6
    assert (learned["curr_kl_coeff"], again["curr_kl_coeff"]) == (0.2, 0.4)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_kl_of_sequences_is_a_mean_over_their_real_steps(
    framework: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with built(config(model=LSTM).framework(framework)) as algorithm:
        seen = batches_of(algorithm, monkeypatch)
        learned = algorithm.train()["learners"]["default_policy"]
        module, bridge = algorithm.get_module(), algorithm.framework.bridge
        names = ("obs", "state_in", "mask")
        with bridge.no_grad():
            output = module.forward_train({name: bridge.to_tensors(seen[0][name]) for name in names})
            new = bridge.as_distribution(output["action_dist"])
            old = new.with_inputs(bridge.to_tensors(seen[0]["action_dist_inputs"]))
            kl = bridge.to_numpy(old.kl(new))

    real = seen[0]["loss_mask"]
    assert not real.all()
    assert learned["kl_after_update"] == pytest.approx(kl[real].mean(), rel=1e-4)
    assert learned["kl_after_update"] != pytest.approx(kl.mean(), rel=1e-2)


def test_an_update_of_which_every_step_was_skipped_leaves_the_penalty_as_it_was() -> None:
    with built(config()) as algorithm:
        module: Any = algorithm.get_module()
        for parameter in module.vf.parameters():
            parameter.data.fill_(float("nan"))
        learned = [algorithm.train()["learners"]["default_policy"] for _ in range(2)]
    assert learned[0]["num_updates"] == 0
    assert learned[1]["curr_kl_coeff"] == 0.2


def test_the_keys_stay_the_same_and_without_the_penalty_there_is_no_such_key() -> None:
    with built(config(use_kl_loss=False)) as plain, built(config()) as penalised:
        assert "kl_after_update" not in plain.train()["learners"]["default_policy"]
        first, second = (penalised.train()["learners"]["default_policy"] for _ in range(2))
    assert first.keys() == second.keys()
    assert "kl_after_update" in first


def test_the_penalty_of_each_module_follows_its_own_kl() -> None:
    with built(two_agents()) as algorithm:
        moved = [learned["kl_after_update"] for learned in algorithm.train()["learners"].values()]
    target = max(moved) / 1.6  # too far for the one, and about right or too near for the other
    with built(two_agents(kl_target=target)) as algorithm:
        before, after = (algorithm.train()["learners"] for _ in range(2))
    expected = {
        key: adapted_kl_coefficient(0.2, mean_kl=learned["kl_after_update"], target=target)
        for key, learned in before.items()
    }
    assert {key: learned["curr_kl_coeff"] for key, learned in after.items()} == expected
    assert sorted(expected.values())[1] == 0.4
    assert len(set(expected.values())) == 2, "the two must differ, or a swap would not be seen"


def test_a_module_that_does_not_learn_has_no_penalty_of_its_own() -> None:
    with built(two_agents().multi_agent(policies_to_train=["agent_0"])) as algorithm:
        algorithm.train()
        assert set(algorithm.get_state()["kl_coeffs"]) == {"agent_0"}


def test_a_module_that_joins_under_the_id_of_one_that_left_begins_with_the_settings_penalty() -> None:
    with built(two_agents()) as algorithm:
        algorithm.train()
        left = algorithm.train()["learners"]["agent_1"]["curr_kl_coeff"]
        algorithm.remove_module("agent_1")
        assert set(algorithm.get_state()["kl_coeffs"]) == {"agent_0"}
        algorithm.add_module("agent_1")
        joined = algorithm.train()["learners"]["agent_1"]["curr_kl_coeff"]
    assert left != joined == 0.2


# --- what a batch holds -------------------------------------------------------------------------


@pytest.mark.parametrize("model", [{"fcnet_hiddens": [8]}, LSTM])
def test_advantages_are_standardised_over_the_real_steps_alone(
    model: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with built(config(model=model)) as algorithm:
        seen = batches_of(algorithm, monkeypatch)
        algorithm.train()
    advantages = counted(seen[0], Columns.ADVANTAGES)
    assert abs(advantages.mean()) < 1e-5
    assert advantages.std() == pytest.approx(1.0, abs=1e-4)
    if model is LSTM:
        assert len(advantages) < seen[0][Columns.ADVANTAGES].size, "there must be padding"


def test_a_normaliser_stays_as_it_acted_until_its_batch_was_learned_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = {"fcnet_hiddens": [8], "normalize_observations": True}
    with built(config("Pendulum-v1", model=model, use_kl_loss=False)) as algorithm:
        seen = batches_of(algorithm, monkeypatch)
        sampled: list[Any] = []
        sample = algorithm.pool.sample

        def noted(num_env_steps: int) -> Any:
            sampled.append(sample(num_env_steps)["default_policy"])
            return {"default_policy": sampled[-1]}

        monkeypatch.setattr(algorithm.pool, "sample", noted)
        moments = []
        for _ in range(3):
            learned = algorithm.train()["learners"]["default_policy"]
            assert abs(learned["mean_kl"]) < 1e-6
            assert learned["clip_fraction"] == 0.0
            moments.append(algorithm.get_module().get_state())
    for fragments, batch in zip(sampled, seen, strict=True):
        acted = np.concatenate([fragment.real(fragment.action_logp) for fragment in fragments])
        np.testing.assert_allclose(batch["action_logp"], acted, atol=1e-5)
    assert str(moments[0]) != str(moments[1])
