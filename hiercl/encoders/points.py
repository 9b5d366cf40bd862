"""Encoders of point clouds: PointNet (Qi et al., 2017, arXiv 1612.00593) and DGCNN (Wang et al., 2019, arXiv
1801.07829).

A cloud is a map ``[batch, 3, points, 1]``. Every layer treats all points alike (a convolution of size 1), so the order
of the points does not matter.
"""

import warnings

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hiercl.encoders.base import Architecture
from hiercl.runtime.types import Float, Int

NEIGHBOURS = 20  # of DGCNN's graph, as in its paper at 1,024 points
DENSITY = 128  # points of a cloud in which the neighbours of dgcnn_share are the 20 nearest
SLOPE = 0.2  # of its leaky ReLU
TINY = 1e-12  # smallest variance of edges, as a divisor
REPEATS = 32  # of both values that stand for a cloud's edges: the norm's running variance divides by n - 1
DISTANCES_AT_ONCE = 2**24  # in memory together: 64 MiB


def _layer(channels_in: int, channels_out: int, norm, slope: float = 0.0) -> nn.Sequential:
    """The same linear map for every place, its norm, and a (leaky) ReLU."""
    act = nn.LeakyReLU(slope, inplace=True) if slope else nn.ReLU(inplace=True)
    return nn.Sequential(nn.Conv2d(channels_in, channels_out, 1, bias=False), norm(channels_out), act)


# -- PointNet ---------------------------------------------------------------------------------------------------


class _Transform(nn.Module):
    r"""T-Net: multiplies the features of all points of a cloud by a matrix that depends on the cloud.

    $$x_i \mapsto A(x)\,x_i, \qquad A(x) = I + h\big(\max_i g(x_i)\big)$$

    The last layer of h starts at 0, so A starts at the identity.
    """

    def __init__(self, channels: int, norm):
        super().__init__()
        self.each = nn.Sequential(_layer(channels, 64, norm), _layer(64, 128, norm), _layer(128, 1024, norm))
        self.whole = nn.Sequential(_layer(1024, 512, norm), _layer(512, 256, norm))
        self.matrix = nn.Conv2d(256, channels * channels, 1)
        nn.init.zeros_(self.matrix.weight)
        nn.init.zeros_(self.matrix.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor) -> Tensor:
        batch, channels = x.shape[:2]
        change = self.matrix(self.whole(self.each(x).amax(dim=(2, 3), keepdim=True)))
        with torch.autocast(x.device.type, enabled=False):  # bf16 would round coordinates, and 1 + a small change
            matrix = change.float().view(batch, channels, channels) + torch.eye(channels, device=x.device)
            return torch.bmm(matrix, x.float().flatten(2)).view_as(x)


def _pointnet(transforms: bool):
    def build(channels, norm):
        def turned(width):
            return [_Transform(width, norm)] if transforms else []

        stages = [
            nn.Sequential(_layer(channels, 64, norm), _layer(64, 64, norm)),
            nn.Sequential(*turned(64), _layer(64, 64, norm)),
            _layer(64, 128, norm),
            _layer(128, 1024, norm),
        ]
        return nn.Sequential(*turned(channels)), stages, (64, 64, 128, 1024)

    return build


# -- DGCNN ------------------------------------------------------------------------------------------------------


class _EdgeStage(nn.Module):
    r"""EdgeConv on the output of the stage before; the result is appended to all earlier features of every point.

    $$x_i' = \max_{j\in N(i)} \mathrm{LeakyReLU}\big(\mathrm{norm}(W [x_j - x_i;\, x_i])\big)$$

    N(i) are the k points whose features are nearest to those of i, with i itself among them; every stage finds them
    anew. With a density of n points, they are spread over the nearest k/n of the cloud, however many these are (dilated
    neighbours; Li et al., DeepGCNs, ICCV 2019).

    No value of an edge is kept. With $W=[U\,V]$ the product is $b_j + a_i$, where $b = Ux$ and $a = (V-U)x$: two maps
    of points instead of one map of k times as many edges. The norm is an affine map $s\,e + t$ of each channel, and
    the leaky ReLU grows, so only the largest $b_j$ counts, or the smallest where s is negative:

    $$x_i' = \mathrm{LeakyReLU}\big(s\,(a_i + \max_j b_j) + t\big)$$
    """

    def __init__(self, channels_in: int, channels_out: int, norm, density: int | None):
        super().__init__()
        self.channels_in, self.density = channels_in, density
        self.edge = nn.Conv2d(2 * channels_in, channels_out, 1, bias=False)  # W
        self.norm = norm(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        newest = x[:, -self.channels_in :, :, 0]
        near = nearest_points(newest, NEIGHBOURS, self.density)
        u, v = self.edge.weight[..., 0, 0].split(self.channels_in, dim=1)
        # In float32: the two parts nearly cancel where neighbours are close, and bf16 would leave little of that.
        with torch.autocast(x.device.type, enabled=False):
            points = newest.float().mT
            of_itself, of_other = points @ (v - u).T, points @ u.T  # a and b, [batch, points, channels]
            scale, shift = _affine(self.norm, *_moments(of_itself, of_other, near))  # s and t, [batch, 1, channels]
            sign = torch.where(scale < 0, -1.0, 1.0)
            extreme = sign * _over_neighbours(sign * of_other, near, "max")
            found = F.leaky_relu(scale * (of_itself + extreme) + shift, SLOPE).mT[..., None]
        if torch.is_autocast_enabled(x.device.type):
            found = found.to(torch.get_autocast_dtype(x.device.type))
        return torch.cat([x, found], dim=1) if self.channels_in > 3 else found  # coordinates are no feature


def _over_neighbours(of_other: Tensor, near: Tensor, mode: str) -> Tensor:
    """The mean or the maximum of the neighbours' values, for every point and channel."""
    batch, points, channels = of_other.shape
    first = torch.arange(batch, device=near.device)[:, None, None] * points  # of each cloud, if all stand in one table
    bags, table = (near + first).flatten(0, 1), of_other.flatten(0, 1)
    if torch.compiler.is_exporting():  # ONNX has no bags; elsewhere they are much faster than a gather
        edges = table[bags]
        found = edges.amax(dim=1) if mode == "max" else edges.mean(dim=1)
    else:
        found = F.embedding_bag(bags, table, mode=mode)
    return found.view(batch, points, channels)


def _moments(of_itself: Tensor, of_other: Tensor, near: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of $a_i + b_j$ over the edges of each cloud, [batch, 1, channels]."""
    # A variance is the same after a shift. Without the means, less cancels in the difference of two squares.
    a, b = (part - part.detach().mean(dim=1, keepdim=True) for part in (of_itself, of_other))
    b_near, b2_near = (_over_neighbours(part, near, "mean") for part in (b, b**2))
    mean = (a + b_near).mean(dim=1, keepdim=True)
    square = (a**2 + 2 * a * b_near + b2_near).mean(dim=1, keepdim=True)
    return mean + (of_itself - a + of_other - b)[:, :1], square - mean**2


def _affine(norm: nn.Module, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and shift that a norm applies to values with this mean and variance in each item, [batch, 1, channels].

    The norm gets two values instead, mean ± deviation, which have the same mean and variance.
    """
    deviation = variance.clamp(min=TINY).sqrt()
    low, high = mean - deviation, mean + deviation
    two = torch.cat([low, high], dim=1).mT[..., None]  # [batch, channels, 2, 1]
    low_out, high_out = norm(two.repeat(1, 1, 1, REPEATS))[..., 0].mT.split(1, dim=1)
    scale = (high_out - low_out) / (2 * deviation)
    return scale, low_out - scale * low


@torch.no_grad()
def nearest_points(
    features: Float[Tensor, "batch channels points"], k: int, density: int | None = None
) -> Int[Tensor, "batch points neighbours"]:
    """Finds the k nearest points of every point of a cloud by the Euclidean distance of features; itself included.

    It works in float32 and in blocks, so that the memory for distances grows neither with the batch nor with the square
    of the number of points.

    Args:
        features: of every point.
        k: how many points; a cloud with fewer points gives them all.
        density: number of points n, at least k. The k points are spread evenly over the nearest k/n of the cloud: in a
            cloud of 2 n points they are every second one, in a cloud of n/2 points each counts twice. None: the k
            nearest.

    Returns:
        Indices of the points; without a density in no order.

    Example:
        >>> nearest_points(torch.rand(2, 3, 100), k=20).shape
        torch.Size([2, 100, 20])
        >>> nearest_points(torch.arange(8.0)[None, None], k=2, density=4)[0, 0].tolist()
        [0, 2]
    """
    points = features.shape[2]
    among = min(k, points) if density is None else (k * points + density - 1) // density  # symbolic in an export
    ranks = None if density is None else torch.arange(k, device=features.device) * among // k
    if torch.compiler.is_exporting():  # in blocks, a program would be made for one number of clouds
        return _nearest(features.float().mT, among, points, ranks)
    rows = max(1, min(points, DISTANCES_AT_ONCE // points))
    clouds = max(1, DISTANCES_AT_ONCE // (rows * points))
    with torch.autocast(features.device.type, enabled=False):
        blocks = (block.mT.contiguous() for block in features.float().split(clouds))
        return torch.cat([_nearest(block, among, rows, ranks) for block in blocks])


def warn_of_thin_views(encoder: nn.Module, points: int, of: int) -> None:
    """Warns if an encoder with a graph trains on fewer points of a cloud than it will see afterwards.

    The 20 nearest points reach far in a thin cloud and not in a dense one. Trained on 128 of 1,024 points (ModelNet10),
    DGCNN is right for 92 % of test shapes with 128 points, and for 55 % of the same shapes with all their points. The
    graph of ``dgcnn_share`` reaches as far in both.

    Args:
        encoder: any encoder; only those with a graph are warned of.
        points: points of a training view.
        of: points of a cloud.

    Example:
        >>> warn_of_thin_views(run.encoder, points=128, of=1024)
    """
    if points < of and any(isinstance(part, _EdgeStage) and part.density is None for part in encoder.modules()):
        warnings.warn(
            f"this encoder's graph of nearest points reaches farther in views of {points} points than in whole clouds "
            f"of {of:,}, which it is judged by: train with points={of}, choose "
            f"encoder='dgcnn_share', or make a data set of clouds with {points}.",
            stacklevel=3,
        )


def _nearest(points: Tensor, k, rows, ranks: Tensor | None) -> Tensor:
    """The k nearest points; with ranks, only those at these places in the order of their distances."""
    square = (points**2).sum(dim=2)[:, None]
    found = []
    for some in points.split(rows, dim=1):
        distance = torch.baddbmm(square, some, points.mT, alpha=-2)  # less |x_i|², the same for all j
        nearest = distance.topk(k, dim=2, largest=False, sorted=ranks is not None).indices
        found.append(nearest if ranks is None else nearest[..., ranks])
    return torch.cat(found, dim=1)


def _dgcnn(density: int | None):
    def build(channels, norm):
        def edges(channels_in, channels_out):
            return _EdgeStage(channels_in, channels_out, norm, density)

        last = nn.Sequential(edges(128, 256), _layer(64 + 64 + 128 + 256, 1024, norm, SLOPE))
        return nn.Identity(), [edges(channels, 64), edges(64, 64), edges(64, 128), last], (64, 128, 256, 1024)

    return build


# -- heads of intermediate stages -------------------------------------------------------------------------------


class _PointBlock(nn.Module):
    """A residual block that treats all points alike."""

    def __init__(self, width: int, wider: int, norm):
        super().__init__()
        # It widens last: else it would cost several times what all of PointNet does.
        self.main = nn.Sequential(_layer(width, width, norm), nn.Conv2d(width, wider, 1, bias=False), norm(wider))
        self.shortcut = nn.Sequential(nn.Conv2d(width, wider, 1, bias=False), norm(wider))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.shortcut(x) + self.main(x), inplace=True)


def point_block(width: int, wider: int, norm) -> nn.Module:
    """Makes a residual block for the map of a cloud."""
    return _PointBlock(width, wider, norm)


_TOO_FEW = "T-Nets would have too few values a part, one a cloud; choose pointnet_vanilla"

POINT_ENCODERS = {
    "pointnet": Architecture(_pointnet(transforms=True), "max", {"split": _TOO_FEW}),
    "pointnet_vanilla": Architecture(_pointnet(transforms=False), "max"),
    "dgcnn": Architecture(_dgcnn(density=None), "max and mean"),
    "dgcnn_share": Architecture(_dgcnn(DENSITY), "max and mean"),
}
"""The encoders of point clouds."""
