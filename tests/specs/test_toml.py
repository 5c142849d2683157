"""Strict reading: what a TOML file may say is what the dataclass declares, and nothing else."""

from dataclasses import dataclass

import pytest

from swdb.core.errors import BadInput
from swdb.specs.toml import read_dataclass, read_toml


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


GOOD = {"key": "k", "share": 1, "flags": [True], "parts": [{"size": 2}], "values": {"a": 3}}


def refusal(**changes):
    with pytest.raises(BadInput) as error:
        read_dataclass(Whole, {**GOOD, **changes}, "file.toml")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_values_are_read_in_the_declared_types():
    whole = read_dataclass(Whole, GOOD, "file.toml")
    assert whole == Whole("k", 1.0, (True,), (Part(2),), {"a": 3.0})
    assert isinstance(whole.share, float)
    assert isinstance(whole.values["a"], float)


def test_an_unknown_key_is_named_with_the_nearest_known_one():
    assert refusal(shares=1) == "file.toml: unknown key 'shares'; did you mean 'share'?"


def test_an_unknown_key_of_a_part_is_named_with_its_place():
    message = refusal(parts=[{"size": 2, "nam": "x"}])
    assert message.startswith("file.toml, key 'parts'") and "did you mean 'name'?" in message


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("key", 1, "str"),
        ("share", "1", "float"),
        ("flags", True, "a list"),
        ("flags", [1], "bool"),
        ("parts", [{"size": 2.5}], "int"),
        ("parts", [{"size": True}], "int"),  # a bool is an int for Python, not for us
        ("values", [1], "a table"),
    ],
)
def test_a_wrong_type_is_named_with_what_was_found_and_expected(key, value, expected):
    message = refusal(**{key: value})
    assert f"key {key!r}" in message and message.endswith(f"expected {expected}")


def test_a_missing_key_is_named():
    with pytest.raises(BadInput, match=r"^file.toml: key 'key' is missing$"):
        read_dataclass(Whole, {key: value for key, value in GOOD.items() if key != "key"}, "file.toml")


def test_a_key_with_a_default_may_be_missing():
    assert read_dataclass(Part, {"size": 1}, "file.toml") == Part(1, None)


@pytest.mark.parametrize("content", [b"a = ", b"\xff\xfe", b"a = 1\na = 2"])
def test_a_file_that_is_not_toml_is_named(tmp_path, content):
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"^broken.toml is not valid TOML: "):
        read_toml(path)
