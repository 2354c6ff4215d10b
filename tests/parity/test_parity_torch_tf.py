"""PyTorch against TensorFlow: same weights, same batch, same numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
import torch
from gymnasium import spaces

from rlmodule_algos.ppo import loss_tf, loss_torch
from rlmodule_catalogs import PPOCatalog
from rlmodule_core import RLModule, RLModuleConfig, initial_weights_from
from rlmodule_core.state import flatten_state
from rlmodule_tf import TfActorCriticModule, TfUpdater, bridge
from rlmodule_torch import TorchActorCriticModule, TorchUpdater
from rlmodule_torch import bridge as torch_bridge

Array = npt.NDArray[Any]
CASES = [
    pytest.param(spaces.Discrete(3, start=1), {}, id="categorical"),
    pytest.param(spaces.Discrete(2), {"vf_share_layers": True, "fcnet_activation": "relu"}, id="shared"),
    pytest.param(spaces.Box(-1, 1, (2, 2)), {}, id="gaussian"),
    pytest.param(spaces.Box(-1, 1, (2,)), {"free_log_std": True}, id="free-log-std"),
]
N = 16


def make(module_class: Any, space: gym.Space[Any], model: dict[str, Any], seed: int = 0) -> Any:
    config = RLModuleConfig(
        observation_space=spaces.Box(-1, 1, (5,)),
        action_space=space,
        model_config_dict={"fcnet_hiddens": (16, 16), **model},
        catalog_class=PPOCatalog,
    )
    with initial_weights_from(seed):
        return module_class(config)


def make_batch(space: gym.Space[Any], seed: int = 0, rows: int = N) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    space.seed(seed)
    return {
        "obs": rng.normal(size=(rows, 5)).astype(np.float32),
        "actions": np.stack([space.sample() for _ in range(rows)]),
        "advantages": rng.normal(size=rows).astype(np.float32),
        "value_targets": rng.normal(size=rows).astype(np.float32),
    }


class Loss(NamedTuple):
    """Parts of an actor-critic loss."""

    total: Any
    policy: Any
    value: Any
    entropy: Any


def loss_of(module: RLModule) -> Any:
    """Return an actor-critic loss in which every parameter has a part; written once for both."""

    def loss(batch: Mapping[str, Any], coefficients: Mapping[str, Any]) -> Loss:
        output = module.forward_train(batch)
        dist = output["action_dist"]
        policy = -_mean(dist.logp(batch["actions"]) * batch["advantages"])
        value = _mean((output["vf_preds"] - batch["value_targets"]) ** 2)
        entropy = _mean(dist.entropy())
        return Loss(policy + coefficients["value"] * value - 0.01 * entropy, policy, value, entropy)

    return loss


def _mean(x: Any) -> Any:
    return x.mean() if isinstance(x, torch.Tensor) else tf.reduce_mean(x)


def largest_gap(one: dict[str, Any], two: dict[str, Any]) -> float:
    one, two = flatten_state(one), flatten_state(two)
    assert list(one) == list(two)
    return max(float(np.abs(one[name] - two[name]).max()) for name in one)


@pytest.mark.parametrize(("space", "model"), CASES)
def test_one_seed_starts_both_frameworks_from_identical_weights(
    space: gym.Space[Any], model: dict[str, Any]
) -> None:
    ours, theirs = make(TfActorCriticModule, space, model), make(TorchActorCriticModule, space, model)

    assert largest_gap(ours.get_state(), theirs.get_state()) == 0.0
    assert len(ours.trainable_variables) == len(list(theirs.parameters()))


@pytest.mark.parametrize(("space", "model"), CASES)
def test_a_state_carried_over_gives_the_same_outputs_both_ways(
    space: gym.Space[Any], model: dict[str, Any]
) -> None:
    ours, theirs = make(TfActorCriticModule, space, model, 1), make(TorchActorCriticModule, space, model, 2)
    batch = make_batch(space)
    for source, target in ((theirs, ours), (ours, theirs)):
        target.set_state(make(type(source), space, model, 3).get_state())
        source.set_state(target.get_state())
        tf_out = ours.forward_train(bridge.to_tensors(batch))
        with torch.no_grad():
            torch_out = theirs.forward_train(torch_bridge.to_tensors(batch))
        tf_dist, torch_dist = tf_out["action_dist"], torch_out["action_dist"]

        np.testing.assert_allclose(tf_dist.inputs, torch_dist.inputs, 1e-5, 1e-5)
        np.testing.assert_allclose(tf_out["vf_preds"], torch_out["vf_preds"], 1e-5, 1e-5)
        np.testing.assert_allclose(tf_dist.entropy(), torch_dist.entropy(), 1e-5, 1e-5)
        tf_logp = tf_dist.logp(tf.constant(batch["actions"]))
        np.testing.assert_allclose(tf_logp, torch_dist.logp(torch.from_numpy(batch["actions"])), 1e-5, 1e-5)
        shifted = tf_dist.kl(tf_dist.with_inputs(tf_dist.inputs + 0.1 * tf_dist.inputs**2))
        expected = torch_dist.kl(torch_dist.with_inputs(torch_dist.inputs + 0.1 * torch_dist.inputs**2))
        np.testing.assert_allclose(shifted, expected, 1e-5, 1e-5)


@pytest.mark.parametrize(("space", "model"), CASES)
def test_the_gradient_of_every_weight_is_the_same(space: gym.Space[Any], model: dict[str, Any]) -> None:
    ours, theirs = make(TfActorCriticModule, space, model), make(TorchActorCriticModule, space, model)
    batch = make_batch(space)
    with tf.GradientTape() as tape:
        tf_loss = loss_of(ours)(bridge.to_tensors(batch), {"value": 0.5})
    torch_loss = loss_of(theirs)(torch_bridge.to_tensors(batch), {"value": 0.5})
    torch_loss.total.backward()

    np.testing.assert_allclose(tf_loss.total, torch_loss.total.detach(), rtol=1e-5)
    gradients = tape.gradient(tf_loss.total, ours.trainable_variables)
    for gradient, parameter in zip(gradients, theirs.parameters(), strict=True):
        assert parameter.grad is not None
        largest = float(parameter.grad.abs().max())  # what small entries of a sum are exact to
        np.testing.assert_allclose(gradient, parameter.grad, rtol=0, atol=1e-5 * largest)


@pytest.mark.parametrize("clip_by", ["value", "norm", "global_norm"])
@pytest.mark.parametrize(("space", "model"), CASES)
def test_ten_updater_steps_stay_together(space: gym.Space[Any], model: dict[str, Any], clip_by: Any) -> None:
    ours, theirs = make(TfActorCriticModule, space, model), make(TorchActorCriticModule, space, model)
    before = ours.get_state()
    settings: dict[str, Any] = {"adam_epsilon": 1e-5, "grad_clip": 0.1, "grad_clip_by": clip_by}
    tf_updater = TfUpdater(ours, loss_of(ours), **settings)
    torch_updater = TorchUpdater(theirs, loss_of(theirs), **settings)
    for step in range(10):
        batch, lr = make_batch(space, seed=step, rows=N + step), 1e-3 * (1 + step)
        tf_result = tf_updater.step(bridge.to_tensors(batch), {"value": 0.5 + step, "lr": lr})
        torch_result = torch_updater.step(torch_bridge.to_tensors(batch), {"value": 0.5 + step, "lr": lr})

        np.testing.assert_allclose(tf_result.grad_norm, torch_result.grad_norm, rtol=1e-3)
    assert largest_gap(ours.get_state(), theirs.get_state()) < 1e-4
    assert largest_gap(ours.get_state(), before) > 1e-2  # they did move
    for name, moment in torch_updater.get_state().items():
        largest = float(np.abs(moment).max())
        np.testing.assert_allclose(tf_updater.get_state()[name], moment, rtol=0, atol=1e-5 * largest)


def test_an_optimizer_state_of_torch_goes_on_in_tensorflow() -> None:
    space, model = spaces.Box(-1, 1, (2,)), {"free_log_std": True}
    ours, theirs = make(TfActorCriticModule, space, model), make(TorchActorCriticModule, space, model)
    tf_updater, torch_updater = TfUpdater(ours, loss_of(ours)), TorchUpdater(theirs, loss_of(theirs))
    for seed in range(3):
        torch_updater.step(torch_bridge.to_tensors(make_batch(space, seed)), {"value": 0.5, "lr": 1e-2})
    ours.set_state(theirs.get_state())
    tf_updater.set_state(torch_updater.get_state())

    last = make_batch(space, seed=9)
    tf_updater.step(bridge.to_tensors(last), {"value": 0.5, "lr": 1e-2})
    torch_updater.step(torch_bridge.to_tensors(last), {"value": 0.5, "lr": 1e-2})

    assert largest_gap(ours.get_state(), theirs.get_state()) < 1e-5


def test_both_numpy_forms_act_alike() -> None:
    space = spaces.Discrete(3)
    ours, theirs = make(TfActorCriticModule, space, {}), make(TorchActorCriticModule, space, {})
    obs = {"obs": make_batch(space)["obs"]}
    results = [form.forward_inference(obs)["action_dist"].inputs for form in map(numpy_form, (ours, theirs))]

    np.testing.assert_array_equal(results[0], results[1])


def numpy_form(module: RLModule) -> RLModule:
    form = module.numpy_form()
    assert form is not None
    return form


# --- PPO's loss -------------------------------------------------------------------------------

LOSS_COLUMNS = ("logp", "old_logp", "advantages", "values", "old_values", "value_targets", "entropy")
LOSS_SETTINGS: dict[str, Any] = {
    "clip_param": 0.2,
    "vf_clip_param": 0.3,
    "vf_loss_coeff": 0.7,
    "entropy_coeff": 0.05,
    "kl_coeff": 0.4,
}


@pytest.mark.parametrize("mode", ["none", "error", "value"])
@pytest.mark.parametrize("with_kl", [False, True])
@pytest.mark.parametrize("padded", [0, 5])
def test_ppos_loss_and_its_gradients_agree_with_padding_too(mode: str, with_kl: bool, padded: int) -> None:
    rng = np.random.default_rng(0)
    given = {name: rng.normal(size=N).astype(np.float32) for name in LOSS_COLUMNS}
    given["logp"] = given["old_logp"] + 0.3 * given["logp"]  # ratios on both sides of the clip
    if with_kl:
        given["kl"] = np.abs(rng.normal(size=N)).astype(np.float32)
    for column in given.values():
        column[N - padded :] = np.nan
    mask = np.arange(N) < N - padded if padded else None
    settings = {**LOSS_SETTINGS, "vf_clip_mode": mode} | ({} if with_kl else {"kl": None})

    ours: dict[str, Any] = {name: tf.constant(column) for name, column in given.items()}
    with tf.GradientTape() as tape:
        tape.watch(ours)
        tf_loss = loss_tf.ppo_loss(**ours, mask=None if mask is None else tf.constant(mask), **settings)
    gradients = tape.gradient(tf_loss.total_loss, ours, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    theirs: dict[str, Any] = {
        name: torch.tensor(column, requires_grad=True) for name, column in given.items()
    }
    torch_mask = None if mask is None else torch.tensor(mask)
    torch_loss = loss_torch.ppo_loss(**theirs, mask=torch_mask, **settings)
    torch_loss.total_loss.backward()

    assert tf_loss._fields == torch_loss._fields
    for ours_part, theirs_part in zip(tf_loss, torch_loss, strict=True):
        np.testing.assert_allclose(ours_part, theirs_part.detach(), 1e-5, 1e-6)
    for name in ("logp", "values", "entropy", *(["kl"] if with_kl else [])):
        gradient = np.asarray(gradients[name])
        np.testing.assert_allclose(gradient, theirs[name].grad, 1e-5, 1e-6)
        assert gradient.any()
        assert not gradient[N - padded :].any() or not padded  # padding never teaches


@pytest.mark.parametrize(("space", "model"), CASES)
@pytest.mark.parametrize("to_tf", [True, False])
def test_a_checkpoint_of_one_framework_loads_into_the_class_of_the_other(
    space: gym.Space[Any], model: dict[str, Any], to_tf: bool, tmp_path: Path
) -> None:
    pair: list[Any] = [TorchActorCriticModule, TfActorCriticModule]
    source, target = pair if to_tf else pair[::-1]
    written = make(source, space, model, seed=5)

    read = target.from_checkpoint(written.save_to_checkpoint(tmp_path / "module"))

    assert type(read) is target
    assert read.config == written.config
    assert largest_gap(read.get_state(), written.get_state()) == 0.0
    obs = make_batch(space)["obs"]
    tf_module, torch_module = (read, written) if to_tf else (written, read)
    np.testing.assert_allclose(
        tf_module.forward_inference({"obs": tf.constant(obs)})["action_dist"].inputs,
        torch_module.forward_inference({"obs": torch.from_numpy(obs)})["action_dist"].inputs,
        1e-5,
        1e-5,
    )
