"""An id, a class or a callable -> environments side by side, of one agent or of several."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import gymnasium as gym
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from rlmodule_algos.envs.errors import EnvError, described
from rlmodule_algos.envs.multi_agent import MultiAgentEnv
from rlmodule_algos.envs.multi_agent_vector import MultiAgentVectorEnv
from rlmodule_algos.envs.pettingzoo import ParallelEnvAdapter, is_parallel_env, is_turn_based_env
from rlmodule_algos.envs.sync_multi_agent import SyncMultiAgentVectorEnv
from rlmodule_algos.settings import thawed

EnvSource: TypeAlias = str | Callable[[Mapping[str, Any]], Any]
"""An id that gymnasium knows, or what makes an environment from a mapping of settings: a gymnasium Env
or VectorEnv, a MultiAgentEnv or MultiAgentVectorEnv, or a PettingZoo parallel environment."""

SideBySide: TypeAlias = VectorEnv[Any, Any, Any] | MultiAgentVectorEnv


def make_env(source: EnvSource, env_config: Mapping[str, Any], num_envs: int) -> SideBySide:
    """Return `num_envs` copies, of one agent or of several, stepped as one.

    An id uses its own vector entry point where it has one, and a MultiAgentEnv class its `make_vector`,
    which are the fastest. Everything else is stepped in turn, and resets when we say so. What a callable
    returns in vector form is taken as it is, of whatever size. Raises EnvError that names the
    environment; what was made before is closed.
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


def make_vector_env(
    source: EnvSource, env_config: Mapping[str, Any], num_envs: int
) -> VectorEnv[Any, Any, Any]:
    """Return what `make_env` returns. Raises EnvError if it is of several agents."""
    made = make_env(source, env_config, num_envs)
    if isinstance(made, MultiAgentVectorEnv):
        made.close()
        raise EnvError(
            f"environment {_name(source)}: expected an environment of one agent, got one of "
            f"{sorted(made.possible_agents)}"
        )
    return made


def _from_id(env_id: str, env_config: dict[str, Any], num_envs: int) -> VectorEnv[Any, Any, Any]:
    module, _, name = env_id.rpartition(":")
    if module:
        importlib.import_module(module)  # which registers the id
    if name.startswith("ALE/"):
        _register_atari(env_id)
    spec = gym.registry.get(name)
    if spec is None or spec.vector_entry_point is not None:  # also an id without version: the newest
        return _with_own_metadata(lambda: gym.make_vec(env_id, num_envs, **env_config))
    return gym.make_vec(
        env_id,
        num_envs,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": AutoresetMode.DISABLED},
        **env_config,
    )


def _register_atari(env_id: str) -> None:
    try:
        importlib.import_module("ale_py")  # which registers the ids
    except ImportError as error:
        raise EnvError(
            f"environment {env_id!r}: Atari needs ale-py, which is not installed: "
            "pip install 'rlmodule-algos[atari]'"
        ) from error


def _with_own_metadata(make: Callable[[], VectorEnv[Any, Any, Any]]) -> VectorEnv[Any, Any, Any]:
    """Keep what an environment declares to itself.

    ale-py writes its autoreset mode into the dict of gymnasium's VectorEnv class, from where every other
    environment that declares none would take it.
    """
    before = dict(VectorEnv.metadata)
    env = make()
    if before != VectorEnv.metadata:
        env.unwrapped.metadata = dict(VectorEnv.metadata)
        VectorEnv.metadata.clear()
        VectorEnv.metadata.update(before)
    return env


def _from_callable(
    source: Callable[[Mapping[str, Any]], Any], env_config: Mapping[str, Any], num_envs: int
) -> SideBySide:
    if not callable(source):
        raise EnvError(
            f"environment: expected an id, a class or a callable of one mapping, got {type(source).__name__}"
        )
    if isinstance(source, type) and issubclass(source, MultiAgentEnv):
        vector = source.make_vector(thawed(env_config), num_envs)
        if vector is not None:
            return vector
    first = source(thawed(env_config))
    if isinstance(first, (VectorEnv, MultiAgentVectorEnv)):
        return first
    made = [first]
    try:
        envs = [_require_env(first, source)]
        while len(made) < num_envs:
            made.append(source(thawed(env_config)))
            envs.append(_require_env(made[-1], source))
        if len({id(env) for env in made}) < num_envs:
            raise EnvError(
                f"environment {_name(source)}: it returned the same object twice; it must make a new "
                "environment at every call, as several are stepped side by side"
            )
        return _side_by_side(envs, source)
    except BaseException:
        for env in made:
            with suppress(Exception):  # also of what is no environment; the first error is the one to tell
                env.close()
        raise


def _side_by_side(envs: Sequence[gym.Env[Any, Any] | MultiAgentEnv], source: EnvSource) -> SideBySide:
    single = [env for env in envs if isinstance(env, gym.Env)]
    several = [env for env in envs if isinstance(env, MultiAgentEnv)]
    if not several:
        return SyncVectorEnv([_already(env) for env in single], autoreset_mode=AutoresetMode.DISABLED)
    if single:
        raise EnvError(f"environment {_name(source)}: some of its copies have one agent and some several")
    return SyncMultiAgentVectorEnv(several)


def _already(env: gym.Env[Any, Any]) -> Callable[[], gym.Env[Any, Any]]:
    return lambda: env


def _require_env(made: Any, source: EnvSource) -> gym.Env[Any, Any] | MultiAgentEnv:
    if isinstance(made, (gym.Env, MultiAgentEnv)):
        return made
    if is_parallel_env(made):
        return ParallelEnvAdapter(made)
    hint = ""
    if is_turn_based_env(made):
        hint = "; convert PettingZoo's AEC API with pettingzoo.utils.conversions.aec_to_parallel"
    raise EnvError(
        f"environment {_name(source)}: expected a gymnasium.Env or VectorEnv, a MultiAgentEnv or a "
        f"PettingZoo parallel environment, got {type(made).__name__}{hint}"
    )


def _name(source: EnvSource) -> str:
    return repr(source) if isinstance(source, str) else getattr(source, "__qualname__", repr(source))
