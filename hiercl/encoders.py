"""Encoders: pictures in [0, 1] to feature maps, stage by stage, and to one pooled vector; and the projection heads."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hiercl.norms import NORMS
from hiercl.types import Float

__all__ = ["Encoder", "encoder_names", "half_precision_is_native", "make_encoder", "projection_head"]


class Encoder(nn.Module):
    """A stem and a chain of stages that normalises its own input, so that a saved encoder needs nothing beside it.

    Attributes: `width`, the size of the pooled feature; `stage_widths`, the channels of every stage, shallow to deep;
    `norm`, what normalises its maps (a name of `hiercl.norms.NORMS`); buffers `mean` and `std` [channels], subtracted
    from and divided out of pictures in [0, 1].

    Raises: ValueError if mean and std differ in length or a std is not positive.

    Example: ``Encoder(nn.Identity(), [nn.Conv2d(3, 8, 3)], [8], mean=[0.5] * 3, std=[0.25] * 3)``
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        stem: nn.Module,
        stages: Sequence[nn.Module],
        stage_widths: Sequence[int],
        mean: Sequence[float] | Tensor,
        std: Sequence[float] | Tensor,
        norm: str = "batch",
    ):
        super().__init__()
        self.norm = norm
        mean, std = (torch.as_tensor(values, dtype=torch.float32).flatten().clone() for values in (mean, std))
        if len(mean) != len(std) or not bool((std > 0).all()):
            raise ValueError(f"mean and std need one entry a channel and std > 0, got {mean.tolist()}, {std.tolist()}")
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.stem = stem
        self.stage_modules = nn.ModuleList(stages)
        self.stage_widths = tuple(stage_widths)
        self.width = self.stage_widths[-1]

    def normalise(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """(x - mean) / std for every channel of pictures in [0, 1].

        Raises: ValueError for pictures that are not float or have another number of channels than `mean`.
        """
        if not x.is_floating_point() or x.ndim != 4 or x.shape[1] != len(self.mean):
            raise ValueError(
                f"expected float pictures in [0, 1], [batch, {len(self.mean)}, height, width]; "
                f"got {x.dtype} {list(x.shape)}"
            )
        return (x - self.mean[:, None, None]) / self.std[:, None, None]

    def stages(self, x: Float[Tensor, "batch channels height width"]) -> tuple[Tensor, ...]:
        """The feature map [batch, stage width, height, width] of every stage, shallow to deep.

        Example: ``[tuple(m.shape) for m in encoder.stages(torch.rand(2, 3, 32, 32))]``
        """
        x = self.stem(self.normalise(x))
        maps = []
        for stage in self.stage_modules:
            x = stage(x)
            maps.append(x)
        return tuple(maps)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch features"]:
        """The mean of the last stage's map over all places [batch, width], in float32 even under half precision.

        Example: ``encoder(torch.rand(2, 3, 32, 32)).shape  # [2, encoder.width]``
        """
        return self.pool(self.stages(x)[-1])

    @staticmethod
    def pool(places: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels"]:
        """The mean of a stage's map over all places, in float32.

        Example: ``encoder.pool(encoder.stages(x)[-1])  # encoder(x)``
        """
        return places.mean(dim=(2, 3), dtype=torch.float32)


def encoder_names() -> tuple[str, ...]:
    """The names that `make_encoder` knows.

    Example: ``encoder_names()  # ("convnet", "resnet18", "resnet50")``
    """
    return tuple(_BUILDERS)


def make_encoder(
    name: str,
    mean: Sequence[float] | Tensor,
    std: Sequence[float] | Tensor,
    channels: int = 3,
    norm: str = "batch",
) -> Encoder:
    """A freshly initialised encoder (from torch's global generator) for pictures of 16 pixels a side or more.

    ``convnet``: small, for CPUs (0.54 M parameters, width 256). ``resnet18``, ``resnet50``: torchvision's, with the 3×3
    stem of stride 1 and no max-pool that CIFAR needs (11.2 M and 23.5 M parameters, width 512 and 2,048).

    `mean` and `std` are those of the training pictures, a channel each, in units of [0, 1]. `norm` is ``batch``,
    ``split`` (batch norm in 8 parts of a batch) or ``group`` (group norm: an item's feature does not depend on others).

    Raises: ValueError for an unknown name or norm, or a mean or std that does not have one entry a channel.

    Example: ``make_encoder("convnet", mean=[0.507, 0.487, 0.441], std=[0.267, 0.256, 0.276])``
    """
    if name not in _BUILDERS:
        raise ValueError(f"unknown encoder {name!r}; known: {', '.join(_BUILDERS)}")
    if len(mean) != channels or len(std) != channels:
        raise ValueError(f"mean and std need {channels} entries, one a channel; got {len(mean)} and {len(std)}")
    if norm not in NORMS:
        raise ValueError(f"unknown norm {norm!r}; known: {', '.join(NORMS)}")
    stem, stages, widths = _BUILDERS[name](channels, NORMS[norm])
    return Encoder(stem, stages, widths, mean, std, norm)


def projection_head(kind: str, width: int, dim: int = 128, hidden: int | None = None) -> nn.Module:
    """The map from pooled features [batch, width] to the space of the loss [batch, dim]; the loss normalises.

    ``linear``: one Linear. ``mlp``: Linear(width, hidden)-ReLU-Linear(hidden, dim), `hidden` = `width` unless given,
    without batch norm, as in MoCo v2.

    Raises: ValueError for another kind.

    Example: ``projection_head("mlp", encoder.width)``
    """
    if kind == "linear":
        return nn.Linear(width, dim)
    if kind == "mlp":
        hidden = width if hidden is None else hidden
        return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, dim))
    raise ValueError(f"unknown projection head {kind!r}; known: linear, mlp")


def half_precision_is_native(device: torch.device | str) -> bool:
    """Whether bf16 runs in hardware there: CUDA with bf16, or a CPU with AVX512-BF16 or AMX. Elsewhere it is slower.

    Example: ``torch.autocast("cpu", torch.bfloat16, enabled=half_precision_is_native("cpu"))``
    """
    device = torch.device(device)
    if device.type == "cuda" and torch.cuda.is_available():
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        # Private functions of torch: where a version lacks them, float32 is the safe answer.
        questions = (getattr(torch.cpu, f"_is_{feature}_supported", None) for feature in ("avx512_bf16", "amx_tile"))
        return any(bool(question()) for question in questions if question is not None)
    return False


# The architectures: each gives its stem, its stages and their widths.


def _convolution(channels_in, channels_out, norm, stride=1):
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False),
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


def _convnet(channels, norm):
    # Strides, not pooling: on a CPU the time goes into reading and writing the large early maps, so each of them is
    # made once and small. The parameters sit where the maps are small.
    stages = [
        _convolution(channels, 32, norm),
        _convolution(32, 64, norm, stride=2),
        nn.Sequential(_convolution(64, 128, norm, stride=2), _Skip(128, norm)),
        _convolution(128, 256, norm, stride=2),
    ]
    return nn.Identity(), stages, (32, 64, 128, 256)


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


_BUILDERS = {"convnet": _convnet, "resnet18": _resnet(18), "resnet50": _resnet(50)}
