"""From gymnasium spaces to network architectures, as data."""

from rlmodule_catalogs.__about__ import __version__

__all__ = ["__version__"]
