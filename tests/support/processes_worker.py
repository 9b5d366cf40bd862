"""What every process of tests/runtime/test_processes.py does.

It trains every method and keeps the states of the processes, so that the test can compare them with one process.
"""

import sys
from pathlib import Path

import torch
from accelerate import Accelerator
from support.data import METHODS, SMALL, pictures
from torch.nn import functional as F

from hiercl import methods
from hiercl.datasets import Feed, embed_with
from hiercl.encoders import make_encoder
from hiercl.methods.base import Batch, Supervision, TrainingInfo
from hiercl.runtime.processes import Processes
from hiercl.runtime.seeds import Draws, generator
from hiercl.training.loop import fit

# With batch norm every process normalises its own rows, so the numbers would differ. Group norm has no such effect.
EXACT = SMALL | {"epochs": 2, "norm": "group", "optimiser": "sgd", "lr": 0.05, "device": "cpu"}


def trained(method: str, **settings):
    return fit(method, pictures(), **EXACT | METHODS[method] | settings)


def similarity(features: torch.Tensor, neighbours: torch.Tensor) -> torch.Tensor:
    """Returns the cosine similarity of every item to each of its neighbours, the highest first."""
    z = F.normalize(features, dim=1)
    return (z[:, None] * z[neighbours]).sum(dim=2).sort(dim=1, descending=True).values


def one_step(method: str) -> dict[str, torch.Tensor]:
    """Returns gradients, loss and queue of one step on a batch of 32, of which this process has its rows."""
    processes, dataset = Processes.here(), pictures()
    torch.manual_seed(0)
    kind = methods.get(method)
    supervision = Supervision(dataset.hierarchy, torch.from_numpy(dataset.labels))
    info = TrainingInfo(len(dataset), epochs=1, steps_per_epoch=3, supervision=supervision)
    encoder = make_encoder("convnet", mean=[0.5] * 3, std=[0.25] * 3, norm="group")
    model = kind(encoder, kind.Config(**METHODS[method]), info)
    feed = Feed(dataset, "cpu")
    model.warm_up_epochs = model.first_fit = 0

    def embed(function):
        return embed_with(function, feed, processes=processes)

    model.eval().refresh(0, embed)
    mined = {}
    if hasattr(model, "neighbours"):
        # Among equally similar items either may be mined, so the step itself is made with given neighbours.
        mined = {"similarity of neighbours": similarity(embed(model.key_encoder), model.neighbours)}
        model.neighbours.copy_(model.random_neighbours(epoch=0))
    items = processes.own(model.items(torch.arange(32), generator("cpu", 0, 0, "items")))
    shown = dataset.form.to_map(feed[items[:, 0]])
    views = tuple(shown.roll(number, dims=2) for number, _ in enumerate(model.plan))
    prepared = Accelerator(cpu=True).prepare(model.train())
    step = prepared(Batch(items, views, Draws(generator("cpu", 0, 0, "draws"), processes)))
    step.loss.backward()
    model.after_step(step)
    gradients = {f"gradient {name}": p.grad for name, p in model.named_parameters() if p.grad is not None}
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    return gradients | buffers | mined | {"loss": processes.mean(step.loss.detach())}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    for method in METHODS:
        run = trained(method, out=folder / method)
        rank = Processes.here().rank
        torch.save(run.method.state_dict(), folder / f"{method}-state-{rank}.pt")
        torch.save(one_step(method), folder / f"{method}-step-{rank}.pt")
    run = trained("moco", norm="batch", epochs=1)
    torch.save(run.method.state_dict(), folder / f"batch-norm-state-{rank}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
