"""Map over all cores that may be used, in order, with a bounded queue: memory stays flat however long the list is."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from swdb.core.processor import usable_cores

AHEAD = 4  # results for each core that may wait for their turn


def in_order(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """Yield `function(item)` in the order of the items, computed in threads (decoding leaves Python's lock).

    At most `AHEAD` items a core are in flight; whoever stops reading, or an error, stops the rest.
    """
    workers = usable_cores()
    waiting: deque[Future] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= AHEAD * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
