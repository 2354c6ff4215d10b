"""What the encoder of an actor and a critic must return, said in words where it returns something else."""

from __future__ import annotations

from typing import Any


def require_features(found: object, *, state: bool, where: str) -> tuple[Any, ...]:
    """Return the features of actor and critic, and with a memory the state after them, as they are.

    Raises ValueError for anything else: one tensor would be taken apart row by row.
    """
    wanted = 3 if state else 2
    if isinstance(found, (tuple, list)) and len(found) == wanted:
        return tuple(found)
    parts = (
        "(features of the actor, features of the critic, state)"
        if state
        else ("(features of the actor, features of the critic)")
    )
    got = f"{len(found)} parts" if isinstance(found, (tuple, list)) else f"one {type(found).__name__}"
    raise ValueError(
        f"{where}: the layer of get_actor_critic_encoder_config() must return {parts}, got {got}; to give "
        "both the same kind of encoder, return ActorCriticEncoderConfig(base=your config)"
    )
