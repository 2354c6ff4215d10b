"""What travels between the process that learns and the runners elsewhere. All of it is immutable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from rlmodule_algos.batching import Fragment
from rlmodule_algos.learning import Added
from rlmodule_algos.sampling import EpisodeCounts
from rlmodule_core.module import State


@dataclass(frozen=True)
class Snapshot:
    """The modules as they were at one moment: weights, and the normaliser, which is part of them."""

    number: int  # of this snapshot; a runner that has it already need not read it again
    version: int  # of the weights; a fragment bears it
    states: State  # {module id: state}
    added: Mapping[str, Added]
    trained: tuple[str, ...]
    mapping: bytes | None = None  # pickled, who acts for whom now; None: whoever did from the start


@dataclass(frozen=True)
class Request:
    """One fragment that a runner shall sample."""

    sequence: int  # counts the requests to one incarnation, from 0
    epoch: int  # counts how often the run was set to a saved state
    num_env_steps: int
    seed: int  # another one than last time: start all environments anew with it


class Receipt(NamedTuple):
    """Which fragment this is."""

    runner: int
    incarnation: int  # counts the processes that were this runner, from 1
    sequence: int
    epoch: int
    weights_version: int
    num_env_steps: int


@dataclass(frozen=True)
class Delivery:
    """A fragment of each module that acted, and what happened while it was sampled."""

    receipt: Receipt
    fragments: Mapping[str, Fragment]
    episodes: EpisodeCounts
    env_seconds: float
