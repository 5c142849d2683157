"""Strict reading: what a TOML file may say is what the dataclass declares, and nothing else."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from swdb.core.errors import BadInput
from swdb.specs.settings import AT_LEAST_1, EVEN, UNKNOWN, each, setting
from swdb.specs.toml import Pairs, read_dataclass, read_toml


@dataclass(frozen=True)
class Part:
    size: int
    name: str | None = None


@dataclass(frozen=True)
class Whole:
    key: str
    share: float
    flags: tuple[bool, ...]
    parts: tuple[Part, ...]
    values: dict[str, float]
    named: dict[str, Part] = field(default_factory=dict)
    one: Part | None = None
    even: int = setting("", UNKNOWN, "", EVEN, default=2)
    sizes: tuple[int, ...] = setting("", UNKNOWN, "", each(AT_LEAST_1), default=(1,))
    free: float = setting("", UNKNOWN, "", default=0.0)


GOOD = {"key": "k", "share": 1, "flags": [True], "parts": [{"size": 2}], "values": {"a": 3}}


def refused(**changes) -> BadInput:
    """Return the error with which values are refused."""
    with pytest.raises(BadInput) as caught:
        read_dataclass(Whole, {**GOOD, **changes}, "file.toml")
    assert "\n" not in str(caught.value)
    return caught.value


@dataclass(frozen=True)
class Renamed:
    new: float = setting("", UNKNOWN, "", formerly="old")


def test_a_setting_is_known_by_its_former_name_too():
    assert read_dataclass(Renamed, {"old": 1}, "file.toml") == read_dataclass(Renamed, {"new": 1}, "file.toml")
    with pytest.raises(BadInput) as caught:
        read_dataclass(Renamed, {"old": 1, "new": 1}, "file.toml")
    assert caught.value.subject == "file.toml, key 'old'" and caught.value.expected == "only one of the two"


def test_values_are_read_in_the_declared_types():
    whole = read_dataclass(Whole, GOOD | {"named": {"a": {"size": 3}}, "one": {"size": 4}}, "file.toml")
    assert whole == Whole("k", 1.0, (True,), (Part(2),), {"a": 3.0}, {"a": Part(3)}, Part(4))
    assert isinstance(whole.share, float)
    assert isinstance(whole.values["a"], float)


def test_an_unknown_key_is_named_with_the_nearest_known_one():
    error = refused(shares=1)
    assert (error.subject, error.found, error.near) == ("file.toml, key 'shares'", "unknown", "share")


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"parts": [{"size": 2, "nam": "x"}]}, ["key 'parts'"]),
        ({"parts": [{"size": 2, "name": "front", "nam": "x"}]}, ["key 'parts'"]),
        ({"one": {"size": 2, "nam": "x"}}, ["key 'one'"]),
        ({"named": {"b": {"size": 2, "nam": "x"}}}, ["key 'named'", "'b'"]),
    ],
    ids=["in a list", "in a list, with a name", "alone", "by name"],
)
def test_an_unknown_key_of_a_part_is_named_with_its_place(changes, place):
    error = refused(**changes)
    assert error.subject.startswith("file.toml, ") and error.subject.endswith("key 'nam'") and error.near == "name"
    assert all(words in error.subject for words in place)


@dataclass(frozen=True)
class Entry:
    key: str = ""
    text: str = ""
    size: int = 0


@dataclass(frozen=True)
class Listed:
    rows: tuple[Entry, ...] = ()
    columns: tuple[Entry, ...] = ()
    claims: tuple[Entry, ...] = ()
    others: tuple[Entry, ...] = ()


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"rows": [{"key": "a"}, {"key": "b", "size": "x"}]}, "file.toml, row 'b', key 'size'"),
        ({"columns": [{"key": "b", "size": "x"}]}, "file.toml, column 'b', key 'size'"),
        ({"claims": [{"text": "more is better", "size": "x"}]}, "file.toml, claim 'more is better', key 'size'"),
        ({"others": [{"key": "b", "size": "x"}]}, "file.toml, entry 'b', key 'size'"),
        ({"rows": [{"size": "x"}]}, "file.toml, key 'rows', key 'size'"),
    ],
)
def test_an_entry_of_a_list_is_named_by_its_kind_and_its_key_or_text(values, place):
    with pytest.raises(BadInput) as caught:
        read_dataclass(Listed, values, "file.toml")
    assert caught.value.subject == place


@pytest.mark.parametrize(
    ("key", "value", "found", "expected"),
    [
        ("key", 1, "1", "str"),
        ("share", "1", "'1'", "float"),
        ("share", True, "True", "float"),
        ("flags", True, "True", "a list"),
        ("flags", [1], "1", "bool"),
        ("parts", {"size": 2}, "{'size': 2}", "a list"),
        ("parts", [2], "2", "a table of keys"),
        ("parts", [{"size": 2.5}], "2.5", "int"),
        ("parts", [{"size": True}], "True", "int"),  # a bool is an int for Python, not for us
        ("parts", [{"size": 1, "name": 7}], "7", "str"),
        ("values", [1], "[1]", "a table"),
        ("values", {"a": "1"}, "'1'", "float"),
        ("named", {"a": 1}, "1", "a table of keys"),
        ("one", [], "[]", "a table of keys"),
    ],
)
def test_a_wrong_type_is_named_with_what_was_found_and_expected(key, value, found, expected):
    error = refused(**{key: value})
    assert f"key {key!r}" in error.subject
    assert (error.found, error.expected) == (f"found {found}", expected)


def test_a_wrong_value_of_a_table_is_named_with_its_key():
    assert refused(values={"a": 1, "b": "x"}).subject == "file.toml, key 'values', 'b'"


@pytest.mark.parametrize("mapping", [None, 7, "x", [], [{}]])
def test_what_is_not_a_table_at_all_is_refused(mapping):
    with pytest.raises(BadInput) as caught:
        read_dataclass(Whole, mapping, "file.toml")
    assert (caught.value.subject, caught.value.found) == ("file.toml", f"found {mapping!r}")


@pytest.mark.parametrize(
    ("key", "value", "found", "expected"),
    [
        ("even", 3, "3", EVEN.expected),
        ("sizes", [1, 0], "[1, 0]", each(AT_LEAST_1).expected),
        ("sizes", [], "[]", each(AT_LEAST_1).expected),
        ("free", float("nan"), "nan", "finite numbers"),
    ],
)
def test_a_value_out_of_its_range_is_named_with_what_was_found_and_expected(key, value, found, expected):
    error = refused(**{key: value})
    assert (error.subject, error.found, error.expected) == (f"file.toml, key {key!r}", f"found {found}", expected)


def test_values_in_their_ranges_pass():
    whole = read_dataclass(Whole, GOOD | {"even": 4, "sizes": [3, 1], "free": -2.5}, "file.toml")
    assert (whole.even, whole.sizes, whole.free) == (4, (3, 1), -2.5)


def test_a_missing_key_is_named():
    with pytest.raises(BadInput) as caught:
        read_dataclass(Whole, {key: value for key, value in GOOD.items() if key != "key"}, "file.toml")
    assert (caught.value.subject, caught.value.found) == ("file.toml, key 'key'", "missing")


def test_a_key_with_a_default_may_be_missing():
    assert read_dataclass(Part, {"size": 1}, "file.toml") == Part(1, None)
    assert read_dataclass(Whole, GOOD, "file.toml").named == {}


def test_a_toml_file_is_read(tmp_path):
    path = Path(tmp_path / "good.toml")
    path.write_text('a = 1\n[b]\nc = ["ü"]\n', encoding="utf-8")
    assert read_toml(path) == {"a": 1, "b": {"c": ["ü"]}}


# ---------------------------------------------------------------- encodings

TEXT = 'title = "größe – 猫"\n'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_utf_8_and_whatever_a_byte_order_mark_names_is_read(tmp_path, encoding):
    (tmp_path / "x.toml").write_bytes(TEXT.encode(encoding))
    assert read_toml(tmp_path / "x.toml") == {"title": "größe – 猫"}


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"a = 1\n" + 'title = "größe"'.encode("latin-1"), "not valid TOML (byte 0xf6 in line 2 is no UTF-8)"),
        (TEXT.encode("utf-16-le"), "not valid TOML"),
        (b"\0", "not valid TOML"),
        (b"\xff\xfe", "not valid TOML"),
        (b"a = 1\na = 2", "not valid TOML"),
        (b"a = " + b"[" * 100_000, "not valid TOML"),
        (b"a = " + b"9" * 10_000, "not valid TOML"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_toml_is_named(tmp_path, content, found):
    (tmp_path / "x.toml").write_bytes(content)
    with pytest.raises(BadInput) as caught:
        read_toml(tmp_path / "x.toml")
    assert caught.value.subject == "x.toml" and caught.value.found.startswith(found)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "x.toml").mkdir()
    with pytest.raises(BadInput) as caught:
        read_toml(tmp_path / "x.toml")
    assert caught.value.found == "cannot be read (Is a directory)"


@dataclass(frozen=True)
class WithPairs:
    """A table of plain values."""

    pairs: Pairs = ()


def test_a_table_of_plain_values_is_stored_sorted_and_can_be_hashed():
    found = read_dataclass(WithPairs, {"pairs": {"b": [1, 2], "a": "x"}}, "x.toml")
    assert found.pairs == (("a", "x"), ("b", (1, 2)))
    assert len({found, read_dataclass(WithPairs, {"pairs": {"a": "x", "b": [1, 2]}}, "x.toml")}) == 1


@pytest.mark.parametrize(("pairs", "found"), [(3, "found 3"), ([1], r"found \[1\]"), ({"a": {}}, "found {}")])
def test_what_is_no_table_of_plain_values_is_refused(pairs, found):
    with pytest.raises(BadInput, match=found):
        read_dataclass(WithPairs, {"pairs": pairs}, "x.toml")
