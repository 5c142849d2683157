"""Progress on a terminal and in logs."""

import io
from contextlib import redirect_stderr, redirect_stdout

import pytest

from swdb.cli import console, progress


def test_progress_goes_to_stderr_as_lines_where_it_is_not_a_terminal():
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), progress.bar(10) as bar:
        advance = bar.progress("train [bold]dual[/bold]", 10, counts=True)
        advance(10, 10)
    assert out.getvalue() == ""
    assert err.getvalue() == "train [bold]dual[/bold] ...\ntrain [bold]dual[/bold]: 10 of 10\n"


def test_progress_without_a_known_end_says_how_far_it_is(monkeypatch):
    monkeypatch.setattr(progress, "PLAIN_EVERY", 0.0)
    err = io.StringIO()
    with redirect_stderr(err), progress.bar() as bar:
        advance = bar.progress("look", 0)
        advance(7, 0)
        advance(8, 9)
    assert err.getvalue() == "look ...\nlook: 7\nlook: 8 of 9\n"


def test_steps_of_a_training_count_towards_the_whole_and_other_stages_do_not():
    with redirect_stderr(io.StringIO()), progress.bar(10) as bar:
        bar.progress("decode", 500)(250, 500)
        training = bar.progress("train", 6, counts=True)
        training(4, 6)  # a resumed run begins in the middle
        training(6, 6)
    assert bar.bars.tasks[0].completed == 6
    assert bar.bars.tasks[0].total == 10


@pytest.mark.parametrize("speak", ["say", "tell"])
def test_what_is_said_goes_to_stderr_in_one_line_however_long(speak):
    out, err, line = io.StringIO(), io.StringIO(), "next: " + "swdb [red]train[/red] " * 30
    with redirect_stdout(out), redirect_stderr(err):
        if speak == "say":
            console.say(line)
        else:
            with progress.bar() as bar:
                bar.tell(line)
    assert out.getvalue() == ""
    assert err.getvalue() == f"{line}\n"


# ---------------------------------------------------------------- in a log, and in other encodings


@pytest.mark.parametrize("force", ["FORCE_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE"])
def test_a_log_has_no_control_codes_and_a_line_in_ten_seconds(monkeypatch, force):
    monkeypatch.setenv(force, "1")
    now, err = [0.0], io.StringIO()
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with redirect_stderr(err), progress.bar(1000) as bar:
        for stage in range(40):
            advance = bar.progress(f"stage {stage}", 10)
            for step in range(10):
                now[0] += 0.1
                advance(step + 1, 10)
    lines = err.getvalue().splitlines()
    assert "\x1b" not in err.getvalue() and "\r" not in err.getvalue()
    assert lines[0] == "stage 0 ..." and lines[-1] == "stage 39: 10 of 10"
    assert 4 <= len(lines) <= 6  # forty seconds


def test_the_last_state_is_told_where_the_work_fails(monkeypatch):
    err = io.StringIO()
    with redirect_stderr(err), pytest.raises(ZeroDivisionError), progress.bar() as bar:
        bar.progress("train", 10)(3, 10)
        raise ZeroDivisionError
    assert err.getvalue().splitlines() == ["train ...", "train: 3 of 10"]
