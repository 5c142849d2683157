"""`swdb reproduce-table --show-peek`: a line under the table, said not to be a result, whose cost is said before."""

import json

import pytest
from commands import FP32, contents, next_command, only, succeed
from conftest import swdb

from swdb.cli.peek import TITLE
from swdb.core.numbers import signed
from swdb.specs.tables import load_tables

SMALL = ("2", "--rows", "strong,dual", "--seeds", "1")


def table(work, *words: object):
    return succeed("reproduce-table", *words, *FP32, "--workdir", work)


def reports(work) -> dict[str, bytes]:
    found = contents(work / "reports")
    return {name: data for name, (_, data) in found.items() if ".leases" not in name}


def peeks(text: str) -> list[str]:
    return text.split(TITLE)[1].splitlines()[1:]


def test_the_lines_stand_under_the_table_and_the_table_stays_as_it_is(own):
    plain = table(own, *SMALL)
    written = reports(own)
    result = table(own, *SMALL, "--show-peek")
    assert result.stdout.startswith(plain.stdout)
    lines = peeks(result.stdout)
    assert [line.split(":")[0] for line in lines] == ["- Table 2, strong, miou", "- Table 2, dual, miou"]
    record = json.loads(only(own, "peeks/dual-s0-peek-*/done.json").read_text())
    best, last = record["best"]["strong"], record["last"]["strong"]
    said = f"{best['miou']:.1f} instead of {last:.1f} ({signed(best['miou'] - last, 2)} points; 1 seed, best at step {best['step']} of 6)"
    assert lines[1].endswith(said)
    assert reports(own) == written


def test_a_plan_says_what_it_costs_and_makes_nothing(own):
    before = contents(own)
    result = swdb("reproduce-table", *SMALL, "--show-peek", "--dry-run", *FP32, "--workdir", own)
    assert result.returncode == 0, result.stderr
    assert "--show-peek trains 2 runs once more (12 steps), scored on their way; no table reads that" in result.stderr
    assert "dual-s0-peek" in result.stdout and "12 optimizer steps are left, about" in result.stdout
    assert contents(own) == before
    assert "--show-peek" in next_command(result)


def test_what_is_there_is_shown_without_training_and_what_is_not_says_so(own):
    table(own, "2", "--rows", "strong", "--seeds", "1", "--show-peek")
    result = table(own, *SMALL, "--show-peek", "--no-train")
    first, second = peeks(result.stdout)
    assert "instead of" in first and second == "- Table 2, dual, miou: NOT RUN"


@pytest.mark.parametrize("form", ["json", "csv"])
def test_what_machines_read_stays_readable(own, form):
    plain = table(own, *SMALL, "--format", form)
    result = table(own, *SMALL, "--show-peek", "--no-train", "--format", form)
    assert result.stdout == plain.stdout
    assert TITLE in result.stderr


def test_an_average_of_runs_has_no_step_of_its_own(own):
    result = table(own, "2", "--seeds", "1", "--show-peek", "--no-train")
    averages = [line for line in peeks(result.stdout) if "cannot be said: an average of runs" in line]
    rows = [row.key for row in load_tables()[2].rows if row.average]
    assert len(averages) == len(rows)


def test_it_is_made_by_its_id_as_a_job_makes_it(own):
    table(own, "2", "--rows", "strong", "--seeds", "1", "--show-peek")
    folder = only(own, "peeks/strong-s0-peek-*")
    before = json.loads((folder / "done.json").read_text())
    result = succeed("make", folder.name, "--again", *FP32, "--workdir", own)
    assert result.stdout.strip() == str(folder)
    assert json.loads((folder / "done.json").read_text()) == before
