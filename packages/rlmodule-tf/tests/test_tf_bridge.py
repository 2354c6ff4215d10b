"""The way between NumPy and TensorFlow, and what importing the package leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
from threading import Thread
from types import BuiltinFunctionType
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

from rlmodule_core import RLModuleConfig
from rlmodule_tf import TfCategorical, TfRLModule, bridge


def test_arrays_come_back_as_they_went_also_nested_and_on_a_named_device() -> None:
    nest = {"a": np.arange(6.0, dtype=np.float32).reshape(2, 3), "b": (np.array([1, 2]),)}
    for device in (None, "CPU:0"):
        back = bridge.to_numpy(bridge.to_tensors(nest, device))

        np.testing.assert_array_equal(back["a"], nest["a"])
        assert back["b"][0].dtype == np.int64
        back["a"] += 1.0  # writable, and not the tensor's memory


def test_a_tensor_does_not_see_what_happens_to_its_array_later() -> None:
    array = np.zeros(100_000, np.float32)
    tensor = bridge.to_tensors(array)
    array[:] = 1.0

    assert not tensor.numpy().any()


def test_take_gathers_the_rows_of_every_column_in_the_order_asked_for() -> None:
    columns = bridge.to_tensors({"x": np.arange(10), "y": {"z": np.arange(20.0).reshape(10, 2)}})
    taken = bridge.take(columns, np.array([7, 0, 7]))

    assert taken["x"].numpy().tolist() == [7, 0, 7]
    assert taken["y"]["z"].numpy().tolist() == [[14.0, 15.0], [0.0, 1.0], [14.0, 15.0]]


def test_the_mean_of_results_is_taken_field_by_field() -> None:
    results = [(tf.constant(1.0), tf.constant(10.0)), (tf.constant(3.0), tf.constant(30.0))]

    assert bridge.mean_of(results) == [2.0, 20.0]


def test_tensorflow_still_tells_in_c_whether_a_tape_records() -> None:
    """That function is not public; a version that moves it fails here, and acting takes 9 us more."""
    assert isinstance(bridge.nothing_records, BuiltinFunctionType)
    assert bridge.nothing_records()
    x = tf.constant(1.0)
    with tf.GradientTape():
        assert not bridge.nothing_records()
    with tf.autodiff.ForwardAccumulator(x, x):
        assert not bridge.nothing_records()
    assert bridge.nothing_records()


def test_tensorflow_still_tells_without_a_call_whether_a_graph_is_made() -> None:
    """That place is not public; a version that moves it fails here, and acting takes longer."""
    seen: dict[str, set[bool]] = {}

    def look(where: str, x: Any = None) -> Any:
        seen.setdefault(where, set()).update((bool(bridge.graphs.stack), not tf.executing_eagerly()))
        return x

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def graph(x: Any) -> Any:
        look("tf.function")
        return tf.cond(x > 0, lambda: look("branch", x), lambda: x)

    graph(tf.constant(1.0))
    tf.data.Dataset.range(2).map(lambda x: look("tf.data", x))
    with tf.Graph().as_default():
        look("graph")
    look("eager")
    thread = Thread(target=look, args=("thread",))
    thread.start()
    thread.join()

    eager = {"eager": {False}, "thread": {False}}
    assert seen == {"tf.function": {True}, "branch": {True}, "tf.data": {True}, "graph": {True}, **eager}


def test_nothing_is_recorded_without_gradient_and_recording_goes_on_after() -> None:
    x = tf.constant(3.0)
    with tf.GradientTape() as tape:
        tape.watch(x)
        with bridge.no_grad():
            hidden = x * x
        loss = x * hidden

    assert float(np.asarray(tape.gradient(loss, x))) == 9.0


class Tracing(TfRLModule):
    """Notes each time its forward runs in Python: once a trace."""

    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        self.weight = tf.Variable(tf.ones([4, 2]))
        self.traced = 0

    def _forward_exploration(self, batch: Any) -> Any:
        self.traced += 1
        return {
            "action_dist": TfCategorical(tf.matmul(batch["obs"], self.weight)),
            "rows": tf.shape(batch["obs"])[0],
        }

    _forward_inference = _forward_exploration


@pytest.mark.parametrize("forward", ["forward_train", "forward_exploration", "forward_inference"])
def test_a_forward_is_traced_once_for_batches_of_all_sizes(forward: str) -> None:
    module = Tracing(
        RLModuleConfig(observation_space=spaces.Box(-1.0, 1.0, (4,)), action_space=spaces.Discrete(2))
    )
    for rows in (3, 1, 7):
        batch = {"obs": tf.ones([rows, 4]), "once": tf.ones([])}
        assert int(bridge.call(module, forward, batch)["rows"]) == rows

    assert module.traced == 1


def test_a_seed_repeats_what_tensorflow_and_keras_draw() -> None:
    drawn = []
    for number in (1, 1, 2):
        bridge.seed(number)
        layer = tf.keras.layers.Dense(3)
        layer.build((None, 2))
        drawn.append((tf.random.normal([4]).numpy(), layer.kernel.numpy()))

    for first, same, other in zip(*drawn, strict=True):
        np.testing.assert_array_equal(first, same)
        assert not np.allclose(first, other)


@pytest.mark.parametrize("name", ["cpu", "CPU:0"])
def test_variables_made_on_a_device_are_there(name: str) -> None:
    with bridge.on_device(name):
        assert tf.Variable(tf.ones([1])).device.endswith("CPU:0")


@pytest.mark.parametrize("name", ["cuda:7", "nowhere"])
def test_a_device_that_is_not_there_is_refused_instead_of_replaced(name: str) -> None:
    with (
        pytest.raises(
            ValueError, match=rf"device '{name}' cannot be used by TensorFlow here, which has CPU:0"
        ),
        bridge.on_device(name),
    ):
        pass


def test_bfloat16_which_numpy_lacks_comes_back_as_float32() -> None:
    array = bridge.to_numpy(tf.constant([1.5, 2.0], tf.bfloat16))

    assert array.dtype == np.float32
    assert array.tolist() == [1.5, 2.0]


def test_asking_for_threads_after_the_first_computation_is_no_error() -> None:
    tf.zeros([1])
    with bridge.threads(1):
        assert float(tf.ones([])) == 1.0


def test_importing_and_computing_writes_nothing_to_the_terminal() -> None:
    code = "import rlmodule_tf, tensorflow as tf; tf.matmul(tf.ones([2, 2]), tf.ones([2, 2])); tf.keras.Model"
    plain = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=plain)

    assert ran.stderr == ""
    assert ran.stdout == ""


def test_a_log_level_that_the_user_has_set_is_kept() -> None:
    code = "import os, rlmodule_tf; print(os.environ['TF_CPP_MIN_LOG_LEVEL'])"
    given = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=given)

    assert ran.stdout.strip() == "3"


def test_without_tensorflow_the_import_fails_with_what_to_install() -> None:
    code = (
        "import importlib.util\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name: None if name == 'tensorflow' else find(name)\n"
        "import rlmodule_tf\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert ran.returncode != 0
    last = ran.stderr.strip().splitlines()[-1]
    assert (
        last
        == "ImportError: rlmodule-tf needs TensorFlow: pip install 'rlmodule-tf[cpu]' or 'rlmodule-tf[cuda]'"
    )
