"""Muon for the kernels of convolutions, beside AdamW for everything else."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic that pulls singular values towards 1 (Jordan, 2024)


class Muon(torch.optim.AdamW):
    r"""AdamW, in which kernels of convolutions take orthogonal steps and keep their norm.

    A kernel $W$ of ``out`` filters is a matrix with ``out`` rows. Its step is the nearest matrix with orthogonal rows
    or columns to the momentum $m$ of its gradient, found by Newton–Schulz iterations:

    $$m\leftarrow\mu m+g,\qquad W\leftarrow W-\eta\,\operatorname{orth}(g+\mu m),\qquad
      W\leftarrow\sqrt{\text{out}}\;W/\lVert W\rVert$$

    Each row then has norm 1 in the mean. A norm follows nearly every convolution of the package's encoders, so the size
    of a kernel has no effect but on the size of its steps. The first layer of ``whitenet`` has none: its inputs are
    uncorrelated with variance 1, and rows of norm 1 keep that variance.

    Source: Jordan et al., Muon (kellerjordan.github.io/posts/muon, 2024), whose form for convolutions comes from the
    CIFAR-10 speed runs. The coefficients are theirs; four iterations and the constant norm too.

    Args:
        model: what is trained.
        lr: learning rate of AdamW; kernels have ``lr * factor``.
        weight_decay: weight decay of AdamW; kernels have none, because their norm is fixed.
        factor: rate of kernels, in units of ``lr``.
        momentum: μ.
        iterations: Newton–Schulz iterations.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, bias=False), torch.nn.Flatten(), torch.nn.Linear(8, 2))
        >>> optimiser = Muon(net, lr=1e-3)
        >>> net(torch.rand(4, 3, 3, 3)).sum().backward()
        >>> optimiser.step()
        >>> round(net[0].weight.detach().square().sum().item(), 3)
        8.0
    """

    def __init__(
        self,
        model: nn.Module,
        lr: float,
        weight_decay: float = 0.05,
        factor: float = 48.0,
        momentum: float = 0.9,
        iterations: int = 4,
    ):
        learns = [p for p in model.parameters() if p.requires_grad]
        kernels = [p for p in learns if p.ndim == 4]
        plain = [p for p in learns if p.ndim != 4]
        of_kernels = {"factor": factor, "kept": momentum, "iterations": iterations}
        groups: list[dict[str, Any]] = [{"params": plain}, {"params": kernels, **of_kernels}]
        super().__init__([group for group in groups if group["params"]], lr=lr, weight_decay=weight_decay)

    @torch.no_grad()
    def step(self, closure: Callable | None = None) -> Any:
        """Moves the kernels, then everything else."""
        for group in self.param_groups:
            for p in group["params"] if "factor" in group else ():
                if p.grad is not None:
                    self._turn(p, p.grad, group)
                    p.grad = None  # AdamW passes it over
        return super().step(closure)

    def _turn(self, p: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        if not self.state[p]:
            self.state[p] |= {"momentum": torch.zeros_like(p), "step": torch.zeros(())}  # AdamW's loading asks for step
        memory = self.state[p]["momentum"]
        memory.mul_(group["kept"]).add_(grad)
        ahead = (grad + group["kept"] * memory).flatten(1)
        p.add_(orthogonal(ahead, group["iterations"]).view_as(p), alpha=-group["lr"] * group["factor"])
        p.mul_(math.sqrt(len(p)) / p.norm())


def orthogonal(matrix: Tensor, iterations: int = 4) -> Tensor:
    r"""Returns about $UV^\top$ for the matrix $X=U\Sigma V^\top$: all singular values become about 1.

    Every iteration multiplies $X$ by a polynomial $P$ of its Gram matrix $G=XX^\top$. Such polynomials commute with
    $G$. So the iterations run on the small $G$ alone, and their product meets $X$ once:

    $$P=aI+bG+cG^2,\qquad Q\leftarrow PQ,\qquad G\leftarrow PGP,\qquad UV^\top\approx QX$$

    Args:
        matrix: ``[rows, columns]``.
        iterations: Newton–Schulz iterations; more of them bring the singular values into about 0.7 to 1.2.

    Example:
        >>> values = torch.linalg.svdvals(orthogonal(torch.randn(8, 20), iterations=8))
        >>> bool((values > 0.6).all() and (values < 1.3).all())
        True
    """
    a, b, c = COEFFICIENTS
    wide = matrix if len(matrix) <= matrix.shape[1] else matrix.T  # the smaller Gram matrix
    x = wide / wide.norm().clamp(min=1e-12)
    gram, one = x @ x.T, torch.eye(len(x), dtype=x.dtype, device=x.device)
    product = one
    for _ in range(iterations):
        p = a * one + b * gram + c * gram @ gram
        product, gram = p @ product, p @ gram @ p
    x = product @ x
    return x if wide is matrix else x.T
