"""What a diagnosis of many images has counted so far, kept part by part while it lasts: a kill costs one part.

in: images in parts, and what counts one part -> out: the arrays of every part; none is left behind
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from swdb.core.artefact import Artefact
from swdb.core.files import BROKEN_NPZ, digest, remove_folder, write_atomic
from swdb.core.progress import Advance
from swdb.core.shares import Terms, open_folder

Counted = tuple[np.ndarray, ...]
Part = list[list[int]]  # batches of rows


def counted_parts(
    artefact: Artefact, terms: Terms, parts: Sequence[Part], count: Callable[[Part], Counted], advance: Advance
) -> Iterator[Counted]:
    """Yield what `count` returns for every part, or what was kept of it by a start on the same terms that was killed."""
    folder = artefact.folder / f".{artefact.id}-{digest(terms())[:8]}.parts"
    open_folder(folder)
    total, done = sum(len(batch) for part in parts for batch in part), 0
    for number, part in enumerate(parts):
        yield _kept(folder / f"{number:06d}.npz", lambda part=part: count(part))
        done += sum(map(len, part))
        advance(done, total)
    for old in artefact.folder.glob(f".{artefact.id}-*.parts"):
        remove_folder(old)


def _kept(path: Path, make: Callable[[], Counted]) -> Counted:
    """Read a part that is there, else make and keep it."""
    with (
        suppress(*BROKEN_NPZ),
        path.open("rb") as stream,
        np.load(stream) as saved,
    ):
        return tuple(saved[f"arr_{place}"] for place in range(int(saved["arrays"])))
    found = make()
    write_atomic(path, lambda stream: np.savez_compressed(stream, *found, arrays=len(found)))
    return found
