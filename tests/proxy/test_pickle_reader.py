"""All forms of honest pickles are read; dishonest ones are refused in one line, and nothing in them is executed."""

import bz2
import copyreg
import gzip
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from pickled import CONTENT, LABELS, POINTS, assert_content, read, refusal, written

from swdb.core.errors import BadInput
from swdb.proxy import pickle_reader, sec_cues
from swdb.proxy.pickle_reader import Refused, read_pickle
from swdb.proxy.sec_cues import read_cues

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
    content = dict2({"0_labels": array2(LABELS, names), "0_cues": array2(POINTS, names)})
    assert_content(read(tmp_path, content))
    with_numpy = pickle.loads(
        content.replace(b"numpy.core", b"numpy._core"), encoding="latin1"
    )  # what we wrote is right
    np.testing.assert_array_equal(with_numpy["0_cues"], POINTS)


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
    content = {"0_labels": LABELS, "0_cues": np.asarray(POINTS, order=order)}
    assert_content(read(tmp_path, pickle.dumps(content, protocol)))


@pytest.mark.parametrize("dtype", ["<i8", ">i8", "<i4", ">u2", "u1", "i1", "<u8"])
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_integers_of_any_size_and_byte_order_are_read(tmp_path, dtype, protocol):
    content = {"0_labels": LABELS.astype(dtype), "0_cues": POINTS.astype(dtype)}
    assert_content(read(tmp_path, pickle.dumps(content, protocol)))


@pytest.mark.parametrize("form", [tuple, list], ids=["tuple", "list"])
def test_cues_may_be_three_arrays(tmp_path, form):
    assert_content(read(tmp_path, {"0_labels": LABELS, "0_cues": form(POINTS)}))


def test_labels_may_be_numbers_and_numpy_numbers_in_any_order_and_more_than_once(tmp_path):
    assert_content(read(tmp_path, {"0_labels": [18, np.int64(8), np.uint8(18)], "0_cues": POINTS}))


@pytest.mark.parametrize("protocol", [0, 2, 3])
def test_keys_may_be_bytes(tmp_path, protocol):
    assert_content(read(tmp_path, pickle.dumps({key.encode(): value for key, value in CONTENT.items()}, protocol)))


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_an_image_may_have_no_labels_and_no_points(tmp_path, protocol):
    content = {"0_labels": np.empty(0, np.int64), "0_cues": np.empty((3, 0), np.int64)}
    found = read(tmp_path, pickle.dumps(content, protocol))
    assert found.labels == {"2008_000001": ()}
    assert found.points["2008_000001"].shape == (3, 0)


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
    assert name in refusal(tmp_path, content).found
    assert not marker.exists()
    pickle.loads(content)
    assert marker.exists()  # the attack is real


def test_an_attack_in_protocol_4_is_refused(tmp_path):
    marker = tmp_path / "marker"
    content = b"\x80\x04\x8c\x02os\x8c\x06system\x93" + pickle.dumps((f"touch {marker}",), 2)[2:-1] + b"R."
    assert "'os.system'" in refusal(tmp_path, content).found
    assert not marker.exists()
    pickle.loads(content)
    assert marker.exists()


def test_an_attack_behind_honest_entries_and_the_memo_is_refused(tmp_path):
    marker = tmp_path / "marker"
    attack = b"cos\nsystem\nq\x010h\x01" + pickle.dumps((f"touch {marker}",), 2)[2:-1] + b"R"
    assert "'os.system'" in refusal(tmp_path, dict2({"0_cues": array2(POINTS), "0_labels": attack})).found
    assert not marker.exists()


def test_an_extension_code_is_refused(tmp_path):
    marker = tmp_path / "marker"
    copyreg.add_extension("os", "mkdir", 77)
    try:
        content = as_value(b"\x82M" + pickle.dumps((str(marker),), 2)[2:-1] + b"R")
        assert "EXT1" in refusal(tmp_path, content).found
        assert not marker.exists()
        pickle.loads(content)
        assert marker.exists()
    finally:
        copyreg.remove_extension("os", "mkdir", 77)


@pytest.mark.parametrize("code", [b"\x83M\x00", b"\x84M\x00\x00\x00"], ids=["EXT2", "EXT4"])
def test_a_longer_extension_code_is_refused(tmp_path, code):
    assert "EXT" in refusal(tmp_path, as_value(code)).found


@pytest.mark.parametrize("code", [b"Pmarker\n", b"U\x06markerQ"], ids=["PERSID", "BINPERSID"])
def test_a_persistent_id_is_refused(tmp_path, code):
    assert "PERSID" in refusal(tmp_path, as_value(code)).found


# ---------------------------------------------------------------- dishonest pickles of allowed words


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_an_array_of_objects_is_refused(tmp_path, protocol):
    assert "'O8'" in refusal(tmp_path, pickle.dumps({"0_labels": np.array([8, None])}, protocol)).found


@pytest.mark.parametrize("array", [LABELS / 1, LABELS * 1j, LABELS > 9, np.array(["8"]), LABELS.astype("M8[s]")])
def test_an_array_of_other_things_than_integers_is_refused(tmp_path, array):
    assert f"{array.dtype.str[1:3]}" in refusal(tmp_path, pickle.dumps({"0_labels": array}, 2)).found


def test_an_array_with_fields_is_refused(tmp_path):
    array = np.zeros(2, [("a", "<i4"), ("b", "<i4")])
    refusal(tmp_path, pickle.dumps({"0_labels": array}, 2))
    fields = as_value(array2(LABELS).replace(b"NNNJ", b"N(U\x01at}J"))
    assert "a state for a value of type Type" in refusal(tmp_path, fields).found


@pytest.mark.parametrize("subtype", [b"cnumpy\ndtype\n", b"N", b"U\x07ndarray"], ids=["dtype", "None", "text"])
def test_an_array_of_another_kind_than_ndarray_is_refused(tmp_path, subtype):
    assert "_reconstruct" in refusal(tmp_path, as_value(array2(LABELS, subtype=subtype))).found


@pytest.mark.parametrize(
    "shape",
    [(10**12,), (3, 10**12), (2**31, 2**31), (-1,), (10**4000,), (0, 10**12), (0,) * 40, (3, 5000), (None,), ((2,),)],
    ids=str,
)
def test_a_claim_of_odd_or_endless_size_is_refused(tmp_path, shape):
    assert "claims the size" in refusal(tmp_path, as_value(array2(LABELS, shape=shape))).found
    frombuffer = b"cnumpy._core.numeric\n_frombuffer\n(" + string2(b"") + array_type() + pickle.dumps(shape, 2)[2:-1]
    assert "claims the size" in refusal(tmp_path, as_value(frombuffer + b"U\x01CtR")).found


def array_type():
    """Write the instructions of the type int64."""
    instructions = array2(LABELS)
    return instructions[instructions.index(b"cnumpy\ndtype") : instructions.index(b"\x89U")]


@pytest.mark.parametrize("shape", [(1,), (3,), (2, 2), ()], ids=str)
def test_bytes_that_do_not_fit_the_shape_are_refused(tmp_path, shape):
    assert "16 bytes for int64" in refusal(tmp_path, as_value(array2(LABELS, shape=shape))).found


def test_letters_in_place_of_bytes_are_refused(tmp_path):
    text = array2(np.array([8], "u1")).replace(b"\x89U\x01\x08", b"\x89X\x03\x00\x00\x00" + "€".encode())
    error = refusal(tmp_path, as_value(text))
    assert "the classes 63..63" in error.found and error.expected == "1..20"


@pytest.mark.parametrize("data", [b"N", b"]", b"K\x10", b"cnumpy\ndtype\n"], ids=["None", "list", "number", "name"])
def test_other_things_in_place_of_bytes_are_refused(tmp_path, data):
    instructions = array2(LABELS).replace(b"\x89" + string2(LABELS.tobytes()), b"\x89" + data)
    assert "a value of type" in refusal(tmp_path, as_value(instructions)).found


def test_an_array_that_was_never_filled_is_refused(tmp_path):
    instructions = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    assert "claims the size" in refusal(tmp_path, as_value(instructions)).found


@pytest.mark.parametrize(
    "target",
    [b"}", b"]", b")", b"U\x01a", b"K\x01", b"N", b"cnumpy\nndarray\n", b"cnumpy.core.multiarray\n_reconstruct\n"],
    ids=["dict", "list", "tuple", "text", "number", "None", "ndarray", "_reconstruct"],
)
def test_a_state_for_anything_but_an_array_or_its_type_is_refused(tmp_path, target):
    assert "a state for" in refusal(tmp_path, as_value(target + b"}U\x01aK\x01sb")).found


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
    assert "a call of" in refusal(tmp_path, as_value(called)).found


@pytest.mark.parametrize(
    "instruction",
    [b"\x8f", b"(\x91", b"\x94\x90", b")\x81", b"}\x92", b"0", b"1", b"2", b"\x97", b"\x98"],
    ids=["set", "frozenset", "ADDITEMS", "NEWOBJ", "NEWOBJ_EX", "POP", "POP_MARK", "DUP", "buffer", "read-only"],
)
def test_an_instruction_that_plain_data_does_not_need_is_refused(tmp_path, instruction):
    assert "asks for the instruction" in refusal(tmp_path, as_value(b"N" + instruction)).found


# ---------------------------------------------------------------- damage, and claims that cost memory or time


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_pickle_cut_short_anywhere_is_refused(tmp_path, protocol):
    whole = pickle.dumps(CONTENT, protocol)
    for length in range(0, len(whole), 1 if protocol == 2 else 7):
        assert "damaged or not a pickle" in refusal(tmp_path, whole[:length]).found


@pytest.mark.parametrize("behind", [b"\0", pickle.dumps({"1_labels": []}, 2)])
def test_bytes_behind_the_end_of_a_pickle_are_refused(tmp_path, behind):
    found = refusal(tmp_path, pickle.dumps(CONTENT, 2) + behind).found
    assert found == f"{len(behind)} bytes behind the end of the pickle"


def test_a_gzipped_file_that_is_cut_short_or_damaged_is_refused(tmp_path):
    whole = gzip.compress(pickle.dumps(CONTENT, 2))
    for content in (whole[:5], whole[:-9], whole[:-8] + b"\0" * 8, whole[:20] + b"\xff" * 20 + whole[40:]):
        assert "cannot be read" in refusal(tmp_path, content).found


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
def test_what_is_not_a_pickle_is_refused(tmp_path, content):
    assert "damaged or not a pickle" in refusal(tmp_path, content).found


def test_a_folder_in_place_of_the_file_is_refused(tmp_path):
    path = written(tmp_path, CONTENT)
    path.unlink()
    path.mkdir()
    with pytest.raises(BadInput) as caught:
        read_cues(path)
    assert caught.value.subject == path and "directory" in caught.value.found


@pytest.mark.parametrize("packed", [True, False])
def test_a_file_that_unpacks_to_more_than_the_limit_is_refused(tmp_path, monkeypatch, packed):
    content = pickle.dumps(CONTENT, 2)
    monkeypatch.setattr(sec_cues, "MAX_BYTES", len(content))
    content = gzip.compress(content) if packed else content
    assert_content(read(tmp_path, content))
    monkeypatch.setattr(sec_cues, "MAX_BYTES", sec_cues.MAX_BYTES - 1)
    assert "more than" in refusal(tmp_path, content).found


def test_endless_small_objects_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(pickle_reader, "MAX_STEPS", 1000)
    assert_content(read(tmp_path, CONTENT))
    assert "more than 1,000 instructions" in refusal(tmp_path, b"]" * 2000 + b".").found


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
    assert "damaged or not a pickle" in refusal(tmp_path, content).found


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
        assert "keys that are not text" in refusal(tmp_path, b"\x80\x02}" + nest + b"Ns.").found


@pytest.mark.parametrize("nest", [b"]" + b"q\x01h\x01a" * 50, b")" + b"\x85" * 20_000, b")" + b"q\x01h\x01\x86" * 60])
def test_a_nest_or_a_list_within_itself_as_a_value_is_refused(tmp_path, nest):
    refusal(tmp_path, as_value(nest))
    refusal(tmp_path, as_value(b"(" + nest + b"K\x01t"))
    refusal(tmp_path, as_value(array2(LABELS, subtype=nest)))
    refusal(tmp_path, b"\x80\x04" + nest + nest + b"\x93.")  # as a name
    refusal(tmp_path, b"\x80\x02" + nest + b".")


def test_a_key_that_a_dict_gives_twice_is_refused():
    once, twice = b"\x80\x02}(U\x01aK\x01u.", b"\x80\x02}(U\x01aK\x01U\x01aK\x02u."
    later = b"\x80\x02}(U\x01aK\x01u(U\x01aK\x02u."
    assert read_pickle(once) == {"a": 1}
    for content in (twice, later):
        with pytest.raises(Refused) as caught:
            read_pickle(content)
        assert "twice" in caught.value.found
