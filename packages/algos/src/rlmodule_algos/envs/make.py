"""An id, a class or a callable -> a gymnasium vector environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import gymnasium as gym
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

EnvSource: TypeAlias = str | Callable[[Mapping[str, Any]], Any]
"""An id that gymnasium knows, or what makes an Env or VectorEnv from a mapping of settings."""


class EnvError(ValueError):
    """An environment that cannot be made, or does not keep gymnasium's contract."""


def make_vector_env(
    source: EnvSource, env_config: Mapping[str, Any], num_envs: int
) -> VectorEnv[Any, Any, Any]:
    """Return `num_envs` copies as one vector environment.

    An id uses its own vector entry point where it has one, which is the fastest. Everything else is
    stepped in turn, and resets when we say so. Raises EnvError that names the environment.
    """
    try:
        if isinstance(source, str):
            return _from_id(source, dict(env_config), num_envs)
        return _from_callable(source, env_config, num_envs)
    except EnvError:
        raise
    except Exception as error:  # whatever an environment's constructor raises
        raise EnvError(f"environment {_name(source)}: it could not be made: {error}") from error


def _from_id(env_id: str, env_config: dict[str, Any], num_envs: int) -> VectorEnv[Any, Any, Any]:
    if gym.spec(env_id).vector_entry_point is not None:
        return gym.make_vec(env_id, num_envs, vectorization_mode="vector_entry_point", **env_config)
    return gym.make_vec(
        env_id,
        num_envs,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": AutoresetMode.DISABLED},
        **env_config,
    )


def _from_callable(
    source: Callable[[Mapping[str, Any]], Any], env_config: Mapping[str, Any], num_envs: int
) -> VectorEnv[Any, Any, Any]:
    if not callable(source):
        raise EnvError(
            f"environment: expected an id, a class or a callable of one mapping, got {type(source).__name__}"
        )
    first = source(dict(env_config))
    if isinstance(first, VectorEnv):
        return first
    if not isinstance(first, gym.Env):
        raise EnvError(
            f"environment {_name(source)}: expected a gymnasium.Env or VectorEnv, got {type(first).__name__}"
        )
    made = [lambda: first] + [lambda: source(dict(env_config))] * (num_envs - 1)
    return SyncVectorEnv(made, autoreset_mode=AutoresetMode.DISABLED)


def _name(source: EnvSource) -> str:
    return repr(source) if isinstance(source, str) else getattr(source, "__qualname__", repr(source))
