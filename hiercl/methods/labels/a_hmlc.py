"""A-HMLC: every level of the hierarchy sees the features through a soft mask that a gate learns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from torch import Tensor
from torch.nn import functional as F

from hiercl.methods.base import Batch, TrainingInfo
from hiercl.methods.labels.contrast import Observed, Representation
from hiercl.methods.labels.gates import GateKind, gate, gate_statistics
from hiercl.methods.labels.hmlc import HMC, HMCConfig
from hiercl.pairs import Terms


@dataclass(frozen=True)
class AHMLCConfig(HMCConfig):
    """Settings of A-HMLC."""

    gate: GateKind = "input"
    """What makes the masks. input: a small network of the pooled feature for each level; softmax: the same, with levels
    that compete for every dimension; features: the same, with dimensions that compete at every level (attention over
    features); constant: a learned vector for each level, whatever the input; attention: a learned query for each level
    attends over the places of the last stage's map."""

    official: ClassVar[Mapping[str, Any]] = {}  # no official code is known


class AHMLC(HMC):
    r"""Attention-based feature identification for hierarchical contrast (Ott et al., 2025, arXiv 2510.00837).

    A gate gives every view x a soft mask for each level, $M_h(x)\in(0,1)^d$. With u the pooled feature and v its
    projection, the loss of a level is that of :class:`~hiercl.methods.labels.contrast.LabelContrast` with

    $$M_h(x) = \sigma\big(W^{(2)}_h\,\mathrm{ReLU}(W^{(1)}_h u)\big), \qquad
      z^{(h)} = \frac{M_h(x)\odot v}{\lVert M_h(x)\odot v\rVert}$$

    Gates learn from the same loss and are not used after the training. Candidates, roles and weights of the levels are
    those of :class:`~hiercl.methods.HMC`: the mask is the only difference. The history has, for every level, how much
    the masks of the first view differ between inputs, and between features.

    Deviations
        *Paper*: only its abstract, one caption and summaries by others were at hand. They name soft masks by one
        attention head per level, better than hard masks because levels may share features. **The form of the gate,
        where it acts, the weights of the levels and all sizes are our instantiation, not the paper's.** There is no
        maximum over levels as in HMCE: each level has its own mask, so the levels do not share a metric.

    Example:
        >>> untrained = hiercl.fit("a_hmlc", train, epochs=0, progress=False)
        >>> [term.name for term in untrained.step(train, batch=8).terms]
        ['level 0', 'level 1', 'level 2']
    """

    name = "a_hmlc"
    Config = AHMLCConfig

    def __init__(self, encoder, config: AHMLCConfig, info: TrainingInfo):
        super().__init__(encoder, config, info)
        if config.gate == "attention" and not encoder.has_places:
            raise ValueError(
                "gate='attention' looks at the places of the last map, and this encoder gives a vector: choose another "
                "gate, or an encoder that gives a map."
            )
        self.gate = gate(config.gate, self.levels, encoder.width, config.dim, encoder.stage_widths[-1])

    def represent(self, view: Tensor) -> Representation:
        places = self.encoder.stages(view)[-1]
        feature = self.encoder.pool(places)
        masks = self.gate(feature, places.flatten(2).mT if self.gate.needs_tokens else None)
        return Representation(F.normalize(masks * self.projections(feature), dim=2), masks)

    def observe(self, terms: Terms, masks: Tensor | None, batch: Batch) -> Observed:
        found = gate_statistics(cast(Tensor, masks))
        shown = {"std_over_inputs": "gate over inputs", "std_over_features": "gate over features"}
        return {f"{text} {level}": found[name][level] for name, text in shown.items() for level in range(self.levels)}
