"""One gradient step. Knows nothing of algorithms: the loss is a function that it is given.

Source of the optimizer: Kingma and Ba 2015, https://arxiv.org/abs/1412.6980 (Adam).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from rlmodule_core.nest import Nest, leaves, map_nest, unflatten
from rlmodule_tf._kernels import Kernel
from rlmodule_tf._variables import _kernels
from rlmodule_tf.bridge import as_array

GradClip: TypeAlias = Literal["value", "norm", "global_norm"]
LossFunction: TypeAlias = Callable[[Mapping[str, Any], Mapping[str, Any]], NamedTuple]
"""(minibatch, coefficients) -> named tuple of scalars whose first field is the loss to minimise."""

MOMENTS = ("exp_avg", "exp_avg_sq")
BETA_1, BETA_2 = 0.9, 0.999


class StepResult(NamedTuple):
    """What one step did."""

    loss: Any  # the named tuple that the loss function returned
    grad_norm: tf.Tensor  # scalar, before clipping
    applied: bool  # False: the gradient was not finite and the weights were left alone


class TfUpdater:
    """Adam over the variables of a module that learn, with its moments in flat variables.

    Which those are it asks once: freeze a layer before, or make a new updater after it.

    The whole step is one compiled graph. It is traced once for each kind of minibatch (its columns,
    their dtypes and sizes without the first), whatever the number of rows; the coefficients,
    the learning rate among them, are inputs of the graph: the loss gets them as scalar tensors. Python's
    `if` and `for` over tensors need a `tf.function` of one's own around them: AutoGraph is off.
    """

    def __init__(
        self,
        module: tf.Module,
        loss_function: LossFunction,
        *,
        adam_epsilon: float = 1e-5,
        grad_clip: float | None = None,
        grad_clip_by: GradClip = "global_norm",
    ) -> None:
        if grad_clip_by not in get_args(GradClip):
            raise ValueError(f"grad_clip_by: expected one of {get_args(GradClip)}, got {grad_clip_by!r}")
        self._variables = list(module.trainable_variables)
        if not self._variables:
            raise ValueError(f"{type(module).__name__} has no trainable parameters")
        dtypes = {variable.dtype.name for variable in self._variables}
        if len(dtypes) > 1:
            raise ValueError(f"trainable parameters must share one dtype, got {sorted(dtypes)}")
        known = _kernels(module)
        self._kernels = [known.get(id(variable)) for variable in self._variables]
        self._module = module
        self._loss_function = loss_function
        self._epsilon = adam_epsilon
        self._grad_clip = grad_clip
        self._grad_clip_by = grad_clip_by
        self._sizes = [int(np.prod(variable.shape)) for variable in self._variables]
        with tf.device(self._variables[0].device):
            zeros = tf.zeros([sum(self._sizes)], self._variables[0].dtype)
            self._exp_avg = tf.Variable(zeros, trainable=False)
            self._exp_avg_sq = tf.Variable(zeros, trainable=False)
        self._num_steps = tf.Variable(tf.constant(0, tf.int64), trainable=False)
        self._compiled: dict[object, Any] = {}

    def step(self, batch: Mapping[str, Any], coefficients: Mapping[str, float]) -> StepResult:
        """Take one step on a minibatch with the learning rate `coefficients["lr"]`.

        A gradient that is not finite changes nothing.
        """
        loss, norm, applied = self._run("step", batch, coefficients)
        return StepResult(loss, norm, bool(applied))

    def gradient(
        self, batch: Mapping[str, Any], coefficients: Mapping[str, float]
    ) -> tuple[NamedTuple, npt.NDArray[Any]]:
        """Return the loss and its gradient, flat over all parameters, as NumPy, and change nothing.

        This and `apply` are the halves of `step`, for gradients that several learners share.
        """
        loss, gradient = self._run("gradient", batch, coefficients)
        return type(loss)(*map(as_array, loss)), as_array(gradient)

    def apply(self, gradient: npt.NDArray[Any], lr: float) -> tuple[tf.Tensor, bool]:
        """Take one step against a gradient that `gradient` returned, or a mean of several.

        Returns its norm before clipping, and whether the step was taken: not if it is not finite.
        """
        if "apply" not in self._compiled:
            self._compiled["apply"] = tf.function(self._descend, autograph=False)
        flat = tf.constant(gradient, self._exp_avg.dtype)
        norm, applied = self._compiled["apply"](flat, tf.constant(lr, tf.float64))
        return norm, bool(applied)

    def get_weights(self) -> npt.NDArray[Any]:
        """Return all parameters that learn, flat, in the order of the gradient."""
        return np.concatenate([as_array(variable).reshape(-1) for variable in self._variables])

    def set_weights(self, weights: npt.NDArray[Any]) -> None:
        """Set what `get_weights` returned, also that of another process with the same module."""
        parts = np.split(np.asarray(weights), np.cumsum(self._sizes)[:-1])
        for variable, part in zip(self._variables, parts, strict=True):
            variable.assign(part.reshape(variable.shape))

    def get_state(self) -> dict[str, Any]:
        """Return Adam's moments, each a flat array over all parameters, and its number of steps."""
        num_steps = int(self._num_steps.numpy())
        if not num_steps:
            return {"step": 0}
        return {"step": num_steps, **self._turned(Kernel.flat_known, self._moment_arrays())}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Set what `get_state` returned. Raises ValueError if it belongs to other parameters."""
        missing = {"step", *(MOMENTS if state.get("step") else ())} - set(state)
        if missing:
            raise ValueError(f"optimizer state: {', '.join(sorted(missing))} missing")
        size = (sum(self._sizes),)
        if state["step"]:
            for name in MOMENTS:
                if np.shape(state[name]) != size:
                    raise ValueError(f"optimizer state {name}: expected {size}, got {np.shape(state[name])}")
        dtype = self._exp_avg.dtype.as_numpy_dtype
        zeros = np.zeros(size, dtype)
        moments = {name: np.asarray(state[name] if state["step"] else zeros, dtype) for name in MOMENTS}
        moments = self._turned(Kernel.flat_stored, moments)
        self._num_steps.assign(int(state["step"]))
        for name, own in self._moments().items():
            own.assign(moments[name])

    def _moments(self) -> dict[str, tf.Variable]:
        return dict(zip(MOMENTS, (self._exp_avg, self._exp_avg_sq), strict=True))

    def _moment_arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {name: as_array(own) for name, own in self._moments().items()}

    def _turned(
        self, turn: Callable[[Kernel, npt.NDArray[Any]], npt.NDArray[Any]], flat: dict[str, npt.NDArray[Any]]
    ) -> dict[str, npt.NDArray[Any]]:
        """Return flat arrays over all parameters with those of kernels in the other order."""
        if not any(self._kernels):
            return flat
        ends = np.cumsum(self._sizes)[:-1]
        return {
            name: np.concatenate(
                [
                    part if kernel is None else turn(kernel, part)
                    for kernel, part in zip(self._kernels, np.split(array, ends), strict=True)
                ]
            )
            for name, array in flat.items()
        }

    def _run(self, name: str, batch: Mapping[str, Any], coefficients: Mapping[str, float]) -> Any:
        """Run `_step` or `_gradient` as a graph, which is traced where there is none yet."""
        columns = dict(batch)
        kind = (name, _kind(columns), tuple(coefficients), getattr(self._module, "_constants", 0))
        run = self._compiled.get(kind)
        if run is None:
            traced = {"step": self._step, "gradient": self._loss_and_gradient}[name]
            run = self._compiled[kind] = self._compile(traced, columns, tuple(coefficients))
        return run(*leaves(columns), tf.constant(list(coefficients.values()), tf.float64))

    def _compile(self, traced: Callable[..., Any], columns: dict[str, Nest], names: tuple[str, ...]) -> Any:
        """Trace a function for minibatches like this one, with any number of rows."""
        structure = map_nest(lambda _: None, columns)

        def run(*inputs: tf.Tensor) -> Any:
            exact = dict(zip(names, tf.unstack(inputs[-1]), strict=True))
            coefficients = {name: tf.cast(value, self._exp_avg.dtype) for name, value in exact.items()}
            return traced(unflatten(structure, inputs[:-1]), coefficients, exact["lr"])

        rows = [tf.TensorSpec([None, *leaf.shape[1:]], leaf.dtype) for leaf in leaves(columns)]
        scalars = tf.TensorSpec([len(names)], tf.float64)
        return tf.function(run, autograph=False).get_concrete_function(*rows, scalars)

    def _step(
        self, batch: Mapping[str, Any], coefficients: Mapping[str, tf.Tensor], lr: tf.Tensor
    ) -> tuple[NamedTuple, tf.Tensor, tf.Tensor]:
        loss, gradient = self._loss_and_gradient(batch, coefficients, lr)
        return loss, *self._descend(gradient, lr)

    def _loss_and_gradient(
        self, batch: Mapping[str, Any], coefficients: Mapping[str, tf.Tensor], _lr: tf.Tensor
    ) -> tuple[NamedTuple, tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._variables)
            loss = self._loss_function(batch, coefficients)
        zero = tf.UnconnectedGradients.ZERO
        parts = tape.gradient(loss[0], self._variables, unconnected_gradients=zero)
        return loss, tf.concat([tf.reshape(tf.convert_to_tensor(part), [-1]) for part in parts], axis=0)

    def _descend(self, gradient: tf.Tensor, lr: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Clip the gradient and step, if it is finite."""
        norm = tf.norm(gradient)
        applied = tf.math.is_finite(norm)
        tf.cond(applied, lambda: self._apply(self._clip(gradient, norm), lr), lambda: None)
        return norm, applied

    def _clip(self, gradient: tf.Tensor, norm: tf.Tensor) -> tf.Tensor:
        if self._grad_clip is None:
            return gradient
        limit = self._grad_clip
        clipped: tf.Tensor
        if self._grad_clip_by == "value":
            clipped = tf.clip_by_value(gradient, -limit, limit)
        elif self._grad_clip_by == "global_norm":
            clipped = gradient * tf.minimum(limit / norm, 1.0)
        else:
            parts = tf.split(gradient, self._sizes)
            clipped = tf.concat([part * tf.minimum(limit / tf.norm(part), 1.0) for part in parts], axis=0)
        return clipped

    def _apply(self, gradient: tf.Tensor, lr: tf.Tensor) -> None:
        """Adam's step, in the order of PyTorch's: the corrections are float64, the rest is not."""
        t = tf.cast(self._num_steps.assign_add(1), tf.float64)
        m = self._exp_avg.assign_add((1.0 - BETA_1) * (gradient - self._exp_avg))
        v = self._exp_avg_sq.assign(BETA_2 * self._exp_avg_sq + (1.0 - BETA_2) * gradient * gradient)
        rate = tf.cast(lr / (1.0 - BETA_1**t), gradient.dtype)
        scale = tf.cast(tf.sqrt(1.0 - BETA_2**t), gradient.dtype)
        change = rate * m / (tf.sqrt(v) / scale + self._epsilon)
        for variable, part in zip(self._variables, tf.split(change, self._sizes), strict=True):
            variable.assign_sub(tf.reshape(part, variable.shape))


def _kind(nest: Nest) -> object:
    """Return what a trace depends on: structure, dtypes, and all sizes but the first."""
    if isinstance(nest, Mapping):
        return tuple((key, _kind(part)) for key, part in nest.items())
    if isinstance(nest, (tuple, list)):
        return tuple(map(_kind, nest))
    return nest.dtype, tuple(nest.shape[1:])


make_updater = TfUpdater
