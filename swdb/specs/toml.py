"""Strict reading of TOML into dataclasses: an unknown key, a wrong type, a missing key or a value out of range is an
error that names its place.
"""

import math
import tomllib
import types
import typing
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any

from swdb.core.errors import BadInput, nearest, reason, unknown
from swdb.core.files import decode_text

Pairs = tuple[tuple[str, Any], ...]  # a table of plain values, sorted by key: as a value that can be hashed


def read_dataclass(kind: type, mapping: Any, where: str) -> Any:
    """Build a dataclass from TOML values; raises BadInput that names `where`, the key and the nearest known key."""
    if not isinstance(mapping, dict):
        raise BadInput(where, f"found {_shown(mapping)}", "a table of keys")
    known = {f.name: f for f in fields(kind)}
    mapping = _as_named_now(known, mapping, where)
    for key in mapping:
        if key not in known:
            raise unknown(f"{where}, key", key, known)
    hints = typing.get_type_hints(kind)
    values = {}
    for name, declared in known.items():
        if name in mapping:
            values[name] = read_value(hints[name], declared, mapping[name], f"{where}, key {name!r}")
        elif declared.default is MISSING and declared.default_factory is MISSING:
            expected = f"a table [{name}], as swdb's own presets have" if is_dataclass(hints[name]) else ""
            raise BadInput(f"{where}, key {name!r}", "missing", expected)
    return kind(**values)


def read_value(hint: Any, declared: Field, value: Any, where: str) -> Any:
    """Return one TOML value in its field's type; raises BadInput for another type, and for what is out of range."""
    return _in_range(declared, _convert(hint, value, where), where)


def _as_named_now(known: dict[str, Field], mapping: dict[str, Any], where: str) -> dict[str, Any]:
    """Return TOML values by the names that settings have now; older presets may call them otherwise."""
    now = {old: name for name, declared in known.items() if (old := declared.metadata.get("formerly"))}
    for old in now.keys() & mapping.keys():
        if now[old] in mapping:
            raise BadInput(
                f"{where}, key {old!r}", f"the former name of {now[old]!r}, which is there, too", "only one of the two"
            )
    return {now.get(key, key): value for key, value in mapping.items()}


def _in_range(declared: Field, value: Any, where: str) -> Any:
    """Refuse a value outside the range that was declared with its setting."""
    check = declared.metadata.get("check")
    if check is not None and not check.admits(value):
        near = nearest(value, check.words) if isinstance(value, str) else ""
        raise BadInput(where, f"found {_shown(value)}", check.expected_of(value), near)
    return value


def _shown(value: Any) -> str:
    try:
        return repr(list(value) if isinstance(value, tuple) else value)[:200]
    except ValueError:  # Python does not write out a number of thousands of digits
        return "a number of thousands of digits"


def _convert(hint: Any, value: Any, where: str) -> Any:
    """Check one TOML value against a type hint and return it in that type."""
    if is_dataclass(hint):
        return read_dataclass(hint, value, where)
    if hint == Pairs:
        return _pairs(value, where)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return _convert(arguments[0], value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(_convert(arguments[0], item, _item_name(item, where)) for item in value)
    if origin is dict and isinstance(value, dict):
        return {key: _convert(arguments[1], item, f"{where}, {key!r}") for key, item in value.items()}
    if hint is float and type(value) is int:
        return float(value) if abs(value) < 10**300 else math.inf if value > 0 else -math.inf
    if type(value) is not hint:
        expected = {tuple: "a list", dict: "a table"}.get(origin) or getattr(hint, "__name__", str(hint))
        raise BadInput(where, f"found {_shown(value)}", expected)
    return value


def _pairs(value: Any, where: str) -> Pairs:
    """Return a table of plain values, sorted by key; lists become tuples."""
    if not isinstance(value, dict):
        raise BadInput(where, f"found {_shown(value)}", "a table of keys")
    found = {key: tuple(one) if isinstance(one, list) else one for key, one in value.items()}
    for key, one in found.items():
        if not all(isinstance(part, str | int | float) for part in (one if isinstance(one, tuple) else (one,))):
            raise BadInput(
                f"{where}, key {key!r}", f"found {_shown(one)}", "text, a number, true, false, or a list of them"
            )
    return tuple(sorted(found.items()))


def _item_name(item: Any, where: str) -> str:
    """Name an entry of a list by its key or text, so that an error points to it: `table1.toml, row 'mixed'`."""
    name = item.get("key") or item.get("text") if isinstance(item, dict) else None
    kind = {"rows": "row", "columns": "column", "claims": "claim"}.get(
        where.rpartition(", key ")[2].strip("'"), "entry"
    )
    return f"{where.rpartition(', key ')[0]}, {kind} {name!r}" if name else where


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file, UTF-8 with or without a byte order mark; raises BadInput that names it."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadInput(path.name, f"cannot be read ({reason(error)})") from None
    try:
        return tomllib.loads(decode_text(content))
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        found = f"not valid TOML (byte 0x{error.object[error.start]:02x} in line {line} is no UTF-8)"
        raise BadInput(path.name, found, "text in UTF-8") from None
    except (ValueError, RecursionError) as error:  # ValueError: a number of thousands of digits, too
        raise BadInput(path.name, f"not valid TOML ({reason(error)})") from None
