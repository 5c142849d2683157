"""`swdb bundle`: one file of what is finished."""

import json
import shutil
from pathlib import Path

from bundles import contents
from commands import call, next_command, only, succeed, the_error, the_hint
from conftest import TINY

OPTIONS = ("--preset", TINY)


def test_a_finished_study_is_put_into_one_file_beside_its_tables(own):
    result = succeed("bundle", *OPTIONS, "--workdir", own)
    place = own / "reports" / "tiny" / "bundle.zip"
    assert result.stdout == f"{place}: {place.stat().st_size:,} bytes, 27 scores\n"
    assert next_command(result) == ["rescore", str(place)]
    files = contents(place)
    assert files["specs/tiny.toml"] == Path(TINY).read_bytes()
    assert succeed("rescore", place).stdout.startswith("holds: ")


def test_the_same_bytes_wherever_it_goes_and_however_often(own, tmp_path):
    for name in ("a.zip", "b.zip"):
        succeed("bundle", *OPTIONS, "--workdir", own, "--output", tmp_path / name)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_what_is_missing_is_said_and_the_rest_is_bundled(own, tmp_path):
    run = only(own, "runs/dual-kl-s0-*")
    shutil.rmtree(run)
    result = succeed("bundle", *OPTIONS, "--workdir", own, "--output", tmp_path / "a.zip", "--json")
    told = json.loads(result.stdout)
    assert run.name in told["missing"] and told["bundle"] == str(tmp_path / "a.zip")
    text = succeed("bundle", *OPTIONS, "--workdir", own, "--output", tmp_path / "a.zip").stdout
    assert f"not finished, and not in it: {run.name}\n" in text
    assert run.name in contents(tmp_path / "a.zip")["bundle.json"].decode()


def test_cells_of_shared_runs_are_in_it_though_nobody_asked_for_them(own, tmp_path):
    plan = own / "reports" / "tiny" / "plan.json"
    told = json.loads(plan.read_text())
    told["cells"] = [cell for cell in told["cells"] if cell["table"] == 2]
    plan.write_text(json.dumps(told))
    shutil.rmtree(only(own, "runs/mixed-x2-s0-*"))
    result = json.loads(succeed("bundle", *OPTIONS, "--workdir", own, "--output", tmp_path / "a.zip", "--json").stdout)
    assert result["missing"] == []
    table = json.loads(contents(tmp_path / "a.zip")["reports/tiny/table1.json"])
    seeds = {row["key"]: row["values"]["miou"]["by_seed"] for row in table["rows"]}
    assert seeds["strong"] and seeds["mixed"] and not seeds["x2"]
    assert succeed("rescore", tmp_path / "a.zip").stdout.startswith("holds: ")


def test_cells_of_rows_that_the_tables_no_longer_have_are_left_out(own, tmp_path):
    plan = own / "reports" / "tiny" / "plan.json"
    told = json.loads(plan.read_text())
    former = [{**cell, "row": f"former-{cell['row']}"} for cell in told["cells"]]
    plan.write_text(json.dumps(told | {"cells": [*told["cells"], *former]}))
    succeed("bundle", *OPTIONS, "--workdir", own, "--output", tmp_path / "a.zip")
    assert succeed("rescore", tmp_path / "a.zip").stdout.startswith("holds: ")
    assert b"former-" not in contents(tmp_path / "a.zip")["reports/tiny/plan.json"]


def test_one_table_alone(own, tmp_path):
    succeed("bundle", *OPTIONS, "--workdir", own, "--output", tmp_path / "a.zip", "--table", "4")
    names = contents(tmp_path / "a.zip").keys()
    assert "reports/tiny/table4.md" in names and "reports/tiny/table1.md" not in names


def test_a_study_that_was_planned_with_other_settings_is_refused(own, tmp_path):
    other = tmp_path / "other.toml"
    text = Path(TINY).read_text()
    other.write_text(text.replace("steps = 6\nbatch = 4\ncrop", "steps = 7\nbatch = 4\ncrop"))
    result = call("bundle", "--preset", other, "--workdir", own)
    assert result.exit_code == 3
    assert "was planned with other settings than the preset has" in the_error(result)


def test_an_empty_work_directory_has_no_bundle(tmp_path):
    result = call("bundle", *OPTIONS, "--workdir", tmp_path / "work")
    assert result.exit_code == 3 and "no tables were begun with this preset" in the_error(result)
    assert "swdb reproduce-table all" in the_hint(result)
