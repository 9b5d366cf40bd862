"""Processes that are threads of one, so that a test can look at the gradients of all of them."""

import threading
from dataclasses import dataclass

import torch
from support.planted import batch_of

from hiercl.methods.base import Batch
from hiercl.runtime.processes import Processes


@dataclass(frozen=True)
class Threads(Processes):
    """Processes that are threads of one: their tensors come together with their gradients."""

    meeting: threading.Barrier | None = None
    slots: tuple[list, ...] = ()

    def gather(self, rows):
        self.slots[0][self.rank] = rows
        self.meeting.wait(timeout=60)
        whole = torch.cat(self.slots[0])
        self.meeting.wait(timeout=60)
        return whole

    def mean(self, value):
        return self.gather(value[None]).mean(dim=0)


def in_threads(method, batch: Batch, count: int = 2) -> tuple[float, torch.Tensor, list[float]]:
    """The mean loss of several processes that share a batch, its gradient, and the numbers that each observes."""
    views = torch.stack(batch.views).requires_grad_()
    shared, results, errors = (threading.Barrier(count), ([None] * count,)), [None] * count, []

    def work(rank):
        try:
            processes = Threads(rank, count, *shared)
            own = batch_of(processes.own(batch.items[:, 0]), [processes.own(view) for view in views], processes)
            step = method(own)
            with torch.no_grad():
                results[rank] = step.loss, [float(value) for value in step.observe().values()]
        except BaseException as error:
            shared[0].abort()
            errors.append(error)

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in errors:
        if not isinstance(error, threading.BrokenBarrierError):
            raise error
    loss = sum(loss for loss, _ in results) / count
    loss.backward()
    return loss.item(), views.grad, [value for _, observed in results for value in observed]
