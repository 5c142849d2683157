"""Work on one artefact that several processes share: parts, each done by one of them.

Whoever holds the artefact's lease goes through its parts, and so does whoever is idle; each part is done under a small
lease of its own, so nobody hands out work, and the parts of a process that died are done by the others.

in: parts, how to see that one is done -> out: the parts that this process should do, one after the other
"""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from swdb.core.lease import POLL, Lease

Part = TypeVar("Part")


def take_parts(
    folder: Path, parts: Sequence[Part], is_done: Callable[[Part], bool], doing: str, to_the_end: bool
) -> Iterator[Part]:
    """Yield the parts that are to be done here, each while its lease is held; a part counts once `is_done` says so.

    folder: where the leases lie; nothing else is in it. to_the_end: whether to wait for the parts that others are at, and
    to take those over that they leave undone: for whoever holds the artefact's lease, who calls `forget_parts` at the end.
    """
    left = dict(enumerate(parts))
    leases: dict[int, Lease] = {}
    while left:
        before = len(left)
        for number, part in list(left.items()):
            if is_done(part):
                del left[number]
                continue
            lease = leases.setdefault(number, Lease(folder / f"{number:06d}", doing))
            if not lease.try_take():
                continue
            try:
                if not is_done(part):
                    yield part
            finally:
                lease.release()
            del left[number], leases[number]
        if not to_the_end:
            return
        if len(left) == before:
            time.sleep(POLL)


def forget_parts(folder: Path) -> None:
    """Delete the leases of an artefact's parts, once all are done."""
    shutil.rmtree(folder, ignore_errors=True)
