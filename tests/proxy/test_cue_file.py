"""The file of cues: what is written comes back, equal contents make equal bytes, and nothing in it is trusted."""

import io
import os
import random
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from swdb.core.errors import BadInput, DiskRefused, MissingArtefact, SwdbError
from swdb.data.voc import IGNORE
from swdb.proxy import cue_file
from swdb.proxy.cue_file import MEMBERS, cues_of, read_cue_file, write_cue_file
from swdb.proxy.grid import GRID

IDS = ["2007_000032", "2008_000008", "2011_003276"]
CLASSES = ["background", "cat", "dog"]


def maps(count: int = 3, num_classes: int = 3) -> np.ndarray:
    values = np.array([*range(num_classes), IGNORE], np.uint8)
    return values[np.random.default_rng(0).integers(0, len(values), (count, GRID, GRID))]


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asarray(array))
    return stream.getvalue()


def forge(path: Path, **members: bytes | np.ndarray | None) -> Path:
    """Write a cue file by hand, with other members in the place of good ones; None leaves one out."""
    good = {"ids": np.array(IDS), "maps": maps(), "classes": np.array(CLASSES)}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (good | members).items():
            if content is not None:
                archive.writestr(f"{name}.npy", content if isinstance(content, bytes) else npy(content))
    return path


def refusal(path: Path, kind: type[SwdbError] = BadInput) -> SwdbError:
    """Return the error for what must be refused, which is one line, names the file and says what was expected."""
    with pytest.raises(kind) as caught:
        read_cue_file(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < len(str(path)) + 500
    assert caught.value.subject == path and caught.value.expected
    return caught.value


@pytest.fixture
def written(tmp_path) -> Path:
    path = tmp_path / "cues.npz"
    write_cue_file(path, IDS, maps(), CLASSES)
    return path


# ---------------------------------------------------------------- there and back


def test_what_was_written_comes_back(written):
    ids, found, classes = read_cue_file(written)
    assert ids == IDS
    assert classes == CLASSES
    assert found.dtype == np.uint8
    assert np.array_equal(found, maps())


def test_names_of_any_length_and_alphabet_come_back(tmp_path):
    ids, classes = ["a", "bild-ä-日本-🐈", "x" * 300], ["Hintergrund", "Kätzchen"]
    write_cue_file(tmp_path / "cues.npz", ids, maps(3, 2), classes)
    found = read_cue_file(tmp_path / "cues.npz")
    assert (found[0], found[2]) == (ids, classes)


def test_a_file_of_no_images_comes_back(tmp_path):
    write_cue_file(tmp_path / "cues.npz", [], maps(0), CLASSES)
    ids, found, classes = read_cue_file(tmp_path / "cues.npz")
    assert (ids, found.shape, classes) == ([], (0, GRID, GRID), CLASSES)


def test_maps_of_any_memory_order_come_back(tmp_path):
    write_cue_file(tmp_path / "cues.npz", IDS, np.asfortranarray(maps()), CLASSES)
    assert np.array_equal(read_cue_file(tmp_path / "cues.npz")[1], maps())


def test_numpy_reads_the_file_without_pickle(written):
    with np.load(written, allow_pickle=False) as archive:
        assert archive["ids"].tolist() == IDS
        assert archive["classes"].tolist() == CLASSES
        assert np.array_equal(archive["maps"], maps())


def test_a_file_that_numpy_wrote_is_read(tmp_path):
    np.savez_compressed(tmp_path / "cues.npz", classes=np.array(CLASSES), maps=maps(), ids=np.array(IDS))
    ids, found, classes = read_cue_file(tmp_path / "cues.npz")
    assert (ids, classes) == (IDS, CLASSES)
    assert np.array_equal(found, maps())


def test_the_maps_can_be_written_to(written):
    read_cue_file(written)[1][0] = IGNORE  # torch warns of arrays that cannot


def test_equal_contents_make_equal_bytes_at_any_time(written, monkeypatch):
    later = time.localtime(time.time() + 10_000_000)
    monkeypatch.setattr(time, "localtime", lambda *_: later)
    monkeypatch.setattr(time, "time", lambda: time.mktime(later))
    other = written.with_name("other.npz")
    write_cue_file(other, tuple(IDS), maps().copy(), tuple(CLASSES))
    assert other.read_bytes() == written.read_bytes()
    with zipfile.ZipFile(other) as archive:
        assert {member.date_time[0] for member in archive.infolist()} == {1980}


def test_a_full_disk_is_named_and_leaves_the_old_file(written, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    before = written.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskRefused) as caught:
        write_cue_file(written, IDS[:1], maps(1), CLASSES)
    assert caught.value.subject == written and "full" in caught.value.found
    assert written.read_bytes() == before
    assert [path.name for path in written.parent.iterdir()] == [written.name]


@pytest.mark.parametrize(
    ("ids", "found", "classes"),
    [
        (IDS[:2], maps(), CLASSES),
        (IDS, maps().astype(np.int64), CLASSES),
        (IDS, maps()[:, 1:], CLASSES),
        (IDS, maps(), CLASSES[:2]),
        ([*IDS[:2], IDS[0]], maps(), CLASSES),
        (IDS, maps(), ["background", "cat", "cat"]),
    ],
    ids=["an id less", "int64", "40 rows", "a class less", "an id twice", "a class twice"],
)
def test_contents_that_do_not_belong_together_are_not_written(tmp_path, ids, found, classes):
    with pytest.raises(ValueError, match="expected"):
        write_cue_file(tmp_path / "cues.npz", ids, found, classes)
    assert list(tmp_path.iterdir()) == []


def test_the_cues_of_all_of_voc_are_a_few_megabytes(tmp_path):
    # Blobs as real cues have: a rectangle of one class and a strip of background in every image.
    rng = np.random.default_rng(0)
    many = np.full((10_582, GRID, GRID), IGNORE, np.uint8)
    for one, (top, left, high, wide) in zip(many, rng.integers(2, 20, (10_582, 4)), strict=True):
        one[top : top + high, left : left + wide] = 1 + top % 20
        one[-4:, : left + wide] = 0
    ids, classes = [f"2008_{k:06d}" for k in range(len(many))], [str(label) for label in range(21)]
    write_cue_file(tmp_path / "cues.npz", ids, many, classes)
    assert (tmp_path / "cues.npz").stat().st_size < 4e6
    found = read_cue_file(tmp_path / "cues.npz")
    assert (found[0], found[2]) == (ids, classes)
    assert np.array_equal(found[1], many)


# ---------------------------------------------------------------- the asked rows


def test_the_asked_ids_come_in_their_order(written):
    found, known = cues_of(written, [IDS[2], IDS[0]], CLASSES)
    assert np.array_equal(found, maps()[[2, 0]])
    assert known.tolist() == [True, True]


def test_an_unknown_id_has_no_cues(written):
    found, known = cues_of(written, ["2012_000001", IDS[1]], CLASSES)
    assert known.tolist() == [False, True]
    assert (found[0] == IGNORE).all()
    assert np.array_equal(found[1], maps()[1])


def test_where_no_id_is_known_nothing_is_cued(written):
    found, known = cues_of(written, ["2012_000001"], CLASSES)
    assert found.shape == (1, GRID, GRID)
    assert found.dtype == np.uint8
    assert known.dtype == bool
    assert not known.any()
    assert (found == IGNORE).all()


def test_classes_are_found_by_name(written):
    found, _ = cues_of(written, IDS, ["background", "bird", "dog", "cow", "cat"])
    for label, expected in ((0, 0), (1, 4), (2, 2), (IGNORE, IGNORE)):
        assert (found[maps() == label] == expected).all()


def test_cues_of_a_class_that_is_not_asked_for_are_dropped(written):
    found, _ = cues_of(written, IDS, ["background", "dog"])
    assert (found[maps() == 1] == IGNORE).all()
    assert (found[maps() == 2] == 1).all()


def test_a_class_in_the_place_of_background_is_refused(tmp_path):
    write_cue_file(tmp_path / "cues.npz", IDS, np.where(maps() == 2, 0, maps()).astype(np.uint8), CLASSES[1:])
    with pytest.raises(BadInput) as caught:
        cues_of(tmp_path / "cues.npz", IDS, CLASSES)
    assert "'cat'" in caught.value.found and "background" in caught.value.expected


def test_background_stays_background_whatever_its_name(written):
    found, _ = cues_of(written, IDS, ["Hintergrund", "cat", "dog"])
    assert np.array_equal(found, maps())


# ---------------------------------------------------------------- distrust


def test_a_missing_file_is_named(tmp_path):
    assert refusal(tmp_path / "cues.npz", MissingArtefact).found == "missing"
    assert refusal(tmp_path, MissingArtefact).found == "missing"


@pytest.mark.parametrize(
    "content", [b"", b"not a zip", b"PK\x03\x04" + bytes(100)], ids=["empty", "text", "a zip's head"]
)
def test_what_is_not_a_zip_is_refused(tmp_path, content):
    (tmp_path / "cues.npz").write_bytes(content)
    assert "cannot be read" in refusal(tmp_path / "cues.npz").found


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(written, share):
    content = written.read_bytes()
    written.write_bytes(content[: int(share * len(content))])
    assert "cannot be read" in refusal(written).found


def test_a_flipped_bit_is_noticed(written):
    content = bytearray(written.read_bytes())
    content[len(content) // 2] ^= 4
    written.write_bytes(content)
    assert "cannot be read" in refusal(written).found


def test_no_damage_ends_in_a_traceback(written):
    content, generator = written.read_bytes(), random.Random(0)
    edges = [*range(200), *range(len(content) - 400, len(content))]  # headers and directory, where it hurts most
    refused = 0
    for k in range(800):
        harmed = bytearray(content)
        for _ in range(1 + k % 3):
            harmed[generator.choice(edges)] = generator.randrange(256)
        written.write_bytes(harmed)
        try:
            read_cue_file(written)
        except (BadInput, MissingArtefact) as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 300


def test_a_foreign_npz_is_refused_by_its_members(tmp_path):
    np.savez(tmp_path / "cues.npz", weights=np.zeros(3), ids=np.array(IDS))
    error = refusal(tmp_path / "cues.npz")
    assert error.found.endswith("2 members ('weights.npy', 'ids.npy')")
    assert error.expected == "ids.npy, maps.npy, classes.npy"


@pytest.mark.parametrize("name", ["ids", "maps", "classes"])
def test_a_missing_member_is_refused(tmp_path, name):
    assert "2 members" in refusal(forge(tmp_path / "cues.npz", **{name: None})).found


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_is_there_twice_is_refused(tmp_path):
    path = forge(tmp_path / "cues.npz")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("maps.npy", npy(maps()))
    assert "4 members" in refusal(path).found


def test_more_classes_than_labels_are_refused(tmp_path):
    classes = np.array(["background", *(f"c{k}" for k in range(300))])
    error = refusal(forge(tmp_path / "cues.npz", classes=classes))
    assert "301 classes" in error.found and "at most 255" in error.expected


@pytest.mark.parametrize(
    "wrong",
    [
        maps().astype(np.int64),
        maps()[:, :40],
        maps()[0],
        maps().astype(bool),
        np.asfortranarray(maps()),
        maps()[..., None],
    ],
    ids=["int64", "40 rows", "one map", "bool", "another order", "four dimensions"],
)
def test_maps_of_another_kind_are_refused(tmp_path, wrong):
    assert "not a cue file: maps" in refusal(forge(tmp_path / "cues.npz", maps=wrong)).found


def test_another_number_of_maps_than_of_ids_is_refused(tmp_path):
    error = refusal(forge(tmp_path / "cues.npz", maps=maps(2)))
    assert "3 ids and uint8 maps of shape (2, 41, 41)" in error.found and error.expected == "a map for every id"


def test_a_label_that_no_class_has_is_refused(tmp_path):
    wrong = maps()
    wrong[1, 7, 9] = 3
    error = refusal(forge(tmp_path / "cues.npz", maps=wrong))
    assert error.found.endswith("the label 3") and error.expected == "0 to 2 and 255"


def test_an_id_that_is_there_twice_is_refused(tmp_path):
    wrong = np.array([IDS[0], IDS[1], IDS[0]])
    error = refusal(forge(tmp_path / "cues.npz", ids=wrong))
    assert error.found.endswith(f"the id '{IDS[0]}' 2 times") and "once" in error.expected


def test_a_class_that_is_there_twice_is_refused(tmp_path):
    wrong = np.array(["background", "cat", "cat"])
    assert "the class 'cat' 2 times" in refusal(forge(tmp_path / "cues.npz", classes=wrong)).found


def test_classes_without_objects_are_refused(tmp_path):
    wrong = {"maps": np.zeros((3, GRID, GRID), np.uint8), "classes": np.array(["background"])}
    error = refusal(forge(tmp_path / "cues.npz", **wrong))
    assert "1 classes" in error.found and error.expected == "background and at least one more"


@pytest.mark.parametrize(
    "wrong",
    [np.arange(3), np.array([b"a", b"b", b"c"]), np.array([IDS]), np.array(IDS).astype(">U11")],
    ids=["numbers", "bytes", "two dimensions", "big-endian"],
)
def test_ids_that_are_not_a_row_of_text_are_refused(tmp_path, wrong):
    assert "ids" in refusal(forge(tmp_path / "cues.npz", ids=wrong)).found


def test_a_header_that_promises_less_text_than_there_is_is_refused(tmp_path):
    wrong = npy(np.array(IDS)).replace(b"(3,)", b"(2,)")
    error = refusal(forge(tmp_path / "cues.npz", ids=wrong, maps=maps(2)))
    assert "ids has type <U11, shape [2], 132 bytes" in error.found and "a row of text" in error.expected


def test_text_that_unicode_does_not_know_is_refused(tmp_path):
    wrong = npy(np.array(IDS))[: -4 * 11] + b"\xff\xff\xff\x7f" * 11
    assert "cannot be read" in refusal(forge(tmp_path / "cues.npz", ids=wrong)).found


class Trap:
    """An object whose unpickling is noticed."""

    def __reduce__(self):
        return (os.mkdir, ("sprung",))


def test_a_pickled_array_is_refused_and_not_unpickled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wrong = np.array([Trap(), Trap(), Trap()], object)
    error = refusal(forge(tmp_path / "cues.npz", ids=wrong))
    assert "ids.npy begins with" in error.found and "no objects" in error.expected
    assert not (tmp_path / "sprung").exists()


def test_a_header_that_promises_more_than_there_is_costs_nothing(tmp_path):
    good = npy(maps())
    wrong = good.replace(b"(3, 41, 41), }" + b" " * 8, b"(999999999, 41, 41), }")
    assert len(wrong) == len(good)
    assert "shape [999999999, 41, 41]" in refusal(forge(tmp_path / "cues.npz", maps=wrong)).found


def test_a_header_that_is_a_program_is_not_looked_at(tmp_path):
    wrong = b"\x93NUMPY\x01\x00\x76\x00" + b"{'descr': __import__('os').mkdir('sprung')}".ljust(117) + b"\n"
    assert "maps.npy begins with" in refusal(forge(tmp_path / "cues.npz", maps=wrong)).found


def test_a_member_that_unpacks_to_too_much_is_refused_before_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(cue_file, "MAX_BYTES", 20_000)
    monkeypatch.setattr(zipfile.ZipFile, "read", None)
    path = forge(tmp_path / "cues.npz", maps=npy(np.zeros((30, GRID, GRID), np.uint8)))
    assert path.stat().st_size < 20_000
    error = refusal(path)
    assert "maps.npy unpacks to 50,558 bytes" in error.found and error.expected == "at most 20,000"


def test_a_member_that_is_larger_than_it_says_is_refused(tmp_path):
    path = forge(tmp_path / "cues.npz", maps=npy(np.zeros((3000, GRID, GRID), np.uint8)))
    content, said = path.read_bytes(), (3000 * GRID**2 + 128).to_bytes(4, "little")
    assert content.count(said) == 2
    path.write_bytes(content.replace(said, (128 + 3 * GRID**2).to_bytes(4, "little")))
    assert "cannot be read" in refusal(path).found


def test_a_huge_file_is_refused_before_it_is_opened(written, monkeypatch):
    monkeypatch.setattr(cue_file, "MAX_BYTES", 100)
    monkeypatch.setattr(zipfile, "ZipFile", None)
    assert "more than 100 bytes" in refusal(written).found


def test_an_encrypted_member_is_refused(written):
    content = bytearray(written.read_bytes())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = content.find(mark)
        while place >= 0:
            content[place + flags] |= 1
            place = content.find(mark, place + 4)
    written.write_bytes(content)
    assert "cannot be read" in refusal(written).found


def test_the_members_are_those_that_are_written(written):
    with zipfile.ZipFile(written) as archive:
        assert tuple(archive.namelist()) == MEMBERS
