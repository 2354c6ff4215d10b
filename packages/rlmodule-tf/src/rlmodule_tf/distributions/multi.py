"""Nested distributions, and all of them by kind."""

from __future__ import annotations

import tensorflow as tf

from rlmodule_core import NumpyMultiDistribution
from rlmodule_core.parametric_distribution import Classes, MultiDistribution
from rlmodule_tf.arrays import as_array
from rlmodule_tf.distributions.base import TfParametric
from rlmodule_tf.distributions.bernoulli import TfBernoulli
from rlmodule_tf.distributions.categorical import TfCategorical, TfMultiCategorical
from rlmodule_tf.distributions.deterministic import TfDeterministic
from rlmodule_tf.distributions.gaussian import TfDiagGaussian, TfSquashedGaussian


class TfMultiDistribution(MultiDistribution[tf.Tensor], TfParametric):
    """Independent parts over the leaves of a nest; see `MultiDistribution`."""

    kind = "MultiDistribution"

    @classmethod
    def _classes(cls) -> Classes:
        return DISTRIBUTIONS

    def _split(self, inputs: tf.Tensor, sizes: list[int]) -> list[tf.Tensor]:
        return list(tf.split(inputs, sizes, axis=-1))

    def to_numpy(self) -> NumpyMultiDistribution | None:
        """Return the same distribution over NumPy arrays, or None if a part has no such form."""
        parts = self._numpy_parts()
        return None if parts is None else NumpyMultiDistribution(as_array(self.inputs), parts=parts)

    def to_deterministic(self) -> TfDeterministic:
        """Return the mode of each part."""
        return TfDeterministic(self._modes())


DISTRIBUTIONS: dict[str, type[TfParametric]] = {
    cls.kind: cls
    for cls in (
        TfBernoulli,
        TfCategorical,
        TfDeterministic,
        TfDiagGaussian,
        TfMultiCategorical,
        TfMultiDistribution,
        TfSquashedGaussian,
    )
}
