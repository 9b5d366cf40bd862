"""fine_tune: trains a copy of an encoder and a new linear head on labelled items."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hiercl.datasets import Feed, HierarchicalDataset, embed_with
from hiercl.encoders import (
    MODALITIES,
    Encoder,
    Modality,
    SplitBatchNorm2d,
    half_precision_is_native,
    modality_of,
    sound_gradients,
)
from hiercl.hierarchy import Hierarchy
from hiercl.runtime.config import AtLeast, Between, Config
from hiercl.runtime.seeds import generator, own_generators, stream_seed
from hiercl.runtime.types import Float
from hiercl.training import TrainingDivergedError


@dataclass(frozen=True)
class FineTuneConfig(Config):
    """Settings of a fine-tuning by SGD, with one learning rate for the encoder and one for the head.

    Training ends after ``epochs`` or after ``most_steps``, whichever comes first. With few labels the epochs count,
    with many labels the steps do, so that the time stays bounded.

    HCSC follows the protocol of SwAV (methods A.8): ResNet-50 at 224 pixels, 70 epochs, batches of 256, learning rates
    of 0.005 (encoder) and 0.02 (head), a tenth of them after 30 and 60 epochs, no weight decay. The defaults here are
    ours, for 32 pixels and two CPU cores. We chose them on CIFAR-100 with ``convnet`` after MoCo v2, on held-out
    training pictures. They are a compromise: with 200 labels, head_lr=0.05 was 1 point better at the coarse level; with
    2,000 labels, trunk_lr=0.02 was 0.5 points better.

    Raises:
        ValueError: a setting outside its range.

    Example:
        >>> config = FineTuneConfig(epochs=70, trunk_lr=0.005, head_lr=0.02, milestones=(30 / 70, 60 / 70))
    """

    epochs: Annotated[int, AtLeast(1)] = 40
    """Largest number of passes over the labelled items."""
    most_steps: Annotated[int, AtLeast(1)] = 800
    """Largest number of gradient steps."""
    batch: Annotated[int, AtLeast(2)] = 64
    """Largest number of items in a step. An epoch is cut into the fewest batches, of nearly equal size."""
    trunk_lr: Annotated[float, AtLeast(0)] = 0.01
    """Highest learning rate of the encoder. With 0 its weights do not change."""
    head_lr: Annotated[float, AtLeast(0)] | None = None
    """Highest learning rate of the linear head. None means 0.2 for pictures and vectors and 0.002 for clouds: the
    features of clouds are maxima over points and so large that a higher rate diverges."""
    momentum: Annotated[float, AtLeast(0)] = 0.9
    """Momentum of SGD."""
    weight_decay: Annotated[float, AtLeast(0)] = 0.0
    """Weight decay of all weights."""
    milestones: tuple[Annotated[float, Between(0, 1, False, False)], ...] | None = None
    """Shares of the training, between 0 and 1, after which both rates fall to a tenth. None means that they fall to 0
    along a cosine."""
    crop: int | None = None
    """Side of the training crop in pixels. None means three quarters of the shorter side (24 for 32 pixels)."""
    crop_scale: tuple[float, float] = (0.5, 1.0)
    """Smallest and largest share of the picture's area that a crop covers."""
    flip: float = 0.5
    """Probability of a left-right flip. Pictures get no augmentation but crop and flip."""
    points: int | None = None
    """Number of points in a training view of a cloud. None means half of the cloud's points. Clouds are also scaled,
    shifted and jittered, as in :class:`~hiercl.views.PointViewConfig`."""
    rotation: Literal["up", "any", "none"] = "up"
    """Random rotation of a training view of a cloud: about the up axis (as in PointNet's training), about any axis, or
    none (as in DGCNN's, where the encoder can learn how the shapes are aligned). Test clouds are never rotated."""
    noise: float = 0.0
    """Standard deviation of the noise of vectors, in units of each feature's deviation over the labelled items. A
    training view starts from one of the stored views, if there are several."""
    drop: float = 0.0
    """Probability that a feature of a vector is dropped, from 0 to below 1."""
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """Precision of the encoder. "auto" means bf16 if the hardware computes in it natively, else float32. Head and loss
    are always in float32."""

    def __post_init__(self):
        super().__post_init__()
        for modality in MODALITIES.values():
            if self._changed(modality.fine_tuning_options):
                self.views(modality, 32)  # raises if these options are out of range, or of two kinds of items

    def views(self, modality: Modality, size: int) -> Config:
        """Returns the settings of the random views of one kind of item.

        Args:
            modality: the kind of item.
            size: shorter side of the pictures in pixels, points of a cloud, or features of a vector.

        Raises:
            ValueError: a setting of another kind of item was given.
        """
        own = modality.fine_tuning_options
        every = {name for other in MODALITIES.values() for name in other.fine_tuning_options}
        for name in self._changed(sorted(every - set(own))):
            raise ValueError(f"{name}={getattr(self, name)} is not for {modality.name}: leave it out.")
        return modality.fine_tuning_views(size, **{name: getattr(self, name) for name in own})

    def _changed(self, names: Iterable[str]) -> list[str]:
        """Those of these settings that do not have their default."""
        return [name for name in names if getattr(self, name) != type(self).__dataclass_fields__[name].default]


@dataclass(frozen=True)
class FineTuned:
    """An encoder with a linear head on the leaf classes, in eval mode.

    Attributes:
        encoder: the fine-tuned copy.
        head: linear layer from its features to leaf logits.
        losses: mean training loss of every epoch, in nats.
        steps: number of gradient steps.
        half: whether the encoder computes in bf16.
    """

    encoder: Encoder
    head: nn.Linear
    losses: tuple[float, ...]
    steps: int
    half: bool

    def predict_proba(self, dataset: HierarchicalDataset) -> Float[Tensor, "n leaves"]:
        """Returns the probability of every leaf class for every item, unaugmented and at full size, on the CPU.

        Args:
            dataset: the items.

        Raises:
            ValueError: items of another kind than the encoder's, or a hierarchy with another number of leaves than the
                head.
        """
        check_modality(self.encoder, dataset)
        if dataset.hierarchy.n_leaves != self.head.out_features:
            known, found = self.head.out_features, f"{dataset.name!r} has {dataset.hierarchy.n_leaves}"
            raise ValueError(f"the head knows {known} leaf classes, but {found}: pass data with the same hierarchy.")
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
    r"""Trains all weights of a copy of an encoder $f$, and a linear head on the leaf classes, by cross-entropy.

    $$\min_{f, W, b}\; -\frac1n\sum_i \log \text{softmax}_{y_i}\big(W f(v_i) + b\big), \qquad
      v_i: \text{a random view of item } i$$

    Source: the semi-supervised protocol of SwAV and HCSC (methods A.8, ``eval_semisup.py`` of the official codes), at
    our scale: see :class:`FineTuneConfig`. Only leaf classes are trained. The probability of a coarser class is the sum
    over its leaves (:func:`probabilities_at`), so one fine-tuning is judged at every level.

    **Deviations** from the official codes: learning rates fall along a cosine (``milestones`` gives the two steps
    back); the head starts at zero, not at random; batch norm (in train mode) sees one batch, not those of eight
    processes. Split batch norm becomes batch norm.

    Args:
        encoder: start of the training; it does not change.
        dataset: labelled items; those without a label are left out.
        config: settings.
        seed: seed of the order of the items and of their views. On one CPU, the same seed gives the same result.
        device: device of the training; by default that of the encoder.

    Returns:
        The fine-tuned encoder and its head.

    Raises:
        ValueError: a data set of one item, or items of another kind than the encoder's.
        TrainingDivergedError: the loss is not finite.

    Example:
        >>> tuned = fine_tune(run.encoder, train, FineTuneConfig(epochs=1))
        >>> tuned.predict_proba(test).shape
        torch.Size([60, 30])
    """
    check_modality(encoder, dataset)
    dataset = dataset.labelled_part
    if len(dataset) < 2:
        raise ValueError(f"{dataset.name!r} holds one item; batch norm needs at least two: label more items.")
    config = FineTuneConfig() if config is None else config
    device = encoder.mean.device if device is None else torch.device(device)
    half = config.precision == "bf16" or (config.precision == "auto" and half_precision_is_native(device))
    modality, size = modality_of(dataset), dataset.form.size(dataset.items.shape)
    views = modality.views(config.views(modality, size), {"mean": encoder.mean, **dataset.form.units(dataset.items)})
    modality.check_views(encoder, views.size, size)
    encoder.check_size(views.size)

    trunk = copy.deepcopy(encoder)
    _replace_split_batch_norm(trunk)
    trunk.freeze(False)
    trunk.requires_grad_(True).to(device).to(memory_format=torch.channels_last).train()
    leaves = dataset.hierarchy.n_leaves
    head = cast(nn.Linear, nn.utils.skip_init(nn.Linear, trunk.width, leaves, device=device))  # draws nothing
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    highest = {trunk: config.trunk_lr, head: modality.head_lr if config.head_lr is None else config.head_lr}
    groups = [{"params": list(part.parameters()), "lr": rate, "highest": rate} for part, rate in highest.items()]
    optimiser = torch.optim.SGD(groups, momentum=config.momentum, weight_decay=config.weight_decay)

    feed, labels = Feed(dataset, device), torch.as_tensor(np.array(dataset.labels), device=device)
    total = total_steps(len(dataset), config)
    losses: list[list[Tensor]] = []
    step = 0
    # The caller's random numbers do not change.
    with own_generators(device), torch.enable_grad(), sound_gradients(trunk, half):
        torch.manual_seed(stream_seed(seed, 0, "weights"))  # for dropout, if the encoder has it
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
                    f"The loss of the fine-tuning is {loss.item()} in epoch {epoch}: try a lower trunk_lr or head_lr, "
                    "or precision='float32'."
                )
    means = tuple(torch.stack(epoch).mean().item() for epoch in losses)
    return FineTuned(trunk.eval(), head.eval(), means, total, half)


def probabilities_at(
    probabilities: Float[Tensor, "n leaves"], hierarchy: Hierarchy, level: int
) -> Float[Tensor, "n classes"]:
    r"""Returns the probabilities of the classes of a level, from those of the leaves.

    $$p(c) = \sum_{\text{leaves } y \text{ under } c} p(y)$$

    Args:
        probabilities: probabilities of the leaf classes, in the order of their ids.
        hierarchy: tree of these leaves.
        level: 0 is the coarsest level, −1 the leaves.

    Raises:
        ValueError: another number of columns than the hierarchy has leaves, or no such level.

    Example:
        >>> tree = Hierarchy.from_dict({"animal": ["cat", "dog"], "vehicle": ["car"]})
        >>> probabilities_at(torch.tensor([[0.25, 0.25, 0.5]]), tree, level=0)
        tensor([[0.5000, 0.5000]])
    """
    if probabilities.shape[1] != hierarchy.n_leaves:
        raise ValueError(f"{probabilities.shape[1]} columns do not fit the {hierarchy.n_leaves} leaves.")
    ancestor = torch.as_tensor(hierarchy.labels_at(np.arange(hierarchy.n_leaves), level), device=probabilities.device)
    return probabilities.new_zeros(len(probabilities), hierarchy.sizes[level]).index_add(1, ancestor, probabilities)


def check_modality(encoder: Encoder, dataset: HierarchicalDataset) -> None:
    """Raises ValueError unless the encoder takes the kind of items that the data set holds."""
    if dataset.modality != encoder.modality:
        raise ValueError(f"{dataset.name!r} holds {dataset.modality}, and this encoder is of {encoder.modality}.")


def total_steps(items: int, config: FineTuneConfig) -> int:
    """Returns the number of gradient steps for this many labelled items.

    Example:
        >>> total_steps(100, FineTuneConfig(epochs=10, batch=64))
        20
    """
    return min(config.epochs * math.ceil(items / config.batch), config.most_steps)


def _replace_split_batch_norm(module: nn.Module) -> None:
    """Replaces split batch norm by batch norm.

    Split batch norm hides the other items of the batch from a contrastive loss. It needs batches of a multiple of its
    number of parts, which few labels cannot give.
    """
    for name, child in module.named_children():
        if isinstance(child, SplitBatchNorm2d):
            whole = nn.BatchNorm2d(child.num_features, child.eps, child.momentum)
            whole.load_state_dict(child.state_dict())
            setattr(module, name, whole)
        else:
            _replace_split_batch_norm(child)


def rate_factor(share: float, milestones: tuple[float, ...] | None) -> float:
    """Returns the factor of the highest learning rate after this share of the training.

    Example:
        >>> rate_factor(0.5, None), rate_factor(0.5, (0.4, 0.8))
        (0.5, 0.1)
    """
    if milestones is None:
        return 0.5 * (1 + math.cos(math.pi * share))
    return 0.1 ** sum(share >= milestone for milestone in milestones)
