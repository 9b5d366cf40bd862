"""Do encoders order the classes of ModelNet40 by use, as our superclasses do, or by shape?

    .venv/bin/python benchmarks/shape_trees.py             # a table, a figure, and superclasses by shape; minutes

For each pretrained encoder, the distances of its class means are compared with our hierarchy, and with those of the
encoders that learned without labels (Spearman's rank correlation over the 780 pairs of classes). The mean over the
latter, each without its own distances, says whether encoders agree more with each other than with us.

The superclasses by shape are eleven branches of Ward's tree of the class means, side by side from three encoders
without labels. They are made of training shapes and judged by test shapes. The other encoders have not made them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import tyro
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist
from scipy.stats import rankdata, spearmanr
from sklearn.metrics import adjusted_rand_score

import hiercl
from hiercl import HierarchicalDataset
from hiercl.datasets.modelnet.tree import SUPERCLASSES, hierarchy
from hiercl.metrics.dendrograms import centroids, cophenetic_correlation, nearest_siblings

HERE = Path(__file__).parent
LABEL_FREE = ("simclr", "moco", "hcsc", "csml")
MAKERS = [f"modelnet40-{name}" for name in ("hcsc", "moco", "simclr")]  # of the superclasses by shape
GROUPS = 11  # as many as our superclasses by use
ABOUT = (
    "Superclasses of the 40 classes of ModelNet, by shape: the eleven branches that pretrained encoders without labels "
    "({encoders}) make of them. benchmarks/shape_trees.py made this file; a branch is named after its class "
    "with the most shapes."
)


@dataclass(frozen=True)
class Trees:
    """What is compared."""

    per_class: int = 100
    """Training shapes of a class, at most."""
    results: Path = HERE / "results" / "shape_trees.csv"
    """The table."""
    figure: Path = HERE / "studies" / "modelnet40-trees.png"
    """The figure."""

    def run(self) -> None:
        torch.set_num_threads(1)
        train, test = hiercl.load("modelnet40")
        whole, train = train, at_most(train, self.per_class)
        names = [name for name in hiercl.pretrained_names() if name.startswith("modelnet40-")]
        learned = {name: hiercl.embed(hiercl.pretrained(name), train) for name in names}
        means = {name: centroids(features, train.labels)[0].numpy() for name, features in learned.items()}
        ranks = {name: rankdata(pdist(own)) for name, own in means.items()}
        free = [name for name in names if name.split("-")[1] in LABEL_FREE]
        groups = branches(np.hstack([means[name] for name in MAKERS]))
        write_superclasses(groups, whole, MAKERS)
        by_use = train.hierarchy.labels_at(np.arange(40), 0)
        print(f"adjusted Rand index of superclasses by use and by shape: {adjusted_rand_score(by_use, groups):.2f}")
        rows = []
        for name in [*names, "no network"]:
            model = hiercl.pretrained(name) if name != "no network" else None
            features = hiercl.embed(model, test) if model else histograms(test)
            own = ranks[name] if model else rankdata(pdist(centroids(histograms(train), train.labels)[0].numpy()))
            others = np.mean([ranks[other] for other in free if other != name], axis=0)
            row = {"encoder": name, "labels": name.removeprefix("modelnet40-") not in (*LABEL_FREE, "no network")}
            row["agreement with encoders without labels"] = spearmanr(own, others)[0]
            for kind in SUPERCLASSES:
                tree = hierarchy("modelnet40", kind)
                row[f"siblings, by {kind}"] = nearest_siblings(features, test.labels, tree, 1)
                row[f"dendrogram, by {kind}"] = cophenetic_correlation(features, test.labels, tree, 1)
            rows.append(row)
        self.results.parent.mkdir(exist_ok=True)
        table = pd.DataFrame(rows)
        table.to_csv(self.results, index=False, float_format="%.4f")
        print(table.to_string(), "\n", json.dumps(read_groups(groups, whole), indent=1))
        figure = hiercl.plot.dendrogram(
            hiercl.embed(hiercl.pretrained("modelnet40-hcsc"), test),
            replace(test, note=""),
            title="HCSC, without labels, beside our superclasses by use",
        )
        figure.savefig(self.figure, dpi=110, bbox_inches="tight")


def at_most(data: HierarchicalDataset, count: int) -> HierarchicalDataset:
    """Returns so many items of each class, or all of them where there are fewer."""
    places = [np.flatnonzero(data.labels == leaf)[:count] for leaf in range(data.hierarchy.n_leaves)]
    return data.take(np.sort(np.concatenate(places)))


def branches(means: np.ndarray) -> np.ndarray:
    """Returns the branch of every class: Ward's tree, cut into eleven."""
    return fcluster(linkage(means, method="ward"), GROUPS, criterion="maxclust") - 1


def read_groups(groups: np.ndarray, data: HierarchicalDataset) -> dict[str, list[str]]:
    """Returns the classes of every branch, named after the class with the most shapes."""
    counts, named = data.counts(), {}
    for group in range(groups.max() + 1):
        leaves = np.flatnonzero(groups == group)
        named[f"like_{data.hierarchy.leaf_names[leaves[counts[leaves].argmax()]]}"] = [
            data.hierarchy.leaf_names[leaf] for leaf in leaves
        ]
    return named


def write_superclasses(groups: np.ndarray, data: HierarchicalDataset, makers: list[str]) -> None:
    """Writes the superclasses by shape to the package."""
    content = {
        "about": ABOUT.format(encoders=", ".join(makers)),
        "level_names": ["superclass", "class"],
        "superclasses": read_groups(groups, data),
    }
    SUPERCLASSES["shape"].write_text(json.dumps(content, indent=1) + "\n")


def histograms(data: HierarchicalDataset) -> torch.Tensor:
    """Returns the descriptors of ``modelnet40-descriptors``, of all points."""
    from features import Histograms

    return Histograms()(torch.from_numpy(np.array(data.items)).transpose(1, 2)[..., None])


if __name__ == "__main__":
    tyro.cli(Trees).run()
