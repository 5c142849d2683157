"""Arrays of decoded pixels: the ones that were written, or none."""

import numpy as np
import pytest

from swdb.core.files import read_json, write_json
from swdb.data.decoded import new_array, open_arrays, record_arrays

NAMES = ["images.npy", "masks.npy"]
OF = {"images": 2, "canvas": 4}


@pytest.fixture
def record(tmp_path):
    """The record of two arrays, which hold 0 to 7 and ones."""
    with new_array(tmp_path / NAMES[0], (2, 4), 0) as images, new_array(tmp_path / NAMES[1], (2, 4), 1):
        images[:] = np.arange(8).reshape(2, 4)
    record_arrays(tmp_path / "record.json", OF, NAMES)
    return tmp_path / "record.json"


def test_recorded_arrays_are_opened_as_they_were_filled_and_cannot_be_written(record):
    images, masks = open_arrays(record, OF, NAMES)
    assert images.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]] and masks.tolist() == [[1] * 4] * 2
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0


def test_the_record_says_what_they_were_decoded_from(record):
    assert read_json(record).items() >= OF.items()
    assert open_arrays(record, {**OF, "canvas": 5}, NAMES) is None


@pytest.mark.parametrize("name", [*NAMES, "record.json"])
def test_arrays_of_which_a_file_is_missing_are_not_opened(record, name):
    record.with_name(name).unlink()
    assert open_arrays(record, OF, NAMES) is None


@pytest.mark.parametrize("place", [0, 60, -1])
def test_arrays_with_one_other_byte_are_not_opened(record, place):
    path = record.with_name(NAMES[0])
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    assert open_arrays(record, OF, NAMES) is None


@pytest.mark.parametrize("found", [[], None, {}, OF, {**OF, "sha256": None}])
def test_a_record_of_another_form_opens_nothing(record, found):
    write_json(record, found)
    assert open_arrays(record, OF, NAMES) is None


def test_an_array_that_was_not_filled_to_its_end_is_not_there(tmp_path):
    with pytest.raises(KeyboardInterrupt), new_array(tmp_path / NAMES[0], (2, 4), 0):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_an_array_is_no_sparse_file(tmp_path):
    with new_array(tmp_path / NAMES[0], (20, 512, 512), 0):
        (written,) = tmp_path.iterdir()
        assert written.stat().st_blocks * 512 >= 20 * 512 * 512
