"""Between NumPy and TensorFlow, whose tensors own their memory: here every array is copied once."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from rlmodule_core.module import Batch, Output, RLModule
from rlmodule_core.nest import Nest, map_nest
from rlmodule_tf.arrays import as_array
from rlmodule_tf.distributions import as_distribution

# Neither is public, so there may be none; then acting looks the long way whether there is anything to see or
# not. `tf.executing_eagerly()` would say it too, but goes through two functions in Python.
try:
    from tensorflow.python.framework.ops import _default_graph_stack as graphs
    from tensorflow.python.pywrap_tfe import TFE_Py_TapeSetIsEmpty as nothing_records
except ImportError:  # pragma: no cover

    class graphs:  # type: ignore[no-redef]
        """Stands for the graphs that are being made in this thread, which nobody tells: there may be some."""

        stack = (None,)

    def nothing_records() -> object:
        """Return whether no tape can be recording in this thread."""
        return False


__all__ = [
    "as_array",
    "as_distribution",
    "call",
    "graphs",
    "mean_of",
    "no_grad",
    "nothing_records",
    "on_device",
    "seed",
    "take",
    "threads",
    "to_numpy",
    "to_tensors",
]


def to_tensors(nest: Nest, device: str | None = None) -> Nest:
    """Turn a nest of arrays into a nest of tensors; None lets TensorFlow choose the device."""
    if device is None:
        return map_nest(tf.convert_to_tensor, nest)
    with tf.device(device):
        return map_nest(tf.convert_to_tensor, nest)


def to_numpy(nest: Nest) -> Nest:
    """Turn a nest of tensors into a nest of arrays, without their gradients."""
    return map_nest(as_array, nest)


def call(module: RLModule, forward: str, batch: Batch) -> Output:
    """Call one of the public forwards, by name, as a compiled graph that is traced once for all batch sizes.

    A forward that cannot be compiled (it computes in NumPy, say) runs eagerly from then on. Exchanging a
    layer of the module afterwards is not noticed.
    """
    constants, compiled = _compiled.get(module, (-1, {}))
    if constants != getattr(module, "_constants", 0):  # graphs hold the old ones
        compiled = {}
        _compiled[module] = getattr(module, "_constants", 0), compiled
    if forward in compiled:
        known: Output = compiled[forward](dict(batch))
        return known
    own = weakref.ref(module)  # or the module would live as long as this dictionary

    def run(columns: Batch) -> Output:
        output: Output = getattr(own(), forward)(columns)
        return output

    compiled[forward] = tf.function(run, reduce_retracing=True, autograph=False)
    try:
        compiled[forward].get_concrete_function(map_nest(_of_any_size, dict(batch)))
        output: Output = compiled[forward](dict(batch))
    except Exception:  # of the forward itself, which the next line raises again, or of compiling it
        output = run(batch)
        compiled[forward] = run
    return output


_compiled: weakref.WeakKeyDictionary[RLModule, tuple[int, dict[str, Any]]] = weakref.WeakKeyDictionary()


def _of_any_size(leaf: Any) -> Any:
    """Return what a graph takes for a leaf of a batch: a tensor with any number of rows."""
    if not tf.is_tensor(leaf) or not leaf.shape.rank:
        return leaf
    return tf.TensorSpec([None, *leaf.shape[1:]], leaf.dtype)


def take(columns: Mapping[str, Nest], indices: npt.NDArray[np.int64]) -> dict[str, Nest]:
    """Gather rows `indices` of every column into new contiguous tensors."""
    rows = tf.convert_to_tensor(indices)
    return {name: map_nest(lambda t: tf.gather(t, rows), column) for name, column in columns.items()}


def mean_of(results: Sequence[Sequence[tf.Tensor]]) -> list[float]:
    """Return the mean of each field over several results of scalars, in one transfer."""
    flat = tf.stack([field for result in results for field in result])
    rows = tf.reshape(tf.cast(flat, tf.float64), [len(results), -1])
    means: list[float] = tf.reduce_mean(rows, axis=0).numpy().tolist()
    return means


def seed(number: int) -> None:
    """Seed the framework's own generators, which native distributions and dropout draw from.

    Keras draws seeds of its own from `random`, so that and NumPy's global generator are seeded too.
    """
    tf.keras.utils.set_random_seed(number)


@contextmanager
def on_device(device: str) -> Iterator[None]:
    """Make layers and tensors on `device` inside ("cuda" is TensorFlow's "GPU").

    Raises ValueError if it cannot be used; TensorFlow would take another in silence.
    """
    name = device.upper().replace("CUDA", "GPU")
    name = name if ":" in name else f"{name}:0"
    known = [found.name.removeprefix("/device:") for found in tf.config.list_logical_devices()]
    if name not in known:
        raise ValueError(f"device {device!r} cannot be used by TensorFlow here, which has {', '.join(known)}")
    with tf.device(name):
        yield


@contextmanager
def no_grad() -> Iterator[None]:
    """Record no gradient inside.

    While a `tf.function` is traced this does nothing, as its tapes cannot be paused from outside;
    `tf.stop_gradient` is for there.
    """
    if not tf.executing_eagerly():
        yield
        return
    with tf.init_scope():  # documented to pause every tape
        yield


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Compute with `count` threads (None: as it would), if TensorFlow has computed nothing yet.

    Its thread pools are made once a process, so what comes first decides for good.
    """
    if count is not None:
        with suppress(RuntimeError):  # raised once the pools exist
            tf.config.threading.set_intra_op_parallelism_threads(count)
            tf.config.threading.set_inter_op_parallelism_threads(count)
    yield
