"""`swdb reproduce-table`: plans that write nothing, tables from what is finished, and what a study remembers."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from commands import FP32, call, contents, next_command, only, preset_file, succeed, the_error
from conftest import TINY, other_data

FORMATS = ("md", "csv", "json")


def table(work: Path, *words: object):
    return succeed("reproduce-table", *words, *FP32, "--workdir", work)


# ---------------------------------------------------------------- from finished runs


def test_all_four_tables_are_printed_and_written(own):
    result = table(own, "all", "--seeds", "1")
    assert [line.split(".")[0] for line in result.stdout.splitlines() if line.startswith("Table ")] == [
        "Table 1", "Table 2", "Table 3", "Table 4",
    ]  # fmt: skip
    assert "NOT RUN" not in result.stdout
    written = sorted((own / "reports" / "tiny").glob("table*"))
    assert len(written) == 12
    (said,) = [line for line in result.stderr.splitlines() if line.startswith("written: ")]
    assert sorted(said.removeprefix("written: ").split(", ")) == [str(path) for path in written]


def test_printing_again_makes_nothing(own):
    before = contents(own / "runs") | contents(own / "proxies")
    result = table(own, "all", "--seeds", "1")
    assert contents(own / "runs") | contents(own / "proxies") == before
    assert not any(line.endswith(" ...") for line in result.stderr.splitlines())


@pytest.mark.parametrize("form", FORMATS)
def test_a_table_is_printed_as_it_is_written(own, form):
    shown = table(own, "3", "--no-train", "--seeds", "1", "--format", form).stdout
    written = (own / "reports" / "tiny" / f"table3.{form}").read_text()
    if form == "json":  # what is written says besides from which scores, and under which id
        assert json.loads(shown).items() <= json.loads(written).items()
    else:
        assert shown == written


def test_a_table_in_csv_can_be_read_by_pandas(own):
    table(own, "3", "--no-train", "--seeds", "1")
    shown = pd.read_csv(own / "reports" / "tiny" / "table3.csv")
    assert list(shown.columns) == ["table", "row", "labels", "column", "paper", "seed", "measured", "run"]
    assert shown[shown.run.notna()].measured.notna().all() and shown.run.notna().sum() == 10  # averages have one branch


def test_all_tables_as_json_are_one_document(own):
    result = table(own, "all", "--seeds", "1", "--format", "json")
    assert [one["table"] for one in json.loads(result.stdout)] == [1, 2, 3, 4]


def test_all_tables_as_csv_have_one_head(own):
    lines = table(own, "all", "--seeds", "1", "--format", "csv").stdout.splitlines()
    assert [k for k, line in enumerate(lines) if line.startswith("table,row,")] == [0]
    assert len(lines) == 1 + 6 + 8 + 12 + 9  # 30 measured cells, 2 that no run has, 3 of the literature


def test_a_table_says_the_scores_that_it_was_made_from(own):
    table(own, "4", "--seeds", "1")
    record = json.loads((own / "reports" / "tiny" / "table4.json").read_text())
    scores = {json.loads(path.read_text())["id"] for path in own.glob("runs/*-s0-*/evals/val-*/result.json")}
    assert len(record["inputs"]) == 6 and record["inputs"].keys() <= scores


# ---------------------------------------------------------------- parts of a table


def test_only_the_rows_and_seeds_that_were_asked_for_are_run(prepared):
    result = table(prepared, "3", "--rows", "n3", "--seeds", "1")
    assert [path.name.rpartition("-")[0] for path in (prepared / "runs").glob("[!.]*")] == ["dual-s0"]
    assert (
        result.stdout.count("NOT RUN") == 8 + 1 + 7 + 4
    )  # cells, the note, seven claims that need n0, the regime check
    rows = {row["key"]: row for row in json.loads((prepared / "reports/tiny/table3.json").read_text())["rows"]}
    assert {key: list(row["values"]["strong"]["by_seed"]) for key, row in rows.items()} == {
        "n0": [], "n1": [], "n2": [], "n3": ["0"], "strong-and-mixed": [], "strong-and-weak": [],
    }  # fmt: skip
    assert rows["n3"]["values"]["weak"]["by_seed"].keys() == {"0"}
    figure = succeed(*next_command(result), "--device", "cpu")  # the run that it names is there
    assert "figure: " in figure.stderr


def test_a_second_seed_is_added_to_what_is_finished(own):
    before = contents(only(own, "runs/strong-s0-*"))
    result = table(own, "1", "--rows", "strong", "--seeds", "2", "--format", "csv")
    seeds = pd.read_csv(own / "reports" / "tiny" / "table1.csv").query("row == 'strong'").seed.tolist()
    assert seeds == [0, 1] and ",strong," in result.stdout
    assert contents(only(own, "runs/strong-s0-*")) == before


def test_what_only_finished_runs_were_made_from_is_not_made_again(own):
    expected = table(own, "all", "--seeds", "1").stdout
    for name in ("weights", "cues", "classifiers"):
        shutil.rmtree(own / name)
    for path in own.rglob("*.pt"):
        path.unlink()
    assert table(own, "all", "--seeds", "1").stdout == expected
    assert not list(own.glob("weights/*/done.json"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"machine": "x"}, ("reproduce-table", "2", "--no-train", "--seeds", "1")),
        ({"data": 5}, ("reproduce-table", "2", "--no-train", "--seeds", "1")),
        ({"iou": None}, ("eval", "dual")),
    ],
)
def test_a_record_of_another_form_is_damaged(own, change, words):
    path = only(own, "runs/dual-s0-*/evals/val-strong") / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    result = call(*words, *FP32, "--workdir", own)
    assert result.exit_code == 3 and the_error(result).endswith("result.json: damaged; expected a score")


def test_records_that_are_none_do_not_stop_a_plan(own):
    for number, text in enumerate(("{", "[]", '{"training": 3}')):
        folder = own / "runs" / f"foo-s0-{number:010d}"
        folder.mkdir()
        (folder / "done.json").write_text(text)
    assert "about" in table(own, "all", "--seeds", "2", "--dry-run").stdout


def test_finished_runs_on_other_data_are_refused(own):
    other_data(own)
    for words in (["all", "--seeds", "1"], ["2", "--no-train", "--seeds", "1"]):
        result = call("reproduce-table", *words, *FP32, "--workdir", own)
        assert result.exit_code == 3
        assert "has changed since" in the_error(result)


# ---------------------------------------------------------------- nothing is trained


def test_no_train_prints_what_is_there_and_makes_nothing(tmp_path):
    result = table(tmp_path / "work", "1", "--no-train")
    rows = [line for line in result.stdout.splitlines() if "strong" in line and "NOT RUN" in line and "." in line]
    assert len(rows) >= 6
    assert {path.name for path in (tmp_path / "work").iterdir()} == {"reports"}


def test_what_is_finished_is_printed_without_what_it_was_made_from(own):
    expected = table(own, "all", "--seeds", "1", "--no-train").stdout
    for folder in ("weights", "classifiers", "cues", "data"):
        shutil.rmtree(own / folder)
    for path in (*own.glob("runs/*/*.pt"), *own.glob("proxies/*/*.png"), *own.glob("proxies/*/*.npy")):
        path.unlink()  # not the report on the proxies: the regime check reads it
    before = contents(own / "runs")
    assert table(own, "all", "--seeds", "1", "--no-train").stdout == expected
    assert contents(own / "runs") == before


def without_its_run(own):
    next(own.glob("runs/mixed-s0-*/done.json")).unlink()
    return "is its score; expected the record of the run"


def of_no_id(own):
    path = next(own.glob("runs/mixed-s0-*/**/result.json"))
    record = json.loads(path.read_text())
    del record["id"]
    path.write_text(json.dumps(record))
    return "is the record of another score"


def from_other_bytes(own):
    path = next(own.glob("runs/mixed-s0-*/**/result.json"))
    record = json.loads(path.read_text())
    record["inputs"] = dict.fromkeys(record["inputs"], "0" * 64)
    path.write_text(json.dumps(record))
    return "has changed since: it was 0000000000"


@pytest.mark.parametrize("damage", [without_its_run, of_no_id, from_other_bytes], ids=lambda one: one.__name__)
def test_a_score_that_cannot_be_believed_is_not_printed(own, damage):
    found = damage(own)
    reports = contents(own / "reports")
    result = call("reproduce-table", "1", "--seeds", "1", "--no-train", *FP32, "--workdir", own)
    assert result.exit_code == 3 and not result.stdout
    assert found in result.stderr and "hint: " in result.stderr
    assert contents(own / "reports") == reports


# ---------------------------------------------------------------- the proposed command works


def follow(result, *left_out: str):
    """Run the command that another one proposed, in this process."""
    return succeed(*[word for word in next_command(result) if word not in left_out])


@pytest.mark.parametrize(
    ("words", "proposed"),
    [
        (("1",), ["eval", "mixed"]),
        (("2",), ["eval", "dual", "--figure"]),
        (("3",), ["eval"]),
        (("4",), ["eval"]),
        (("all",), ["eval"]),
        (("1", "--rows", "strong", "--no-train"), ["eval", "strong"]),
        (("2", "--rows", "mixed,dual"), ["eval", "dual", "--figure"]),
        (("4", "--dry-run"), ["reproduce-table", "4", "--seeds", "1"]),
        (("1", "--format", "md"), ["eval"]),
    ],
    ids=" ".join,
)
def test_the_command_that_a_finished_table_proposes_works(own, words, proposed):
    result = succeed("reproduce-table", *words, "--seeds", "1", *FP32, "--workdir", own)
    command = next_command(result)
    assert command[: len(proposed)] == proposed
    follow(result)


@pytest.mark.parametrize("words", [("1",), ("4", "--rows", "5"), ("all",)], ids=" ".join)
def test_where_nothing_is_finished_the_command_that_trains_is_proposed(tmp_path, words):
    result = succeed("reproduce-table", *words, "--no-train", "--preset", TINY, "--workdir", tmp_path / "my work")
    assert next_command(result)[: 1 + len(words)] == ["reproduce-table", *words]


def test_a_run_that_is_not_there_is_not_proposed(own):
    for folder in ("runs", "averages"):
        shutil.rmtree(own / folder)
    result = succeed("reproduce-table", "3", "--seeds", "1", "--no-train", *FP32, "--workdir", own)
    assert next_command(result)[:2] == ["reproduce-table", "3"]


@pytest.mark.parametrize("command", [["train", "strong"], ["eval", "dual"], ["eval", "strong", "--flip"]], ids=" ".join)
def test_what_other_commands_propose_works(own, tmp_path, command):
    path = preset_file(tmp_path, ("seeds = 2", "seeds = 1"))
    follow(succeed(*command, "--preset", path, "--device", "cpu", "--precision", "fp32", "--workdir", own))
