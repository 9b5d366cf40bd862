"""Several processes that train one model: which rows of a batch each has, and how they exchange tensors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm


@dataclass(frozen=True)
class Processes:
    """The processes that share a training (``accelerate launch`` starts them), seen from one of them.

    Every process draws the whole batch, and process r of R works on its r-th part. Random numbers, keys and prototypes
    belong to the whole batch, so that R processes do what one process would do.

    Attributes:
        rank: number of this process, from 0.
        count: number of processes.

    Example:
        >>> Processes(rank=1, count=2).own(torch.arange(6)).tolist()
        [3, 4, 5]
    """

    rank: int = 0
    count: int = 1

    @classmethod
    def here(cls) -> Processes:
        """Returns the processes that torch.distributed knows; a single one where it was not started."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return cls(torch.distributed.get_rank(), torch.distributed.get_world_size())
        return cls()

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes files and shows progress."""
        return self.rank == 0

    def own(self, rows: Tensor) -> Tensor:
        """Returns this process's rows of a whole batch.

        Raises:
            ValueError: the processes cannot share the rows evenly.
        """
        if len(rows) % self.count:
            raise ValueError(
                f"a batch of {len(rows)} cannot be shared evenly by {self.count} processes: "
                f"choose a multiple of {self.count}."
            )
        size = len(rows) // self.count
        return rows[self.rank * size : (self.rank + 1) * size]

    def gather(self, rows: Tensor) -> Tensor:
        """Returns the rows of all processes, in the order of the whole batch, with gradient where the rows have one.

        Every process backpropagates through all gathered rows, and each row's owner gets the sum. Together with the
        mean over processes that DistributedDataParallel takes, this is the gradient of the mean loss.
        """
        return rows if self.count == 1 else Gather.apply(rows, self)

    def mean(self, value: Tensor) -> Tensor:
        """Returns the mean over processes."""
        if self.count == 1:
            return value
        from accelerate.utils import reduce

        return cast(Tensor, reduce(value, "mean"))

    def any(self, value: bool, device: torch.device) -> bool:
        """Returns whether a value is true in one of the processes, which exchange it on this device."""
        return self.mean(torch.tensor(float(value), device=device)).item() > 0 if self.count > 1 else value

    def merge(self, parts: dict[Any, Any]) -> dict[Any, Any]:
        """Returns the dicts of all processes as one."""
        if self.count == 1:
            return parts
        from accelerate.utils import gather_object

        return {key: value for found in gather_object([parts]) for key, value in found.items()}

    def average_statistics(self, model: nn.Module) -> None:
        """Averages the running statistics of batch norm: every process has normalised its own part of each batch."""
        if self.count > 1:
            for module in model.modules():
                if isinstance(module, _BatchNorm):
                    for statistic in (module.running_mean, module.running_var):
                        if statistic is not None:
                            statistic.copy_(self.mean(statistic))

    def follow_first(self, model: nn.Module) -> None:
        """Gives all processes the first one's queue, prototypes, neighbours and masks.

        All of them compute these from the same numbers, but on a GPU the last bits can differ.
        """
        if self.count > 1:
            from accelerate.utils import broadcast_object_list

            parameters = {name for name, _ in model.named_parameters()}
            rest = {name: value for name, value in model.state_dict().items() if name not in parameters}
            sent = [to_cpu(rest)]
            broadcast_object_list(sent)
            model.load_state_dict(sent[0], strict=False)

    def share(self, parts: Iterable[Any]) -> list[tuple[int, Any]]:
        """Returns every R-th part, with its number."""
        return [(number, part) for number, part in enumerate(parts) if number % self.count == self.rank]


class Gather(torch.autograd.Function):
    """Gathers all rows. Backward, each process gets the sum of all processes' gradients for its own rows."""

    @staticmethod
    def forward(ctx, rows: Tensor, processes: Processes) -> Tensor:
        from accelerate.utils import gather

        ctx.processes = processes
        return cast(Tensor, gather(rows.contiguous()))

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        from accelerate.utils import reduce

        return ctx.processes.own(reduce(gradient.contiguous(), "sum")), None


def to_cpu(value: Any) -> Any:
    """Returns the same dicts, lists and tuples with their tensors on the CPU."""
    if isinstance(value, Tensor):
        return value.cpu()
    if isinstance(value, dict):
        return {key: to_cpu(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(to_cpu(inner) for inner in value)
    return value


ALONE = Processes()
