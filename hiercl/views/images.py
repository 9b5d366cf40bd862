"""Random views of pictures, drawn for a whole batch at a time on its own device, with own parameters for every picture.

The recipe is that of MoCo v2 (crop-resize, flip, colour jitter, grayscale, optionally blur) with the sizes of its
32-pixel demo. Each operation is a plain function of explicit parameters, one for each picture; :class:`ImageViews`
draws all of them from one generator.
"""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from hiercl.runtime.config import Between, Config, Share
from hiercl.runtime.seeds import Draws
from hiercl.runtime.types import Bool, Float, Int, UInt8

__all__ = [
    "ImageViews",
    "ViewConfig",
    "adjust_brightness",
    "adjust_contrast",
    "adjust_hue",
    "adjust_saturation",
    "blur_kernel_size",
    "crop_resize",
    "draw_boxes",
    "draw_mask",
    "draw_uniform",
    "gaussian_blur",
    "plain_image_views",
    "to_grayscale",
]

LUMA = (0.2989, 0.587, 0.114)  # ITU-R 601, to the digits that torchvision uses


@dataclass(frozen=True)
class ViewConfig(Config):
    """Settings of random views of pictures. The defaults suit pictures of 32 pixels a side.

    Raises:
        ValueError: a setting outside its range.

    Example:
        >>> ViewConfig(crop=32, blur=0.5).crop
        32
    """

    crop: Annotated[int, Between(1, 4096)] = 24
    """Side of the training crop in pixels. With pictures of 32 pixels, 24 trains twice as fast; test at the full 32."""
    crop_scale: tuple[float, float] = (0.2, 1.0)
    """Smallest and largest share of the picture's area that a crop covers, above 0 and at most 1."""
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Smallest and largest ratio of a crop's width to its height, above 0."""
    flip: Share = 0.5
    """Probability of a left-right flip."""
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.4, 0.1)
    """Largest change of brightness, contrast and saturation (a factor of 1 ± j, not below 0) and of hue (± j turns, at
    most 0.5)."""
    jitter_probability: Share = 0.8
    """Probability of the colour jitter."""
    grayscale: Share = 0.2
    """Probability that a view loses all colour."""
    blur: Share = 0.0
    """Probability of a Gaussian blur. MoCo's CIFAR demo has 0 at 32 pixels, MoCo v2 has 0.5 at 224. The kernel is a
    tenth of the shorter side: three pixels at 32."""
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    """Smallest and largest standard deviation of the blur, in pixels, above 0."""

    def __post_init__(self):
        super().__post_init__()
        _check_scale(self.crop_scale)
        for name in ("crop_ratio", "blur_sigma"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} must be (low, high) with 0 < low <= high, got {(low, high)}")
        if min(self.jitter) < 0 or self.jitter[3] > 0.5:
            raise ValueError(
                "jitter must be (brightness, contrast, saturation, hue), none negative and hue at most 0.5, "
                f"got {self.jitter}"
            )


def plain_image_views(size: int, crop: int | None, crop_scale: tuple[float, float], flip: float) -> ViewConfig:
    """Returns settings of views without colour changes, as a fine-tuning uses them.

    Args:
        size: shorter side of the pictures, in pixels.
        crop: side of the crop in pixels; None for three quarters of ``size``.
        crop_scale: smallest and largest share of the picture's area.
        flip: probability of a left-right flip.

    Example:
        >>> plain_image_views(32, None, (0.5, 1.0), 0.5).crop
        24
    """
    crop = max(1, round(0.75 * size)) if crop is None else crop
    return ViewConfig(crop=crop, crop_scale=crop_scale, flip=flip, jitter_probability=0.0, grayscale=0.0, blur=0.0)


def _check_scale(scale):
    low, high = scale
    if not 0 < low <= high <= 1:
        raise ValueError(f"the scale of a crop must be (low, high) with 0 < low <= high <= 1, got {(low, high)}")


class ImageViews:
    """Draws one random view of every picture of a batch: crop-resize, flip, colour jitter, grayscale, blur.

    Every picture gets its own parameters. The colour jitter keeps one order (brightness, contrast, saturation, hue),
    where torchvision shuffles the four for every picture. A picture of one channel has no saturation, hue or grayscale.

    Args:
        config: the settings.

    Example:
        >>> views = ImageViews(ViewConfig(crop=24))
        >>> pictures = torch.tensor(train.items[:4])
        >>> generator = torch.Generator().manual_seed(0)
        >>> query, key = views(pictures, generator), views(pictures, generator)
        >>> views(pictures, generator, size=16, scale=(0.086, 0.429)).shape
        torch.Size([4, 3, 16, 16])
    """

    def __init__(self, config: ViewConfig | None = None):
        self.config = ViewConfig() if config is None else config

    @property
    def size(self) -> int:
        """Side of a view, in pixels."""
        return self.config.crop

    @torch.no_grad()
    def __call__(
        self,
        images: UInt8[Tensor, "batch height width channels"] | Float[Tensor, "batch height width channels"],
        generator: torch.Generator | Draws,
        size: int | None = None,
        scale: tuple[float, float] | None = None,
    ) -> Float[Tensor, "batch channels size size"]:
        """Draws one random view of every picture.

        Args:
            images: uint8 ``[batch, height, width, channels]``, or floats from 0 to 255, with 1 or 3 channels.
            generator: the only source of random numbers, on the device of the pictures. The same state gives the same
                views.
            size: side of the views in pixels; by default the configured one. Multi-crop uses smaller ones.
            scale: smallest and largest share of the picture's area; by default the configured one.

        Returns:
            float32 ``[batch, channels, size, size]`` in [0, 1], in ``channels_last`` memory format.

        Raises:
            ValueError: another number of channels, a size below 1, a scale outside 0 < low <= high <= 1, or a generator
                on another device.
        """
        config, draws = self.config, Draws.of(generator)
        size, scale = config.crop if size is None else size, config.crop_scale if scale is None else scale
        n, height, width, channels = images.shape
        if channels not in (1, 3):
            raise ValueError(f"images must have 1 or 3 channels in the last place, got shape {tuple(images.shape)}")
        if size < 1:
            raise ValueError(f"size must be at least 1 pixel, got {size}")
        if draws.device.type != images.device.type:
            raise ValueError(f"the generator is on {draws.device}, the images are on {images.device}")
        _check_scale(scale)
        # Training may call this under bf16 autocast, which would round the pictures to 8 bits of mantissa.
        with torch.autocast(images.device.type, enabled=False):
            boxes = draw_boxes(n, height, width, scale, config.crop_ratio, draws)
            x = crop_resize(images, boxes, size, draw_mask(n, config.flip, draws))
            x = self._jitter(x, draws)
            if config.grayscale and channels == 3:
                x = to_grayscale(x, draw_mask(n, config.grayscale, draws))
            if config.blur:
                blurred = gaussian_blur(x, draw_uniform(n, *config.blur_sigma, draws))
                x = _where(draw_mask(n, config.blur, draws), blurred, x)
            return x.contiguous(memory_format=torch.channels_last)

    def _jitter(self, x, draws):
        n, channels = x.shape[:2]
        if not self.config.jitter_probability or not any(self.config.jitter):
            return x
        # An item that is not to change gets neutral parameters: nothing is gathered and written back, and the device
        # need not be asked how many there are.
        mask = draw_mask(n, self.config.jitter_probability, draws)
        operations = [(adjust_brightness, 1.0), (adjust_contrast, 1.0), (adjust_saturation, 1.0), (adjust_hue, 0.0)]
        for (operation, neutral), strength in zip(operations, self.config.jitter, strict=True):
            if strength and (channels == 3 or operation in (adjust_brightness, adjust_contrast)):
                low = neutral - strength if operation is adjust_hue else max(0.0, neutral - strength)
                amount = draw_uniform(n, low, neutral + strength, draws)
                x = operation(x, torch.where(mask, amount, neutral))
        return x


# Drawing parameters


def draw_uniform(n: int, low: float, high: float, draws: Draws) -> Float[Tensor, " n"]:
    """Draws ``n`` numbers from the uniform distribution on [low, high), on the device of the draws.

    Args:
        n: how many numbers.
        low: smallest number.
        high: upper end; it is not drawn itself.
        draws: source of random numbers.

    Example:
        >>> draw_uniform(256, 0.6, 1.4, Draws(torch.Generator().manual_seed(0))).shape
        torch.Size([256])
    """
    return draws.uniform(n) * (high - low) + low


def draw_mask(n: int, probability: float, draws: Draws) -> Bool[Tensor, " n"]:
    """Draws ``n`` independent booleans, on the device of the draws.

    Args:
        n: how many.
        probability: of a boolean to be true.
        draws: source of random numbers.

    Example:
        >>> draw_mask(4, 1.0, Draws(torch.Generator().manual_seed(0))).tolist()
        [True, True, True, True]
    """
    return draws.uniform(n) < probability


def draw_boxes(
    n: int,
    height: int,
    width: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    draws: Draws,
) -> Int[Tensor, "n 4"]:
    """Draws crop boxes in whole pixels, with the distribution of torchvision's ``RandomResizedCrop``.

    The area is height · width · U(scale) and the logarithm of width / height is U(log ratio). The first of ten
    candidates that fits the picture gets a uniform place. If none fits, the box is the largest centred one with an
    allowed ratio.

    Args:
        n: how many boxes.
        height: of the pictures, in pixels.
        width: of the pictures, in pixels.
        scale: smallest and largest share of the area.
        ratio: smallest and largest width / height.
        draws: source of random numbers.

    Returns:
        Top, left, height and width of every box, int64 ``[n, 4]``.

    Example:
        >>> draw_boxes(256, 32, 32, (0.2, 1.0), (3 / 4, 4 / 3), Draws(torch.Generator().manual_seed(0))).shape
        torch.Size([256, 4])
    """
    tries = 10
    area = draw_uniform(n * tries, *scale, draws).view(n, tries) * (height * width)
    aspect = draw_uniform(n * tries, math.log(ratio[0]), math.log(ratio[1]), draws).view(n, tries).exp()
    sides = torch.stack([(area / aspect).sqrt(), (area * aspect).sqrt()], dim=-1).round()  # [n, tries, (height, width)]
    picture = sides.new_tensor([height, width])
    fits = ((sides >= 1) & (sides <= picture)).all(dim=-1)
    first = fits.int().argmax(dim=1)
    sides = sides[torch.arange(n, device=sides.device), first]
    place = draws.uniform(n, 2)
    corner = (place * (picture - sides + 1)).floor()
    box = torch.cat([corner, sides], dim=1)
    fallback = box.new_tensor(_central_box(height, width, ratio))
    return torch.where(fits.any(dim=1, keepdim=True), box, fallback).long()


def _central_box(height, width, ratio):
    h, w = height, width
    if width / height < ratio[0]:
        h = round(width / ratio[0])
    elif width / height > ratio[1]:
        w = round(height * ratio[1])
    return (height - h) // 2, (width - w) // 2, h, w


# Geometry


def crop_resize(
    images: UInt8[Tensor, "batch height width channels"] | Float[Tensor, "batch height width channels"],
    boxes: Int[Tensor, "batch 4"],
    size: int,
    flipped: Bool[Tensor, " batch"] | None = None,
) -> Float[Tensor, "batch channels size size"]:
    """Cuts a box out of every picture and scales it to a square, with values in [0, 1].

    The scaling is bilinear and antialiased: out = R X Cᵀ with one matrix R for the rows and one matrix C for the
    columns of every picture. Their lines are triangles of half-width max(1, box / size) inside the box, with the sum 1.
    These are the numbers of torchvision's ``resized_crop(..., antialias=True)``, as two batched matrix products. A flip
    reverses C.

    Args:
        images: the pictures.
        boxes: top, left, height, width in pixels. They must lie inside their pictures. This is not checked, because the
            check would wait for the device.
        size: side of the result, in pixels.
        flipped: which pictures are mirrored left to right; by default none.

    Example:
        >>> pictures = torch.tensor(train.items[:2])
        >>> crop_resize(pictures, torch.tensor([[0, 0, 16, 16]] * 2), size=24).shape
        torch.Size([2, 3, 24, 24])
    """
    _, height, width, _ = images.shape
    rows = _resize_matrix(boxes[:, 0], boxes[:, 2], height, size)
    columns = _resize_matrix(boxes[:, 1], boxes[:, 3], width, size)
    if flipped is not None:
        columns = torch.where(flipped[:, None, None], columns.flip(1), columns)
    # The rows come first because a channels-last picture needs no copy for them: X is [height, width · channels].
    x = torch.bmm(rows / 255, images.float().flatten(2))
    x = x.view(len(images), size, width, -1).permute(0, 3, 1, 2)
    out = torch.bmm(x.reshape(len(images), -1, width), columns.mT)
    # Rounding can leave a white pixel a hair above 1.
    return out.view(len(images), -1, size, size).clamp_(0, 1)


def _resize_matrix(start, length, pixels, size):
    """Returns ``[batch, size, pixels]``: how much of every pixel of a side goes into each pixel of the crop."""
    step = (length / size)[:, None, None]
    centre = start[:, None, None] + step * (torch.arange(size, device=start.device)[:, None] + 0.5)
    pixel = torch.arange(pixels, device=start.device)
    weight = (1 - (pixel + 0.5 - centre).abs() / step.clamp(min=1)).clamp_(min=0)
    inside = (pixel >= start[:, None]) & (pixel < (start + length)[:, None])
    weight = weight * inside[:, None]
    return weight / weight.sum(dim=-1, keepdim=True)


def blur_kernel_size(pixels: int) -> int:
    """Returns the odd size of the blur kernel: about a tenth of the picture's side, and at least 3.

    Args:
        pixels: side of the picture.

    Example:
        >>> blur_kernel_size(24), blur_kernel_size(224)
        (3, 23)
    """
    return 2 * max(1, pixels // 20) + 1


def gaussian_blur(
    images: Float[Tensor, "batch channels height width"], sigma: Float[Tensor, " batch"]
) -> Float[Tensor, "batch channels height width"]:
    """Blurs every picture with its own Gaussian, cut at :func:`blur_kernel_size` of the shorter side.

    The border is reflected, as in torchvision.

    Args:
        images: the pictures.
        sigma: standard deviation for every picture, in pixels, above 0.

    Example:
        >>> gaussian_blur(torch.rand(2, 3, 32, 32), torch.tensor([0.1, 2.0])).shape
        torch.Size([2, 3, 32, 32])
    """
    n, channels, height, width = images.shape
    reach = blur_kernel_size(min(height, width)) // 2
    offset = torch.arange(-reach, reach + 1, device=images.device)
    kernel = torch.softmax(-0.5 * (offset / sigma[:, None]) ** 2, dim=1)
    rows, columns = (_blur_matrix(kernel, offset, pixels) for pixels in (height, width))
    x = torch.bmm(images.reshape(n, -1, width), columns.mT).view(n, channels, height, width)
    return torch.matmul(rows[:, None], x).clamp_(0, 1)


def _blur_matrix(kernel, offset, pixels):
    """Returns ``[batch, pixels, pixels]``: how much of every pixel of a side goes into each blurred pixel."""
    source = (torch.arange(pixels, device=offset.device)[:, None] + offset).abs()
    source = (pixels - 1) - (pixels - 1 - source).abs()
    taps = (source[..., None] == torch.arange(pixels, device=offset.device)).to(
        kernel.dtype
    )  # [pixels, offsets, pixels]
    return torch.einsum("bk,ikj->bij", kernel, taps)


# Colour. Everywhere: images in [0, 1] in, images in [0, 1] out, one parameter for every item.


def adjust_brightness(
    images: Float[Tensor, "batch channels height width"], factor: Float[Tensor, " batch"]
) -> Float[Tensor, "batch channels height width"]:
    """Returns factor · x, clipped to [0, 1]. Factor 0 gives black, factor 1 changes nothing.

    Args:
        images: pictures in [0, 1].
        factor: one for every picture.

    Example:
        >>> adjust_brightness(torch.full((1, 3, 2, 2), 0.5), torch.tensor([1.4]))[0, 0, 0, 0]
        tensor(0.7000)
    """
    return (images * _per_item(factor)).clamp_(0, 1)


def adjust_contrast(
    images: Float[Tensor, "batch channels height width"], factor: Float[Tensor, " batch"]
) -> Float[Tensor, "batch channels height width"]:
    """Returns factor · x + (1 - factor) · m, clipped to [0, 1], with m the mean gray of the picture.

    Factor 0 gives a plain gray picture, factor 1 changes nothing.

    Args:
        images: pictures in [0, 1].
        factor: one for every picture.

    Example:
        >>> adjust_contrast(torch.rand(2, 3, 8, 8), torch.zeros(2)).std(dim=(2, 3)).max() < 1e-6
        tensor(True)
    """
    mean = images.mean(dim=(2, 3), keepdim=True)  # gray is linear: the mean gray is the gray of the channel means
    mean = _gray(mean) if images.shape[1] == 3 else mean
    return _blend(images, mean, factor)


def adjust_saturation(
    images: Float[Tensor, "batch 3 height width"], factor: Float[Tensor, " batch"]
) -> Float[Tensor, "batch 3 height width"]:
    """Returns factor · x + (1 - factor) · gray(x), clipped to [0, 1]. Factor 0 gives gray, factor 1 changes nothing.

    Args:
        images: pictures in [0, 1] with three channels.
        factor: one for every picture.

    Example:
        >>> adjust_saturation(torch.rand(2, 3, 8, 8), torch.full((2,), 1.2)).shape
        torch.Size([2, 3, 8, 8])
    """
    return _blend(images, _gray(images), factor)


def adjust_hue(
    images: Float[Tensor, "batch 3 height width"], shift: Float[Tensor, " batch"]
) -> Float[Tensor, "batch 3 height width"]:
    r"""Turns the hue of every pixel; value and saturation stay.

    With V = max(r, g, b), chroma C = V - min(r, g, b) and hue h in sixths of a turn, each channel is a function of the
    hue alone, so no picture in HSV is needed:

    $$x_c = V - C \, \mathrm{clip}(2 - |k_c - 2|, 0, 1), \quad k_c = (h + n_c) \bmod 6, \quad n = (5, 3, 1)$$

    Args:
        images: pictures in [0, 1] with three channels.
        shift: for every picture, in turns, from -0.5 to 0.5.

    Example:
        >>> red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
        >>> adjust_hue(red, torch.tensor([1 / 3])).flatten().round().tolist()
        [0.0, 1.0, 0.0]
    """
    r, g, b = images.unbind(1)
    value = torch.maximum(r, g).maximum(b)  # twice as fast as a reduction over a dimension of three
    chroma = value - torch.minimum(r, g).minimum(b)
    # Where chroma is 0 the pixel is gray: the differences are 0, and its hue has no effect.
    sixth = chroma.clamp(min=1e-12).reciprocal_()
    hue = (r - g).mul_(sixth).add_(4)  # where blue is the highest; written over where green is, then where red is
    hue = torch.where(value == g, (b - r).mul_(sixth).add_(2), hue)
    hue = torch.where(value == r, (g - b).mul_(sixth), hue)
    hue += (6 * shift)[:, None, None]
    k = hue[:, None] + hue.new_tensor([5, 3, 1])[:, None, None]
    k -= 6 * torch.floor(k * (1 / 6))  # several times faster than remainder on the CPU
    share = k.sub_(2).abs_().neg_().add_(2).clamp_(0, 1)
    return torch.addcmul(value[:, None], chroma[:, None], share, value=-1)


def to_grayscale(
    images: Float[Tensor, "batch 3 height width"], mask: Bool[Tensor, " batch"]
) -> Float[Tensor, "batch 3 height width"]:
    """Replaces the channels of the masked pictures by their luma, 0.2989 r + 0.587 g + 0.114 b.

    Args:
        images: pictures in [0, 1] with three channels.
        mask: which pictures lose their colour.

    Example:
        >>> gray = to_grayscale(torch.rand(2, 3, 8, 8), torch.tensor([True, False]))
        >>> bool((gray[0, 0] == gray[0, 1]).all())
        True
    """
    return _where(mask, _gray(images), images)


def _gray(images):
    r, g, b = images.unbind(1)
    return (r * LUMA[0]).add_(g, alpha=LUMA[1]).add_(b, alpha=LUMA[2]).unsqueeze(1)


def _blend(images, other, factor):
    # Not torch.lerp: a factor of exactly 1 must give back exactly the picture.
    factor = _per_item(factor)
    return torch.addcmul((1 - factor) * other, images, factor).clamp_(0, 1)


def _where(mask, yes, no):
    return torch.lerp(no, yes, _per_item(mask.float()))  # exact at both ends, and several times faster than torch.where


def _per_item(values):
    return values[:, None, None, None]
