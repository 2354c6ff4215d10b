"""The contract of RLModule, with what TensorFlow adds to it, as tests that any module can run."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import tensorflow as tf

from rlmodule_core.nest import leaves, map_nest, unflatten
from rlmodule_core.state import flatten_state
from rlmodule_core.testing import ACTING, RLModuleConformance
from rlmodule_tf.module import TfRLModule


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
        assert len({id(array) for array in state.values()}) == len(module.variables)
        before = len(module.variables)
        self._act(module, "train", 2)
        assert len(module.variables) == before, "a forward made new variables"
