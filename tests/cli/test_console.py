import io
import re
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from goldens import assert_golden
from made_up import TABLE, shown_in, work_in, write_score
from rich.console import Console

from swdb.cli import console
from swdb.study.plan import Work


@pytest.fixture
def work(tmp_path, monkeypatch) -> Work:
    monkeypatch.chdir(tmp_path)
    return work_in(Path("work"))  # the default: what is shown does not name it


def printed(work: Work, width: int) -> str:
    target = Console(width=width, file=io.StringIO())
    console.print_table(shown_in(work), work, target)
    return target.file.getvalue()


def piped(work: Work, path) -> str:
    with path.open("w", encoding="utf-8") as stream, redirect_stdout(stream):
        console.print_table(shown_in(work), work)
    return path.read_text(encoding="utf-8")


# ---------------------------------------------------------------- tables


def test_a_table_at_60_columns(work):
    assert_golden("table_60.txt", printed(work, 60))


def test_a_table_piped_to_a_file(work, tmp_path):
    assert_golden("table_piped.txt", piped(work, tmp_path / "out.txt"))


def test_no_line_is_wider_than_60_columns(work):
    lines = printed(work, 60).splitlines()
    assert len(lines) > 20
    assert max(map(len, lines)) <= 60


def test_at_60_columns_no_digit_is_lost(work):
    # numbers may be folded onto the next line, never cut off with dots
    text = printed(work, 60)
    assert "…" not in text
    assert all(value in text for value in ("40.0", "50.0", "51.0", "45.5", "47.0", "61.3", "30.0"))


def test_a_piped_table_has_no_escape_codes(work, tmp_path):
    assert "\x1b" not in piped(work, tmp_path / "out.txt")


@pytest.mark.parametrize("columns", ["80", "140"])
def test_a_piped_table_is_as_wide_as_COLUMNS_says(work, tmp_path, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    assert max(len(line) for line in piped(work, tmp_path / "out.txt").splitlines()) <= int(columns)


@pytest.mark.parametrize("columns", ["", "wide", "0"])
def test_a_COLUMNS_that_is_no_width_does_no_harm(work, tmp_path, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    assert "51.0 ± 1.0" in piped(work, tmp_path / "out.txt")


def test_markup_in_a_label_is_printed_as_it_is(work):
    assert "[bold]10k[/bold] | *strong*" in printed(work, 200)


def test_every_row_shows_its_paper_value_and_what_was_measured(work):
    text = printed(work, 200)
    line = next(line for line in text.splitlines() if "1.4k strong + 9k weak" in line and "±" in line)
    assert re.findall(r"[\d.]+(?: ± [\d.]+)?", line.split("9k weak")[1]) == [
        "0", "40.0", "50.0", "51.0 ± 1.0", "45.5", "47.0 ± 1.0",
    ]  # fmt: skip
    assert next(line for line in text.splitlines() if "never run" in line).count("NOT RUN") == 2


def test_verdicts_are_coloured_and_the_words_stay(work):
    target = Console(width=200, file=io.StringIO(), force_terminal=True, color_system="standard")
    console.print_table(shown_in(work), work, target)
    text = target.file.getvalue()
    assert "\x1b[32mCONFIRMED\x1b[0m: the weak branch is worse" in text
    assert "\x1b[31mCONTRADICTED\x1b[0m: the text is worse than plain" in text
    assert "\x1b[33mUNDECIDED\x1b[0m: plain is worse than marked" in text


# ---------------------------------------------------------------- plans


def printed_plan(work: Work, artefacts, scores=()) -> str:
    stream = io.StringIO()
    with redirect_stdout(stream):
        console.print_plan(list(artefacts), list(scores), work, "an [estimate]")
    return stream.getvalue()


def state_of(text: str, name: str) -> str:
    line = next(line for line in text.splitlines() if re.search(rf"\b{re.escape(name)}\b", line))
    return next(state for state in ("to resume", "to do", "done") if state in line)


def test_a_plan_says_what_is_done_what_resumes_and_what_is_to_do(work):
    runs = {name: work.run(work.recipe(name), 0) for name in ("strong", "mixed", "dual")}
    runs["strong"].folder.mkdir(parents=True)
    runs["strong"].record.write_text("{}")
    runs["mixed"].folder.mkdir(parents=True)
    (runs["mixed"].folder / "checkpoint.pt").write_bytes(b"x")
    text = printed_plan(work, runs.values())
    assert [state_of(text, f"train {name}-s0") for name in runs] == ["done", "to resume", "to do"]


def test_a_plan_names_every_artefact_with_its_id_and_steps(work):
    artefacts = work.plan([work.recipe("dual")], [0])
    text = printed_plan(work, artefacts)
    assert [artefact.name for artefact in artefacts] == ["pretext", "cues-classifier", "dsrg-1", "dual-s0"]
    assert all(artefact.id in text for artefact in artefacts)
    assert re.search(r"train dual-s0\s+6\s+to do", text)  # the tiny preset's steps


def test_a_plan_says_whether_the_data_is_there(work):
    assert state_of(printed_plan(work, []), "data tiny") == "to do"
    work.data_root.mkdir(parents=True)
    (work.data_root / "manifest.json").write_text("{}")
    assert state_of(printed_plan(work, []), "data tiny") == "done"


def test_a_plan_counts_evaluations(work):
    text = printed_plan(work, [], [("val-strong", True), ("val-weak", False), ("val-strong", False)])
    assert re.search(r"evaluations\s+1 done, 2 to do", text)


def test_a_plan_ends_with_the_estimate_as_it_is(work):
    assert printed_plan(work, []).splitlines()[-1] == "an [estimate]"


# ---------------------------------------------------------------- progress


def test_progress_goes_to_stderr_as_lines_where_it_is_not_a_terminal():
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), console.bar(10) as bar:
        advance = bar.stage("train [bold]dual[/bold]", 10, counts=True)
        advance(10, 10)
    assert out.getvalue() == ""
    assert err.getvalue() == "train [bold]dual[/bold] ...\n"


def test_progress_without_a_known_end_says_how_far_it_is(monkeypatch):
    monkeypatch.setattr(console, "PLAIN_EVERY", 0.0)
    err = io.StringIO()
    with redirect_stderr(err), console.bar() as bar:
        advance = bar.stage("look", 0)
        advance(7, 0)
        advance(8, 9)
    assert err.getvalue() == "look ...\nlook: 7\nlook: 8 of 9\n"


def test_steps_of_a_training_count_towards_the_whole_and_other_stages_do_not():
    with redirect_stderr(io.StringIO()), console.bar(10) as bar:
        bar.stage("decode", 500)(250, 500)
        training = bar.stage("train", 6, counts=True)
        training(4, 6)  # a resumed run begins in the middle
        training(6, 6)
    assert bar.progress.tasks[0].completed == 6
    assert bar.progress.tasks[0].total == 10


def test_what_is_said_goes_to_stderr_in_one_line_however_long():
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        console.say("next: " + "swdb [red]train[/red] " * 30)
    assert out.getvalue() == ""
    assert err.getvalue() == "next: " + "swdb [red]train[/red] " * 30 + "\n"


def test_a_score_of_the_made_up_table_lies_where_evaluations_lie(work):
    path = write_score(work, TABLE.rows[0], "strong", 0, 50.0)
    assert path.relative_to(work.folder).parts[0] == "runs"
    assert path.parent.name == "val-strong"
