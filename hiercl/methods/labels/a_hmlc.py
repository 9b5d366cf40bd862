"""A-HMLC: every level of the hierarchy sees the features through a soft mask that a gate learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from hiercl.methods.base import Batch, Setting
from hiercl.methods.labels.contrast import Observed, Representation
from hiercl.methods.labels.gates import gate, gate_statistics
from hiercl.methods.labels.hmlc import HMC, HMCConfig
from hiercl.pairs import BlockTerm, Term


@dataclass(frozen=True)
class AHMLCConfig(HMCConfig):
    """Settings of A-HMLC; those of HMC come first."""

    gate: Literal["input", "softmax", "constant", "attention"] = "input"
    """input: a small network of the pooled feature for each level; softmax: the same, and the levels compete for every
    dimension; constant: a learned vector for each level, whatever the input; attention: a learned query for each level
    looks at the places of the last stage's map."""


class AHMLC(HMC):
    r"""Attention-based feature identification for hierarchical contrast (Ott et al., 2025, arXiv 2510.00837).

    A gate gives every view a soft mask for each level, $M_h(x)\in(0,1)^d$, with u the pooled feature and v its
    projection; the level's loss is that of :class:`~hiercl.methods.labels.LabelContrast` with

    $$M_h(x) = \sigma\big(W^{(2)}_h\,\mathrm{ReLU}(W^{(1)}_h u)\big), \qquad
      z^{(h)} = \frac{M_h(x)\odot v}{\lVert M_h(x)\odot v\rVert}$$

    Gates learn from the same loss and are not used afterwards. Candidates and roles as in
    :class:`~hiercl.methods.HMC`, whose weights of the levels it shares: the mask is the only difference.

    The history has, for every level, how much the mask of the first view differs between inputs and between features.

    Deviations
        *Paper*: only its abstract, one caption and summaries by others were at hand: soft masks by an attention head
        for each level, better than hard ones because levels may share features. **The form of the gate, where it acts,
        the weights of the levels and all sizes are our instantiation, not the paper's.** There is no maximum over
        levels as HMCE has it: with a mask each, they do not share a metric.
    """

    name = "a_hmlc"
    Config = AHMLCConfig

    def __init__(self, encoder, config: AHMLCConfig, setting: Setting):
        super().__init__(encoder, config, setting)
        self.gate = gate(config.gate, self.levels, encoder.width, config.dim, encoder.stage_widths[-1])

    def represent(self, view: Tensor) -> Representation:
        places = self.encoder.stages(view)[-1]
        feature = self.encoder.pool(places)
        masks = self.gate(feature, places.flatten(2).mT if self.gate.needs_tokens else None)
        return Representation(F.normalize(masks * self.projections(feature), dim=2), masks)

    def observe(self, terms: tuple[Term | BlockTerm, ...], masks: Tensor | None, batch: Batch) -> Observed:
        """Spread of the masks over inputs and over features, for every level."""
        found = gate_statistics(masks)
        shown = {"std_over_inputs": "gate over inputs", "std_over_features": "gate over features"}
        return {f"{text} {level}": found[name][level] for name, text in shown.items() for level in range(self.levels)}
