"""Many modules as one `tf.Module`, which owns them and the variables that they share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from rlmodule_core import MultiAgentRLModule, MultiAgentRLModuleConfig
from rlmodule_tf._variables import _by_name, _Named, _OwnsVariables, _refuse_taken
from rlmodule_tf.arrays import as_array, dtypes_of
from rlmodule_tf.module import _finalized


class TfMultiAgentRLModule(MultiAgentRLModule, _OwnsVariables):
    """A `MultiAgentRLModule` of TensorFlow modules.

    `variables` and `trainable_variables` list a shared one once. Layers that `build()` sets as attributes
    are owned too. Where Keras layers wait for their first call, each module whose recipe has an observation
    space is called once on zeros, so that every variable exists from then on.
    """

    def __init__(self, config: MultiAgentRLModuleConfig | None = None) -> None:
        tf.Module.__init__(self)
        MultiAgentRLModule.__init__(self, config)

    def _own(self) -> None:
        if "_name" not in vars(self):  # built as a container that knew no framework
            name = vars(self).pop("name", None)
            for attribute in vars(self):
                _refuse_taken(type(self), attribute)
            tf.Module.__init__(self)
            self._name = self._name if name is None else name
        vars(self)["_rl_modules"] = dict(self._rl_modules)  # tf.Module would wrap it
        for key, spec in self.config.modules.items():
            if key in self and key not in self._added_ids:  # what was added may be of another recipe
                self[key].make_variables(spec.observation_space)  # type: ignore[attr-defined]

    def _own_variables(self) -> dict[str, _Named]:
        held = {id(variable) for module in self.values() for variable in module._tensors().values()}
        own = ((name, variable) for name, variable in self._known_variables() if id(variable) not in held)
        return _by_name(own, type(self).__name__)

    def _own_arrays(self) -> dict[str, Any]:
        return {name: as_array(variable) for name, variable in self._own_variables().items()}

    def _own_dtypes(self) -> dict[str, str]:
        return dtypes_of(self._own_variables())

    def _set_own_arrays(self, arrays: Mapping[str, Any]) -> None:
        own = self._own_variables()
        with _finalized(self):
            for name, array in arrays.items():
                own[name].assign(np.asarray(array, own[name].dtype.as_numpy_dtype))
