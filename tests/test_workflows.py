"""The workflows: what must hold of them is told by their lines, without a reader of YAML."""

import re
import shutil
import subprocess

import pytest
from conftest import REPOSITORY

WORKFLOWS = {path.name: path.read_text() for path in (REPOSITORY / ".github" / "workflows").glob("*.yml")}
EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}")


def indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def scripts(text: str) -> list[str]:
    """Return what the shell is given: the text behind `run:`, of blocks all their lines."""
    lines, found = text.splitlines(), []
    for k, line in enumerate(lines):
        match = re.match(r"\s*(?:- )?run:\s*(.*)", line)
        if match is None:
            continue
        body = [match[1]]
        if match[1].strip() in ("|", ">", "|-", ">-"):
            at = line.index("run:")
            for following in lines[k + 1 :]:
                if following.strip() and indent(following) <= at:
                    break
                body.append(following)
        found.append("\n".join(body))
    return found


def keys(text: str, depth: int = 0) -> list[str]:
    """Return the keys that stand at a depth."""
    return re.findall(rf"^{' ' * depth}([\w-]+):", text, re.MULTILINE)


def block(text: str, key: str) -> str:
    """Return the lines below a key at the top."""
    return re.search(rf"^{key}:.*\n((?:[ #].*\n|\n)*)", text, re.MULTILINE)[1]


def test_scripts_are_found_whole():
    text = "steps:\n  - run: one\n  - name: x\n    run: |\n      two\n      three\n  - uses: y\n"
    assert scripts(text) == ["one", "|\n      two\n      three"]
    assert block("on:\n  push:\n\n  pull_request:\njobs:\n  a:\n", "on") == "  push:\n\n  pull_request:\n"


def test_both_are_there():
    assert set(WORKFLOWS) == {"tests.yml", "tables.yml"}


@pytest.mark.parametrize("name", WORKFLOWS)
def test_it_reads_as_yaml_as_far_as_lines_tell(name):
    text = WORKFLOWS[name]
    assert "\t" not in text and text.endswith("\n")
    assert all(indent(line) % 2 == 0 for line in text.splitlines())
    assert {"name", "on", "permissions", "concurrency", "jobs"} <= set(keys(text))
    assert len(set(keys(text))) == len(keys(text))
    yaml = pytest.importorskip("yaml")
    found = yaml.safe_load(text)
    assert {"name", "permissions", "jobs"} < set(found)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_rights_are_read_only_unless_a_job_says_why(name):
    assert block(WORKFLOWS[name], "permissions") == "  contents: read\n"
    written = re.findall(r"^\s+([\w-]+): write$", WORKFLOWS[name], re.MULTILINE)
    assert written == ([] if name == "tests.yml" else ["id-token", "attestations"])
    assert "write-all" not in WORKFLOWS[name] and "secrets." not in WORKFLOWS[name]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_no_expression_stands_in_a_script(name):
    assert len(scripts(WORKFLOWS[name])) >= 1
    assert [script for script in scripts(WORKFLOWS[name]) if EXPRESSION.search(script)] == []


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_action_is_pinned_to_a_commit_and_says_its_version(name):
    used = re.findall(r"uses: (.*)", WORKFLOWS[name])
    assert (
        used
        and [line for line in used if not re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)] == []
    )
    by_action = {
        line.partition("@")[0]: set() for text in WORKFLOWS.values() for line in re.findall(r"uses: (.*)", text)
    }
    for text in WORKFLOWS.values():
        for line in re.findall(r"uses: (.*)", text):
            by_action[line.partition("@")[0]].add(line)
    assert all(len(versions) == 1 for versions in by_action.values())


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_checkout_leaves_no_token_behind(name):
    text = WORKFLOWS[name]
    assert text.count("actions/checkout@") == text.count("persist-credentials: false") == 1


def test_strangers_proposals_never_reach_ones_own_machine():
    text = WORKFLOWS["tables.yml"]
    assert "self-hosted" in text
    assert keys(block(text, "on"), 2) == ["workflow_dispatch", "schedule"]
    assert "pull_request" not in text and "workflow_run" not in text
    assert "github.repository_owner ==" in text and "environment: gpu" in text
    assert "self-hosted" not in WORKFLOWS["tests.yml"] and "pull_request_target" not in WORKFLOWS["tests.yml"]


def test_inputs_stand_in_the_environment_alone():
    text = WORKFLOWS["tables.yml"]
    outside = text.replace(block(text, "env"), "")
    assert "inputs." in block(text, "env") and "inputs." not in outside


def test_the_tests_run_on_every_python_that_the_package_names():
    project = (REPOSITORY / "pyproject.toml").read_text()
    named = re.findall(r"Python :: (3\.\d+)", project)
    assert re.search(r"python: \[(.*)\]", WORKFLOWS["tests.yml"])[1] == ", ".join(f'"{one}"' for one in named)
    assert scripts(WORKFLOWS["tests.yml"]) == ["make check"]


def test_what_they_make_is_there():
    makefile = (REPOSITORY / "Makefile").read_text()
    targets = {
        target
        for text in WORKFLOWS.values()
        for script in scripts(text)
        for target in re.findall(r"\bmake (\w+)", script)
    }
    assert {"all", "install", "check"} <= targets
    targets -= {"would"}
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []


def test_make_all_ends_with_verdicts_report_and_bundle():
    if shutil.which("make") is None:
        pytest.skip("no make here")
    command = ["make", "--dry-run", "all", "PYTHON=python3", "PRESET=synthetic", "SUMMARY=a b.md", "JUNIT=claims.xml"]
    said = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    verbs = re.findall(r"-m swdb ([\w-]+)", said)
    assert verbs[-4:] == ["verify", "report", "bundle", "rescore"] and "reproduce-table" in verbs
    assert "--summary 'a b.md'" in said and "--junit 'claims.xml'" in said


def guard() -> str:
    (found,) = [script for script in scripts(WORKFLOWS["tables.yml"]) if "not a number" in script]
    return found.partition("\n")[2]


@pytest.mark.parametrize(
    ("seeds", "preset", "code"),
    [
        ("3", "voc-animals", 0),
        ("$(shell id)", "voc", 2),
        ("3; id", "voc", 2),
        ("", "voc", 2),
        ("3", "../x", 2),
        ("3", "", 2),
    ],
)
def test_what_is_no_word_never_reaches_make(seeds, preset, code):
    result = subprocess.run(
        ["sh", "-ec", guard()], env={"SEEDS": seeds, "PRESET": preset}, capture_output=True, check=False
    )
    assert result.returncode == code
