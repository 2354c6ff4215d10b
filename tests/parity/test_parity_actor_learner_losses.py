"""IMPALA's and APPO's losses: TensorFlow against PyTorch, values and gradients, padding and sequences too.

PyTorch's are held to the papers in `test_algos_impala_loss` and `test_algos_appo_loss`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch

from rlmodule_algos.appo import loss_tf as appo_tf
from rlmodule_algos.appo import loss_torch as appo_torch
from rlmodule_algos.impala import loss_tf as impala_tf
from rlmodule_algos.impala import loss_torch as impala_torch

SETTINGS = {
    "impala": {"vf_loss_coeff": 0.7, "entropy_coeff": 0.05},
    "appo": {
        "clip_param": 0.2,
        "target_worker_clipping": 1.1,
        "vf_loss_coeff": 0.7,
        "entropy_coeff": 0.05,
        "kl_coeff": 0.4,
    },
}
COLUMNS = {
    "impala": ["logp", "advantages", "values", "value_targets", "entropy"],
    "appo": ["logp", "old_logp", "target_logp", "advantages", "values", "value_targets", "entropy", "kl"],
}
LOSSES: dict[str, Any] = {
    "impala": (impala_torch.impala_loss, impala_tf.impala_loss),
    "appo": (appo_torch.appo_loss, appo_tf.appo_loss),
}
LEARNED = ["logp", "values", "entropy", "kl"]


@pytest.mark.parametrize("shape", [(16,), (4, 4)])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("penalty", [True, False])
@pytest.mark.parametrize("name", LOSSES)
def test_values_and_gradients_agree(name: str, penalty: bool, padded: bool, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    mask = rng.random(shape) < 0.7 if padded else np.ones(shape, np.bool_)
    given = {
        column: np.where(mask, 0.5 * rng.normal(size=shape), np.nan).astype(np.float32)
        for column in COLUMNS[name]
        if penalty or column != "kl"
    }
    rest: dict[str, Any] = {**SETTINGS[name], **({} if penalty or name == "impala" else {"kl": None})}
    for_torch, for_tf = LOSSES[name]
    theirs = {column: torch.tensor(values, requires_grad=True) for column, values in given.items()}
    ours = {column: tf.constant(values) for column, values in given.items()}

    torch_loss = for_torch(**theirs, mask=torch.tensor(mask) if padded else None, **rest)
    torch_loss.total_loss.backward()
    with tf.GradientTape() as tape:
        tape.watch(ours)
        tf_loss = for_tf(**ours, mask=tf.constant(mask) if padded else None, **rest)
    gradients: dict[str, Any] = tape.gradient(tf_loss.total_loss, ours)

    assert tf_loss._fields == torch_loss._fields
    np.testing.assert_allclose(
        [float(part) for part in tf_loss], [float(part.detach()) for part in torch_loss], rtol=1e-5, atol=1e-6
    )
    for column in set(LEARNED) & set(given):
        np.testing.assert_allclose(gradients[column], np.asarray(theirs[column].grad), rtol=1e-4, atol=1e-7)
        assert not np.asarray(gradients[column])[~mask].any()  # padding never teaches
