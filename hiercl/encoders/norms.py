"""What normalises the maps of an encoder: batch norm, split batch norm, or group norm."""
# pyright: reportIncompatibleVariableOverride=false

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hiercl.runtime.types import Float

SPLITS = 8  # groups of a batch in split batch norm, as in MoCo's CIFAR demo
CHANNEL_GROUPS = 8  # of group norm


class SplitBatchNorm2d(nn.BatchNorm2d):
    """Batch norm within each of 8 parts of the batch, as if each part were on its own GPU.

    Statistics shared by a whole batch let a network tell which key belongs to which query. MoCo prevents that by
    shuffling its keys over GPUs (He et al., 2020, section 3.3). On one device its CIFAR demo splits the batch, and so
    does this. In eval mode it is batch norm with running statistics (the averages of the parts').

    Raises:
        ValueError: in training, a batch that 8 does not divide.

    Example:
        >>> SplitBatchNorm2d(32)(torch.rand(16, 32, 8, 8)).shape
        torch.Size([16, 32, 8, 8])
    """

    num_batches_tracked: Tensor
    running_mean: Tensor
    running_var: Tensor
    momentum: float

    def forward(
        self, input: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        if not self.training:
            return super().forward(input)
        if len(input) % SPLITS:
            raise ValueError(f"norm='split' needs batches of a multiple of {SPLITS}; this one has {len(input)} items.")
        mean = torch.zeros(SPLITS, self.num_features, dtype=self.running_mean.dtype, device=input.device)
        variance = torch.zeros_like(mean)
        rule = {"training": True, "momentum": 1.0, "eps": self.eps}
        parts = [
            F.batch_norm(part, mean[i], variance[i], self.weight, self.bias, **rule)
            for i, part in enumerate(input.split(len(input) // SPLITS))
        ]
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean.mean(dim=0), self.momentum)
            self.running_var.lerp_(variance.mean(dim=0), self.momentum)
        return torch.cat(parts)


def _group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(CHANNEL_GROUPS, channels)


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "split": SplitBatchNorm2d,
    "group": _group_norm,
}
"""Each entry makes a normalisation layer for a number of channels."""
