import io
import json
from pathlib import Path

import pandas as pd
import pytest
from conftest import TINY
from made_up import TABLE, measured_in, shown_in, work_in

from swdb.reports import tables
from swdb.reports.results import measure
from swdb.specs.presets import load_preset
from swdb.specs.tables import load_tables
from swdb.study.plan import Work


@pytest.fixture
def work(tmp_path) -> Work:
    return work_in(tmp_path)


@pytest.fixture
def measured(work):
    return shown_in(work)


# ---------------------------------------------------------------- the frame


def test_the_frame_has_a_line_for_every_row_in_the_specs_order(measured, work):
    assert tables.frame(measured, work)["n"].tolist() == ["0", "1", "2", "3"]


def test_paper_and_measured_stand_side_by_side(measured, work):
    assert list(tables.frame(measured, work).columns) == [
        "Training data", "n",
        "Others [7] paper",
        "Strong branch paper", "Strong branch measured",
        "Weak branch paper", "Weak branch measured",
    ]  # fmt: skip
    line = tables.frame(measured, work).iloc[0]
    assert (line["Strong branch paper"], line["Strong branch measured"]) == ("50.0", "51.0 ± 1.0")
    assert (line["Weak branch paper"], line["Weak branch measured"]) == ("45.5", "47.0 ± 1.0")


def test_a_literature_column_is_quoted_and_never_measured(measured, work):
    shown = tables.frame(measured, work)
    assert shown["Others [7] paper"].tolist() == ["40.0", "41.0", "42.0", "43.0"]
    assert "Others [7] measured" not in shown.columns


def test_what_was_not_run_says_so(measured, work):
    line = tables.frame(measured, work).iloc[2]
    assert (line["Strong branch measured"], line["Weak branch measured"]) == ("NOT RUN", "NOT RUN")


def test_the_in_text_row_is_there_below_the_tables_line(measured, work):
    assert tables.frame(measured, work).iloc[-1]["Training data"] == "from the text"


def test_a_table_of_one_column_needs_no_title_before_paper_and_measured(work):
    table = load_tables()[1]
    shown = tables.frame(measure(work, table, [0]), work)
    assert list(shown.columns) == ["Training data", "paper", "measured"]
    assert len(shown) == 6
    assert shown["paper"].tolist() == ["62.8", "63.5", "64.2", "65.9", "68.9", "68.9"]


def test_no_difference_is_shown_where_the_scale_is_not_the_papers(measured, work):
    assert not [name for name in tables.frame(measured, work).columns if "difference" in name]
    assert not [cell for cell in markdown_rows(tables.render([measured], work, "md"))[0] if "difference" in cell]
    assert "difference" not in tables.render([measured], work, "csv")


def test_a_difference_is_shown_with_its_sign_where_the_scale_is_the_papers(tmp_path):
    work = work_in(tmp_path, comparable=True)
    shown = tables.frame(shown_in(work), work)
    assert shown["Strong branch difference"].tolist() == [
        "+1.0",
        "+0.2",
        "",
        "+8.3",
    ]  # 51 - 50, 51.17 - 51, -, 61.33 - 53
    assert shown["Weak branch difference"].tolist() == ["+1.5", "-1.5", "", "-18.0"]
    assert "Others [7] difference" not in shown.columns
    head = markdown_rows(tables.render([shown_in(work)], work, "md"))[0]
    assert [cell for cell in head if "difference" in cell] == ["Strong branch difference", "Weak branch difference"]


# ---------------------------------------------------------------- title, claims, notes


def test_the_title_names_the_scale(measured, work):
    assert tables.title(measured, work) == "Table 9. Made-up numbers — tiny scenes for tests"


def test_a_claims_line_has_verdict_difference_error_and_seeds(measured):
    assert tables.claim_lines(measured) == [
        "CONFIRMED: the weak branch is worse (+4.0 ± 0.0 points, 3 seeds)",
        "UNDECIDED: plain is worse than marked (+0.2 ± 0.6 points, 3 seeds)",  # sd of -1, 0.5, 1 is 1.04
        "NOT RUN: absent is worse than plain",
        "CONTRADICTED: the text is worse than plain (-10.3 ± 0.2 points, 3 seeds)",
    ]


def test_a_claim_with_one_seed_says_one_seed_and_no_error(work):
    scores = {("plain", "strong"): {1: 50.0}, ("plain", "weak"): {1: 40.0}}
    line = tables.claim_lines(measured_in(work, scores=scores))[0]
    assert line == "UNDECIDED: the weak branch is worse (+10.0 points, 1 seed)"


def test_notes_name_the_seeds_and_the_rule_of_selection(measured, work):
    note = next(line for line in tables.notes(measured, work) if line.startswith("measured:"))
    assert "seeds 0, 1, 2" in note
    assert "last weights" in note


def test_notes_print_a_literature_columns_provenance(measured, work):
    assert "Others [7]: as printed by others; not measured here" in tables.notes(measured, work)


def test_notes_of_the_real_table_4_say_whence_decouplednets_numbers_come(work):
    lines = tables.notes(measure(work, load_tables()[4], [0]), work)
    assert any(line.startswith("DecoupledNet [1]:") and "Hong et al., NIPS 2015" in line for line in lines)


def test_notes_warn_where_the_scale_is_not_the_papers(measured, work):
    warning = next(line for line in tables.notes(measured, work) if "PASCAL VOC" in line)
    assert "orientation" in warning
    assert "1.4k strong = 12 images, 9k weak = 20, 10k = 32" in warning  # the tiny preset's sizes


def test_notes_do_not_warn_where_the_scale_is_the_papers(tmp_path):
    work = work_in(tmp_path, comparable=True)
    assert not [line for line in tables.notes(shown_in(work), work) if "PASCAL VOC" in line]


def test_notes_say_how_to_fill_what_is_missing(measured, work):
    assert any("NOT RUN: swdb reproduce-table 9" in line for line in tables.notes(measured, work))


def test_notes_of_a_complete_table_do_not_speak_of_missing_seeds(work):
    scores = {(row.key, branch): {0: 1.0} for row in TABLE.rows for branch in ("strong", "weak")}
    assert not [line for line in tables.notes(measured_in(work, scores=scores), work) if "NOT RUN" in line]


def test_notes_name_data_proxies_and_machine(measured, work):
    assert tables.notes(measured, work)[-2:] == [
        f"data sha256 {'d' * 16}, proxies dsrg-1-0123456789 (their passport.md says how good they are)",
        "computed on Made-up 9000 (cpu, fp32, 2 threads), torch 2.11.0",
    ]


# ---------------------------------------------------------------- Markdown


def markdown_rows(text: str) -> list[list[str]]:
    """Split a Markdown table into cells, as a renderer does: at every bar that is not escaped."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.replace(r"\|", "\0").strip("|").split("|")] for line in lines]


def test_markdown_has_head_rule_and_rows_of_equal_length(measured, work):
    rows = markdown_rows(tables.render([measured], work, "md"))
    assert len(rows) == 2 + 4
    assert {len(row) for row in rows} == {7}  # a bar inside a label must not begin a new cell


def test_markdown_aligns_labels_left_and_numbers_right(measured, work):
    assert markdown_rows(tables.render([measured], work, "md"))[1] == ["---", "---", *["---:"] * 5]


def test_markdown_shows_stars_and_brackets_as_they_are(measured, work):
    text = tables.render([measured], work, "md")
    assert "[bold]10k[/bold]" in text
    assert r"\*strong\*" in text


def test_markdown_has_claims_and_notes_below_the_table(measured, work):
    text = tables.render([measured], work, "md")
    assert "- CONFIRMED: the weak branch is worse (+4.0 ± 0.0 points, 3 seeds)" in text
    assert "<sub>Others [7]: as printed by others; not measured here</sub>" in text


# ---------------------------------------------------------------- CSV and JSON


def csv_frame(measured, work) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(tables.render([measured], work, "csv")))


def test_csv_has_a_line_for_every_cell_and_seed(measured, work):
    shown = csv_frame(measured, work)
    values = shown[(shown.row == "plain") & (shown.column == "strong")]
    assert values.seed.tolist() == [0, 1, 2]
    assert values.measured.tolist() == [50.0, 51.0, 52.0]
    assert values.paper.tolist() == [50.0] * 3
    assert values.run.nunique() == 3


def test_csv_has_full_precision(work):
    scores = {("plain", "strong"): {0: 51.23456789012345}}
    assert csv_frame(measured_in(work, scores=scores), work).measured.dropna().tolist() == [51.23456789012345]


def test_csv_leaves_a_missing_seed_empty(measured, work):
    shown = csv_frame(measured, work)
    values = shown[(shown.row == "marked") & (shown.column == "weak")]
    assert values.measured.isna().tolist() == [False, False, True]


def test_csv_keeps_labels_with_commas_and_bars_whole(measured, work):
    assert "[bold]10k[/bold] | *strong* | 1" in csv_frame(measured, work).labels.tolist()


def test_csv_has_every_cell_of_a_table_that_was_never_run(work):
    shown = csv_frame(measure(work, TABLE, [0, 1]), work)
    assert len(shown.groupby(["row", "column"])) == 12
    assert shown.measured.isna().all()


def test_csv_tells_a_literature_value_from_one_that_was_not_run(measured, work):
    shown = csv_frame(measured, work)
    literature = shown[shown.column == "others"].drop(columns=["row", "labels", "column", "paper"])
    not_run = shown[(shown.row == "absent") & (shown.column == "strong")].drop(
        columns=["row", "labels", "column", "paper"]
    )
    assert not literature.head(1).reset_index(drop=True).equals(not_run.head(1).reset_index(drop=True))


def test_json_is_one_object_with_the_tables_number_and_preset(measured, work):
    value = json.loads(tables.render([measured], work, "json"))
    assert (value["table"], value["preset"], value["comparable_to_paper"]) == (9, "tiny", False)


# ---------------------------------------------------------------- files


def test_a_report_is_written_in_every_format_as_rendered(measured, work):
    paths = tables.write_report(measured, work)
    assert [path.name for path in paths] == ["table9.md", "table9.csv", "table9.json"]
    for path, form in zip(paths, tables.FORMATS, strict=True):
        assert path.read_bytes().decode() == tables.render([measured], work, form)


def test_settings_list_every_value_with_its_status(work):
    lines = tables.settings(work.preset).splitlines()
    rows = [
        line
        for line in lines
        if line.startswith(("| data.", "| network.", "| training.", "| proxy.", "| dsrg.", "| evaluation."))
    ]
    assert len(rows) == 12 + 7 + 15 + 11 + 25 + 2
    assert all(any(status in row for status in ("STATED", "INFERRED", "UNKNOWN")) for row in rows)
    assert any(row.startswith("| training.batch | 4 |") for row in rows)


def test_settings_are_written_beside_the_tables(measured, work):
    tables.write_report(measured, work)
    assert (work.reports / "settings.md").read_text() == tables.settings(load_preset(TINY))


FOUND = {
    "images": 7,
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


def test_the_lines_about_proxies_tell_how_good_masks_and_cues_are_and_what_the_cues_lack():
    assert tables.proxy_lines(Path("proxies/dsrg-1"), FOUND) == [
        "proxies/dsrg-1: 7 masks, mIoU 41.3 against the true ones (a diagnosis, not read by training)",
        "cues: 87.2 % right, on 21.3 % of the cells (11.4 % foreground)",
        "training images: 102 with a tag without a cue, 3 unknown to the cues, 1 without a cue of background",
        "left out: the cues of 12 images that are not in the training list",
        "no cue at all for cow: nothing can be learnt of it",
        "passport: proxies/dsrg-1/passport.md",
    ]


def test_where_there_are_no_true_masks_the_lines_about_proxies_say_so():
    counts = {**dict.fromkeys(FOUND["cue_counts"], 0), "classes_without_a_cue": []}
    lines = tables.proxy_lines(Path("p"), FOUND | {"masks": {"miou": None}, "cues": None, "cue_counts": counts})
    assert lines == [
        "p: 7 masks, no true masks to score them (a diagnosis, not read by training)",
        "passport: p/passport.md",
    ]
