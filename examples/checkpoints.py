"""Save a module, load it, and carry its weights from PyTorch to TensorFlow."""

from __future__ import annotations

# First, as it has TensorFlow be quiet and repeatable, which is decided when that is imported.
from rlmodule_algos.ppo import PPOTfRLModule, PPOTorchRLModule

# isort: split

import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf
import torch
from gymnasium import spaces

from rlmodule_catalogs import PPOCatalog
from rlmodule_core import CheckpointError, RLModule, RLModuleConfig, register_class


class MyModule(PPOTorchRLModule):
    """A class that no file may bring into a process unless it is known there."""


def loading(folder: Path) -> str:
    """Load what a file names, whatever it is, and say what came of it."""
    try:
        return f"loaded {type(RLModule.from_checkpoint(folder)).__name__}"
    except CheckpointError as error:
        return "refused: " + str(error).partition(": ")[2]


def main() -> None:
    """Do all of it in a temporary folder."""
    config = RLModuleConfig(
        observation_space=spaces.Box(-1.0, 1.0, (4,)),
        action_space=spaces.Discrete(2),
        model_config_dict={"fcnet_hiddens": [64, 64]},
        catalog_class=PPOCatalog,
    )
    obs = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        module = PPOTorchRLModule(config)
        module.save_to_checkpoint(path / "ppo")
        print(sorted(file.name for file in (path / "ppo").iterdir()))

        loaded = PPOTorchRLModule.from_checkpoint(path / "ppo")  # this class
        print(loading(path / "ppo"))  # the class that the file names, which is ours
        batch = {"obs": torch.from_numpy(obs)}
        saved, read = (m.forward_inference(batch)["action_dist"].inputs for m in (module, loaded))
        print(f"equal to the last bit: {torch.equal(saved, read)}")

        MyModule(config).save_to_checkpoint(path / "mine")
        print(loading(path / "mine"))
        register_class(MyModule)  # mostly as a decorator above the class
        print(loading(path / "mine"))

    twin = PPOTfRLModule(config)
    twin.set_state(module.get_state())
    carried = twin.forward_inference({"obs": tf.constant(obs)})["action_dist"]
    apart = np.abs(carried.inputs.numpy() - saved.numpy()).max()
    print(f"TensorFlow with PyTorch's weights: logits within 1e-6: {apart < 1e-6}")


if __name__ == "__main__":
    main()
