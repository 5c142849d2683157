"""A machine that follows the instructions of a pickle as far as they describe plain data, and no further.

A pickle is a program, and cues come from strangers, so Python's own machine never runs it: `pickletools` takes
it apart, and a small machine of ours follows the instructions that plain data and numpy arrays need. A name such as
`numpy.dtype` is just a word to it: nothing is imported, nothing called, and an array stays a description until its
image is looked at, so that it costs nothing whatever size it claims.

in: the bytes of a pickle -> out: dicts, lists, tuples, text, numbers, and descriptions of numpy arrays
"""

import math
import pickletools
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

MAX_STEPS = 2**22  # instructions, each of which may make a small object; SEC's file has 390,000
MAX_NUMBERS = 3 * 41**2  # of one array: class, row and column of every point of the cues' grid

# Instructions: those that push their own argument, those that push a constant, how many items others take from the
# top of the stack, and which take all since the last mark. And the names that the description of an array needs.
VALUES = frozenset(
    ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
     "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
     "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8")
)  # fmt: skip
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
TAKE = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "APPEND": 1, "SETITEM": 2, "BUILD": 1, "STACK_GLOBAL": 2, "REDUCE": 2}
TAKE_MARKED = ("TUPLE", "LIST", "DICT", "APPENDS", "SETITEMS", "INST")
NAMES = frozenset(
    ("numpy.ndarray", "numpy.dtype", "numpy.core.multiarray._reconstruct", "numpy.core.multiarray.scalar",
     "numpy.core.numeric._frombuffer", "_codecs.encode", "__builtin__.bytes", "builtins.bytes")
)  # fmt: skip
ALLOWED = "nothing but dicts, lists, tuples, text, numbers and numpy arrays of integers"


class Refused(Exception):
    """What a file must not hold: what was found, and what was expected."""

    def __init__(self, found: str, expected: str):
        super().__init__(found, expected)
        self.found, self.expected = found, expected


@dataclass(frozen=True, slots=True)
class _Name:  # a global name, no more than that
    name: str


@dataclass(slots=True)
class _Type:  # a numpy dtype, described
    code: str
    order: str = "|"


@dataclass(slots=True)
class _Array:  # a numpy array or scalar, described
    shape: tuple = ()
    type: _Type | None = None
    order: str = "C"
    data: str | bytes | bytearray = b""


def kind_of(value: Any) -> str:
    """Name the type of a value for people."""
    return f"a value of type {type(value).__name__.strip('_')}"


def _line(value: Any) -> str:
    """Show something in one line of bearable length; of a shape its first sizes, which may be anything."""
    if type(value) is tuple:
        return f"({', '.join(str(n) if type(n) is int and abs(n) < 10**20 else '?' for n in value[:3])})"
    return " ".join(str(value).split())[:100] or type(value).__name__


def read_pickle(content: bytes) -> Any:
    """Return what a pickle describes, arrays as descriptions; refuses what is cut short, not a pickle, or ill composed."""
    try:
        return _follow(content)
    except (ValueError, TypeError, LookupError, MemoryError, Warning) as error:
        raise Refused(f"damaged or not a pickle ({_line(error)})", ALLOWED) from None


def _follow(content: bytes) -> Any:
    """Follow the instructions of a pickle one by one, as far as they describe plain data."""
    stack: list[Any] = []
    marks: list[int] = []  # where on the stack the items of something unfinished begin
    memo: dict[int, Any] = {}
    for step, (instruction, argument, position) in enumerate(pickletools.genops(content)):
        if step == MAX_STEPS:
            raise Refused(f"more than {MAX_STEPS:,} instructions", "about 40 for every image")
        name = instruction.name
        start = marks.pop() if name in TAKE_MARKED else len(stack) - TAKE.get(name, 0)
        taken = stack[start:]
        del stack[start:]
        match name:
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "PUT" | "BINPUT" | "LONG_BINPUT" | "MEMOIZE":
                memo[len(memo) if argument is None else argument] = stack[-1]
            case "MARK":
                marks.append(start)
            case "EMPTY_TUPLE" | "TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(taken))
            case "EMPTY_LIST" | "LIST":
                stack.append(taken)
            case "EMPTY_DICT" | "DICT":
                stack.append(_filled({}, taken))
            case "APPEND" | "APPENDS" | "SETITEM" | "SETITEMS":
                _filled(stack[-1], taken)
            case "BUILD":
                _complete(stack[-1], *taken)
            case "GLOBAL" | "STACK_GLOBAL":
                stack.append(_known_name(*(argument.split(" ", 1) if argument else taken)))
            case "INST":
                stack.append(_described(_known_name(*argument.split(" ", 1)), tuple(taken)))
            case "REDUCE":
                stack.append(_described(*taken))
            case "PROTO" | "FRAME":
                pass
            case "STOP" if position + 1 < len(content):  # Python's own machine would not look behind it
                found = f"{len(content) - position - 1} bytes behind the end of the pickle"
                raise Refused(found, "one pickle and nothing else")
            case "STOP":
                pass
            case _ if name in VALUES:
                stack.append(argument)
            case _ if name in CONSTANTS:
                stack.append(CONSTANTS[name])
            case _:
                raise Refused(f"the pickle asks for the instruction {name} ({argument!r:.80})", ALLOWED)
    return stack[-1]


def _known_name(module: str, name: str) -> _Name:
    asked = ".".join((module, name))  # raises for what is not text
    known = asked.replace("numpy._core.", "numpy.core.", 1)  # numpy 2 moved its inner parts
    if known not in NAMES:
        raise Refused(f"the pickle asks for {asked!r:.80}, which has no place in data", ALLOWED)
    return _Name(known)


def _described(called: Any, arguments: Any) -> Any:
    """Describe what a call would make, if it is one of the calls that numpy writes into pickles."""
    name = called.name if isinstance(called, _Name) else kind_of(called)
    match name, arguments:
        case "numpy.core.multiarray._reconstruct", (_Name("numpy.ndarray"), (0,), "b" | b"b"):
            return _Array()  # BUILD brings the rest
        case "numpy.core.multiarray.scalar", (_Type() as kind, data):
            return _Array((), kind, "C", data)
        case "numpy.core.numeric._frombuffer", (data, _Type() as kind, tuple() as shape, "C" | "F" as order):
            return _Array(shape, kind, order, data)
        case "numpy.dtype", (str() as code, _, _):
            if not re.fullmatch("[iu][1248]", code):
                raise Refused(f"an array of type {code!r:.20}", ALLOWED)
            return _Type(code)
        case "_codecs.encode", (str() as text, "latin1"):
            return text  # bytes in old protocols; text serves as well, and is not copied for every mention
        case "__builtin__.bytes" | "builtins.bytes", ():
            return b""
    raise Refused(f"a call of {name} that makes no plain array", ALLOWED)


def _filled(target: Any, items: list[Any]) -> Any:
    """Give a list its items, or a dict its keys and values in turn; keys are text, as hashing a nest can take forever."""
    if type(target) is list:
        target.extend(items)
    elif type(target) is dict and all(type(key) in (str, bytes) for key in items[::2]):
        new = dict(zip(items[::2], items[1::2], strict=True))
        if len(new) < len(items) // 2 or not target.keys().isdisjoint(new):
            raise Refused("a dict with a key twice", "every key once: which of the two is meant?")
        target.update(new)
    else:
        raise Refused(f"items for {kind_of(target)}, or keys that are not text", ALLOWED)
    return target


def _complete(target: Any, state: Any) -> None:
    """Give a described array or type the rest of its description."""
    match target, state:
        case _Array(), (_, tuple() as shape, _Type() as kind, fortran, data):
            target.shape, target.type, target.order, target.data = shape, kind, "F" if fortran else "C", data
        case _Type(), (_, "<" | ">" | "|" | "=" as order, None, None, None, *_):
            target.order = order
        case _:
            raise Refused(f"a state for {kind_of(target)} that is not a plain array's", ALLOWED)


# ---------------------------------------------------------------- arrays, made from their descriptions


def integers(value: Any, where: str) -> np.ndarray:
    """Make int64 numbers of an array, or of a tuple or list of integers or of arrays of equal length."""
    if isinstance(value, _Array):
        return _made(value, where)
    if type(value) not in (tuple, list) or len(value) > MAX_NUMBERS:
        raise Refused(f"{where}: {kind_of(value)}", f"an array of at most {MAX_NUMBERS} integers")
    parts = [_made(part, where) if isinstance(part, _Array) else part for part in value]
    odd = [part for part in parts if type(part) is not np.ndarray and not (type(part) is int and abs(part) < 2**63)]
    if odd or len({np.shape(part) for part in parts}) > 1:
        what = kind_of(odd[0]) if odd else "arrays of unequal lengths"
        raise Refused(f"{where}: {kind_of(value)} with {what} in it", "integers or three equal arrays")
    return np.array(parts, np.int64)


def _made(array: "_Array", where: str) -> np.ndarray:
    """Make a described array, int64; its claims are checked before anything is made."""
    shape, data = array.shape, array.data
    sizes_fit = len(shape) <= 2 and all(type(size) is int and 0 <= size <= MAX_NUMBERS for size in shape)
    if array.type is None or not sizes_fit or math.prod(shape) > MAX_NUMBERS:
        raise Refused(f"{where}: an array that claims the size {_line(shape)}", f"at most {MAX_NUMBERS}")
    dtype = np.dtype(array.type.order + array.type.code)
    if type(data) not in (str, bytes, bytearray) or len(data) != math.prod(shape) * dtype.itemsize:
        found = f"{len(data)} bytes" if type(data) in (str, bytes, bytearray) else kind_of(data)
        raise Refused(f"{where}: {found} for {dtype} numbers of shape {_line(shape)}", "as many as fit")
    if (
        type(data) is str
    ):  # how Python 3 sees Python 2's bytes; a letter that is not a byte becomes a number out of range
        data = data.encode("latin-1", errors="replace")
    return np.frombuffer(data, dtype).reshape(shape, order=array.order).astype(np.int64, order="C")
