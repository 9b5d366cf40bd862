"""Encoders of vectors. A vector is a map ``[batch, features, 1, 1]``, so everything that works on maps works here."""

from torch import Tensor, nn
from torch.nn import functional as F

from hiercl.encoders.base import Architecture

WIDTHS = (512, 256)  # of the stages of "mlp"; the last is also that of "linear"


class _Linear(nn.Linear):
    """A linear map of maps of one place. A convolution of size 1 would compute the same, twice as slowly on a CPU."""

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input.flatten(1), self.weight, self.bias)[:, :, None, None]


def _layer(channels_in: int, channels_out: int, norm) -> nn.Sequential:
    return nn.Sequential(_Linear(channels_in, channels_out, bias=False), norm(channels_out), nn.ReLU(inplace=True))


def _mlp(channels, norm):
    first, last = WIDTHS
    return nn.Identity(), [_layer(channels, first, norm), _layer(first, last, norm)], WIDTHS


def _linear(channels, norm):
    return nn.Identity(), [_Linear(channels, WIDTHS[-1])], WIDTHS[-1:]


def _identity(channels, norm):
    return nn.Identity(), [nn.Identity()], (channels,)


class _VectorBlock(nn.Module):
    """A residual block of linear layers."""

    def __init__(self, width: int, wider: int, norm):
        super().__init__()
        self.main = nn.Sequential(_layer(width, width, norm), _Linear(width, wider, bias=False), norm(wider))
        self.shortcut = nn.Sequential(_Linear(width, wider, bias=False), norm(wider))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.shortcut(x) + self.main(x), inplace=True)


def vector_block(width: int, wider: int, norm) -> nn.Module:
    """Makes a residual block for the map of a vector."""
    return _VectorBlock(width, wider, norm)


_NOTHING = "it has nothing that norm= could change; leave norm out, or choose mlp"
_NO_NORM = {"split": _NOTHING, "group": _NOTHING}

VECTOR_ENCODERS = {
    "mlp": Architecture(_mlp),
    "linear": Architecture(_linear, refused=_NO_NORM),
    "identity": Architecture(_identity, refused=_NO_NORM),
}
"""The encoders of vectors."""
