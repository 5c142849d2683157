"""DecoupledNet as a method: its runs train behind a frozen recognizer, settle before the last weights, and predict alone."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from conftest import TINY
from decoupled import ALL, FIVE, SOURCE, made, planned
from studies import CPU, Watcher, changed, runner

from swdb.core.errors import BadInput
from swdb.core.files import file_digest
from swdb.methods import training
from swdb.methods.decoupled_network import BatchNorm
from swdb.methods.decouplednet import DecoupledNet, asked_side
from swdb.methods.training import build, load_trained, run_needs
from swdb.nn.checkpoints import load_tensors
from swdb.nn.losses import cross_entropy
from swdb.nn.model import Model
from swdb.nn.networks import Preprocessing
from swdb.nn.trainer import seed_initial
from swdb.specs.presets import load_preset
from swdb.specs.tasks import run_task
from swdb.study.stages import RUN

PRESET, METHOD, NUM_CLASSES = load_preset(TINY), DecoupledNet(), 6
TASK = run_task(PRESET, FIVE)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A work directory with a finished run of five images a class, scored."""
    folder = tmp_path_factory.mktemp("decoupled") / "work"
    made(folder)
    return folder


@pytest.fixture
def untrained(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "work", ignore=shutil.ignore_patterns("runs", "costs"))


def network(seed=0):
    seed_initial(seed)
    return METHOD.network(TASK, NUM_CLASSES)


# ---------------------------------------------------------------- artefacts


def test_a_run_is_made_from_data_and_recognizer_and_that_from_initial_weights(tmp_path):
    graph, score = planned(tmp_path)
    run = score.input("run")
    assert [one.kind for one in run.inputs] == ["data", "recognizer"]
    assert run.input("recognizer") is graph.recognizer
    assert [one.kind for one in graph.recognizer.inputs] == ["data", "weights"]
    assert run.steps == 6 and graph.run(ALL, 0).steps == 8  # as [decouplednet] says for 5 images a class, and for all
    assert [one.kind for one in graph.needed(score)] == ["data", "weights", "recognizer", "run", "score", "recognition"]


def test_settings_of_the_other_method_do_not_enter_and_its_own_do(tmp_path):
    ids = lambda preset: planned(tmp_path, preset)[1].input("run").id  # noqa: E731
    same = changed(changed(PRESET, "training", lr_new=0.5, steps=9), "network", neck_channels=32)
    assert ids(same) == ids(PRESET)
    others = [
        changed(PRESET, "decouplednet", lr=0.5),
        changed(PRESET, "decouplednet", recognizer_steps=9),
        changed(PRESET, "training", longest_side=24),
        changed(PRESET, "network", backbone="vgg16", weights="random"),
    ]
    assert len({ids(preset) for preset in (PRESET, *others)}) == 5


def test_all_runs_share_one_recognizer_that_hangs_on_its_own_settings_alone(tmp_path):
    graph, _ = planned(tmp_path)
    assert graph.run(FIVE, 0).input("recognizer") is graph.run(replace(ALL), 3).input("recognizer")
    other = planned(tmp_path, changed(PRESET, "decouplednet", channels=32, lr=0.5, steps=(7, 9)))[0]
    assert other.recognizer.id == graph.recognizer.id
    for values in ({"recognizer_lr_new": 0.5}, {"size": 24}, {"tags": "crop"}, {"decay_at": (0.75, 0.5)}):
        assert planned(tmp_path, changed(PRESET, "decouplednet", **values))[0].recognizer.id != graph.recognizer.id


def test_its_strong_images_are_those_of_our_own_row_with_the_same_seed(finished, tmp_path):
    graph, score = planned(shutil.copytree(finished, tmp_path / "work"))
    ours = graph.run(replace(graph.run_spec("dual-5"), weak_branch="all-strong"), 0)
    runner().make(graph.needed(ours))
    drawn = [json.loads((run.folder / "samples.json").read_text()) for run in (ours, score.input("run"))]
    assert drawn[0] == drawn[1]


# ---------------------------------------------------------------- training


def test_the_recognizer_is_frozen_to_the_last_bit(finished):
    graph, score = planned(finished)
    before = load_tensors(graph.recognizer.folder / "weights.pt")
    after = load_tensors(score.input("run").folder / "weights.pt")
    assert len(before) > 10
    assert all(torch.equal(value, after[f"recognizer.{name}"]) for name, value in before.items())
    fresh = build(score.input("run"), NUM_CLASSES, CPU).network.state_dict()
    moved = [name for name in fresh if name.startswith("decoder.") and not torch.equal(fresh[name], after[name])]
    assert any(name.endswith("weight") for name in moved)


def test_the_loss_is_the_cross_entropy_of_the_set_asked_for_and_moves_the_decoder_alone():
    net, (inputs, masks, asked) = network().train(), METHOD.blank(TASK, NUM_CLASSES)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(inputs.shape, generator=generator)
    masks, asked = torch.randint(0, 2, masks.shape, generator=generator), torch.ones_like(asked)
    masks[:, :4] = 255
    terms = METHOD.losses(net, (inputs, masks, asked), TASK)
    torch.testing.assert_close(terms["asked"], cross_entropy(net(inputs, asked), masks))
    terms["asked"].backward()
    assert all(parameter.grad is None for parameter in net.recognizer.parameters())
    assert all(parameter.grad.abs().max() > 0 for parameter in net.decoder.parameters())


@pytest.mark.parametrize("at", [0, 3, 5, 6])  # in a step, or while batch statistics are taken
def test_a_run_that_was_killed_ends_with_the_same_weights(finished, untrained, monkeypatch, at):
    _, score = planned(untrained)
    run = score.input("run")
    monkeypatch.setattr("swdb.nn.trainer.CHECKPOINT_SECONDS", 0.0)
    name = "settle" if at == 6 else "losses"
    real, calls = getattr(DecoupledNet, name), []

    def killed(method, *given):
        calls.append(1)
        if name == "settle" or len(calls) == at + 1:
            raise KeyboardInterrupt
        return real(method, *given)

    with monkeypatch.context() as patch:
        patch.setattr(DecoupledNet, name, killed)
        with pytest.raises(KeyboardInterrupt):
            runner().make([run])
    assert not run.done and (run.folder / "checkpoint.pt").is_file() == (at > 0)
    runner().make([run])
    assert run.digest() == file_digest(finished / "runs" / run.id / "weights.pt")
    assert (run.folder / "log.jsonl").read_bytes() == (finished / "runs" / run.id / "log.jsonl").read_bytes()


# ---------------------------------------------------------------- batch statistics


def test_the_last_weights_hold_statistics_without_which_it_would_score_otherwise(finished):
    _, score = planned(finished)
    model = load_trained(score.input("run"), NUM_CLASSES, CPU)
    inputs = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    tags = torch.ones(2, NUM_CLASSES - 1, dtype=torch.bool)
    found = METHOD.predict(model, inputs, "strong", (1.0,), False, tags)
    for layer in model.network.modules():
        if isinstance(layer, BatchNorm):
            layer.reset_running_stats()
    assert (METHOD.predict(model, inputs, "strong", (1.0,), False, tags) - found).abs().max() > 1e-3


def test_to_look_at_it_on_the_way_changes_nothing(finished, tmp_path):
    graph, score = planned(shutil.copytree(finished, tmp_path / "work"))
    peek = graph.peek(FIVE, 0)
    runner().make([peek])  # which compares its end with the run's own weights
    record = peek.read_record()
    assert record["last"]["strong"] == score.read_record()["miou"]
    assert len({one["strong"] for one in record["curve"].values()}) > 2


def test_compiled_and_planned_needs_are_those_of_its_own_optimizer():
    sgd = replace(TASK, decouplednet=replace(TASK.decouplednet, optimizer="sgd"))
    adam, less = (run_needs(task, NUM_CLASSES, "fp32") for task in (TASK, sgd))
    assert less.step == adam.step > 0 and 2 * less.moments == adam.moments


# ---------------------------------------------------------------- prediction


def test_scales_ask_about_squares_of_whole_cells_that_fc6_fits_into():
    net = network()
    cell = 8
    assert [asked_side(net, scale) for scale in (1.0, 1.25, 0.75)] == [32, 40, 24]
    assert asked_side(net, 0.1) == cell * TASK.decouplednet.kernel


def test_a_prediction_is_the_mean_over_scales_and_mirrors_each_asked_about():
    model = Model(network().eval(), Preprocessing(), CPU)
    inputs = torch.randn(2, 3, 20, 28, generator=torch.Generator().manual_seed(1))
    tags = torch.ones(2, NUM_CLASSES - 1, dtype=torch.bool)
    found = METHOD.predict(model, inputs, "strong", (0.75, 1.0), True, tags)
    views = [METHOD.view(model, inputs, ("strong",), s, m, tags)["strong"] for s in (0.75, 1.0) for m in (False, True)]
    torch.testing.assert_close(found, torch.stack(views).mean(0))
    assert found.shape == (2, NUM_CLASSES, 20, 28) and not found.requires_grad
    mirrored = METHOD.view(model, inputs.flip(-1), ("strong",), 1.0, True, tags)["strong"]
    torch.testing.assert_close(mirrored, METHOD.view(model, inputs, ("strong",), 1.0, False, tags)["strong"].flip(-1))


# ---------------------------------------------------------------- what it cannot learn from


def test_a_class_without_strong_images_is_refused_before_a_step_is_taken(untrained, monkeypatch):
    _, score = planned(untrained)
    real = training.gather

    def fewer(*given):
        material = real(*given)
        tags = material.dataset.tags(material.strong_ids)
        return replace(material, strong=material.strong[~tags[:, 0]])

    monkeypatch.setattr(training, "gather", fewer)
    with pytest.raises(BadInput) as caught:
        runner(Watcher()).make([score.input("run")])
    assert "'alpha'" in caught.value.found and not (score.input("run").folder / "log.jsonl").exists()


def test_and_before_hours_of_training_where_no_strong_image_has_it_at_all(finished):
    _, score = planned(finished)
    dataset = runner().dataset(score.input("data"))
    hidden = SimpleNamespace(
        ids=dataset.ids,
        class_names=dataset.class_names,
        list_path=dataset.list_path,
        facts=dataset.facts,
        tags=lambda ids: dataset.tags(ids) & [1, 1, 1, 0, 1],
    )
    tools = SimpleNamespace(dataset=lambda artefact: hidden)
    with pytest.raises(BadInput) as caught:
        RUN.check(score.input("run"), tools)
    assert "'delta'" in caught.value.found and "'decoupled-5'" in caught.value.found
    graph, _ = planned(finished)
    RUN.check(graph.run(graph.run_spec("dual-5"), 0), tools)  # which learns from proxies, too


def test_a_score_of_it_is_told_from_one_of_ours(finished):
    graph, score = planned(finished)
    assert graph.score(SOURCE, 0).id == score.id != graph.score(SOURCE, 1).id
    record = score.read_record()
    assert record["branch"] == "strong" and record["run"] == score.input("run").id
