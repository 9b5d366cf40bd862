"""official=True, through fit and step, against slow loops: equations of the official codes, with their quirks."""

import json
import math
import re

import numpy as np
import pytest
from support.data import SMALL, pictures

import hiercl
from hiercl import methods
from hiercl.cli import main
from hiercl.runtime.seeds import Draws, generator
from hiercl.study.configurations import RunData, canonical, configuration

IMAGES = SMALL | {"epochs": 2, "batch": 24, "queue": 24, "crop": 8, "temperature": 0.2}
QUIET = {"monitor_every": 0, "progress": False}


def taken(run, data, seed=3, batch=8):
    """A step with anchors in shuffled order, and the batch that the method saw."""
    seen = []
    hook = run.method.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    step = run.step(data, batch=batch, seed=seed)
    hook.remove()
    items = seen[0].items[:, 0].tolist()
    assert items != sorted(items)
    return step, seen[0]


def numbers(tensor):
    """Plain numbers, in lists."""
    return tensor.detach().double().tolist()


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def info_nce(own, others):
    """−log softmax of one positive."""
    return math.log(sum(math.exp(logit) for logit in (own, *others))) - own


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def contrasted(query, keys, queue, tau):
    """The mean InfoNCE of queries with their keys and all keys of the queue, old keys of the own item among them."""
    pairs = zip(query, keys, strict=True)
    return mean(info_nce(dot(q, k) / tau, [dot(q, old) / tau for old in queue]) for q, k in pairs)


# -- MoCo v2 ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("symmetric", [False, True])
def test_moco(symmetric):
    """The symmetric loss of the demo is a sum; keys of the first view enter the queue first."""
    data = pictures(48)
    run = hiercl.fit("moco", data, official=True, symmetric=symmetric, **IMAGES)
    step, batch = taken(run, data)
    queue, tau = numbers(run.method.queue.keys), run.recipe.settings.temperature
    assert (batch.items == run.method.queue.items).any()  # old keys of the own item: pushed too
    queries, keys = ([numbers(f(v)) for v in batch.views] for f in (run.method.project, run.method.project_key))
    expected = contrasted(queries[0], keys[1], queue, tau)
    if symmetric:
        expected += contrasted(queries[1], keys[0], queue, tau)
    assert step.loss.item() == pytest.approx(expected, rel=1e-5)
    head = int(run.method.queue.head)
    run.method.remember(step)
    entered = run.method.queue.keys.roll(-head, dims=0)[: len(step.keys)]
    assert np.allclose(entered, keys[0] + keys[1] if symmetric else keys[1], atol=1e-6)


# -- HCSC -------------------------------------------------------------------------------------------------------


def hcsc_by_loop(run, batch, seed):
    """One InfoNCE for each level, summed, with "removed" logits of 0; one for each small crop, without a selection;
    prototype terms of all queries, summed over queries and averaged over levels."""
    method, tree, tau = run.method, run.tree, run.recipe.settings.temperature
    draws = Draws(generator("cpu", seed, 0, "draws"))
    local = [numbers(method.project(view)) for view in batch.views[2:]]
    query, keys = numbers(method.project(batch.views[0])), numbers(method.project_key(batch.views[1]))
    queue, items, size = numbers(method.queue.keys), batch.items[:, 0].tolist(), len(batch.items)
    levels = range(tree.levels)
    centres, phi = ([numbers(level) for level in part] for part in (tree.centroids, tree.concentration))

    def posterior(point, level):
        scores = [math.exp(dot(point, c) / p) for c, p in zip(centres[level], phi[level], strict=True)]
        whole = sum(scores)
        return [score / whole for score in scores]

    total, selects = 0.0, method.config.select in ("instances", "both")
    if selects:
        for level in levels:
            drawn, of_old = draws.uniform(size, size + len(queue)).tolist(), [posterior(old, level) for old in queue]
            for i, q in enumerate(query):
                own = int(tree.assignment[items[i], level])
                kept = [drawn[i][size + j] < min(max(1 - pi[own], 0.0), 0.999) for j, pi in enumerate(of_old)]
                others = [dot(q, old) / tau if keep else 0.0 for old, keep in zip(queue, kept, strict=True)]
                total += info_nce(dot(q, keys[i]) / tau, others) / size
    for one in local if selects else [query, *local]:
        total += contrasted(one, keys, queue, tau)

    for one in [query, *local]:
        for level in levels:
            assigned = tree.assignment[:, level].tolist()
            own = [assigned[item] for item in items]
            negatives = [c for c in range(max(assigned)) if c not in own]
            selective = level > 0 and method.config.select in ("prototypes", "both")
            drawn = draws.uniform(size, len(centres[level])).tolist() if selective else None
            of_centre = {c: posterior(centres[level][c], level - 1) for c in negatives if selective}
            for i, q in enumerate(one):
                others = []
                for c in negatives:
                    keep = True
                    if selective:
                        pi = of_centre[c][int(tree.parent[level][own[i]])]
                        keep = drawn[i][c] < min(max(1 - pi, 1e-4), 0.999)
                    others.append(dot(q, centres[level][c]) / phi[level][c] if keep else 0.0)
                logit = dot(q, centres[level][own[i]]) / phi[level][own[i]]
                total += info_nce(logit, others) / size / tree.levels
    return total


@pytest.mark.parametrize(
    "prototypes, more",
    [
        ((9, 20), {}),
        ((9, 20), {"local_crops": 2}),
        ((4, 12, 24), {}),
        ((4, 12, 24), {"select": "none", "local_crops": 1}),
        ((4, 12, 24), {"select": "prototypes"}),
    ],
    ids=str,
)
def test_hcsc(prototypes, more):
    data = pictures(64)
    run = hiercl.fit("hcsc", data, official=True, prototypes=prototypes, warm_up=0.5, **IMAGES, **more)
    step, batch = taken(run, data)
    assert step.loss.item() == pytest.approx(hcsc_by_loop(run, batch, seed=3), rel=1e-5)
    last = step.terms[-1].pairs  # the finest prototypes: some are open to be pushed, some are not
    left_alone = ~(last.negative | last.removed)
    assert left_alone.sum() > 2 * len(batch.items) and not left_alone.all()
    assert (batch.items == run.method.queue.items).any()
    assert run.method.plan[2:] == () or run.method.plan[2].pixels(224) == 192


def test_hcsc_in_its_warm_up_is_moco_with_one_term_for_each_crop():
    data = pictures(48)
    with pytest.warns(UserWarning, match="warm_up lasts"):
        run = hiercl.fit("hcsc", data, official=True, warm_up=1.0, local_crops=1, prototypes=(2, 4), **IMAGES)
    step, batch = taken(run, data)
    queries = [numbers(run.method.project(view)) for view in (batch.views[0], batch.views[2])]
    keys, queue = numbers(run.method.project_key(batch.views[1])), numbers(run.method.queue.keys)
    assert step.loss.item() == pytest.approx(sum(contrasted(q, keys, queue, 0.2) for q in queries), rel=1e-5)


def test_negatives_of_prototypes_may_all_be_gone():
    """Few prototypes and a large batch: every prototype is positive for some anchor. The terms are 0."""
    data = pictures(64)
    run = hiercl.fit("hcsc", data, official=True, prototypes=(2, 4), warm_up=0.5, **IMAGES)
    terms = {term.name: term for term in run.step(data, batch=64).terms}
    assert terms["prototype 0"].loss == 0 and not terms["prototype 0"].pairs.negative.any()
    ours = run.changed(prototype_negatives="others").step(data, batch=64)
    assert all(term.pairs.negative.any() for term in ours.terms)


# -- CsMl -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epochs, other", [(1, 0.0), (2, 0.5)], ids=["first epochs", "later"])
@pytest.mark.filterwarnings("ignore:csml. neighbour_start lasts")
def test_csml(epochs, other):
    """Three queries at the last stage, a softmax of its own for either key; anchors' keys alone are queued."""
    data = pictures(48)
    run = hiercl.fit("csml", data, official=True, **IMAGES | {"epochs": epochs})
    step, batch = taken(run, data)
    first, key_view, second, second_key_view = batch.views
    share, *place = Draws(generator("cpu", 3, 0, "draws")).common(5).double().split([3, 1, 1])
    side, size = math.sqrt(1 - float(share.median())), first.shape[2]
    mixed, area = first.clone(), 1
    box = []
    for centre in place:
        middle, half = int(float(centre) * size), int(side * size) // 2
        box.append(slice(max(middle - half, 0), min(middle + half, size)))
        area *= box[-1].stop - box[-1].start
    mixed[:, :, box[0], box[1]] = second[:, :, box[0], box[1]]
    lam = 1 - area / size**2
    assert 0 < lam < 1
    q, q_near, q_mixed = (numbers(run.method.project(view)) for view in (first, second, mixed))
    k, k_near = (numbers(run.method.project_key(view)[:, 0]) for view in (key_view, second_key_view))
    queue = numbers(run.method.queue.keys)
    ell = lambda query, keys: contrasted(query, keys, queue, 0.2)  # noqa: E731
    expected = (1 - other) * ell(q, k) + other * ell(q, k_near)
    expected += (1 - other) * ell(q_near, k_near) + other * ell(q_near, k)
    expected += lam * ell(q_mixed, k) + (1 - lam) * ell(q_mixed, k_near)
    assert step.loss.item() == pytest.approx(expected / 3, rel=1e-5)
    assert run.method.stages == (3,) and len(step.keys) == len(batch.items)
    assert (batch.items[:, 1, None] == run.method.queue.items).any()  # old keys of a neighbour: pushed


def test_csmls_schedule_is_that_of_200_epochs():
    config = methods.get("csml").Config(**methods.in_full("csml", {"official": True}))
    info = methods.TrainingInfo(items=60, epochs=200, steps_per_epoch=1)
    made = methods.CsMl(hiercl.fit("moco", pictures(48), epochs=0, **QUIET).encoder, config, info)
    assert made.warm_up_epochs == 11 and made.mining_epochs == 5


# -- SupCon and the hierarchical family -------------------------------------------------------------------------

# Columns from coarse to fine, with numbers that do not grow from left to right in the tree: the order of the classes of
# one level is not that of the classes below.
TREES = {
    2: [[0, 3], [1, 1], [0, 2], [1, 0]],
    3: [[0, 2, 3], [1, 1, 1], [0, 0, 5], [0, 2, 2], [1, 1, 0], [0, 0, 4]],
    4: [[0, 0, 3, 0], [0, 0, 1, 5], [0, 0, 1, 4], [0, 1, 2, 1], [0, 1, 0, 6], [1, 2, 4, 2], [1, 3, 5, 3]],
}


def planted(levels, separation, n=64):
    """Vectors of leaf classes whose centres lie farther apart than one standard deviation, or nearer."""
    tree = np.array(TREES[levels])
    tree = tree[np.argsort(tree[:, -1])]
    rng = np.random.default_rng(levels)
    labels = rng.permutation(np.arange(n) % len(tree))
    items = separation * rng.normal(size=(len(tree), 12))[labels] + rng.normal(size=(n, 12))
    hierarchy = hiercl.Hierarchy.from_ancestors(tree)
    return hiercl.HierarchicalDataset.from_features(items.astype(np.float32), labels, hierarchy), tree[labels]


def supcon_by_loop(views, same, tau):
    """Mean over 2n views of −τ/0.07 · mean log-probability of the positives; ``views``: first views, second views."""
    n, losses = len(views) // 2, []
    for i, anchor in enumerate(views):
        logits = [dot(anchor, other) / tau for other in views]
        rest = math.log(sum(math.exp(logit) for a, logit in enumerate(logits) if a != i))
        losses.append(mean(rest - logits[p] for p in range(2 * n) if p != i and same(i % n, p % n)))
    return tau / 0.07 * mean(losses)


def hmlc_by_loop(kind, first, second, columns, tau):
    """HMC, HCE and HMCE: labels as columns, the item's number last. After every level the first item of every class
    stays, and what stays is sorted by class."""
    rows, width, total, worst, acts = list(range(len(columns))), len(columns[0]), 0.0, -math.inf, []
    for level in range(1, width):
        prefix = [tuple(columns[i][: width - level]) for i in rows]
        views = [part[i] for part in (first, second) for i in rows]
        loss = supcon_by_loop(views, lambda i, p, prefix=prefix: prefix[i] == prefix[p], tau)
        if level > 1:
            acts.append(worst > loss)
        if kind != "hmc":
            loss = max(loss, worst)
        total += loss * (1.0 if kind == "hce" else math.exp(1 / level))
        worst = max(worst, loss)
        stays = {}
        for i, of in zip(rows, prefix, strict=True):
            stays.setdefault(of, i)
        rows = [stays[of] for of in sorted(stays)]
    return total / width, acts


SEEN = {"epochs": 0, "temperature": 0.02, **QUIET}


@pytest.mark.parametrize("levels", TREES)
def test_supcon(levels):
    data, columns = planted(levels, 1.0)
    step, batch = taken(run := hiercl.fit("supcon", data, official=True, **SEEN), data, batch=20)
    first, second = (numbers(run.method.project(view)) for view in batch.views)
    leaf = columns[batch.items[:, 0], -1]
    expected = supcon_by_loop(first + second, lambda i, p: leaf[i] == leaf[p], 0.02)
    assert step.loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("levels", TREES)
def test_the_hierarchical_family(levels):
    """Classes near one another, where the fine loss replaces the coarse ones, and far apart, where it does not."""
    acted = set()
    for separation, kinds in ((0.1, ("hmce",)), (6.0, ("hmc", "hce", "hmce"))):
        data, columns = planted(levels, separation)
        for kind in kinds:
            step, batch = taken(run := hiercl.fit(kind, data, official=True, **SEEN), data, batch=20)
            items = batch.items[:, 0].tolist()
            seen = [[*columns[item].tolist(), item] for item in items]
            first, second = (numbers(run.method.project(view)) for view in batch.views)
            expected, acts = hmlc_by_loop(kind, first, second, seen, 0.02)
            assert step.loss.item() == pytest.approx(expected, rel=1e-5), (kind, separation)
            acted |= set(acts)
    assert acted == {True, False}


def test_official_hmce_is_supcon_only_while_the_fine_loss_is_the_larger_one():
    """Two levels. The factor is (e + √e)/3; on classes far apart HMCE is more than that."""
    ratio = {}
    for separation in (0.1, 6.0):
        data, _ = planted(2, separation)
        hmce, supcon = (
            hiercl.fit(name, data, official=True, **SEEN).step(data, batch=32) for name in ("hmce", "supcon")
        )
        ratio[separation] = hmce.loss.item() / supcon.loss.item() / ((math.e + math.sqrt(math.e)) / 3)
    assert ratio[0.1] == pytest.approx(1, abs=1e-5) and ratio[6.0] > 1.01


def test_official_thinning_differs_from_the_lowest_item_where_it_should():
    data, columns = planted(4, 1.0)
    official = hiercl.fit("hmc", data, official=True, **SEEN)
    lowest = official.changed(thinning_keeps="lowest")
    kept = [
        [set(term.pairs.anchors.item[term.pairs.negative.any(dim=1)].tolist()) for term in run.step(data).terms]
        for run in (official, lowest)
    ]
    items = range(len(data))
    assert [len(level) for level in kept[0]] == [4, 6, 7, 64] == [len(level) for level in kept[1]]
    for level, finer in ((0, 1), (1, 2), (2, 3)):
        assert kept[1][level] == {min(i for i in items if columns[i, finer] == c) for c in set(columns[:, finer])}
    assert all(a != b for a, b in zip(kept[0][:3], kept[1][:3], strict=True)) and kept[0][0] < kept[0][1] < kept[0][2]


# -- the preset -------------------------------------------------------------------------------------------------


def test_given_settings_win_and_the_run_keeps_the_result(tmp_path):
    data = pictures(48)
    settings = SMALL | {"epochs": 0, "queue": 32, "prototypes": (2, 4)}
    run = hiercl.fit("hcsc", data, official=True, removed="excluded", out=tmp_path / "run", **settings)
    expected = {**methods.HCSC.Config.official, "removed": "excluded"}
    for kept in (run.recipe.settings, hiercl.load_run(tmp_path / "run").recipe.settings):
        assert {name: getattr(kept, name) for name in expected} == expected
    again = hiercl.fit("hcsc", data, official=True, removed="excluded", out=tmp_path / "run", resume=True, **settings)
    assert again.recipe.settings == run.recipe.settings
    changed = hiercl.fit("hcsc", data, **settings).changed(official=True, removed="excluded")
    assert changed.recipe.settings == run.recipe.settings


def test_every_official_setting_is_one_of_its_method():
    for name in methods.names():
        config = methods.get(name).Config
        assert config(**config.official).to_json().items() >= {k: v for k, v in config.official.items()}.items()
    official = {name for name in methods.names() if methods.get(name).Config.official}
    assert official == {"moco", "hcsc", "csml", "supcon", "hmc", "hce", "hmce"}


@pytest.mark.parametrize("name", ["simclr", "g_hmlc", "a_hmlc"])
def test_without_an_official_code(name):
    with pytest.raises(ValueError, match=f"no official form of {name} is known here. These methods have one: moco, "):
        hiercl.fit(name, pictures(48), official=True, epochs=0, **QUIET)
    with pytest.raises(ValueError, match="official='yes': it must be True or False"):
        methods.in_full("moco", {"official": "yes"})


def test_in_a_study_it_is_the_settings_that_it_stands_for():
    data = pictures(48)
    facts = lambda which: RunData.of(which, (data, data)).facts  # noqa: E731
    base = {"method": "hmc", "epochs": 1}
    short = configuration(canonical(base | {"official": True, "thinning": False}), 0, facts)
    long = configuration(canonical(base | {**methods.HMC.Config.official, "thinning": False}), 0, facts)
    assert short.training_hash == long.training_hash
    assert short.training_hash != configuration(canonical(base), 0, facts).training_hash
    plan = hiercl.Study({**base, "official": True}, {"HMC": {}, "CsMl": {"method": "csml"}}, seeds=1).of(data, data)
    made = {member.variant: member.configuration.complete["method_settings"] for member in plan.members()}
    assert made["CsMl"]["stages"] == "last" and made["HMC"]["thinning_keeps"] == "official"


def test_on_the_command_line(tmp_path, capsys):
    flags = ["--out", str(tmp_path / "run"), "--epochs", "0", "--queue", "32", "--batch", "8", "--prototypes", "2", "4"]
    pictures(48).save(tmp_path / "stripes")
    main(["train", "hcsc", "--data", str(tmp_path / "stripes"), "--official", "--removed", "excluded", *flags])
    kept = json.loads((tmp_path / "run" / "config.json").read_text())["method_settings"]
    assert kept["removed"] == "excluded" and kept["reduce"] == "official" and kept["mask_own"] is False
    with pytest.raises(SystemExit, match=re.escape("hiercl: official=True: no official form of simclr")):
        main(["train", "simclr", "--official", "--out", str(tmp_path / "other")])
