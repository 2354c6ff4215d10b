"""What goes wrong with environments, which others wrote."""

from __future__ import annotations


class EnvError(ValueError):
    """An environment that cannot be made, or does not keep its contract."""


def described(error: Exception) -> str:
    """Return the class and the text of an error that came from an environment."""
    return f"{type(error).__name__}: {error}".removesuffix(": ")
