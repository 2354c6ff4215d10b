"""The default modules: encoder -> policy head, and a value head beside it, as their catalog decides."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

from rlmodule_core import (
    Buildable,
    Columns,
    NumpyLayers,
    NumpyPolicy,
    Output,
    RLModuleConfig,
    numpy_form_of,
)
from rlmodule_core.catalog_protocol import CatalogProtocol
from rlmodule_core.encoder_configs import ACTION_MASK, without_key
from rlmodule_core.encoder_outputs import require_features
from rlmodule_core.layer_checks import Head, built, check_layers, example_batch
from rlmodule_core.module import State
from rlmodule_core.nest import Nest
from rlmodule_core.sequence_specs import with_state_in
from rlmodule_specs import SpecType
from rlmodule_torch.bridge import no_grad, to_tensors
from rlmodule_torch.distributions import mask_logits
from rlmodule_torch.layers import (
    TorchActorCriticEncoder,
    TorchFreeLogStdHead,
    TorchMLPEncoder,
    TorchMLPHead,
    _changed_here,
    initial_state,
)
from rlmodule_torch.module import TorchRLModule
from rlmodule_torch.observations import TorchNormalizer

DENSE = (TorchMLPEncoder, TorchMLPHead, TorchFreeLogStdHead)
_ACTING = (
    *("_forward_exploration", "_forward_inference", "_act", "_actor_features", "_observed", "_action_dist"),
    *("input_specs_exploration", "input_specs_inference", "_input_specs"),
    *("output_specs_exploration", "output_specs_inference"),
)


class TorchActorModule(TorchRLModule):
    """Maps `obs` to `action_dist`, in all three phases alike: for learning from demonstrations.

    Where the catalog wants it, observations are normalised, `action_mask` in them forbids actions, and
    with a memory `state_in` is taken and `state_out` given. Needs a config with a catalog; raises
    ValueError without one, and where the layers that it decides on do not fit.
    """

    _ENCODER = "get_encoder_config"  # the catalog's method that decides the encoder

    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        catalog = config.get_catalog()
        # a user's own catalog may know nothing of the first two
        self.masks_actions: bool = getattr(catalog, "masks_actions", False)
        normalizer = getattr(catalog, "get_normalizer_config", lambda: None)()
        self.normalizer: Any = None if normalizer is None else normalizer.build("torch")
        self.encoder: nn.Module = self._built(self._encoder_config(catalog), self._ENCODER)
        self._dist_config = catalog.get_action_dist_config()
        self.make_distribution = self._made_distribution = self._dist_config.build("torch")
        self._check(self._make_heads(catalog))

    def _make_heads(self, catalog: CatalogProtocol) -> list[Head]:
        """Build what stands behind the encoder, and return it in the order of the features."""
        self.pi: nn.Module = self._built(catalog.get_pi_head_config(), "get_pi_head_config")
        return [Head("get_pi_head_config", self.pi, self._dist_config.input_dim)]

    def _built(self, config: Buildable, method: str) -> Any:
        return built(config, "torch", method=method, where=type(self).__name__)

    def _check(self, heads: list[Head]) -> None:
        """Raise ValueError in words if encoder and heads do not fit the observations and each other."""
        self._remembers = bool(self.get_initial_state())
        device = next((part.device for part in self.parameters()), None)
        batch = example_batch(
            self.config.observation_space,
            self.get_initial_state(),
            partial(to_tensors, device=device),
        )
        if batch is not None:
            with _in_eval_mode(self), no_grad():
                check_layers(partial(self._encoded, batch), self._by_head, heads, where=type(self).__name__)

    def _encoded(self, batch: Any) -> Any:
        """Return what the encoder does, whatever that is."""
        obs = self._observed(batch)
        return TorchActorModule._remember(self, obs, batch) if self._remembers else self.encoder(obs)

    def _by_head(self, found: Any) -> tuple[Any, ...]:
        """Return the features of each head."""
        return tuple(found[:-1]) if self._remembers else (found,)

    def _finish(self) -> None:
        self._remembers = bool(self.get_initial_state())  # asked at every call, so known beforehand
        super()._finish()

    def _encoder_config(self, catalog: CatalogProtocol) -> Buildable:
        if not hasattr(catalog, "get_encoder_config"):
            raise ValueError(
                f"{type(catalog).__name__} has no get_encoder_config, which {type(self).__name__} builds its "
                "encoder from: add it; it returns a model config"
            )
        config: Buildable = catalog.get_encoder_config()
        return config

    def _forward_train(self, batch: Any, /, *args: Any, **kwargs: Any) -> Output:
        return self._act(batch)

    def _forward_exploration(self, batch: Any, /, *args: Any, **kwargs: Any) -> Output:
        return self._forward_inference(batch)

    def _forward_inference(self, batch: Any, /, *args: Any, **kwargs: Any) -> Output:
        return self._act(batch)

    def _act(self, batch: Any) -> dict[str, Any]:
        obs = self._observed(batch)
        if not self._remembers:
            return {Columns.ACTION_DIST: self._action_dist(self._actor_features(obs), batch)}
        *features, state = self._remember(obs, batch)
        return {Columns.ACTION_DIST: self._action_dist(features[0], batch), Columns.STATE_OUT: state}

    def _observed(self, batch: Any) -> Nest:
        """Return what is encoded: the observation without its mask, normalised."""
        obs = batch[Columns.OBS]
        if self.masks_actions:
            obs = without_key(obs, ACTION_MASK)
        return obs if self.normalizer is None else self.normalizer(obs)

    def _actor_features(self, obs: Nest) -> Tensor:
        """Encode for the actor, without a memory."""
        features: Tensor = self.encoder(obs)
        return features

    def _remember(self, obs: Nest, batch: Any) -> tuple[Any, ...]:
        """Encode with a memory: the features, for the actor first, and the state after them."""
        found: tuple[Any, ...] = self.encoder(
            obs, batch[Columns.STATE_IN], batch.get(Columns.MASK), batch.get(Columns.IS_FIRST)
        )
        return found

    def _action_dist(self, features: Tensor, batch: Any) -> Any:
        inputs = self.pi(features)
        if self.masks_actions:
            inputs = mask_logits(inputs, batch[Columns.OBS][ACTION_MASK].reshape(inputs.shape))
        return self.make_distribution(inputs)

    def get_initial_state(self) -> State:
        """Return the state of the encoder at the start of an episode; empty if it has no memory."""
        return initial_state(self.encoder)

    def update_normalizer(self, obs: Nest) -> None:
        """Merge observations, a NumPy nest `[N, ...]`, into the running moments, if there are any."""
        if self.normalizer is not None:
            self.normalizer.update(obs)

    def _input_specs(self) -> SpecType:
        specs, state = super()._input_specs(), self.get_initial_state()
        return with_state_in(specs, state, self.framework) if state else specs

    def numpy_form(self) -> NumpyPolicy | None:
        """Return the acting half in NumPy, over the very memory of these weights.

        None where the two could differ: a forward or a spec was overridden or set, a layer is not a plain
        dense one, there is a memory or a mask, or the weights are not float32 on the CPU. What gives
        the weights other memory (`to()`, a new updater) makes it stale: ask for it again then.
        """
        own = type(self)
        default = next(cls for cls in own.__mro__ if cls in (TorchActorCriticModule, TorchActorModule))
        if any(name in vars(self) or getattr(own, name) is not getattr(default, name) for name in _ACTING):
            return None
        if self.masks_actions or self.make_distribution is not self._made_distribution:  # or replaced here
            return None
        layers = self._numpy_layers()
        if layers is None or not layers.supported:
            return None
        return numpy_form_of(self, layers, self._dist_config)

    def _numpy_layers(self) -> NumpyLayers | None:
        acting: tuple[Any, Any] = (self._acting_encoder(), self.pi)
        if not all(isinstance(part, DENSE) for part in acting):
            return None
        if any(_changed_here(part) for part in acting):
            return None
        first: NumpyLayers | None = acting[0].numpy_layers()
        last: NumpyLayers | None = acting[1].numpy_layers()
        if first is None or last is None:
            return None
        if self.normalizer is not None:
            norm = self.normalizer.running_norm() if type(self.normalizer) is TorchNormalizer else None
            if norm is None:
                return None
            first = first.behind(norm)
        return first.then(last)

    def _acting_encoder(self) -> Any:
        return self.encoder


class TorchActorCriticModule(TorchActorModule):
    """As TorchActorModule, and in training `vf_preds` `[*batch]` too."""

    _ENCODER = "get_actor_critic_encoder_config"

    def _make_heads(self, catalog: CatalogProtocol) -> list[Head]:
        heads = super()._make_heads(catalog)
        self.vf: nn.Module = self._built(catalog.get_vf_head_config(), "get_vf_head_config")
        return [*heads, Head("get_vf_head_config", self.vf, 1)]

    def _by_head(self, found: Any) -> tuple[Any, ...]:
        return self._features(found)[:2]

    def _encoder_config(self, catalog: CatalogProtocol) -> Buildable:
        return catalog.get_actor_critic_encoder_config()

    def _forward_train(self, batch: Any, /, *args: Any, **kwargs: Any) -> Output:
        obs, after = self._observed(batch), {}
        if self._remembers:
            actor, critic, after[Columns.STATE_OUT] = self._remember(obs, batch)
        else:
            actor, critic = self._features(self.encoder(obs))
        values = self.vf(critic).squeeze(-1)
        return {Columns.ACTION_DIST: self._action_dist(actor, batch), Columns.VF_PREDS: values, **after}

    def _actor_features(self, obs: Nest) -> Tensor:
        """Encode for the actor alone where the encoder can; an encoder of the user's need not."""
        encode = getattr(self.encoder, "actor_features", None)
        features: Tensor = self._features(self.encoder(obs))[0] if encode is None else encode(obs)
        return features

    def _remember(self, obs: Nest, batch: Any) -> tuple[Any, ...]:
        return self._features(super()._remember(obs, batch))

    def _features(self, found: object) -> tuple[Any, ...]:
        return require_features(found, state=self._remembers, where=type(self).__name__)

    def _acting_encoder(self) -> Any:
        return self.encoder.actor if type(self.encoder) is TorchActorCriticEncoder else None


@contextmanager
def _in_eval_mode(module: nn.Module) -> Iterator[None]:
    """Have every part in eval mode inside, then each in its own again."""
    training = [part for part in module.modules() if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True
