"""The default module: encoder -> (policy head, value head), as its catalog decides."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from rlmodule_core import Columns, NumpyPolicy, Output, RLModuleConfig, numpy_distribution
from rlmodule_tf.layers import (
    TfActorCriticEncoder,
    TfFreeLogStdHead,
    TfMLPEncoder,
    TfMLPHead,
)
from rlmodule_tf.module import TfRLModule

DENSE = (TfMLPEncoder, TfMLPHead, TfFreeLogStdHead)
_ACTING = (
    *("_forward_exploration", "_forward_inference", "_actor_features"),
    *("input_specs_exploration", "input_specs_inference", "_input_specs"),
    *("output_specs_exploration", "output_specs_inference"),
)


class TfActorCriticModule(TfRLModule):
    """Maps `obs` to `action_dist` and, in training, `vf_preds` `[*batch]` too.

    Needs a config with a catalog; raises ValueError without one.
    """

    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        catalog = config.get_catalog()
        self.encoder: Any = catalog.get_actor_critic_encoder_config().build("tf")
        self.pi: Any = catalog.get_pi_head_config().build("tf")
        self.vf: Any = catalog.get_vf_head_config().build("tf")
        self._dist_config = catalog.get_action_dist_config()
        self.make_distribution = self._made_distribution = self._dist_config.build("tf")

    def _forward_train(self, batch: Any, /, *args: Any, **kwargs: Any) -> Output:
        actor, critic = self.encoder(batch[Columns.OBS])
        return {
            Columns.ACTION_DIST: self.make_distribution(self.pi(actor)),
            Columns.VF_PREDS: tf.squeeze(self.vf(critic), axis=-1),
        }

    def _forward_exploration(self, batch: Any, /, *args: Any, **kwargs: Any) -> Output:
        return self._forward_inference(batch)

    def _forward_inference(self, batch: Any, /, *args: Any, **kwargs: Any) -> Output:
        features = self._actor_features(batch[Columns.OBS])
        return {Columns.ACTION_DIST: self.make_distribution(self.pi(features))}

    def _actor_features(self, obs: tf.Tensor) -> tf.Tensor:
        """Encode for the actor alone where the encoder can; an encoder of the user's need not."""
        encode = getattr(self.encoder, "actor_features", None)
        features: tf.Tensor = self.encoder(obs)[0] if encode is None else encode(obs)
        return features

    def numpy_form(self) -> NumpyPolicy | None:
        """Return the acting half in NumPy, a snapshot: TensorFlow shares no memory of its weights.

        None where the two could differ: a forward or a spec was overridden, a layer is not a plain
        dense one, or the weights are not float32. What changes the weights (`set_state`, a step of an
        updater) makes it stale: ask for it again then.
        """
        own, default = type(self), TfActorCriticModule
        if any(getattr(own, name) is not getattr(default, name) for name in _ACTING):
            return None
        if type(self.encoder) is not TfActorCriticEncoder:
            return None
        if self.make_distribution is not self._made_distribution:  # replaced on this very module
            return None
        encoder, head = (
            part.numpy_layers() if isinstance(part, DENSE) else None for part in (self.encoder.actor, self.pi)
        )
        if encoder is None or head is None:
            return None
        layers = encoder.then(head)
        if not layers.supported:
            return None
        return NumpyPolicy(self.config, layers, numpy_distribution(self._dist_config))
