"""Presets and tables: what the paper prints, what each row trains, and strict reading of TOML."""

import shutil
from pathlib import Path

import pytest

from swdb.core.errors import BadInput
from swdb.specs import tables
from swdb.specs.tables import Recipe, all_recipes, load_tables

# ---------------------------------------------------------------- what the supplement prints, typed from its tables

TABLE_1 = [
    (("1.4k strong + 9k weak",), 62.8),
    (("1.4k*2 strong + 9k weak",), 63.5),
    (("1.4k*3 strong + 9k weak",), 64.2),
    (("1.4k*6 strong + 9k weak",), 65.9),
    (("1.4k strong",), 68.9),
]
TABLE_2 = [  # (dual branch "*", KL, strong branch, weak branch) and mIoU
    ((False, False, "10k weak", "-"), 57.0),
    ((False, False, "10k weak (retrain)", "-"), 60.1),
    ((False, False, "1.4k strong + 9k weak", "-"), 62.8),
    ((False, False, "1.4k strong", "-"), 68.9),
    ((False, False, "10k strong", "-"), 71.4),
    ((True, False, "1.4k strong", "1.4k strong + 9k weak"), 72.2),
    ((True, True, "1.4k strong", "1.4k strong + 9k weak"), 71.6),
    ((True, False, "1.4k strong", "10k strong"), 73.9),
]
TABLE_3 = [(0, 70.9, 62.3), (1, 71.5, 63.1), (2, 72.2, 63.8), (3, 72.2, 64.0)]  # n, strong branch, weak branch
TABLE_4 = [(5, 53.1, 60.8), (10, 57.4, 64.8), (25, 62.1, 68.1)]  # strong images a class, [1], ours

DUAL = {"strong_branch": "strong", "weak_branch": "strong+weak"}
TRAININGS = [
    Recipe(name="mixed", strong_branch="strong+weak"),
    Recipe(name="mixed-x2", strong_branch="strong+weak", oversample=2),
    Recipe(name="mixed-x3", strong_branch="strong+weak", oversample=3),
    Recipe(name="mixed-x6", strong_branch="strong+weak", oversample=6),
    Recipe(name="strong", strong_branch="strong"),
    Recipe(name="weak-then-strong", strong_branch="strong", start_from="weak"),
    Recipe(name="weak", strong_branch="weak"),
    Recipe(name="weak-retrain", strong_branch="weak", proxy_set=2),
    Recipe(name="all-strong", strong_branch="all-strong"),
    Recipe(name="dual", **DUAL),
    Recipe(name="dual-kl", **DUAL, kl=True),
    Recipe(name="dual-all-strong", strong_branch="strong", weak_branch="all-strong"),
    Recipe(name="dual-n0", **DUAL, shared_layers=0),
    Recipe(name="dual-n1", **DUAL, shared_layers=1),
    Recipe(name="dual-n2", **DUAL, shared_layers=2),
    Recipe(name="dual-5", **DUAL, strong_per_class=5),
    Recipe(name="dual-10", **DUAL, strong_per_class=10),
    Recipe(name="dual-25", **DUAL, strong_per_class=25),
]


def values(table, row) -> list[float]:
    """The printed values of a row, in the order of the columns."""
    return [row.paper[column.key] for column in table.columns]


def test_every_table_file_is_read():
    files = sorted(path.name for path in tables.tables_folder().glob("*.toml"))
    assert files == ["table1.toml", "table2.toml", "table3.toml", "table4.toml"]
    assert list(load_tables()) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("number", "rows", "in_text", "measured", "literature"),
    [(1, 5, 1, 6, 0), (2, 8, 0, 8, 0), (3, 4, 0, 8, 0), (4, 3, 0, 3, 3)],
)
def test_a_table_has_the_printed_rows_and_cells(number, rows, in_text, measured, literature):
    table = load_tables()[number]
    assert sum(not row.in_text for row in table.rows) == rows
    assert sum(row.in_text for row in table.rows) == in_text
    assert len(table.cells()) == measured
    assert sum(column.branch is None for _ in table.rows for column in table.columns) == literature


def test_all_tables_together_print_28_values():
    assert sum(len(row.paper) for table in load_tables().values() for row in table.rows) == 28


def test_table_1_prints_what_the_supplement_prints():
    table = load_tables()[1]
    printed = [(row.labels, *values(table, row)) for row in table.rows if not row.in_text]
    assert printed == TABLE_1


def test_table_1_has_the_claim_of_section_2_below_its_line():
    table = load_tables()[1]
    last = table.rows[-1]
    assert last.in_text and values(table, last) == [68.9]
    assert last.run.start_from == "weak" and last.run.strong_branch == "strong"


def test_table_2_prints_what_the_supplement_prints():
    table = load_tables()[2]
    printed = [((row.run.dual, row.run.kl, *row.labels[1:]), *values(table, row)) for row in table.rows]
    assert printed == TABLE_2
    assert ["*" in row.labels[0] for row in table.rows] == [star for (star, *_), _ in TABLE_2]


def test_table_3_prints_what_the_supplement_prints():
    table = load_tables()[3]
    assert [(row.run.shared_layers, *values(table, row)) for row in table.rows] == TABLE_3
    assert [row.labels for row in table.rows] == [("0",), ("1",), ("2",), ("3",)]
    assert [column.branch for column in table.columns] == ["strong", "weak"]


def test_table_4_prints_what_the_supplement_prints():
    table = load_tables()[4]
    assert [(row.run.strong_per_class, *values(table, row)) for row in table.rows] == TABLE_4
    assert [row.labels for row in table.rows] == [("5",), ("10",), ("25",)]


def test_the_literature_column_says_where_its_numbers_come_from():
    literature = [column for table in load_tables().values() for column in table.columns if column.branch is None]
    assert len(literature) == 1
    # DecoupledNet's published VOC test numbers are others; a reader must not take these for them.
    assert all(word in literature[0].provenance for word in ("Hong", "54.7", "58.7", "62.5", "not measured here"))


def test_the_tables_need_eighteen_trainings_and_each_is_what_the_paper_describes():
    assert all_recipes(load_tables()) == {recipe.name: recipe for recipe in TRAININGS}
    assert len(TRAININGS) == 18


def test_rows_that_stand_in_two_tables_share_their_training():
    tables = load_tables()
    runs = {number: [row.run for row in table.rows] for number, table in tables.items()}
    assert runs[1][0] == runs[2][2]
    assert runs[1][4] == runs[2][3]
    assert runs[2][5] == runs[3][3]


def test_the_printed_values_of_shared_cells_agree():
    # Table 2's dual row and Table 3's n = 3 are one cell (strong branch): a typing error would show here.
    printed: dict[tuple[str, str], set[float]] = {}
    for table in load_tables().values():
        for row, column in table.cells():
            printed.setdefault((row.run.name, column.branch), set()).add(row.paper[column.key])
    assert len(printed) == 22  # 25 measured cells, three of them printed twice
    assert all(len(numbers) == 1 for numbers in printed.values())


def test_what_a_row_needs_follows_from_its_label_sets():
    assert {r.name for r in TRAININGS if not r.needs_proxies} == {
        "strong", "all-strong", "dual-all-strong", "weak-then-strong",
    }  # fmt: skip
    assert {r.name for r in TRAININGS if r.dual} == {r.name for r in TRAININGS if r.name.startswith("dual")}


def test_every_claim_holds_for_the_printed_values():
    # The claims are the paper's own sentences, so its own numbers must bear them out.
    seen = 0
    for table in load_tables().values():
        printed = {f"{row.key}.{column.key}": row.paper[column.key] for row, column in table.cells()}
        for claim in table.claims:
            difference = printed[claim.higher] - printed[claim.lower]
            assert difference == 0 if claim.equal else difference > 0, claim.text
            seen += 1
    assert seen == 16


# ---------------------------------------------------------------- adding rows and tables


@pytest.fixture
def folder(tmp_path) -> Path:
    """A copy of the table specs that a test may edit."""
    return Path(shutil.copytree(tables.tables_folder(), tmp_path / "tables"))


def edit(path: Path, old: str, new: str) -> None:
    """Replace the first `old` of a file, which must be there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


NEW_ROW = """
[[row]]
key = "50"
labels = ["50"]
run = { name = "dual-50", strong_branch = "strong", weak_branch = "strong+weak", strong_per_class = 50 }
paper = { decouplednet = 0.0, ours = 0.0 }
"""


def test_adding_a_row_is_editing_a_toml_file(folder):
    path = folder / "table4.toml"
    path.write_text(path.read_text() + NEW_ROW)
    tables = load_tables(folder)
    assert [row.key for row in tables[4].rows] == ["5", "10", "25", "50"]
    assert all_recipes(tables).keys() - all_recipes(load_tables()).keys() == {"dual-50"}


def test_adding_a_table_is_adding_a_toml_file(folder):
    (folder / "table5.toml").write_text(
        'number = 5\ntitle = "More"\nlabel_titles = ["n"]\n'
        '[[column]]\nkey = "miou"\ntitle = "mIoU"\nbranch = "strong"\n'
        '[[row]]\nkey = "n4"\nlabels = ["4"]\npaper = { miou = 1.0 }\n'
        'run = { name = "dual-n4", strong_branch = "strong", weak_branch = "strong+weak", shared_layers = 4 }\n'
    )
    tables = load_tables(folder)
    assert list(tables) == [1, 2, 3, 4, 5]
    assert all_recipes(tables)["dual-n4"].shared_layers == 4


def test_a_whole_number_will_do_where_a_value_is_printed(folder):
    edit(folder / "table1.toml", "paper = { miou = 63.5 }", "paper = { miou = 63 }")
    printed = load_tables(folder)[1].rows[1].paper["miou"]
    assert printed == 63.0 and type(printed) is float


# ---------------------------------------------------------------- mistakes in tables


def refusal(folder: Path) -> str:
    """The one line with which the tables of a folder are refused."""
    with pytest.raises(BadInput) as caught:
        load_tables(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


X2 = 'run = { name = "mixed-x2", strong_branch = "strong+weak", oversample = 2 }'

# A name for the mistake; the table, what is replaced by what; words that the error must hold: file, row, key, mend.
TABLE_MISTAKES = {
    "unknown key of a table": (1, "title = ", "titel = ", ["table1.toml", "'titel'", "did you mean 'title'?"]),
    "unknown kind of entry": (1, "[[row]]", "[[rwo]]", ["table1.toml", "'rwo'", "did you mean 'row'?"]),
    "unknown key of a row": (1, "in_text", "intext", ["table1.toml", "row 'fine-tuned'", "did you mean 'in_text'?"]),
    "unknown key of a run": (
        1, "oversample = 2", "oversampel = 2",
        ["table1.toml", "row 'x2'", "key 'run'", "'oversampel'", "did you mean 'oversample'?"],
    ),
    "unknown key of a column": (
        1, "branch = ", "brnch = ", ["table1.toml", "column 'miou'", "'brnch'", "did you mean 'branch'?"],
    ),
    "unknown key of a claim": (
        1, "lower = ", "lowr = ", ["table1.toml", "claim 'mixing", "'lowr'", "did you mean 'lower'?"],
    ),
    "text for a number": (
        1, "oversample = 2", 'oversample = "2"',
        ["table1.toml", "row 'x2'", "key 'oversample'", "found '2'", "expected int"],
    ),
    "truth for a number": (
        1, "oversample = 2", "oversample = true",
        ["table1.toml", "row 'x2'", "key 'oversample'", "found True", "expected int"],
    ),
    "fraction for a whole number": (
        1, "oversample = 2", "oversample = 2.5", ["table1.toml", "row 'x2'", "key 'oversample'", "found 2.5"],
    ),
    "number for a truth": (
        2, "kl = true", "kl = 1", ["table2.toml", "row 'dual-kl'", "key 'kl'", "found 1", "expected bool"],
    ),
    "text for a printed value": (
        1, "miou = 63.5", 'miou = "63.5"',
        ["table1.toml", "row 'x2'", "key 'paper'", "'miou'", "found '63.5'", "expected float"],
    ),
    "text for a list": (
        1, 'labels = ["1.4k*2 strong + 9k weak"]', 'labels = "1.4k*2"',
        ["table1.toml", "row 'x2'", "key 'labels'", "expected a list"],
    ),
    "number in a list of texts": (
        1, 'labels = ["1.4k*2 strong + 9k weak"]', "labels = [7]",
        ["table1.toml", "row 'x2'", "key 'labels'", "found 7", "expected str"],
    ),
    "text for a run": (
        1, X2, 'run = "mixed-x2"', ["table1.toml", "row 'x2'", "key 'run'", "found 'mixed-x2'"],
    ),
    "missing key of a table": (1, "number = 1", "", ["table1.toml", "key 'number' is missing"]),
    "missing key of a row": (1, X2, "", ["table1.toml", "row 'x2'", "key 'run' is missing"]),
    "missing key of a run": (
        1, 'name = "mixed-x2", strong_branch = "strong+weak",', 'name = "mixed-x2",',
        ["table1.toml", "row 'x2'", "key 'strong_branch' is missing"],
    ),
    "missing printed value": (
        4, "decouplednet = 57.4, ours = 64.8", "decouplednet = 57.4",
        ["table4.toml", "row '10'", "key 'paper'", "'ours' is missing"],
    ),
    "printed value of no column": (
        4, "ours = 64.8", "ours = 64.8, our = 1.0",
        ["table4.toml", "row '10'", "key 'paper'", "'our'", "did you mean 'ours'?"],
    ),
    "unknown label set": (
        1, 'strong_branch = "strong+weak", oversample = 2', 'strong_branch = "strong+weka", oversample = 2',
        ["table1.toml", "row 'x2'", "'strong_branch'", "'strong+weka'", "did you mean 'strong+weak'?"],
    ),
    "unknown label set of the weak branch": (
        3, 'weak_branch = "strong+weak", shared_layers = 1', 'weak_branch = "wek", shared_layers = 1',
        ["table3.toml", "row 'n1'", "'weak_branch'", "'wek'", "did you mean 'weak'?"],
    ),
    "unknown branch": (
        3, 'branch = "weak"', 'branch = "wek"', ["table3.toml", "column 'weak'", "'wek'", "did you mean 'weak'?"],
    ),
    "unknown claim cell": (
        1, 'lower = "mixed.miou"', 'lower = "mixd.miou"',
        ["table1.toml", "claim 'mixing", "'mixd.miou'", "did you mean 'mixed.miou'?"],
    ),
    "a claim about a literature cell": (
        4, 'lower = "5.ours"', 'lower = "5.decouplednet"', ["table4.toml", "claim '10 strong", "'5.decouplednet'"],
    ),
    "unknown run to start from": (
        1, 'start_from = "weak"', 'start_from = "waek"',
        ["table1.toml", "row 'fine-tuned'", "start", "'waek'", "did you mean 'weak'?"],
    ),
    "a run that starts from itself": (
        1, 'start_from = "weak"', 'start_from = "weak-then-strong"',
        ["table1.toml", "row 'fine-tuned'", "start", "'weak-then-strong'"],
    ),
    "same name, other values": (
        2, 'name = "strong", strong_branch = "strong"', 'name = "strong", strong_branch = "strong", shared_layers = 2',
        ["table2.toml", "row 'strong'", "'strong'", "shared_layers"],
    ),
    "same values, two names": (
        2, 'name = "strong", strong_branch', 'name = "strong-only", strong_branch',
        ["table2.toml", "row 'strong'", "'strong'", "'strong-only'", "name"],
    ),
    "same row twice": (1, 'key = "x3"', 'key = "x2"', ["table1.toml", "row 'x2'", "key"]),
    "same column twice": (3, 'key = "weak"', 'key = "strong"', ["table3.toml", "column 'strong'", "key"]),
    "same table twice": (2, "number = 2", "number = 1", ["table1.toml", "table2.toml", "number"]),
    "too many labels": (
        1, 'labels = ["1.4k*2 strong + 9k weak"]', 'labels = ["1.4k*2 strong", "9k weak"]',
        ["table1.toml", "row 'x2'", "2 labels", "expected 1"],
    ),
    "KL without a second branch": (
        1, "oversample = 2", "kl = true", ["table1.toml", "row 'x2'", "'kl'", "weak_branch"],
    ),
    "a column of the weak branch for a single branch": (
        3, 'weak_branch = "strong+weak", shared_layers = 1', "shared_layers = 1",
        ["table3.toml", "row 'n1'", "'weak_branch'"],
    ),
    "fewer than no shared layers": (
        3, "shared_layers = 1", "shared_layers = -1", ["table3.toml", "row 'n1'", "'shared_layers'", "0 or more"],
    ),
    "oversampling by nothing": (
        1, "oversample = 2", "oversample = 0", ["table1.toml", "row 'x2'", "'oversample'", "1 or more"],
    ),
    "a third proxy set": (
        2, "proxy_set = 2", "proxy_set = 3", ["table2.toml", "row 'weak-retrain'", "'proxy_set'", "1 or 2"],
    ),
    "no strong images": (
        4, "strong_per_class = 10", "strong_per_class = 0",
        ["table4.toml", "row '10'", "'strong_per_class'", "1 or more"],
    ),
    "not TOML": (3, "number = 3", "number =", ["table3.toml", "not valid TOML", "line "]),
}  # fmt: skip


@pytest.mark.parametrize("mistake", TABLE_MISTAKES)
def test_a_mistake_in_a_table_is_named_with_file_row_and_key(folder, mistake):
    number, old, new, words = TABLE_MISTAKES[mistake]
    edit(folder / f"table{number}.toml", old, new)
    message = refusal(folder)
    assert [word for word in words if word not in message] == [], message


def test_claims_under_a_wrong_heading_are_not_dropped_in_silence(folder):
    # The heading is [[claim]]; whoever writes [[claims]] must not lose a claim without a word.
    path = folder / "table1.toml"
    path.write_text(path.read_text().replace("[[claim]]", "[[claims]]"))
    message = refusal(folder)
    assert "table1.toml" in message and "'claims'" in message and "did you mean 'claim'?" in message


def test_runs_that_start_from_each_other_are_refused(folder):
    edit(folder / "table1.toml", 'start_from = "weak"', 'start_from = "strong"')
    for number in (1, 2):
        edit(
            folder / f"table{number}.toml",
            'name = "strong", strong_branch = "strong"',
            'name = "strong", strong_branch = "strong", start_from = "weak-then-strong"',
        )
    assert "start" in refusal(folder)


def test_a_table_without_rows_is_refused(folder):
    path = folder / "table3.toml"
    path.write_text('number = 3\ntitle = "t"\nlabel_titles = ["n"]\n')
    message = refusal(folder)
    assert "table3.toml" in message and "[[row]]" in message


def test_a_table_that_is_not_text_is_refused(folder):
    (folder / "table3.toml").write_bytes(b"number = 3\xff\xfe")
    assert "table3.toml" in refusal(folder)


def test_a_folder_without_tables_is_named(tmp_path):
    assert str(tmp_path) in refusal(tmp_path)
