"""`swdb merge`: bundles of one study become one."""

import json

import pytest
from bundles import contents, spoiled, the_name, written
from commands import call, next_command, succeed, the_error
from drawn import OTHER_MACHINE, drawn_study


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("merged")
    ours = written(drawn_study(folder / "a", [0], rows={"strong"}), folder / "a.zip")
    return ours, written(drawn_study(folder / "b", [1], OTHER_MACHINE, "b", {"strong"}), folder / "b.zip")


def test_two_bundles_become_one_and_the_machines_are_shown(pair, tmp_path):
    result = succeed("merge", *pair, "--output", tmp_path / "c.zip")
    assert result.stdout.splitlines() == [
        f"{tmp_path / 'c.zip'}: seeds 0, 1",
        "trained on Made-up 9000 (cpu, fp32)",
        "trained on Made-up 9100 (cpu, fp32)",
    ]
    assert next_command(result) == ["rescore", str(tmp_path / "c.zip")]
    assert succeed("rescore", tmp_path / "c.zip").stdout.splitlines()[-1] == "merged from 2 bundles"
    told = json.loads(succeed("merge", *pair, "--output", tmp_path / "c.zip", "--json").stdout)
    assert told["seeds"] == [0, 1] and len(told["machines"]) == 2


def test_one_bundle_is_nothing_to_merge(pair, tmp_path):
    result = call("merge", pair[0], "--output", tmp_path / "c.zip")
    assert result.exit_code == 2 and the_error(result) == "bundles: one is named; expected two or more"


def test_a_bundle_that_is_merged_stays_as_it_is(pair, tmp_path):
    before = pair[0].read_bytes()
    (tmp_path / "link.zip").symlink_to(pair[0])
    for output in (pair[0], tmp_path / "link.zip"):
        result = call("merge", *pair, "--output", output)
        assert result.exit_code == 2 and the_error(result).startswith(f"--output {output}: is one of the bundles; ")
    assert pair[0].read_bytes() == before


def test_what_the_disk_refuses_is_told_of_the_file_that_was_named(pair, tmp_path, monkeypatch):
    def refuse(source, target):
        raise OSError(28, "No space left on device", str(source))

    monkeypatch.setattr("swdb.core.files.os.replace", refuse)
    result = call("merge", *pair, "--output", tmp_path / "c.zip")
    assert result.exit_code == 2 and the_error(result) == f"{tmp_path / 'c.zip'}: the disk is full"
    assert "--workdir" not in result.stderr and list(tmp_path.iterdir()) == []


def test_what_does_not_hold_is_not_merged(pair, tmp_path):
    name = the_name(pair[1], "/predictions/")
    other = next(content for one, content in contents(pair[1]).items() if "/predictions/" in one and one != name)
    forged = spoiled(pair[1], tmp_path / "y.zip", {name: other}, listed=True)
    result = call("merge", pair[0], forged, "--output", tmp_path / "c.zip")
    assert result.exit_code == 3 and not (tmp_path / "c.zip").exists()
    assert result.stdout.splitlines()[0].startswith(f"{name}: image ") and "the merged bundle: " in the_error(result)
