"""Files of seed cues, written from Python values or from instructions, and what reading them says."""

import pickle
import struct

import numpy as np
import pytest
from conftest import SHARED

from swdb.core.errors import BadInput
from swdb.proxy.sec_cues import read_cues

REAL = SHARED / "data" / "cues" / "localization_cues.pickle.gz"  # where it is at hand
LIST = "2008_000001.jpg 0\n2008_000002.jpg 1\n"

LABELS = np.array([8, 18])
POINTS = np.array([[0, 8, 18, 0], [0, 1, 40, 7], [40, 2, 0, 9]])
CONTENT = {"0_labels": LABELS, "0_cues": POINTS}


def written(folder, content, name="cues.pickle", ids=LIST):
    """Write cues and their list; content that is not bytes yet is pickled."""
    (folder / "input_list.txt").write_text(ids)
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, 2))
    return path


def read(folder, content, **options):
    return read_cues(written(folder, content, **options))


def refusal(folder, content, **options):
    """Return the error that refuses a file, which is one line, names the file and says what was expected."""
    path = written(folder, content, **options)
    with pytest.raises(BadInput) as caught:
        read_cues(path)
    line = str(caught.value)
    assert line.isprintable() and len(line) < len(str(path)) + 500
    assert caught.value.subject == path and caught.value.expected
    return caught.value


def assert_content(found, labels=(8, 18)):
    assert found.labels == {"2008_000001": labels}
    assert found.points.keys() == {"2008_000001"}
    assert found.points["2008_000001"].dtype == np.int64
    np.testing.assert_array_equal(found.points["2008_000001"], POINTS)


def as_sec_wrote(entries):
    """Pickle up to 1,000 arrays of int64 by their keys as SEC did: Python 2, protocol 2, numpy's names of then."""
    dtype = b"cnumpy\ndtype\nq\x05U\x02i8K\x00K\x01\x87Rq\x06(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    reconstruct = b"cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03"
    content, memo = b"\x80\x02}q\x01(", 4
    for key, array in entries.items():
        first, name, data = memo == 4, key.encode(), array.tobytes()
        content += b"X" + struct.pack("<I", len(name)) + name
        content += (reconstruct if first else b"h\x02h\x03") + b"K\x00\x85U\x01b\x87R" + _put(memo)
        sizes = b"".join(b"K" + bytes([n]) if n < 256 else b"M" + struct.pack("<H", n) for n in array.shape)
        content += b"(K\x01" + sizes + bytes([0x84 + array.ndim]) + (dtype if first else b"h\x06") + b"\x89"
        content += (
            (b"U" + bytes([len(data)]) if len(data) < 256 else b"T" + struct.pack("<i", len(data))) + data + b"tb"
        )
        memo = 7 if first else memo + 1
    return content + b"u."


def _put(number):
    return b"q" + bytes([number]) if number < 256 else b"r" + struct.pack("<I", number)
