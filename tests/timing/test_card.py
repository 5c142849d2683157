"""Whether a GPU holds a study: the training that needs most decides."""

from types import SimpleNamespace

import pytest
import torch
from pretended_gpu import pretended_gpu
from studies import graph_of

from swdb.core.errors import BadInput
from swdb.nn.memory import Needs
from swdb.specs.presets import load_preset
from swdb.timing.card import card_lines, needs_of_kinds, refuse_too_small, verdict
from swdb.timing.rates import read_rates

from .conftest import finish

GIB = 2**30


@pytest.mark.parametrize(
    ("free", "ending"),
    [
        (12 * GIB, "needs 7.0 GiB, and 4.0 GiB for all images: it fits"),
        (8 * GIB, "needs 7.0 GiB: it fits, its images (4.0 GiB) stay outside"),
        (6 * GIB, "needs 7.0 GiB: it does not fit"),
    ],
)
def test_a_gpu_holds_everything_the_training_alone_or_nothing(free, ending):
    needs = Needs(weights=GIB, moments=2 * GIB, step=2 * GIB, store=4 * GIB)  # and 2 GiB beside tensors
    line = verdict("a card", free, "dual-kl", needs)
    assert line == f"GPU: a card has {free // GIB}.0 GiB free; a dual-kl training {ending}"


def everything(graph):
    return graph.needed(
        graph.proxies(2), *(graph.run(graph.run_spec(name), 0) for name in ("strong", "dual", "dual-kl"))
    )


def test_every_kind_of_training_is_counted_once(graph):
    found = needs_of_kinds(graph.study, everything(graph))
    assert found.keys() == {"classifier", "dsrg-1", "dsrg-2", "single", "dual", "dual-kl"}
    assert all(one.weights > 0 and one.step > 0 for one in found.values())
    assert found["dual-kl"].step > found["dual"].step


def test_what_is_finished_needs_nothing(graph):
    run = graph.run(graph.run_spec("dual"), 0)
    finish(run)
    assert needs_of_kinds(graph.study, [run, graph.data]) == {}
    assert card_lines(graph.study, [run], read_rates(graph.study), "cuda") == []


def test_a_peek_needs_what_its_run_needs(graph):
    spec = graph.run_spec("dual")
    expected = needs_of_kinds(graph.study, [graph.run(spec, 0)])
    finish(graph.run(spec, 0))
    assert needs_of_kinds(graph.study, [graph.run(spec, 0), graph.peek(spec, 0)]) == expected


def test_the_paper_s_scale_needs_what_was_counted_by_hand(tmp_path):
    graph = graph_of(tmp_path, load_preset("voc"))
    found = needs_of_kinds(graph.study, [graph.run(graph.run_spec("dual"), 0)])["dual"]
    assert 3.5 < found.tensors / GIB < 5.5  # fp32: 4.3


@pytest.mark.parametrize(("memory", "fits"), [(24 << 30, True), (1 << 30, False)])
def test_a_gpu_is_asked_what_it_has(graph, memory, fits):
    artefacts = everything(graph)
    with pretended_gpu(memory):
        (line,) = card_lines(graph.study, artefacts, read_rates(graph.study), "cuda")
    assert line.startswith("GPU: a pretended GPU has ") and line.endswith("it fits") == fits


def test_on_a_cpu_nothing_is_said_and_a_gpu_that_is_not_there_is(graph):
    rates = read_rates(graph.study)
    assert card_lines(graph.study, everything(graph), rates, "cpu") == []
    (line,) = card_lines(graph.study, everything(graph), rates, "cuda:9")
    assert line.startswith("GPU: --device cuda:9")


def test_a_gpu_that_can_never_hold_what_is_left_is_refused_before_anything_begins(graph, monkeypatch):
    cards = [SimpleNamespace(name="small", total_memory=GIB), SimpleNamespace(name="large", total_memory=80 * GIB)]
    monkeypatch.setattr(torch.cuda, "get_device_properties", cards.__getitem__)
    refuse_too_small(graph.study, everything(graph), [1])
    refuse_too_small(graph.study, [graph.data], [0, 1])
    with pytest.raises(BadInput) as caught:
        refuse_too_small(graph.study, everything(graph), [1, 0])
    assert caught.value.subject == "GPU 0"
    assert caught.value.found.startswith("small has 1.0 GiB, and a ")
