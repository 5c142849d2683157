"""How cues, proxies and their quality reports are planned, and what of cues is looked at before anything is trained."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cued
import numpy as np
import pytest
from conftest import TINY
from PIL import Image
from studies import Watcher, changed, graph_of, runner

from swdb.core.artefact import Artefact
from swdb.core.errors import BadInput, MissingArtefact, NotNamed, SwdbError
from swdb.core.files import file_digest
from swdb.core.stage import ChecksEarly
from swdb.data.facts import ALL_SPLIT
from swdb.proxy.saliency import saliency_digest
from swdb.proxy.stages import CuesStage, DsrgScoreStage, ProxiesStage, QualityStage
from swdb.specs.presets import Preset, load_preset
from swdb.specs.study import NamedFile
from swdb.study.graph import Graph

FROM_FILE = changed(load_preset(TINY), "proxy", cues="file")
FILE = NamedFile(Path("cues.npz"), {"file": "1" * 64})
MAPS = NamedFile(Path("maps"), {"saliency": "2" * 64})


def planned(preset: Preset | str = TINY, **files: NamedFile) -> Graph:
    """Plan a study; nothing is there."""
    return graph_of(Path("nowhere"), preset, **files)


def with_precision(graph: Graph, precision: str) -> Graph:
    return Graph(replace(graph.study, precision=precision), graph.runs)


def proxies_without_cues(graph: Graph, proxy_set: int) -> Artefact:
    return ProxiesStage().artefact(graph.study, proxy_set, ())


# ---------------------------------------------------------------- cues


def test_cues_of_a_classifier_are_made_from_the_data_and_the_classifier():
    graph = planned()
    cues = graph.cues
    assert cues.kind == "cues" and cues.folder == graph.study.folder / "cues" / cues.id
    assert [other.kind for other in cues.inputs] == ["data", "classifier"]
    assert cues.input("classifier").inputs == (graph.data, graph.weights)
    assert cues.key == {"threshold": 0.4, "cam_sizes": [24, 32], "background_share": 0.1, "precision": "fp32"}
    assert json.loads(json.dumps(cues.key)) == cues.key
    assert (cues.task.file, cues.task.saliency, cues.task.proxy) == (None, None, graph.study.preset.proxy)


@pytest.mark.parametrize(
    ("key", "value"), [("threshold", 0.3), ("cam_sizes", (24,)), ("background_share", 0.2), ("steps", 7)]
)
def test_settings_of_the_maps_change_the_cues_and_the_classifiers_own_change_the_classifier(key, value):
    before, after = planned().cues, planned(changed(load_preset(TINY), "proxy", **{key: value})).cues
    assert before.id != after.id
    same_classifier = before.input("classifier").id == after.input("classifier").id
    assert same_classifier == (key != "steps") and (before.key == after.key) == (key == "steps")


def test_another_precision_makes_other_cues_of_a_classifier_and_the_same_ones_of_a_file():
    for preset, files, same in ((TINY, {}, False), (FROM_FILE, {"cues": FILE}, True)):
        graph = planned(preset, **files)
        assert (graph.cues.id == with_precision(graph, "bf16").cues.id) == same


def test_saliency_maps_and_their_threshold_are_part_of_the_key_where_there_are_some():
    key = planned(saliency=MAPS).cues.key
    assert key == {**planned().cues.key, "saliency": "2" * 64, "saliency_threshold": 0.06}
    stricter = changed(load_preset(TINY), "proxy", saliency_threshold=0.5)
    assert planned(stricter).cues.id == planned().cues.id
    assert planned(stricter, saliency=MAPS).cues.id != planned(saliency=MAPS).cues.id != planned().cues.id


def test_cues_of_a_file_are_made_from_the_data_and_depend_on_the_bytes_of_the_file_alone():
    graph = planned(FROM_FILE, cues=FILE)
    assert graph.cues.inputs == (graph.data,) and graph.cues.key == FILE.digests
    assert graph.cues.task.file == FILE and graph.cues.task.saliency is None
    assert planned(FROM_FILE, cues=replace(FILE, path=Path("elsewhere/other.npz"))).cues.id == graph.cues.id
    others = [{"file": "3" * 64}, {**FILE.digests, "list": "4" * 64}, {**FILE.digests, "list": "5" * 64}]
    ids = {planned(FROM_FILE, cues=replace(FILE, digests=digests)).cues.id for digests in others}
    assert len(ids | {graph.cues.id}) == 4


def test_a_preset_of_published_cues_for_which_none_were_named_names_the_option():
    with pytest.raises(NotNamed) as caught:
        planned(FROM_FILE).cues  # noqa: B018
    assert caught.value.subject == "--cues" and "'tiny'" in caught.value.found and caught.value.exit_code == 3


# ---------------------------------------------------------------- an early look


def refused(graph: Graph, kind: type[SwdbError]) -> SwdbError:
    """Return the error of the early look at cues; nothing may be made by it."""
    watcher = Watcher()
    with pytest.raises(kind) as caught:
        CuesStage().check(graph.cues, runner(watcher))
    assert not graph.cues.folder.exists() and not graph.weights.folder.exists()
    assert set(watcher.stages) <= {"decode the training images", "look at the saliency maps"}
    return caught.value


def test_cues_can_be_looked_at_early_and_what_needs_them_cannot():
    assert isinstance(CuesStage(), ChecksEarly)
    assert not isinstance(ProxiesStage(), ChecksEarly) and not isinstance(QualityStage(), ChecksEarly)


def test_named_cues_that_are_there_and_the_same_pass(tmp_path):
    graph = cued.graph(tmp_path)
    CuesStage().check(graph.cues, runner())
    assert not graph.cues.folder.exists()


def test_named_cues_that_are_gone_are_refused_early(tmp_path):
    graph = cued.graph(tmp_path)
    path = graph.study.files["cues"].path
    path.unlink()
    assert refused(graph, MissingArtefact).subject == f"--cues {path}"


def test_named_cues_that_have_changed_are_refused_early(tmp_path):
    graph = cued.graph(tmp_path)
    path = graph.study.files["cues"].path
    path.write_bytes(path.read_bytes() + b"x")
    error = refused(graph, BadInput)
    assert error.subject == f"--cues {path}" and "changed" in error.found


@pytest.mark.parametrize("lost", ["gone", "changed"])
def test_a_list_of_named_cues_that_is_gone_or_changed_is_refused_early(tmp_path, lost):
    # the id stands for cues by this list, so another one must not be read under it
    graph = cued.graph(tmp_path)
    file = graph.study.files["cues"]
    id_list = file.path.with_name("input_list.txt")
    whole = replace(file, digests={**file.digests, "list": file_digest(id_list)})
    graph = Graph(replace(graph.study, files={"cues": whole}), graph.runs)
    CuesStage().check(graph.cues, runner())
    if lost == "gone":
        id_list.unlink()
    else:
        id_list.write_text(id_list.read_text().replace(" 0\n", " 7\n"))
    error = refused(graph, MissingArtefact if lost == "gone" else BadInput)
    assert str(id_list) in str(error.subject)


@pytest.fixture
def mapped(finished, tmp_path) -> Graph:
    """The tiny data set alone, and saliency maps of all its training images."""
    data = graph_of(tmp_path / "work").data
    shutil.copytree(graph_of(finished).data.folder, data.folder)
    folder = tmp_path / "maps"
    folder.mkdir()
    for image_id in runner().dataset(data).ids(ALL_SPLIT):
        grey = np.full((32, 32), 9, np.uint8)
        grey[12:20, 12:20] = 200
        Image.fromarray(grey).save(folder / f"{image_id}.png")
    return graph_of(tmp_path / "work", saliency=NamedFile(folder, {"saliency": saliency_digest(folder)}))


def map_of(graph: Graph, number: int) -> Path:
    return sorted(graph.study.files["saliency"].path.iterdir())[number]


def test_saliency_maps_that_are_there_and_the_same_pass(mapped):
    CuesStage().check(mapped.cues, runner())
    assert not mapped.cues.folder.exists() and not mapped.weights.folder.exists()


def test_a_folder_of_saliency_maps_that_is_gone_is_refused_early(mapped):
    folder = mapped.study.files["saliency"].path
    shutil.rmtree(folder)
    assert refused(mapped, MissingArtefact).subject == f"--saliency {folder}"


def test_missing_saliency_maps_are_counted_early(mapped):
    missing = map_of(mapped, 0)
    missing.unlink()
    error = refused(mapped, MissingArtefact)
    assert error.subject == f"--saliency {missing.parent}"
    assert "1 of 32" in error.found and missing.stem in error.found


def test_a_saliency_map_whose_bytes_are_cut_short_is_refused_early(mapped):
    folder, cut = mapped.study.files["saliency"].path, map_of(mapped, 5)
    cut.write_bytes(cut.read_bytes()[:-30])
    file = NamedFile(folder, {"saliency": saliency_digest(folder)})
    error = refused(Graph(replace(mapped.study, files={"saliency": file}), mapped.runs), BadInput)
    assert error.subject == cut and "cannot be read" in error.found


def test_saliency_maps_that_are_the_other_way_round_are_refused_early(mapped):
    folder = mapped.study.files["saliency"].path
    for path in folder.iterdir():
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    file = NamedFile(folder, {"saliency": saliency_digest(folder)})
    error = refused(Graph(replace(mapped.study, files={"saliency": file}), mapped.runs), BadInput)
    assert error.subject == f"--saliency {folder}" and "other way round" in error.found


def test_a_saliency_map_of_another_shape_is_refused_early(mapped):
    foreign = map_of(mapped, 3)
    Image.fromarray(np.zeros((32, 50), np.uint8)).save(foreign)
    error = refused(mapped, BadInput)
    assert error.subject == foreign and "50x32" in error.found and "32x32" in error.expected


def test_saliency_maps_that_have_changed_are_refused_early(mapped):
    other = map_of(mapped, 31)
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(other)
    error = refused(mapped, BadInput)
    assert error.subject == f"--saliency {other.parent}" and "changed" in error.found


# ---------------------------------------------------------------- proxies


def test_the_first_set_is_made_from_data_weights_and_cues_and_the_second_from_data_and_the_first():
    graph = planned()
    first, second = graph.proxies(1), graph.proxies(2)
    assert first.inputs == (graph.data, graph.weights, graph.cues) and second.inputs == (graph.data, first)
    assert (first.name, second.name) == ("dsrg-1", "dsrg-2")
    assert [one.folder for one in (first, second)] == [
        graph.study.folder / "proxies" / one.id for one in (first, second)
    ]
    assert (first.steps, second.steps) == (6, 4)
    assert [one.task.proxy_set for one in (first, second)] == [1, 2]


def test_the_settings_of_the_retrain_round_are_in_the_key_of_the_second_set_and_no_others():
    graph = planned()
    first, second = (graph.proxies(number).key["dsrg"] for number in (1, 2))
    assert set(second) == {name for name in {*first, *second} if name.startswith("retrain")}
    assert len(second) == 5 and not set(first) & set(second)
    assert {"size", "steps", "grow_foreground", "crf", "tags_only", "test_sizes"} <= set(first)
    for number in (1, 2):
        key = graph.proxies(number).key
        assert key["set"] == number and json.loads(json.dumps(key)) == key


@pytest.mark.parametrize("proxy_set", [1, 2])
def test_another_precision_makes_other_proxies(proxy_set):
    graph = planned()
    ids = [proxies_without_cues(one, proxy_set).id for one in (graph, with_precision(graph, "bf16"))]
    assert ids[0] != ids[1]


def test_networks_and_crf_see_images_as_large_as_the_preset_trains_on_them():
    as_they_are, shrunk = load_preset(TINY), changed(load_preset(TINY), "training", longest_side=20)
    tasks = [proxies_without_cues(planned(preset), 1).task for preset in (as_they_are, shrunk)]
    assert [(task.longest_side, task.image_side) for task in tasks] == [(0, 32), (20, 20)]
    assert proxies_without_cues(planned(as_they_are), 1).id != proxies_without_cues(planned(shrunk), 1).id


# ---------------------------------------------------------------- quality reports


def test_a_quality_report_lies_beside_its_masks_and_locks_nothing_but_itself():
    graph = planned()
    for proxies in (graph.proxies(1), graph.proxies(2)):
        quality = QualityStage().artefact(graph.study, graph.data, graph.cues, proxies)
        assert quality.name == f"{proxies.name}-quality" and quality.inputs == (graph.data, graph.cues, proxies)
        assert quality.record == quality.leased_path == proxies.folder / "quality.json"
        assert proxies.leased_path == proxies.folder and quality.begun != proxies.begun


# ---------------------------------------------------------------- scores of networks


def test_the_score_of_a_sets_network_lies_beside_its_masks_and_is_made_after_their_quality():
    graph = planned()
    for number in (1, 2):
        proxies = graph.proxies(number)
        quality = graph.quality(proxies)
        score = DsrgScoreStage().artefact(graph.study, graph.data, proxies, quality)
        assert score.name == f"{proxies.name}-val" and score.key == {"set": number}
        assert score.inputs == (graph.data, proxies, quality) and score.steps == 0
        assert score.record == score.leased_path == proxies.folder / "val.json"
        assert len({one.begun for one in (proxies, score, graph.quality(proxies))}) == 3


# ---------------------------------------------------------------- made


def test_what_was_made_says_what_it_is_and_from_which_bytes(finished):
    graph = graph_of(finished)
    first, second = graph.proxies(1), graph.proxies(2)
    for artefact in (graph.cues, first, second, graph.quality(first), graph.dsrg_score(first), graph.quality(second)):
        record = artefact.read_record()
        assert (record["id"], record["kind"], record["key"]) == (artefact.id, artefact.kind, artefact.key)
        assert record["inputs"] == {other.id: other.digest() for other in artefact.inputs}
        assert artefact.digest() == record["digest"] and not artefact.begun.exists()
        artefact.check()
    assert graph.cues.digest() == file_digest(graph.cues.folder / "cues.npz")
