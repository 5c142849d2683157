"""`swdb report`: one file, written where it is wanted, from what is finished."""

import shutil
import time
from pathlib import Path

import pytest
from commands import call, contents, copied, hinted_command, next_command, succeed, the_error
from conftest import TINY, swdb

from swdb.core.files import read_json, write_json

OPTIONS = ("--preset", TINY)


def report(work: Path, *words: object):
    return call("report", *words, *OPTIONS, "--workdir", work)


def test_the_page_is_written_beside_the_tables_and_named(own):
    result = succeed("report", *OPTIONS, "--workdir", own)
    path = own / "reports" / "tiny" / "index.html"
    assert result.stdout == f"{path}\n" and path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert next_command(result)[:2] == ["reproduce-table", "all"]
    assert "draw the report" in result.stderr


def test_nothing_but_the_page_is_written_and_it_takes_little(own):
    before = contents(own)
    begun = time.process_time()
    succeed("report", *OPTIONS, "--workdir", own)
    assert time.process_time() - begun < 20  # of a third of the runs that may take so long
    after = contents(own)
    assert {name for name in after if after[name] != before.get(name)} == {"reports/tiny/index.html"}
    assert len(after["reports/tiny/index.html"][1]) < 5e6 / 3


def test_it_is_the_same_byte_for_byte_in_any_process_and_folder(own, tmp_path):
    import os

    elsewhere = Path(shutil.copytree(own, tmp_path / "elsewhere"))
    pages = []
    for work, seed in ((own, "1"), (elsewhere, "2")):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        result = swdb("report", *OPTIONS, "--workdir", work, env=environment)
        assert result.returncode == 0, result.stderr
        pages.append((work / "reports" / "tiny" / "index.html").read_bytes())
    assert pages[0] == pages[1]


def test_torch_is_not_loaded(finished, tmp_path):
    from test_architecture import WATCHED, python

    result = python(WATCHED, "report", *OPTIONS, "--workdir", copied(finished, tmp_path))
    assert result.returncode == 0, result.stderr
    assert result.stderr.splitlines()[-1] == "torch loaded: False"


def test_an_earlier_report_is_replaced_and_nothing_else_is(tmp_path):
    work, path = tmp_path / "work", tmp_path / "mine.html"
    path.write_text("<html>mine</html>")
    error = the_error(report(work, "--output", path))
    assert error == f"{path}: is no report of swdb's; expected a new name, or an earlier report"
    assert path.read_text() == "<html>mine</html>"
    path.unlink()
    assert report(work, "--output", path).exit_code == 0
    first = path.read_bytes()
    assert report(work, "--output", path).exit_code == 0 and path.read_bytes() == first


def test_a_folder_is_no_file(tmp_path):
    result = report(tmp_path / "work", "--output", tmp_path)
    assert the_error(result) == f"--output {tmp_path}: is a folder; expected the name of a file"
    assert result.exit_code == 2


def test_a_report_of_no_runs_is_a_page_that_says_so(tmp_path):
    result = report(tmp_path / "work")
    assert result.exit_code == 0, result.stderr
    text = Path(result.stdout.strip()).read_text(encoding="utf-8")
    assert "Nothing has been run yet" in text
    assert "--dry-run" in next_command(result)


def test_a_preset_whose_files_were_never_named_has_a_page_too(tmp_path):
    result = call("report", "--preset", "voc-animals-squeezenet", "--workdir", tmp_path / "work")
    assert result.exit_code == 0, result.stderr
    text = Path(result.stdout.strip()).read_text(encoding="utf-8")
    assert "Nothing has been run yet" in text and "nothing is planned" in text
    assert "swdb make-proxy --weights FILE --cues localization_cues.pickle.gz --preset voc-animals-squeezenet" in text


@pytest.mark.parametrize("change", [{"miou": float("nan")}, {"miou": 101.0}, {"miou": "x"}, {"data": "0" * 64}])
def test_scores_that_cannot_be_are_left_out_and_named(own, change):
    (path,) = own.glob("runs/dual-s0-*/evals/val-strong/result.json")
    write_json(path, read_json(path) | change)
    result = report(own)
    assert the_error(result) and result.exit_code == 3
    text = (own / "reports" / "tiny" / "index.html").read_text(encoding="utf-8")
    assert "What could not be read" in text and f"{path.parent.relative_to(own)}" in text
    assert hinted_command(result)


@pytest.mark.parametrize(
    "place", ["runs/dual-s0-*/evals/val-strong/confusion.npz", "preregistration.json"], ids=["counts", "registrations"]
)
def test_a_report_leaves_out_what_verify_leaves_out(own, place):
    path = next(own.glob(place), own / place)
    path.write_bytes(b"{")
    result = report(own)
    assert the_error(result).startswith(f"{path}: ") and result.exit_code == 3
    assert the_error(call("verify", *OPTIONS, "--workdir", own)) == the_error(result)
    text = (own / "reports" / "tiny" / "index.html").read_text(encoding="utf-8")
    assert "What could not be read" in text and str(path.relative_to(own)) in text


def test_the_disk_may_refuse_the_page(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("x")
    result = report(tmp_path / "work", "--output", blocked / "index.html")
    assert result.exit_code == 2 and "a part of its path is a file" in the_error(result)
