"""Metrics, clusters and neighbours take arrays of NumPy and tensors alike."""

import inspect
import math

import numpy as np
import pytest
import torch

from hiercl import clustering, metrics
from hiercl.clustering import PrototypeTree
from hiercl.hierarchy import Hierarchy
from hiercl.runtime.arrays import as_array, as_ids, as_tensor

TREE = Hierarchy.from_dict({"a": ["a0", "a1"], "b": ["b0", "b1", "b2"]})
rng = np.random.default_rng(0)
Z, Y = rng.normal(size=(40, 6)).astype(np.float32), rng.integers(0, 5, 40)
PATHS = TREE.ancestors[Y]
OTHER = np.roll(Y, 1)
SCORES = [rng.random((40, size)) for size in TREE.sizes]
NEAR = clustering.nearest_neighbours(Z, 39).numpy()
LEARNED = PrototypeTree.fit(Z, (2, 4), seed=0)
LINKAGE = np.array([[0.0, 1, 1, 2], [2, 3, 4, 3]])

CASES = {
    "accuracy": (Y, OTHER),
    "alignment": (Z, Z[::-1]),
    "balanced_accuracy": (Y, OTHER),
    "class_alignment": (Z, Y),
    "cluster_scores": (Z, Y),
    "cophenetic_correlation": (Z, Y, TREE, 1),
    "dendrogram_purity": (Z, Y, TREE, 1, 0),
    "distance_correlation": (Z, Y, TREE, 1),
    "effective_rank": (Z,),
    "flat": (Y, TREE),
    "hierarchical_distance_at_k": (NEAR, Y, TREE, 1, 3),
    "hierarchical_precision_recall_f1": (PATHS, TREE.ancestors[OTHER]),
    "knn_predict": (Z, Y, Z[::-1], 5, 0.07, np.arange(40)[::-1]),
    "map_at_r": (NEAR, Y),
    "mcnemar": (Y == OTHER, Y == 2),
    "mistake_height": (Y, OTHER, TREE, 1),
    "nearest_siblings": (Z, Y, TREE, 1),
    "paired_bootstrap": (Z[:, 0], Z[:, 1]),
    "parent_agreement": (PATHS[:, 0], OTHER, TREE, 1),
    "recalls": (Y, OTHER, 5),
    "respected_edges": (LEARNED, Y, TREE),
    "retrieve": (Z, PATHS, 3),
    "score_clusters": (Y, OTHER),
    "stop_where_unsure": (PATHS, SCORES),
    "top_down": (SCORES, TREE),
    "total_variance": (Z,),
    "tree_agreement": (LEARNED, Y, TREE),
    "uniformity": (Z,),
    "variance_between": (Z, Y),
    "variance_outside": (Z, 2),
}
OTHERS = {
    "kmeans": lambda f, z, y: f(z, 3).assignment,
    "nearest": lambda f, z, y: f(z, z[:3])[0],
    "nearest_neighbours": lambda f, z, y: f(z, 3),
    "neighbour_agreement": lambda f, z, y: f(y[:, None], y),
    "random_neighbours": lambda f, z, y: f(y, 3, torch.Generator().manual_seed(0)),
    "PrototypeTree": lambda f, z, y: torch.cat([f.fit(z, (2, 4)).assignment, f.fit(z, (2, 4)).assign(z)]),
    "LinearProbe": lambda f, z, y: f.fit(z, y, iterations=5).predict(z),
}


def to_torch(value):
    if isinstance(value, list):
        return [to_torch(one) for one in value]
    return torch.from_numpy(value.copy()) if isinstance(value, np.ndarray) else value


def plain(value):
    if isinstance(value, metrics.retrieval.Retrieved):
        return np.concatenate([as_array(part).ravel() for part in value])
    if isinstance(value, metrics.Paired):
        return np.array(value, dtype=float)  # the bootstrap has no counts
    return value.to_numpy() if hasattr(value, "to_numpy") else as_array(value)


@pytest.mark.parametrize("name", CASES)
def test_a_metric_is_the_same_of_arrays_and_of_tensors(name):
    function = getattr(metrics, name)
    np.testing.assert_array_equal(plain(function(*CASES[name])), plain(function(*map(to_torch, CASES[name]))))


@pytest.mark.parametrize("name", OTHERS)
def test_clusters_and_probes_are_the_same_of_arrays_and_of_tensors(name):
    function = getattr(clustering, name, None) or getattr(metrics, name)
    of_arrays = OTHERS[name](function, Z.astype(np.float64), Y.astype(np.int16))
    assert np.array_equal(as_array(of_arrays), as_array(OTHERS[name](function, to_torch(Z), to_torch(Y))))


def test_no_function_of_metrics_is_left_out():
    functions = {name for name in metrics.__all__ if inspect.isfunction(getattr(metrics, name))}
    assert functions - {"definitions"} <= set(CASES)


WRONG = (None, math.nan, -1, 1.5, 10**15, "x", {}, [[1], [1, 2]], np.full((40, 6), np.nan), np.empty((0, 2)), object())


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_argument_is_an_error_that_says_what_to_pass(name, as_a_user):
    """Every argument in turn is every wrong value: there is a result, or a ValueError in the words of the house."""
    function, refused = getattr(metrics, name), 0
    parameters = inspect.signature(function).parameters
    for place, parameter in enumerate(parameters):
        for wrong in WRONG:
            given = dict(zip(parameters, CASES[name], strict=False)) | {parameter: wrong}
            try:
                function(**given)
            except ValueError as error:
                refused += 1
                assert len(str(error)) > 15 and "inhomogeneous" not in str(error), (parameter, wrong, str(error))
            else:
                assert place or parameter in ("hierarchy", "sample", "own", "items"), (parameter, wrong)
    assert refused > 7


def test_conversion_keeps_what_it_can():
    z = torch.ones(2, 3)
    assert as_tensor(z).data_ptr() == z.data_ptr() and as_tensor(Z).numpy().base is not None
    assert as_tensor(z.bfloat16().requires_grad_()).dtype == torch.float32
    assert as_tensor(np.zeros((2, 2), ">f8")).dtype == torch.float64 and as_tensor(Z[::-1, ::-1]).shape == Z.shape
    frozen = np.arange(3)
    frozen.setflags(write=False)
    assert as_ids(frozen).tolist() == [0, 1, 2] and as_ids(torch.tensor([1], dtype=torch.uint8)).dtype == torch.int64
    for wrong in (np.array(["a"]), torch.ones(1, dtype=torch.complex64)):
        with pytest.raises(ValueError, match="numbers"):
            as_tensor(wrong)
    for wrong in (np.ones(2), torch.ones(2), torch.ones(2, dtype=torch.bool)):
        with pytest.raises(ValueError, match="whole numbers"):
            as_ids(wrong)


def test_items_without_a_label_do_not_count():
    """A tree of all items, judged by the labels that there are, is the same as one judged by those items alone."""
    known = np.arange(40) % 3 > 0
    partly = np.where(known, Y, -1)
    found = metrics.tree_agreement(LEARNED, partly, TREE)
    shares = [(LEARNED.assignment[known, 0] == node).sum() for node in range(2)]
    assert found["ami"][1] == metrics.score_clusters(LEARNED.assignment[known, 0], Y[known]).ami
    assert metrics.respected_edges(LEARNED, partly, TREE)["edges"].max() <= 4 and sum(shares) == known.sum()
    majority, purity = LEARNED.majority(partly)[0], LEARNED.purity(partly)[0]
    for node in range(2):
        counts = np.bincount(Y[known & (LEARNED.assignment[:, 0].numpy() == node)], minlength=5)
        assert majority[node] == counts.argmax() and np.isclose(purity[node], counts.max() / counts.sum())
    near = clustering.nearest_neighbours(Z, 4)
    pairs = known[:, None] & known[near]
    assert clustering.neighbour_agreement(near, partly) == (Y[near] == Y[:, None])[pairs].mean()
    with pytest.raises(ValueError, match="no item has a label"):
        metrics.tree_agreement(LEARNED, np.full(40, -1), TREE)
    with pytest.raises(ValueError, match="14 items have no label"):
        clustering.random_neighbours(partly, 1, torch.Generator())
