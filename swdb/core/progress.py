"""How far the work is: what anything that takes time is handed, so that somebody can watch.

advance = progress("decode the training images", total)
advance(done, total)
"""

from collections.abc import Callable

Advance = Callable[[int, int], None]  # is told (done, of); of 0: nobody knows
Progress = Callable[..., Advance]  # begins a stage of long work: (name, total, counts=False)


def silent(name: str = "", total: int = 0, counts: bool = False) -> Advance:
    """Begin a stage that nobody watches."""
    return lambda done, of: None
