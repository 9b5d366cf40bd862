"""Soft masks: how much every feature dimension counts at each level of the hierarchy, learned with the encoder.

A-HMLC ("Feature Identification for Hierarchical Contrastive Learning", Ott et al., arXiv 2510.00837) learns soft masks
with one attention head per level, so that levels can share features. Only the paper's abstract and summaries were at
hand: *the form of the gates is ours.*

``gate(pooled, tokens)`` returns masks in float32, even under autocast. A gate whose ``needs_tokens`` is False takes
None for the tokens. First weights come from torch's global generator.
"""

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from hiercl.runtime.errors import unknown
from hiercl.runtime.types import Float

GateKind = Literal["input", "softmax", "features", "constant", "attention"]
OPEN = 2.0  # the first logit of a gate: sigmoid(2) = 0.88, close to no mask
CONSTANT_NOISE = 0.1  # standard deviation of the first logits of a constant gate
HEADS = 4  # heads of the attention


class Gate(nn.Module):
    """Base of the gates: one mask for each level, for every item.

    Attributes:
        needs_tokens: whether the masks depend on the tokens; if not, they depend on the pooled feature or on nothing.
    """

    needs_tokens = False

    def forward(
        self, pooled: Float[Tensor, "batch width"], tokens: Float[Tensor, "batch tokens token_width"] | None = None
    ) -> Float[Tensor, "batch levels dim"]:
        """Returns the masks, float32 in [0, 1].

        Args:
            pooled: the encoder's feature.
            tokens: one token for every place of the last map, e.g. ``encoder.stages(x)[-1].flatten(2).mT``.

        Raises:
            ValueError: no tokens for a gate that needs them.
        """
        if self.needs_tokens and tokens is None:
            raise ValueError(
                f"{type(self).__name__} attends over tokens [batch, tokens, width]: pass the last stage's map as "
                "tokens, e.g. encoder.stages(x)[-1].flatten(2).mT, or choose a gate without tokens, as 'input'."
            )
        with torch.autocast(pooled.device.type, enabled=False):
            return self.masks(pooled.float(), None if tokens is None else tokens.float())

    def masks(self, pooled: Tensor, tokens: Tensor | None) -> Tensor:
        """Returns the masks of float32 inputs."""
        raise NotImplementedError


class InputGate(Gate):
    r"""A small network for each level: $M_h(x) = \sigma(W^{(2)}_h\,\mathrm{ReLU}(W^{(1)}_h u))$, with biases.

    The hidden layer has a quarter of the width of the feature u; the last bias starts at 2. Source: ours.
    """

    first_bias = OPEN

    def __init__(self, levels: int, width: int, dim: int):
        super().__init__()
        self.networks = nn.ModuleList(_bottleneck(width, dim, self.first_bias) for _ in range(levels))

    def logits(self, pooled: Tensor) -> Tensor:
        """Returns what the networks say, ``[batch, levels, dim]``."""
        return torch.stack([network(pooled) for network in self.networks], dim=1)

    def masks(self, pooled: Tensor, tokens: Tensor | None) -> Tensor:
        return self.logits(pooled).sigmoid()


class SoftmaxGate(InputGate):
    r"""Works as :class:`InputGate`, but the levels compete for every dimension: $\sum_h M_{h,j}(x) = 1$.

    $$M_{h,j}(x) = \frac{e^{a_{h,j}(x)}}{\sum_{h'} e^{a_{h',j}(x)}}, \qquad
      a_h(x) = W^{(2)}_h\,\mathrm{ReLU}(W^{(1)}_h u)$$

    The masks are not multiplied by the number of levels and stay in [0, 1]: masked features are normalised, so the
    scale of a mask cancels. The last bias starts at 0, where all levels are about equal. Source: ours.
    """

    first_bias = 0.0

    def masks(self, pooled: Tensor, tokens: Tensor | None) -> Tensor:
        return self.logits(pooled).softmax(dim=1)


class FeatureGate(InputGate):
    r"""Attention over the features: at every level the features compete, $\sum_j M_{h,j}(x) = 1$.

    $$M_{h,j}(x) = \frac{e^{a_{h,j}(x)}}{\sum_{j'} e^{a_{h,j'}(x)}}, \qquad
      a_h(x) = W^{(2)}_h\,\mathrm{ReLU}(W^{(1)}_h u)$$

    A level that looks at some features more than at others looks at those less. The scale of a mask cancels, since
    masked features are normalised. The last bias starts at 0, where all features are about equal. Source: ours.
    """

    first_bias = 0.0

    def masks(self, pooled: Tensor, tokens: Tensor | None) -> Tensor:
        return self.logits(pooled).softmax(dim=2)


class ConstantGate(Gate):
    r"""One learned vector for each level, the same for every input: $M_h = \sigma(a_h)$.

    $a_h$ starts at 2 with noise of standard deviation 0.1, so that levels are not alike. It is the control that shows
    whether masks need to see the input. Source: ours.
    """

    def __init__(self, levels: int, dim: int):
        super().__init__()
        self.logits = nn.Parameter(OPEN + CONSTANT_NOISE * torch.randn(levels, dim))

    def masks(self, pooled: Tensor, tokens: Tensor | None) -> Tensor:
        return self.logits.float().sigmoid().expand(len(pooled), -1, -1)


class AttentionGate(Gate):
    r"""A learned query for each level attends over the tokens T of the item: $M_h(x) = \sigma(W\,A_h + b)$.

    $$A_h = \mathrm{MultiHead}(q_h, T, T)$$

    The attention is that of Vaswani et al., 2017, with 4 heads (fewer if 4 does not divide the width). All levels share
    W and b; b starts at 2. Source: ours.
    """

    needs_tokens = True

    def __init__(self, levels: int, width: int, dim: int):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(levels, width))
        self.attention = nn.MultiheadAttention(width, math.gcd(width, HEADS), batch_first=True)
        self.out = nn.Linear(width, dim)
        nn.init.constant_(self.out.bias, OPEN)

    def masks(self, pooled: Tensor, tokens: Tensor | None) -> Tensor:
        queries = self.queries.expand(len(pooled), -1, -1)
        seen, _ = self.attention(queries, tokens, tokens, need_weights=False)
        return self.out(seen).sigmoid()


def gate(kind: GateKind, levels: int, width: int, dim: int, token_width: int | None = None) -> Gate:
    r"""Makes a module that gives every item a soft mask for each level.

    $$z^{(h)} = \frac{M_h\odot v}{\lVert M_h\odot v\rVert}$$

    Args:
        kind: "input" (default of A-HMLC, :class:`InputGate`), "softmax" (levels compete, :class:`SoftmaxGate`),
            "features" (features compete, :class:`FeatureGate`), "constant" (without the input, :class:`ConstantGate`)
            or "attention" (over places, :class:`AttentionGate`).
        levels: number of levels, coarse first.
        width: width of the encoder's feature u.
        dim: number of dimensions of the projection v that is masked.
        token_width: channels of the tokens that attention sees; None: the width of u.

    Returns:
        The gate.

    Raises:
        ValueError: an unknown kind, a number below 1.

    Example:
        >>> masks = hiercl.gates.gate("input", levels=2, width=256, dim=128)(torch.randn(8, 256))
        >>> masks.shape
        torch.Size([8, 2, 128])
    """
    if min(levels, width, dim) < 1:
        raise ValueError(f"levels={levels}, width={width}, dim={dim}: each must be at least 1.")
    if kind == "input":
        return InputGate(levels, width, dim)
    if kind == "softmax":
        return SoftmaxGate(levels, width, dim)
    if kind == "features":
        return FeatureGate(levels, width, dim)
    if kind == "constant":
        return ConstantGate(levels, dim)
    if kind == "attention":
        return AttentionGate(levels, width if token_width is None else token_width, dim)
    raise unknown("gate", kind, get_args(GateKind))


@torch.no_grad()
def gate_statistics(masks: Float[Tensor, "batch levels dim"]) -> dict[str, tuple[float, ...]]:
    r"""Returns whether gates depend on the input, and whether they choose features: one number for each level.

    With $M_{i,h,j}$ the mask of item i, and $\bar M_{h,j}$ its mean over the items:

    * ``mean``: the mean of $M$ over items and features;
    * ``std_over_inputs``: the standard deviation of $M_{i,h,j}$ over i, averaged over j; 0 for a gate that does not see
      its input;
    * ``std_over_features``: the standard deviation of $\bar M_{h,j}$ over j; 0 if all features count alike.

    Standard deviations are divided by n; for masks in [0, 1] they are at most 0.5. Source: ours.

    Args:
        masks: masks of the items, coarse level first.

    Returns:
        These three names, each with one number per level.

    Example:
        >>> hiercl.gates.gate_statistics(torch.full((8, 2, 4), 0.5))["mean"]
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
