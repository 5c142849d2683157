"""What the recognizer finds, counted by hand, and what true tags in its place would score."""

import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from conftest import TINY
from decoupled import FIVE, made, planned
from studies import CPU, Watcher, runner

from swdb.data.facts import VAL_SPLIT
from swdb.evaluation.confusion import confusion, miou
from swdb.evaluation.recognition import average_precision, tags_of
from swdb.methods.decoupled_prediction import black, predict, tag_probabilities, to_squares
from swdb.methods.training import load_trained
from swdb.nn.checkpoints import WEIGHTS, save_tensors
from swdb.reports.results import runs_behind
from swdb.specs.presets import load_preset
from swdb.study.stages import RECOGNITION

PRESET, NUM_CLASSES = load_preset(TINY), 6


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A work directory with a finished and scored run."""
    folder = tmp_path_factory.mktemp("recognition") / "work"
    made(folder)
    return folder


@pytest.fixture
def work(finished, tmp_path):
    """A copy of it, and what is planned in it: the graph, the run, its recognition."""
    graph, score = planned(shutil.copytree(finished, tmp_path / "work"))
    run = score.input("run")
    return graph, run, graph.recognition(run)


def with_scores(run, bias):
    """Let the recognizer behind a run find what is above 0 in `bias`, by class, in every image; finish the run so."""
    model = load_trained(run, NUM_CLASSES, CPU)
    with torch.no_grad():
        model.network.recognizer.scores.weight.zero_()
        model.network.recognizer.scores.bias.copy_(torch.tensor(bias))
    record = run.read_record()
    record["digest"] = save_tensors(run.folder / WEIGHTS, model.network.state_dict())
    run.finish({name: value for name, value in record.items() if name not in ("id", "kind", "key", "inputs")})


def recognised(work, watcher=None):
    """Make the recognition of a run again, as it is now; returns its record."""
    _, _, recognition = work
    recognition.record.unlink()
    tools = runner(watcher)
    tools.make([recognition])
    return recognition.read_record()


def test_it_lies_beside_the_scores_of_its_run_and_says_what_it_was_made_from(work):
    graph, run, recognition = work
    record = recognition.read_record()
    assert recognition.record == run.folder / "evals" / "recognition.json"
    assert record["inputs"].keys() == {graph.data.id, run.id} and record["run"] == run.id
    assert (record["split"], record["images"], record["threshold"]) == ("val", 6, 0.5)


def test_what_is_found_is_what_the_network_finds_image_by_image(work):
    graph, run, recognition = work
    dataset, model = runner().dataset(graph.data), load_trained(run, NUM_CLASSES, CPU)
    found, there, total = [], [], 0
    for image_id in dataset.ids(VAL_SPLIT):
        truth = dataset.mask(image_id, VAL_SPLIT)
        inputs, padding = (
            model.inputs(torch.from_numpy(dataset.image(image_id).copy())[None]),
            black(model.preprocessing),
        )
        squares = to_squares(inputs, PRESET.decouplednet.size, padding)
        found.append(tag_probabilities(model.network.recognizer, model.network.see(squares).features)[0].numpy())
        there.append(np.isin(np.arange(1, NUM_CLASSES), truth))
        said = predict(model.network, inputs, padding, torch.from_numpy(there[-1])[None]).argmax(1)[0].numpy()
        total = total + confusion(truth, said.astype(np.uint8), NUM_CLASSES)
    found, there, record = np.stack(found), np.stack(there), recognition.read_record()
    for k, name in enumerate(dataset.class_names[1:]):
        wanted = (found[there[:, k], k] > 0.5).mean() if there[:, k].any() else None
        assert record["recall"][name] == wanted
    assert record["found"] == (found > 0.5).sum()
    assert record["found_wrongly"] == ((found > 0.5) & ~there).sum()
    assert record["no_class_found"] == (~(found > 0.5).any(1)).mean()
    assert record["miou_true_tags"] == pytest.approx(miou(total))
    known = [value for value in record["average_precision"].values() if value is not None]
    assert record["map"] == pytest.approx(np.mean(known))


def test_a_recognizer_that_finds_nothing_is_told_with_its_recall(work):
    _, run, _ = work
    with_scores(run, [-9.0] * 5)
    watcher = Watcher()
    record = recognised(work, watcher)
    assert record["no_class_found"] == 1 and record["found"] == 0
    assert set(record["recall"].values()) <= {0.0, None} and 0.0 in record["recall"].values()
    assert [line for line in watcher.lines if "finds no class in any of the 6" in line and "recall 0" in line]


def test_and_everything_is_background_then_but_not_with_true_tags(work):
    graph, run, _ = work
    with_scores(run, [-9.0] * 5)
    shutil.rmtree(run.folder / "evals" / "val-strong")
    score = planned(graph.study.folder)[1]
    runner().make([score])
    found = {name: value for name, value in score.read_record()["iou"].items() if value}
    assert list(found) == ["background"]
    assert recognised(work)["miou_true_tags"] != score.read_record()["miou"]


def test_one_that_finds_everything_has_full_recall_and_finds_wrongly(work):
    _, run, _ = work
    with_scores(run, [9.0] * 5)
    record = recognised(work)
    assert set(record["recall"].values()) == {1.0, None} and record["no_class_found"] == 0
    assert record["found"] == 30 and 0 < record["found_wrongly"] < 30


def test_no_table_reads_it(work):
    graph, run, recognition = work
    score = planned(graph.study.folder)[1]
    assert recognition.id not in {other.id for other in score.inputs} and [one.id for one in runs_behind(score)] == [
        run.id
    ]
    assert RECOGNITION.kind == "recognition" and asdict(recognition.task.scoring) == asdict(score.task.scoring)


# ---------------------------------------------------------------- by hand


@pytest.mark.parametrize(
    ("scores", "there", "expected"),
    [
        ([0.9, 0.8, 0.1], [1, 1, 0], 1.0),
        ([0.9, 0.8, 0.1], [0, 1, 1], (1 / 2 + 2 / 3) / 2),
        ([0.1, 0.2, 0.3], [1, 0, 0], 1 / 3),
        ([0.1, 0.2], [0, 0], None),
    ],
)
def test_average_precision_by_hand(scores, there, expected):
    found = average_precision(np.array(scores), np.array(there, bool))
    assert found is None if expected is None else found == pytest.approx(expected)


def test_tags_are_those_of_true_masks_without_background_and_void():
    truth = torch.tensor([[[0, 2, 255]], [[1, 1, 3]]], dtype=torch.uint8)
    assert tags_of(truth, 4).tolist() == [[False, True, False], [True, False, True]]


def test_a_run_of_all_strong_images_has_one_of_its_own(work):
    graph, _, recognition = work
    other = graph.run(replace(FIVE, name="decoupled-10", strong_per_class=10), 0)
    assert graph.recognition(other).id != recognition.id and graph.recognition(other).folder != recognition.folder
