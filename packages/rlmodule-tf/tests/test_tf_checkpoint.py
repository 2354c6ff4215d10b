"""Checkpoints of TensorFlow modules: a weight comes back in the dtype that it had, or it is said why not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

from rlmodule_core import (
    CheckpointError,
    MultiAgentRLModule,
    MultiAgentRLModuleSpec,
    RLModuleConfig,
    SingleAgentRLModuleSpec,
    register_class,
)
from rlmodule_tf import TfCategorical, TfRLModule

CONFIG = RLModuleConfig(
    observation_space=spaces.Box(-1, 1, (3,)), action_space=spaces.Discrete(2), model_config_dict={}
)


@register_class
class Several(TfRLModule):
    """A Keras layer in whatever dtype Keras is set to, and weights of other dtypes."""

    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        self.layer = keras.layers.Dense(2)
        self.wide = tf.Variable(tf.ones([2], tf.float64))
        self.scale = tf.Variable(tf.constant(0.1, tf.float64))
        self.short = tf.Variable(tf.cast([0.5, 1.5], tf.bfloat16))
        self.count = tf.Variable(tf.constant(3, tf.int64), trainable=False)

    def _forward_exploration(self, batch: Any) -> Any:
        return {"action_dist": TfCategorical(self.layer(batch["obs"]))}

    _forward_inference = _forward_exploration


@pytest.fixture
def in_double() -> Iterator[None]:
    """Modules made inside have Keras layers of float64; restored afterwards."""
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    _in_single()


def _in_single() -> None:
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


def assert_same(one: Any, other: Any) -> None:
    pairs = list(zip(one.variables, other.variables, strict=True))
    assert len(pairs) > 4
    for mine, theirs in pairs:
        assert mine.dtype == theirs.dtype
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())


def many() -> Any:
    recipe = SingleAgentRLModuleSpec(
        module_class=Several,
        observation_space=CONFIG.observation_space,
        action_space=CONFIG.action_space,
        model_config_dict={},
    )
    return MultiAgentRLModuleSpec(module_specs={"a": recipe, "b": recipe}).build()


def test_dtypes_that_the_constructor_chose_come_back_numbers_of_rank_0_too(tmp_path: Path) -> None:
    module = Several(CONFIG)
    module.scale.assign(0.3)

    assert_same(module, Several.from_checkpoint(module.save_to_checkpoint(tmp_path / "module")))


@pytest.mark.usefixtures("in_double")
def test_a_module_that_keras_made_in_double_comes_back_where_keras_is_set_so(tmp_path: Path) -> None:
    module, modules = Several(CONFIG), many()
    assert module.layer.kernel.dtype == "float64"

    assert_same(module, Several.from_checkpoint(module.save_to_checkpoint(tmp_path / "module")))
    loaded = MultiAgentRLModule.from_checkpoint(modules.save_to_checkpoint(tmp_path / "modules"))
    assert_same(modules, loaded)


@pytest.mark.usefixtures("in_double")
def test_where_the_module_would_be_built_in_another_dtype_loading_is_refused_with_the_reason(
    tmp_path: Path,
) -> None:
    one, more = (
        made.save_to_checkpoint(tmp_path / name)
        for name, made in (("one", Several(CONFIG)), ("more", many()))
    )
    _in_single()

    reason = r"layer\.kernel is float64 in the file, float32 in the module; .*keras\.config\.set_floatx"
    with pytest.raises(CheckpointError, match=rf"one: weights would change their dtype: {reason}"):
        Several.from_checkpoint(one)
    with pytest.raises(CheckpointError, match=rf"more: weights would change their dtype: a\.{reason}"):
        MultiAgentRLModule.from_checkpoint(more)
