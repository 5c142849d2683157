"""Seed cues: all forms of honest pickles are read, dishonest ones are refused in one line and nothing is executed."""

import bz2
import copyreg
import gzip
import json
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from slow import enlarge_cues

from swdb import cues
from swdb.cues import GRID, cue_map, cue_quality, read_cues, restrict
from swdb.errors import BadInput, MissingArtefact

REAL = Path(__file__).parents[2] / "shared" / "data" / "cues" / "localization_cues.pickle.gz"  # where it is at hand
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


# ---------------------------------------------------------------- pickles written by hand


def string2(data):
    """Write bytes as Python 2's str, protocol 2."""
    return b"U" + bytes([len(data)]) + data if len(data) < 256 else b"T" + struct.pack("<i", len(data)) + data


def array2(array, names=b"numpy.core", subtype=b"cnumpy\nndarray\n", shape=None):
    """Write an array as numpy did under Python 2, protocol 2."""
    shape = array.shape if shape is None else shape
    sizes = b"(" + b"".join(pickle.dumps(size, 2)[2:-1] for size in shape) + b"t"
    made = b"c" + names + b".multiarray\n_reconstruct\n" + subtype + b"K\x00\x85U\x01b\x87R"
    code = array.dtype.str[1:].encode()
    dtype = b"cnumpy\ndtype\n" + string2(code) + b"K\x00K\x01\x87R(K\x03" + string2(array.dtype.str[:1].encode())
    dtype += b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    return made + b"(K\x01" + sizes + dtype + b"\x89" + string2(array.tobytes()) + b"tb"


def dict2(entries, protocol=b"\x80\x02"):
    """Write a dict of str keys and values that are instructions already."""
    return protocol + b"}(" + b"".join(string2(key.encode()) + value for key, value in entries.items()) + b"u."


def call(module, name, *arguments):
    """Write a call of any function, protocol 2."""
    return f"c{module}\n{name}\n".encode() + pickle.dumps(arguments, 2)[2:-1] + b"R"


def as_value(instructions):
    """Put instructions where an image's labels belong."""
    return dict2({"0_labels": instructions})


@pytest.mark.parametrize("names", [b"numpy.core", b"numpy._core"])
def test_a_pickle_of_python_2_is_read_under_old_and_new_names(tmp_path, names):
    content = dict2({"0_labels": array2(LABELS, names), "0_cues": array2(CELLS, names)})
    assert_content(read(tmp_path, content))
    with_numpy = pickle.loads(
        content.replace(b"numpy.core", b"numpy._core"), encoding="latin1"
    )  # what we wrote is right
    np.testing.assert_array_equal(with_numpy["0_cues"], CELLS)


def test_a_pickle_of_python_2_in_protocol_0_is_read(tmp_path):
    dtype = "cnumpy\ndtype\np4\n(S'i8'\np5\nI0\nI1\ntp6\nRp7\n(I3\nS'<'\np8\nNNNI-1\nI-1\nI0\ntp9\nb"
    text = "(dp0\n"
    for key, array in CONTENT.items():
        data = "".join(f"\\x{byte:02x}" for byte in array.tobytes())
        sizes = "".join(f"I{size}\n" for size in array.shape)
        text += f"V{key}\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n(I0\ntS'b'\ntR"
        text += f"(I1\n({sizes}t{dtype}I00\nS'{data}'\ntbs"
    assert_content(read(tmp_path, f"{text}.".encode()))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_protocol_of_python_3_is_read(tmp_path, protocol, order):
    content = {"0_labels": LABELS, "0_cues": np.asarray(CELLS, order=order)}
    assert_content(read(tmp_path, pickle.dumps(content, protocol)))


@pytest.mark.parametrize("dtype", ["<i8", ">i8", "<i4", ">u2", "u1", "i1", "<u8"])
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_integers_of_any_size_and_byte_order_are_read(tmp_path, dtype, protocol):
    content = {"0_labels": LABELS.astype(dtype), "0_cues": CELLS.astype(dtype)}
    assert_content(read(tmp_path, pickle.dumps(content, protocol)))


@pytest.mark.parametrize("form", [tuple, list], ids=["tuple", "list"])
def test_cues_may_be_three_arrays(tmp_path, form):
    assert_content(read(tmp_path, {"0_labels": LABELS, "0_cues": form(CELLS)}))


def test_labels_may_be_numbers_and_numpy_numbers_in_any_order_and_more_than_once(tmp_path):
    assert_content(read(tmp_path, {"0_labels": [18, np.int64(8), np.uint8(18)], "0_cues": CELLS}))


@pytest.mark.parametrize("protocol", [0, 2, 3])
def test_keys_may_be_bytes(tmp_path, protocol):
    assert_content(read(tmp_path, pickle.dumps({key.encode(): value for key, value in CONTENT.items()}, protocol)))


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_an_image_may_have_no_labels_and_no_cells(tmp_path, protocol):
    content = {"0_labels": np.empty(0, np.int64), "0_cues": np.empty((3, 0), np.int64)}
    found = read(tmp_path, pickle.dumps(content, protocol))
    assert found.labels == {"2008_000001": ()}
    assert found.cells["2008_000001"].shape == (3, 0)


def test_a_gzipped_file_is_known_by_its_content(tmp_path):
    assert_content(read(tmp_path, gzip.compress(pickle.dumps(CONTENT, 2)), name="cues.pickle"))
    assert_content(read(tmp_path, pickle.dumps(CONTENT, 2), name="cues.pickle.gz"))


# ---------------------------------------------------------------- dishonest pickles that would do something


class Foreign:
    """A class that does something when a pickle fills it."""

    def __setstate__(self, state):
        Path(state["marker"]).touch()


class ForeignArray(np.ndarray):
    """A kind of array that does something when it is made or filled."""

    def __setstate__(self, state):
        Path(state["marker"]).touch()


def nested_load(marker):
    """Have numpy.load read a file that holds a dishonest array of objects."""
    inner = marker.with_name("inner.npy")
    inner.write_bytes(call("os", "system", f"touch {marker}") + b".")
    return call("numpy", "load", str(inner), None, True)


MARKED_STATE = b"}U\x06marker"  # followed by the marker's path and SETITEM
HERE = f"c{__name__}\n".encode()
ATTACKS = {
    "os.system": lambda marker: call("os", "system", f"touch {marker}"),
    "posix.system": lambda marker: call("posix", "system", f"touch {marker}"),
    "subprocess.call": lambda marker: call("subprocess", "call", ["touch", str(marker)]),
    "builtins.eval": lambda marker: call("builtins", "eval", f"open({str(marker)!r}, 'w').close()"),
    "builtins.exec": lambda marker: call("builtins", "exec", f"open({str(marker)!r}, 'w').close()"),
    "__builtin__.eval": lambda marker: call("__builtin__", "eval", f"open({str(marker)!r}, 'w').close()"),
    "os.mkdir": lambda marker: b"(" + string2(str(marker).encode()) + b"ios\nmkdir\n",  # INST
    "pathlib.Path": lambda marker: b"(cpathlib\nPath\n" + string2(str(marker).encode()) + b"o0" + call("os", "mkdir", str(marker)),
    "numpy.load": nested_load,
    "numpy.testing._private.utils.runstring": lambda marker: call(
        "numpy.testing._private.utils", "runstring", f"open({str(marker)!r}, 'w').close()", {}
    ),
    "numpy.memmap": lambda marker: call("numpy", "memmap", str(marker), "u1", "w+", 0, (1,)),
    f"{__name__}.Foreign": lambda marker: (
        HERE + b"Foreign\n)\x81" + MARKED_STATE + string2(str(marker).encode()) + b"sb"
    ),
    f"{__name__}.ForeignArray": lambda marker: (
        b"cnumpy._core.multiarray\n_reconstruct\n" + HERE + b"ForeignArray\nK\x00\x85U\x01b\x87R"
        + MARKED_STATE + string2(str(marker).encode()) + b"sb"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_by_name_and_nothing_is_executed(tmp_path, name):
    marker = tmp_path / "marker"
    content = as_value(ATTACKS[name](marker))
    assert name in refusal(tmp_path, content)
    assert not marker.exists()
    pickle.loads(content)
    assert marker.exists()  # the attack is real


def test_an_attack_in_protocol_4_is_refused(tmp_path):
    marker = tmp_path / "marker"
    content = b"\x80\x04\x8c\x02os\x8c\x06system\x93" + pickle.dumps((f"touch {marker}",), 2)[2:-1] + b"R."
    assert "'os.system'" in refusal(tmp_path, content)
    assert not marker.exists()
    pickle.loads(content)
    assert marker.exists()


def test_an_attack_behind_honest_entries_and_the_memo_is_refused(tmp_path):
    marker = tmp_path / "marker"
    attack = b"cos\nsystem\nq\x010h\x01" + pickle.dumps((f"touch {marker}",), 2)[2:-1] + b"R"
    assert "'os.system'" in refusal(tmp_path, dict2({"0_cues": array2(CELLS), "0_labels": attack}))
    assert not marker.exists()


def test_an_extension_code_is_refused(tmp_path):
    marker = tmp_path / "marker"
    copyreg.add_extension("os", "mkdir", 77)
    try:
        content = as_value(b"\x82M" + pickle.dumps((str(marker),), 2)[2:-1] + b"R")
        assert "EXT1" in refusal(tmp_path, content)
        assert not marker.exists()
        pickle.loads(content)
        assert marker.exists()
    finally:
        copyreg.remove_extension("os", "mkdir", 77)


@pytest.mark.parametrize("code", [b"\x83M\x00", b"\x84M\x00\x00\x00"], ids=["EXT2", "EXT4"])
def test_a_longer_extension_code_is_refused(tmp_path, code):
    assert "EXT" in refusal(tmp_path, as_value(code))


@pytest.mark.parametrize("code", [b"Pmarker\n", b"U\x06markerQ"], ids=["PERSID", "BINPERSID"])
def test_a_persistent_id_is_refused(tmp_path, code):
    assert "PERSID" in refusal(tmp_path, as_value(code))


# ---------------------------------------------------------------- dishonest pickles of allowed words


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_an_array_of_objects_is_refused(tmp_path, protocol):
    assert "'O8'" in refusal(tmp_path, pickle.dumps({"0_labels": np.array([8, None])}, protocol))


@pytest.mark.parametrize("array", [LABELS / 1, LABELS * 1j, LABELS > 9, np.array(["8"]), LABELS.astype("M8[s]")])
def test_an_array_of_other_things_than_integers_is_refused(tmp_path, array):
    assert f"{array.dtype.str[1:3]}" in refusal(tmp_path, pickle.dumps({"0_labels": array}, 2))


def test_an_array_with_fields_is_refused(tmp_path):
    array = np.zeros(2, [("a", "<i4"), ("b", "<i4")])
    refusal(tmp_path, pickle.dumps({"0_labels": array}, 2))
    fields = as_value(array2(LABELS).replace(b"NNNJ", b"N(U\x01at}J"))
    assert "a state for a value of type Type" in refusal(tmp_path, fields)


@pytest.mark.parametrize("subtype", [b"cnumpy\ndtype\n", b"N", b"U\x07ndarray"], ids=["dtype", "None", "text"])
def test_an_array_of_another_kind_than_ndarray_is_refused(tmp_path, subtype):
    assert "_reconstruct" in refusal(tmp_path, as_value(array2(LABELS, subtype=subtype)))


@pytest.mark.parametrize(
    "shape",
    [(10**12,), (3, 10**12), (2**31, 2**31), (-1,), (10**4000,), (0, 10**12), (0,) * 40, (3, 5000), (None,), ((2,),)],
    ids=str,
)
def test_a_claim_of_odd_or_endless_size_is_refused(tmp_path, shape):
    assert "claims the size" in refusal(tmp_path, as_value(array2(LABELS, shape=shape)))
    frombuffer = b"cnumpy._core.numeric\n_frombuffer\n(" + string2(b"") + array_type() + pickle.dumps(shape, 2)[2:-1]
    assert "claims the size" in refusal(tmp_path, as_value(frombuffer + b"U\x01CtR"))


def array_type():
    """Write the instructions of the type int64."""
    instructions = array2(LABELS)
    return instructions[instructions.index(b"cnumpy\ndtype") : instructions.index(b"\x89U")]


@pytest.mark.parametrize("shape", [(1,), (3,), (2, 2), ()], ids=str)
def test_bytes_that_do_not_fit_the_shape_are_refused(tmp_path, shape):
    assert "found 16 bytes for int64" in refusal(tmp_path, as_value(array2(LABELS, shape=shape)))


def test_letters_in_place_of_bytes_are_refused(tmp_path):
    text = array2(np.array([8], "u1")).replace(b"\x89U\x01\x08", b"\x89X\x03\x00\x00\x00" + "€".encode())
    assert "found the classes 63..63, expected 1..20" in refusal(tmp_path, as_value(text))


@pytest.mark.parametrize("data", [b"N", b"]", b"K\x10", b"cnumpy\ndtype\n"], ids=["None", "list", "number", "name"])
def test_other_things_in_place_of_bytes_are_refused(tmp_path, data):
    instructions = array2(LABELS).replace(b"\x89" + string2(LABELS.tobytes()), b"\x89" + data)
    assert "found a value of type" in refusal(tmp_path, as_value(instructions))


def test_an_array_that_was_never_filled_is_refused(tmp_path):
    instructions = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    assert "expected" in refusal(tmp_path, as_value(instructions))


@pytest.mark.parametrize(
    "target",
    [b"}", b"]", b")", b"U\x01a", b"K\x01", b"N", b"cnumpy\nndarray\n", b"cnumpy.core.multiarray\n_reconstruct\n"],
    ids=["dict", "list", "tuple", "text", "number", "None", "ndarray", "_reconstruct"],
)
def test_a_state_for_anything_but_an_array_or_its_type_is_refused(tmp_path, target):
    assert "found a state for" in refusal(tmp_path, as_value(target + b"}U\x01aK\x01sb"))


@pytest.mark.parametrize(
    "called",
    [
        b"cnumpy\nndarray\n(K\x02tR",
        b"U\x01a)R",
        b"])R",
        b"cbuiltins\nbytes\n(J\xff\xff\xff\x7ftR",
        b"cnumpy\ndtype\nNR",
    ],
    ids=["ndarray", "text", "list", "two gigabytes", "no arguments"],
)
def test_a_call_that_makes_no_plain_array_is_refused(tmp_path, called):
    assert "found a call of" in refusal(tmp_path, as_value(called))


@pytest.mark.parametrize(
    "instruction",
    [b"\x8f", b"(\x91", b"\x94\x90", b")\x81", b"}\x92", b"0", b"1", b"2", b"\x97", b"\x98"],
    ids=["set", "frozenset", "ADDITEMS", "NEWOBJ", "NEWOBJ_EX", "POP", "POP_MARK", "DUP", "buffer", "read-only"],
)
def test_an_instruction_that_plain_data_does_not_need_is_refused(tmp_path, instruction):
    assert "asks for the instruction" in refusal(tmp_path, as_value(b"N" + instruction))


# ---------------------------------------------------------------- damage, and claims that cost memory or time


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_pickle_cut_short_anywhere_is_refused(tmp_path, protocol):
    whole = pickle.dumps(CONTENT, protocol)
    for length in range(0, len(whole), 1 if protocol == 2 else 7):
        assert "damaged or not a pickle" in refusal(tmp_path, whole[:length])


def test_a_gzipped_file_that_is_cut_short_or_damaged_is_refused(tmp_path):
    whole = gzip.compress(pickle.dumps(CONTENT, 2))
    for content in (whole[:5], whole[:-9], whole[:-8] + b"\0" * 8, whole[:20] + b"\xff" * 20 + whole[40:]):
        assert "cannot be read" in refusal(tmp_path, content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>404: Not Found</html>\n",
        b"version https://git-lfs.github.com/spec/v1\n",
        bz2.compress(b"x"),
        bytes(99),
    ],
    ids=["nothing", "a web page", "an LFS pointer", "bz2", "zeros"],
)
def test_what_is_no_pickle_is_refused(tmp_path, content):
    assert "damaged or not a pickle" in refusal(tmp_path, content)


def test_a_folder_in_place_of_the_file_is_refused(tmp_path):
    path = written(tmp_path, CONTENT)
    path.unlink()
    path.mkdir()
    with pytest.raises(BadInput, match=r"cannot be read \(.*directory"):
        read_cues(path, MEND)


@pytest.mark.parametrize("packed", [True, False])
def test_a_file_that_unpacks_to_more_than_the_limit_is_refused(tmp_path, monkeypatch, packed):
    content = pickle.dumps(CONTENT, 2) + bytes(100_000)
    monkeypatch.setattr(cues, "MAX_BYTES", len(content))
    content = gzip.compress(content) if packed else content
    assert_content(read(tmp_path, content))
    monkeypatch.setattr(cues, "MAX_BYTES", cues.MAX_BYTES - 1)
    assert "found more than" in refusal(tmp_path, content)


def test_endless_small_objects_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(cues, "MAX_STEPS", 1000)
    assert_content(read(tmp_path, CONTENT))
    assert "more than 1,000 instructions" in refusal(tmp_path, b"]" * 2000 + b".")


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.",
        b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b"x.",
        b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"x.",
        b"\x80\x02B" + struct.pack("<I", 2**32 - 1) + b"x.",
        b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"x.",
        b"\x80\x02T" + struct.pack("<i", -5) + b"x.",
        b"I" + b"9" * 100_000 + b"\n.",
    ],
    ids=["BINBYTES8", "BINUNICODE8", "BYTEARRAY8", "BINBYTES", "LONG4", "negative", "digits"],
)
def test_a_value_that_claims_more_bytes_than_there_are_is_refused(tmp_path, content):
    assert "damaged or not a pickle" in refusal(tmp_path, content)


def test_a_memo_number_beyond_all_memory_costs_nothing(tmp_path):
    content = pickle.dumps(CONTENT, 2)[2:-1]
    assert_content(read(tmp_path, b"\x80\x02" + content + b"r\xff\xff\xff\xff."))


@pytest.mark.parametrize("instructions", [b"h\x07.", b"tR.", b"R.", b"b.", b"a.", b"(u.", b".", b"]]\x93."])
def test_instructions_without_what_they_work_on_are_refused(tmp_path, instructions):
    refusal(tmp_path, b"\x80\x02" + instructions)


def test_a_nest_as_a_key_is_refused_before_it_is_hashed(tmp_path):
    deep = b")" + b"\x85" * 200_000  # hashing it would overflow the C stack
    wide = b")" + b"q\x01h\x01\x86" * 60  # hashing it would take 2**60 steps
    for nest in (deep, wide):
        assert "keys that are no text" in refusal(tmp_path, b"\x80\x02}" + nest + b"Ns.")


@pytest.mark.parametrize("nest", [b"]" + b"q\x01h\x01a" * 50, b")" + b"\x85" * 20_000, b")" + b"q\x01h\x01\x86" * 60])
def test_a_nest_or_a_list_within_itself_as_a_value_is_refused(tmp_path, nest):
    refusal(tmp_path, as_value(nest))
    refusal(tmp_path, as_value(b"(" + nest + b"K\x01t"))
    refusal(tmp_path, as_value(array2(LABELS, subtype=nest)))
    refusal(tmp_path, b"\x80\x04" + nest + nest + b"\x93.")  # as a name
    refusal(tmp_path, b"\x80\x02" + nest + b".")


# ---------------------------------------------------------------- pickles of plain data that are no cues


@pytest.mark.parametrize("content", [[1], "text", 7, LABELS, None, (1,)], ids=lambda value: type(value).__name__)
def test_anything_but_a_dict_is_refused(tmp_path, content):
    assert "expected a dict" in refusal(tmp_path, pickle.dumps(content, 2))


@pytest.mark.parametrize(
    "key", ["0_masks", "labels", "x_labels", "-1_labels", "0_labels ", "0_labels\n", "²_cues", b"\xff"]
)
def test_an_unknown_key_is_refused(tmp_path, key):
    assert "found the key" in refusal(tmp_path, {key: LABELS})


def test_a_number_that_is_not_in_the_list_is_refused(tmp_path):
    assert "found the key '2_labels'" in refusal(tmp_path, {**CONTENT, "2_labels": LABELS})


@pytest.mark.parametrize("again", [b"0_labels", "00_labels"])
def test_an_image_that_comes_twice_is_refused(tmp_path, again):
    assert "2008_000001 (" in refusal(tmp_path, pickle.dumps({**CONTENT, again: LABELS}, 3))


@pytest.mark.parametrize("label", [0, 21, -1, 255])
def test_a_label_that_is_no_object_class_is_refused(tmp_path, label):
    line = refusal(tmp_path, {"1_labels": np.array([label])})
    assert "2008_000002" in line and str(label) in line and "expected 1..20" in line


@pytest.mark.parametrize(
    ("cell", "found"),
    [((21, 0, 0), "class 21"), ((-1, 0, 0), "class -1"), ((1, 41, 0), "row 41"), ((1, 0, -1), "column -1")],
)
def test_a_cell_outside_the_grid_or_the_classes_is_refused(tmp_path, cell, found):
    line = refusal(tmp_path, {"0_cues": np.array([(1, 2, 3), cell]).T})
    assert "2008_000001" in line and f"found {found}, expected" in line


def test_a_cell_with_two_classes_is_refused_by_name(tmp_path):
    line = refusal(tmp_path, {"1_cues": np.array([[8, 1, 12], [3, 3, 3], [4, 5, 4]])})
    assert "2008_000002" in line and "found cat and dog in row 3, column 4" in line


def test_a_cell_that_is_named_twice_with_one_class_is_read(tmp_path):
    found = read(tmp_path, {"0_cues": np.array([[8, 8], [3, 3], [4, 4]])})
    assert (cue_map(found.cells["2008_000001"]) == 8).sum() == 1


@pytest.mark.parametrize(
    "value",
    [
        CELLS[:2],
        CELLS[0],
        np.zeros((3, 1, 1), int),
        tuple(CELLS[:2]),
        (CELLS[0], CELLS[1], CELLS[2, :3]),
        [1, 2, 3],
        {},
    ],
)
def test_cues_of_another_shape_are_refused(tmp_path, value):
    assert "2008_000001 (0_cues)" in refusal(tmp_path, {"0_cues": value})


@pytest.mark.parametrize("value", [CELLS, np.int64(3), 3, "8", [8, "8"], [8, True], [2**70], [8.0], None, [[8]]])
def test_labels_of_another_shape_or_kind_are_refused(tmp_path, value):
    assert "2008_000001 (0_labels)" in refusal(tmp_path, {"0_labels": value})


# ---------------------------------------------------------------- the list, and what the file leaves out


@pytest.mark.parametrize(
    "ids",
    [
        "a.jpg 0\nb.jpg 1\n",
        "b.jpg 1\na.jpg 0\n",
        "a\nb\n",
        "a.jpg\nb.png",
        "a.jpg 0\r\n\r\nb.jpg 1\r\n",
        "/JPEGImages/a.jpg 0\nJPEGImages/b.jpg\t1\n",
    ],
)
def test_the_list_gives_names_by_number_or_in_order(tmp_path, ids):
    found = read(tmp_path, {"0_labels": [1], "1_labels": [2]}, ids=ids)
    assert found.labels == {"a": (1,), "b": (2,)}


def test_the_images_come_in_the_order_of_the_list(tmp_path):
    found = read(tmp_path, {"1_labels": [2], "7_labels": [3], "0_labels": [1]}, ids="c 7\na 0\nb 1\nunnamed 3\n")
    assert list(found.labels) == list(found.cells) == ["c", "a", "b"]


def test_another_list_may_be_named(tmp_path):
    path = written(tmp_path, CONTENT)
    (tmp_path / "other.txt").write_text("other_name.jpg 0\n")
    assert list(read_cues(path, MEND, tmp_path / "other.txt").labels) == ["other_name"]


@pytest.mark.parametrize(
    ("ids", "found"),
    [
        ("a 0\na 1\n", "line 2 is 'a 1'"),
        ("a 0\nb 0\n", "line 2 is 'b 0'"),
        ("a 0\nb 1 2\n", "line 2 is 'b 1 2'"),
        ("a 0\n..\n", "line 2 is '..'"),
        ("a zero\n", "line 1 is 'a zero'"),
        ("a\n\x1b[31m\n", "line 2 is '\\x1b[31m'"),
        ("\n", "found nothing in it"),
    ],
)
def test_a_list_that_is_none_is_refused(tmp_path, ids, found):
    path = written(tmp_path, CONTENT, ids=ids)
    with pytest.raises(BadInput) as caught:
        read_cues(path, MEND)
    line = str(caught.value)
    assert line.startswith(str(tmp_path / "input_list.txt")) and found in line and line.endswith(MEND)
    assert "2008_007028.jpg 0" in line and line.isprintable()


@pytest.mark.parametrize("name", ["input_list.txt", "cues.pickle"])
def test_a_missing_file_is_said_to_be_missing_and_where_to_put_it(tmp_path, name):
    path = written(tmp_path, CONTENT)
    (tmp_path / name).unlink()
    with pytest.raises(MissingArtefact) as caught:
        read_cues(path, MEND)
    line = str(caught.value)
    assert line.startswith(f"{tmp_path / name} is missing; put the published {name} there") and line.endswith(MEND)


def test_labels_without_cues_and_cues_without_labels_are_counted_not_refused(tmp_path):
    content = {"0_labels": [8, 12], "0_cues": np.array([[0, 8, 15], [0, 1, 2], [0, 1, 2]]), "1_labels": [3, 2]}
    found = read(tmp_path, content)
    assert found.without_cues == [("2008_000001", 12), ("2008_000002", 2), ("2008_000002", 3)]
    assert found.without_labels == [("2008_000001", 15)]
    assert found.cells["2008_000002"].shape == (3, 0)
    alone = read(tmp_path, {"1_cues": CELLS})
    assert alone.labels == {"2008_000002": ()}
    assert alone.without_labels == [("2008_000002", 8), ("2008_000002", 18)]


# ---------------------------------------------------------------- maps


def test_a_cue_map_holds_the_cells_and_255_elsewhere():
    grid = cue_map(CELLS)
    assert grid.shape == (GRID, GRID) and grid.dtype == np.uint8
    assert [grid[0, 40], grid[1, 2], grid[40, 0], grid[7, 9]] == [0, 8, 18, 0]
    assert (grid == 255).sum() == GRID**2 - 4


def test_a_mapping_renames_classes_and_drops_others():
    mapping = np.full(256, 255, np.uint8)
    mapping[[0, 8]] = 0, 1
    grid = cue_map(CELLS, mapping)
    assert grid.dtype == np.uint8
    assert [grid[0, 40], grid[1, 2], grid[40, 0], grid[7, 9]] == [0, 1, 255, 0]


def test_no_cells_make_an_empty_map():
    assert (cue_map(np.empty((3, 0), np.int64)) == 255).all()


def test_at_321_pixels_the_centre_of_cell_i_is_pixel_8_i():
    numbers = np.arange(GRID, dtype=np.uint8)
    grid = np.where(np.arange(GRID) == 0, numbers[:, None], numbers)  # the first column counts rows, the others columns
    large = enlarge_cues(grid, 321, 321)
    assert large.shape == (321, 321) and large.dtype == np.uint8
    for cell in range(GRID):
        low, high = max(8 * cell - 3, 0), min(8 * cell + 3, 320)
        assert (large[low : high + 1, 0] == cell).all()
        if cell:
            assert (large[0, low : high + 1] == cell).all()


def test_enlarging_to_the_grid_itself_changes_nothing():
    grid = cue_map(CELLS)
    np.testing.assert_array_equal(enlarge_cues(grid, GRID, GRID), grid)


def test_enlarging_by_hand():
    # 6 pixels a side: pixel y belongs to cell y / 5 * 40, that is 0, 8, 16, 24, 32, 40; 3 a side: 0, 20, 40
    grid = np.arange(GRID, dtype=np.uint8)[:, None] + np.arange(GRID, dtype=np.uint8)[None] * 5
    expected = np.array([0, 8, 16, 24, 32, 40])[:, None] + np.array([0, 20, 40]) * 5
    np.testing.assert_array_equal(enlarge_cues(grid, 6, 3), expected)


@pytest.mark.parametrize(("height", "width"), [(321, 321), (375, 500), (81, 97), (1, 1), (2, 41)])
def test_a_mirrored_picture_has_mirrored_cues(height, width):
    grid = np.random.default_rng(3).integers(0, 21, (GRID, GRID), np.uint8)
    large = enlarge_cues(grid, height, width)
    if width > 1:
        np.testing.assert_array_equal(enlarge_cues(grid[:, ::-1], height, width), large[:, ::-1])
    assert large.shape == (height, width)
    assert large[0, 0] == grid[0, 0]


def test_restricting_keeps_the_named_classes_and_background():
    tags = np.zeros(20, bool)
    tags[8 - 1] = True
    grid = cue_map(CELLS)
    kept = restrict(grid, tags)
    assert kept.dtype == np.uint8
    assert [kept[0, 40], kept[1, 2], kept[40, 0], kept[7, 9]] == [0, 8, 255, 0]
    assert (kept == 255).sum() == (grid == 255).sum() + 1
    assert grid[40, 0] == 18  # the map that was given is left alone


# ---------------------------------------------------------------- quality


def test_the_quality_of_one_image_by_hand():
    mask = np.zeros((GRID, GRID), np.uint8)  # as large as the grid: a cell's centre is the pixel of its place
    mask[0, :10] = 1
    mask[1, :4] = 255
    grid = np.full((GRID, GRID), 255, np.uint8)
    grid[0, :4] = 1  # right
    grid[0, 4:6] = 2  # wrong, of class 1 in truth
    grid[1, :2] = 1  # void in truth: no matter for precision
    grid[2, :3] = 0  # right
    grid[2, 3] = 1  # wrong, background in truth
    quality = cue_quality([(grid, mask)], 3)
    assert quality["images"] == 1 and quality["images_without_cue"] == 0
    assert quality["precision"] == {"all": 70.0, "by_class": [100.0, 80.0, 0.0]}
    share = 100 / GRID**2
    assert quality["coverage"] == pytest.approx({"all": 12 * share, "foreground": 9 * share, "background": 3 * share})
    assert quality["class_coverage"] == [pytest.approx(100 * 3 / (GRID**2 - 14)), 40.0, None]
    assert json.loads(json.dumps(quality)) == quality


def test_the_truth_of_a_cell_is_the_pixel_at_its_centre():
    mask = np.full((321, 641), 255, np.uint8)
    mask[::8, ::16] = 1  # all centres, nothing but centres
    assert cue_quality([(np.ones((GRID, GRID), np.uint8), mask)], 2)["precision"]["all"] == 100
    assert cue_quality([(np.ones((GRID, GRID), np.uint8), mask)], 2)["class_coverage"] == [None, 100.0]


def test_images_without_a_cue_are_counted_and_sums_go_over_all_images():
    mask = np.ones((50, 60), np.uint8)
    bare, full = np.full((GRID, GRID), 255, np.uint8), np.ones((GRID, GRID), np.uint8)
    quality = cue_quality(iter([(bare, mask), (full, mask), (bare, mask), (np.zeros_like(full), mask)]), 2)
    assert quality["images"] == 4 and quality["images_without_cue"] == 50
    assert quality["precision"] == {"all": 50.0, "by_class": [0.0, 100.0]}
    assert quality["coverage"] == {"all": 50.0, "foreground": 25.0, "background": 25.0}
    assert quality["class_coverage"] == [None, 25.0]


def test_no_images_have_no_quality():
    quality = cue_quality([], 2)
    assert quality["images"] == 0 and quality["images_without_cue"] is None
    assert quality["precision"] == {"all": None, "by_class": [None, None]}


# ---------------------------------------------------------------- the published file


def test_the_published_cues_are_read_as_they_are_known():
    if not REAL.is_file():
        pytest.skip("the published cues are not at hand")
    found = read_cues(REAL, MEND)
    assert len(found.labels) == len(found.cells) == 10_582
    counts = np.bincount([label for labels in found.labels.values() for label in labels], minlength=21)
    assert counts[1:].tolist() == [
        586, 485, 698, 460, 651, 385, 1079, 1000, 1063, 262, 520, 1176, 444, 481, 3876, 485, 299, 474, 499, 548,
    ]  # fmt: skip
    assert found.without_cues == found.without_labels == []
    maps = np.stack([cue_map(cells) for cells in found.cells.values()])
    assert (maps != 255).sum() == sum(cells.shape[1] for cells in found.cells.values())  # no cell is named twice
    assert round(100 * (maps != 255).mean(), 1) == 24.0
    assert round(100 * (maps == 0).mean(), 1) == 9.8
