"""What frozen features know: weighted k-nearest neighbours, a linear probe, clusters. On plain tensors."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hiercl.runtime.types import Float, Int

PENALTIES = (1e-1, 1e-2, 1e-3, 1e-4)  # of the linear probe, strong to weak


def knn_predict(
    bank: Float[Tensor, "bank dim"],
    labels: Int[Tensor, " bank"],
    queries: Float[Tensor, "queries dim"],
    k: int = 20,
    temperature: float = 0.07,
    own: Int[Tensor, " queries"] | None = None,
) -> Int[Tensor, " queries"]:
    r"""Weighted k-nearest-neighbour vote on cosine similarity (Wu et al., 2018, section 3.4).

    $$\hat y(q) = \arg\max_y \sum_{i \in \text{kNN}(q)} e^{\cos(q, z_i)/T}\,[y_i = y]$$

    Args:
        bank: labelled features, of any length.
        labels: of the bank.
        queries: features to label.
        k: neighbours; all of the bank if it has fewer.
        temperature: T.
        own: place of every query in the bank, if it is there; it is then no neighbour of itself.

    Raises:
        ValueError: k < 1 or temperature ≤ 0.
    """
    if k < 1 or temperature <= 0:
        raise ValueError(f"k={k}, temperature={temperature}: k must be at least 1 and the temperature above 0.")
    bank, queries = F.normalize(bank, dim=1), F.normalize(queries, dim=1)
    k = min(k, len(bank) - (own is not None))
    classes = int(labels.max()) + 1
    predictions = []
    for start in range(0, len(queries), 1024):
        similarity = queries[start : start + 1024] @ bank.T
        if own is not None:
            rows = torch.arange(len(similarity), device=bank.device)
            similarity[rows, own[start : start + 1024]] = -torch.inf
        closest, index = similarity.topk(k, dim=1)
        votes = similarity.new_zeros(len(similarity), classes)
        votes.scatter_add_(1, labels[index], ((closest - 1) / temperature).exp())  # − 1: no overflow at a small T
        predictions.append(votes.argmax(dim=1))
    return torch.cat(predictions)


@dataclass(frozen=True)
class LinearProbe:
    """Multinomial logistic regression on standardised features.

    Attributes:
        weight, bias: of the standardised features.
        mean, std: of the training features.
        penalty: the chosen λ.
    """

    weight: Float[Tensor, "classes dim"]
    bias: Float[Tensor, " classes"]
    mean: Float[Tensor, " dim"]
    std: Float[Tensor, " dim"]
    penalty: float

    def predict(self, features: Float[Tensor, "n dim"]) -> Int[Tensor, " n"]:
        """Most probable class of every item."""
        return self.scores(features).argmax(dim=1)

    def scores(self, features: Float[Tensor, "n dim"]) -> Float[Tensor, "n classes"]:
        """Logit of every class; their softmax is the probe's probability."""
        return (features - self.mean) / self.std @ self.weight.T + self.bias

    @classmethod
    def fit(
        cls,
        features: Float[Tensor, "n dim"],
        labels: Int[Tensor, " n"],
        penalties: tuple[float, ...] = PENALTIES,
        seed: int = 0,
        iterations: int = 60,
        classes: int | None = None,
    ) -> "LinearProbe":
        r"""Full-batch L-BFGS on

        $$\frac1n\sum_i -\log \text{softmax}_{y_i}(W x_i + b) + \frac{\lambda}{2}\lVert W\rVert^2$$

        With several penalties λ, each is tried on four fifths of the training items and scored on the last fifth
        (drawn class by class); the best (the strongest of equals) is then fitted to all of them.

        Args:
            features: training features.
            labels: their classes.
            penalties: values of λ to try.
            seed: of the split.
            iterations: most L-BFGS iterations for each fit.
            classes: how many there are, if some may have no item; by default the highest label says.
        """
        classes = int(labels.max()) + 1 if classes is None else classes
        if len(penalties) > 1:
            held_out = _stratified_fifth(labels, seed)
            scored = held_out if held_out.any() else ~held_out  # of fewer than five items a class none can be spared
            probes = _path(features[~held_out], labels[~held_out], classes, penalties, iterations)
            scores = [(p.predict(features[scored]) == labels[scored]).float().mean().item() for p in probes]
            penalties = penalties[: 1 + int(np.argmax(scores))]
        return _path(features, labels, classes, penalties, iterations)[-1]


def _stratified_fifth(labels: Int[Tensor, " n"], seed: int) -> Tensor:
    """Mask of one fifth of every class; a class of fewer than five keeps all its items for training."""
    rng = np.random.default_rng(seed)
    of_class = labels.cpu().numpy()
    held_out = np.zeros(len(of_class), dtype=bool)
    for value in np.unique(of_class):
        members = rng.permutation(np.flatnonzero(of_class == value))
        held_out[members[: len(members) // 5]] = True
    return torch.from_numpy(held_out).to(labels.device)


def _path(features, labels, classes: int, penalties: tuple[float, ...], iterations: int) -> list[LinearProbe]:
    """One probe for each penalty, strong to weak; each starts where the one before ended."""
    mean, std = features.mean(dim=0), features.std(dim=0).clamp(min=1e-6)
    x = (features - mean) / std
    weight = torch.zeros(classes, x.shape[1], device=x.device, requires_grad=True)
    bias = torch.zeros(classes, device=x.device, requires_grad=True)
    probes = []
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
        probes.append(LinearProbe(weight.detach().clone(), bias.detach().clone(), mean, std, penalty))
    return probes
