"""Seed cues as an artefact: from a file or from a classifier, within the tags, one small file, and what they lack."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cued
import numpy as np
import pytest
import torch
from cued import CUES
from PIL import Image
from studies import Watcher, graph_of, runner

from swdb.core.artefact import Artefact
from swdb.core.errors import BadInput, MissingArtefact, SwdbError
from swdb.core.files import file_digest
from swdb.data.facts import ALL_SPLIT
from swdb.data.voc import CLASSES
from swdb.nn.classifier import Classifier
from swdb.nn.networks import preprocessing_of
from swdb.proxy import cams, cues
from swdb.proxy.cue_file import cues_of, read_cue_file, write_cue_file
from swdb.proxy.cues import FILE, load_classifier, load_cues, make_cue_artefact
from swdb.proxy.saliency import saliency_digest
from swdb.proxy.sec_cues import cue_digests
from swdb.specs.study import NamedFile
from swdb.study.graph import Graph
from swdb.study.runner import Runner

VOID = 255


def made(graph: Graph) -> Artefact:
    """Make the cues and all that they need."""
    runner().make(graph.needed(graph.cues))
    return graph.cues


def refused(graph: Graph, kind: type[SwdbError] = BadInput) -> SwdbError:
    """Return the error with which cues are not made, which is one line; nothing of them may be there."""
    with pytest.raises(kind) as caught:
        made(graph)
    assert "\n" not in str(caught.value)
    assert {path.name for path in graph.cues.folder.glob("*")} <= {graph.cues.begun.name}
    return caught.value


def maps_of(artefact: Artefact) -> tuple[list[str], np.ndarray]:
    ids, maps, _ = read_cue_file(artefact.folder / FILE)
    return ids, maps


def named(graph: Graph, kind: str, path: Path, digests: dict[str, str] | None = None) -> Graph:
    """Plan the same study with another file."""
    files = {**graph.study.files, kind: NamedFile(path, digests or cue_digests(path))}
    return Graph(replace(graph.study, files=files), graph.runs)


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Graph:
    """A work directory in which the cues of a file were taken in (read only)."""
    graph = cued.graph(tmp_path_factory.mktemp("published"))
    made(graph)
    return graph


# ---------------------------------------------------------------- from a file


def moved_on(content: dict, by: int) -> dict:
    """Number cues as a list that begins elsewhere would."""
    return {f"{(int(key.split('_')[0]) + by) % 4}_{key.split('_')[1]}": value for key, value in content.items()}


@pytest.mark.parametrize("kinds", [("labels", "cues"), ("labels",), ("cues",)], ids=str)
def test_cues_of_other_images_are_refused_before_anything_is_trained(tmp_path, kinds):
    content = {f"{k}_labels": np.array([k + 1, 5]) for k in range(4)}
    content |= {f"{k}_cues": np.array([[0, k + 1], [0, 1], [0, 1]]) for k in range(4)}
    content = {key: value for key, value in content.items() if key.split("_")[1] in kinds}
    if "cues" in kinds:
        made(cued.graph(tmp_path / "right", content))
    graph = cued.graph(tmp_path / "wrong", moved_on(content, 1))
    watcher = Watcher()
    with pytest.raises(BadInput) as caught:
        runner(watcher).make(graph.needed(graph.proxies(1)))
    assert caught.value.subject == f"--cues {graph.study.files['cues'].path}"
    assert "4 of 4 images" in caught.value.found and "input_list.txt" in caught.value.expected
    assert not any(stage.startswith(("classifier", "dsrg")) for stage in watcher.stages)


def test_a_files_own_labels_count_also_where_its_cues_are_right(tmp_path):
    content = {f"{k}_cues": np.array([[0, k + 1], [0, 1], [0, 1]]) for k in range(4)}
    graph = cued.graph(tmp_path, content | {f"{k}_labels": np.array([20]) for k in range(4)})
    with pytest.raises(BadInput) as caught:
        runner().make(graph.needed(graph.cues))
    assert "contradict the tags of 4 of 4 images" in caught.value.found


def test_cues_that_are_left_out_are_told(published, tmp_path):
    counts = published.cues.read_record()["counts"]
    assert counts["images_with_cues_beyond_their_tags"] == 1  # the car in image 0
    ids, maps = maps_of(published.cues)
    maps[3, 0, 0] = len(CLASSES)
    write_cue_file(tmp_path / "mine.npz", ids, maps, [*CLASSES, "zebra"])
    graph = named(cued.graph(tmp_path / "again"), "cues", tmp_path / "mine.npz")
    watcher = Watcher()
    runner(watcher).make(graph.needed(graph.cues))
    assert any("zebra" in line and line.startswith("left out") for line in watcher.lines)


def test_published_cues_are_kept_within_the_tags_as_one_small_file(published):
    ids, maps = maps_of(published.cues)
    assert ids == cued.TRAIN_AUG and maps.shape == (4, 41, 41)
    assert sorted(path.name for path in published.cues.folder.iterdir()) == ["cues.json", "cues.npz", "done.json"]
    seen = [
        {(int(maps[k, y, x]), int(y), int(x)) for y, x in zip(*np.nonzero(maps[k] != VOID), strict=True)}
        for k in range(4)
    ]
    assert seen == [{(0, 0, 0), (1, 6, 8), (5, 40, 40), (1, 0, 40)}, {(0, 0, 0), (2, 40, 0)}, set(), set()]


def test_the_manifest_counts_what_the_cues_lack(published):
    manifest = json.loads((published.cues.folder / "cues.json").read_text())
    assert manifest["source"] == "localization_cues.pickle" and manifest["grid"] == 41 and manifest["images"] == 4
    assert manifest["cues_of_other_images"] == 1  # a validation image's
    assert manifest["images_unknown_to_the_cues"] == 1  # the file says nothing of image 2
    assert manifest["images_with_a_tag_without_a_cue"] == 3  # image 1 has no cue of its bottle, 2 and 3 have none
    assert manifest["images_without_background_cues"] == 2 and manifest["images_without_tags"] == 0
    assert manifest["classes"] == list(CLASSES) and "aeroplane" not in manifest["classes_without_a_cue"]
    assert {"bird", "boat", "car"} <= set(manifest["classes_without_a_cue"])
    assert manifest["id"] == published.cues.id and manifest["key"] == published.cues.key
    assert manifest["sha256"] == published.cues.digest() == file_digest(published.cues.folder / manifest["file"])


def test_what_the_cues_lack_is_told(tmp_path):
    graph, watcher = cued.graph(tmp_path), Watcher()
    runner(watcher).make(graph.needed(graph.cues))
    told = "\n".join(watcher.lines)
    assert "3 with a tag without a cue, 1 unknown to the cues, 2 without a cue of background" in told
    assert "the cues of 1 images that are not in the training list" in told
    assert "no cue at all for bird, boat" in told


def test_cues_of_a_preset_of_fewer_classes_are_renumbered_and_others_dropped(tmp_path):
    graph = cued.graph(tmp_path, classes=("bottle", "aeroplane"), num_classes=3)
    _, maps = maps_of(made(graph))
    assert set(np.unique(maps).tolist()) == {0, 1, 2, VOID}
    assert maps[0, 6, 8] == 2 and maps[0, 40, 40] == 1 and maps[1, 40, 0] == VOID  # the bicycle's point is gone


def test_cues_that_swdb_wrote_can_be_given_to_it_again(published, tmp_path):
    graph = cued.graph(tmp_path)
    own = Path(shutil.copy(published.cues.folder / FILE, tmp_path / "cues.npz"))
    again = named(graph, "cues", own)
    assert again.cues.id != graph.cues.id
    np.testing.assert_array_equal(maps_of(made(again))[1], maps_of(published.cues)[1])
    assert again.cues.read_record()["counts"]["source"] == "cues.npz"


def test_other_cues_are_other_proxies(published, tmp_path):
    other = cued.graph(tmp_path, {**CUES, "1_cues": np.array([[2], [40], [0]])})
    assert other.cues.id != published.cues.id and other.proxies(1).id != published.proxies(1).id


@pytest.mark.parametrize(
    "content",
    [{}, {"4_cues": CUES["4_cues"]}, {"0_cues": np.array([[7], [3], [3]])}, {"0_cues": np.array([[0], [3], [3]])}],
    ids=["nothing", "of other images", "of no tag", "of background alone"],
)
def test_without_cues_for_any_object_of_a_training_image_nothing_is_made(tmp_path, content):
    graph = cued.graph(tmp_path, content)
    error = refused(graph)
    assert error.subject == f"--cues {graph.study.files['cues'].path}" and "of the 4 training images" in error.found


def test_cues_without_their_list_name_it(tmp_path):
    graph = cued.graph(tmp_path)
    id_list = graph.study.files["cues"].path.with_name("input_list.txt")
    id_list.unlink()
    assert refused(graph, MissingArtefact).subject == id_list


def test_cues_of_another_suffix_are_refused(tmp_path):
    graph = cued.graph(tmp_path)
    other = Path(shutil.copy(graph.study.files["cues"].path, tmp_path / "cues.txt"))
    error = refused(named(graph, "cues", other))
    assert error.subject == f"--cues {other}" and "localization_cues.pickle" in error.expected


def test_finished_cues_are_loaded_with_what_was_counted_and_those_that_were_changed_refused(tmp_path):
    graph = cued.graph(tmp_path)
    dataset, artefact = runner().dataset(graph.data), made(graph)
    maps, counts = load_cues(artefact, dataset, cued.TRAIN_AUG[::-1])
    np.testing.assert_array_equal(maps, maps_of(artefact)[1][::-1])
    assert counts["images_unknown_to_the_cues"] == 1
    path = artefact.folder / FILE
    write_cue_file(path, cued.TRAIN_AUG, np.full_like(maps, VOID), list(CLASSES))
    with pytest.raises(MissingArtefact) as caught:
        load_cues(artefact, dataset, cued.TRAIN_AUG)
    assert caught.value.subject == path and "damaged" in caught.value.found


# ---------------------------------------------------------------- from a classifier


@pytest.fixture
def copied(finished, tmp_path) -> Graph:
    """A copy of the finished tiny work directory that may be changed."""
    ignored = shutil.ignore_patterns("reports", "runs", "proxies")
    return graph_of(shutil.copytree(finished, tmp_path / "work", ignore=ignored))


def opened(graph: Graph, watcher: Watcher | None = None) -> Runner:
    """A runner that has audited the data set before a test changes it, which an audit would notice."""
    tools = runner(watcher)
    tools.dataset(graph.data)
    return tools


def without(*artefacts: Artefact) -> None:
    for artefact in artefacts:
        shutil.rmtree(artefact.folder)


def training_ids(graph: Graph) -> list[str]:
    return runner().dataset(graph.data).ids(ALL_SPLIT)


def test_the_classifiers_cues_lie_within_the_tags_and_nothing_is_left_of_the_parts(finished):
    graph = graph_of(finished)
    assert graph.cues.folder.name.startswith("cues-classifier-")
    assert sorted(path.name for path in graph.cues.folder.iterdir()) == ["cues.json", "cues.npz", "done.json"]
    ids, maps = maps_of(graph.cues)
    tags = runner().dataset(graph.data).tags(ids)
    assert len(ids) == 32
    for one, of_image in zip(maps, tags, strict=True):
        assert set(np.unique(one).tolist()) <= {0, VOID} | set((np.flatnonzero(of_image) + 1).tolist())
    assert ((maps != VOID) & (maps != 0)).any()
    assert graph.cues.read_record()["counts"]["source"] == "classifier"


def test_the_classifier_is_an_artefact_of_its_own_whose_bytes_the_cues_remember(finished):
    cues = graph_of(finished).cues
    classifier = cues.input("classifier")
    assert classifier.folder.parent.name == "classifiers" and (classifier.folder / "weights.pt").is_file()
    assert classifier.read_record()["training"]["steps"] == 6
    assert cues.read_record()["inputs"] == {other.id: other.digest() for other in (cues.input("data"), classifier)}


def test_a_finished_classifier_is_loaded_to_look_and_not_to_learn(finished):
    graph = graph_of(finished)
    classifier = graph.cues.input("classifier")
    model = load_classifier(classifier, 5, runner())
    assert isinstance(model.network, Classifier) and not model.network.training
    saved = torch.load(classifier.folder / "weights.pt", weights_only=True)
    assert all(torch.equal(tensor, saved[name]) for name, tensor in model.network.state_dict().items())
    assert model.preprocessing == preprocessing_of(graph.weights.read_record())


def test_cues_are_made_without_the_weights_that_the_classifier_began_with(copied):
    whole = (copied.cues.folder / FILE).read_bytes()
    without(copied.cues, copied.weights)
    watcher = Watcher()
    runner(watcher).make([copied.cues])
    assert (copied.cues.folder / FILE).read_bytes() == whole
    assert watcher.stages[-1] == "cues-classifier maps" and "classifier" not in watcher.stages


@pytest.mark.parametrize("lost", ["gone", "changed"])
def test_a_classifier_without_its_weights_makes_no_cues(copied, lost):
    path = copied.cues.input("classifier").folder / "weights.pt"
    if lost == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    without(copied.cues)
    assert refused(copied, MissingArtefact).subject == path


def test_the_classifier_is_shown_images_without_true_masks(copied, monkeypatch):
    stores = []

    def look(folder, store, *others):
        stores.append(store)
        return cams.CueMaking(folder, store, *others)

    monkeypatch.setattr(cues, "CueMaking", look)
    without(copied.cues)
    runner().make([copied.cues])
    assert [(len(store.images), store.masks) for store in stores] == [(32, None)]


def test_cues_that_were_cut_off_go_on_and_end_as_the_same_file(copied, monkeypatch):
    whole = (copied.cues.folder / FILE).read_bytes()
    without(copied.cues)
    monkeypatch.setattr(cams, "PART", 8)
    real, calls = cams.cue_maps, []

    def cut(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(cams, "cue_maps", cut)
    with pytest.raises(KeyboardInterrupt):
        runner().make([copied.cues])
    assert (copied.cues.folder / "parts").exists() and not copied.cues.done
    runner().make([copied.cues])
    assert len(calls) == 5  # of four parts; the two that were there were not made again
    assert (copied.cues.folder / FILE).read_bytes() == whole and not (copied.cues.folder / "parts").exists()


def test_an_image_without_tags_has_cues_of_background_alone_and_is_counted(copied):
    tools = opened(copied)
    labels = copied.data.folder / "image_labels.csv"
    first = training_ids(copied)[0]
    lines = [f"{first}," if line.startswith(f"{first},") else line for line in labels.read_text().splitlines()]
    labels.write_text("\n".join(lines) + "\n")
    without(copied.cues)
    tools.make([copied.cues])
    ids, maps = maps_of(copied.cues)
    assert set(np.unique(maps[ids.index(first)]).tolist()) == {0, VOID}
    assert copied.cues.read_record()["counts"]["images_without_tags"] == 1


def test_a_classifier_that_finds_nothing_makes_no_cues(copied, monkeypatch):
    nothing = np.full((32, 41, 41), VOID, np.uint8)
    nothing[:, 0] = 0  # background alone
    monkeypatch.setattr(cams, "cue_maps", lambda model, images, *others: nothing[: len(images)])
    without(copied.cues)
    with pytest.raises(BadInput) as caught:
        runner().make([copied.cues])
    assert "of the 32 training images" in caught.value.found and not (copied.cues.folder / FILE).exists()


# ---------------------------------------------------------------- with saliency maps


def saliency_maps(graph: Graph, folder: Path) -> Graph:
    """Plan the study with saliency maps whose left half is dark."""
    folder.mkdir()
    for image_id in training_ids(graph):
        grey = np.full((32, 32), 200, np.uint8)
        grey[:, :16] = 3
        Image.fromarray(grey).save(folder / f"{image_id}.png")
    return named(graph, "saliency", folder, {"saliency": saliency_digest(folder)})


def test_saliency_maps_say_where_background_is(copied, tmp_path):
    graph, watcher = saliency_maps(copied, tmp_path / "maps"), Watcher()
    assert graph.cues.id != copied.cues.id and graph.cues.input("classifier").id == copied.cues.input("classifier").id
    runner(watcher).make([graph.cues])
    assert "classifier" not in watcher.stages  # it is the same one
    ids, maps = maps_of(graph.cues)
    assert (maps[:, :, :20] != VOID).all() and not (maps[:, :, 21:] == 0).any()  # dark, and no object: background
    objects = (maps != VOID) & (maps != 0)
    plain, _ = cues_of(copied.cues.folder / FILE, ids, runner().dataset(copied.data).class_names)
    np.testing.assert_array_equal(np.where(objects, maps, VOID), np.where(plain == 0, VOID, plain))


def test_the_threshold_of_saliency_is_the_presets(copied, tmp_path):
    graph = saliency_maps(copied, tmp_path / "maps")
    preset = graph.study.preset
    bright = replace(preset, proxy=replace(preset.proxy, saliency_threshold=0.8))  # 204 of 255: above all that is there
    graph = Graph(replace(graph.study, preset=bright), graph.runs)
    runner().make([graph.cues])
    assert (maps_of(graph.cues)[1] != VOID).all()


@pytest.mark.parametrize("fault", ["a map less", "a map of another shape", "another map", "no folder"])
def test_maps_that_are_not_those_that_were_named_make_no_cues(copied, tmp_path, fault):
    # looked at again when cues are made: between the early look and that moment lies the training of a classifier
    graph, tools = saliency_maps(copied, tmp_path / "maps"), opened(copied)
    tools.store(copied.data, 0)
    folder, first = tmp_path / "maps", training_ids(copied)[0]
    if fault == "no folder":
        shutil.rmtree(folder)
    elif fault == "a map less":
        (folder / f"{first}.png").unlink()
    else:
        Image.fromarray(np.zeros((32, 50 if "shape" in fault else 32), np.uint8)).save(folder / f"{first}.png")
    with pytest.raises(SwdbError) as caught:
        make_cue_artefact(graph.cues, tools)
    subject = folder / f"{first}.png" if "shape" in fault else f"--saliency {folder}"
    assert caught.value.subject == subject
    assert not graph.cues.folder.exists()
