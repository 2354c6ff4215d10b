"""An id, a class or a callable -> a gymnasium vector environment."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import gymnasium as gym
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from rlmodule_algos.envs.errors import EnvError, described
from rlmodule_algos.settings import thawed

EnvSource: TypeAlias = str | Callable[[Mapping[str, Any]], Any]
"""An id that gymnasium knows, or what makes an Env or VectorEnv from a mapping of settings."""


def make_vector_env(
    source: EnvSource, env_config: Mapping[str, Any], num_envs: int
) -> VectorEnv[Any, Any, Any]:
    """Return `num_envs` copies as one vector environment.

    An id uses its own vector entry point where it has one, which is the fastest. Everything else is
    stepped in turn, and resets when we say so. A VectorEnv that a callable returns is taken as it is,
    of whatever size. Raises EnvError that names the environment; what was made before is closed.
    """
    try:
        if isinstance(source, str):
            return _from_id(source, thawed(env_config), num_envs)
        return _from_callable(source, env_config, num_envs)
    except EnvError:
        raise
    except Exception as error:  # whatever an environment's constructor raises
        hint = "" if isinstance(source, str) else "; it is called with one mapping, a copy of env_config"
        raise EnvError(
            f"environment {_name(source)}: it could not be made{hint}: {described(error)}"
        ) from error


def _from_id(env_id: str, env_config: dict[str, Any], num_envs: int) -> VectorEnv[Any, Any, Any]:
    module, _, name = env_id.rpartition(":")
    if module:
        importlib.import_module(module)  # which registers the id
    spec = gym.registry.get(name)
    if spec is None or spec.vector_entry_point is not None:  # also an id without version: the newest
        return gym.make_vec(env_id, num_envs, **env_config)
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
    first = source(thawed(env_config))
    if isinstance(first, VectorEnv):
        return first
    made = [first]
    try:
        _require_env(first, source)
        while len(made) < num_envs:
            made.append(source(thawed(env_config)))
            _require_env(made[-1], source)
        if len({id(env) for env in made}) < num_envs:
            raise EnvError(
                f"environment {_name(source)}: it returned the same object twice; it must make a new "
                "environment at every call, as several are stepped side by side"
            )
        return SyncVectorEnv([_already(env) for env in made], autoreset_mode=AutoresetMode.DISABLED)
    except BaseException:
        for env in made:
            if isinstance(env, gym.Env):
                env.close()
        raise


def _already(env: gym.Env[Any, Any]) -> Callable[[], gym.Env[Any, Any]]:
    return lambda: env


def _require_env(made: object, source: EnvSource) -> None:
    if not isinstance(made, gym.Env):
        raise EnvError(
            f"environment {_name(source)}: expected a gymnasium.Env or VectorEnv, got {type(made).__name__}"
        )


def _name(source: EnvSource) -> str:
    return repr(source) if isinstance(source, str) else getattr(source, "__qualname__", repr(source))
