"""The number of levels: clear groups are counted; on planted features labels are needed, as the docstring says."""

import re

import level_count as benchmark
import numpy as np
import pytest
import torch

from hiercl.methods.labels.descriptors import WITHOUT_LABELS
from hiercl.methods.labels.level_count import propose_levels


def groups_of_moments(groups, d=60, items=400, seed=0):
    """Features whose mean and variance fall into clear groups of decreasing size: 10 more for each earlier one."""
    rng = np.random.default_rng(seed)
    sizes = np.full(groups, d // groups)
    sizes[0] += d - sizes.sum()
    group = np.repeat(np.arange(groups), sizes)
    centre = np.array([[0, 0], [9, 3], [-9, 3], [0, 6]])[group]
    mean = centre[:, 0] + rng.standard_normal(d) * 0.3
    deviation = np.exp(centre[:, 1] / 2 + rng.standard_normal(d) * 0.1)
    return torch.from_numpy(rng.standard_normal((items, d)) * deviation + mean), torch.from_numpy(group)


@pytest.mark.parametrize("groups", [2, 3, 4])
def test_clear_groups_are_counted(groups):
    v, group = groups_of_moments(groups)
    found = propose_levels(v, descriptor="moments", prior=0.01)
    assert found.levels == groups
    assert len({(int(a), int(b)) for a, b in zip(group, found.assignment, strict=True)}) == groups
    assert sum(found.weights) == pytest.approx(1) and list(found.weights) == sorted(found.weights, reverse=True)
    assert len(found.weights) == 6 and len(found.assignment) == 60
    counts = torch.bincount(found.assignment).tolist()
    assert counts == sorted(counts, reverse=True)


def test_a_component_needs_a_least_share():
    """Of 100 features, a group of 5 counts and a group of 4 does not; its dimensions then go elsewhere."""
    v, _ = groups_of_moments(2, d=100)
    for few, levels in ((5, 2), (4, 1)):
        chosen = torch.cat([torch.arange(50), torch.arange(few, 50), torch.arange(50, 50 + few)])
        found = propose_levels(v[:, chosen], descriptor="moments", prior=0.01)
        assert found.levels == levels and found.weights[1] == few / 100
        assert found.assignment.max() == levels - 1


def test_the_prior_decides_how_many_components_noise_gets():
    v = torch.randn(300, 60, generator=torch.Generator().manual_seed(0))
    one, more = (propose_levels(v, None, "moments", prior=prior).levels for prior in (0.01, 100.0))
    assert one == 1 and more > 1


def test_same_seed_same_proposal():
    v, _ = groups_of_moments(3)
    one, other = propose_levels(v, seed=2**60), propose_levels(v, seed=2**60)
    assert one.weights == other.weights and torch.equal(one.assignment, other.assignment)


@pytest.mark.parametrize("descriptor", WITHOUT_LABELS)
def test_equal_features_are_one_level(descriptor):
    v = torch.arange(20.0)[:, None].expand(20, 8)
    found = propose_levels(v, descriptor=descriptor)
    assert found.levels == 1 and found.weights[0] == 1 and (found.assignment == 0).all()


def test_planted_features_are_what_they_say():
    """A feature of a level varies between the nodes of that level, and no further between those below them."""
    v, ancestors, level_of = benchmark.planted_features(3, 3000, 30, seed=0, noise=0.1)
    assert ancestors.shape == (3000, 4) and torch.equal(ancestors[:, 3] // 3, ancestors[:, 2])
    for j, level in enumerate(level_of.tolist()):
        within = [v[ancestors[:, level] == node, j].std() for node in ancestors[:, level].unique()]
        assert torch.stack(within).mean() == pytest.approx(0.1, rel=0.1)
    assert torch.bincount(level_of).tolist() == [10, 10, 10]


def test_labels_tell_the_number_of_levels_and_features_alone_do_not():
    """What the docstring claims, on a small part of the benchmark."""
    settings = benchmark.LevelCount(draws=3, items=1500, priors=(0.1,))
    found = benchmark.planted_part(settings)
    right = (found["planted"] == found["proposed"]).groupby(found["descriptor"]).mean()
    assert right["raw"] >= 0.75
    assert right[list(WITHOUT_LABELS)].max() <= 0.6
    page = benchmark.summary(found, settings)
    assert f"| raw (with the labels of 4 levels) | {right['raw']:.2f} |" in page
    assert page.count("| planted | 1 | 2 |") == 5


def test_errors(as_a_user):
    v, _ = groups_of_moments(2, d=8)
    cases = {
        "max_levels=0": {"max_levels": 0},
        "from 1 to 8, with 8 dimensions": {"max_levels": 9},
        "prior=0": {"prior": 0},
        "Unknown descriptor": {"descriptor": "moment"},
        "pass ancestors": {"descriptor": "raw"},
    }
    for message, settings in cases.items():
        with pytest.raises(ValueError, match=re.escape(message)):
            propose_levels(v, **settings)
