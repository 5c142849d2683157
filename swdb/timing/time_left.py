"""How long what is left of a command takes, asked again and again while it works.

in: planned artefacts, how far those under way are -> out: seconds, or None where nobody knows yet
"""

import time
from collections.abc import Mapping, Sequence

from swdb.core.artefact import Artefact
from swdb.core.errors import SwdbError
from swdb.specs.study import Study
from swdb.timing.forecast import remaining_seconds
from swdb.timing.rates import Rates, read_rates

READ_EVERY = 60.0  # seconds: what is finished meanwhile says how fast the rest is
COUNT_EVERY = 2.0  # seconds between two counts


class TimeLeft:
    """The time left of one command; the same answer for a moment, as it is asked whenever the display is drawn."""

    def __init__(self, study: Study, artefacts: Sequence[Artefact], device: str, jobs: int):
        self.study, self.artefacts, self.device, self.jobs = study, artefacts, device, jobs
        self._rates: Rates | None = None
        self._read_at = self._counted_at = -float("inf")
        self._found: float | None = None

    def __call__(self, shares: Mapping[str, float]) -> float | None:
        """Return the seconds that are left; `shares`: how much is done of what is under way, by name."""
        now = time.monotonic()
        if now - self._counted_at >= COUNT_EVERY:
            self._counted_at = now
            try:
                self._found = self._count(now, shares)
            except (SwdbError, OSError):
                self._found = None
        return self._found

    def _count(self, now: float, shares: Mapping[str, float]) -> float | None:
        if self._rates is None or now - self._read_at >= READ_EVERY:
            self._rates, self._read_at = read_rates(self.study, self.device), now
        left = [one for one in self.artefacts if not one.done]
        return remaining_seconds(left, self._rates, self.jobs, {one.id: shares.get(one.name, 0.0) for one in left})
