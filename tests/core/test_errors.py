"""Errors that a user can do something about: what they say, their exit codes, and what the disk refuses."""

import errno
import os
import pickle
from pathlib import Path

import pytest

from swdb.core.errors import (
    MOST_LISTED,
    BadInput,
    DiskRefused,
    IncompleteSource,
    LeaseLost,
    MissingArtefact,
    NotMade,
    NotNamed,
    SwdbError,
    disk_error,
    unknown,
)

WRONG_INPUT = (BadInput, IncompleteSource, DiskRefused)
SOMETHING_LACKS = (MissingArtefact, NotMade, NotNamed, LeaseLost)


@pytest.mark.parametrize("kind", WRONG_INPUT)
def test_wrong_input_exits_with_2(kind):
    assert kind.exit_code == 2
    assert issubclass(kind, BadInput) and issubclass(kind, SwdbError)
    # Neither may hide in the other: `except BadInput` must not swallow a missing artefact.
    assert not issubclass(kind, MissingArtefact)


@pytest.mark.parametrize("kind", SOMETHING_LACKS)
def test_what_is_missing_exits_with_3(kind):
    assert kind.exit_code == 3
    assert issubclass(kind, MissingArtefact) and issubclass(kind, SwdbError)
    assert not issubclass(kind, BadInput)


def test_an_error_says_what_it_is_about_what_was_found_and_what_was_expected():
    error = BadInput("--scales", "found 0", "above 0")
    assert (error.subject, error.found, error.expected, error.near) == ("--scales", "found 0", "above 0", "")
    assert str(error) == "--scales: found 0; expected above 0"


def test_an_error_about_a_file_keeps_its_path():
    error = MissingArtefact(Path("runs") / "dual", "missing")
    assert error.subject == Path("runs/dual")
    assert str(error) == "runs/dual: missing"  # and says nothing of what was expected where nothing was


@pytest.mark.parametrize("kind", (SwdbError, *WRONG_INPUT, *SOMETHING_LACKS))
def test_an_error_travels_between_processes(kind):
    sent = kind(Path("a") / "b", "unknown", "x, y", near="x")
    received = pickle.loads(pickle.dumps(sent))
    assert type(received) is kind
    assert vars(received) == vars(sent) and str(received) == str(sent)


# ---------------------------------------------------------------- words that nobody knows


def test_an_unknown_word_comes_with_the_one_that_was_probably_meant():
    error = unknown("table1.toml, key", "oversampel", ["oversample", "proxy_set", "kl"])
    assert isinstance(error, BadInput)
    assert error.subject == "table1.toml, key 'oversampel'"
    assert (error.found, error.expected, error.near) == ("unknown", "", "oversample")


def test_where_no_word_is_near_all_known_ones_are_listed_in_order():
    error = unknown("label set", "zzz", ["strong", "all-strong", "weak"])
    assert (error.expected, error.near) == ("all-strong, strong, weak", "")


def test_known_words_may_be_readable_only_once():
    assert unknown("set", "zzz", (word for word in ("b", "a"))).expected == "a, b"


@pytest.mark.parametrize(("number", "listed"), [(MOST_LISTED, MOST_LISTED), (MOST_LISTED + 1, 0)])
def test_more_words_than_fit_a_line_are_not_listed(number, listed):
    expected = unknown("image", "zzz", [f"{k:06d}" for k in range(number)]).expected
    assert len(list(filter(None, expected.split(", ")))) == listed


# ---------------------------------------------------------------- what the disk refuses


@pytest.mark.parametrize(
    ("number", "fragment"),
    [
        (errno.ENOSPC, "full"),
        (errno.EDQUOT, "full"),
        (errno.EFBIG, "full"),
        (errno.EACCES, "no permission"),
        (errno.EPERM, "no permission"),
        (errno.EROFS, "read-only"),
        (errno.ENOTDIR, "is a file"),
        (errno.EEXIST, "is a file"),
        *((number, os.strerror(number)) for number in (errno.ENOENT, errno.ENAMETOOLONG, errno.ELOOP, errno.EIO)),
    ],
)
def test_what_the_disk_refuses_is_an_error_about_the_path(number, fragment):
    error = disk_error(OSError(number, os.strerror(number)), Path("work") / "x")
    assert type(error) is DiskRefused
    assert error.subject == Path("work/x") and fragment in error.found


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_whatever_the_system_refuses_about_a_path_is_an_error_about_it(number):
    error = disk_error(OSError(number, os.strerror(number)), Path("x"))
    assert type(error) is DiskRefused and error.subject == Path("x") and error.found


@pytest.mark.parametrize(("error", "words"), [(OSError("a link\nis there"), "a link is there"), (OSError(), "OSError")])
def test_an_error_without_a_number_is_told_in_its_own_words(error, words):
    assert disk_error(error, Path("x")).found == f"cannot be used ({words})"
