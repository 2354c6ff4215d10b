"""The words of messages: where a value stands, `obs.arm[2]`, and which name was meant."""

from collections.abc import Iterable

__all__ = ["join", "nearest", "safe_repr", "suggestion"]

LONGEST = 60  # characters of a foreign repr


def safe_repr(value: object) -> str:
    """`repr`, one short line, whatever the value's own code does."""
    try:
        text = " ".join(repr(value).split())
    except Exception:
        return f"<{type(value).__name__}>"
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def join(path: str, key: object) -> str:
    """The path of what stands under `key`.

    >>> join(join(join("", "obs"), "arm"), 2)
    'obs.arm[2]'
    >>> join("obs", "left arm")
    "obs['left arm']"
    """
    if isinstance(key, str) and key.isidentifier():
        return f"{path}.{key}" if path else str(key)
    return f"{path}[{safe_repr(key)}]"


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
