"""What a newcomer reads first says what the program wrote, and the two commands are there."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
RESULTS = ROOT / "results" / "synthetic"
PRESETS = ("synthetic", "voc-animals")


def published():
    spec = importlib.util.spec_from_file_location("publish", ROOT / "results" / "publish.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readme_shows_the_two_commands_and_the_picture():
    assert "\nmake table N=4 " in README and "\nmake test " in README
    assert "](results/synthetic/dual-s0.png)" in README and (RESULTS / "dual-s0.png").stat().st_size > 10_000


@pytest.mark.parametrize("number", [1, 2, 3, 4])
@pytest.mark.parametrize("preset", PRESETS)
def test_the_readmes_tables_are_what_the_program_wrote(preset, number):
    shown = re.search(rf"<!-- {preset} table {number} -->\n(.*?)<!-- end of table {number} -->", README, re.DOTALL)
    assert shown.group(1) == (ROOT / "results" / preset / f"table{number}.md").read_text()
    assert "NOT RUN" not in shown.group(1)


def test_the_published_lists_of_photographs_are_those_that_were_trained_and_scored_on():
    folder = ROOT / "results" / "voc-animals"
    lists = {path.stem: path.read_text().split() for path in (folder / "lists").glob("*.txt")}
    assert {split: len(ids) for split, ids in lists.items()} == {"train": 437, "train_aug": 3131, "val": 251}
    assert set(lists["train"]) < set(lists["train_aug"]) and not set(lists["train_aug"]) & set(lists["val"])
    audited = json.loads((folder / "data.json").read_text())
    assert audited["counts"] == {split: len(ids) for split, ids in lists.items()}
    for number in (1, 2, 3, 4):
        assert json.loads((folder / f"table{number}.json").read_text())["data_sha256"] == audited["tree_root"]


def test_neither_photographs_nor_weights_are_published():
    files = [path for path in (ROOT / "results" / "voc-animals").rglob("*") if path.is_file()]
    assert len(files) > 20
    assert {path.suffix for path in files} == {".md", ".csv", ".json", ".toml", ".txt"}


def test_publishing_replaces_old_tables_and_nothing_else(tmp_path):
    for number in (1, 2, 3, 4):
        (tmp_path / f"table{number}.md").write_text(f"table {number} anew\n")
    changed = published().with_tables(README, tmp_path, "synthetic")
    assert changed.count(" anew\n") == 4
    assert changed.split("<!-- synthetic")[0] == README.split("<!-- synthetic")[0]
    assert changed.rpartition("-->")[2] == README.rpartition("-->")[2]


def test_publishing_into_a_readme_without_a_place_is_refused(tmp_path):
    (tmp_path / "table1.md").write_text("")
    with pytest.raises(AssertionError, match="0 places"):
        published().with_tables("no markers", tmp_path, "synthetic")


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_alone_lists_every_target():
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    listed = subprocess.run(["make"], cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    targets = re.search(r"\.PHONY: (.*)", (ROOT / "Makefile").read_text()).group(1).split()
    assert len(targets) > 10
    assert [target for target in targets if not re.search(rf"^  {target} ", listed, re.MULTILINE)] == []


def test_ci_runs_the_tests_by_make():
    assert "make test" in (ROOT / ".ci" / "run").read_text().splitlines()


def test_the_wheel_takes_the_table_specs_along():
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert build["force-include"] == {"tables": "swdb/tables"}


def test_every_dependency_is_pinned_for_the_make_targets():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [re.match(r"[\w.-]+", line).group(0).lower() for line in project["dependencies"]]
    wanted += [re.match(r"[\w.-]+", line).group(0).lower() for line in project["optional-dependencies"]["test"]]
    pinned = {line.partition("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert len(wanted) >= 10
    assert set(wanted) <= pinned
