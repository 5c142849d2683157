"""What making took: noted by id, read back, and nothing where it is not there or damaged."""

from dataclasses import replace

import pytest
import toy_worker

from swdb.study.costs import MIB, note_cost, peaks, read_cost


@pytest.fixture
def root(tmp_path):
    return toy_worker.planned(tmp_path)[0]


def test_what_is_noted_is_read_back(tmp_path, root):
    note_cost(tmp_path, root, 1.23456, 700 * MIB)
    assert read_cost(tmp_path, root.id) == {"peak_mib": 700.0, "seconds": 1.235}
    note_cost(tmp_path, root, None, 800 * MIB)
    assert read_cost(tmp_path, root.id) == {"peak_mib": 800.0}
    other_seed, other_settings = (replace(root, key={**root.key, **more}) for more in ({"seed": 7}, {"crop": 7}))
    assert peaks(tmp_path, [other_settings, other_seed, root]) == [None, 800 * MIB]
    assert peaks(tmp_path, [replace(root, kind="run")]) == [None] and peaks(tmp_path, []) == []


HUGE = f'{{"peak_mib": {10**400}, "seconds": {10**400}, "settings": "x"}}'


@pytest.mark.parametrize("text", [None, "{", "[]", HUGE, '{"peak_mib": "much"}', '{"peak_mib": null, "kind": "toy"}'])
def test_what_is_missing_or_damaged_says_nothing(tmp_path, root, text):
    if text is not None:
        (tmp_path / "costs").mkdir()
        (tmp_path / "costs" / f"{root.id}.json").write_text(text)
    assert read_cost(tmp_path, root.id) == {}
    assert peaks(tmp_path, [root]) == [None]


def test_a_disk_that_does_not_take_it_stops_nobody(tmp_path, root):
    (tmp_path / "costs").write_text("in the way")
    note_cost(tmp_path, root, 1.0, MIB)
    assert read_cost(tmp_path, root.id) == {}
