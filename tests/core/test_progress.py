"""What long work is handed where nobody watches it."""

from swdb.core.progress import Advance, Progress, silent


def test_a_silent_stage_begins_as_any_other_and_takes_every_step():
    progress: Progress = silent
    for advance in (progress("train dual-s0", 600, counts=True), progress("audit", 0), silent()):
        told: Advance = advance
        assert [told(done, of) for done, of in ((0, 600), (600, 600), (5, 0))] == [None] * 3
