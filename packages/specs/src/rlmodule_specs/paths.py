"""Where a value stands in nested data, as a reader would write it: `obs.arm[2]`."""

__all__ = ["join", "safe_repr"]

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
