"""The nearest known name, for messages about a name that is not known."""

from collections.abc import Iterable

__all__ = ["nearest", "suggestion"]


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that looks most like `name`, or None.

    >>> nearest("observation", ["observations", "reward"])
    'observations'
    """
    from difflib import get_close_matches  # only a message needs it

    found = get_close_matches(name, list(known), n=1)
    return found[0] if found else None


def suggestion(name: str, known: Iterable[str]) -> str:
    """What to write instead of `name`, as the end of a message.

    >>> suggestion("flaot32", ["float32", "int64"])
    "did you mean 'float32'?"
    >>> suggestion("x", ["torch", "tf"])
    "known are 'torch', 'tf'"
    """
    names = list(known)
    close = nearest(name, names)
    if close is not None:
        return f"did you mean {close!r}?"
    return "known are " + ", ".join(map(repr, names)) if names else "there are none"
