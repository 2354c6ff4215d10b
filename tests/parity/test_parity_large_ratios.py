"""One step of a policy that moved very far spoils no batch: ratios that exp would make infinite."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch

from rlmodule_algos.appo import loss_tf as appo_tf
from rlmodule_algos.appo import loss_torch as appo_torch
from rlmodule_algos.ppo import loss_tf as ppo_tf
from rlmodule_algos.ppo import loss_torch as ppo_torch

COMMON = {"clip_param": 0.2, "vf_loss_coeff": 0.5, "entropy_coeff": 0.0, "kl_coeff": 0.0}
SETTINGS: dict[str, dict[str, Any]] = {
    "ppo": {**COMMON, "vf_clip_mode": "none", "vf_clip_param": 1.0},
    "appo": {**COMMON, "target_worker_clipping": 2.0},
}
REFERENCES = {"ppo": ["old_logp"], "appo": ["old_logp", "target_logp"]}  # what pi is compared with
OTHERS = {"ppo": ["old_values"], "appo": []}
LOSSES: dict[str, Any] = {
    "ppo": (ppo_torch.ppo_loss, ppo_tf.ppo_loss),
    "appo": (appo_torch.appo_loss, appo_tf.appo_loss),
}


def evaluated(name: str, framework: str, log_ratio: float, advantage: float) -> tuple[dict[str, float], Any]:
    """The loss by field and its gradient in the log-probs: of a step like that, and of an ordinary one."""
    zeros = np.zeros(2, np.float32)
    given = dict.fromkeys(["logp", "values", "value_targets", "entropy", *OTHERS[name]], zeros)
    given["advantages"] = np.array([advantage, 1.0], np.float32)
    given |= dict.fromkeys(REFERENCES[name], np.array([-log_ratio, 0.0], np.float32))
    rest = {**SETTINGS[name], "kl": None, "mask": None}
    if framework == "torch":
        tensors = {key: torch.tensor(column, requires_grad=key == "logp") for key, column in given.items()}
        loss = LOSSES[name][0](**tensors, **rest)
        loss.total_loss.backward()
        gradient: Any = tensors["logp"].grad
    else:
        constants = {key: tf.constant(column) for key, column in given.items()}
        with tf.GradientTape() as tape:
            tape.watch(constants["logp"])
            loss = LOSSES[name][1](**constants, **rest)
        gradient = tape.gradient(loss.total_loss, constants["logp"])
    return {
        field: float(np.asarray(part.detach() if framework == "torch" else part))
        for field, part in loss._asdict().items()
    }, np.asarray(gradient)


@pytest.mark.parametrize("advantage", [1.0, 0.0, -1.0])
@pytest.mark.parametrize("log_ratio", [100.0, -200.0])
@pytest.mark.parametrize("framework", ["torch", "tf"])
@pytest.mark.parametrize("name", LOSSES)
def test_a_ratio_that_exp_cannot_hold_gives_no_nan_and_takes_nothing_from_other_steps(
    name: str, framework: str, log_ratio: float, advantage: float
) -> None:
    loss, gradient = evaluated(name, framework, log_ratio, advantage)

    assert np.isfinite(list(loss.values())).all()
    np.testing.assert_allclose(gradient, [0.0, -0.5], atol=1e-8)  # half of a mean over two, at ratio one


@pytest.mark.parametrize("name", LOSSES)
def test_ratios_are_cut_where_v_trace_cuts_them_and_not_before(name: str) -> None:
    for framework in ("torch", "tf"):
        within, slope = evaluated(name, framework, 19.5, -1.0)
        beyond, _ = evaluated(name, framework, 25.0, -1.0)

        assert within["policy_loss"] == pytest.approx(0.5 * (np.exp(19.5) - 1.0), rel=1e-5)
        assert slope[0] == pytest.approx(0.5 * np.exp(19.5), rel=1e-5)
        assert beyond["policy_loss"] == pytest.approx(0.5 * (np.exp(20.0) - 1.0), rel=1e-5)
        assert beyond["mean_kl"] == pytest.approx(0.5 * (np.exp(20.0) - 21.0), rel=1e-5)
