"""Two classifiers of frozen features: a weighted vote of nearest neighbours, and a linear probe."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hiercl.runtime.arrays import Array, as_ids, as_tensor, check_labelled
from hiercl.runtime.types import Float, Int

PENALTIES = (1e-1, 1e-2, 1e-3, 1e-4)  # penalties λ of the linear probe, from strong to weak
BLOCK = 1024  # queries that are compared with the bank at once


def knn_predict(
    bank: Float[Array, "bank dim"],
    labels: Int[Array, " bank"],
    queries: Float[Array, "queries dim"],
    k: int = 20,
    temperature: float = 0.07,
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
        ValueError: k < 1 or temperature ≤ 0.

    Example:
        >>> bank = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> knn_predict(bank, torch.tensor([3, 5]), torch.tensor([[0.9, 0.1]]), k=1)
        tensor([3])
    """
    if k < 1 or temperature <= 0:
        raise ValueError(f"k={k}, temperature={temperature}: k must be at least 1 and the temperature above 0.")
    bank, queries = (F.normalize(as_tensor(values).float(), dim=1) for values in (bank, queries))
    labels, own = as_ids(labels).to(bank.device), None if own is None else as_ids(own).to(bank.device)
    k = min(k, len(bank) - (own is not None))
    check_labelled(labels)
    classes = int(labels.max()) + 1
    predictions = []
    for start in range(0, len(queries), BLOCK):
        similarity = queries[start : start + BLOCK] @ bank.T
        if own is not None:
            rows = torch.arange(len(similarity), device=bank.device)
            similarity[rows, own[start : start + BLOCK]] = -torch.inf
        closest, index = similarity.topk(k, dim=1)
        votes = similarity.new_zeros(len(similarity), classes)
        votes.scatter_add_(1, labels[index], ((closest - 1) / temperature).exp())  # − 1: no overflow at a small T
        predictions.append(votes.argmax(dim=1))
    return torch.cat(predictions)


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
        return self.scores(features).argmax(dim=1)

    def scores(self, features: Float[Array, "n dim"]) -> Float[Tensor, "n classes"]:
        """Returns the logit of every class; their softmax is the probability."""
        return (as_tensor(features).float() - self.mean) / self.std @ self.weight.T + self.bias

    @classmethod
    def fit(
        cls,
        features: Float[Array, "n dim"],
        labels: Int[Array, " n"],
        penalties: tuple[float, ...] = PENALTIES,
        seed: int = 0,
        iterations: int = 60,
        classes: int | None = None,
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

        Example:
            >>> probe = LinearProbe.fit(torch.eye(4), torch.tensor([0, 0, 1, 1]))
            >>> probe.predict(torch.eye(4))
            tensor([0, 0, 1, 1])
        """
        features = as_tensor(features).float()
        labels = as_ids(labels).to(features.device)
        check_labelled(labels)
        classes = int(labels.max()) + 1 if classes is None else classes
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
            loss = F.cross_entropy(x @ weight.T + bias, labels) + penalty / 2 * weight.square().sum()
            loss.backward()
            return loss

        with torch.enable_grad():
            optimiser.step(closure)
        yield LinearProbe(weight.detach().clone(), bias.detach().clone(), mean, std, penalty)
