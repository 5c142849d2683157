"""Files of seed cues, written from Python values or from instructions, and what reading them says."""

import pickle

import numpy as np
import pytest
from conftest import SHARED

from swdb.core.errors import BadInput
from swdb.proxy.sec_cues import read_cues

REAL = SHARED / "data" / "cues" / "localization_cues.pickle.gz"  # where it is at hand
MEND = "swdb prepare-cues --cues FILE"
LIST = "2008_000001.jpg 0\n2008_000002.jpg 1\n"

LABELS = np.array([8, 18])
CELLS = np.array([[0, 8, 18, 0], [0, 1, 40, 7], [40, 2, 0, 9]])
CONTENT = {"0_labels": LABELS, "0_cues": CELLS}


def written(folder, content, name="cues.pickle", ids=LIST):
    """Write cues and their list; content that is not bytes yet is pickled."""
    (folder / "input_list.txt").write_text(ids)
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, 2))
    return path


def read(folder, content, **options):
    return read_cues(written(folder, content, **options), MEND)


def refusal(folder, content, **options):
    """Return the one line that refuses a file; it names the file, what was expected, and the command that mends it."""
    path = written(folder, content, **options)
    with pytest.raises(BadInput) as caught:
        read_cues(path, MEND)
    line = str(caught.value)
    assert line.isprintable() and len(line) < len(str(path)) + 500
    assert line.startswith(str(path)) and "expected" in line and line.endswith(f"run: {MEND}")
    return line


def assert_content(found, labels=(8, 18)):
    assert found.labels == {"2008_000001": labels}
    assert found.cells.keys() == {"2008_000001"}
    assert found.cells["2008_000001"].dtype == np.int64
    np.testing.assert_array_equal(found.cells["2008_000001"], CELLS)
