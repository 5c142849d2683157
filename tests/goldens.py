"""Golden files: texts that a person has read once and that must not change unnoticed."""

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "golden"


def assert_golden(name: str, text: str) -> None:
    """Compare with a golden file, line by line; with SWDB_WRITE_GOLDEN set, write it instead (then read the diff)."""
    path = FOLDER / name
    if os.environ.get("SWDB_WRITE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text.splitlines() == path.read_text(encoding="utf-8").splitlines(), (
        f"{name}: SWDB_WRITE_GOLDEN=1 rewrites it"
    )
