"""RLModules without a framework: the proof that the contract is neutral, and the fast way to act."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, ClassVar, Self
from weakref import WeakKeyDictionary

import numpy as np

from rlmodule_core.columns import Columns
from rlmodule_core.distribution_config import DistributionConfig
from rlmodule_core.module import Batch, Output, RLModule, State
from rlmodule_core.module_config import RLModuleConfig
from rlmodule_core.numpy_distributions import (
    AnyNumpyDistribution,
    Array,
    NumpyDistribution,
    numpy_distribution,
)
from rlmodule_core.numpy_layers import NumpyLayers
from rlmodule_core.state import as_dtype, check_same_state, flatten_state, nest_state


class NumpyRLModule(RLModule):
    """Base of modules whose batches are NumPy arrays; nothing here carries a gradient."""

    framework: ClassVar[str] = "numpy"
    action_dist_classes: ClassVar[tuple[type, ...]] = (AnyNumpyDistribution, NumpyDistribution)


class NumpyPolicy(NumpyRLModule):
    """Observation vector -> dense layers -> action distribution; the same in all three phases.

    It reads its weights where they lie: made from a framework's layers it shares their memory, so
    that a step of the optimizer is seen here at once.
    """

    def __init__(
        self,
        config: RLModuleConfig | None,
        layers: NumpyLayers,
        make_distribution: Callable[[Array], NumpyDistribution],
    ) -> None:
        super().__init__(config)
        self.layers = layers
        self._forward = layers.compile()
        self._make_distribution = make_distribution

    def _finish(self) -> None:
        self._asked = self.input_specs_exploration()  # kept to be compared
        super()._finish()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the compiled pass, which a copy makes anew over its own weights."""
        return {name: value for name, value in vars(self).items() if name != "_forward"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._forward = self.layers.compile()

    def over(self, layers: NumpyLayers) -> Self:
        """Return the same policy with other weights; its checks, which take long to make, are this one's."""
        other = copy.copy(self)
        other.layers, other._forward = layers, layers.compile()
        return other

    def _forward_train(self, batch: Batch, **kwargs: Any) -> Output:
        return {Columns.ACTION_DIST: self._make_distribution(self._forward(batch[Columns.OBS]))}

    def _forward_exploration(self, batch: Batch, **kwargs: Any) -> Output:
        return self._forward_train(batch)

    def _forward_inference(self, batch: Batch, **kwargs: Any) -> Output:
        return self._forward_train(batch)

    def get_state(self) -> State:
        """Return copies of the weights, `{"layers": {"0": {"weight": ..., "bias": ...}, ...}}`."""
        return nest_state({name: array.copy() for name, array in self._tensors().items()})

    def set_state(self, state: State) -> None:
        """Write weights into the memory that is used, after checking that every shape fits."""
        own, new = self._tensors(), flatten_state(state)
        check_same_state(own, new, where=f"{type(self).__name__}.set_state")
        for name, array in own.items():
            np.copyto(array, as_dtype(new[name], array.dtype.name))

    def _tensors(self) -> dict[str, Array]:
        layers: dict[str, Array] = {
            f"layers.{index}.{name}": array
            for index, layer in enumerate(self.layers.layers)
            for name, array in (("weight", layer.weight), ("bias", layer.bias))
        }
        constant, norm = self.layers.constant, self.layers.norm
        if constant is not None:
            layers["constant"] = constant
        if norm is not None:
            layers |= {"norm.mean": norm.mean, "norm.var": norm.var, "norm.count": norm.count}
        return layers


_BLANKS: WeakKeyDictionary[RLModule, NumpyPolicy] = WeakKeyDictionary()


def numpy_form_of(module: RLModule, layers: NumpyLayers, distribution: DistributionConfig) -> NumpyPolicy:
    """Return a module's NumPy form over its layers; only the first for a module has to make its checks."""
    blank = _BLANKS.get(module)
    if blank is None:
        blank = NumpyPolicy(module.config, NumpyLayers(()), numpy_distribution(distribution))
        _BLANKS[module] = blank
    return blank.over(layers)
