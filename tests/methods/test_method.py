"""What every method must do, whatever its network: each of those that tables may name is held to it."""

import pytest
import torch
from conftest import TINY
from decoupled import ALL, FIVE
from studies import CPU, changed

from swdb.methods.method import METHODS
from swdb.nn.model import Model
from swdb.nn.networks import BACKBONES, Backbone, Preprocessing
from swdb.specs import methods
from swdb.specs.presets import load_preset
from swdb.specs.tables import all_runs, load_tables
from swdb.specs.tasks import run_task

PRESET = load_preset(TINY)
NUM_CLASSES = 6
RUNS = all_runs(load_tables()) | {run.name: run for run in (FIVE, ALL)}


def build(run, seed=0):
    torch.manual_seed(seed)
    return METHODS[run.method].network(run_task(PRESET, run), NUM_CLASSES)


def images(size=22):
    """Inputs of a size that no backbone's stride divides."""
    return torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(0))


def batch(run):
    """A batch as the method's blank one, with contents: 0 and 1, which are labels and flags, too."""
    generator = torch.Generator().manual_seed(0)
    return tuple(
        torch.randint(0, 2, part.shape, generator=generator).to(part.dtype)
        for part in METHODS[run.method].blank(run_task(PRESET, run), NUM_CLASSES)
    )


def test_the_methods_are_those_that_tables_may_name():
    assert METHODS.keys() == methods.METHODS.keys()
    assert {run.method for run in RUNS.values()} <= METHODS.keys()


@pytest.mark.parametrize(
    ("method", "backbone"),
    [(name, one) for name, words in methods.METHODS.items() for one in BACKBONES if words.can_be_built_on(one)],
)
def test_a_network_has_the_presets_backbone_to_take_initial_weights(method, backbone):
    with torch.device("meta"):
        run = next(one for one in RUNS.values() if one.method == method)
        network = METHODS[method].network(run_task(changed(PRESET, "network", backbone=backbone), run), NUM_CLASSES)
        wanted = BACKBONES[backbone]().state_dict()
    assert isinstance(network.backbone, Backbone) or not methods.METHODS[method].at_points
    assert {name: value.shape for name, value in network.backbone.state_dict().items()} == {
        name: value.shape for name, value in wanted.items()
    }


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_first_values_are_drawn_from_torchs_generator_alone(run):
    one, again, other = build(run).state_dict(), build(run).state_dict(), build(run, seed=1).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in one.items())
    assert not all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_every_parameter_that_learns_is_in_one_group_and_learns_from_some_loss(run):
    network = build(run).train()
    groups = METHODS[run.method].groups(network, run_task(PRESET, run))
    trained = [id(parameter) for group in groups for parameter in group["params"]]
    assert len(trained) == len(set(trained))
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    assert set(trained) == {id(parameter) for parameter in learning}
    assert all(group["lr"] > 0 for group in groups)
    terms = METHODS[run.method].losses(network, batch(run), run_task(PRESET, run))
    assert all(term.shape == () and term.isfinite() for term in terms.values())
    sum(terms.values()).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in learning)


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_every_branch_predicts_probabilities_of_the_inputs_size(run):
    model, inputs = Model(build(run).eval(), Preprocessing(), CPU), images()
    for branch in run.branches:
        found = METHODS[run.method].predict(model, inputs, branch, (0.75, 1.0), True)
        assert found.shape == (4, NUM_CLASSES, 22, 22)
        assert found.dtype == torch.float32
        assert not found.requires_grad
        torch.testing.assert_close(found.sum(1), torch.ones(4, 22, 22))
