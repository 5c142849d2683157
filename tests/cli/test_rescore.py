"""`swdb rescore`: exit 0 where all holds, else 3 with everything that does not."""

import json
import shutil

import pytest
from bundles import contents, spoiled, written
from commands import call, next_command, succeed, the_error, the_hint
from drawn import drawn_study

from swdb.cli.rescore import MOST_FINDINGS


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rescored")
    return written(drawn_study(folder / "work", [0], rows={"strong", "dual"}), folder / "x.zip")


def test_what_holds_is_said_in_a_few_lines(bundle):
    result = succeed("rescore", bundle)
    lines = result.stdout.splitlines()
    assert lines[0].startswith("holds: ") and "12 predictions, 2 scores, tables 1, 2, 3, 4" in lines[0]
    assert lines[1].startswith("preset tiny, seeds 0, written by swdb ") and "trained on Made-up 9000" in lines[2]
    assert next_command(result)[0] == "merge"


def test_what_holds_as_json(bundle):
    told = json.loads(succeed("rescore", bundle, "--json").stdout)
    assert told["holds"] is True and told["findings"] == [] and told["preset"] == "tiny" and told["scores"] == 2


def test_drawn_scenes_are_counted_against_a_data_set_that_is_named_too(bundle, tmp_path):
    assert succeed("rescore", bundle, "--data", bundle.parent / "work").stdout.startswith("holds: ")
    shutil.copytree(bundle.parent / "work" / "data", tmp_path / "data")
    mask = min((tmp_path / "data" / "tiny").glob("VOCdevkit/*/SegmentationClass/*.png"))
    mask.write_bytes(max(mask.parent.glob("*.png")).read_bytes())
    result = call("rescore", bundle, "--data", tmp_path)
    assert result.exit_code == 3 and f"{mask}: is not the true mask that was scored against" in result.stdout


def test_tables_are_written_into_a_folder(bundle, tmp_path):
    result = succeed("rescore", bundle, "--output", tmp_path / "results")
    assert (tmp_path / "results" / "table2.md").read_bytes() == contents(bundle)["reports/tiny/table2.md"]
    assert f"files into {tmp_path / 'results'}" in result.stderr


def test_everything_that_does_not_hold_is_named_and_nothing_is_written(bundle, tmp_path):
    names = [name for name in contents(bundle) if "/predictions/" in name][:3]
    path = spoiled(bundle, tmp_path / "y.zip", dict.fromkeys(names))
    result = call("rescore", path, "--output", tmp_path / "results")
    assert result.exit_code == 3 and not (tmp_path / "results").exists()
    assert [line.partition(":")[0] for line in result.stdout.splitlines()] == names
    assert f"bundle {path}: 3 things do not hold (first: {names[0]}: missing" in the_error(result)
    assert the_hint(result) == "ask whoever wrote it for the file as it was written"
    told = json.loads(call("rescore", path, "--json").stdout)
    assert told["holds"] is False and [one["where"] for one in told["findings"]] == names


def test_of_many_findings_the_first_are_named(bundle, tmp_path):
    more = {f"extra/{k:03d}.txt": b"x" for k in range(MOST_FINDINGS + 7)}
    result = call("rescore", spoiled(bundle, tmp_path / "y.zip", more))
    assert len(result.stdout.splitlines()) == MOST_FINDINGS + 1 and result.stdout.endswith("and 7 more\n")
