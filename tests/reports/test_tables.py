"""A measured table as a frame, as Markdown, CSV and JSON, and the lines that stand under it."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from made_up import PRESET, RUNS, TABLE, judged, measured_in, preset, shown_in

from swdb.data.synthetic import SCENES
from swdb.reports import tables
from swdb.reports.assumptions import settings_page
from swdb.reports.ledger import claim_lines, rule_lines
from swdb.reports.results import MeasuredTable, measure
from swdb.specs.presets import load_preset
from swdb.specs.tables import all_runs, load_tables


@pytest.fixture
def measured(tmp_path) -> MeasuredTable:
    return shown_in(tmp_path)


def rendered(measured: MeasuredTable, preset, form: str) -> str:
    """Render the made-up table with the verdicts on its claims."""
    return tables.render([measured], preset, form, judged(measured))


def never_run(number: int) -> MeasuredTable:
    """One of the real tables, without any score."""
    real = load_tables()
    return measure(real[number], all_runs(real), {})


# ---------------------------------------------------------------- the frame


def test_the_frame_has_a_line_for_every_row_in_the_specs_order(measured):
    assert tables.frame(measured, PRESET)["n"].tolist() == ["0", "1", "2", "3"]


def test_paper_and_measured_stand_side_by_side(measured):
    assert list(tables.frame(measured, PRESET).columns) == [
        "Training data", "n",
        "Others [7] paper",
        "Strong branch paper", "Strong branch measured",
        "Weak branch paper", "Weak branch measured",
    ]  # fmt: skip
    line = tables.frame(measured, PRESET).iloc[0]
    assert (line["Strong branch paper"], line["Strong branch measured"]) == ("50.0", "51.0 ± 1.0")
    assert (line["Weak branch paper"], line["Weak branch measured"]) == ("45.5", "47.0 ± 1.0")


def test_a_literature_column_is_quoted_and_never_measured(measured):
    shown = tables.frame(measured, PRESET)
    assert shown["Others [7] paper"].tolist() == ["40.0", "41.0", "42.0", "43.0"]
    assert "Others [7] measured" not in shown.columns


def test_what_was_not_run_says_so(measured):
    line = tables.frame(measured, PRESET).iloc[2]
    assert (line["Strong branch measured"], line["Weak branch measured"]) == ("NOT RUN", "NOT RUN")


def test_the_in_text_row_is_there_below_the_tables_line(measured):
    assert tables.frame(measured, PRESET).iloc[-1]["Training data"] == "from the text"


def test_a_table_of_one_column_needs_no_title_before_paper_and_measured():
    shown = tables.frame(never_run(1), PRESET)
    assert list(shown.columns) == ["Training data", "paper", "measured"]
    assert len(shown) == 6
    assert shown["paper"].tolist() == ["62.8", "63.5", "64.2", "65.9", "68.9", "68.9"]


def test_no_difference_is_shown_where_the_scale_is_not_the_papers(measured):
    assert not [name for name in tables.frame(measured, PRESET).columns if "difference" in name]
    assert not [cell for cell in markdown_rows(rendered(measured, PRESET, "md"))[0] if "difference" in cell]
    assert "difference" not in rendered(measured, PRESET, "csv")


def test_a_difference_is_shown_with_its_sign_where_the_scale_is_the_papers(measured):
    comparable = preset(comparable=True)
    shown = tables.frame(measured, comparable)
    assert shown["Strong branch difference"].tolist() == [
        "+1.0",
        "+0.2",
        "",
        "+8.3",
    ]  # 51 - 50, 51.17 - 51, -, 61.33 - 53
    assert shown["Weak branch difference"].tolist() == ["+1.5", "-1.5", "", "-18.0"]
    assert "Others [7] difference" not in shown.columns
    head = markdown_rows(rendered(measured, comparable, "md"))[0]
    assert [cell for cell in head if "difference" in cell] == ["Strong branch difference", "Weak branch difference"]


def test_a_column_of_ours_has_what_was_measured_alone_and_a_difference_to_what_it_quotes(measured):
    columns = tuple(
        replace(one, printed=False, quoted="others", title="Others, here") if one.key == "weak" else one
        for one in TABLE.columns
    )
    ours = replace(measured, spec=replace(TABLE, columns=columns), cells=dict(measured.cells))
    for row in TABLE.rows:
        ours.cells[row.key, "weak"] = replace(measured.cells[row.key, "weak"], column=columns[2])
    assert [*tables.frame(ours, PRESET).columns][-1] == "Others, here" and "Others, here paper" not in tables.frame(
        ours, PRESET
    )
    line = tables.frame(ours, preset(comparable=True)).iloc[0]
    assert (line["Others, here"], line["Others, here difference"]) == ("47.0 ± 1.0", "+7.0")  # 47 - 40
    assert "Others, here: a column of ours" in rendered(ours, PRESET, "md")


def test_a_row_of_ours_has_no_printed_value_and_so_no_difference(measured):
    rows = tuple(replace(row, printed=False, paper={}) if row.key == "plain" else row for row in TABLE.rows)
    ours = replace(measured, spec=replace(TABLE, rows=rows), cells=dict(measured.cells))
    for column in ("others", "strong", "weak"):
        ours.cells["plain", column] = replace(measured.cells["plain", column], row=rows[0])
    line = tables.frame(ours, preset(comparable=True)).iloc[0]
    assert [line[f"{title} paper"] for title in ("Others [7]", "Strong branch", "Weak branch")] == ["–"] * 3
    assert (line["Strong branch measured"], line["Strong branch difference"]) == ("51.0 ± 1.0", "")
    values = csv_frame(ours)
    assert values[values.row == "plain"].paper.isna().all()


# ---------------------------------------------------------------- title, claims, notes


def test_the_title_names_the_scale(measured):
    ledger = judged(measured)
    assert tables.title(measured, PRESET, ledger) == "Table 9. Made-up numbers — tiny scenes for tests"


def test_notes_name_the_seeds_and_the_rule_of_selection(measured):
    note = next(line for line in tables.notes(measured, PRESET) if line.startswith("measured:"))
    assert "seeds 0, 1, 2" in note
    assert "last weights" in note


def test_notes_print_a_literature_columns_provenance(measured):
    assert "Others [7]: as printed by others; not measured here" in tables.notes(measured, PRESET)


def test_notes_of_the_real_table_4_say_whence_decouplednets_numbers_come():
    lines = tables.notes(never_run(4), PRESET)
    assert any(line.startswith("DecoupledNet [1]:") and "Hong et al., NIPS 2015" in line for line in lines)


def test_notes_warn_where_the_scale_is_not_the_papers(measured):
    warning = next(line for line in tables.notes(measured, PRESET) if "PASCAL VOC" in line)
    assert "orientation" in warning
    assert "1.4k strong = 12 images, 9k weak = 20, 10k = 32" in warning  # the tiny preset's sizes


def test_notes_say_where_the_data_set_is_not_the_published_one(measured):
    synthetic = load_preset("synthetic")
    (other,) = [line for line in tables.notes(measured, synthetic) if "published" in line]
    assert other.startswith("not the data set of the published numbers")
    same = replace(measured, data_digest=next(iter(SCENES.published.values())))
    assert not any("published" in line for line in tables.notes(same, synthetic))


def test_notes_of_a_part_of_voc_say_that_it_is_one(measured):
    animals = load_preset("voc-animals")
    warning = next(line for line in tables.notes(measured, animals) if "PASCAL VOC" in line)
    assert animals.data.name in warning and "orientation" in warning
    assert f"10k = {animals.data.num_train}, val = {animals.data.num_val}" in warning


def test_notes_do_not_warn_where_the_scale_is_the_papers(measured):
    assert not [line for line in tables.notes(measured, preset(comparable=True)) if "PASCAL VOC" in line]


def test_notes_say_that_something_is_missing(measured):
    assert [line for line in tables.notes(measured, PRESET) if "NOT RUN" in line]


def test_notes_of_a_complete_table_do_not_speak_of_missing_seeds(tmp_path):
    scores = {(row.key, branch): {0: 1.0} for row in TABLE.rows for branch in ("strong", "weak")}
    assert not [line for line in tables.notes(measured_in(tmp_path, scores=scores), PRESET) if "NOT RUN" in line]


def test_notes_name_data_proxies_and_machine(measured):
    assert tables.notes(measured, PRESET)[-2:] == [
        f"data sha256 {'d' * 16}, proxies dsrg-1-0123456789 (their quality.md says how good they are)",
        "computed on Made-up 9000 (cpu, fp32, 2 threads), torch 2.11.0",
    ]


# ---------------------------------------------------------------- Markdown


def markdown_rows(text: str) -> list[list[str]]:
    """Split a Markdown table into cells, as a renderer does: at every bar that is not escaped."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.replace(r"\|", "\0").strip("|").split("|")] for line in lines]


def test_markdown_has_head_rule_and_rows_of_equal_length(measured):
    rows = markdown_rows(rendered(measured, PRESET, "md"))
    assert len(rows) == 2 + 4
    assert {len(row) for row in rows} == {7}  # a bar inside a label must not begin a new cell


def test_markdown_aligns_labels_left_and_numbers_right(measured):
    assert markdown_rows(rendered(measured, PRESET, "md"))[1] == ["---", "---", *["---:"] * 5]


def test_markdown_shows_stars_and_brackets_as_they_are(measured):
    text = rendered(measured, PRESET, "md")
    assert "[bold]10k[/bold]" in text
    assert r"\*strong\*" in text


def test_markdown_has_claims_how_they_were_judged_and_notes_below_the_table(measured):
    text = rendered(measured, PRESET, "md")
    for line in (*claim_lines(judged(measured), 9), *rule_lines(judged(measured))):
        assert line.replace("*", r"\*") in text
    assert r"- NOT COMPARABLE: plain is better than Others \*[7]\*" in text
    assert "<sub>Others [7]: as printed by others; not measured here</sub>" in text


# ---------------------------------------------------------------- CSV and JSON


def csv_frame(measured) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(rendered(measured, PRESET, "csv")))


def test_csv_has_a_line_for_every_cell_and_seed(measured):
    shown = csv_frame(measured)
    values = shown[(shown.row == "plain") & (shown.column == "strong")]
    assert values.seed.tolist() == [0, 1, 2]
    assert values.measured.tolist() == [50.0, 51.0, 52.0]
    assert values.paper.tolist() == [50.0] * 3
    assert values.run.nunique() == 3


def test_csv_has_full_precision(tmp_path):
    scores = {("plain", "strong"): {0: 51.23456789012345}}
    assert csv_frame(measured_in(tmp_path, scores=scores)).measured.dropna().tolist() == [51.23456789012345]


def test_csv_leaves_a_missing_seed_empty(measured):
    shown = csv_frame(measured)
    values = shown[(shown.row == "marked") & (shown.column == "weak")]
    assert values.measured.isna().tolist() == [False, False, True]


def test_csv_has_one_line_for_a_cell_that_no_run_can_fill(measured):
    cell = replace(measured.cells["plain", "weak"], measurable=False, by_seed={}, runs={})
    shown = csv_frame(replace(measured, cells=measured.cells | {("plain", "weak"): cell}))
    (line,) = shown[(shown.row == "plain") & (shown.column == "weak")].itertuples()
    assert pd.isna(line.seed) and pd.isna(line.measured)


def test_csv_keeps_labels_with_commas_and_bars_whole(measured):
    assert "[bold]10k[/bold] | *strong* | 1" in csv_frame(measured).labels.tolist()


def test_csv_has_every_cell_of_a_table_that_was_never_run():
    shown = csv_frame(measure(TABLE, RUNS, {}))
    assert len(shown.groupby(["row", "column"])) == 12
    assert shown.measured.isna().all()


def test_csv_tells_a_literature_value_from_one_that_was_not_run(measured):
    shown = csv_frame(measured)
    literature = shown[shown.column == "others"].drop(columns=["row", "labels", "column", "paper"])
    not_run = shown[(shown.row == "absent") & (shown.column == "strong")].drop(
        columns=["row", "labels", "column", "paper"]
    )
    assert not literature.head(1).reset_index(drop=True).equals(not_run.head(1).reset_index(drop=True))


def test_json_is_one_object_with_the_tables_number_and_preset(measured):
    value = json.loads(rendered(measured, PRESET, "json"))
    assert (value["table"], value["preset"], value["comparable_to_paper"]) == (9, "tiny", False)


# ---------------------------------------------------------------- files


def test_a_report_is_written_as_rendered_and_its_json_is_returned(measured, tmp_path):
    folder = tmp_path / "reports"
    value = tables.write_report(measured, PRESET, folder, judged(measured))
    for form in ("md", "csv"):
        assert (folder / f"table9.{form}").read_bytes().decode() == rendered(measured, PRESET, form)
    value_shown = json.loads(rendered(measured, PRESET, "json"))
    assert json.loads(json.dumps(value)) == value_shown | {"digest": value["digest"]}
    assert len(value["digest"]) == 64
    assert {path.name for path in folder.iterdir()} == {"table9.md", "table9.csv", "settings.md"}  # JSON: the record
    assert [path.name for path in tables.report_paths(9, folder)] == ["table9.md", "table9.csv", "table9.json"]


def test_settings_are_written_beside_the_tables(measured, tmp_path):
    tables.write_report(measured, PRESET, tmp_path, judged(measured))
    assert (tmp_path / "settings.md").read_text() == settings_page(PRESET)


FOUND = {
    "images": 7,
    "sources": {"cues, the file": "54ac7a4b585320f6206d" + 44 * "0"},
    "masks": {"miou": 41.26},
    "cues": {"precision": {"all": 87.24}, "coverage": {"all": 21.3, "foreground": 11.4}},
    "cue_counts": {
        "images_with_a_tag_without_a_cue": 102,
        "images_unknown_to_the_cues": 3,
        "cues_of_other_images": 12,
        "images_without_tags": 0,
        "images_without_background_cues": 1,
        "classes_without_a_cue": ["cow"],
    },
}


NETWORK = {
    "set": 2,
    "ways": [
        {"key": key, "views": [1.0], "miou": 100.0 * share, "counts": [[10 * share, 10 - 10 * share], [0, 0]]}
        for key, share in (("one", 0), ("one-crf", 0), ("several", 0), ("several-crf", 0))
    ],
    "published": {"miou": 59.0, "source": "the paper"},
}  # nothing is right
NETWORK_SAID = (
    "DSRG's own network after retrain, on val: 0.0 over 1 scale with its CRF (0.0 without), 0.0 at one scale with it "
    "(0.0 without)"
)


def test_the_lines_about_proxies_tell_how_good_masks_and_cues_are_and_what_the_cues_lack():
    assert tables.proxy_lines(Path("proxies/dsrg-1"), FOUND, NETWORK, PRESET) == [
        "proxies/dsrg-1: 7 masks, mIoU 41.3 against the true ones (a diagnosis, not read by training)",
        "cues come from the file of sha256 54ac7a4b585320f6",
        "cues: 87.2 % right, on 21.3 % of the grid (11.4 % foreground)",
        "training images: 102 with a tag without a cue, 3 unknown to the cues, 1 without a cue of background",
        "left out: the cues of 12 images that are not in the training list",
        "no cue at all for cow: nothing can be learnt of it",
        NETWORK_SAID,
        "quality report: proxies/dsrg-1/quality.md",
    ]


def test_where_there_are_no_true_masks_the_lines_about_proxies_say_so():
    counts = {**dict.fromkeys(FOUND["cue_counts"], 0), "classes_without_a_cue": []}
    lines = tables.proxy_lines(
        Path("p"),
        {**FOUND, "sources": {}, "masks": {"miou": None}, "cues": None, "cue_counts": counts},
        NETWORK,
        PRESET,
    )
    assert lines == [
        "p: 7 masks, no true masks to score them (a diagnosis, not read by training)",
        "cues come from the activation maps of a classifier",
        NETWORK_SAID,
        "quality report: p/quality.md",
    ]
