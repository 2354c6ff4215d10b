"""What an environment raised, told with its row, its seed and the step, so that one can go there again.

Nothing is noted for it while all goes well but how many steps there were: which of many environments
failed is read from the traceback.
"""

from __future__ import annotations

import inspect
from traceback import walk_tb
from types import FrameType
from typing import Any, Literal

from gymnasium.vector import SyncVectorEnv, VectorEnv

from rlmodule_algos.envs.errors import EnvError, described
from rlmodule_algos.envs.multi_agent_vector import MultiAgentVectorEnv


def env_failed(
    env: VectorEnv[Any, Any, Any] | MultiAgentVectorEnv,
    error: Exception,
    call: Literal["reset", "step"],
    *,
    seed: int | None,
    steps: int,
) -> EnvError:
    """Return what to raise for what a call of an environment of many rows raised.

    `seed` is that of its last reset of all rows, and `steps` how many were begun since.
    """
    who, hint = type(env).__name__, f"; it does not tell which of its {env.num_envs} environments that was"
    found = _called_row(env, error)
    if found is not None:
        row, frame, one = found
        who, hint = f"environment {row} ({type(one.unwrapped).__name__})", ""
        seed = None if seed is None else seed + row
        call = "reset" if frame.f_code.co_name == "reset" else call
    return EnvError(
        f"{who}, {_moment(call, seed, steps)}: it raised {described(error)}{hint if env.num_envs > 1 else ''}"
    )


def _moment(call: Literal["reset", "step"], seed: int | None, steps: int) -> str:
    if not steps:
        return "reset without a seed" if seed is None else f"reset with seed {seed}"
    since = "a reset without a seed" if seed is None else f"it was seeded with {seed}"
    return f"{'reset in ' if call == 'reset' else ''}step {steps} since {since}"


def _called_row(env: object, error: Exception) -> tuple[int, FrameType, Any] | None:
    """Return the row whose environment was called when it raised, the call, and the environment.

    It is the one whose method is among the calls that the error came through. None where rows are not
    stepped one after another by gymnasium, or where none was at work.
    """
    vector = env.unwrapped if isinstance(env, VectorEnv) else None
    if not isinstance(vector, SyncVectorEnv):
        return None
    rows = {id(one): (row, one) for row, one in enumerate(vector.envs)}
    for frame, _line in walk_tb(error.__traceback__):
        known = rows.get(id(_receiver(frame)))
        if known is not None:
            row, one = known
            return row, frame, one
    return None


def _receiver(frame: FrameType) -> object:
    """Return what a method was called on: the first argument, or the first of `*args` in a decorator."""
    names, rest, _, values = inspect.getargvalues(frame)
    if names:
        return values.get(names[0])
    return next(iter(values.get(rest, ())), None) if rest else None
