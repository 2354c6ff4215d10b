"""Whatever padding holds, IMPALA and APPO learn the same from sequences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from loss_checks import loss_and_gradient
from rlmodule_algos import APPOConfig, ImpalaConfig
from rlmodule_algos.actor_learner import ActorLearner
from rlmodule_core import Columns
from rlmodule_core.nest import Nest, map_nest

FRAMEWORKS = [name for name, package in {"torch": "torch", "tf": "tensorflow"}.items() if find_spec(package)]
CONFIGS: dict[str, Callable[[], Any]] = {
    "impala": ImpalaConfig,
    "appo": APPOConfig,
    "appo with a KL penalty": lambda: APPOConfig().training(use_kl_loss=True),
}
ACTED_IN = (Columns.OBS, Columns.ACTIONS, Columns.IS_FIRST)  # also where no loss is taken, in a burn-in
Array = npt.NDArray[Any]
Batch = Mapping[str, Nest]


def built(name: str, framework: str, burn_in: int) -> ActorLearner[Any]:
    config = CONFIGS[name]()
    model = {"fcnet_hiddens": [8], "use_lstm": True, "lstm_cell_size": 8, "max_seq_len": 5}
    config.environment("CartPole-v1").framework(framework).debugging(seed=0)
    config.env_runners(num_envs_per_env_runner=4)
    algorithm: ActorLearner[Any] = config.training(
        train_batch_size=92, model={**model, "burn_in": burn_in}
    ).build()
    return algorithm


def padded_batch(algorithm: ActorLearner[Any]) -> Batch:
    """A batch with padding, of which the KL divergence is not 0."""
    ((module_id, fragments),) = algorithm.collect().fragments.items()
    batch = algorithm._batch(module_id, fragments)
    assert not np.asarray(batch["mask"]).all()
    shifted: dict[str, Nest] = {
        name: map_nest(lambda leaf: leaf - np.float32(0.1), batch[name])
        for name in (Columns.ACTION_LOGP, Columns.ACTION_DIST_INPUTS)
        if name in batch
    }
    if Columns.ACTION_DIST_INPUTS in shifted:
        np.asarray(shifted[Columns.ACTION_DIST_INPUTS])[..., 0] += 0.5
    return {**batch, **shifted}


def spoiled(name: str, column: Nest, batch: Batch, bad: float) -> Nest:
    padding = ~np.asarray(batch["mask" if name in ACTED_IN else "loss_mask"])

    def spoil(leaf: Array) -> Array:
        leaf = leaf.copy()
        leaf[padding] = 1 - leaf[padding] if leaf.dtype.kind == "i" else bad
        return leaf

    return column if name in ("state_in", "mask", "loss_mask") else map_nest(spoil, column)


@pytest.mark.parametrize("bad", [np.nan, 1e6])
@pytest.mark.parametrize("burn_in", [0, 2])
@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", CONFIGS)
def test_whatever_padding_holds_losses_and_gradient_are_the_same_bit_for_bit(
    name: str, framework: str, burn_in: int, bad: float
) -> None:
    with built(name, framework, burn_in) as algorithm, algorithm.framework.bridge.threads(1):
        batch = padded_batch(algorithm)
        losses, gradient = loss_and_gradient(algorithm, batch)
        other = {name: spoiled(name, column, batch, bad) for name, column in batch.items()}
        again, gradient_again = loss_and_gradient(algorithm, other)

    np.testing.assert_array_equal(again, losses)
    for one, two in zip(gradient_again, gradient, strict=True):
        np.testing.assert_array_equal(one, two)
    assert np.isfinite(losses).all()
    assert all(np.abs(part).max() > 0 for part in gradient)
    if name == "appo with a KL penalty":
        assert losses[4] > 0.01
