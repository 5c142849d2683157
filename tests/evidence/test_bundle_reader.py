"""Nothing hostile or broken gets through, and each fault is one line that names the file and what was expected."""

import json
import struct
import zipfile
from contextlib import nullcontext
from pathlib import Path

import pytest
from bundles import contents, packed, spoiled

from swdb.core.errors import BadInput, MissingArtefact
from swdb.core.files import read_json
from swdb.data.sources import archives
from swdb.evidence import bundle_reader
from swdb.evidence.bundle import put
from swdb.evidence.bundle_reader import Finding, is_mask, is_read, loads, opened, unpack
from swdb.evidence.crate import PROFILE
from swdb.evidence.layout import ABOUT, CRATE

README = "reports/tiny/table1.md"


def refusal(path: Path) -> BadInput:
    with pytest.raises(BadInput) as caught, opened(path):
        pass
    assert "\n" not in str(caught.value) and caught.value.expected
    return caught.value


def told(path: Path) -> list[str]:
    """Return the findings of a bundle of which every file is read."""
    with opened(path) as found:
        for name in found.listed:
            found.content(name)
        return list(map(str, found.findings))


def with_member(path: Path, output: Path, name: str, content: bytes = b"", mode: int = 0o100644) -> Path:
    """Add a member to a bundle, whatever its name."""
    output.write_bytes(path.read_bytes())
    entry = zipfile.ZipInfo(name)
    entry.create_system, entry.external_attr = 3, mode << 16
    twice = pytest.warns(UserWarning) if name in contents(path) else nullcontext()
    with twice, zipfile.ZipFile(output, "a") as archive:
        archive.writestr(entry, content)
    return output


def test_a_bundle_is_as_its_list_says(ours):
    assert told(ours) == []
    with opened(ours) as found:
        assert found.about.preset == "tiny" and found.about.tables == (1, 2, 3, 4)
        assert found.names == contents(ours).keys() == {*found.listed, CRATE}


# ---------------------------------------------------------------- what is told


def test_a_changed_byte_is_named(ours, tmp_path):
    path = spoiled(ours, tmp_path / "x.zip", {README: lambda text: text.replace(b"e", b"f", 1)})
    (line,) = told(path)
    assert line.startswith(f"{README}: has other bytes (sha256 ") and "; expected sha256 " in line


def test_a_byte_that_is_changed_in_the_zip_itself_is_named(ours, tmp_path):
    data = bytearray(ours.read_bytes())
    data[data.index(contents(ours)[README]) + 5] ^= 1
    (tmp_path / "x.zip").write_bytes(data)
    (line,) = told(tmp_path / "x.zip")
    assert line.startswith(f"{README}: truncated or damaged (Bad CRC-32") and line.endswith(
        "; expected a whole archive"
    )


def test_a_missing_file_is_named(ours, tmp_path):
    assert told(spoiled(ours, tmp_path / "x.zip", {README: None})) == [
        f"{README}: missing; expected a file that the bundle lists"
    ]


def test_a_file_too_many_is_named(ours, tmp_path):
    path = spoiled(ours, tmp_path / "x.zip", {"reports/tiny/table9.md": b"more"})
    assert told(path) == ["reports/tiny/table9.md: is there, and not listed; expected the files of the crate alone"]


def test_json_that_is_none_is_told_and_not_unpacked(ours, tmp_path):
    name = next(name for name in contents(ours) if name.endswith("/done.json"))
    for content, words in (
        (b'{"a": NaN}', "holds NaN"),
        (b'{"a": 1, "a": 2}', "a key stands there twice"),
        (b"[" * 99999, "nested"),
    ):
        path = spoiled(ours, tmp_path / "x.zip", {name: content}, listed=True)
        with opened(path) as found:
            unpack(found, tmp_path / "out")
            assert [one.where for one in found.findings] == [name] and words in found.findings[0].found
        assert not (tmp_path / "out" / name).exists()


# ---------------------------------------------------------------- what is refused


def test_what_is_not_there_is_no_bundle(tmp_path):
    with pytest.raises(MissingArtefact) as caught, opened(tmp_path / "no.zip"):
        pass
    assert str(caught.value) == f"bundle {tmp_path}/no.zip: missing; expected a bundle"


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b\x08no zip", b"not a zip at all", b"PK\3\4 but no more"])
def test_what_is_no_zip_is_refused(content, tmp_path):
    (tmp_path / "x.zip").write_bytes(content)
    assert str(tmp_path / "x.zip") in str(refusal(tmp_path / "x.zip"))


def test_a_folder_and_a_cut_bundle_are_refused(ours, tmp_path):
    assert refusal(tmp_path).found == "is not a plain file"
    (tmp_path / "x.zip").write_bytes(ours.read_bytes()[:-40000])
    # the end of one of the packed arrays in it is taken for its own
    assert (
        "has no ro-crate-metadata.json: another archive, or one that was cut off" in refusal(tmp_path / "x.zip").found
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../outside.txt", "leads out of the archive with '..'"),
        ("runs/../../outside.txt", "leads out of the archive with '..'"),
        ("/etc/outside", "is an absolute path or has a backslash"),
        ("C:/outside", "is an absolute path or has a backslash"),
        ("runs\\outside", "is an absolute path or has a backslash"),
        (".hidden", "is no plain path"),
        ("runs/con", "is no plain path"),
        ("REPORTS/tiny/TABLE1.md", "differs from 'reports/tiny/table1.md' in capitals alone"),
        (f"{README}/below", f"lies below the file '{README}'"),
    ],
)  # fmt: skip
def test_a_name_that_leads_elsewhere_is_refused(ours, tmp_path, name, words):
    error = refusal(with_member(ours, tmp_path / "x.zip", name))
    assert error.found == words and "the member" in str(error.subject)


def test_a_name_that_is_there_twice_is_refused(ours, tmp_path):
    error = refusal(with_member(ours, tmp_path / "x.zip", README, b"another"))
    assert error.found == "is there twice" and repr(README) in str(error.subject)


def test_a_link_is_refused(ours, tmp_path):
    error = refusal(with_member(ours, tmp_path / "x.zip", "runs/link", b"/etc/passwd", mode=0o120777))
    assert error.found == "is a symbolic link" and error.expected == "plain files and folders"


def test_an_encrypted_member_is_refused(ours, tmp_path):
    data = bytearray(ours.read_bytes())
    at = data.rindex(b"PK\1\2")
    data[at + 8] |= 1
    (tmp_path / "x.zip").write_bytes(data)
    assert refusal(tmp_path / "x.zip").found == "is encrypted"


def test_a_bomb_is_refused_by_the_size_that_it_declares(ours, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle_reader, "LARGEST", 5_000_000)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(6_000_000))
    assert refusal(tmp_path / "x.zip").found == "has 6,000,000 bytes"
    monkeypatch.setattr(bundle_reader, "LARGEST", 1 << 30)
    monkeypatch.setattr(archives, "MAX_TOTAL", 5_000_000)
    assert refusal(tmp_path / "x.zip").found == "makes it 6,000,000 unpacked bytes"


def test_a_bomb_that_declares_less_than_it_holds_is_not_unpacked(ours, tmp_path):
    bomb = tmp_path / "x.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents(ours).items():
            if name == README:
                archive.writestr(name, bytes(50_000_000))
            else:
                put(archive, name, content)
    data = bytearray(bomb.read_bytes())
    at = data.rindex(README.encode(), 0, len(data)) - 46  # its entry in the directory
    assert data[at : at + 4] == b"PK\1\2"
    data[at + 24 : at + 28] = struct.pack("<I", 100)
    bomb.write_bytes(data)
    (line,) = told(bomb)
    assert line.startswith(f"{README}: truncated or damaged")


def test_another_ro_crate_and_another_version_are_refused(ours, tmp_path):
    files = contents(ours)
    assert refusal(packed(tmp_path / "a.zip", {"x": b"1"})).found.startswith(f"has no {CRATE}")
    other = json.loads(files[CRATE])
    next(one for one in other["@graph"] if one["@id"] == "./")["conformsTo"] = {"@id": "https://example.org/profile"}
    error = refusal(spoiled(ours, tmp_path / "b.zip", {CRATE: json.dumps(other).encode()}))
    assert error.expected == PROFILE and "https://example.org/profile" in error.found
    assert "which swdb did not make" in refusal(spoiled(ours, tmp_path / "c.zip", {ABOUT: None})).found
    for change, found in (
        ({"version": 2}, "version '2'"),
        ({"format": "zip"}, "is of another program"),
        ({"preset": "../x"}, "has another form"),
    ):
        said = {**json.loads(files[ABOUT]), **change}
        assert refusal(spoiled(ours, tmp_path / "d.zip", {ABOUT: json.dumps(said).encode()})).found == found


@pytest.mark.parametrize("text", [b"", b"[]", b'{"@graph": 1}', b'{"@graph": [{"@id": "./"}]}', b'{"x": NaN}', b"\xff"])
def test_a_crate_of_another_form_is_refused(ours, tmp_path, text):
    assert CRATE in str(refusal(spoiled(ours, tmp_path / "x.zip", {CRATE: text})).subject)


def test_json_is_read_strictly():
    assert loads(b'{"a": [1, 2.5, null]}') == {"a": [1, 2.5, None]}
    for text in (b"NaN", b"-Infinity", b'{"a": 1, "a": 1}', b"\xff", b"", b"1 2"):
        with pytest.raises(ValueError):
            loads(text)


def test_a_finding_says_what_was_expected_and_an_error_becomes_one(tmp_path):
    assert str(Finding("a", "is b", "c")) == "a: is b; expected c" and str(Finding("a", "is b")) == "a: is b"
    with pytest.raises(MissingArtefact) as caught:
        read_json(tmp_path / "no.json")
    assert Finding.of(caught.value) == Finding(str(tmp_path / "no.json"), "missing", "")


def test_masks_are_told_from_what_is_read_more_than_once():
    assert is_mask("runs/x/evals/val/predictions/a.png") and is_mask("data/x/VOCdevkit/a.png")
    assert not is_mask("reports/x/figures/dual-s0.png")
    assert all(
        map(
            is_read,
            (
                "runs/x/done.json",
                "proxies/x/quality.json",
                "specs/table1.toml",
                "logs/a.log",
                "data/x/VOC/val.txt",
                "runs/x/evals/v/confusion.npz",
            ),
        )
    )
    assert not any(map(is_read, ("runs/x/log.jsonl", "costs/x.json", "proxies/x/quality.md", "reports/x/table1.md")))
