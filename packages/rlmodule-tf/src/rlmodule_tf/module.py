"""The RLModule of TensorFlow: a `tf.Module` with three checked phases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Never

import gymnasium as gym
import numpy as np
import tensorflow as tf

from rlmodule_core import Columns, Distribution, RLModule, RLModuleConfig
from rlmodule_core.distribution import in_words
from rlmodule_core.layer_checks import batch_of_zeros
from rlmodule_core.module import Batch, Output, State, device_is_taken
from rlmodule_core.nest import map_nest
from rlmodule_core.state import check_same_state, flatten_state, nest_state, with_ties
from rlmodule_specs import SpecError
from rlmodule_tf._variables import (
    _KERAS_LAYER,
    _by_name,
    _Held,
    _held_by,
    _Named,
    _named_layers,
    _OwnsVariables,
    _walk,
)
from rlmodule_tf.arrays import as_array, dtypes_of
from rlmodule_tf.bridge import graphs, no_grad, nothing_records, to_tensors
from rlmodule_tf.distributions.base import AnyTfDistribution, TfDistribution
from rlmodule_tf.distributions.native import _SampleLogProbEntropy
from rlmodule_tf.modes import _Contents, _in_inference_mode, _in_train_mode, _modes_matter, keras_state

_as_exploring = RLModule._forward_train  # the default

if TYPE_CHECKING:
    from rlmodule_tf.multi_agent import TfMultiAgentRLModule


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
    action_dist_classes: ClassVar[tuple[type, ...]] = (
        AnyTfDistribution,
        TfDistribution,
        _SampleLogProbEntropy,
    )

    def __init__(self, config: RLModuleConfig | None = None) -> None:
        tf.Module.__init__(self)
        RLModule.__init__(self, config)
        self._may_grow = True  # whether a layer may still make its variables at its first call
        self._constants = 0  # how often what a compiled graph holds as a constant was replaced

    def _finish(self) -> None:
        super()._finish()
        self.make_variables(None if self.config is None else self.config.observation_space)
        self._look_for_modes()  # now, as a Sequential that is built holds a layer more

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if "_modes_matter" in vars(self):  # exchanged after the constructor
            if isinstance(value, (_KERAS_LAYER, tf.Module)):
                self._look_again()
            elif name == "_forward_train":
                self._look_for_modes()

    def _look_for_modes(self) -> None:
        parts = [part for _, part, _ in _walk(self)]
        self._contents = _Contents(parts)
        self._modes_matter = _modes_matter(self._contents.layers)
        self._mode_free = not self._modes_matter and not self._contents.seen
        self._trains_as_its_class = not self._modes_matter and "_forward_train" not in vars(self)

    def _look_again(self) -> None:
        """Look anew, as something was exchanged, or a list, dict or Sequential was extended."""
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
            batch = batch_of_zeros(space, self.get_initial_state(), to_tensors)
            if Columns.STATE_IN in batch:  # for a forward that cannot do without, though callers may
                steps = tf.ones([1, 1], tf.bool)
                batch |= {Columns.MASK: steps, Columns.IS_FIRST: steps}
            self._call_once(batch, lazy)
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

    # The forwards of `RLModule` with nothing called in between: in eager mode each call there takes half a
    # microsecond, as an operation of TensorFlow leaves none of our code in the processor's caches. The checks
    # are not called as methods either: Python looks these up the long way in what has slots.

    def forward_train(self, batch: Batch, **kwargs: Any) -> Output:
        """Compute what a loss needs, with gradients, in train mode."""
        check = self._check_train
        check_input, check_output = check.input, check.output
        sizes = check_input(batch)
        if kwargs or not self._trains_as_its_class or (not self._mode_free and self._contents.changed()):
            output = self._in_training(batch, kwargs)
        elif type(self)._forward_train is _as_exploring:  # what it would do
            output = self._forward_exploration(batch)
        else:
            output = self._forward_train(batch)
        check_output(output, sizes)
        return output

    def forward_exploration(self, batch: Batch, **kwargs: Any) -> Output:
        """Act while learning: actions are drawn from `action_dist`. No gradient, inference mode."""
        check = self._check_exploration
        check_input, check_output = check.input, check.output
        sizes = check_input(batch)
        if (
            nothing_records()
            and not graphs.stack
            and (self._mode_free or keras_state.__dict__.get("current_call_ctx") is None)
            and not kwargs
        ):
            output = self._forward_exploration(batch)
        else:
            output = self._in_acting(self._forward_exploration, batch, kwargs)
        try:
            check_output(output, sizes)
        except SpecError as error:
            raise in_words(error, self.action_dist_classes) from None
        return output

    def forward_inference(self, batch: Batch, **kwargs: Any) -> Output:
        """Act as learned: `action_dist` is taken at its mode. No gradient, inference mode."""
        check = self._check_inference
        check_input, check_output = check.input, check.output
        sizes = check_input(batch)
        if (
            nothing_records()
            and not graphs.stack
            and (self._mode_free or keras_state.__dict__.get("current_call_ctx") is None)
            and not kwargs
        ):
            output = self._forward_inference(batch)
        else:
            output = self._in_acting(self._forward_inference, batch, kwargs)
        try:
            check_output(output, sizes)
        except SpecError as error:
            raise in_words(error, self.action_dist_classes) from None
        return output

    def _in_training(self, batch: Batch, kwargs: dict[str, Any]) -> Output:
        """Train in train mode, where that matters to some layer."""
        if self._contents.seen and self._contents.changed():
            self._look_again()
        if not self._modes_matter:
            return self._forward_train(batch, **kwargs)
        if self._may_grow:  # a walk over all layers, so it ends with the last one that waits
            self._may_grow = bool(self._unbuilt())
            if self._may_grow:  # built in train mode, a Sequential would never leave it
                self._forward_train(batch, **kwargs)
        with _in_train_mode(self._contents.layers):
            return self._forward_train(batch, **kwargs)

    def _in_acting(self, forward: Callable[..., Output], batch: Batch, kwargs: dict[str, Any]) -> Output:
        """Act in inference mode and without gradient inside of what trains, records or is traced."""
        with _in_inference_mode():
            if tf.executing_eagerly():
                with no_grad():
                    return forward(batch, **kwargs)
            output: Output = _without_gradient(forward(batch, **kwargs))
            return output

    @property
    def device(self) -> str:
        """The device of the weights; the CPU for a module without any."""
        first = next(_held_by(self), None)
        return "CPU:0" if first is None else first.variable.device

    @device.setter
    def device(self, value: Never) -> None:
        raise ValueError(device_is_taken(type(self).__name__))

    @classmethod
    def multi_agent_class(cls) -> type[TfMultiAgentRLModule]:
        """Return the container that is a `tf.Module`."""
        from rlmodule_tf.multi_agent import TfMultiAgentRLModule

        return TfMultiAgentRLModule

    def get_state(self) -> State:
        """Return copies of all variables as a nested dict of NumPy arrays.

        A variable that has several names is one array under all of them.
        """
        known = self._tensors()
        return nest_state(with_ties(known, {name: as_array(variable) for name, variable in known.items()}))

    def set_state(self, state: State) -> None:
        """Write weights into the variables that are used; ValueError that lists what does not fit."""
        own, new = self._tensors(), flatten_state(state)
        check_same_state(own, new, where=f"{type(self).__name__}.set_state")
        arrays = {name: np.asarray(new[name], own[name].dtype.as_numpy_dtype) for name in own}
        with _finalized(self) as changed:
            for name, variable in own.items():
                variable.assign(arrays[name])
        self._constants += len(changed)

    def _tensors(self) -> dict[str, _Named]:
        return _by_name(self._known_variables(), type(self).__name__)

    def _dtypes(self) -> dict[str, str]:
        return dtypes_of(self._tensors())

    def _held(self) -> list[_Held]:
        if not self._may_grow and not self._contents.changed():  # then a walk over all layers can be saved
            return list(_held_by(self))
        held = super()._held()
        self._may_grow = False
        return held


@contextmanager
def _finalized(owner: object) -> Iterator[list[Any]]:
    """Let the Keras layers whose variables are changed inside compute anew what they derive from them.

    `Normalization` keeps a mean and a deviation beside its variables. Yields the list of those layers,
    which is filled on the way out.
    """
    found = {id(part): part for _, part in _named_layers(owner) if hasattr(part, "finalize_state")}
    before = [(layer, layer.get_weights()) for layer in found.values()]
    changed: list[Any] = []
    yield changed
    for layer, arrays in before:
        if not all(map(np.array_equal, layer.get_weights(), arrays)):
            layer.finalize_state()
            changed.append(layer)


def _without_gradient(value: Any) -> Any:
    """Stop the gradient of tensors and of our distributions; what else there is stays as it is."""
    if isinstance(value, Distribution):
        try:
            return value.with_inputs(map_nest(tf.stop_gradient, value.inputs))
        except NotImplementedError:  # a foreign one, whose parameters are its own
            return value
    if isinstance(value, Mapping):
        return {key: _without_gradient(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        parts = [_without_gradient(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return tf.stop_gradient(value) if tf.is_tensor(value) else value
