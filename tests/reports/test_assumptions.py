"""The register as a page, as JSON and as a footnote."""

import json

import pytest

from swdb.reports.assumptions import as_json, footnote, number_words, settings_page
from swdb.specs.presets import load_preset
from swdb.specs.register import STATUSES, register

SYNTHETIC = load_preset("synthetic")


def test_the_page_lists_every_row_with_the_status_of_the_value_here():
    rows = [line.split(" | ") for line in settings_page(SYNTHETIC).splitlines() if line.startswith("| ")]
    assert len(rows) == len(register(SYNTHETIC)) + 4  # two heads, each with a ruler
    (crop,) = [row for row in rows if row[0] == "| training.crop"]
    assert crop[1] == "48" and crop[3] == "SCALED" and "the paper's is 328 (STATED)" in crop[4]
    assert all(f"- {status}: {meaning}" in settings_page(SYNTHETIC) for status, meaning in STATUSES.items())


def test_json_counts_what_it_lists():
    found = json.loads(json.dumps(as_json(SYNTHETIC)))
    assert sum(found["counts"].values()) == len(found["assumptions"])
    assert found["assumptions"][0]["key"] == "seeds"


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_the_footnote_counts_and_names_what_is_unknown(number):
    line = footnote(SYNTHETIC, number)
    assert number_words(register(SYNTHETIC)) in line and "evaluation.scales" in line
    assert ("kl-images" in line) == (number == 2)
    assert "SCALED" in line and "SCALED" not in footnote(load_preset("voc"), number)
