"""The paper's mechanism on the synthetic preset, 3 seeds: mixed < strong alone < dual, by the rule of swdb.claims.

Slow (about 15 minutes on two cores): `make mechanism`. A claim that does not show is a failure here, and the one that is
known not to show is marked so; nothing is tuned to make it pass. The rule must also be able to say no: three planted
faults, each of which must turn it red.
"""

import os
import shutil

import pytest
import torch

from swdb.methods import training
from swdb.nn import losses
from swdb.nn.compute import machine
from swdb.specs import claims
from swdb.study.runner import Pipeline
from swdb.study.workdir import open_work

pytestmark = pytest.mark.slow
SEEDS = (0, 1, 2)
ROW = "dual-n0"  # faults are planted in the row where two branches gain most: where nothing shows, nothing can turn red


class Loud:
    """Says which run is under way: ten minutes of silence look like a hang."""

    def stage(self, name, total, counts=False):
        print(f"{name} ...", flush=True)
        return lambda done, of: None

    def tell(self, line):
        print(line, flush=True)


def measure(folder, name, seeds=SEEDS):
    """Train and score a run by its strong branch; returns mIoU by seed."""
    torch.set_num_threads(os.cpu_count() or 1)  # the quick tests keep to one
    work = open_work(folder, "synthetic")
    pipeline = Pipeline(work, machine("auto", work.precision), Loud())
    run, scoring = work.recipe(name), work.scoring("strong")
    plan = work.plan([run], seeds)
    pipeline.make(plan)
    by_seed = {seed: pipeline.score(work.run(run, seed), scoring)["miou"] for seed in seeds}
    print(name, {seed: round(value, 2) for seed, value in by_seed.items()}, flush=True)
    return by_seed


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mechanism") / "work"
    return folder, {name: measure(folder, name) for name in ("mixed", "strong", "dual", ROW)}


def test_mixing_is_worse_than_strong_labels_alone(honest):
    _, by_run = honest
    verdict = claims.decide(by_run["mixed"], by_run["strong"])
    assert verdict.word == "CONFIRMED", verdict


@pytest.mark.xfail(strict=False, reason="UNDECIDED with DSRG's proxies: results/synthetic/table2.md")
def test_two_branches_gain_over_strong_labels_alone(honest):
    _, by_run = honest
    verdict = claims.decide(by_run["strong"], by_run["dual"])
    assert verdict.word == "CONFIRMED", verdict


def swapped(network, pictures, labels, num_strong, run, training):
    """Fault: each head learns from the other branch's images."""
    features = network.features(pictures)
    strong, weak = network.logits(features[num_strong:], "strong"), network.logits(features[:num_strong], "weak")
    return {
        "strong": losses.cross_entropy(strong, labels[num_strong:]),
        "weak": losses.cross_entropy(weak, labels[:num_strong]),
    }


def merged(network, pictures, labels, num_strong, run, training):
    """Fault: both losses reach the strong head, and the weak head none."""
    logits = network.logits(network.features(pictures), "strong")
    return {
        "strong": losses.cross_entropy(logits[:num_strong], labels[:num_strong]),
        "weak": losses.cross_entropy(logits[num_strong:], labels[num_strong:]),
    }


def detached(network, pictures, labels, num_strong, run, training):
    """Fault: the weak loss does not reach what the branches share."""
    features = network.features(pictures)
    weak = network.logits(features[num_strong:].detach(), "weak")
    return {
        "strong": losses.cross_entropy(network.logits(features[:num_strong], "strong"), labels[:num_strong]),
        "weak": losses.cross_entropy(weak, labels[num_strong:]),
    }


@pytest.mark.parametrize("fault", [swapped, merged, detached], ids=lambda fault: fault.__name__)
def test_a_planted_fault_turns_the_rule_red(honest, fault, monkeypatch, tmp_path):
    folder, by_run = honest
    assert claims.decide(by_run["strong"], by_run[ROW]).word == "CONFIRMED"
    planted = tmp_path / "work"
    shutil.copytree(folder, planted, ignore=shutil.ignore_patterns("dual-*"))
    monkeypatch.setattr(training, "losses", fault)
    verdict = claims.decide(by_run["strong"], measure(planted, ROW))
    assert verdict.word != "CONFIRMED", f"the rule did not notice the fault {fault.__name__}: {verdict}"
