"""Forces: the gradient of an anchor's loss, split into what each candidate adds to it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import torch
from torch import Tensor

from hiercl.pairs.terms import BlockTerm, Term
from hiercl.runtime.arguments import checked
from hiercl.runtime.types import Bool, Float

Weighed = tuple[Tensor, Tensor, Tensor]  # loss, share of every candidate, share of the removed ones


@dataclass(frozen=True)
class Forces:
    r"""What the loss of one anchor asks of its embedding z, and which candidate asks for it.

    The logit of candidate c is $s_c=\langle z,k_c\rangle/\tau_c$. Let $w_c$ be the share of c in the positive weights,
    and $q_c$ its share in the softmax (with several positives that have a softmax each, the mean of their softmaxes,
    weighted by w). The gradient is a sum over candidates:

    $$\frac{\partial\ell}{\partial s_c}=q_c-w_c, \qquad \nabla_z\ell=\sum_c\,(q_c-w_c)\,\frac{k_c}{\tau_c}$$

    So a candidate pulls the anchor with the strength $w_c-q_c$, or pushes it, where that is below 0. A positive that
    competes with other positives can push: its share of the softmax is then above its target.

    It is the anchor's own loss. In the methods that compare the views of a batch, an anchor is a candidate of other
    anchors too, and what their losses ask of it is not in here.

    Attributes:
        loss: the anchor's loss in nats.
        factor: what multiplies this loss in the weighted sum of the step's terms: the weights of the term and of the
            anchor, over the number of anchors.
        z: embedding of the anchor, ``[dim]``, float64 as all tensors here; of several patches, one after the other.
        directions: $k_c/\tau_c$, the gradient of every logit, ``[candidates, dim]``.
        divisor: $\tau_c$, ``[candidates]``.
        share: $q_c$, ``[candidates]``; 0 for candidates that are removed or left alone.
        target: $w_c$, ``[candidates]``; 0 for candidates that are not pulled.
        outside: the share of the softmax that removed candidates have by a fixed logit (``removed_logit``).
        patches: number of unit vectors that z is made of.

    Example:
        >>> found = hiercl.pairs.forces(run.step(train, batch=8).terms[0])
        >>> float((found.share.sum() + found.outside).round(decimals=6)), float(found.target.sum())
        (1.0, 1.0)
    """

    loss: float
    factor: float
    z: Float[Tensor, " dim"]
    directions: Float[Tensor, "candidates dim"]
    divisor: Float[Tensor, " candidates"]
    share: Float[Tensor, " candidates"]
    target: Float[Tensor, " candidates"]
    outside: float
    patches: int
    weigh: Callable[[Tensor], Weighed] = field(repr=False)

    @property
    def strength(self) -> Float[Tensor, " candidates"]:
        """Target minus share: above 0 a candidate pulls, below 0 it pushes."""
        return self.target - self.share

    @property
    def contributions(self) -> Float[Tensor, "candidates dim"]:
        """What each candidate adds to the negative gradient."""
        return self.strength[:, None] * self.directions

    @property
    def gradient(self) -> Float[Tensor, " dim"]:
        """The gradient of the loss with respect to z."""
        return -self.strength @ self.directions

    def tangent(self, vectors: Float[Tensor, "*any dim"]) -> Float[Tensor, "*any dim"]:
        """Returns the part of vectors that is orthogonal to z. The other part changes the length, which is always 1."""
        parts, z = vectors.unflatten(-1, (self.patches, -1)), self.z.unflatten(-1, (self.patches, -1))
        return (parts - (parts * z).sum(dim=-1, keepdim=True) * z).flatten(-2)

    def similarity(self, z: Float[Tensor, " dim"] | None = None) -> Float[Tensor, " candidates"]:
        """Returns the cosine of every candidate with the anchor, or with another embedding in its place."""
        return (self.directions @ (self.z if z is None else z)) * self.divisor

    def loss_at(self, z: Float[Tensor, " dim"]) -> float:
        """Returns the anchor's loss if its embedding were another one."""
        return float(self.weigh(self.directions @ z)[0])

    @property
    def rate(self) -> float:
        r"""A step size that is small enough for the loss not to rise, with τ the smallest temperature.

        $$\eta=\frac1{1/\tau^2+2/\tau}$$

        The second derivative of the loss along the sphere is at most the denominator: the variance of unit vectors
        under the softmax is at most 1, and the gradient is at most 2/τ long.
        """
        tau = float(self.divisor.min())
        return tau**2 / (1 + 2 * tau)

    def moved(self, rate: float) -> Float[Tensor, " dim"]:
        r"""Returns z after a step against the gradient, on the sphere: the normalised $z-\eta\nabla_z\ell$.

        Args:
            rate: η, at least 0.
        """
        parts = (self.z - rate * self.tangent(self.gradient)).unflatten(0, (self.patches, -1))
        return torch.nn.functional.normalize(parts, dim=1).flatten()

    def downhill(self, most: float = 10.0) -> Float[Tensor, " dim"]:
        """Returns z after the largest step of :attr:`rate` × 1, 2, 4, … with which the loss still falls.

        Args:
            most: the largest angle between z and the result, in degrees.
        """
        best, loss, rate = self.z, self.loss_at(self.z), self.rate
        while True:
            z, rate = self.moved(rate), 2 * rate
            if not (now := self.loss_at(z)) < loss or self.angle(z) > most:
                return best
            best, loss = z, now

    def angle(self, z: Float[Tensor, " dim"]) -> float:
        """Returns the angle between the anchor and another embedding in degrees; of several patches the largest."""
        both = (self.z.unflatten(0, (self.patches, -1)), z.unflatten(0, (self.patches, -1)))
        return math.degrees(math.acos(float(torch.cosine_similarity(*both).min().clamp(-1, 1))))


@checked
def forces(term: Term | BlockTerm, anchor: int = 0) -> Forces:
    """Splits the gradient of an anchor's loss into the pull and push of each candidate.

    Args:
        term: one of ``run.step(dataset).terms``, or what :meth:`hiercl.pairs.Term.of` makes.
        anchor: number of the anchor in the term.

    Returns:
        The forces.

    Raises:
        ValueError: there is no such anchor; the term does not say what its logits are made of, or its method changes
            them afterwards.

    Example:
        >>> found = hiercl.pairs.forces(run.step(train, batch=8).terms[0], anchor=3)
        >>> found.loss_at(found.downhill()) < found.loss
        True
    """
    pairs, vectors = term.pairs, term.vectors
    if not 0 <= anchor < len(pairs.anchors):
        raise ValueError(f"there is no anchor {anchor}: the step has {len(pairs.anchors)}, counted from 0.")
    if vectors is None:
        raise ValueError(
            f"the term {term.name!r} does not say what its logits are made of: make it by hiercl.pairs.Term.of(...), "
            "or give it vectors=hiercl.pairs.Vectors(anchors, (candidates,), temperature)."
        )
    z = _exact(vectors.anchors[anchor])
    keys = torch.cat([_exact(part) for part in vectors.candidates])
    divisor = _exact(torch.as_tensor(vectors.divisor)).expand(len(keys))
    z, keys = (z[None], keys[:, None]) if z.ndim == 1 else (z, keys)
    patches = len(z)
    nearest = (keys @ z.T).argmax(dim=1)  # of every patch of the anchor, in every candidate: [candidates, patches]
    keys = keys.gather(1, nearest[..., None].expand(-1, -1, keys.shape[2])) / patches
    directions = keys.flatten(1) / divisor[:, None]

    logits = _exact(term.logits[anchor])
    if not torch.allclose(directions @ z.flatten(), logits, rtol=1e-3, atol=1e-3):
        raise ValueError(
            f"the logits of the term {term.name!r} are not the cosines of its vectors over the temperature: its method "
            "changes them, or the queue has changed since the step."
        )
    own = pairs.positive_index[:, 0] == anchor
    positive, weight = pairs.positive_index[own, 1].cpu(), _exact(pairs.positive_weight[own])
    target = torch.zeros_like(logits).index_put((positive,), weight / weight.sum())
    inside = None if pairs.candidate_weight is None else _exact(pairs.candidate_weight[anchor]).log()
    log_removed = term.removed_logit + math.log(removed) if (removed := int(pairs.removed[anchor].sum())) else -math.inf
    weigh = partial(
        _weigh,
        target=target,
        pushed=pairs.negative[anchor].cpu(),
        log_weight=torch.zeros_like(logits) if inside is None else inside,
        log_removed=log_removed,
        shared=term.shared_denominator,
    )
    loss, share, outside = weigh(logits)
    count = len(pairs.anchors) - pairs.without_positive if term.count is None else term.count
    of_anchor = 1.0 if pairs.anchor_weight is None else float(pairs.anchor_weight[anchor])
    factor = term.weight * of_anchor / max(float(count), 1e-12)
    return Forces(float(loss), factor, z.flatten(), directions, divisor, share, target, float(outside), patches, weigh)


def _exact(values: Tensor) -> Tensor:
    return values.detach().cpu().double()


def _weigh(
    logits: Float[Tensor, " candidates"],
    target: Float[Tensor, " candidates"],
    pushed: Bool[Tensor, " candidates"],
    log_weight: Float[Tensor, " candidates"],
    log_removed: float,
    shared: bool,
) -> Weighed:
    """Returns the loss of :func:`~hiercl.info_nce` for one anchor, and the softmax behind it."""
    pulled, zero = target > 0, logits.new_zeros(())
    share = torch.zeros_like(logits)
    if not pulled.any():
        return zero, share, zero
    counted = pushed | pulled if shared else pushed
    weighted = logits + log_weight
    rest = torch.cat([weighted[counted], logits.new_tensor([log_removed])]).logsumexp(dim=0)
    if shared:
        share[counted] = (weighted[counted] - rest).exp()
        return (target * (rest - logits))[pulled].sum(), share, (log_removed - rest).exp()
    whole = torch.logaddexp(logits[pulled], rest)  # the denominator of every positive
    each = target[pulled]
    share[pulled] = each * (logits[pulled] - whole).exp()
    mean = (each.log() - whole).logsumexp(dim=0)  # log of the weighted mean of 1 / denominator
    share[pushed] = (weighted[pushed] + mean).exp()
    return (each * (whole - logits[pulled])).sum(), share, cast(Tensor, log_removed + mean).exp()
