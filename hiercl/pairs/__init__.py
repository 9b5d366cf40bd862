"""Pairs: which candidates an anchor pulls, pushes, removes or leaves alone; and the one loss that reads them."""

from hiercl.pairs.audit import audit, shares, tally
from hiercl.pairs.bounds import floor, if_equal
from hiercl.pairs.by_label import by_item, by_label, within_groups
from hiercl.pairs.forces import Forces, forces
from hiercl.pairs.losses import info_nce
from hiercl.pairs.pairs import Kind, Members, Pairs
from hiercl.pairs.terms import BlockTerm, Seen, Term, Terms, Vectors, contrast

__all__ = [
    "BlockTerm",
    "Forces",
    "Kind",
    "Members",
    "Pairs",
    "Seen",
    "Term",
    "Terms",
    "Vectors",
    "audit",
    "by_item",
    "by_label",
    "contrast",
    "floor",
    "forces",
    "if_equal",
    "info_nce",
    "shares",
    "tally",
    "within_groups",
]
