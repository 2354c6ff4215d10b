"""What a checked forward costs over the bare network, in microseconds of the processor and in one run.

    hatch run python benchmarks/forwards.py

Each phase of a small module is timed in turns with the bare thing: the same layers and the same
distribution in the same words, without checks, modes and gradient modes around them (acting in torch is
under `no_grad`, as one would write it).
"""

from __future__ import annotations

import time
import timeit
from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces

from rlmodule_core import RLModuleConfig
from rlmodule_specs import checks

CONFIG = RLModuleConfig(
    observation_space=spaces.Box(-1.0, 1.0, (4,)),
    action_space=spaces.Discrete(2),
    model_config_dict={"fcnet_hiddens": [64]},
)
TURN = 0.0002  # seconds of one turn: short, so that both sides of a round meet the same machine
SECONDS = 3.0  # of all turns of one function: longer than other programs keep the machine busy at a stretch


def in_turns(*functions: Callable[[], object]) -> list[float]:
    """Return the microseconds of each function: the lower quartile of its turns, taken one after the other.

    The best turn is a matter of luck where the memory is busy, and the median one of how busy the machine is.
    """
    timers = [timeit.Timer(function, timer=time.process_time) for function in functions]
    took = [timer.timeit(20) / 20 for timer in timers]
    calls = [max(1, int(TURN / seconds)) for seconds in took]
    turns: list[list[float]] = [[] for _ in functions]
    order = list(zip(timers, calls, turns, strict=True))
    for _ in range(int(SECONDS / max(TURN, *took))):
        for timer, n, found in order:
            found.append(timer.timeit(n) / n * 1e6)
        order.reverse()  # as the same function is faster in the second place than in the first
    return [float(np.percentile(found, 25)) for found in turns]


def report(name: str, bare: Callable[[], object], checked: Callable[[], object]) -> None:
    """Print one row: with checks, and with the checks off."""
    base, on = in_turns(bare, checked)
    with checks("off"):
        again, off = in_turns(bare, checked)
    print(f"{name:<24}{base:>9.2f}{on:>10.2f}{on - base:>+9.2f}{off - again:>+12.2f}", flush=True)


def torch_rows() -> None:
    """Time PyTorch."""
    import torch
    from torch import nn

    from rlmodule_torch.bc_module import DiscreteBCTorchModule

    torch.set_num_threads(1)
    module = DiscreteBCTorchModule(CONFIG)
    batch: Any = {"obs": torch.zeros(1, 4)}

    class Bare(nn.Module):
        """The same layers in a plain module."""

        def __init__(self) -> None:
            super().__init__()
            self.policy, self.make_distribution = module.policy, module.make_distribution

        forward_train = DiscreteBCTorchModule._forward_train

    bare: Any = Bare()

    def act() -> object:
        with torch.no_grad():
            return bare.forward_train(batch)

    report("torch train", lambda: bare.forward_train(batch), lambda: module.forward_train(batch))
    report("torch inference", act, lambda: module.forward_inference(batch))
    for name, layers in mode_dependent_layers().items():
        torch_modes(name, layers, batch)


def mode_dependent_layers() -> dict[str, list[Any]]:
    """Return layers of which some ask for the mode, or may for all that anyone knows."""
    from torch import nn

    class Own(nn.Linear):
        """As a user's own layer: nobody else knows whether it asks for the mode."""

    return {
        "dropout": [nn.Linear(4, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 2)],
        "batch norm": [nn.Linear(4, 64), nn.BatchNorm1d(64), nn.Linear(64, 64), nn.BatchNorm1d(64)],
        "softplus": [nn.Linear(4, 64), nn.Softplus(), nn.Linear(64, 64), nn.Softplus()],
        "12 own layers": [Own(4, 4) for _ in range(12)],
    }


def torch_modes(name: str, layers: list[Any], batch: Any) -> None:
    """Time acting with modules that are found in train mode, as they are while learning.

    The layers are there to be switched and are not called: their own time would hide that of the switching.
    """
    import torch
    from torch import nn

    from rlmodule_torch import TorchCategorical, TorchRLModule

    class Switched(TorchRLModule):
        """Layers that are not called."""

        def __init__(self) -> None:
            super().__init__(CONFIG)
            self.net = nn.Sequential(*layers)

        def _forward_exploration(self, batch: Any) -> Any:
            return {"action_dist": TorchCategorical(batch["obs"])}

        _forward_inference = _forward_exploration

    module = Switched()

    def act() -> object:
        with torch.no_grad():
            return module._forward_inference(batch)

    report(f"torch, {name}", act, lambda: module.forward_inference(batch))


def tf_rows() -> None:
    """Time TensorFlow, eagerly and in a graph.

    The network is one product: a call of a Keras layer takes so long that nothing could be seen beside it.
    """
    import tensorflow as tf

    from rlmodule_tf import TfCategorical, TfRLModule

    class Tiny(TfRLModule):
        """One product."""

        def __init__(self, config: RLModuleConfig) -> None:
            super().__init__(config)
            self.weight = tf.Variable(tf.zeros([4, 2]))

        def _forward_exploration(self, batch: Any) -> Any:
            return {"action_dist": TfCategorical(tf.matmul(batch["obs"], self.weight))}

        _forward_inference = _forward_exploration

    module, obs = Tiny(CONFIG), tf.constant(np.zeros((1, 4), np.float32))
    batch, bare = {"obs": obs}, module._forward_exploration
    graph_bare = tf.function(lambda obs: bare({"obs": obs})["action_dist"].inputs)
    graph = tf.function(lambda obs: module.forward_inference({"obs": obs})["action_dist"].inputs)
    report("tf, checks by hand", lambda: bare(batch), lambda: checked_by_hand(bare, batch, TfCategorical))
    report("tf train, eager", lambda: bare(batch), lambda: module.forward_train(batch))
    report("tf inference, eager", lambda: bare(batch), lambda: module.forward_inference(batch))
    layers = tf.keras.layers

    class Holding(Tiny):
        """A Sequential, which may be extended later on. It is called in the constructor only."""

        def __init__(self, config: RLModuleConfig) -> None:
            super().__init__(config)
            self.net = tf.keras.Sequential([layers.Dense(8), layers.Dense(2)])
            self.net(obs)

    hold = Holding(CONFIG)
    held = hold._forward_exploration
    report("tf train, Sequential", lambda: held(batch), lambda: hold.forward_train(batch))
    report("tf inference, Sequential", lambda: held(batch), lambda: hold.forward_inference(batch))

    class Dropping(Tiny):
        """Two dense layers with a dropout between them."""

        def __init__(self, config: RLModuleConfig) -> None:
            super().__init__(config)
            self.net = tf.keras.Sequential([layers.Dense(8), layers.Dropout(0.5), layers.Dense(2)])

        def _forward_exploration(self, batch: Any, **mode: bool) -> Any:
            return {"action_dist": TfCategorical(self.net(batch["obs"], **mode))}

        _forward_inference = _forward_exploration

    drop = Dropping(CONFIG)
    draw = drop._forward_exploration
    report("tf train, dropout", lambda: draw(batch, training=True), lambda: drop.forward_train(batch))
    report("tf inference, graph", lambda: graph_bare(obs), lambda: graph(obs))


def checked_by_hand(forward: Callable[[Any], Any], batch: Any, distribution: type) -> Any:
    """Call a forward between the least that a check of this batch and output can be: the floor for ours.

    An operation of TensorFlow leaves the processor's caches cold, so that each line costs more than in a loop
    of its own.
    """
    if batch.__class__ is not dict:
        raise TypeError("the batch")
    shape = batch["obs"].shape.as_list()
    if not shape or shape[-1] != 4:
        raise ValueError("the shape of obs")
    output = forward(batch)
    if output["action_dist"].__class__ is not distribution:
        raise TypeError("action_dist")
    return output


if __name__ == "__main__":
    print(f"{'microseconds':<24}{'bare':>9}{'checked':>10}{'over':>9}{'checks off':>12}")
    torch_rows()
    tf_rows()
