"""What is wrong with single settings, beyond their types."""

from __future__ import annotations


def problems_of_env(env: object) -> list[str]:
    """Say what is no source of environments."""
    if env is None or isinstance(env, str) or callable(env):
        return []
    return [
        f"env: expected an id, a class or a callable, got {type(env).__name__}; to use an environment "
        "that you have made, pass a function that makes it"
    ]


def problems_of_evaluation(num_env_runners: object) -> list[str]:
    """Say that evaluation has no env runners of its own."""
    if type(num_env_runners) is not int or num_env_runners <= 0:
        return []  # of which the declared type says the rest
    return [
        f"evaluation_num_env_runners={num_env_runners}: env runners for evaluation are not available yet; "
        "leave it at 0, and evaluation plays in this process, up to 32 environments side by side"
    ]
