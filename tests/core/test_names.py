"""Names that become paths are one plain component, whoever gives them."""

import pytest

from swdb.core.names import LONGEST, fault_of_name, is_inner_path, is_plain_name, made_plain

GOOD = (
    "voc",
    "dual-s0",
    "2007_000032",
    "größe",
    "my set",
    "a.b",
    "猫",
    "_x",
    "x" * LONGEST,
    "vgg[1]",
    "n+1",
    "ends-",
    "a..b",
)
BAD = (
    "", ".", "..", "../x", "a/b", "/x", "a\\b", ".hidden", "-x", "--again", "a\0b", "a\nb", "a\x1b[31m", "a\u2028b", "a\u202eb",
    "x" * (LONGEST + 1), "ü" * LONGEST, "\udcff", "CON", "nul.txt", "lpt1", "x ", " x", "x.", "a\x7f",
)  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_a_plain_name_is_taken(name):
    assert fault_of_name(name) == "" and is_plain_name(name) and made_plain(name) == name


@pytest.mark.parametrize("name", BAD, ids=repr)
def test_anything_else_is_refused_in_words(name):
    assert fault_of_name(name) and not is_plain_name(name)
    assert is_plain_name(made_plain(name))


@pytest.mark.parametrize("value", [None, 1, ["x"], b"x"])
def test_what_is_no_text_is_no_name(value):
    assert not is_plain_name(value) and not is_inner_path(value)


@pytest.mark.parametrize("path", ["runs/dual-s0-0123456789", "x", "runs/x/evals/val-strong"])
def test_a_path_of_plain_names_is_inside(path):
    assert is_inner_path(path)


@pytest.mark.parametrize("path", ["/etc", "../x", "runs/../../x", "runs//x", "runs/.", "", "runs/"])
def test_a_path_that_may_lead_elsewhere_is_not(path):
    assert not is_inner_path(path)


def test_names_that_a_system_cannot_write_are_refused(monkeypatch):
    monkeypatch.setattr("os.fsencode", lambda name: name.encode("ascii"))
    assert "LC_ALL" in fault_of_name("größe")
