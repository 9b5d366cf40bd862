"""Two classifiers of frozen features: a weighted vote of nearest neighbours, and a linear probe."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hiercl.metrics.geometry import check_features
from hiercl.runtime.arguments import checked
from hiercl.runtime.arrays import (
    MOST_CLASSES,
    Array,
    as_ids,
    as_tensor,
    blocks,
    check_labelled,
    check_numbered,
    in_blocks,
    unit_rows,
)
from hiercl.runtime.config import Above, AtLeast, Between
from hiercl.runtime.types import Float, Int

PENALTIES = (1e-1, 1e-2, 1e-3, 1e-4)  # penalties λ of the linear probe, from strong to weak
BLOCK = 1024  # queries, at most, that are compared with the bank at once


@checked
def knn_predict(
    bank: Float[Array, "bank dim"],
    labels: Int[Array, " bank"],
    queries: Float[Array, "queries dim"],
    k: Annotated[int, AtLeast(1)] = 20,
    temperature: Annotated[float, Above(0)] = 0.07,
    own: Int[Array, " queries"] | None = None,
) -> Int[Tensor, " queries"]:
    r"""Predicts classes by a weighted vote of the k nearest neighbours, by cosine similarity.

    $$\hat y(q) = \arg\max_y \sum_{i \in \text{kNN}(q)} e^{\cos(q, z_i)/T}\,[y_i = y]$$

    Source: Wu et al. 2018, section 3.4.

    Args:
        bank: labelled features, of any length: an array or a tensor, as all arguments may be.
        labels: class of every feature in the bank.
        queries: features to classify.
        k: number of neighbours; the whole bank if it has fewer.
        temperature: T.
        own: position of every query in the bank, if it is there. A query is then no neighbour of itself.

    Returns:
        Predicted class of every query.

    Raises:
        ValueError: k < 1, temperature ≤ 0, features of two widths or not finite, or labels that are not one class for
            each feature in the bank.

    Example:
        >>> bank = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> knn_predict(bank, torch.tensor([3, 5]), torch.tensor([[0.9, 0.1]]), k=1)
        tensor([3])
    """
    similarity, index = nearest_in_bank(bank, queries, k, own)
    return vote(similarity, index, labels, temperature)


@checked
def nearest_in_bank(
    bank: Float[Array, "bank dim"],
    queries: Float[Array, "queries dim"],
    k: Annotated[int, AtLeast(1)] = 20,
    own: Int[Array, " queries"] | None = None,
) -> tuple[Float[Tensor, "queries k"], Int[Tensor, "queries k"]]:
    """Returns the k most similar features of a bank for every query: their cosine similarity, and their position.

    The arguments and errors are those of :func:`knn_predict`. Similarities are computed in blocks of queries.

    Example:
        >>> bank = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> nearest_in_bank(bank, torch.tensor([[0.0, 2.0]]), k=1)
        (tensor([[1.]]), tensor([[1]]))
    """
    bank, queries = (check_features(values).float() for values in (bank, queries))
    if bank.shape[1] != queries.shape[1]:
        raise ValueError(f"the bank has {bank.shape[1]} features for each item and the queries {queries.shape[1]}.")
    bank, queries = unit_rows(bank), unit_rows(queries.to(bank.device))
    if own is not None:
        own = as_ids(own).to(bank.device)
        if own.shape != queries.shape[:1] or not 0 <= int(own.min()) <= int(own.max()) < len(bank) or len(bank) < 2:
            raise ValueError("own must be the position of every query in the bank, and the bank must hold others too.")
    k = min(k, len(bank) - (own is not None))
    similarity = torch.empty(len(queries), k, device=bank.device)
    index = torch.empty(len(queries), k, dtype=torch.long, device=bank.device)
    for rows in blocks(len(queries), len(bank), BLOCK):
        found = queries[rows] @ bank.T
        if own is not None:
            found[torch.arange(len(found), device=bank.device), own[rows]] = -torch.inf
        similarity[rows], index[rows] = found.topk(k, dim=1)
    return similarity, index


def vote(
    similarity: Float[Tensor, "queries k"],
    index: Int[Tensor, "queries k"],
    labels: Int[Array, " bank"],
    temperature: float = 0.07,
) -> Int[Tensor, " queries"]:
    """Predicts classes by the weighted vote of the neighbours that :func:`nearest_in_bank` found.

    Args:
        similarity: similarity of every neighbour.
        index: position of every neighbour in the bank.
        labels: class of every feature in the bank.
        temperature: T, see :func:`knn_predict`.

    Example:
        >>> vote(torch.tensor([[1.0, 0.9, 0.9]]), torch.tensor([[0, 1, 2]]), np.array([7, 3, 3]), temperature=1.0)
        tensor([3])
    """
    labels = as_ids(labels).to(index.device)
    if labels.ndim != 1 or int(index.max()) >= len(labels):
        raise ValueError(f"labels are {list(labels.shape)}: pass one class for each feature in the bank.")
    check_labelled(labels)
    classes, label = labels.unique(return_inverse=True)

    def most(similarity: Tensor, index: Tensor) -> Tensor:
        votes = similarity.new_zeros(len(similarity), len(classes))
        votes.scatter_add_(1, label[index], ((similarity - 1) / temperature).exp())  # − 1: no overflow at a small T
        return votes.argmax(dim=1)

    return classes[in_blocks(most, similarity, index, width=len(classes))]


@dataclass(frozen=True)
class LinearProbe:
    """Multinomial logistic regression on standardised features.

    Attributes:
        weight: weights of the standardised features.
        bias: one number for each class.
        mean: mean of the training features.
        std: standard deviation of the training features.
        penalty: the chosen λ.
    """

    weight: Float[Tensor, "classes dim"]
    bias: Float[Tensor, " classes"]
    mean: Float[Tensor, " dim"]
    std: Float[Tensor, " dim"]
    penalty: float

    def predict(self, features: Float[Array, "n dim"]) -> Int[Tensor, " n"]:
        """Returns the most probable class of every item."""
        widest = max(self.weight.shape)
        return in_blocks(lambda part: self.scores(part).argmax(dim=1), as_tensor(features), width=widest)

    def scores(self, features: Float[Array, "n dim"]) -> Float[Tensor, "n classes"]:
        """Returns the logit of every class; their softmax is the probability."""
        features = as_tensor(features).float()
        if features.ndim != 2 or features.shape[1] != len(self.mean):
            raise ValueError(f"features are {list(features.shape)}: this probe takes [n, {len(self.mean)}].")
        return (features.to(self.mean.device) - self.mean) / self.std @ self.weight.T + self.bias

    @classmethod
    @checked
    def fit(
        cls,
        features: Float[Array, "n dim"],
        labels: Int[Array, " n"],
        penalties: tuple[Annotated[float, AtLeast(0)], ...] = PENALTIES,
        seed: Annotated[int, AtLeast(0)] = 0,
        iterations: Annotated[int, AtLeast(1)] = 60,
        classes: Annotated[int, Between(1, MOST_CLASSES)] | None = None,
    ) -> "LinearProbe":
        r"""Fits a probe by L-BFGS on all items at once. It minimises

        $$\frac1n\sum_i -\log \text{softmax}_{y_i}(W x_i + b) + \frac{\lambda}{2}\lVert W\rVert^2$$

        Several penalties λ are first fitted to four fifths of the items of every class, and scored on the last fifth,
        from strong to weak until one scores lower than the one before it. The best one (the strongest of equals) is
        then fitted to all items.

        Args:
            features: training features.
            labels: class of every item.
            penalties: values of λ to try, from strong to weak.
            seed: seed of the split.
            iterations: largest number of L-BFGS iterations for each fit.
            classes: number of classes; by default the largest label + 1.

        Returns:
            The fitted probe.

        Raises:
            ValueError: no penalty, features that are not finite, or labels that are not one class for each item.

        Example:
            >>> probe = LinearProbe.fit(torch.eye(4), torch.tensor([0, 0, 1, 1]))
            >>> probe.predict(torch.eye(4))
            tensor([0, 0, 1, 1])
        """
        features = check_features(features).float()
        labels = as_ids(labels).to(features.device)
        if labels.shape != features.shape[:1] or not penalties:
            form = f"labels are {list(labels.shape)} for {len(features)} items, and penalties={penalties}"
            raise ValueError(f"{form}: pass one class for each item, and at least one penalty.")
        check_numbered(labels)
        highest = int(labels.max())
        classes = highest + 1 if classes is None else classes
        if highest >= classes:
            raise ValueError(f"labels go up to {highest}, and the {classes} classes are 0 to {classes - 1}.")
        if len(penalties) > 1:
            held_out = _stratified_fifth(labels, seed)
            scored = held_out if held_out.any() else ~held_out  # classes of fewer than five items cannot spare any
            scores: list[float] = []
            for probe in _fit_path(features[~held_out], labels[~held_out], classes, penalties, iterations):
                scores.append((probe.predict(features[scored]) == labels[scored]).float().mean().item())
                if len(scores) > 1 and scores[-1] < scores[-2]:
                    break
            penalties = penalties[: 1 + int(np.argmax(scores))]
        *_, probe = _fit_path(features, labels, classes, penalties, iterations)
        return probe


def _stratified_fifth(labels: Int[Tensor, " n"], seed: int) -> Tensor:
    """Mask of one fifth of every class, rounded down."""
    rng = np.random.default_rng(seed)
    of_class = labels.cpu().numpy()
    held_out = np.zeros(len(of_class), dtype=bool)
    for value in np.unique(of_class):
        members = rng.permutation(np.flatnonzero(of_class == value))
        held_out[members[: len(members) // 5]] = True
    return torch.from_numpy(held_out).to(labels.device)


def _fit_path(features, labels, classes: int, penalties: tuple[float, ...], iterations: int) -> Iterator[LinearProbe]:
    """Yields one probe for each penalty, from strong to weak; each starts at the weights of the probe before."""
    mean, std = features.mean(dim=0), features.std(dim=0).clamp(min=1e-6)
    x = (features - mean) / std
    weight = torch.zeros(classes, x.shape[1], device=x.device, requires_grad=True)
    bias = torch.zeros(classes, device=x.device, requires_grad=True)
    for penalty in penalties:
        optimiser = torch.optim.LBFGS(
            [weight, bias], max_iter=iterations, history_size=10, tolerance_grad=1e-5, line_search_fn="strong_wolfe"
        )

        def closure(optimiser=optimiser, penalty=penalty):
            optimiser.zero_grad()
            total: Tensor | float = 0.0
            for rows in blocks(len(x), classes):  # one block, but for many items
                share = len(labels[rows]) / len(x)
                loss = share * F.cross_entropy(x[rows] @ weight.T + bias, labels[rows])
                if rows.start == 0:
                    loss = loss + penalty / 2 * weight.square().sum()
                loss.backward()
                total = loss.detach() + total
            return total

        with torch.enable_grad():
            optimiser.step(closure)
        yield LinearProbe(weight.detach().clone(), bias.detach().clone(), mean, std, penalty)
