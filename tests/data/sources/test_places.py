"""Which file of a source counts: made-up sources with doubled files, packed in any way and order, end in one outcome."""

import io
import random
import shutil
import tarfile
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import voc_tree
from voc_tree import DATA, TRAIN, TRAIN_AUG, VAL, build_official

from swdb.core.errors import BadInput, SwdbError
from swdb.core.files import write_json
from swdb.core.progress import silent
from swdb.data.prepare import prepare
from swdb.data.sources import archives, places
from swdb.data.sources.places import LIST, SBD_MASK, SBD_PLACES, VOC_PLACES, Claim, Claims
from swdb.data.sources.voc2012 import Sources, reference_lists
from swdb.data.voc import CLASSES

WEAK = TRAIN_AUG[2:]
TOP = "VOCdevkit/VOC2012"
Files = list[tuple[str, bytes]]  # names and contents of a source, in its order; a name may be there twice


@pytest.fixture(scope="module")
def official(tmp_path_factory) -> Path:
    """VOC 2012 and SBD side by side (read only)."""
    return build_official(tmp_path_factory.mktemp("official"))


@pytest.fixture(scope="module")
def digest(official, tmp_path_factory) -> str:
    """What every right form of the sources ends in."""
    sources = Sources(official / "VOCdevkit", official / "benchmark_RELEASE")
    return prepare(DATA, tmp_path_factory.mktemp("data") / "mini", sources, silent).digest


def files_of(folder: Path, top: str) -> Files:
    paths = [path for path in sorted((folder / top).rglob("*")) if path.is_file()]
    return [(path.relative_to(folder).as_posix(), path.read_bytes()) for path in paths]


def pack(path: Path, files: Files, form: str) -> Path:
    """Pack files in their order; a folder has of two files of one name the last one, as if it had been unpacked."""
    if form == "folder":
        for name, content in files:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
    elif form == "zip":
        with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(path, "w") as archive:
            for name, content in files:
                archive.writestr(name, content)
    else:
        with tarfile.open(path, "w:gz" if form == "tar.gz" else "w") as archive:
            for name, content in files:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return path


def outcome(tmp_path: Path, voc: Path, sbd: Path) -> str:
    """The digest of what is prepared, or what is refused, as far as it does not name the source."""
    try:
        return prepare(DATA, tmp_path / "mini", Sources(voc, sbd), silent).digest
    except SwdbError as error:
        assert type(error) is BadInput and not (tmp_path / "mini").exists()
        return error.found


def png(value: int, image_id: str) -> bytes:
    """A mask of another class, as large as that of the image."""
    height, width = voc_tree.SIZES[[*TRAIN_AUG, *VAL].index(image_id)]
    path = io.BytesIO()
    mask = voc_tree.Image.fromarray(np.full((height, width), value, np.uint8))
    mask.putpalette(voc_tree.palette().tobytes())
    mask.save(path, "PNG")
    return path.getvalue()


def jpg(image_id: str) -> bytes:
    height, width = voc_tree.SIZES[[*TRAIN_AUG, *VAL].index(image_id)]
    path = io.BytesIO()
    voc_tree.Image.new("RGB", (width, height), "red").save(path, "JPEG")
    return path.getvalue()


def boxes(*names: str) -> bytes:
    return f"<annotation>{''.join(f'<object><name>{n}</name></object>' for n in names)}</annotation>".encode()


# ---------------------------------------------------------------- two files for one thing

# What is asked of which source, and another file that says something else of it.
DOUBLED = {
    "image": ("voc", f"JPEGImages/{WEAK[0]}.jpg", jpg(WEAK[0])),
    "mask": ("voc", f"SegmentationClass/{TRAIN[1]}.png", png(9, TRAIN[1])),
    "annotation": ("voc", f"Annotations/{WEAK[1]}.xml", boxes("cow")),
    "list": ("voc", "ImageSets/Segmentation/train.txt", f"{TRAIN[0]}\n".encode()),
    "mask of SBD's": ("sbd", f"cls/{WEAK[0]}.mat", None),
    "list of SBD's": ("sbd", "dataset/val.txt", f"{VAL[0]}\n".encode()),
}


@pytest.mark.parametrize("form", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize("what", DOUBLED)
@pytest.mark.parametrize("equal", [True, False])
def test_of_a_doubled_member_equal_bytes_are_no_conflict_and_others_are_refused(
    official, digest, tmp_path, form, what, equal
):
    option, end, other = DOUBLED[what]
    files = {
        "voc": files_of(official, "VOCdevkit"),
        "sbd": files_of(official, "benchmark_RELEASE"),
    }
    (at,) = [k for k, (name, _) in enumerate(files[option]) if name.endswith(end)]
    name, content = files[option][at]
    if other is None:
        other = next(data for name, data in files["sbd"] if name.endswith(f"cls/{TRAIN[0]}.mat"))
    found = set()
    draw = random.Random(end)
    for number in range(3):  # before, behind and somewhere
        doubled = [*files[option], (name, content if equal else other)]
        if number:
            draw.shuffle(doubled)
        folder = tmp_path / str(number)
        folder.mkdir()
        named = {key: pack(folder / key, doubled if key == option else files[key], form) for key in files}
        found.add(outcome(folder, named["voc"], named["sbd"]))
    if equal:
        assert found == {digest}
    else:
        (refusal,) = found
        assert f"{name}, twice" in refusal or f"{name} and {name}" in refusal


@pytest.mark.parametrize("form", ["folder", "zip", "tar", "tar.gz"])
@pytest.mark.parametrize("what", DOUBLED)
def test_of_two_folders_of_one_kind_both_files_are_named(official, digest, tmp_path, form, what):
    option, end, other = DOUBLED[what]
    top = "VOCdevkit" if option == "voc" else "benchmark_RELEASE"
    files = files_of(official, top)
    copies = [(f"backup/{name}", content) for name, content in files]
    same = pack(tmp_path / "same", files + copies, form)
    named = {"voc": official / "VOCdevkit", "sbd": official / "benchmark_RELEASE"}
    (tmp_path / "a").mkdir()
    assert outcome(tmp_path / "a", **{**named, option: same}) == digest
    other = other or next(data for name, data in files if name.endswith(f"cls/{TRAIN[0]}.mat"))
    spoilt = [(name, other if name.endswith(end) else content) for name, content in copies]
    found = set()
    for number, order in enumerate((files + spoilt, spoilt + files)):
        folder = tmp_path / f"b{number}"
        folder.mkdir()
        found.add(outcome(folder, **{**named, option: pack(folder / "source", order, form)}))
    (refusal,) = found
    (name,) = [name for name, _ in files if name.endswith(end)]
    assert " and ".join(sorted((name, f"backup/{name}"))) in refusal


@pytest.mark.parametrize("seed", range(8))
def test_made_up_sources_with_doubled_files_end_in_the_set_or_in_one_refusal(official, digest, tmp_path, seed):
    draw = random.Random(seed)
    files = {"voc": files_of(official, "VOCdevkit"), "sbd": files_of(official, "benchmark_RELEASE")}
    right = True
    for what in draw.sample(sorted(DOUBLED), 3):
        option, end, other = DOUBLED[what]
        name, content = next(item for item in files[option] if item[0].endswith(end))
        equal = draw.random() < 0.7
        if not equal:
            right, content = False, other or b"not a matrix"
        elsewhere = draw.choice(["", "backup/", "VOCdevkit/", "a b/c/"])
        files[option].append((elsewhere + name, content))
    found = set()
    for form in ("zip", "tar", "tar.gz"):
        draw.shuffle(files["voc"]), draw.shuffle(files["sbd"])
        (tmp_path / form).mkdir()
        found.add(outcome(tmp_path / form, *(pack(tmp_path / form / key, files[key], form) for key in files)))
    assert len(found) == 1
    assert (found == {digest}) == right


def test_two_pictures_of_an_image_that_nobody_asks_for_are_no_conflict(official, digest, tmp_path):
    files = files_of(official, "VOCdevkit")
    odd = [(f"{top}/JPEGImages/2011_009999.jpg", content) for top, content in (("a", b"1"), ("b", b"2"))]
    voc = pack(tmp_path / "v.tar", [*odd, *files], "tar")
    assert outcome(tmp_path, voc, official / "benchmark_RELEASE") == digest


def test_the_number_of_masks_decides_nothing(official, tmp_path, monkeypatch):
    files = files_of(official, "benchmark_RELEASE")
    name, _ = next(item for item in files if item[0].endswith(f"cls/{WEAK[0]}.mat"))
    other = next(data for at, data in files if at.endswith(f"cls/{TRAIN[0]}.mat"))
    sbd = pack(tmp_path / "s.tar", [*files, (name, other)], "tar")
    found = set()
    for few in (1, 2, 64):
        monkeypatch.setattr("swdb.data.sources.sbd.FEW", few)
        (tmp_path / str(few)).mkdir()
        found.add(outcome(tmp_path / str(few), official / "VOCdevkit", sbd))
    assert len(found) == 1 and f"{name}, twice" in found.pop()


# ---------------------------------------------------------------- the documented place


def wrong_masks(folder: str) -> Files:
    return [(f"{folder}/{image_id}.png", png(13, image_id)) for image_id in WEAK]


@pytest.mark.parametrize("form", ["folder", "zip", "tar", "tar.gz"])
@pytest.mark.parametrize("folder", ["SegmentationObjectAug", "a_pseudo_labels", "saliency_map", "dataset/cls_png"])
@pytest.mark.parametrize("documented", ["cls", "SegmentationClassAug"])
def test_pngs_beside_the_documented_place_are_not_sbd_s_masks(official, digest, tmp_path, form, folder, documented):
    right = files_of(official, "benchmark_RELEASE" if documented == "cls" else documented)
    for number, files in enumerate((right + wrong_masks(folder), wrong_masks(folder) + right)):
        (tmp_path / str(number)).mkdir()
        sbd = pack(tmp_path / str(number) / "sbd", files, form)
        assert outcome(tmp_path / str(number), official / "VOCdevkit", sbd) == digest


@pytest.mark.parametrize("form", ["folder", "tar.gz"])
def test_matlab_files_go_before_converted_masks(official, digest, tmp_path, form):
    files = wrong_masks("SegmentationClassAug") + files_of(official, "benchmark_RELEASE")
    sbd = pack(tmp_path / "sbd", files, form)
    assert outcome(tmp_path, official / "VOCdevkit", sbd) == digest


def test_converted_masks_stand_in_for_matlab_files_that_are_not_there(official, digest, tmp_path):
    mats = [item for item in files_of(official, "benchmark_RELEASE") if WEAK[1] not in item[0]]
    sbd = pack(tmp_path / "sbd", mats + files_of(official, "SegmentationClassAug"), "tar.gz")
    assert outcome(tmp_path, official / "VOCdevkit", sbd) == digest


def test_a_tree_of_voc_with_pngs_elsewhere_is_no_source_of_sbd_s_masks(official, tmp_path):
    shutil.copytree(official / "VOCdevkit", tmp_path / "tree")
    pack(tmp_path / "tree", wrong_masks("pseudo_labels"), "folder")
    found = outcome(tmp_path, official / "VOCdevkit", tmp_path / "tree")
    assert "holds no masks" in found


def test_a_folder_of_nothing_but_pngs_is_one_whatever_its_name(official, digest, tmp_path):
    shutil.copytree(official / "SegmentationClassAug", tmp_path / "masks")
    assert outcome(tmp_path, official / "VOCdevkit", tmp_path / "masks") == digest


def test_names_of_masks_elsewhere_are_not_in_the_lists_that_others_are_compared_with(official, tmp_path):
    shutil.copytree(official / "SegmentationClassAug", tmp_path / "s" / "SegmentationClassAug")
    pack(tmp_path / "s", [("pseudo/2011_001234.png", b"")], "folder")
    lists = reference_lists(Sources(official / "VOCdevkit", tmp_path / "s"))
    assert lists["train_aug"] == TRAIN_AUG


def test_a_stream_is_read_once_where_nothing_is_doubled(official, digest, tmp_path, monkeypatch):
    sbd = pack(tmp_path / "s.tgz", files_of(official, "benchmark_RELEASE"), "tar.gz")
    opened, walk = [], archives._tar
    monkeypatch.setattr(archives, "_tar", lambda *a, **k: opened.append(a) or walk(*a, **k))
    assert outcome(tmp_path, official / "VOCdevkit", sbd) == digest
    assert len(opened) == 1


# ---------------------------------------------------------------- what swdb made itself


@pytest.mark.parametrize("form", ["folder", "zip", "tar", "tar.gz"])
@pytest.mark.parametrize("place", ["work", f"{TOP}/work", "a/b/c"])
@pytest.mark.parametrize("marks", [("manifest.json", "image_labels.csv"), ("sources.json",)])
def test_a_work_directory_in_a_source_is_not_looked_into(official, digest, tmp_path, form, place, marks):
    made = [("data/x/VOCdevkit/" + name.partition("/")[2], b"!") for name, _ in files_of(official, "VOCdevkit")]
    made += [(f"data/x/{mark}", b"") for mark in marks]
    made += [(f"proxies/p/{image_id}.png", png(13, image_id)) for image_id in WEAK]
    made += [(f"data/x/{TOP}/SegmentationClassAug/{image_id}.png", png(13, image_id)) for image_id in WEAK]
    made = [(f"{place}/{name}", content) for name, content in [*made, ("swdb.json", b"{}")]]
    voc = pack(tmp_path / "voc", made + files_of(official, "VOCdevkit"), form)
    sbd = pack(tmp_path / "sbd", made + files_of(official, "SegmentationClassAug"), form)
    assert outcome(tmp_path, voc, sbd) == digest


def test_a_prepared_set_that_was_carried_elsewhere_is_not_looked_into(official, digest, tmp_path):
    prepare(DATA, tmp_path / "w" / "mini", Sources(official / "VOCdevkit", official / "benchmark_RELEASE"), silent)
    voc = pack(tmp_path / "voc", files_of(official, "VOCdevkit"), "folder")
    shutil.copytree(tmp_path / "w" / "mini", voc / "old copy")
    (voc / "old copy" / TOP / "JPEGImages" / f"{WEAK[0]}.jpg").write_bytes(jpg(WEAK[0]))
    assert outcome(tmp_path, voc, official / "benchmark_RELEASE") == digest


def test_a_link_into_a_work_directory_is_not_followed(official, digest, tmp_path):
    write_json(tmp_path / "work" / "data" / "x" / "sources.json", {})
    pack(tmp_path / "work", [(f"data/x/{name}", b"!") for name, _ in files_of(official, "VOCdevkit")], "folder")
    voc = pack(tmp_path / "voc", files_of(official, "VOCdevkit"), "folder")
    (voc / "link").symlink_to(tmp_path / "work" / "data" / "x")
    assert outcome(tmp_path, voc, official / "benchmark_RELEASE") == digest


@pytest.mark.parametrize("inside", ["data/x", f"data/x/{TOP}", "proxies", "proxies/p"])
@pytest.mark.parametrize("option", ["voc", "sbd", "lists", "image_labels"])
def test_a_source_in_a_work_directory_is_refused(official, tmp_path, inside, option):
    work = tmp_path / "work"
    write_json(work / "swdb.json", {})
    marks = [("manifest.json", b"{}"), ("image_labels.csv", b"")]
    pack(work / "data" / "x", [*marks, *files_of(official, "VOCdevkit")], "folder")
    (work / inside).mkdir(parents=True, exist_ok=True)
    source = work / inside
    if option == "image_labels":
        source = source / "tags.csv"
        source.write_text("image,classes\n")
    sources = {"voc": official / "VOCdevkit", "sbd": official / "benchmark_RELEASE"}
    sources[option] = str(source) if option == "image_labels" else source
    with pytest.raises(BadInput) as caught:
        prepare(DATA, tmp_path / "mini", Sources(**sources), silent)
    assert caught.value.subject == f"--{option.replace('_', '-')} {source}"
    assert "made by swdb" in caught.value.found and "others published" in caught.value.expected


@pytest.mark.parametrize("form", ["folder", "tar"])
def test_a_data_set_of_swdb_s_is_refused_packed_or_unpacked(official, tmp_path, form):
    files = [("manifest.json", b"{}"), ("image_labels.csv", b""), *files_of(official, "VOCdevkit")]
    found = outcome(tmp_path, pack(tmp_path / "v", files, form), official / "benchmark_RELEASE")
    assert "made by swdb" in found


@pytest.mark.parametrize("form", ["folder", "tar"])
def test_a_folder_in_which_swdb_works_is_a_source_without_what_it_wrote(official, digest, tmp_path, form):
    made = [(f"data/x/{TOP}/SegmentationClass/{image_id}.png", png(13, image_id)) for image_id in TRAIN]
    made += [("data/x/manifest.json", b"{}"), ("data/x/image_labels.csv", b"")]
    files = [("swdb.json", b"{}"), *made, *files_of(official, "VOCdevkit")]
    assert outcome(tmp_path, pack(tmp_path / "v", files, form), official / "benchmark_RELEASE") == digest


@pytest.mark.parametrize("form", ["folder", "tar"])
def test_a_work_directory_of_nothing_else_is_no_source(official, tmp_path, form):
    files = [("sources.json", b"{}"), *files_of(official, "VOCdevkit")]
    files = [("swdb.json", b"{}"), *((f"data/.x.partial/{name}", data) for name, data in files)]
    found = outcome(tmp_path, pack(tmp_path / "v", files, form), official / "benchmark_RELEASE")
    assert "train.txt is missing" in found


def test_what_was_downloaded_or_put_into_a_work_directory_is_a_source(official, digest, tmp_path):
    work = tmp_path / "work"
    write_json(work / "swdb.json", {})
    voc = pack(work / "downloads" / "voc", files_of(official, "VOCdevkit"), "folder")
    sbd = pack(work / "data" / "benchmark", files_of(official, "benchmark_RELEASE"), "folder")
    assert outcome(tmp_path, voc, sbd) == digest


# ---------------------------------------------------------------- claims


@pytest.mark.parametrize(
    ("name", "rank"),
    [
        ("benchmark_RELEASE/dataset/cls/2008_000002.mat", 0),
        ("benchmark_RELEASE/dataset/inst/2008_000002.mat", None),
        ("SegmentationClassAug/2008_000002.png", 1),
        ("2008_000002.png", 2),
        ("elsewhere/2008_000002.png", 2),
        ("__MACOSX/._2008_000002.png", None),
        ("SegmentationClassAug/readme.txt", None),
    ],
)
def test_a_mask_of_sbd_s_is_told_by_its_name(name, rank):
    claim = Claims(Path("sbd"), "--sbd", SBD_PLACES).note(name)
    assert claim == (None if rank is None else Claim(SBD_MASK, "2008_000002", rank))


def test_in_voc_only_the_documented_folder_holds_converted_masks():
    claims = Claims(Path("voc"), "--voc", VOC_PLACES)
    assert claims.note("dataset/cls/2008_000002.mat") is None and claims.note("x/2008_000002.png") is None
    assert claims.note("x/SegmentationClassAug/2008_000002.png") == Claim(SBD_MASK, "2008_000002", 0)
    assert claims.note("x/ImageSets/Segmentation/train.txt") == Claim(LIST, "train", 0)
    assert claims.note("x/ImageSets/Main/train.txt") is None


def test_what_differs_is_named_whatever_the_order():
    claim, other = Claim(LIST, "train", 0), Claim(LIST, "val", 0)
    said = [(claim, "b", 1), (claim, "a", 1), (claim, "c", 2), (other, "z", 3), (other, "y", 3)]
    for _ in range(5):
        random.Random(1).shuffle(said)
        assert list(places.differing(said)) == [(claim, ("a", "c"))]


def test_the_settings_of_these_tests_are_those_of_the_tree():
    assert replace(DATA, num_classes=21) == DATA and CLASSES[13] == "horse"


@pytest.mark.parametrize("suffixes", [(".jpg", ".JPG"), (".jpg", ".jpeg"), (".png", ".PNG"), (".xml", ".Xml")])
def test_a_suffix_may_have_any_case(official, digest, tmp_path, suffixes):
    voc = [(name.replace(*suffixes), content) for name, content in files_of(official, "VOCdevkit")]
    sbd = [(name.replace(*suffixes), content) for name, content in files_of(official, "SegmentationClassAug")]
    named = pack(tmp_path / "v", voc, "folder"), pack(tmp_path / "s.zip", sbd, "zip")
    assert outcome(tmp_path, *named) == digest
