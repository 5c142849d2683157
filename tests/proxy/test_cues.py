"""Seed cues as an artefact: from a file or from a classifier, within the tags, one small file, and what they lack."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cued
import numpy as np
import pytest
from conftest import TINY
from cued import CUES
from PIL import Image

from swdb.core.errors import BadInput, MissingArtefact
from swdb.data.voc import CLASSES
from swdb.nn.compute import machine
from swdb.proxy import cams
from swdb.proxy.cue_file import read_cue_file, write_cue_file
from swdb.proxy.cues import load_cues
from swdb.proxy.saliency import saliency_digest
from swdb.specs.presets import load_preset
from swdb.study.plan import Saliency, Work
from swdb.study.runner import Pipeline
from swdb.study.workdir import open_work

VOID = 255


def made(work: Work) -> Path:
    """Make the cues and all that they need; returns their folder."""
    cued.pipeline(work).make(work.needed(work.cues))
    return work.cues.folder


def maps_of(folder: Path) -> tuple[list[str], np.ndarray]:
    ids, maps, _ = read_cue_file(folder / "cues.npz", "")
    return ids, maps


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Work:
    """A work directory in which the cues of a file were taken in (read only)."""
    work = cued.work(tmp_path_factory.mktemp("published"))
    made(work)
    return work


# ---------------------------------------------------------------- from a file


def test_published_cues_are_kept_within_the_tags_as_one_small_file(published):
    ids, maps = maps_of(published.cues.folder)
    assert ids == cued.TRAIN_AUG and maps.shape == (4, 41, 41)
    assert sorted(path.name for path in published.cues.folder.iterdir()) == [
        "cues.json", "cues.npz", "done.json", "inputs.json",
    ]  # fmt: skip
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
    assert manifest["sha256"] == published.cues.content_digest()


def test_cues_of_a_preset_of_fewer_classes_are_renumbered_and_others_dropped(tmp_path):
    work = cued.work(tmp_path, classes=("bottle", "aeroplane"), num_classes=3)
    _, maps = maps_of(made(work))
    assert set(np.unique(maps).tolist()) == {0, 1, 2, VOID}
    assert maps[0, 6, 8] == 2 and maps[0, 40, 40] == 1 and maps[1, 40, 0] == VOID  # the bicycle's cell is gone


def test_cues_that_swdb_wrote_can_be_given_to_it_again(published, tmp_path):
    work = cued.work(tmp_path)
    own = shutil.copy(published.cues.folder / "cues.npz", tmp_path / "cues.npz")
    again = replace(work, cues_file=Path(own))
    assert again.cues.id != work.cues.id
    np.testing.assert_array_equal(maps_of(made(again))[1], maps_of(published.cues.folder)[1])


def test_other_cues_are_other_proxies(published, tmp_path):
    other = cued.work(tmp_path, {**CUES, "1_cues": np.array([[2], [40], [0]])})
    assert other.cues.id != published.cues.id and other.proxies(1).id != published.proxies(1).id


@pytest.mark.parametrize(
    "content",
    [{}, {"4_cues": CUES["4_cues"]}, {"0_cues": np.array([[7], [3], [3]])}, {"0_cues": np.array([[0], [3], [3]])}],
    ids=["nothing", "of other images", "of no tag", "of background alone"],
)
def test_without_cues_for_any_object_of_a_training_image_nothing_is_made(tmp_path, content):
    work = cued.work(tmp_path, content)
    with pytest.raises(BadInput) as caught:
        made(work)
    message = str(caught.value)
    assert f"{work.cues_file} has no cues for any of the 4 training images" in message and "\n" not in message
    assert {path.name for path in work.cues.folder.iterdir()} == {"inputs.json"}


def test_cues_without_their_list_name_it_and_the_command(tmp_path):
    work = cued.work(tmp_path)
    work.cues_file.with_name("input_list.txt").unlink()
    with pytest.raises(MissingArtefact, match=r"input_list\.txt is missing; .*swdb make-proxy .*--cues FILE"):
        made(work)


def test_cues_that_were_changed_after_they_were_made_are_refused(tmp_path):
    work = cued.work(tmp_path)
    made(work)
    pipeline = cued.pipeline(work)
    maps, counts = load_cues(work.cues, pipeline.data, cued.TRAIN_AUG)
    assert maps.shape == (4, 41, 41) and counts["images_unknown_to_the_cues"] == 1
    write_cue_file(work.cues.folder / "cues.npz", cued.TRAIN_AUG, np.full_like(maps, VOID), list(CLASSES))
    with pytest.raises(MissingArtefact, match=r"cues\.npz is missing or damaged; delete the folder .* and run"):
        load_cues(work.cues, pipeline.data, cued.TRAIN_AUG)


# ---------------------------------------------------------------- from a classifier


@pytest.fixture
def copied(finished, tmp_path) -> Path:
    """A copy of the finished tiny work directory that may be changed."""
    return shutil.copytree(finished, tmp_path / "work", ignore=shutil.ignore_patterns("reports", "runs", "proxies"))


def tiny(folder: Path, quiet, **options) -> tuple[Work, Pipeline]:
    work = replace(open_work(folder, TINY, "fp32"), **options)
    return work, Pipeline(work, machine("cpu", "fp32"), SimpleNamespace(stage=lambda *_, **__: quiet, tell=str))


def test_the_classifiers_cues_lie_within_the_tags_and_nothing_is_left_of_the_parts(finished, quiet):
    work, pipeline = tiny(finished, quiet)
    folder = work.cues.folder
    assert folder.name.startswith("cues-classifier-") and not (folder / "parts").exists()
    ids, maps = maps_of(folder)
    tags = pipeline.data.tags(ids)
    assert len(ids) == 32
    for one, of_image in zip(maps, tags, strict=True):
        assert set(np.unique(one).tolist()) <= {0, VOID} | set((np.flatnonzero(of_image) + 1).tolist())
    assert ((maps != VOID) & (maps != 0)).any()
    counts = json.loads(work.cues.record.read_text())["counts"]
    assert counts["source"] == "classifier" and counts["training"]["steps"] == 6


def test_cues_that_were_cut_off_go_on_and_end_as_the_same_file(finished, copied, quiet, monkeypatch):
    work, pipeline = tiny(copied, quiet)
    whole = (work.cues.folder / "cues.npz").read_bytes()
    shutil.rmtree(work.cues.folder)
    monkeypatch.setattr(cams, "PART", 8)
    real, calls = cams.cue_maps, []

    def cut(*arguments, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(cams, "cue_maps", cut)
    with pytest.raises(KeyboardInterrupt):
        pipeline.make([work.cues])
    assert (work.cues.folder / "parts").exists() and not work.cues.done
    pipeline.make([work.cues])
    assert len(calls) < 7  # what was there was not made again
    assert (work.cues.folder / "cues.npz").read_bytes() == whole


def test_a_class_without_any_image_is_named_before_the_classifier_is_trained(copied, quiet):
    work, pipeline = tiny(copied, quiet)
    pipeline.data  # noqa: B018 - audited before the change, which the audit would notice
    labels = work.data_root / "image_labels.csv"
    labels.write_text(labels.read_text().replace("gamma", ""))
    shutil.rmtree(work.cues.folder)
    with pytest.raises(BadInput, match=r"no training image has the class 'gamma'.*image_labels\.csv"):
        pipeline.make([work.cues])
    assert {path.name for path in work.cues.folder.glob("*")} <= {"inputs.json"}


def test_an_image_without_tags_has_cues_of_background_alone_and_is_counted(copied, quiet):
    work, pipeline = tiny(copied, quiet)
    pipeline.data  # noqa: B018 - audited before the change, which the audit would notice
    labels = work.data_root / "image_labels.csv"
    first = pipeline.data.ids("train_aug")[0]
    lines = [f"{first}," if line.startswith(f"{first},") else line for line in labels.read_text().splitlines()]
    labels.write_text("\n".join(lines) + "\n")
    shutil.rmtree(work.cues.folder)
    pipeline.make([work.cues])
    ids, maps = maps_of(work.cues.folder)
    assert set(np.unique(maps[ids.index(first)]).tolist()) == {0, VOID}
    assert json.loads(work.cues.record.read_text())["counts"]["images_without_tags"] == 1


def saliency_maps(folder: Path, ids: list[str]) -> Path:
    """Maps whose left half is dark."""
    folder.mkdir()
    for image_id in ids:
        grey = np.full((32, 32), 200, np.uint8)
        grey[:, :16] = 3
        Image.fromarray(grey).save(folder / f"{image_id}.png")
    return folder


def test_saliency_maps_say_where_background_is(copied, quiet, tmp_path):
    _, pipeline = tiny(copied, quiet)
    folder = saliency_maps(tmp_path / "maps", pipeline.data.ids("train_aug"))
    work, pipeline = tiny(copied, quiet, saliency=Saliency(folder, saliency_digest(folder)))
    pipeline.make([work.cues])
    _, maps = maps_of(work.cues.folder)
    assert (maps[:, :, :20] != VOID).all() and not (maps[:, :, 21:] == 0).any()  # dark, and no object: background


def test_a_missing_saliency_map_is_named_before_anything_is_trained(copied, quiet, tmp_path):
    _, pipeline = tiny(copied, quiet)
    folder = saliency_maps(tmp_path / "maps", pipeline.data.ids("train_aug")[1:])
    work, pipeline = tiny(copied, quiet, saliency=Saliency(folder, saliency_digest(folder)))
    with pytest.raises(MissingArtefact, match=r"lacks 1 of 32 saliency maps \(0000_000000\)"):
        pipeline.make([work.cues])
    assert {path.name for path in work.cues.folder.iterdir()} == {"inputs.json"}


def test_a_foreign_saliency_map_is_named(copied, quiet, tmp_path):
    _, pipeline = tiny(copied, quiet)
    ids = pipeline.data.ids("train_aug")
    folder = saliency_maps(tmp_path / "maps", ids)
    Image.fromarray(np.zeros((32, 50), np.uint8)).save(folder / f"{ids[3]}.png")
    work, pipeline = tiny(copied, quiet, saliency=Saliency(folder, saliency_digest(folder)))
    with pytest.raises(BadInput, match=rf"{ids[3]}\.png is foreign: 50x32, expected 32x32"):
        pipeline.make([work.cues])


def test_saliency_maps_that_changed_since_they_were_named_are_refused(copied, quiet, tmp_path):
    _, pipeline = tiny(copied, quiet)
    folder = saliency_maps(tmp_path / "maps", pipeline.data.ids("train_aug"))
    work, pipeline = tiny(copied, quiet, saliency=Saliency(folder, "0" * 64))
    with pytest.raises(
        BadInput, match=r"others than when the folder was named; name it again: swdb make-proxy .*--saliency DIR"
    ):
        pipeline.make([work.cues])


def test_a_saliency_folder_is_named_once(tmp_path):
    folder = tmp_path / "maps"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"1")
    first = open_work(tmp_path / "work", TINY, "fp32", saliency=folder)
    again = open_work(tmp_path / "work", TINY, "fp32")
    assert first.saliency == again.saliency and again.saliency.folder == folder.resolve()
    assert open_work(tmp_path / "other", TINY, "fp32").saliency is None
    with pytest.raises(BadInput, match=r"--saliency .*no: no such folder"):
        open_work(tmp_path / "work", TINY, "fp32", saliency=tmp_path / "no")
    with pytest.raises(BadInput, match="cues from a file say themselves where background is"):
        open_work(tmp_path / "work", TINY, "fp32", cues_file=tmp_path / "cues.npz", saliency=folder)


def test_saliency_maps_are_forgotten_by_none_and_a_damaged_note_is_named(tmp_path):
    folder = tmp_path / "maps"
    (folder / "b.png").mkdir(parents=True)  # a folder is no map
    (folder / "a.png").write_bytes(b"1")
    assert open_work(tmp_path / "work", TINY, "fp32", saliency=folder).saliency is not None
    (note,) = (tmp_path / "work" / "inputs" / "tiny").glob("saliency.json")
    for damaged in ("{}", "[]", '{"folder": 3, "sha256": ""}'):
        note.write_text(damaged)
        with pytest.raises(MissingArtefact, match=r"saliency\.json is damaged; delete it and run: swdb make-proxy"):
            open_work(tmp_path / "work", TINY, "fp32")
    assert open_work(tmp_path / "work", TINY, "fp32", saliency=Path("none")).saliency is None
    assert open_work(tmp_path / "work", TINY, "fp32").saliency is None


def test_another_list_of_images_makes_other_cues(tmp_path):
    work = cued.work(tmp_path)
    before = work.cues.id
    id_list = work.cues_file.with_name("input_list.txt")
    id_list.write_text(id_list.read_text().replace(" 0\n", " 7\n"))
    assert replace(work).cues.id != before


def test_cues_of_another_suffix_are_refused(tmp_path):
    work = cued.work(tmp_path)
    other = Path(shutil.copy(work.cues_file, tmp_path / "cues.txt"))
    with pytest.raises(BadInput, match=r"--cues .*cues\.txt: expected a localization_cues\.pickle"):
        made(replace(work, cues_file=other))


def test_a_preset_of_cues_ignores_saliency_that_another_preset_noted(tmp_path):
    assert load_preset("voc-animals").proxy.cues == "file"
    assert open_work(tmp_path / "work", "voc-animals", "fp32", remember=False).saliency is None
