"""Opening a work directory: its precision is decided once, files that a preset needs are named once."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import TINY
from made_up import finish_all
from studies import changed, study_of

from swdb.core.errors import BadInput, DiskRefused, MissingArtefact, NotNamed
from swdb.core.files import file_digest, write_json
from swdb.core.lease import leased
from swdb.proxy import sec_cues
from swdb.proxy.sec_cues import SEC_LIST
from swdb.reports.results import measure
from swdb.specs.preprocessing import IMAGENET_BGR_CAFFE, IMAGENET_RGB, Preprocessing, parsed
from swdb.specs.presets import load_preset
from swdb.specs.study import NamedFile, Study
from swdb.specs.tables import all_runs, load_tables
from swdb.study.graph import Graph
from swdb.study.plan import make_plan, read_plan, write_plan
from swdb.study.workdir import Named, decide_precision, known_precision, note_layout, open_study

BF16 = {"study": {"precision": "bf16"}}  # what is read of a plan


def files_in(folder: Path) -> dict[str, bytes]:
    """All files below a folder but those of leases, which leave nothing that matters."""
    paths = (path for path in folder.rglob("*") if path.is_file() and ".leases" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def never():
    raise AssertionError("nobody was to be asked")


# ---------------------------------------------------------------- opening


def test_opening_a_study_writes_nothing(tmp_path):
    study = open_study(tmp_path / "work", TINY)
    assert study.folder == tmp_path / "work" and study.preset == load_preset(TINY) and study.files == {}
    assert study.reports == tmp_path / "work" / "reports" / "tiny"
    assert known_precision(study) is None
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_can_be_no_work_directory_is_refused_though_nothing_would_be_written(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("nothing")
    for place in ("file", "link", "file/below", "link/below/it"):
        with pytest.raises(BadInput, match="is no folder") as caught:
            open_study(tmp_path / place, TINY, remember=False)
        assert caught.value.subject == f"--workdir {tmp_path / place}"
    (tmp_path / "folder").mkdir()
    (tmp_path / "there").symlink_to("folder")
    assert open_study(tmp_path / "there" / "new", TINY, remember=False).folder == tmp_path / "there" / "new"


def test_an_unknown_preset_gets_the_nearest_name(tmp_path):
    with pytest.raises(BadInput) as caught:
        open_study(tmp_path, "synthetik")
    assert caught.value.near == "synthetic"


def test_settings_that_the_data_set_cannot_have_are_refused(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(Path(TINY).read_text().replace("num_classes = 6", "num_classes = 60"))
    with pytest.raises(BadInput) as caught:
        open_study(tmp_path / "work", str(path))
    assert "data.num_classes" in caught.value.subject and "60" in caught.value.found


# ---------------------------------------------------------------- the precision


def test_the_preset_says_the_precision_before_the_directory_and_the_directory_before_the_plan(tmp_path):
    study = study_of(tmp_path)
    assert known_precision(study) is None
    write_json(study.reports / "plan.json", BF16)
    assert known_precision(study) == "bf16"
    write_json(tmp_path / "precision.json", {"precision": "fp32"})
    assert known_precision(study) == "fp32"
    assert known_precision(replace(study, preset=replace(study.preset, precision="bf16"))) == "bf16"


@pytest.mark.parametrize("plan", ["", "[]", "{}", '{"study": 7}', '{"study": {"precision": "fp16"}}'])
def test_a_plan_that_says_no_precision_decides_nothing(tmp_path, plan):
    study = study_of(tmp_path)
    study.reports.mkdir(parents=True)
    (study.reports / "plan.json").write_text(plan)
    assert known_precision(study) is None


@pytest.mark.parametrize("kept", ["fp32", "bf16"])
def test_what_is_typed_stands_before_all_others(tmp_path, kept):
    write_json(tmp_path / "precision.json", {"precision": kept})
    assert open_study(tmp_path, TINY).precision == kept  # whatever this processor would have chosen
    assert [open_study(tmp_path, TINY, typed).precision for typed in ("fp32", "bf16")] == ["fp32", "bf16"]
    assert open_study(tmp_path, TINY).precision == kept


@pytest.mark.parametrize(
    ("fast", "gpu", "expected"), [(True, False, "bf16"), (False, False, "fp32"), (False, True, "bf16")]
)
def test_where_nobody_decided_the_precision_that_this_machine_would_choose_is_assumed(
    tmp_path, monkeypatch, fast, gpu, expected
):
    monkeypatch.setattr("swdb.study.workdir.has_fast_bf16", lambda: fast)
    monkeypatch.setattr("swdb.study.workdir.may_have_gpu", lambda: gpu)
    assert open_study(tmp_path / "work", TINY).precision == expected
    assert not (tmp_path / "work").exists()


def test_the_first_machine_that_trains_decides_and_later_ones_are_not_asked(tmp_path):
    study = study_of(tmp_path)
    first = decide_precision(study, lambda: ("bf16", {"name": "Made-up 9000"}))
    assert first == replace(study, precision="bf16")
    said = json.loads((tmp_path / "precision.json").read_text())
    assert said == {"precision": "bf16", "because": {"name": "Made-up 9000"}}
    assert decide_precision(study, never).precision == "bf16"
    assert open_study(tmp_path, TINY).precision == known_precision(study) == "bf16"


def test_no_machine_is_asked_where_preset_or_plan_say_the_precision(tmp_path):
    study = study_of(tmp_path)
    assert decide_precision(replace(study, preset=replace(study.preset, precision="bf16")), never).precision == "bf16"
    write_json(study.reports / "plan.json", BF16)
    assert decide_precision(study, never).precision == "bf16"
    assert not (tmp_path / "precision.json").exists()


@pytest.mark.parametrize("content", ["", '{"precision": ', '{"precision": "fp16"}', "{}", "[]", '"fp32"', "null"])
def test_a_damaged_precision_file_is_named_and_left_alone(tmp_path, content):
    path = tmp_path / "precision.json"
    path.write_text(content)
    for ask in (
        known_precision,
        lambda study: decide_precision(study, never),
        lambda study: open_study(tmp_path, TINY),
    ):
        with pytest.raises(MissingArtefact) as caught:
            ask(study_of(tmp_path))
        assert caught.value.subject == path and "\n" not in str(caught.value)
    assert open_study(tmp_path, TINY, "fp32").precision == "fp32"  # what is typed needs no file
    assert path.read_text() == content


DECIDES = """
import sys
from pathlib import Path
from swdb.core import lease
from swdb.specs.presets import load_preset
from swdb.specs.study import Study
from swdb.study.workdir import decide_precision
folder, preset, mine = sys.argv[1:]
lease.announce = lambda line: print(line, flush=True)
lease.POLL = 0.02
def choose():
    print("choosing", flush=True)
    sys.stdin.readline()
    return mine, {}
study = Study(Path(folder), load_preset(preset), "fp32")
print("ready", flush=True)
sys.stdin.readline()
print(decide_precision(study, choose).precision, flush=True)
"""


def test_of_two_processes_that_decide_at_once_one_waits_for_the_other_and_takes_its_choice(tmp_path):
    def start(mine: str) -> subprocess.Popen:
        command = [sys.executable, "-c", DECIDES, str(tmp_path), TINY, mine]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def go(process: subprocess.Popen) -> None:
        process.stdin.write("go\n")
        process.stdin.flush()

    first, second = start("bf16"), start("fp32")
    assert [process.stdout.readline() for process in (first, second)] == ["ready\n", "ready\n"]
    go(first)
    assert first.stdout.readline() == "choosing\n"
    go(second)
    line = second.stdout.readline()
    assert "precision.json" in line and f"process {first.pid} " in line
    go(first)
    assert first.communicate(timeout=60)[0] == second.communicate(timeout=60)[0] == "bf16\n"  # and nobody chose again
    assert json.loads((tmp_path / "precision.json").read_text())["precision"] == "bf16"


# ---------------------------------------------------------------- the layout


def test_an_empty_directory_is_noted_without_a_word(tmp_path):
    assert note_layout(tmp_path / "work") is None
    assert json.loads((tmp_path / "work" / "swdb.json").read_text()) == {"version": 2}
    assert note_layout(tmp_path / "work") is None
    assert open_study(tmp_path / "work", TINY, "fp32")


def test_a_directory_of_version_0_1_is_told_of_once(tmp_path):
    for old in ("runs/dual-s0-0123456789", "cues/cues-classifier-0123456789"):
        write_json(tmp_path / old / "done.json", {})
    line = note_layout(tmp_path)
    assert str(tmp_path) in line and "0.1" in line and "\n" not in line
    assert "runs" in line and "cues" in line and "proxies" not in line and "weights" not in line
    assert note_layout(tmp_path) is None


def test_what_was_not_finished_does_not_make_a_directory_old(tmp_path):
    write_json(tmp_path / "runs" / "dual-s0-0123456789" / "inputs.json", {})
    write_json(tmp_path / "data" / "tiny" / "manifest.json", {})  # data sets are kept
    assert note_layout(tmp_path) is None


def test_a_directory_of_a_newer_version_is_refused(tmp_path):
    write_json(tmp_path / "swdb.json", {"version": 3})
    with pytest.raises(BadInput) as caught:
        open_study(tmp_path, TINY)
    error = caught.value
    assert error.subject == tmp_path / "swdb.json" and "version 3" in error.found and "version 2" in error.expected


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", *(f'{{"version": {v}}}' for v in (1, "null", '"2"', "[2]"))])
def test_a_damaged_note_of_the_layout_is_named(tmp_path, content):
    (tmp_path / "swdb.json").write_text(content)
    with pytest.raises(MissingArtefact) as caught:
        open_study(tmp_path, TINY)
    assert caught.value.subject == tmp_path / "swdb.json" and caught.value.found == "damaged"


# ---------------------------------------------------------------- files that are named


PRESETS = {
    "weights": ('weights = "pretext"', 'weights = "file"'),
    "cues": ('cues = "classifier"', 'cues = "file"'),
}
NEEDS = pytest.mark.parametrize("kind", PRESETS)


def preset(folder: Path, *kinds: str) -> str:
    """Write the tiny preset, which needs no file, as one that needs these."""
    text = Path(TINY).read_text()
    for old, new in (PRESETS[kind] for kind in kinds):
        assert old in text
        text = text.replace(old, new, 1)
    path = folder / "mine.toml"
    path.write_text(text)
    return str(path)


def named_file(folder: Path, name: str = "downloaded.npz", content: bytes = b"content", ids: str | None = None) -> Path:
    """A file that the user names, perhaps with the list of images that goes with cues."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    if ids is not None:
        (folder / "input_list.txt").write_text(ids)
    return folder / name


def opened(tmp_path: Path, preset: str, kind: str, path: Path | None = None, **options) -> NamedFile | None:
    """Open a work directory, naming a file or none; returns the file that the study then has."""
    study = open_study(tmp_path / "work", preset, "fp32", Named(**{kind: path}), **options)
    return study.files.get(kind)


def kept(tmp_path: Path, kind: str) -> dict[str, bytes]:
    return files_in(tmp_path / "work" / "inputs" / "tiny" / kind)


def planned(study: Study, kind: str) -> str:
    """The id of what is made from this kind of file."""
    graph = Graph(study, all_runs(load_tables()))
    return graph.weights.id if kind == "weights" else graph.cues.id


@NEEDS
def test_a_file_that_the_preset_needs_is_named_once(tmp_path, kind):
    mine, theirs = preset(tmp_path, kind), named_file(tmp_path / "downloads")
    first = opened(tmp_path, mine, kind, theirs)
    theirs.unlink()
    again = opened(tmp_path, mine, kind)
    assert again == first and again.path.read_bytes() == b"content" and again.path.name == "downloaded.npz"
    assert again.path.parent == tmp_path / "work" / "inputs" / "tiny" / kind
    assert again.digests == {"file": file_digest(again.path)}


@NEEDS
def test_a_file_that_is_kept_gives_the_ids_that_it_gave_when_it_was_named(tmp_path, kind):
    mine, theirs = preset(tmp_path, "weights", "cues"), named_file(tmp_path / "downloads")
    first = open_study(tmp_path / "work", mine, "fp32", Named(theirs, theirs))
    later = open_study(tmp_path / "work", mine, "fp32")
    looking = open_study(tmp_path / "other", mine, "fp32", Named(theirs, theirs), remember=False)
    assert planned(first, kind) == planned(later, kind) == planned(looking, kind)


@NEEDS
def test_ids_can_be_planned_when_the_kept_files_are_deleted(tmp_path, kind):
    mine = preset(tmp_path, "weights", "cues")
    theirs = named_file(tmp_path / "downloads", "cues.pickle", ids="2007_000032 0")
    first = open_study(tmp_path / "work", mine, "fp32", Named(theirs, theirs))
    for path in (tmp_path / "work" / "inputs" / "tiny" / kind).iterdir():
        path.unlink()
    later = open_study(tmp_path / "work", mine, "fp32")
    assert later.files == first.files and planned(later, kind) == planned(first, kind)
    with pytest.raises(MissingArtefact) as caught:  # who makes something from it misses it
        later.files[kind].verify(f"--{kind}")
    assert str(later.files[kind].path) in caught.value.subject


def test_a_finished_directory_whose_files_are_gone_is_planned_and_measured(tmp_path):
    mine, theirs = preset(tmp_path, "weights", "cues"), named_file(tmp_path / "downloads")
    tables = load_tables()
    rows = [(tables[4], row) for row in tables[4].rows]

    def graph() -> Graph:
        return Graph(open_study(tmp_path / "work", mine, "fp32"), all_runs(tables))

    open_study(tmp_path / "work", mine, "fp32", Named(theirs, theirs))
    at = graph()
    plan = write_plan(at.study, make_plan(at, rows, [0, 1]))
    finish_all(plan.scores.values())
    theirs.unlink()
    for kind in ("weights", "cues"):
        (tmp_path / "work" / "inputs" / "tiny" / kind / "downloaded.npz").unlink()
        (graph().weights if kind == "weights" else graph().cues).record.unlink()
    for scores in (make_plan(graph(), rows, [0, 1]).cells(4), read_plan(graph().study).cells(4)):
        measured = measure(tables[4], at.runs, scores)
        assert measured.complete and measured.seeds == [0, 1]
        assert measured == measure(tables[4], at.runs, plan.cells(4))


def test_cues_are_kept_with_their_list(tmp_path):
    mine, theirs = preset(tmp_path, "cues"), named_file(tmp_path / "downloads", "cues.pickle.gz", ids="2007_000032 0")
    opened(tmp_path, mine, "cues", theirs)
    assert kept(tmp_path, "cues") == {"cues.pickle.gz": b"content", "input_list.txt": b"2007_000032 0"}
    assert opened(tmp_path, mine, "cues").path.name == "cues.pickle.gz"


def test_cues_are_known_by_their_list_too_where_it_is_read_and_not_secs_own(tmp_path, monkeypatch):
    mine = preset(tmp_path, "cues")

    def digests(name: str, ids: str | None) -> set[str]:
        theirs = named_file(tmp_path / f"{name}{ids}", name, ids=ids)
        return set(opened(tmp_path, mine, "cues", theirs, remember=False).digests)

    assert digests("cues.pickle", "2007_000032 0") == {"file", "list"}
    assert digests("cues.pickle", None) == {"file"}
    assert digests("cues.npz", "2007_000032 0") == {"file"}  # whose ids are inside
    monkeypatch.setattr(sec_cues, "SEC_LIST", file_digest(tmp_path / "cues.pickle2007_000032 0" / "input_list.txt"))
    assert len(SEC_LIST) == 64 and digests("cues.pickle", "2007_000032 0") == {"file"}


@NEEDS
def test_another_file_takes_the_place_of_the_one_that_is_kept(tmp_path, kind):
    mine = preset(tmp_path, kind)
    first = opened(tmp_path, mine, kind, named_file(tmp_path / "one", ids="2007_000032 0"))
    opened(tmp_path, mine, kind, named_file(tmp_path / "two", "other.npz", b"other content"))
    assert kept(tmp_path, kind) == {"other.npz": b"other content"}  # nor is the list of the first one left
    again = opened(tmp_path, mine, kind)
    assert again.path.read_bytes() == b"other content" and again.digests != first.digests


@NEEDS
def test_another_file_of_the_same_name_takes_the_place_of_the_one_that_is_kept(tmp_path, kind):
    mine = preset(tmp_path, kind)
    opened(tmp_path, mine, kind, named_file(tmp_path / "one"))
    opened(tmp_path, mine, kind, named_file(tmp_path / "two", content=b"other content"))
    assert kept(tmp_path, kind) == {"downloaded.npz": b"other content"}
    again = opened(tmp_path, mine, kind)
    again.verify(f"--{kind}")  # what is noted is what is there


@NEEDS
def test_the_file_that_is_kept_may_be_named_itself(tmp_path, kind):
    mine = preset(tmp_path, kind)
    opened(tmp_path, mine, kind, named_file(tmp_path / "downloads", ids="2007_000032 0"))
    before = kept(tmp_path, kind)
    (tmp_path / "link").symlink_to(tmp_path / "work")
    for folder in ("work", "link"):
        again = tmp_path / folder / "inputs" / "tiny" / kind / "downloaded.npz"
        assert opened(tmp_path, mine, kind, again).path.samefile(again)
        assert kept(tmp_path, kind) == before


@NEEDS
def test_what_a_killed_command_left_half_copied_is_not_taken_for_the_file(tmp_path, kind):
    mine, place = preset(tmp_path, kind), tmp_path / "work" / "inputs" / "tiny" / kind
    place.mkdir(parents=True)
    (place / ".downloaded.npz.0123456789ab.tmp").write_bytes(b"con")
    assert opened(tmp_path, mine, kind) is None
    opened(tmp_path, mine, kind, named_file(tmp_path / "downloads"))
    assert kept(tmp_path, kind) == {"downloaded.npz": b"content"}


@NEEDS
def test_the_file_that_is_kept_stays_where_the_disk_is_full(tmp_path, kind, monkeypatch):
    mine = preset(tmp_path, kind)
    first = opened(tmp_path, mine, kind, named_file(tmp_path / "one"))
    other = named_file(tmp_path / "two", "other.npz", b"other content")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with leased(tmp_path / "work" / "inputs" / "tiny"), pytest.raises(DiskRefused) as caught:
        monkeypatch.setattr(os, "fsync", full)
        opened(tmp_path, mine, kind, other)
    assert caught.value.subject.name == "other.npz"
    monkeypatch.undo()
    assert kept(tmp_path, kind) == {"downloaded.npz": b"content"}
    assert opened(tmp_path, mine, kind) == first


@NEEDS
def test_a_command_that_only_looks_keeps_nothing(tmp_path, kind):
    mine, theirs = preset(tmp_path, kind), named_file(tmp_path / "downloads")
    assert opened(tmp_path, mine, kind, theirs, remember=False).path == theirs
    assert not (tmp_path / "work").exists()
    opened(tmp_path, mine, kind, theirs)
    before = files_in(tmp_path / "work")
    assert opened(tmp_path, mine, kind, remember=False).path.read_bytes() == b"content"
    other = named_file(tmp_path / "two", "other.npz", b"other content")
    assert opened(tmp_path, mine, kind, other, remember=False).path == other
    assert files_in(tmp_path / "work") == before


@NEEDS
def test_a_file_that_is_not_there_is_named_and_the_one_that_is_kept_stays(tmp_path, kind):
    mine = preset(tmp_path, kind)
    first = opened(tmp_path, mine, kind, named_file(tmp_path / "downloads"))
    with pytest.raises(MissingArtefact) as caught:
        opened(tmp_path, mine, kind, tmp_path / "no.npz")
    assert caught.value.subject == f"--{kind} {tmp_path / 'no.npz'}"
    assert opened(tmp_path, mine, kind) == first


@NEEDS
def test_a_preset_that_needs_a_file_can_be_opened_without_it(tmp_path, kind):
    mine = preset(tmp_path, kind)
    study = open_study(tmp_path / "work", mine, "fp32")
    with pytest.raises(NotNamed) as caught:
        planned(study, kind)
    assert caught.value.subject == f"--{kind}"


@NEEDS
def test_a_file_that_the_preset_does_without_is_named_each_time(tmp_path, kind):
    theirs = named_file(tmp_path / "downloads")
    assert opened(tmp_path, TINY, kind, theirs).path == theirs
    assert not (tmp_path / "work").exists()
    assert opened(tmp_path, TINY, kind) is None


@pytest.mark.parametrize("name", [TINY, "synthetic", "voc"])
def test_cues_that_are_named_make_the_proxies_of_any_preset(tmp_path, name):
    theirs = named_file(tmp_path / "downloads")
    plain, cued = (
        Graph(open_study(tmp_path, name, "fp32", named), all_runs(load_tables()))
        for named in (None, Named(cues=theirs))
    )
    assert cued.study.preset == changed(plain.study.preset, "proxy", cues="file")
    assert plain.cues.name == "cues-classifier" and cued.cues.name == "cues-file"
    assert plain.proxies(1).id != cued.proxies(1).id
    strong = plain.run_spec("strong")  # needs no proxies
    assert plain.run(strong, 0).id == cued.run(strong, 0).id


def test_presets_of_other_names_keep_files_of_their_own(tmp_path):
    mine = preset(tmp_path, "weights")
    opened(tmp_path, mine, "weights", named_file(tmp_path / "downloads"))
    text = Path(mine).read_text()
    Path(mine).write_text(text.replace('name = "tiny"', 'name = "other"', 1))
    assert opened(tmp_path, mine, "weights") is None


def test_a_file_of_one_kind_leaves_what_is_noted_of_the_others(tmp_path):
    mine = preset(tmp_path, "weights", "cues")
    weights = opened(tmp_path, mine, "weights", named_file(tmp_path / "one", "a.pth"))
    cues = opened(tmp_path, mine, "cues", named_file(tmp_path / "two", "b.npz"))
    assert open_study(tmp_path / "work", mine, "fp32").files == {"weights": weights, "cues": cues}


# ---------------------------------------------------------------- the preprocessing of weights


def with_weights(folder: Path, preset_name: str, weights: Path | None = None, preprocessing: str | None = None):
    """Open a study with what was typed; returns its weights."""
    named = Named(weights=weights, preprocessing=preprocessing)
    return open_study(folder / "work", preset_name, "fp32", named).files.get("weights")


def test_a_preprocessing_that_is_declared_is_kept_with_the_weights(tmp_path):
    mine, theirs = preset(tmp_path, "weights"), named_file(tmp_path / "downloads", "a.pth")
    declared = with_weights(tmp_path, mine, theirs, "caffe")
    assert parsed(declared.digests["preprocessing"]) == IMAGENET_BGR_CAFFE
    assert with_weights(tmp_path, mine) == declared
    assert with_weights(tmp_path, mine, theirs) == declared  # the same bytes, named again
    other = with_weights(tmp_path, mine, preprocessing="imagenet")
    assert parsed(other.digests["preprocessing"]) == IMAGENET_RGB and with_weights(tmp_path, mine) == other


def test_other_weights_forget_what_was_declared_of_the_last_ones(tmp_path):
    mine = preset(tmp_path, "weights")
    with_weights(tmp_path, mine, named_file(tmp_path / "one", "a.pth"), "caffe")
    (tmp_path / "b.pth").write_bytes(b"others")
    assert "preprocessing" not in with_weights(tmp_path, mine, tmp_path / "b.pth").digests


def test_weights_that_are_not_kept_are_declared_with_every_command(tmp_path):
    theirs = named_file(tmp_path / "downloads", "a.pth")
    assert "preprocessing" in with_weights(tmp_path, TINY, theirs, "caffe").digests
    assert "preprocessing" not in with_weights(tmp_path, TINY, theirs).digests
    assert not (tmp_path / "work").exists()


def test_a_preprocessing_without_weights_is_refused(tmp_path):
    with pytest.raises(BadInput) as caught:
        with_weights(tmp_path, TINY, preprocessing="caffe")
    assert caught.value.subject == "--preprocessing caffe" and "--weights" in caught.value.expected


def test_another_preprocessing_makes_other_weights_and_the_one_that_was_assumed_the_same(tmp_path):
    theirs = named_file(tmp_path / "downloads", "a.pth")
    runs = all_runs(load_tables())
    ids = [
        Graph(open_study(tmp_path, TINY, "fp32", Named(weights=theirs, preprocessing=word)), runs).weights.id
        for word in (None, "imagenet", "caffe", "imagenet-caffe")
    ]
    assert ids[0] == ids[1] and len(set(ids)) == 3


def test_weights_that_swdb_made_bring_their_preprocessing(finished, tmp_path):
    (made,) = finished.glob("weights/pretext-*/weights.pt")
    own = with_weights(tmp_path, TINY, made)
    assert parsed(own.digests["preprocessing"]) == Preprocessing()
    assert "preprocessing" not in with_weights(tmp_path, TINY, Path(shutil.copy(made, tmp_path / "own.pth"))).digests


DAMAGED = [
    "",
    "[]",
    '"weights"',
    '{"weights": 7}',
    '{"weights": {"path": "a.pth"}}',
    '{"weights": {"digests": {}}}',
    '{"weights": {"path": 3, "digests": {}}}',
    '{"weights": {"path": "a.pth", "digests": {}}}',
    '{"weights": {"path": "a.pth", "digests": ["file"]}}',
]


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_note_of_the_files_is_named_and_naming_them_again_heals_it(tmp_path, content):
    mine, theirs = preset(tmp_path, "weights"), named_file(tmp_path / "downloads")
    first = opened(tmp_path, mine, "weights", theirs)
    note = tmp_path / "work" / "inputs" / "tiny" / "named.json"
    note.write_text(content)
    with pytest.raises(MissingArtefact) as caught:
        opened(tmp_path, mine, "weights")
    assert caught.value.subject == note
    assert opened(tmp_path, mine, "weights", theirs) == opened(tmp_path, mine, "weights") == first


# ---------------------------------------------------------------- saliency maps


def maps_in(folder: Path, content: bytes = b"1") -> Path:
    (folder / "b.png").mkdir(parents=True)  # a folder is no map
    (folder / "a.png").write_bytes(content)
    return folder


def test_a_folder_of_saliency_maps_is_named_once(tmp_path):
    folder = maps_in(tmp_path / "maps")
    first = opened(tmp_path, TINY, "saliency", folder)
    again = opened(tmp_path, TINY, "saliency")
    assert first == again and again.path == folder.resolve() and again.digests.keys() == {"saliency"}
    assert open_study(tmp_path / "other", TINY, "fp32").files == {}
    other = opened(tmp_path, TINY, "saliency", maps_in(tmp_path / "others", b"2"))
    assert other.digests != first.digests and opened(tmp_path, TINY, "saliency") == other


def test_a_folder_of_saliency_maps_is_known_when_it_is_gone(tmp_path):
    folder = maps_in(tmp_path / "maps")
    first = opened(tmp_path, TINY, "saliency", folder)
    folder.rename(tmp_path / "elsewhere")
    assert opened(tmp_path, TINY, "saliency") == first


def test_saliency_maps_are_forgotten_by_none(tmp_path):
    opened(tmp_path, TINY, "saliency", maps_in(tmp_path / "maps"))
    assert opened(tmp_path, TINY, "saliency", Path("none"), remember=False) is None
    assert opened(tmp_path, TINY, "saliency") is not None
    assert opened(tmp_path, TINY, "saliency", Path("none")) is None
    assert opened(tmp_path, TINY, "saliency") is None


def test_to_forget_where_nothing_was_noted_writes_nothing(tmp_path):
    assert opened(tmp_path, TINY, "saliency", Path("none")) is None
    assert not (tmp_path / "work").exists()


def test_a_command_that_only_looks_notes_no_saliency_maps(tmp_path):
    assert opened(tmp_path, TINY, "saliency", maps_in(tmp_path / "maps"), remember=False) is not None
    assert not (tmp_path / "work").exists()


def test_a_folder_of_saliency_maps_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BadInput) as caught:
        opened(tmp_path, TINY, "saliency", tmp_path / "no")
    assert caught.value.subject == f"--saliency {tmp_path / 'no'}"


def test_saliency_maps_do_not_go_with_cues_from_a_file(tmp_path):
    named = Named(cues=named_file(tmp_path / "downloads"), saliency=maps_in(tmp_path / "maps"))
    with pytest.raises(BadInput) as caught:
        open_study(tmp_path / "work", TINY, "fp32", named)
    assert caught.value.subject == f"--saliency {named.saliency}"
    assert not (tmp_path / "work").exists()


def test_a_preset_of_cues_does_not_read_saliency_maps_that_were_noted(tmp_path):
    opened(tmp_path, TINY, "saliency", maps_in(tmp_path / "maps"))
    assert opened(tmp_path, preset(tmp_path, "cues"), "saliency") is None


# ---------------------------------------------------------------- directories of version 0.1


@NEEDS
def test_files_that_version_0_1_kept_are_read(tmp_path, kind):
    mine = preset(tmp_path, kind)
    place = tmp_path / "work" / "inputs" / "tiny" / kind
    place.mkdir(parents=True)
    theirs = named_file(place, "a.pickle", ids="2007_000032 0" if kind == "cues" else None)
    found = opened(tmp_path, mine, kind)
    assert found.path == theirs
    assert found.digests == opened(tmp_path / "new", mine, kind, theirs).digests  # so it gives the same ids
    assert files_in(tmp_path / "work").keys() == {f"inputs/tiny/{kind}/{path.name}" for path in place.iterdir()}


def test_saliency_maps_that_version_0_1_noted_are_read_and_forgotten(tmp_path):
    folder = maps_in(tmp_path / "maps")
    note = tmp_path / "work" / "inputs" / "tiny" / "saliency.json"
    write_json(note, {"folder": str(folder), "sha256": "0" * 64})
    assert opened(tmp_path, TINY, "saliency") == NamedFile(folder, {"saliency": "0" * 64})
    named = opened(tmp_path, TINY, "saliency", folder)
    assert named.digests["saliency"] != "0" * 64 and opened(tmp_path, TINY, "saliency") == named
    write_json(note, {"folder": str(folder), "sha256": "0" * 64})
    assert opened(tmp_path, TINY, "saliency", Path("none")) is None
    assert opened(tmp_path, TINY, "saliency") is None
    assert not note.exists()


@pytest.mark.parametrize("content", ["{}", "[]", '{"folder": 3, "sha256": ""}', "{"])
def test_a_damaged_note_of_version_0_1_is_named_and_forgotten_by_none(tmp_path, content):
    note = tmp_path / "work" / "inputs" / "tiny" / "saliency.json"
    write_json(note, None)
    note.write_text(content)
    with pytest.raises(MissingArtefact) as caught:
        opened(tmp_path, TINY, "saliency")
    assert caught.value.subject == note
    assert opened(tmp_path, TINY, "saliency", Path("none")) is None
    assert opened(tmp_path, TINY, "saliency") is None


# ---------------------------------------------------------------- directories that are moved


@NEEDS
def test_a_directory_that_was_moved_finds_the_files_that_it_keeps(tmp_path, kind):
    mine = preset(tmp_path, kind)
    first = opened(tmp_path / "here", mine, kind, named_file(tmp_path / "downloads"))
    (tmp_path / "here").rename(tmp_path / "there")
    again = opened(tmp_path / "there", mine, kind)
    assert again.digests == first.digests
    again.verify(f"--{kind}")


@NEEDS
def test_a_directory_that_is_named_from_elsewhere_finds_the_files_that_it_keeps(tmp_path, kind, monkeypatch):
    mine, theirs = preset(tmp_path, kind), named_file(tmp_path / "downloads")
    monkeypatch.chdir(tmp_path)
    open_study(Path("work"), mine, "fp32", Named(**{kind: theirs}))
    monkeypatch.chdir(theirs.parent)
    opened(tmp_path, mine, kind).verify(f"--{kind}")


@NEEDS
def test_files_of_others_beside_what_is_kept_are_not_deleted(tmp_path, kind):
    mine, place = preset(tmp_path, kind), tmp_path / "work" / "inputs" / "tiny" / kind
    place.mkdir(parents=True)
    (place / "best.pth").write_text("three weeks")
    opened(tmp_path, mine, kind, named_file(tmp_path / "downloads"))
    assert (place / "best.pth").read_text() == "three weeks"


@NEEDS
def test_files_are_not_kept_behind_a_link(tmp_path, kind):
    mine, place = preset(tmp_path, kind), tmp_path / "work" / "inputs" / "tiny" / kind
    (tmp_path / "models").mkdir()
    place.parent.mkdir(parents=True)
    place.symlink_to(tmp_path / "models")
    with pytest.raises(DiskRefused) as caught:
        opened(tmp_path, mine, kind, named_file(tmp_path / "downloads"))
    assert caught.value.subject == place
    assert list((tmp_path / "models").iterdir()) == []
