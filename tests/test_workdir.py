"""Opening a work directory: its precision is chosen once, files that a preset needs are named once."""

import json
from pathlib import Path

import pytest
from conftest import TINY

from swdb.errors import SwdbError
from swdb.files import write_json
from swdb.workdir import open_work

# ---------------------------------------------------------------- the work directory's precision


def test_the_precision_is_chosen_once_and_stays(tmp_path):
    chosen = open_work(tmp_path, TINY).precision
    assert chosen in ("fp32", "bf16")
    stored = json.loads((tmp_path / "precision.json").read_text())
    assert stored["precision"] == chosen and stored["because"].keys() == {"processor", "gpu"}
    for kept in ("fp32", "bf16"):  # whatever this processor would have chosen
        write_json(tmp_path / "precision.json", {"precision": kept})
        assert open_work(tmp_path, TINY).precision == kept


def test_a_precision_that_is_asked_for_goes_before_the_stored_one(tmp_path):
    write_json(tmp_path / "precision.json", {"precision": "bf16"})
    assert open_work(tmp_path, TINY, "fp32").precision == "fp32"
    assert open_work(tmp_path, TINY).precision == "bf16"


@pytest.mark.parametrize("content", ["", '{"precision": ', '{"precision": "fp16"}', "{}", "[]", '"fp32"'])
def test_a_damaged_precision_file_is_named_with_its_mend(tmp_path, content):
    (tmp_path / "precision.json").write_text(content)
    with pytest.raises(SwdbError) as caught:
        open_work(tmp_path, TINY)
    assert "precision.json" in str(caught.value) and "delete" in str(caught.value) and "\n" not in str(caught.value)
    assert (tmp_path / "precision.json").read_text() == content


def test_proposed_commands_lead_back_to_the_preset_and_the_work_directory(tmp_path):
    assert open_work(tmp_path, TINY, "fp32").where == f"--preset {TINY} --workdir {tmp_path}"
    assert open_work(Path("work"), "synthetic", "fp32").where == "--preset synthetic"
