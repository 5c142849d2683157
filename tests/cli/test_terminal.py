"""What is printed can always be printed, and who does not listen stops no work."""

import io
import os
import subprocess
import sys

import pytest
from conftest import TINY

from swdb.cli.terminal import Stream, on_one_line, prepared, shown
from swdb.core.errors import DiskRefused

ENCODINGS = ("ascii", "latin-1", "cp437", "cp1252", "iso8859-15", "koi8-r", "shift_jis", "utf-8", "utf-16")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_whatever_is_printed_fits_the_encoding(encoding):
    text = "a ± b – c — d → e … ≤ ≥ × “q” ─│┼█ größe 猫 \udcff \U0001f600"
    shown(text, encoding).encode(encoding)


def test_signs_that_are_lacking_become_what_looks_like_them():
    assert shown("1 ± 2 – 3 → 4 größe", "ascii") == "1 +/- 2 - 3 -> 4 grosse"
    assert shown("1 ± 2 – 3 größe", "latin-1") == "1 ± 2 - 3 größe"
    assert shown("1 ± 2 – 3 → 4", "utf-8") == "1 ± 2 – 3 → 4"


def test_bytes_of_a_path_that_are_no_text_are_shown_as_escapes():
    assert shown(os.fsdecode(b"gr\xf6\xdfe"), "utf-8") == r"gr\xf6\xdfe"


def test_an_encoding_that_nobody_knows_gets_ascii():
    assert shown("–", "x-unknown") == "-"


def test_control_characters_cannot_steer_a_terminal():
    assert on_one_line("a\nb\x1b[2Jc\td") == r"a\nb\x1b[2Jc\td"
    assert on_one_line("größe – [x] 猫") == "größe – [x] 猫"


class Refusing(io.StringIO):
    def __init__(self, error: Exception):
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error


REFUSALS = (
    OSError(28, "No space left on device"),
    BrokenPipeError(32, "Broken pipe"),
    OSError(5, "I/O"),
    ValueError("closed"),
)


@pytest.mark.parametrize("error", REFUSALS, ids=str)
def test_results_that_cannot_be_written_are_an_error(error):
    with pytest.raises(DiskRefused) as caught:
        Stream(Refusing(error), needed=True).write("x")
    assert caught.value.subject == "standard output"


@pytest.mark.parametrize("error", REFUSALS, ids=str)
def test_that_nobody_can_be_told_how_far_it_is_is_none(error):
    stream = Stream(Refusing(error), needed=False)
    stream.write("x")
    stream.flush()


def test_closed_streams():
    with pytest.raises(DiskRefused):
        Stream(None, needed=True).write("x")
    Stream(None, needed=False).write("x")
    assert not Stream(None, needed=False).isatty()


def test_the_streams_are_the_program_s_own_again_at_the_end():
    before = sys.stdout, sys.stderr
    with prepared():
        assert isinstance(sys.stdout, Stream) and isinstance(sys.stderr, Stream)
    assert (sys.stdout, sys.stderr) == before


# ---------------------------------------------------------------- in a process of its own

LOOK = f"{sys.executable} -m swdb reproduce-table 4 --no-train --preset {TINY} --workdir"


def in_a_shell(folder, words: str, **environment: str) -> subprocess.CompletedProcess:
    command = ["bash", "-c", f"set -o pipefail; {LOOK} {folder}/w {words}"]
    return subprocess.run(command, capture_output=True, env={**os.environ, **environment}, timeout=60, check=False)


@pytest.mark.parametrize(
    ("words", "code"), [(">&-", 2), ("> /dev/full", 2), ("2>&-", 0), ("2> /dev/full", 0), ("<&- 2>&-", 0)]
)
def test_streams_that_are_closed_or_full(tmp_path, words, code):
    result = in_a_shell(tmp_path, words)
    assert result.returncode == code
    errors = [line for line in result.stderr.decode().splitlines() if line.startswith("error: ")]
    assert len(errors) == (code > 0) and b"Traceback" not in result.stderr and b"Exception ignored" not in result.stderr


@pytest.mark.parametrize("form", ["rich", "md"])
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437"])
def test_a_table_in_a_terminal_of_another_encoding(tmp_path, encoding, form):
    result = in_a_shell(tmp_path, f"--format {form}", PYTHONIOENCODING=encoding)
    assert result.returncode == 0, result.stderr
    assert "NOT RUN" in result.stdout.decode(encoding)
