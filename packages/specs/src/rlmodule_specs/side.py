"""One side of a check: the compiled yes, the walk that explains a no, and the names between them."""

from rlmodule_specs.compiled import Sizes, compile_check
from rlmodule_specs.errors import SpecError
from rlmodule_specs.explain import Binding, Explanation, explain
from rlmodule_specs.switching import switch
from rlmodule_specs.tensor_spec import TensorSpec
from rlmodule_specs.tree import Given, Node, leaves

__all__ = ["Side"]


class Side:
    """One spec with its compiled check and its walk.

    `known` are the names that come with sizes, each with the place that bound it.
    """

    def __init__(
        self,
        spec: Node,
        exact: bool,
        values: bool,
        fixed: dict[str, Given],
        label: tuple[str, str, str] = ("", "the data", "the spec"),
        known: dict[str, str] | None = None,
    ) -> None:
        self.spec, self.exact, self.values = spec, exact, values
        self.label = label
        self.known = known or {}
        self.fixed = {
            name: Binding(given.size, f"set by {given.path or '(root)'}") for name, given in fixed.items()
        }
        constants = {name: given.size for name, given in fixed.items()}
        self.check, self.names = compile_check(
            spec, self.slow, exact=exact, fixed=constants, known=tuple(self.known)
        )
        if values and spec is not None:
            self.check = self.every_value
        self.origins = {**_origins(spec, self.names), **self.known}

    def walk(self, data: object, sizes: Sizes) -> Explanation:
        """Collect the problems, with the names bound to the sizes that came with the call."""
        bound = {
            name: Binding(size, f"bound by {origin}")
            for (name, origin), size in zip(
                self.known.items(), sizes, strict=False
            )  # () while checks are off
            if size is not None
        }
        return explain(self.spec, data, exact=self.exact, values=self.values, bound={**self.fixed, **bound})

    def slow(self, data: object, sizes: Sizes, where: str) -> Sizes:
        """What the compiled check does not accept at once: refuse it, or accept it after all."""
        walk = self.walk(data, sizes)
        if walk.problems:
            place, subject, rule = self.label
            raise SpecError(tuple(walk.problems), where or place, subject, rule)
        return tuple(walk.bound[name].size if name in walk.bound else None for name in self.names)

    def every_value(self, data: object, sizes: Sizes = (), where: str = "") -> Sizes:
        """The check that reads values: there is nothing to compile."""
        return self.slow(data, sizes, where) if switch.on else sizes


def _origins(spec: Node, names: tuple[str, ...]) -> dict[str, str]:
    """Where each name stands first."""
    first: dict[str, str] = {}
    for path, leaf in leaves(spec):
        for name in leaf.names if isinstance(leaf, TensorSpec) else ():
            first.setdefault(name, path)
    return {name: first[name] for name in names if name in first}
