"""What methods with a learned tree of prototypes share: its settings, where it is kept, how it is saved."""

from __future__ import annotations

from typing import Annotated

from torch import nn

from hiercl.clustering import PrototypeTree
from hiercl.runtime.config import AtLeast

Sizes = tuple[Annotated[int, AtLeast(1)], ...]  # prototypes per level, coarse to fine


class WithTree(nn.Module):
    """A module with a :class:`~hiercl.PrototypeTree`, which moves to other devices and is saved with the module.

    Attributes:
        tree: the tree; None before the first one is fitted.
    """

    tree: PrototypeTree | None = None

    @property
    def fitted_tree(self) -> PrototypeTree:
        """The tree; RuntimeError before the first one is fitted."""
        if self.tree is None:
            raise RuntimeError("There is no tree yet: the warm-up has not ended.")
        return self.tree

    def place_tree(self, tree: PrototypeTree) -> None:
        """Keeps a tree, on the module's device. A subclass may compute more from it."""
        self.tree = tree.to(next(self.parameters()).device)

    def _apply(self, function, recurse=True):
        """Moves the tree too when the module moves to another device."""
        super()._apply(function, recurse)
        if self.tree is not None:
            self.place_tree(self.tree)
        return self

    def get_extra_state(self) -> dict:
        return {"tree": None if self.tree is None else self.tree.state_dict()}

    def set_extra_state(self, state: dict) -> None:
        if state["tree"] is None:
            self.tree = None
        else:
            self.place_tree(PrototypeTree.from_state_dict(state["tree"]))


def tree_sizes(prototypes: Sizes | None, items: int) -> Sizes:
    """Returns the number of prototypes per level, coarse to fine.

    Args:
        prototypes: the setting; None: n/500, twice and three times that for n items, but at least 2, 4 and 6. For
            50,000 items this is (100, 200, 300).
        items: number of items n.

    Raises:
        ValueError: more prototypes than items.
    """
    coarse = max(2, items // 500)
    sizes = prototypes or (coarse, 2 * coarse, 3 * coarse)
    if sizes[-1] > items:
        default = "" if prototypes else " (the default)"
        raise ValueError(f"prototypes={sizes}{default} of {items} items: ask for fewer prototypes than items.")
    return sizes


def check_sizes(prototypes: Sizes | None) -> None:
    """Raises ValueError unless the numbers of prototypes grow from coarse to fine."""
    if prototypes is not None and (not prototypes or list(prototypes) != sorted(set(prototypes))):
        raise ValueError(f"prototypes={prototypes}: give sizes that grow from coarse to fine, as (20, 100).")
