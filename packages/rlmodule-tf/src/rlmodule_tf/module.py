"""The RLModule of TensorFlow: a `tf.Module` with three checked phases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import gymnasium as gym
import numpy as np
import tensorflow as tf
from gymnasium.vector.utils import create_empty_array

from rlmodule_core import Columns, Distribution, RLModule, RLModuleConfig
from rlmodule_core.module import Batch, Output, State
from rlmodule_core.nest import map_nest
from rlmodule_core.state import check_same_state, flatten_state, nest_state, with_ties
from rlmodule_tf.arrays import as_array, dtypes_of
from rlmodule_tf.bridge import no_grad, to_tensors
from rlmodule_tf.distributions.native import _SampleLogProbEntropy
from rlmodule_tf.modes import _Contents, _modes_matter, _train_mode

if TYPE_CHECKING:
    from rlmodule_tf.multi_agent import TfMultiAgentRLModule


class _OwnsVariables(tf.Module):
    """A `tf.Module` that finds the variables inside Keras layers too."""

    @property
    def variables(self) -> tuple[tf.Variable, ...]:
        """All variables, those of Keras layers included, each once, in the order of definition.

        Raises ValueError while layers are not built, which can only be without observation space.
        """
        found = {id(variable): variable for _, variable in self._known_variables()}
        return tuple(found.values())

    @property
    def trainable_variables(self) -> tuple[tf.Variable, ...]:
        """The variables that learn, each once; for errors see `variables`."""
        return tuple(variable for variable in self.variables if variable.trainable)

    @property
    def non_trainable_variables(self) -> tuple[tf.Variable, ...]:
        """The variables that no optimizer moves, each once; for errors see `variables`."""
        return tuple(variable for variable in self.variables if not variable.trainable)

    def _known_variables(self) -> list[tuple[str, tf.Variable]]:
        """Return (dotted name, variable), a shared one under each of its names."""
        lazy = self._unbuilt()
        if lazy:
            raise ValueError(
                f"{type(self).__name__}: {', '.join(lazy)} have no variables yet: no forward has called "
                "them; call one once, or build the layers in __init__, say with layer.build(shape)"
            )
        return list(_named_variables(self))

    def _unbuilt(self) -> list[str]:
        """Return the names of the Keras layers that were never called nor built."""
        return [name for name, layer in _named_layers(self) if not layer.built]


class TfRLModule(_OwnsVariables, RLModule):
    """Subclass this; make layers in `__init__`, after `super().__init__(config)`.

    Layers of Keras need no input shape: where one is not built yet, the forwards are run once on an
    observation of zeros when the constructor is done, so that every variable exists from then on.

    `forward_exploration` and `forward_inference` run without gradient and with Keras layers in inference
    mode, `forward_train` has them in train mode; a layer called with `training=` is in that one. A layer
    that comes in later is seen where it becomes an attribute of this module, or an element of a list, dict
    or Sequential below it; where it becomes an attribute of a part, set that part again.
    """

    framework: ClassVar[str] = "tf"
    action_dist_classes: ClassVar[tuple[type, ...]] = (Distribution, _SampleLogProbEntropy)

    def __init__(self, config: RLModuleConfig | None = None) -> None:
        tf.Module.__init__(self)
        RLModule.__init__(self, config)
        self._may_grow = True  # whether a layer may still make its variables at its first call

    def _finish(self) -> None:
        super()._finish()
        self._look_for_modes()
        self.make_variables(None if self.config is None else self.config.observation_space)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if isinstance(value, (_KERAS_LAYER, tf.Module)) and "_modes_matter" in vars(self):
            self._look_for_modes()  # exchanged after the constructor
            self._may_grow = True

    def _look_for_modes(self) -> None:
        parts = [part for _, part in _walk(self, "", ())]
        self._modes_matter = _modes_matter(part for part in parts if isinstance(part, _KERAS_LAYER))
        self._contents = _Contents(parts)

    def _look_again(self) -> None:
        """Look anew if a list, dict or Sequential was extended since."""
        if self._contents.changed():
            self._look_for_modes()
            self._may_grow = True

    def make_variables(self, space: gym.Space[Any] | None) -> None:
        """Run the forwards on an observation of zeros if a layer waits for its first call.

        Without a space this is left to whoever has one: the container of this module, or the first call.
        """
        lazy = self._unbuilt()
        if lazy and space is None:
            return
        if lazy and space is not None:
            self._call_once(self._example_batch(space), lazy)
        self._may_grow = bool(self._unbuilt())  # a layer that no forward calls: `variables` will name it

    def _call_once(self, batch: Batch, lazy: list[str]) -> None:
        """Run the forwards on one observation until every layer is built."""
        failure = None
        for forward in (self._forward_train, self._forward_exploration, self._forward_inference):
            try:
                with no_grad():
                    forward(batch)
            except Exception as error:
                failure = error
            if not self._unbuilt():
                return
        if failure is not None:
            raise ValueError(
                f"{type(self).__name__}: its forwards were run once on an observation of zeros, to make the "
                f"variables of {', '.join(lazy)}, and failed: {type(failure).__name__}: {failure}; mend the "
                "forward, or if it is right build these layers in __init__, say with layer.build(shape)"
            ) from failure

    def _example_batch(self, space: gym.Space[Any]) -> Batch:
        obs, state = create_empty_array(space, n=1, fn=np.zeros), self.get_initial_state()
        if not state:
            return {Columns.OBS: to_tensors(obs)}
        steps = tf.ones([1, 1], tf.bool)
        return {
            Columns.OBS: map_nest(lambda array: tf.convert_to_tensor(array[None]), obs),
            Columns.STATE_IN: map_nest(lambda array: tf.convert_to_tensor(array[None]), state),
            Columns.MASK: steps,
            Columns.IS_FIRST: steps,
        }

    def _run_train(self, batch: Batch, **kwargs: Any) -> Output:
        self._look_again()
        if not self._modes_matter:
            return self._forward_train(batch, **kwargs)
        if self._may_grow and self._unbuilt():  # built in train mode, a Sequential would never leave it
            self._forward_train(batch, **kwargs)
        output: Output = _train_mode(
            tf.constant(0.0), forward=lambda: self._forward_train(batch, **kwargs), training=True
        )
        return output

    def _run_exploration(self, batch: Batch, **kwargs: Any) -> Output:
        if not tf.executing_eagerly():
            output: Output = _without_gradient(self._forward_exploration(batch, **kwargs))
            return output
        with no_grad():
            return self._forward_exploration(batch, **kwargs)

    def _run_inference(self, batch: Batch, **kwargs: Any) -> Output:
        if not tf.executing_eagerly():
            output: Output = _without_gradient(self._forward_inference(batch, **kwargs))
            return output
        with no_grad():
            return self._forward_inference(batch, **kwargs)

    @property
    def device(self) -> str:
        """The device of the weights; the CPU for a module without any."""
        first = next(_named_variables(self), None)
        return "CPU:0" if first is None else first[1].device

    @classmethod
    def multi_agent_class(cls) -> type[TfMultiAgentRLModule]:
        """Return the container that is a `tf.Module`."""
        from rlmodule_tf.multi_agent import TfMultiAgentRLModule

        return TfMultiAgentRLModule

    def get_state(self) -> State:
        """Return copies of all variables as a nested dict of NumPy arrays.

        A variable that has several names is one array under all of them.
        """
        known = dict(self._known_variables())
        return nest_state(with_ties(known, {name: as_array(variable) for name, variable in known.items()}))

    def set_state(self, state: State) -> None:
        """Write weights into the variables that are used; ValueError that lists what does not fit."""
        own, new = dict(self._known_variables()), flatten_state(state)
        check_same_state(own, new, where=f"{type(self).__name__}.set_state")
        arrays = {name: np.asarray(new[name], own[name].dtype.as_numpy_dtype) for name in own}
        for name, variable in own.items():
            variable.assign(arrays[name])

    def _tensors(self) -> dict[str, tf.Variable]:
        return dict(self._known_variables())

    def _dtypes(self) -> dict[str, str]:
        return dtypes_of(self._tensors())

    def _known_variables(self) -> list[tuple[str, tf.Variable]]:
        if not self._may_grow and not self._contents.changed():  # then a walk over all layers can be saved
            return list(_named_variables(self))
        known = super()._known_variables()
        self._may_grow = False
        return known


# Variables are found along the attributes that own them, as in torch: first an object's own, then
# those of its parts, both in the order of definition. `tf.Module.variables` does not see into Keras
# layers, and the names that Keras gives count up within a process.

_KERAS_LAYER = tf.keras.layers.Layer
_KERAS_VARIABLE = tf.keras.Variable


def _named_variables(owner: object) -> Iterator[tuple[str, tf.Variable]]:
    """Yield ("pi.layers.0.weight", variable); a shared one under each of its names."""
    for name, part in _walk(owner, "", ()):
        if isinstance(part, tf.Variable):
            yield name, part
        elif isinstance(part, _KERAS_VARIABLE):
            yield name, part.value


def _named_layers(owner: object) -> Iterator[tuple[str, Any]]:
    """Yield ("policy.0", layer) for the Keras layers below `owner`."""
    yield from ((name, part) for name, part in _walk(owner, "", ()) if isinstance(part, _KERAS_LAYER))


def _walk(owner: object, prefix: str, above: tuple[int, ...]) -> Iterator[tuple[str, object]]:
    """Yield everything below `owner` with its path; `above` are the owners, which end a circle."""
    above = (*above, id(owner))
    parts = [(f"{prefix}{name}", part) for name, part in _parts(owner) if id(part) not in above]
    yield from parts
    for path, part in parts:
        if not isinstance(part, (tf.Variable, _KERAS_VARIABLE)):
            yield from _walk(part, f"{path}.", above)


def _parts(owner: Any) -> Iterator[tuple[str, object]]:
    """Yield what `owner` is made of and may hold variables, by name."""
    if isinstance(owner, _KERAS_LAYER):
        yield from _keras_parts(owner)
        return
    if isinstance(owner, Mapping) and not isinstance(owner, tf.Module):
        items = [(str(key), value) for key, value in owner.items()]
    elif isinstance(owner, (list, tuple)):
        items = [(str(index), value) for index, value in enumerate(owner)]
    else:
        items = [(name, value) for name, value in vars(owner).items() if not name.startswith("_self_")]
    kinds = (tf.Variable, _KERAS_VARIABLE, tf.Module, _KERAS_LAYER, Mapping, list, tuple)
    yield from ((name, value) for name, value in items if isinstance(value, kinds))


def _keras_parts(layer: Any) -> Iterator[tuple[str, object]]:
    """Yield a layer's own variables and sub-layers, by attribute name, else by position.

    Keras keeps both in lists of its own, which are complete, and most as attributes, which have names.
    """
    attributes = {id(value): name.lstrip("_") for name, value in vars(layer).items()}
    children = layer.layers if isinstance(layer, tf.keras.Model) else layer._layers
    below = {id(variable) for child in children for variable in child.variables}
    own = [variable for variable in layer.variables if id(variable) not in below]
    for index, variable in enumerate(own):
        yield attributes.get(id(variable), f"variables.{index}"), variable
    for index, child in enumerate(children):
        yield attributes.get(id(child), str(index)), child
    for name, value in vars(layer).items():
        if isinstance(value, (tf.Variable, tf.Module)):  # Keras does not count these
            yield name, value


def _without_gradient(value: Any) -> Any:
    """Stop the gradient of tensors and of our distributions; what else there is stays as it is."""
    if isinstance(value, Distribution):
        try:
            return value.with_inputs(map_nest(tf.stop_gradient, value.inputs))
        except NotImplementedError:  # a foreign one, whose parameters are its own
            return value
    if isinstance(value, Mapping):
        return {key: _without_gradient(part) for key, part in value.items()}
    return tf.stop_gradient(value) if tf.is_tensor(value) else value
