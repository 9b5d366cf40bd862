"""audit: how right the pairs of a step are, judged by true labels."""

import numpy as np
import pandas as pd
import torch

from hiercl.hierarchy import Hierarchy
from hiercl.pairs.pairs import Kind, Pairs


def audit(pairs: Pairs, labels: np.ndarray, hierarchy: Hierarchy, tree=None) -> pd.DataFrame:
    r"""How right the pairs were, judged by true labels (which only supervised methods saw); one row a level.

    With $y_a$, $y_c$ the labels of anchor and candidate at the level, every share is taken over all pairs of its kind:

    * ``precision`` = P($y_a = y_c$ | pulled),
    * ``false_negative_rate`` = P($y_a = y_c$ | pushed),
    * ``wasted_removals`` = P($y_a ≠ y_c$ | removed),
    * ``same_removed``, ``other_removed`` = P(removed | open to selection and $y_a = y_c$, or $y_a ≠ y_c$):
      a selection that knows something has the first well above the second.

    Random initial queue entries (item −1) have no label and are not counted, nor are anchors without any candidate
    (those that thinning took out). A mixed query counts as its anchor, a prototype has the label of the majority of its
    members.

    Args:
        pairs: what a step did.
        labels: leaf label of every item of the data set, ``[items]``.
        hierarchy: the true hierarchy.
        tree: the :class:`~hiercl.PrototypeTree`, needed when prototypes are among the candidates.

    Returns:
        A table with the columns ``level``, ``pulled``, ``pushed``, ``removed`` (numbers of pairs), the shares above
        (NaN where there is nothing to take a share of), ``negatives_left`` (mean number per anchor) and
        ``anchors_without_negative``.

    Raises:
        ValueError: prototypes are among the candidates, and no tree is given.
    """
    return pd.DataFrame(tally(pairs, labels, hierarchy, tree)).pipe(shares, hierarchy)


def tally(pairs: Pairs, labels: np.ndarray, hierarchy: Hierarchy, tree=None) -> dict[str, list[int]]:
    """The counts behind :func:`audit`, one entry a level. Counts of several steps may be added before taking shares."""
    labels = np.asarray(labels)
    is_prototype = (pairs.candidates.kind == Kind.PROTOTYPE).cpu().numpy()
    if is_prototype.any() and (tree is None or pairs.level is None):
        raise ValueError("Prototypes are among the candidates: pass the tree that they come from (run.tree).")
    anchor_item = pairs.anchors.item.cpu().numpy()
    item = pairs.candidates.item.cpu().numpy()
    known = (item >= 0)[None, :]
    pulled = pairs.positive.cpu().numpy() > 0
    pushed = pairs.negative.cpu().numpy()
    removed = pairs.removed.cpu().numpy()
    takes_part = (pulled | pushed | removed).any(axis=1)

    counts: dict[str, list[int]] = {}
    for level in range(hierarchy.levels):
        at_level = hierarchy.ancestors[labels, level]
        candidate = at_level[np.where(is_prototype, 0, item)]
        if is_prototype.any():
            majority = tree.majority(torch.as_tensor(at_level))[pairs.level].cpu().numpy()
            candidate = np.where(is_prototype, majority[np.where(is_prototype, item, 0)], candidate)
        same = (at_level[anchor_item][:, None] == candidate[None, :]) & known
        other = ~same & known
        row = {
            "level": level,
            "anchors": takes_part.sum(),
            "pulled": (pulled & known).sum(),
            "pulled_same": (pulled & same).sum(),
            "pushed": (pushed & known).sum(),
            "pushed_same": (pushed & same).sum(),
            "removed": (removed & known).sum(),
            "removed_same": (removed & same).sum(),
            "open_same": ((pushed | removed) & same).sum(),
            "open_other": ((pushed | removed) & other).sum(),
            "negatives": pushed.sum(),
            "anchors_without_negative": (takes_part & ~pushed.any(axis=1)).sum(),
        }
        for name, value in row.items():
            counts.setdefault(name, []).append(int(value))
    return counts


def shares(counts: pd.DataFrame, hierarchy: Hierarchy) -> pd.DataFrame:
    """The table of :func:`audit` from the counts of :func:`tally`."""

    def share(part, whole):
        return part / whole.where(whole > 0)

    return pd.DataFrame(
        {
            "level": [hierarchy.level_names[level] for level in counts["level"]],
            "pulled": counts["pulled"],
            "pushed": counts["pushed"],
            "removed": counts["removed"],
            "precision": share(counts["pulled_same"], counts["pulled"]),
            "false_negative_rate": share(counts["pushed_same"], counts["pushed"]),
            "wasted_removals": share(counts["removed"] - counts["removed_same"], counts["removed"]),
            "same_removed": share(counts["removed_same"], counts["open_same"]),
            "other_removed": share(counts["removed"] - counts["removed_same"], counts["open_other"]),
            "negatives_left": share(counts["negatives"], counts["anchors"]),
            "anchors_without_negative": counts["anchors_without_negative"],
        }
    )
