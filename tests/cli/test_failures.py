"""The net under all commands: a line and an exit code for whatever is raised, and a file with the traceback of a bug."""

import shutil
from pathlib import Path

import pytest
from commands import call, preset_file, succeed, the_error
from refusing import NUMBERS, refusing

from swdb.cli import failures
from swdb.cli.command_line import CommandLine
from swdb.cli.failures import BUG, exit_code_of
from swdb.core.errors import BadInput, DiskRefused, MissingArtefact


def caught(error: BaseException) -> BaseException:
    """Return an error with a traceback."""
    try:
        raise error
    except type(error) as found:
        return found


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (BadInput("x", "bad"), 2, "error: x: bad"),
        (MissingArtefact("x", "gone"), 3, "error: x: gone"),
        (OSError(39, "Directory not empty", "a", None, "b"), 2, "error: a: cannot be used (Directory not empty)"),
        (OSError(5, "I/O error", b"x"), 2, "error: x: cannot be used (I/O error)"),
        (PermissionError(13, "Permission denied", 7), 2, "error: a file: cannot be written (no permission)"),
        (MemoryError(), 2, "error: memory: there is not enough (MemoryError)"),
        (
            RuntimeError("CUDA out of memory. Tried"),
            2,
            "error: memory: there is not enough (CUDA out of memory. Tried)",
        ),
        (RuntimeError("CUDA error: an illegal access"), 2, "error: the GPU: fails (CUDA error: an illegal access)"),
        (KeyboardInterrupt(), 130, "interrupted; what was done is kept"),
    ],
)
def test_what_is_raised_becomes_a_line_and_a_code(error, code, line, capsys):
    assert exit_code_of(caught(error), CommandLine(("train", "dual"))) == code
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith(line)


@pytest.mark.parametrize(
    ("words", "error", "code"),
    [
        (("train", "dual"), BadInput(Path("work/data/voc/SegmentationClass/a.png"), "cannot be read"), 3),
        (("eval",), BadInput(Path("work/data/voc").absolute(), "has the value 9"), 3),
        (("train", "dual", "--workdir", "w"), BadInput(Path("work/data/voc/a.png"), "cannot be read"), 2),
        (("train", "dual"), DiskRefused(Path("work/data/voc"), "the disk is full"), 2),
        (("prepare-voc", "--voc", "work/data/voc"), BadInput(Path("work/data/voc/a.png"), "cannot be read"), 2),
        (("train", "--preset", "work/database.toml"), BadInput(Path("work/database.toml"), "not TOML"), 2),
    ],
)
def test_damage_to_a_prepared_data_set_is_no_fault_of_the_command_line(words, error, code):
    assert exit_code_of(caught(error), CommandLine(words)) == code


def test_a_bug_leaves_its_traceback_in_the_work_directory(tmp_path, capsys):
    line = CommandLine(("train", "dual", "--workdir", str(tmp_path / "w")))
    assert [exit_code_of(caught(ZeroDivisionError("two\nlines")), line) for _ in range(2)] == [BUG, BUG]
    logs = list((tmp_path / "w" / "errors").iterdir())
    assert len(logs) == 2
    text = logs[0].read_text(encoding="utf-8")
    assert text.startswith("swdb train dual --workdir") and text.endswith("ZeroDivisionError: two\nlines\n")
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert all(one.startswith("error: a bug in swdb: ZeroDivisionError: two; the traceback is in /") for one in said)


def test_a_work_directory_that_takes_nothing_leaves_it_among_temporary_files(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("x")
    monkeypatch.setattr(failures.tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    assert exit_code_of(caught(KeyError("k")), CommandLine(("train", "--workdir", str(tmp_path / "file")))) == BUG
    (log,) = (tmp_path / "tmp").rglob("*.log")
    assert str(log) in capsys.readouterr().err


def test_where_nothing_can_be_written_the_traceback_is_printed(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("x")
    monkeypatch.setattr(failures.tempfile, "gettempdir", lambda: str(tmp_path / "file"))
    assert exit_code_of(caught(KeyError("k")), CommandLine(("train", "--workdir", str(tmp_path / "file")))) == BUG
    said = capsys.readouterr().err
    assert "Traceback" in said and said.splitlines()[-1].endswith("the traceback is above")


def test_a_command_line_that_is_no_text_is_told_all_the_same(tmp_path, capsys):
    line = CommandLine(("train", "\udcff", "--workdir", str(tmp_path)))
    assert exit_code_of(caught(KeyError("k")), line) == BUG
    (log,) = Path(tmp_path).rglob("*.log")
    assert "KeyError" in log.read_text(encoding="utf-8")


# ---------------------------------------------------------------- every call of a command, refused


@pytest.fixture(scope="module")
def few(tmp_path_factory) -> Path:
    """A preset with few images."""
    return preset_file(
        tmp_path_factory.mktemp("few"), ("num_train = 32", "num_train = 14"), ("num_val = 6", "num_val = 2")
    )


def refuse_one_after_another(work: Path, fresh, samples: int, *command: object) -> None:
    """Refuse calls of a command, one in each start of it: one line, and then the same command succeeds in what is left."""
    fresh()
    with refusing(work) as disk:
        succeed(*command)
    count = len(disk.calls)
    assert count > 40
    for k in range(1, count + 1, count // samples):
        fresh()
        number = NUMBERS[k % len(NUMBERS)]
        with refusing(work, k, number):
            result = call(*command)
        if result.exit_code:  # some calls need not succeed
            assert result.exit_code == 2 and the_error(result), (k, number)
        again = call(*(word for word in command if word != "--again"))
        assert again.exit_code == 0, (k, number, disk.calls[k - 1], again.stderr)


def test_whatever_the_disk_refuses_of_a_preparation_is_a_line_and_the_next_start_succeeds(few, tmp_path):
    work = tmp_path / "w"
    fresh = lambda: shutil.rmtree(work, ignore_errors=True)  # noqa: E731
    refuse_one_after_another(work, fresh, 20, "prepare-voc", "--preset", few, "--workdir", work)


def test_whatever_the_disk_refuses_of_a_training_is_a_line_and_the_next_start_succeeds(few, tmp_path):
    base, work = tmp_path / "base", tmp_path / "w"
    options = ("--preset", few, "--device", "cpu", "--precision", "fp32")
    succeed("prepare-voc", "--preset", few, "--workdir", base)

    def fresh() -> None:
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(base, work)

    refuse_one_after_another(work, fresh, 8, "train", "strong", *options, "--workdir", work)
