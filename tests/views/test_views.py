"""Image views: every operation against torchvision, item by item, and how the parameters are drawn."""

import pytest
import torch
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional as tv

from hiercl.runtime.seeds import Draws
from hiercl.views import ImageViews, ViewConfig
from hiercl.views import images as V

RATIO = (3 / 4, 4 / 3)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def uint8_images(n=12, height=32, width=32, channels=3, seed=0):
    """Random pictures [n, height, width, channels]: noise, smooth colour, gray, plain black, plain white."""
    g = generator(seed)
    noise = torch.randint(0, 256, (n, height, width, channels), generator=g, dtype=torch.uint8)
    corner = torch.rand(n, channels, 3, 3, generator=g) * 255
    smooth = torch.nn.functional.interpolate(corner, (height, width), mode="bilinear").permute(0, 2, 3, 1).byte()
    out = torch.where((torch.arange(n) % 3 == 0)[:, None, None, None], noise, smooth)
    out[-3] = out[-3, ..., :1]
    out[-2], out[-1] = 0, 255
    return out.contiguous()


def float_images(**kwargs):
    return uint8_images(**kwargs).permute(0, 3, 1, 2) / 255


def each(function, images, *parameters):
    """The function of torchvision, one item and its parameters at a time."""
    return torch.stack([function(image, *values) for image, *values in zip(images, *parameters, strict=True)])


@pytest.mark.parametrize("height, width, size", [(32, 32, 24), (32, 32, 16), (40, 28, 32), (32, 32, 33)])
def test_crop_resize_is_torchvisions(height, width, size):
    images = uint8_images(n=24, height=height, width=width)
    boxes = V.draw_boxes(24, height, width, (0.05, 1.0), RATIO, Draws(generator(1)))
    boxes[0] = torch.tensor([0, 0, height, width])
    boxes[1] = torch.tensor([height - 1, width - 1, 1, 1])
    boxes[2] = torch.tensor([3, 0, 2, width])
    ours = V.crop_resize(images, boxes, size)
    crop = lambda image, box: tv.resized_crop(image, *box.tolist(), [size, size], antialias=True)  # noqa: E731
    theirs = each(crop, images.permute(0, 3, 1, 2) / 255, boxes)
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=0)


def test_whole_picture_at_its_own_size_is_unchanged():
    images = uint8_images()
    out = V.crop_resize(images, torch.tensor([[0, 0, 32, 32]] * len(images)), 32)
    torch.testing.assert_close(out, images.permute(0, 3, 1, 2) / 255, atol=1e-7, rtol=0)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_factors_are_torchvisions(name):
    images = float_images()
    factor = torch.linspace(0, 2, len(images))
    theirs = each(lambda image, f: getattr(tv, f"adjust_{name}")(image, f.item()), images, factor)
    torch.testing.assert_close(getattr(V, f"adjust_{name}")(images, factor), theirs, atol=2e-6, rtol=0)


def test_hue_is_torchvisions():
    images = float_images(n=24)
    shift = torch.linspace(-0.5, 0.5, len(images))
    theirs = each(lambda image, s: tv.adjust_hue(image, s.item()), images, shift)
    ours = V.adjust_hue(images, shift)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    assert ours.min() >= 0
    assert ours.max() <= 1


def test_one_channel_brightness_and_contrast_are_torchvisions():
    images = float_images(channels=1)
    factor = torch.linspace(0.3, 1.7, len(images))
    for name in ("brightness", "contrast"):
        theirs = each(lambda image, f, name=name: getattr(tv, f"adjust_{name}")(image, f.item()), images, factor)
        torch.testing.assert_close(getattr(V, f"adjust_{name}")(images, factor), theirs, atol=2e-6, rtol=0)


def test_neutral_parameters_change_nothing():
    images = float_images()
    one = torch.ones(len(images))
    for operation in (V.adjust_brightness, V.adjust_contrast, V.adjust_saturation):
        assert torch.equal(operation(images, one), images)
    torch.testing.assert_close(V.adjust_hue(images, 0 * one), images, atol=1e-6, rtol=0)


def test_grayscale_touches_only_masked_items():
    images = float_images()
    mask = torch.arange(len(images)) % 2 == 0
    out = V.to_grayscale(images, mask)
    assert torch.equal(out[~mask], images[~mask])
    torch.testing.assert_close(out[mask], tv.rgb_to_grayscale(images[mask], 3), atol=1e-6, rtol=0)


def test_flip_is_torchvisions_of_the_crop():
    images, mask = uint8_images(), torch.arange(len(uint8_images())) % 2 == 0
    boxes = V.draw_boxes(len(images), *images.shape[1:3], (0.2, 1.0), (3 / 4, 4 / 3), Draws(generator()))
    plain, flipped = V.crop_resize(images, boxes, 24), V.crop_resize(images, boxes, 24, mask)
    assert torch.equal(flipped[~mask], plain[~mask])
    torch.testing.assert_close(flipped[mask], tv.horizontal_flip(plain[mask]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("height, width", [(24, 24), (64, 80)])
def test_blur_is_torchvisions(height, width):
    images = float_images(height=height, width=width)
    sigma = torch.linspace(0.1, 2.0, len(images))
    kernel = V.blur_kernel_size(min(height, width))
    theirs = each(lambda image, s: tv.gaussian_blur(image, [kernel, kernel], [s.item()] * 2), images, sigma)
    torch.testing.assert_close(V.gaussian_blur(images, sigma), theirs, atol=2e-6, rtol=0)


def test_blur_kernel_size():
    assert [V.blur_kernel_size(n) for n in (16, 24, 32, 224)] == [3, 3, 3, 23]


def test_boxes_are_distributed_as_torchvisions():
    n, picture = 3000, torch.zeros(3, 32, 32)
    ours = V.draw_boxes(n, 32, 32, (0.2, 1.0), RATIO, Draws(generator())).double()
    torch.manual_seed(0)
    theirs = torch.tensor([RandomResizedCrop.get_params(picture, (0.2, 1.0), RATIO) for _ in range(n)]).double()
    top, left, height, width = ours.unbind(1)
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + height <= 32).all()
    assert (left + width <= 32).all()
    for f in (lambda b: b[:, 2] * b[:, 3], lambda b: b[:, 3] / b[:, 2], lambda b: b[:, 0], lambda b: b[:, 1]):
        a, b = f(ours), f(theirs)
        error = ((a.var() + b.var()) / n).sqrt()
        assert abs(a.mean() - b.mean()) < 4 * error
        torch.testing.assert_close(a.std(), b.std(), rtol=0.08, atol=0)


@pytest.mark.parametrize("height, width, box", [(10, 100, (0, 43, 10, 13)), (100, 10, (43, 0, 13, 10))])
def test_box_that_never_fits_falls_back_to_the_centre(height, width, box):
    boxes = V.draw_boxes(5, height, width, (1.0, 1.0), RATIO, Draws(generator()))
    assert boxes.tolist() == [list(box)] * 5


def test_every_item_gets_its_own_view():
    same = uint8_images(n=6)[1:2].expand(64, -1, -1, -1)
    out = ImageViews()(same, generator())
    assert len(torch.unique(out.flatten(1), dim=0)) == 64


def test_parameters_of_an_operation_are_fresh_for_every_item():
    g = Draws(generator())
    for draw in (lambda: V.draw_uniform(200, 0.6, 1.4, g), lambda: V.draw_uniform(200, -0.1, 0.1, g)):
        values = draw()
        assert len(values.unique()) > 190
    assert V.draw_mask(20_000, 0.2, g).float().mean().item() == pytest.approx(0.2, abs=0.015)


def test_same_state_same_views():
    images = uint8_images()
    views = ImageViews(ViewConfig(blur=0.5))
    g = generator(7)
    state, before = g.get_state(), torch.get_rng_state()
    first, second = views(images, g), views(images, g)
    assert torch.equal(torch.get_rng_state(), before), "the global generator was used"
    assert not torch.equal(first, second)
    g.set_state(state)
    assert torch.equal(first, views(images, g))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size, scale", [(None, None), (28, (0.172, 0.86)), (16, (0.086, 0.429))])
def test_output_format(channels, size, scale):
    out = ImageViews(ViewConfig(blur=0.5))(uint8_images(channels=channels), generator(), size=size, scale=scale)
    side = 24 if size is None else size
    assert out.shape == (12, channels, side, side)
    assert out.dtype == torch.float32
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert out.min() >= 0
    assert out.max() <= 1


def test_scale_limits_the_crop():
    # A picture whose value is its column shows how much of it a crop spans.
    ramp = (torch.arange(32) * 8).to(torch.uint8)[None, None, :, None].repeat(200, 32, 1, 1)
    views = ImageViews(ViewConfig(jitter_probability=0.0))

    def spans(scale):
        out = views(ramp, generator(), size=16, scale=scale)
        return out.amax(dim=(1, 2, 3)) - out.amin(dim=(1, 2, 3))

    assert spans((0.05, 0.06)).max() < 0.35
    assert spans((0.9, 1.0)).min() > 0.7


def test_views_change_as_often_as_configured():
    images = uint8_images(n=6)[1:2].expand(1000, -1, -1, -1)
    fixed = dict(crop=32, crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0))
    plain = images.permute(0, 3, 1, 2) / 255

    def changed(**settings):
        off = dict(flip=0.0, jitter_probability=0.0, grayscale=0.0, blur=0.0, blur_sigma=(1.0, 2.0))
        out = ImageViews(ViewConfig(**fixed, **{**off, **settings}))(images, generator())
        return ((out - plain).abs().amax(dim=(1, 2, 3)) > 1e-4).float().mean().item()

    assert changed() == 0
    for name, probability in (("flip", 0.5), ("jitter_probability", 0.8), ("grayscale", 0.2), ("blur", 0.5)):
        assert changed(**{name: probability}) == pytest.approx(probability, abs=0.05)


def test_autocast_does_not_round_the_pictures():
    images, views = uint8_images(), ImageViews(ViewConfig(blur=0.5))
    with torch.autocast("cpu", torch.bfloat16):
        inside = views(images, generator())
    assert torch.equal(inside, views(images, generator()))


@pytest.mark.parametrize(
    "setting",
    [
        dict(crop=0),
        dict(crop=10**6),
        dict(crop_scale=(0.0, 1.0)),
        dict(crop_scale=(0.5, 0.2)),
        dict(crop_scale=(0.5, 1.2)),
        dict(crop_ratio=(0.0, 1.0)),
        dict(flip=1.5),
        dict(grayscale=-0.1),
        dict(jitter=(0.4, 0.4, 0.4, 0.6)),
        dict(jitter=(-0.4, 0.4, 0.4, 0.1)),
        dict(blur_sigma=(0.0, 1.0)),
    ],
)
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(ValueError, match=next(iter(setting)).removesuffix("_scale")):
        ViewConfig(**setting)


def test_bad_calls_are_refused():
    with pytest.raises(ValueError, match="1 or 3 channels"):
        ImageViews()(uint8_images(channels=2), generator())
    with pytest.raises(ValueError, match="scale"):
        ImageViews()(uint8_images(), generator(), scale=(0.5, 2.0))
    with pytest.raises(ValueError, match="size"):
        ImageViews()(uint8_images(), generator(), size=0)
    with pytest.raises(ValueError, match="generator is on cpu"):
        ImageViews()(uint8_images().to("meta"), generator())
