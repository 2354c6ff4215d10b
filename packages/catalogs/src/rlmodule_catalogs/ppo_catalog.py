"""The catalog of PPO's default modules."""

from rlmodule_catalogs.catalog import Catalog


class PPOCatalog(Catalog):
    """PPO takes every decision as `Catalog` does: an encoder each for actor and critic, two heads."""
