"""What is drawn in a terminal: tables that lose no digit, plans with their states, progress with the time left."""

import io
import re
from contextlib import redirect_stdout
from dataclasses import replace

import pytest
from goldens import assert_golden
from made_up import judged, preset, shown_in
from rich.console import Console
from studies import graph_of

from swdb.cli import console
from swdb.core.artefact import with_inputs
from swdb.reports.results import MeasuredTable


@pytest.fixture
def table(tmp_path) -> MeasuredTable:
    return shown_in(tmp_path / "work")


def printed(table: MeasuredTable, width: int, **options) -> str:
    target = Console(width=width, file=io.StringIO(), **options)
    console.print_table(table, preset(), judged(table), target)
    return target.file.getvalue()


def piped(table: MeasuredTable, path) -> str:
    with path.open("w", encoding="utf-8") as stream, redirect_stdout(stream):
        console.print_table(table, preset(), judged(table))
    return path.read_text(encoding="utf-8")


# ---------------------------------------------------------------- tables


def test_a_table_at_60_columns(table):
    assert_golden("table_60.txt", printed(table, 60))


def test_a_table_piped_to_a_file(table, tmp_path):
    assert_golden("table_piped.txt", piped(table, tmp_path / "out.txt"))


def test_no_line_is_wider_than_60_columns(table):
    lines = printed(table, 60).splitlines()
    assert len(lines) > 20
    assert max(map(len, lines)) <= 60


def test_at_60_columns_no_digit_is_lost(table):
    # numbers may be folded onto the next line, never cut off with dots
    text = printed(table, 60)
    assert "…" not in text
    assert all(value in text for value in ("40.0", "50.0", "51.0", "45.5", "47.0", "61.3", "30.0"))


def test_a_piped_table_has_no_escape_codes(table, tmp_path):
    assert "\x1b" not in piped(table, tmp_path / "out.txt")


@pytest.mark.parametrize("columns", ["80", "140"])
def test_a_piped_table_is_as_wide_as_COLUMNS_says(table, tmp_path, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    assert max(len(line) for line in piped(table, tmp_path / "out.txt").splitlines()) <= int(columns)


@pytest.mark.parametrize("columns", ["", "wide", "0"])
def test_a_COLUMNS_that_is_not_a_width_does_no_harm(table, tmp_path, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    assert "51.0 ± 1.0" in piped(table, tmp_path / "out.txt")


def test_markup_in_a_label_is_printed_as_it_is(table):
    assert "[bold]10k[/bold] | *strong*" in printed(table, 200)


def test_every_row_shows_its_paper_value_and_what_was_measured(table):
    text = printed(table, 200)
    line = next(line for line in text.splitlines() if "1.4k strong + 9k weak" in line and "±" in line)
    assert re.findall(r"[\d.]+(?: ± [\d.]+)?", line.split("9k weak")[1]) == [
        "0", "40.0", "50.0", "51.0 ± 1.0", "45.5", "47.0 ± 1.0",
    ]  # fmt: skip
    assert next(line for line in text.splitlines() if "never run" in line).count("NOT RUN") == 2


def test_verdicts_are_coloured_and_the_words_stay(table):
    text = printed(table, 200, force_terminal=True, color_system="standard")
    assert "\x1b[32mMECHANISM SHOWN\x1b[0m: the weak branch is worse" in text
    assert "\x1b[31mMECHANISM NOT SHOWN\x1b[0m: the text is worse than plain" in text
    assert "\x1b[33mUNDECIDED\x1b[0m: plain is worse than marked" in text


# ---------------------------------------------------------------- plans


@pytest.fixture
def graph(tmp_path):
    return graph_of(tmp_path / "work")


def printed_plan(artefacts, precision="fp32 [as typed]", seconds=None, lines=("an [estimate]",)) -> str:
    stream = io.StringIO()
    with redirect_stdout(stream):
        console.print_plan(list(artefacts), precision, seconds or {}, lines)
    return stream.getvalue()


def state_of(text: str, name: str) -> str:
    line = next(line for line in text.splitlines() if re.search(rf"\b{re.escape(name)}\b", line))
    return next(state for state in ("to resume", "to do", "done") if state in line)


def finish(artefact) -> None:
    artefact.folder.mkdir(parents=True)
    artefact.record.write_text("{}")


def test_a_plan_says_what_is_done_what_is_resumed_and_what_is_to_do(graph):
    runs = {name: graph.run(graph.runs[name], 0) for name in ("strong", "mixed", "dual", "dual-kl")}
    finish(runs["strong"])
    for name, file in (("mixed", "checkpoint.pt"), ("dual-kl", "done.begun.json")):
        runs[name].folder.mkdir(parents=True)
        (runs[name].folder / file).write_text("{}")
    text = printed_plan(runs.values())
    states = [state_of(text, f"train {name}-s0") for name in runs]
    assert states == ["done", "to resume", "to do", "to resume"]


def test_a_plan_names_every_artefact_with_its_id_and_steps(graph):
    artefacts = graph.needed(graph.run(graph.runs["dual"], 0))
    text = printed_plan(artefacts)
    stages = [line.split() for line in text.splitlines() if re.search(r"-[0-9a-f]{10}\b", line)]
    assert [words[-1] for words in stages] == [artefact.id for artefact in artefacts]
    assert [artefact.kind for artefact in artefacts] == [
        "data", "weights", "classifier", "cues", "proxies", "quality", "dsrg-score", "run",
    ]  # fmt: skip
    assert re.search(r"train dual-s0\s+6\s+to do", text)  # the tiny preset's steps


def test_a_plan_says_whether_the_data_is_there(graph):
    assert state_of(printed_plan([graph.data]), "data tiny") == "to do"
    finish(graph.data)
    assert state_of(printed_plan([graph.data]), "data tiny") == "done"


def test_a_plan_counts_evaluations_instead_of_listing_them(graph):
    from swdb.specs.tables import CellSource

    scores = [
        graph.score(CellSource((graph.runs["dual"],), branch), seed) for branch in ("strong", "weak") for seed in (0, 1)
    ]
    finish(scores[0])
    text = printed_plan(with_inputs(*scores))
    assert re.search(r"evaluations\s+1 done, 3 to do", text)
    assert not any(score.id in text for score in scores)


def test_a_plan_says_how_long_what_is_left_of_it_takes(graph):
    runs = [graph.run(graph.runs[name], 0) for name in ("strong", "mixed", "dual")]
    finish(runs[0])
    text = printed_plan(runs, seconds={one.id: 150.0 for one in runs[:2]} | {runs[2].id: None})
    assert re.search(r"train mixed-s0\s+6\s+2 min\s+to do", text)
    assert re.search(r"train strong-s0\s+6\s+done", text) and re.search(r"train dual-s0\s+6\s+to do", text)


def test_a_plan_says_how_long_all_evaluations_take(graph):
    from swdb.specs.tables import CellSource

    scores = [graph.score(CellSource((graph.runs["dual"],), "strong"), seed) for seed in (0, 1, 2)]
    finish(scores[0])
    assert re.search(
        r"evaluations\s+6 s\s+1 done, 2 to do", printed_plan(scores, seconds={one.id: 3.0 for one in scores})
    )


def test_at_80_columns_a_plan_breaks_no_id_no_number_and_no_word(graph, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    runs = [graph.run(graph.runs[name], 0) for name in ("weak-then-strong", "dual-all-strong", "weak-retrain")]
    lines = printed_plan(runs, seconds={runs[0].id: 600.0}).splitlines()
    assert max(map(len, lines)) <= 80
    words = [word for line in lines for word in line.split()]
    assert {one.id for one in runs} | {one.name for one in runs} <= set(words)
    assert any("10 min" in line for line in lines)


def test_rows_break_between_words_and_where_nothing_fits_no_sign_is_lost(monkeypatch, capsys):
    def rows_at(columns: int) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(columns))
        row = ["within", "strong-branch-over-separate", "3 of > 400", "two words"]
        console.print_rows(["budget", "claim", "seeds", "said"], [row], {}, whole=("seeds",), numbers=("seeds",))
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= columns
        return lines

    assert any("within  strong-branch-over-separate  3 of > 400  two" in line for line in rows_at(61))
    assert any("within  strong-branch-over-separate  3 of > 400  two words" in line for line in rows_at(80))
    signs = "".join(rows_at(30)).replace(" ", "")
    assert all(signs.count(sign) for sign in "4>") and len(re.findall("[a-z-]", signs)) >= 40


def test_a_plan_ends_with_the_precision_and_the_estimate_as_they_are():
    assert printed_plan([]).splitlines()[-2:] == ["precision: fp32 [as typed]", "an [estimate]"]


# ---------------------------------------------------------------- a benchmark


def benched(**changes) -> dict:
    kind = {
        "unit": "step", "seconds": 0.0123, "images_per_second": 1301.0, "tflops": 0.132, "share_of_ceiling": 0.61,
        "data_share": 0.081, "waits": None, "peak_mib": 1234.0, "measured": True,
    }  # fmt: skip
    other = kind | {
        "seconds": 2.5,
        "images_per_second": 6.4,
        "tflops": None,
        "share_of_ceiling": None,
        "measured": False,
    }
    machine = {"name": "a [processor]", "device": "cpu", "threads": 1, "cores": 2, "torch": "2"}
    return {
        "kinds": {"dual": kind, "dual-n0": other | {"data_share": None, "peak_mib": None}},
        "machine": machine,
        "precision": "bf16",
        "date": "2030-01-02",
        "ceiling_tflops": {"bf16": 0.216, "fp32": 0.1},
        "crowd": {"processes": 2, "images_per_second": 900.0, "slowdown": 1.2},
        "plain": {"threads": 2, "workers": 2, "images_per_second": 400.0, "ratio": 3.25, "ratio_of_all_cores": 2.25},
        "told": [],
    } | changes


def printed_bench(found) -> str:
    stream = io.StringIO()
    with redirect_stdout(stream):
        console.print_bench(found)
    return stream.getvalue()


def test_a_benchmark_has_a_line_for_each_kind_of_work_and_tells_what_was_estimated():
    text = printed_bench(benched())
    assert re.search(r"dual branch\s+step\s+1,301\s+12.3\s+0.132\s+61%\s+8.1%\s+-\s+1,234", text)
    assert re.search(r"dual branch, n = 0\s+step\s+~6.4\s+~2,500\s+-\s+-\s+-\s+-\s+-", text)
    assert "a [processor], cpu, bf16, 1 of 2 cores" in text and "0.216 TFLOP/s in bf16, 0.1 TFLOP/s in fp32" in text


def test_a_benchmark_says_how_it_compares_to_a_plain_loop_and_what_it_left_out():
    assert console.bench_lines(benched())[:2] == [
        "2 runs at once: 900 images/s together, each 1.20 x as long a step",
        "a plain loop (threads: 2, workers: 2, fp32): 400 images/s; a dual run here 3.25 x as many, all cores 2.25 x",
    ]
    kinds = {"dual": benched()["kinds"]["dual"] | {"measured": False}}
    assert console.bench_lines(benched(kinds=kinds, crowd=None, plain=None)) == [
        "no time for dual: what stands there (~) is what they would take",
        "no time for the plain loop",
    ]
    assert console.bench_lines(benched(plain=None, told=["the plain loop: [died]"]))[-1] == "the plain loop: [died]"


# ---------------------------------------------------------------- progress


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437"])
def test_a_table_keeps_its_columns_in_another_encoding(table, tmp_path, encoding):
    path = tmp_path / "out.txt"
    with path.open("w", encoding=encoding) as stream, redirect_stdout(stream):
        console.print_table(table, preset(), judged(table))
    rows = [line for line in path.read_text(encoding=encoding).splitlines() if line.startswith("|")]
    assert len(rows) > 4 and len({len(row) for row in rows}) == 1
    assert {tuple(k for k, sign in enumerate(row) if sign in "|+") for row in rows if "---" not in row}
    assert "+/-" in "".join(rows) or encoding != "ascii"


def test_paths_and_data_are_never_markup(graph, capsys):
    odd = [replace(one, name="[red]x[/y]", id="[/b]-1", folder=one.folder.with_name("[run1]")) for one in [graph.data]]
    text = printed_plan(odd)
    assert "[red]x[/y]" in text and "[/b]-1" in text and f"data set: {odd[0].folder}\n" in text
