"""Tables as LaTeX: what is written compiles, means what the other formats say, and reads without colours."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from swdb.reports.latex import MARKS, document, escaped
from swdb.reports.ledger import ledger_of
from swdb.reports.results import MeasuredTable, measure
from swdb.reports.tables import frame
from swdb.specs.presets import Preset, load_preset
from swdb.specs.tables import all_runs, load_tables
from swdb.verdicts.verdict import WORDS

PRESET, TABLES = load_preset("synthetic"), load_tables()
HOSTILE = "a \\input{x} 100 % of $1 & #2_{3} ~^<>|\"`' – — ± é ß 语 \u202e \x07 --- [*] \\\\"


def never_run(preset: Preset = PRESET) -> tuple[list[MeasuredTable], str]:
    """The four tables without any score, and their LaTeX."""
    measured = [measure(table, all_runs(TABLES), {}) for table in TABLES.values()]
    return measured, document(measured, preset, ledger_of(measured, preset))


def compiled(text: str, folder: Path) -> str:
    """Compile a document around a text; returns the log."""
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex")
    whole = f"\\documentclass{{article}}\n\\usepackage{{booktabs}}\n\\usepackage{{xcolor}}\n\\begin{{document}}\n{text}\\end{{document}}\n"
    (folder / "tables.tex").write_text(whole, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "tables.tex"]
    result = subprocess.run(command, cwd=folder, capture_output=True, timeout=120, check=False)
    log = (folder / "tables.log").read_text(encoding="latin-1")
    assert result.returncode == 0, log[-2000:]
    return log


def check_balance(text: str) -> None:
    """Read LaTeX as strictly as can be done without TeX: groups, environments, and as many cells in every row."""
    depth, k = 0, 0
    while k < len(text):
        if text[k] == "\\":
            k += 2
            continue
        if text[k] == "%":
            k = text.index("\n", k)
        depth += (text[k] == "{") - (text[k] == "}")
        assert depth >= 0
        k += 1
    assert depth == 0
    open_ones = []
    for verb, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if verb == "begin":
            open_ones.append(name)
        else:
            assert open_ones.pop() == name
    assert open_ones == []
    for columns, body in re.findall(r"\\begin\{tabular\}\{([lr]+)\}(.*?)\\end\{tabular\}", text, re.DOTALL):
        rows = [line for line in body.splitlines() if line.endswith("\\\\")]
        for row in rows:
            cells = re.split(r"(?<!\\)&", row)
            spans = [int(span) for span in re.findall(r"\\multicolumn\{(\d+)\}", row)]
            assert len(cells) - len(spans) + sum(spans) == len(columns), row


@pytest.mark.parametrize("comparable", [False, True])
def test_the_tables_compile(comparable, tmp_path):
    _, text = never_run(replace(PRESET, comparable=comparable))
    check_balance(text)
    log = compiled(text, tmp_path)
    assert "(4 pages" in log or "pages" in log


@pytest.mark.parametrize("comparable", [False, True])
def test_a_row_has_the_cells_of_the_frame(comparable):
    preset = replace(PRESET, comparable=comparable)
    measured, text = never_run(preset)
    for table, body in zip(measured, re.findall(r"\\toprule(.*?)\\bottomrule", text, re.DOTALL), strict=True):
        shown = frame(table, preset)
        heads = 2 if len(table.spec.columns) > 1 else 1
        rows = [line for line in body.splitlines() if line.endswith("\\\\")]
        assert len(rows) == heads + len(shown)
        for line, values in zip(rows[heads:], shown.itertuples(index=False), strict=True):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)&", line.removesuffix("\\\\"))]
            for cell, value in zip(cells, values, strict=True):
                assert escaped(str(value)) in cell or (cell, value) == ("--", "–")
    assert (text.count("NOT RUN") > 25 and "difference" in text) or not comparable


def test_every_verdict_has_a_mark_of_its_own_and_stands_there_in_words():
    assert set(MARKS) == set(WORDS)
    assert len({mark for mark, _, _ in MARKS.values()}) == len({name for _, name, _ in MARKS.values()}) == len(WORDS)
    measured, text = never_run()
    ledger = ledger_of(measured, PRESET)
    for verdict in ledger.verdicts:
        assert f"\\{MARKS[verdict.word][1]}{{}} \\textbf{{{verdict.shown}}}: {escaped(verdict.claim.text)}" in text


def test_the_in_text_row_stands_below_a_rule():
    _, text = never_run()
    (before,) = [text[: text.index("10k weak, then")].rstrip()]
    assert before.endswith("\\midrule")


def test_rows_of_ours_stand_below_one_rule_and_a_column_of_ours_has_no_paper():
    _, text = never_run()
    first, second = (text[: text.index(f"two networks (strong, {other})")].rstrip() for other in ("mixed", "weak"))
    assert first.endswith("\\midrule") and not second.endswith("\\midrule")
    head = text[text.index("DecoupledNet, trained here") :].splitlines()
    assert "\\multicolumn{1}{c}{DecoupledNet, trained here}" in text
    assert head[2].endswith("paper & measured & paper & measured \\\\")


def test_whatever_a_title_is_made_of_is_printed_as_it_is(tmp_path):
    _, text = never_run(replace(PRESET, title=HOSTILE))
    assert "\\input" not in text
    check_balance(text)
    compiled(text, tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("72.2 ± 0.4", r"72.2 $\pm$ 0.4"),
        ("100 % & _x_", r"100 \% \& \_x\_"),
        ("é", r"\'{e}"),
        ("语", "{[}U+8BED{]}"),
        ("--seeds", "-{}-seeds"),
        ("a\n\\end{table}", r"a \textbackslash{}end\{table\}"),
        ("*", "{*}"),
    ],
)
def test_escaping(text, expected):
    assert escaped(text) == expected
