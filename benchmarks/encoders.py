"""What our encoders cost over the same layers in plain framework code, as ratios of one run.

    hatch run python benchmarks/encoders.py [--rounds 40] [--device cuda]

In every round each side has its turn, the first of them every other time; the figure is the median of the
rounds' ratios, of CPU time on a CPU, which other work on the machine moves less. The plain side is
what one would write: `nn.Conv2d` or Keras' `Conv2D` behind each other on images that are cast and scaled,
`nn.LSTM` or Keras' `LSTM` on vectors. TensorFlow runs compiled, as it is used.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from rlmodule_core import CNNEncoderConfig, ConvLayer, RecurrentEncoderConfig

NATURE_CNN = CNNEncoderConfig(
    image=(84, 84, 4),
    layers=(
        ConvLayer(channels=32, kernel=(8, 8), stride=(4, 4), padding="valid"),
        ConvLayer(channels=64, kernel=(4, 4), stride=(2, 2), padding="valid"),
        ConvLayer(channels=64, kernel=(3, 3), padding="valid"),
    ),
    scale=1 / 255,
    hidden=(512,),
    initializer="kaiming_uniform",
)
T, B, INPUTS, HIDDEN = 20, 32, 64, 128
IMAGES = (1, 32, 256)


class Vectors:
    """A config of an encoder that does nothing: the LSTM alone is what is compared."""

    output_dim = INPUTS

    def build(self, framework: str) -> Any:
        """Return the identity."""
        if framework == "torch":
            from torch import nn

            return nn.Identity()
        import tensorflow as tf

        return tf.identity


LSTM = RecurrentEncoderConfig(base=Vectors(), hidden_dim=HIDDEN)


def images(rows: int) -> np.ndarray[Any, Any]:
    """Return bytes, `[rows, 84, 84, 4]`."""
    return np.random.default_rng(0).integers(0, 256, (rows, 84, 84, 4)).astype(np.uint8)


def vectors() -> np.ndarray[Any, Any]:
    """Return floats, `[B, T, INPUTS]`."""
    return np.random.default_rng(0).normal(size=(B, T, INPUTS)).astype(np.float32)


clock = time.process_time  # of all threads; where a device works, the time on the wall instead


def report(name: str, plain: Callable[[], object], ours: Callable[[], object], rounds: int) -> None:
    """Print one row: the median times, and the median of the ratios."""
    times: list[tuple[float, float]] = []
    for index in range(rounds + 3):
        found = []
        for run in (plain, ours) if index % 2 else (ours, plain):
            start = clock()
            run()
            found.append(clock() - start)
        times.append((found[0], found[1]) if index % 2 else (found[1], found[0]))
    kept = times[3:]  # the first are for warming up
    base, own = (statistics.median(column) * 1e3 for column in zip(*kept, strict=True))
    ratio = statistics.median(ours / plain for plain, ours in kept)
    print(f"{name:<38}{base:>9.2f}{own:>9.2f}{ratio:>8.3f}", flush=True)


def torch_rows(rounds: int, device: str) -> None:
    """Time PyTorch."""
    import torch
    from torch import Tensor, nn

    torch.set_num_threads(1)
    network: Any = nn.Sequential(
        *(nn.Conv2d(4, 32, 8, 4), nn.ReLU(), nn.Conv2d(32, 64, 4, 2), nn.ReLU()),
        *(nn.Conv2d(64, 64, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3136, 512), nn.ReLU()),
    ).to(device)
    memory: Any = nn.LSTM(INPUTS, HIDDEN, batch_first=True).to(device)
    cnn, lstm = NATURE_CNN.build("torch").to(device), LSTM.build("torch").to(device)
    state = {name: torch.zeros(B, HIDDEN, device=device) for name in ("h", "c")}
    pair = (state["h"][None], state["c"][None])

    def plain_cnn(x: Tensor) -> Any:
        return network(x.permute(0, 3, 1, 2).float() / 255)

    def compare(name: str, x: Any, plain: Callable[[Any], Any], ours: Callable[[Any], Any]) -> None:
        x = torch.from_numpy(x).to(device)

        def forward(call: Callable[[Any], Any]) -> None:
            with torch.no_grad():
                call(x).sum().item()  # waits for the device

        def learn(call: Callable[[Any], Any]) -> None:
            for module in (network, memory, cnn, lstm):
                module.zero_grad()
            total = call(x).sum()
            total.backward()
            total.item()
            if device == "cuda":
                torch.cuda.synchronize()

        report(f"torch  {name} forward", partial(forward, plain), partial(forward, ours), rounds)
        report(f"torch  {name} and backward", partial(learn, plain), partial(learn, ours), rounds)

    for rows in IMAGES:
        compare(f"NatureCNN {rows:>3}", images(rows), plain_cnn, cnn)
    compare("LSTM", vectors(), lambda x: memory(x, pair)[0], lambda x: lstm(x, state)[0])


def tf_rows(rounds: int) -> None:
    """Time TensorFlow, compiled."""
    import rlmodule_tf  # noqa: F401  # sets what TensorFlow reads when it is imported

    import tensorflow as tf  # isort: skip

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    layers = tf.keras.layers
    network: Any = tf.keras.Sequential(
        [
            *(layers.Conv2D(n, k, s, activation="relu") for n, k, s in ((32, 8, 4), (64, 4, 2), (64, 3, 1))),
            *(layers.Flatten(), layers.Dense(512, activation="relu")),
        ]
    )
    memory: Any = layers.LSTM(HIDDEN, return_sequences=True, return_state=True)
    cnn, lstm = NATURE_CNN.build("tf"), LSTM.build("tf")
    state = {name: tf.zeros([B, HIDDEN]) for name in ("h", "c")}

    def compiled(call: Callable[[Any], Any], owner: Any) -> tuple[Any, Any]:
        def learn(x: tf.Tensor) -> Any:
            with tf.GradientTape() as tape:
                total = tf.reduce_sum(call(x))
            return tape.gradient(total, list(owner.trainable_variables))

        return tf.function(call, autograph=False), tf.function(learn, autograph=False)

    def compare(name: str, x: Any, plain: tuple[Any, Any], ours: tuple[Any, Any]) -> None:
        x = tf.constant(x)
        plain[0](x)  # Keras makes its variables
        for kind, one, other in zip(("forward", "and backward"), plain, ours, strict=True):
            report(f"tf     {name} {kind}", partial(one, x), partial(other, x), rounds)

    plain_cnn = compiled(lambda x: network(tf.cast(x, tf.float32) / 255.0), network)
    plain_lstm = compiled(lambda x: memory(x, initial_state=[state["h"], state["c"]])[0], memory)
    for rows in IMAGES:
        compare(f"NatureCNN {rows:>3}", images(rows), plain_cnn, compiled(lambda x: cnn(x), cnn))
    compare("LSTM", vectors(), plain_lstm, compiled(lambda x: lstm(x, state)[0], lstm))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--framework", choices=["torch", "tf"])
    arguments = parser.parse_args()
    if arguments.device != "cpu":
        clock = time.perf_counter
    print(f"{'one thread':<38}{'plain ms':>9}{'ours ms':>9}{'ratio':>8}")
    if arguments.framework != "tf":
        torch_rows(arguments.rounds, arguments.device)
    if arguments.framework != "torch" and arguments.device == "cpu":
        tf_rows(arguments.rounds)
