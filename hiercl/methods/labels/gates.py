"""Soft masks: how much every feature dimension counts at each level of the hierarchy, learned with the encoder.

This is the other half of "Feature Identification for Hierarchical Contrastive Learning" (Ott et al., arXiv 2510.00837):
A-HMLC learns soft masks by attention heads, one for each level, so that levels can share features. Of the paper only
the abstract and summaries were at hand: *the form of the gates is ours.*

Every gate is called as ``gate(pooled, tokens)`` and gives masks in float32, even under autocast. ``gate.needs_tokens``
says whether it reads the tokens; one that does not takes None for them. Weights start from torch's global generator.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from hiercl.runtime.errors import unknown
from hiercl.runtime.types import Float

GateKind = Literal["input", "softmax", "constant", "attention"]
OPEN = 2.0  # the logit that gates start from: sigmoid(2) = 0.88, close to no mask
CONSTANT_NOISE = 0.1  # of the logits of constant gates at the start
HEADS = 4  # of the attention


class Gate(nn.Module):
    """One mask for each level, for every item.

    Attributes:
        needs_tokens: whether the masks depend on the tokens; else on the pooled feature (or on neither).
    """

    needs_tokens = False

    def forward(
        self, pooled: Float[Tensor, "batch width"], tokens: Float[Tensor, "batch tokens token_width"] | None = None
    ) -> Float[Tensor, "batch levels dim"]:
        """Masks, float32 in [0, 1].

        Args:
            pooled: the encoder's feature.
            tokens: the same before pooling, e.g. ``encoder.stages(x)[-1].flatten(2).mT``: a token for every place.

        Raises:
            ValueError: a gate that needs tokens got none.
        """
        if self.needs_tokens and tokens is None:
            raise ValueError(
                f"{type(self).__name__} attends over tokens [batch, tokens, width]: pass the last stage's map as "
                "tokens, e.g. encoder.stages(x)[-1].flatten(2).mT, or take a gate that needs none, as 'input'."
            )
        with torch.autocast(pooled.device.type, enabled=False):
            return self.masks(pooled.float(), None if tokens is None else tokens.float())

    def masks(self, pooled: Tensor, tokens: Tensor | None) -> Tensor:
        raise NotImplementedError


class InputGate(Gate):
    r"""A small network for each level: $M_h(x) = \sigma(W^{(2)}_h\,\mathrm{ReLU}(W^{(1)}_h u))$, with biases.

    The bottleneck is a quarter of the feature u; the last bias starts at 2. Source: ours.
    """

    def __init__(self, levels: int, width: int, dim: int):
        super().__init__()
        self.networks = nn.ModuleList(_bottleneck(width, dim, OPEN) for _ in range(levels))

    def masks(self, pooled: Tensor, tokens: Tensor | None) -> Tensor:
        return torch.stack([network(pooled) for network in self.networks], dim=1).sigmoid()


class SoftmaxGate(Gate):
    r"""As :class:`InputGate`, but the levels compete for every dimension: $\sum_h M_{h,j}(x) = 1$.

    $$M_{h,j}(x) = \frac{e^{a_{h,j}(x)}}{\sum_{h'} e^{a_{h',j}(x)}}, \qquad
      a_h(x) = W^{(2)}_h\,\mathrm{ReLU}(W^{(1)}_h u)$$

    Not multiplied by the number of levels: masked features are brought to unit length, so a mask's scale cancels, and
    masks stay in [0, 1]. The last bias starts at 0, where all levels are about equal. Source: ours.
    """

    def __init__(self, levels: int, width: int, dim: int):
        super().__init__()
        self.networks = nn.ModuleList(_bottleneck(width, dim, 0.0) for _ in range(levels))

    def masks(self, pooled: Tensor, tokens: Tensor | None) -> Tensor:
        return torch.stack([network(pooled) for network in self.networks], dim=1).softmax(dim=1)


class ConstantGate(Gate):
    r"""One learned vector for each level, the same for every input: $M_h = \sigma(a_h)$.

    $a_h$ starts at 2 with a noise of 0.1, so that levels are not alike. The control that tells whether masks need to
    see the input. Source: ours.
    """

    def __init__(self, levels: int, dim: int):
        super().__init__()
        self.logits = nn.Parameter(OPEN + CONSTANT_NOISE * torch.randn(levels, dim))

    def masks(self, pooled: Tensor, tokens: Tensor | None) -> Tensor:
        return self.logits.float().sigmoid().expand(len(pooled), -1, -1)


class AttentionGate(Gate):
    r"""A learned query for each level attends over the tokens T of the item: $M_h(x) = \sigma(W\,A_h + b)$.

    $$A_h = \mathrm{MultiHead}(q_h, T, T)$$

    Multi-head attention as of Vaswani et al., 2017, with 4 heads (fewer where 4 does not divide the width); W and b are
    shared by the levels, and b starts at 2. Source: ours.
    """

    needs_tokens = True

    def __init__(self, levels: int, width: int, dim: int):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(levels, width))
        self.attention = nn.MultiheadAttention(width, math.gcd(width, HEADS), batch_first=True)
        self.out = nn.Linear(width, dim)
        nn.init.constant_(self.out.bias, OPEN)

    def masks(self, pooled: Tensor, tokens: Tensor | None) -> Tensor:
        queries = self.queries.expand(len(tokens), -1, -1)
        seen, _ = self.attention(queries, tokens, tokens, need_weights=False)
        return self.out(seen).sigmoid()


def gate(kind: GateKind, levels: int, width: int, dim: int, token_width: int | None = None) -> Gate:
    r"""A module that gives every item a soft mask for each level.

    $$z^{(h)} = \frac{M_h\odot v}{\lVert M_h\odot v\rVert}$$

    ``input`` (A-HMLC's default here), ``softmax`` (levels compete), ``constant`` (the input is not seen), ``attention``
    (over places): see :class:`InputGate`, :class:`SoftmaxGate`, :class:`ConstantGate`, :class:`AttentionGate`.

    Args:
        kind: a name from above.
        levels: number of levels, coarse first.
        width: of the encoder's feature u.
        dim: of the projection v that is masked.
        token_width: channels of the tokens that attention looks at; by default those of u.

    Raises:
        ValueError: an unknown kind, a number below 1.

    Example:
        >>> masks = gate("input", levels=2, width=256, dim=128)(torch.randn(8, 256))
        >>> masks.shape
        torch.Size([8, 2, 128])
    """
    if min(levels, width, dim) < 1:
        raise ValueError(f"levels={levels}, width={width}, dim={dim}: each must be at least 1.")
    if kind == "constant":
        return ConstantGate(levels, dim)
    if kind == "attention":
        return AttentionGate(levels, width if token_width is None else token_width, dim)
    kinds = {"input": InputGate, "softmax": SoftmaxGate}
    if kind not in kinds:
        raise unknown("gate", kind, (*kinds, "attention", "constant"))
    return kinds[kind](levels, width, dim)


@torch.no_grad()
def gate_statistics(masks: Float[Tensor, "batch levels dim"]) -> dict[str, tuple[float, ...]]:
    r"""Whether gates depend on the input, and whether they choose features: a number for each level, coarse first.

    With $M_{i,h,j}$ the mask of item i, and $\bar M_{h,j}$ its mean over the items:

    * ``mean``: of $M$ over items and features;
    * ``std_over_inputs``: the standard deviation of $M_{i,h,j}$ over i, averaged over j; 0 for gates that do not see
      their input;
    * ``std_over_features``: the standard deviation of $\bar M_{h,j}$ over j; 0 where all features count alike.

    Standard deviations are those of the items at hand (divided by n); masks in [0, 1] keep them at 0.5
    at most. Source: ours.

    Example:
        >>> gate_statistics(torch.full((8, 2, 4), 0.5))["mean"]
        (0.5, 0.5)
    """
    masks = masks.double()
    statistics = {
        "mean": masks.mean(dim=(0, 2)),
        "std_over_inputs": masks.std(dim=0, correction=0).mean(dim=1),
        "std_over_features": masks.mean(dim=0).std(dim=1, correction=0),
    }
    values = torch.stack(list(statistics.values())).tolist()
    return {name: tuple(row) for name, row in zip(statistics, values, strict=True)}


def _bottleneck(width: int, dim: int, bias: float) -> nn.Module:
    hidden = max(1, width // 4)
    last = nn.Linear(hidden, dim)
    nn.init.constant_(last.bias, bias)
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(inplace=True), last)
