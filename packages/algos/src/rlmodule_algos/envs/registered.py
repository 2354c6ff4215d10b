"""What a program registered with gymnasium, for processes that do not run it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec, parse_env_id

from rlmodule_algos.envs.make import EnvSource

SCRIPT = "__main__:"  # how an entry point begins that is looked up in the program itself


def registrations(source: EnvSource) -> tuple[EnvSpec, ...]:
    """Return all versions of an id that are registered; none where an import registers them.

    Entry points that are named by "__main__:name" are looked up, as another process has another main.
    """
    if not isinstance(source, str) or ":" in source or source.startswith("ALE/"):
        return ()
    wanted = parse_env_id(source)[:2]
    found = [spec for spec in gym.registry.values() if (spec.namespace, spec.name) == wanted]
    return tuple(
        replace(
            spec, entry_point=_itself(spec.entry_point), vector_entry_point=_itself(spec.vector_entry_point)
        )
        for spec in found
    )


def register_missing(specs: Sequence[EnvSpec]) -> None:
    """Register those whose ids gymnasium does not know in this process."""
    for spec in specs:
        gym.registry.setdefault(spec.id, spec)


def _itself(entry_point: Any) -> Any:
    if isinstance(entry_point, str) and entry_point.startswith(SCRIPT):
        return getattr(sys.modules["__main__"], entry_point.removeprefix(SCRIPT))
    return entry_point
