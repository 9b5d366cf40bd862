"""Pairs: which candidates an anchor pulls, pushes, removes or leaves alone; and the one loss that reads them."""

from hiercl.pairs.audit import audit, shares, tally
from hiercl.pairs.losses import info_nce
from hiercl.pairs.pairs import Kind, Members, Pairs
from hiercl.pairs.terms import BlockTerm, Term, Terms

__all__ = ["BlockTerm", "Kind", "Members", "Pairs", "Term", "Terms", "audit", "info_nce", "shares", "tally"]
