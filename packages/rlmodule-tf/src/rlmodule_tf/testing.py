"""The contract of RLModule, with what TensorFlow adds to it, as tests that any module can run."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from rlmodule_core import Columns
from rlmodule_core.module import Output
from rlmodule_core.nest import leaves, map_nest, unflatten
from rlmodule_core.state import flatten_state
from rlmodule_core.testing import ACTING, RLModuleConformance
from rlmodule_tf.module import TfRLModule
from rlmodule_tf.updater import TfUpdater


class _Loss(NamedTuple):
    total: tf.Tensor


class TfRLModuleConformance(RLModuleConformance):
    """As RLModuleConformance, and: gradients, graphs, variables."""

    def make_module(self) -> TfRLModule:
        """Return a new module."""
        raise NotImplementedError("make_module: return a new module of yours")

    def test_acting_carries_no_gradient(self) -> None:
        """Not even where a tape records around the call."""
        module = self.make_module()
        for phase in ACTING:
            batch = self.make_batch(module, phase, 2)
            with tf.GradientTape() as tape, suppress(NotImplementedError):  # a deterministic policy
                distribution = self._distribution(module, self._forward(module, phase, batch))
                score = tf.reduce_sum(distribution.logp(distribution.sample()))
                found = tape.gradient(score, module.trainable_variables)
                assert all(gradient is None for gradient in found), f"{phase}: logp carries a gradient"

    def test_training_carries_a_gradient(self) -> None:
        """What `forward_train` gives to learn from depends on some variable: the policy, or other floats."""
        module = self.make_module()
        batch = self.make_batch(module, "train", 2)
        with tf.GradientTape() as tape:
            found = self._learned(module, self._forward(module, "train", batch))
        if not found or not module.trainable_variables:
            return
        gradients = tape.gradient(list(found.values()), module.trainable_variables)
        assert any(gradient is not None for gradient in gradients), (
            f"forward_train carries no gradient in {', '.join(found)}: does it stop it?"
        )

    def _learned(self, module: TfRLModule, output: Output) -> dict[str, tf.Tensor]:
        """Return what a loss would be made of: the score of an action, without one all tensors of floats."""
        if Columns.ACTION_DIST in output:
            distribution = self._distribution(module, output)
            with suppress(NotImplementedError):  # a deterministic policy has no logp
                return {Columns.ACTION_DIST: distribution.logp(distribution.sample())}
            output = {**output, Columns.ACTION_DIST: distribution.rsample()}
        return {
            name: leaf
            for name, column in output.items()
            for leaf in leaves(column)
            if tf.is_tensor(leaf) and leaf.dtype.is_floating
        }

    def _draws(self) -> dict[str, Any]:
        return {**super()._draws(), "tensorflow": tf.random.uniform([4]).numpy().tolist()}

    def test_a_frozen_layer_is_not_listed_as_trainable_and_no_step_moves_it(self) -> None:
        """`layer.trainable = False` of Keras means the same to the module and to an updater."""
        module = self.make_module()
        parts = [part for part in vars(module).values() if isinstance(part, tf.keras.layers.Layer)]
        layers = [layer for layer in parts if layer.trainable_weights]
        if not layers:
            return
        layers[0].trainable = False
        frozen = [weight.value for weight in layers[0].weights]
        listed = {id(variable) for variable in module.trainable_variables}
        assert not any(id(variable) in listed for variable in frozen), (
            f"{layers[0].name} is frozen, but its variables are among the trainable ones"
        )
        if not listed:
            return
        before = [variable.numpy() for variable in frozen]

        def loss(batch: Any, _: Any) -> _Loss:
            found = self._learned(module, module.forward_train(batch))
            return _Loss(tf.add_n([tf.zeros([]), *map(tf.reduce_sum, found.values())]))

        TfUpdater(module, loss).step(self.make_batch(module, "train", 2), {"lr": 0.1})
        for variable, array in zip(frozen, before, strict=True):
            assert np.array_equal(variable.numpy(), array), f"a step moved the frozen {layers[0].name}"

    def test_acting_is_traced_once_for_all_batch_sizes_and_computes_the_same(self) -> None:
        """Inside a `tf.function` over any number of rows."""
        module = self.make_module()
        batches = [self.make_batch(module, "inference", rows) for rows in (3, 5, 2)]
        traces = []

        def policy(*columns: tf.Tensor) -> Any:
            traces.append(1)
            output = module.forward_inference(unflatten(batches[0], columns))
            return self._distribution(module, output).to_deterministic().sample()

        rows = [tf.TensorSpec([None, *leaf.shape[1:]], leaf.dtype) for leaf in leaves(batches[0])]
        compiled = tf.function(policy, input_signature=rows)
        for batch in batches:
            same = map_nest(lambda tensor: tensor.numpy(), compiled(*leaves(batch)))
            output = self._forward(module, "inference", batch)
            mode = self._arrays(module, self._distribution(module, output).to_deterministic().sample())
            assert self._close(same, mode), "the graph acts differently"
        assert len(traces) == 1, f"traced {len(traces)} times for 3 batch sizes"

    def test_every_variable_exists_and_is_in_the_state(self) -> None:
        """From construction on; a shared one counts once."""
        module = self.make_module()
        state = flatten_state(module.get_state())
        arrays = len({id(array) for array in state.values()})
        assert arrays == len(module.variables), f"{arrays} arrays for {len(module.variables)} variables"
        before = len(module.variables)
        self._act(module, "train", 2)
        assert len(module.variables) == before, "a forward made new variables"
