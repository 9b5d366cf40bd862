"""What a method with a learned tree of prototypes shares with every other one: where it is kept, how it is saved."""

from __future__ import annotations

from torch import nn

from hiercl.clustering import PrototypeTree


class WithTree(nn.Module):
    """A module with a :class:`~hiercl.PrototypeTree`, which follows it to other devices and into its state.

    Attributes:
        tree: None before the first one is fitted.
    """

    tree: PrototypeTree | None = None

    def place_tree(self, tree: PrototypeTree) -> None:
        """Puts a tree where the module is. A subclass may derive more from it."""
        self.tree = tree.to(next(self.parameters()).device)

    def _apply(self, function, recurse=True):
        """The tree goes along when the module moves to another device."""
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


def tree_sizes(prototypes: tuple[int, ...] | None, items: int) -> tuple[int, ...]:
    """Prototypes a level, coarse to fine. Default: n/500, twice and three times that, (100, 200, 300) for 50,000
    items; at least 2, 4 and 6.

    Raises:
        ValueError: more prototypes than items.
    """
    coarse = max(2, items // 500)
    sizes = prototypes or (coarse, 2 * coarse, 3 * coarse)
    if sizes[-1] > items:
        default = "" if prototypes else " (the default)"
        raise ValueError(f"prototypes={sizes}{default} of {items} items: ask for fewer prototypes than items.")
    return sizes


def check_sizes(prototypes: tuple[int, ...] | None) -> None:
    """Raises ValueError unless the numbers of prototypes grow."""
    if prototypes is None:
        return
    steps = zip((0, *prototypes), prototypes, strict=False)
    if not prototypes or any(fine <= coarse for coarse, fine in steps):
        raise ValueError(f"prototypes={prototypes}: give sizes that grow from coarse to fine, as (20, 100).")
