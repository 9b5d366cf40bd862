"""Encoders of pictures: each gives its stem, its stages and their widths."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hiercl.encoders.base import Architecture
from hiercl.encoders.vit import vit_tiny

WHITENING_EPSILON = 5e-4  # of the variance of a filter's answer: what hardly varies is not blown up
WIDEST_BASIC_BLOCK = 512  # channels; wider encoders, as ResNet-50, are built of bottlenecks


def _convolution(channels_in, channels_out, norm, stride=1, kernel=3):
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, bias=False),
        norm(channels_out),
        nn.ReLU(inplace=True),
    )


class _Skip(nn.Module):
    """relu(x + norm(conv(x)))"""

    def __init__(self, channels, norm):
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = norm(channels)

    def forward(self, x):
        return F.relu(x + self.norm(self.convolution(x)), inplace=True)


class Whitening(nn.Module):
    r"""A first layer that sees whitened patches of 2×2 pixels: fixed filters, and learned mixtures of their answers.

    $$y=\operatorname{relu}(M\,W\,x+b),\qquad W=(\Lambda+\varepsilon)^{-1/2}\,V^\top,\qquad
      \operatorname{cov}(x)=V\Lambda V^\top$$

    The answers $Wx$ are uncorrelated and have variance 1. A first layer that is learned spends many steps on this. As
    in the CIFAR-10 speed runs (Jordan, 2024, arXiv 2404.00498), the filters are computed before training. $M$ and $b$
    are learned. Rows of $M$ that have norm 1 give answers of variance 1, so no norm is needed behind them. $MW$ is
    one small convolution, so the answers $Wx$ are never written down.

    Args:
        channels: channels of a picture.
        width: channels of the map.
    """

    filters: Tensor

    def __init__(self, channels: int, width: int):
        super().__init__()
        patch = 4 * channels
        basis = torch.linalg.qr(torch.randn(patch, patch))[0]  # until see() is called
        self.register_buffer("filters", basis)
        self.mix = nn.Conv2d(patch, width, 1)
        nn.init.orthogonal_(self.mix.weight, gain=max(1.0, (width / patch) ** 0.5))
        self.mix.bias = nn.Parameter(torch.zeros(width))

    @torch.no_grad()
    def see(self, pictures: Tensor) -> None:
        """Computes the filters from normalised pictures ``[n, channels, height, width]``."""
        patches = F.unfold(pictures, 2).transpose(1, 2).flatten(0, 1)
        values, vectors = torch.linalg.eigh(patches.T.cov().double())
        self.filters.copy_((vectors / (values + WHITENING_EPSILON).sqrt()).T)

    def forward(self, x: Tensor) -> Tensor:
        # In float32, under autocast too: filters of rare patches are large, and bf16 would round their mixtures badly.
        kernel = (self.mix.weight.flatten(1).unsqueeze(2) * self.filters).sum(dim=1).unflatten(1, (-1, 2, 2))
        return F.relu(F.conv2d(F.pad(x, (0, 1, 0, 1)), kernel, self.mix.bias), inplace=True)


def _convnet(channels, norm):
    # Strides, not pooling: on a CPU the time goes into reading and writing the large early maps, so each of them is
    # made once and small. The parameters sit where the maps are small.
    return nn.Identity(), [_convolution(channels, 32, norm), *_deeper(norm)], (32, 64, 128, 256)


def _whitenet(channels, norm):
    return nn.Identity(), [Whitening(channels, 32), *_deeper(norm)], (32, 64, 128, 256)


def _deeper(norm):
    return [
        _convolution(32, 64, norm, stride=2),
        nn.Sequential(_convolution(64, 128, norm, stride=2), _Skip(128, norm)),
        _convolution(128, 256, norm, stride=2),
    ]


def _resnet(depth):
    def build(channels, norm):
        import torchvision  # here, because importing hiercl must stay light

        net = getattr(torchvision.models, f"resnet{depth}")(weights=None, norm_layer=norm)
        convolution = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
        stem = nn.Sequential(convolution, net.bn1, net.relu)
        expansion = net.fc.in_features // 512
        widths = tuple(expansion * width for width in (64, 128, 256, 512))
        return stem, [net.layer1, net.layer2, net.layer3, net.layer4], widths

    return build


def image_block(width: int, wider: int, norm) -> nn.Module:
    """Makes a residual block of stride 2, of the kind that ResNets are built of."""
    from torchvision.models.resnet import BasicBlock, Bottleneck  # here, because importing hiercl must stay light

    shortcut = nn.Sequential(nn.Conv2d(width, wider, 1, stride=2, bias=False), norm(wider))
    block = BasicBlock if wider <= WIDEST_BASIC_BLOCK else Bottleneck
    return block(width, wider // block.expansion, 2, shortcut, norm_layer=norm)


_LAYER_NORMS = "it has layer norms, which depend on no other item; leave norm out"

IMAGE_ENCODERS = {
    "convnet": Architecture(_convnet, optimiser="muon"),
    "whitenet": Architecture(_whitenet, optimiser="muon"),
    "resnet18": Architecture(_resnet(18)),
    "resnet50": Architecture(_resnet(50)),
    "vit_tiny": Architecture(vit_tiny, refused=dict.fromkeys(("split", "group"), _LAYER_NORMS)),
}
"""The encoders of pictures."""
