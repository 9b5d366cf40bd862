"""A small vision transformer for pictures of 32 pixels (Dosovitskiy et al., ICLR 2021, arXiv 2010.11929)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH, HEADS, PATCH, BLOCKS = 128, 4, 4, (2, 2, 2, 2)  # blocks of each stage
LONGEST = 10_000  # wave of the positions, over 2π, in patches


def positions(rows: int, columns: int, width: int) -> Tensor:
    r"""Returns the position code of every patch, ``[width, rows, columns]``.

    $$\big[\sin(y\,\omega_k),\ \cos(y\,\omega_k),\ \sin(x\,\omega_k),\ \cos(x\,\omega_k)\big],\qquad
      \omega_k = 10000^{-4k/d},\quad k = 0 \dots d/4 - 1$$

    as in MoCo v3 (Chen et al., ICCV 2021) and MAE. Ours: y and x count patches from the middle of the picture, so that
    a crop of another size has the codes of the middle of a larger one. Nothing is learned, so every size works.

    Args:
        rows: rows of patches.
        columns: columns of patches.
        width: number of channels; a multiple of 4.

    Example:
        >>> bool((positions(8, 8, 128)[:, 1:7, 1:7] == positions(6, 6, 128)).all())
        True
    """
    frequencies = LONGEST ** (-4 * torch.arange(width // 4) / width)
    codes = []
    for count in (rows, columns):
        places = torch.arange(count, dtype=torch.float32)
        angles = (places - places.mean()) * frequencies[:, None]
        codes.append(torch.cat([angles.sin(), angles.cos()]))  # [width / 2, count]
    return torch.cat([codes[0][:, :, None].expand(-1, -1, columns), codes[1][:, None].expand(-1, rows, -1)])


class _Patches(nn.Module):
    """Embeds every patch of 4 × 4 pixels, and adds its position."""

    def __init__(self, channels: int):
        super().__init__()
        self.embed = nn.Conv2d(channels, WIDTH, PATCH, stride=PATCH)

    def forward(self, x: Tensor) -> Tensor:
        if min(x.shape[2:]) < PATCH:
            raise ValueError(f"vit_tiny needs pictures of at least {PATCH} pixels a side; these are {list(x.shape)}.")
        x = self.embed(x)
        return x + positions(x.shape[2], x.shape[3], WIDTH).to(x)


class _Block(nn.Module):
    """Attention and an MLP, each with a layer norm before it and its input added after it."""

    def __init__(self):
        super().__init__()
        self.norm, self.keys = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3 * WIDTH)  # queries, keys and values
        self.out = nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(
            nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)
        )

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.keys(self.norm(x)).unflatten(2, (3, HEADS, WIDTH // HEADS)).permute(2, 0, 3, 1, 4)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.mlp(x)


class _Stage(nn.Module):
    """Blocks on the tokens of the patches, from map to map; after the last stage comes a layer norm."""

    def __init__(self, blocks: int, last: bool):
        super().__init__()
        self.blocks = nn.Sequential(*(_Block() for _ in range(blocks)))
        self.norm = nn.LayerNorm(WIDTH) if last else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(self.blocks(x.flatten(2).mT))
        return tokens.mT.unflatten(2, x.shape[2:])


def vit_tiny(channels, norm):
    """Builds the encoder; it has layer norms, whatever the norm of the others."""
    stages = [_Stage(blocks, last=number == len(BLOCKS) - 1) for number, blocks in enumerate(BLOCKS)]
    return _Patches(channels), stages, (WIDTH,) * len(BLOCKS)
