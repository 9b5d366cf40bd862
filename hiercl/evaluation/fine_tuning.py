"""fine_tune: trains a copy of an encoder, with a new linear head, on labelled items."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hiercl.datasets import Feed, HierarchicalDataset, embed_with
from hiercl.encoders import Encoder, SplitBatchNorm2d, half_precision_is_native, warn_of_thin_views
from hiercl.hierarchy import Hierarchy
from hiercl.runtime.seeds import generator, stream_seed
from hiercl.runtime.types import Float
from hiercl.training import TrainingDivergedError
from hiercl.views import ImageViews, PointViewConfig, PointViews, ViewConfig, Views

HEAD_LR = {"images": 0.2, "points": 0.002}


@dataclass(frozen=True)
class FineTuneConfig:
    """Settings of a fine-tuning: SGD on trunk and head, each with a learning rate of its own.

    Training ends after ``epochs`` or after ``most_steps``, whichever comes first: with few labels the epochs count,
    with many the steps, so that the time stays bounded.

    The papers (the protocol of SwAV, which HCSC takes over; methods A.8) have ResNet-50 at 224 pixels, 70 epochs,
    batches of 256, rates of 0.005 (trunk) and 0.02 (head), a tenth of them after 30 and 60 epochs, no weight decay.
    The defaults here are ours, for 32 pixels and two cores. They were chosen on CIFAR-100 with ``convnet`` after MoCo
    v2, on training pictures that were held out, as a compromise: with 200 labels a head_lr of 0.05 was better by a
    point at the coarse level, with 2,000 a trunk_lr of 0.02 by half a point.

    Raises:
        ValueError: a setting outside its range.

    Example:
        >>> FineTuneConfig(epochs=70, most_steps=10_000, trunk_lr=0.005, head_lr=0.02, milestones=(30 / 70, 60 / 70))
    """

    epochs: int = 40
    """Passes over the labelled items, at most."""
    most_steps: int = 800
    """Gradient steps, at most."""
    batch: int = 64
    """Items a step, at most: an epoch is cut into the fewest batches, of (nearly) equal size."""
    trunk_lr: float = 0.01
    """Highest learning rate of the encoder; 0 keeps its weights as they are."""
    head_lr: float | None = None
    """Highest learning rate of the linear head; by default 0.2, of clouds 0.002: the maximum over points makes features
    so large that more diverges."""
    momentum: float = 0.9
    """Of SGD."""
    weight_decay: float = 0.0
    """Of all weights."""
    milestones: tuple[float, ...] | None = None
    """Shares of training after each of which both rates fall to a tenth; None: they fall along a cosine to 0."""
    crop: int | None = None
    """Side of the training crop in pixels; by default three quarters of the pictures' shorter side (24 of 32)."""
    crop_scale: tuple[float, float] = (0.5, 1.0)
    """Smallest and largest share of the picture's area that a crop covers."""
    flip: float = 0.5
    """Probability of a left-right flip; crop and flip are the only augmentation of pictures."""
    points: int | None = None
    """Points of a training view of a cloud; by default half of the cloud's. Clouds are scaled, shifted and
    jittered as in :class:`~hiercl.views.PointViewConfig`."""
    rotation: Literal["up", "any", "none"] = "up"
    """Of a training view of a cloud. Test shapes are not turned: "none" lets the encoder learn how shapes are aligned,
    as DGCNN's official training does; PointNet's turns them about the up axis."""
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """Of the encoder; auto: bf16 where the hardware has it natively. Head and loss are float32 always."""

    def __post_init__(self):
        if self.epochs < 1 or self.most_steps < 1 or self.batch < 2:
            raise ValueError(
                f"epochs={self.epochs}, most_steps={self.most_steps}, batch={self.batch}: epochs and most_steps must "
                "be at least 1, a batch at least 2."
            )
        for name in ("trunk_lr", "head_lr", "momentum", "weight_decay"):
            if getattr(self, name) is not None and not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name}={getattr(self, name)}: it must be 0 or more, and finite.")
        if self.milestones is not None and not all(0 < share < 1 for share in self.milestones):
            raise ValueError(f"milestones={self.milestones}: they are shares of training, between 0 and 1.")
        if self.precision not in ("auto", "float32", "bf16"):
            raise ValueError(f"precision={self.precision!r}: it is one of auto, float32, bf16.")
        if self.rotation not in ("up", "any", "none"):
            raise ValueError(f"rotation={self.rotation!r}: it is one of up, any, none.")
        kind = "images" if self.points is None and self.rotation == "up" else "points"
        self.views(kind, 32)  # checks what concerns them

    def views(self, kind: str, size: int) -> Views:
        """The random views, of pictures whose shorter side has this many pixels, or of clouds of this many points.

        Raises:
            ValueError: a setting of the other kind was given.
        """
        for name in ("points", "rotation") if kind == "images" else ("crop", "crop_scale", "flip"):
            if getattr(self, name) != type(self).__dataclass_fields__[name].default:
                raise ValueError(f"{name}={getattr(self, name)} says nothing of {kind}: leave it out.")
        if kind == "points":
            points = max(1, size // 2) if self.points is None else self.points
            return PointViews(PointViewConfig(points=points, rotation=self.rotation))
        crop = max(1, round(0.75 * size)) if self.crop is None else self.crop
        no_colour = {"jitter_probability": 0.0, "grayscale": 0.0, "blur": 0.0}
        return ImageViews(ViewConfig(crop=crop, crop_scale=self.crop_scale, flip=self.flip, **no_colour))


@dataclass(frozen=True)
class FineTuned:
    """An encoder with a linear head on the leaf classes, in eval mode.

    Attributes:
        encoder: the fine-tuned copy.
        head: from its features to leaf logits.
        losses: mean training loss of every epoch, in nats.
        steps: gradient steps taken.
        half: whether the encoder runs in bf16.
    """

    encoder: Encoder
    head: nn.Linear
    losses: tuple[float, ...]
    steps: int
    half: bool

    def predict_proba(self, dataset: HierarchicalDataset) -> Float[Tensor, "n leaves"]:
        """Probability of every leaf class for every item, unaugmented and at full size; on the CPU, rows sum to 1.

        Raises:
            ValueError: the data set's hierarchy has another number of leaves than the head.
        """
        check_kind(self.encoder, dataset)
        if dataset.hierarchy.n_leaves != self.head.out_features:
            raise ValueError(
                f"the head knows {self.head.out_features} leaf classes, but {dataset.name!r} has "
                f"{dataset.hierarchy.n_leaves}: pass a data set with the hierarchy of the fine-tuning."
            )
        features = embed_with(self.encoder, Feed(dataset, self.head.weight.device), self.half)
        with torch.no_grad():
            return self.head(features).softmax(dim=1).cpu()


def fine_tune(
    encoder: Encoder,
    dataset: HierarchicalDataset,
    config: FineTuneConfig | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
) -> FineTuned:
    r"""Trains all weights of a copy of an encoder $f$, and a linear head on the leaf classes, by cross-entropy:

    $$\min_{f, W, b}\; -\frac1n\sum_i \log \text{softmax}_{y_i}\big(W f(v_i) + b\big), \qquad
      v_i: \text{a random view of item } i$$

    The semi-supervised protocol of SwAV and HCSC (methods A.8; `eval_semisup.py` of the official codes), at our scale:
    see :class:`FineTuneConfig`.

    Batch norm is in train mode: its running means follow the labelled items. (Split batch norm becomes batch norm.)
    Only leaf classes are trained: the probability of a coarser class is the sum over its leaves
    (:func:`probabilities_at`), so one fine-tuning is judged at every level.

    **Deviations** from the official codes: rates fall along a cosine (``milestones`` gives the two falls back); the
    head starts at zero, not at random; batch norm sees one batch, not those of eight processes.

    Args:
        encoder: where the trunk starts; it is left untouched.
        dataset: the labelled items.
        config: the settings.
        seed: of the order of the items and of their views. Same seed, same machine: same result on the CPU.
        device: where to train; by default where the encoder is.

    Raises:
        ValueError: a data set that holds one item only, or items of another kind than the encoder's.
        TrainingDivergedError: the loss is not finite.

    Example:
        >>> tuned = fine_tune(run.encoder, train.take(draw_labelled(train.labels, 0.1)))
        >>> leaf = tuned.predict_proba(test)
        >>> superclass = probabilities_at(leaf, test.hierarchy, 0).argmax(dim=1)
    """
    check_kind(encoder, dataset)
    if len(dataset) < 2:
        raise ValueError(f"{dataset.name!r} holds one item; batch norm needs at least two: label more items.")
    config = FineTuneConfig() if config is None else config
    device = next(encoder.parameters()).device if device is None else torch.device(device)
    half = config.precision == "bf16" or (config.precision == "auto" and half_precision_is_native(device))
    trunk = with_whole_batch_norm(copy.deepcopy(encoder)).requires_grad_(True)
    trunk.to(device, memory_format=torch.channels_last).train()
    head = nn.utils.skip_init(nn.Linear, trunk.width, dataset.hierarchy.n_leaves, device=device)  # draws nothing
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    head_lr = HEAD_LR[dataset.kind] if config.head_lr is None else config.head_lr
    groups = [
        {"params": list(trunk.parameters()), "lr": config.trunk_lr, "highest": config.trunk_lr},
        {"params": list(head.parameters()), "lr": head_lr, "highest": head_lr},
    ]
    optimiser = torch.optim.SGD(groups, momentum=config.momentum, weight_decay=config.weight_decay)

    feed, labels = Feed(dataset, device), torch.as_tensor(np.array(dataset.labels), device=device)
    size = min(dataset.items.shape[1:3]) if dataset.kind == "images" else dataset.items.shape[1]
    views = config.views(dataset.kind, size)
    if dataset.kind == "points":
        warn_of_thin_views(encoder, views.config.points, size)
    total = total_steps(len(dataset), config)
    losses: list[list[Tensor]] = []
    step = 0
    with torch.random.fork_rng(), torch.enable_grad():  # the caller's random numbers go on as if nothing had happened
        torch.manual_seed(stream_seed(seed, 0, "weights"))  # dropout, in an encoder that has it
        while step < total:
            epoch = len(losses)
            draws = generator(device, seed, epoch, "views")
            losses.append([])
            order = torch.randperm(len(dataset), generator=generator("cpu", seed, epoch, "order"))
            plan = order.tensor_split(math.ceil(len(dataset) / config.batch))[: total - step]
            for index, items in zip(plan, feed.batches(plan), strict=True):
                for group in optimiser.param_groups:
                    group["lr"] = group["highest"] * rate_factor(step / total, config.milestones)
                drawn = views(items, draws)
                with torch.autocast(device.type, torch.bfloat16, enabled=half):
                    features = trunk(drawn)
                loss = F.cross_entropy(head(features.float()), labels[index.to(device)])
                loss.backward()
                optimiser.step()
                optimiser.zero_grad()
                losses[-1].append(loss.detach())
                step += 1
            if not torch.isfinite(loss):
                raise TrainingDivergedError(
                    f"The loss of the fine-tuning is {loss.item()} in epoch {epoch}: a lower trunk_lr or head_lr, or "
                    "precision='float32', may help."
                )
    means = tuple(torch.stack(epoch).mean().item() for epoch in losses)
    return FineTuned(trunk.eval(), head.eval(), means, total, half)


def probabilities_at(
    probabilities: Float[Tensor, "n leaves"], hierarchy: Hierarchy, level: int
) -> Float[Tensor, "n classes"]:
    r"""Probabilities of the classes of a level, from those of the leaves.

    $$p(c) = \sum_{\text{leaves } y \text{ under } c} p(y)$$

    Args:
        probabilities: of the leaf classes, in the order of their ids.
        hierarchy: of these leaves.
        level: 0 is the coarsest, -1 the leaves.

    Raises:
        ValueError: another number of columns than the hierarchy has leaves, or a level that it does not have.

    Example:
        >>> probabilities_at(tuned.predict_proba(test), test.hierarchy, 0)
    """
    if probabilities.shape[1] != hierarchy.n_leaves:
        raise ValueError(
            f"{probabilities.shape[1]} columns do not fit the {hierarchy.n_leaves} leaves of the hierarchy"
        )
    ancestor = torch.as_tensor(hierarchy.labels_at(np.arange(hierarchy.n_leaves), level), device=probabilities.device)
    return probabilities.new_zeros(len(probabilities), hierarchy.sizes[level]).index_add(1, ancestor, probabilities)


# -- what the loop calls ----------------------------------------------------------------------------------------


def check_kind(encoder: Encoder, dataset: HierarchicalDataset) -> None:
    """Raises ValueError for an encoder of other items than those of the data set."""
    if dataset.kind != encoder.kind:
        raise ValueError(f"{dataset.name!r} holds {dataset.kind}, and this encoder is of {encoder.kind}.")


def total_steps(items: int, config: FineTuneConfig) -> int:
    """Gradient steps for this many labelled items: the epochs, but at most ``most_steps``."""
    return min(config.epochs * math.ceil(items / config.batch), config.most_steps)


def with_whole_batch_norm(module: nn.Module) -> nn.Module:
    """Turns split batch norm into batch norm. It is there to hide other items of the batch from a contrastive loss,
    and would need batches of a multiple of its parts."""
    for name, child in module.named_children():
        if isinstance(child, SplitBatchNorm2d):
            whole = nn.BatchNorm2d(child.num_features, child.eps, child.momentum)
            whole.load_state_dict(child.state_dict())
            setattr(module, name, whole)
        else:
            with_whole_batch_norm(child)
    return module


def rate_factor(share: float, milestones: tuple[float, ...] | None) -> float:
    """What the highest learning rate is multiplied by after this share of training."""
    if milestones is None:
        return 0.5 * (1 + math.cos(math.pi * share))
    return 0.1 ** sum(share >= milestone for milestone in milestones)
