"""Progress with the time left, drawn in a terminal or as lines in a log: a line for each process, and one for all trainings.

in: stages and how far they are, from this process or its workers -> out: stderr
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from swdb.cli.console import err, plain
from swdb.core.numbers import duration
from swdb.core.progress import Advance

SPEED_OVER = 300.0  # seconds over which the time left is estimated: stages are of many speeds
PLAIN_EVERY = 10.0  # seconds between progress lines where the output is not a terminal


class _Lines:
    """Progress as lines in a log: the first one at once, then one in ten seconds at most, and how far it came in the end."""

    def __init__(self, console: Console):
        self.console, self.due, self.kept = console, -math.inf, ""

    def say(self, line: str) -> None:
        """Print a line where one is due, else keep it: a later one may take its place."""
        self.kept = line
        if time.monotonic() >= self.due:
            self.end()
            self.due = time.monotonic() + PLAIN_EVERY

    def end(self) -> None:
        """Print what is kept."""
        if self.kept:
            self.console.print(plain(self.kept, self.console), soft_wrap=True)
        self.kept = ""


class _Remaining(TimeRemainingColumn):
    """The time left of all trainings as the rates of the work directory say; of anything else by its own speed."""

    def __init__(self, whole: "Bar"):
        super().__init__()
        self.whole = whole

    def render(self, task: Task) -> Text:
        """Return what is shown for one line."""
        known = self.whole.seconds_left() if task.id == self.whole.trainings else None
        return super().render(task) if known is None else Text(duration(known) or "0 s", style="progress.remaining")


class Lane:
    """One line of the progress display: what one process is at."""

    def __init__(self, whole: "Bar"):
        self._whole, self._task = whole, whole.bars.add_task("", total=None)
        self.state = ""  # in words
        self.at: tuple[str, float] | None = None  # a training that counts, and which share of it is done

    def progress(self, name: str, total: int, counts: bool = False) -> Advance:
        """Begin a stage: its bar replaces the last stage's; `counts` where its steps are part of the whole."""
        whole = self._whole
        whole.bars.reset(self._task, description=plain(name, whole.console).plain, total=total or None, visible=True)
        self._is_at(f"{name} ...")
        self.at, seen = None, 0

        def advance(done: int, of: int) -> None:
            nonlocal seen
            if counts:
                whole.bars.advance(whole.trainings, done - seen)
                self.at = name, done / max(1, of)
            seen = done
            whole.bars.update(self._task, completed=done, total=of or None)  # 0: not known yet
            self._is_at(f"{name}: {done}" + (f" of {of}" if of else ""))

        return advance

    def idle(self) -> None:
        """Show that nothing is being made here."""
        self.state, self.at = "", None
        self._whole.bars.reset(self._task, description="", total=None, visible=False)

    def tell(self, line: str) -> None:
        """Print a line above the display."""
        self._whole.tell(line)

    def _is_at(self, state: str) -> None:
        self.state = state
        self._whole.show()


class Bar:
    """Progress over all stages of a plan: the steps of all trainings together, with the time left, and what each process is at."""

    def __init__(self, total_steps: int):
        self.console = err()
        self.plain = not self.console.is_terminal or self.console.is_dumb_terminal
        self.lines = _Lines(self.console)
        self.bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            _Remaining(self),
            console=self.console,
            disable=self.plain,
            transient=True,
            speed_estimate_period=SPEED_OVER,
        )
        self.trainings = self.bars.add_task("all trainings", total=total_steps or None, visible=total_steps > 0)
        self.lanes: dict[int, Lane] = {}
        self.time_left: Callable[[Mapping[str, float]], float | None] = lambda shares: None

    def seconds_left(self) -> float | None:
        """Return the seconds that all work takes from now on; None where nobody knows."""
        return self.time_left(dict(lane.at for lane in self.lanes.values() if lane.at is not None))

    def lane(self, number: int) -> Lane:
        """Return the line of a worker."""
        if number not in self.lanes:
            self.lanes[number] = Lane(self)
        return self.lanes[number]

    def progress(self, name: str, total: int, counts: bool = False) -> Advance:
        """Begin a stage of this process."""
        return self.lane(0).progress(name, total, counts)

    def tell(self, line: str) -> None:
        """Print a line above the bar, and below how far it had come."""
        self.lines.end()
        self.bars.console.print(plain(line, self.console), soft_wrap=True)

    def show(self) -> None:
        """Say in a log what all processes are at and, where there are several, how long they will take."""
        if not self.plain:
            return
        states = [lane.state for lane in self.lanes.values() if lane.state]
        left = None
        if len(self.lanes) > 1:
            left = self.seconds_left()
            left = self.bars.tasks[0].time_remaining if left is None else left
        self.lines.say("; ".join(states) + (f"; about {duration(left)} left" if left else ""))


@contextmanager
def bar(total_steps: int = 0) -> Iterator[Bar]:
    """Show a progress bar while the block runs."""
    shown_bar = Bar(total_steps)
    try:
        with shown_bar.bars:
            yield shown_bar
    finally:
        shown_bar.lines.end()
