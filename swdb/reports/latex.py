"""Tables for a paper: LaTeX with booktabs, verdicts by mark and word beside their colour, so that they read in grey.

in: measured tables and their ledger -> out: `table` environments for \\input; packages booktabs and xcolor
"""

import unicodedata
from collections.abc import Iterable, Iterator

from swdb.reports.ledger import claim_line, rule_lines
from swdb.reports.notes import notes
from swdb.reports.regime import titled
from swdb.reports.results import NOT_MEASURABLE, NOT_RUN, MeasuredTable
from swdb.reports.tables import frame
from swdb.specs.presets import Preset
from swdb.specs.tables import Column
from swdb.verdicts.verdict import CONTRADICTED, NOT_COMPARABLE, REPRODUCED, UNDECIDED, Ledger, Verdict

MARKS = {  # the mark of a verdict, its macro and its colour
    REPRODUCED: (r"$\bullet$", "swdbreproduced", "green!45!black"),
    CONTRADICTED: (r"$\times$", "swdbcontradicted", "red!75!black"),
    UNDECIDED: (r"$\circ$", "swdbundecided", "orange!80!black"),
    NOT_COMPARABLE: (r"$\sim$", "swdbnotcomparable", "gray"),
    NOT_RUN: ("--", "swdbnotrun", "gray"),
}
SPECIAL = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''", "`": r"\textasciigrave{}",
    "±": r"$\pm$", "×": r"$\times$", "−": "$-$", "≤": r"$\leq$", "≥": r"$\geq$", "→": r"$\rightarrow$",
    "–": "--", "—": "---", "…": r"\ldots{}", "’": "'", "‘": "`", "“": "``", "”": "''", "\xa0": "~", "ß": r"{\ss}",
    "\u200b": "{}",
    "[": "{[}", "]": "{]}", "*": "{*}",  # which mean something behind the end of a row
}  # fmt: skip
ACCENTS = {"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0308": '"'}


def document(tables: Iterable[MeasuredTable], preset: Preset, ledger: Ledger) -> str:
    """Return tables as LaTeX to be read in by a document."""
    head = [
        "% Written by swdb; needs \\usepackage{booktabs} and \\usepackage{xcolor}.",
        *(
            f"\\providecommand{{\\{name}}}{{\\textcolor{{{colour}}}{{{mark}}}}}"
            for mark, name, colour in MARKS.values()
        ),
    ]
    return "\n".join([*head, *(line for table in tables for line in ("", *_table(table, preset, ledger)))]) + "\n"


def escaped(text: str) -> str:
    """Return text that LaTeX prints as it is, on one line; a letter that it may not know by its number."""
    return "".join(map(_escaped, " ".join(text.split()).replace("--", "-\u200b-")))


def _escaped(letter: str) -> str:
    if letter in SPECIAL:
        return SPECIAL[letter]
    if " " <= letter <= "~":
        return letter
    base, accent = (unicodedata.normalize("NFD", letter) + "  ")[:2]
    if accent in ACCENTS and base.isascii() and base.isalpha():
        return f"\\{ACCENTS[accent]}{{{base}}}"
    return f"{{[}}U+{ord(letter):04X}{{]}}"


def _table(measured: MeasuredTable, preset: Preset, ledger: Ledger) -> Iterator[str]:
    spec, shown = measured.spec, frame(measured, preset)
    num_labels = len(spec.label_titles)
    caption = f"{spec.title} (mIoU in %; Table {spec.number} of the supplement): {titled(preset, ledger)}"
    yield from (
        r"\begin{table}",
        r"\centering",
        f"\\caption{{{escaped(caption)}}}",
        f"\\label{{tab:swdb-{spec.number}}}",
    )
    yield f"\\begin{{tabular}}{{{'l' * num_labels}{'r' * (len(shown.columns) - num_labels)}}}"
    yield r"\toprule"
    yield from _head(measured, preset)
    yield r"\midrule"
    for row, values in zip(spec.rows, shown.itertuples(index=False), strict=True):
        if row is spec.first_below_line:
            yield r"\midrule"
        yield f"{' & '.join(_cell(str(value)) for value in values)} \\\\"
    yield from (r"\bottomrule", r"\end{tabular}", r"\begin{flushleft}\footnotesize")
    verdicts = ledger.of_table(spec.number)
    yield from (f"{_claim(verdict)}\\par" for verdict in verdicts)
    for line in [*(rule_lines(ledger) if verdicts else []), *notes(measured, preset)]:
        yield f"{escaped(line)}\\par"
    yield from (r"\end{flushleft}", r"\end{table}")


def _head(measured: MeasuredTable, preset: Preset) -> Iterator[str]:
    """Return the head: one line where there is one column of values, else their titles above paper and measured."""
    spec = measured.spec
    labels = [escaped(title) for title in spec.label_titles]
    parts = [_parts(column, preset) for column in spec.columns]
    if len(parts) > 1:
        titles, rules, at = [""] * len(labels), [], len(labels) + 1
        for column, names in zip(spec.columns, parts, strict=True):
            titles.append(f"\\multicolumn{{{len(names)}}}{{c}}{{{escaped(column.title)}}}")
            rules.append(f"\\cmidrule(lr){{{at}-{at + len(names) - 1}}}")
            at += len(names)
        yield f"{' & '.join(titles)} \\\\"
        yield " ".join(rules)
    yield f"{' & '.join([*labels, *(name for names in parts for name in names)])} \\\\"


def _parts(column: Column, preset: Preset) -> list[str]:
    """Name what the frame shows of a column."""
    if column.branch is None:
        return ["paper"]
    difference = preset.comparable and (column.printed or column.quoted)
    return [*(["paper"] if column.printed else []), "measured", *(["difference"] if difference else [])]


def _cell(value: str) -> str:
    if value == NOT_RUN:
        return f"\\{MARKS[NOT_RUN][1]}{{}} {escaped(value)}"
    return "--" if value == NOT_MEASURABLE else escaped(value)


def _claim(verdict: Verdict) -> str:
    word, _, rest = claim_line(verdict).partition(":")
    return f"\\{MARKS[verdict.word][1]}{{}} \\textbf{{{escaped(word)}}}: {escaped(rest)}"
