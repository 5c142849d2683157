"""What a newcomer reads first says what the program wrote, and the two commands are there."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from conftest import PUBLISHED, REPOSITORY, TINY

from swdb.core.files import read_json
from swdb.reports import published
from swdb.reports.side_by_side import claims_by_preset
from swdb.specs.presets import load_preset

README = (REPOSITORY / "README.md").read_text()
RESULTS = REPOSITORY / "results"
PAGES = [REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    [*(REPOSITORY / "docs").glob("*.md"), *RESULTS.glob("*/README.md")]
)


def test_the_readme_is_read_in_one_sitting_and_contributing_fits_a_screen():
    assert len(README.splitlines()) <= 130
    assert len((REPOSITORY / "CONTRIBUTING.md").read_text().splitlines()) <= 50


def test_the_readme_shows_the_two_commands_and_the_picture():
    assert "\nmake table N=4 " in README and "\nmake test " in README
    assert (
        "](results/synthetic/dual-s0.png)" in README and (RESULTS / "synthetic" / "dual-s0.png").stat().st_size > 10_000
    )


def test_the_readme_shows_one_table_as_the_program_wrote_it():
    shown = re.findall(r"<!-- ([\w-]+) table (\d) -->\n(.*?)<!-- end of table \2 -->", README, re.DOTALL)
    assert len(shown) == 1
    for preset, number, table in shown:
        whole = (RESULTS / preset / f"table{number}.md").read_text()
        assert table == whole.partition("\nClaims:")[0] and "measured" in table and "NOT RUN" not in table


def test_all_verdicts_stand_side_by_side_as_the_program_wrote_them():
    for page, numbers in ((README, published.MAIN_TABLES), ((RESULTS / "README.md").read_text(), None)):
        (shown,) = re.findall(r"<!-- claims by preset -->\n(.*?)<!-- end of claims by preset -->", page, re.DOTALL)
        assert shown == claims_by_preset(RESULTS, numbers)


@pytest.mark.parametrize("preset", PUBLISHED)
def test_a_page_of_results_is_what_the_program_writes(preset):
    target = RESULTS / preset
    assert (target / "README.md").read_text() == published.page(load_preset(preset), target)
    tables = [(target / f"table{number}.md").read_text() for number in (1, 2, 3, 4)]
    assert all(table.strip() in (target / "README.md").read_text() for table in tables)
    values = [
        value
        for number in (1, 2, 3, 4)
        for row in read_json(target / f"table{number}.json")["rows"]
        for value in row["values"].values()
    ]
    printed = [value for value in values if value["paper"] is not None and not value["literature"]]
    assert len(printed) == 25
    missing = "some cells have fewer seeds or were NOT RUN" in (target / "README.md").read_text()
    assert missing or all(value["by_seed"] for value in printed)


def test_every_link_leads_somewhere():
    assert len(PAGES) >= 9
    for page in PAGES:
        links = re.findall(r"\]\(([^)#]+)\)", page.read_text())
        lost = [link for link in links if "://" not in link and not (page.parent / link).exists()]
        assert lost == [], page.name


def test_the_published_lists_of_real_images_are_those_that_were_trained_and_scored_on():
    folder = RESULTS / "voc-animals-squeezenet"
    lists = {path.stem: path.read_text().split() for path in (RESULTS / "voc-animals" / "lists").glob("*.txt")}
    assert {split: len(ids) for split, ids in lists.items()} == {"train": 437, "train_aug": 3131, "val": 251}
    assert set(lists["train"]) < set(lists["train_aug"]) and not set(lists["train_aug"]) & set(lists["val"])
    audited = json.loads((folder / "data.json").read_text())
    assert audited["counts"] == {split: len(ids) for split, ids in lists.items()}
    for number in (1, 2, 3, 4):
        assert json.loads((folder / f"table{number}.json").read_text())["data_sha256"] == audited["audit"]["tree_root"]


def test_neither_real_images_nor_weights_are_published():
    files = [path for path in RESULTS.glob("voc-animals*/**/*") if path.is_file()]
    assert len(files) > 20
    assert {path.suffix for path in files} == {".md", ".csv", ".json", ".svg", ".toml", ".txt"}


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_alone_lists_every_target():
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    command = {"cwd": REPOSITORY, "env": environment, "capture_output": True, "text": True, "check": True}
    listed = subprocess.run(["make"], **command).stdout
    targets = re.search(r"\.PHONY: (.*)", (REPOSITORY / "Makefile").read_text()).group(1).split()
    assert len(targets) > 10
    assert [target for target in targets if not re.search(rf"^  {target} ", listed, re.MULTILINE)] == []


def test_ci_runs_the_tests_by_make():
    assert "make test" in (REPOSITORY / ".ci" / "run").read_text().splitlines()


def test_a_wheel_works_from_any_folder(tmp_path):
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        tmp_path,
        REPOSITORY,
    ]
    built = subprocess.run(build, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("swdb-*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    away = tmp_path / "elsewhere"
    away.mkdir()
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    run = {"cwd": away, "env": environment, "capture_output": True, "text": True, "check": True}
    where = subprocess.run([sys.executable, "-c", "import swdb; print(swdb.__file__)"], **run).stdout
    assert Path(where.strip()).is_relative_to(tmp_path)
    for preset in ("synthetic", TINY):
        planned = subprocess.run(
            [sys.executable, "-m", "swdb", "reproduce-table", "all", "--dry-run", "--preset", preset], **run
        )
        assert "train dual-25-s1" in planned.stdout
    assert list(away.iterdir()) == []  # a dry run writes nothing
    page = subprocess.run([sys.executable, "-m", "swdb", "report", "--output", "page.html"], **run).stdout.strip()
    assert "Nothing has been run yet" in (away / page).read_text()


def test_what_the_package_says_of_itself_is_complete():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert project["authors"] == [{"name": "swdb contributors"}]
    assert len(project["keywords"]) >= 5 and len(project["classifiers"]) >= 5
    assert "urls" not in project


def test_every_dependency_is_pinned_for_the_make_targets():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = [re.match(r"[\w.-]+", line).group(0).lower() for line in project["dependencies"]]
    wanted += [re.match(r"[\w.-]+", line).group(0).lower() for line in project["optional-dependencies"]["test"]]
    pinned = {line.partition("==")[0].lower() for line in (REPOSITORY / "constraints.txt").read_text().splitlines()}
    assert len(wanted) >= 10
    assert set(wanted) <= pinned


# ---------------------------------------------------------------- the Makefile

ODD = '/a b/it\'s $HOME "q" (x);ls'
VARIABLES = {"WORK": ODD, "VOC": ODD, "SBD": "s b", "LABELS": "l b", "LISTS": "i b", "CUES": ODD, "WEIGHTS": "w b", "SALIENCY": "m b", "PRESET": "p b.toml"}  # fmt: skip


@pytest.mark.parametrize("target", ["data", "proxies", "table", "tables", "bundle", "results"])
def test_make_hands_every_variable_on_as_one_word(target):
    if shutil.which("make") is None:
        pytest.skip("no make here")
    typed = [f"{name}={value.replace('$', '$$')}" for name, value in VARIABLES.items()]
    done = subprocess.run(
        ["make", "--dry-run", target, "PYTHON=/no py/python3", *typed],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    words = [shlex.split(line) for line in done.stdout.splitlines() if " -m swdb" in line]
    assert words
    for line in words:
        if "rescore" in line:  # of a bundle, which knows its preset
            assert f"{VARIABLES['WORK']}/bundle.zip" in line and line[line.index("--data") + 1] == VARIABLES["WORK"]
        else:
            assert VARIABLES["PRESET"] in line and ("swdb.reports.published" in line or VARIABLES["WORK"] in line)
    named = {line[k]: line[k + 1] for line in words for k in range(len(line) - 1) if line[k].startswith("--")}
    if target not in ("table", "bundle"):
        assert (named["--voc"], named["--sbd"], named["--image-labels"], named["--lists"]) == (ODD, "s b", "l b", "i b")
    if target in ("proxies", "tables", "results"):
        assert (named["--cues"], named["--weights"], named["--saliency"]) == (ODD, "w b", "m b")
