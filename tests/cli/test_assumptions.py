"""`swdb assumptions`, run as people run it."""

import json

import pytest
from conftest import swdb


def test_all_of_them_stand_on_stdout_and_the_next_command_on_stderr():
    result = swdb("assumptions")
    assert result.returncode == 0, result.stderr
    assert "training.crop" in result.stdout and "kl-images" in result.stdout and "SCALED" in result.stdout
    assert result.stderr == "next: swdb reproduce-table all --dry-run --preset synthetic\n"


def test_those_of_a_status_and_of_a_table():
    result = swdb("assumptions", "--status", "unknown", "--table", "2", "--preset", "voc")
    assert (
        "kl-images" in result.stdout and "neck_init_scale" not in result.stdout and "training.crop" not in result.stdout
    )


def test_formats_for_machines_and_pages():
    page, values = swdb("assumptions", "--format", "md"), swdb("assumptions", "--format", "json")
    assert page.stdout.startswith("# Settings of preset synthetic\n")
    assert json.loads(values.stdout)["preset"] == "synthetic"


@pytest.mark.parametrize(
    ("typed", "error"),
    [
        (("--status", "STATD"), "error: --status 'STATD': unknown"),
        (("--table", "7"), "error: --table '7': unknown"),
        (("--format", "xml"), "error: --format 'xml': unknown"),
        (("--preset", "synthetik"), "error: preset 'synthetik': unknown"),
    ],
)
def test_mistyped_words_are_refused(typed, error):
    result = swdb("assumptions", *typed)
    assert result.returncode == 2 and result.stdout == "" and result.stderr.startswith(error), result.stderr
    assert len(result.stderr.splitlines()) == 2
