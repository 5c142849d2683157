"""Times the work of the real stages from outside: the steps of a training, and the images of what goes image by image.

A stage is handed tools that look at the clock whenever it says how far it is, and that end it once enough was seen. On a
CPU torch's own hooks mark every step: where the optimizer is done with one, and where the network is handed the next batch.

in: something to run -> out: seconds a step or an image, the share that was spent on data, waits for the device, memory
"""

import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

import torch
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_post_hook

from swdb.core.artefact import Artefact
from swdb.core.processor import forget_peak_memory, peak_memory
from swdb.core.progress import Advance, silent
from swdb.data.dataset import DataSet
from swdb.data.store import Store, training_store
from swdb.nn.compute import Compute
from swdb.nn.trainer import LOG_EVERY

LONG = 1e9  # seconds
LEAST_ON_GPU = 100  # steps that are timed
WARM = 2  # steps that are not counted, where there are more
MIB = 2**20


class Enough(Exception):
    """Ends a stage of which enough was seen."""


@dataclass
class Tools:
    """What a stage is handed: one data set, and a clock."""

    compute: Compute
    data: DataSet
    steps: int  # or images, after which it is enough
    seconds: float  # after which it is enough
    whole: bool = False  # let a stage come to its end
    trains: bool = False  # then stages that count no optimizer steps, such as decoding, are let pass
    timer: Callable[[], float] = time.perf_counter  # or time.thread_time, which other processes hardly disturb
    began: float = 0.0
    marks: list[tuple[int, float]] = field(default_factory=list)  # how many steps or images were done, and when
    _stores: dict[int, Store] = field(default_factory=dict)

    def progress(self, name: str, total: int, counts: bool = False) -> Advance:
        """Begin a stage: only its own marks count."""
        if self.trains and not counts:
            return silent()
        self.began, self.marks = self.timer(), []

        def advance(done: int, of: int) -> None:
            now = self.timer()
            self.marks.append((done, now))
            over = done >= self.steps or (done and now - self.began > self.seconds)
            if over and not (self.whole and done == of):
                raise Enough

        return advance

    def tell(self, line: str) -> None:
        """Say nothing."""

    def dataset(self, artefact: Artefact) -> DataSet:
        """Return the one data set."""
        return self.data

    def store(self, artefact: Artefact, longest_side: int) -> Store:
        """Return its decoded images."""
        if longest_side not in self._stores:
            self._stores[longest_side] = training_store(self.data, longest_side, lambda done, of: None)
        return self._stores[longest_side]


@dataclass
class Clock:
    """When the steps of a training ended, and when their batches were there."""

    device: torch.device
    steps: int
    seconds: float
    timer: Callable[[], float] = time.perf_counter
    began: float = 0.0
    ends: list[float] = field(default_factory=list)
    batches: list[float] = field(default_factory=list)

    def now(self) -> float:
        """Return the time, once the device has done what it was asked for."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return self.timer()

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Mark every step of whatever is trained in the block, and end it when it is enough."""
        handles = (
            register_module_forward_pre_hook(lambda module, inputs: self._batch()),
            register_optimizer_step_post_hook(lambda optimizer, args, kwargs: self._end()),
        )
        self.began = self.now()
        try:
            with suppress(Enough):
                yield
        finally:
            for handle in handles:
                handle.remove()

    def _batch(self) -> None:
        if len(self.batches) == len(self.ends):  # the first module of a step
            self.batches.append(self.now())

    def _end(self) -> None:
        now = self.now()
        self.batches += [now] * (len(self.ends) + 1 - len(self.batches))  # no module was seen: nothing is known
        self.ends.append(now)
        if len(self.ends) >= self.steps or now - self.began > self.seconds:
            raise Enough

    def timing(self) -> "Timing":
        """Return what a step takes: the median of what comes from its batch on, and the mean of what lies before that.

        The mean, because a CPU cuts the batches of several steps at once.
        """
        warm = min(WARM, max(0, len(self.ends) - 1))
        if not warm:
            return Timing(self.ends[0] - self.batches[0], 1, None)
        on_data = [batch - end for end, batch in zip(self.ends[warm - 1 :], self.batches[warm:], strict=False)]
        lasted = [end - batch for batch, end in zip(self.batches[warm:], self.ends[warm:], strict=False)]
        data = statistics.mean(on_data)
        seconds = statistics.median(lasted) + data
        return Timing(seconds, len(lasted), data / seconds)


@dataclass(frozen=True)
class Timing:
    """What a step or an image takes."""

    seconds: float
    count: int  # that were measured
    data_share: float | None = None  # of the time, for choosing and cutting the batch


def time_training(make: Callable[[Tools], object], tools: Tools, again: Callable[[], None]) -> Timing:
    """Time the steps of a stage that trains; `again` deletes what it left, for it is run twice on a GPU.

    There, marks at every step would make the host wait, and a recorded step shows none: the share of data is seen with such
    marks, and the steps are timed without, between reads of losses.
    """
    device, count = tools.compute.device, tools.steps + WARM
    marked = replace(tools.compute, step=replace(tools.compute.step, graph=False))
    clock = Clock(device, count, tools.seconds, tools.timer)
    again()
    with clock.hooked():
        make(Tools(marked, tools.data, count + LOG_EVERY, LONG, trains=True, timer=tools.timer, _stores=tools._stores))
    timing = clock.timing()
    if device.type != "cuda":
        return timing
    first, last = _marks(make, tools, again, LOG_EVERY + max(tools.steps, LEAST_ON_GPU))
    if last[0] == first[0]:
        return timing
    steps = last[0] - first[0]
    return Timing((last[1] - first[1]) / steps, steps, timing.data_share)


def _marks(
    make: Callable[[Tools], object], tools: Tools, again: Callable[[], None], count: int
) -> tuple[tuple[int, float], tuple[int, float]]:
    """Train so many steps; returns the first and the last mark: how many steps were done, and when."""
    again()
    watched = Tools(
        tools.compute, tools.data, count, tools.seconds, trains=True, timer=tools.timer, _stores=tools._stores
    )
    with suppress(Enough):
        make(watched)
    later = [mark for mark in watched.marks if mark[0]]
    return later[0], later[-1]


def time_images(make: Callable[[Tools], object], tools: Tools) -> Timing:
    """Time the images of a stage that goes image by image; where it came to its end, with all that it did there."""
    with suppress(Enough):
        make(tools)
        return Timing((tools.timer() - tools.began) / tools.marks[-1][0], tools.marks[-1][0])
    done, at = tools.marks[-1]
    return Timing((at - tools.began) / done, done)


def count_waits(make: Callable[[Tools], object], tools: Tools, again: Callable[[], None]) -> float | None:
    """Count how often a step makes the host wait for the GPU: of many steps, without those of a beginning; None on a CPU."""
    if tools.compute.device.type != "cuda":
        return None
    found = []
    for count in (1, LOG_EVERY + tools.steps):
        with warned_waits() as seen:
            _, (steps, _) = _marks(make, tools, again, count)
        found.append((sum("synchroniz" in str(one.message) for one in seen), steps))
    (first, before), (second, after) = found
    return (second - first) / (after - before) if after > before else None


@contextmanager
def warned_waits() -> Iterator[list]:
    """Collect warnings while torch warns of operations that make the host wait."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield seen
        finally:
            torch.cuda.set_sync_debug_mode("default")


# ---------------------------------------------------------------- memory


def forget_peak(device: torch.device) -> None:
    """Let the peak of memory begin anew; what was freed goes back to the system first."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        return
    forget_peak_memory()


def peak_mib(device: torch.device) -> float | None:
    """Return the most memory that was taken since: of tensors on a GPU, of the whole process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / MIB
    return peak_memory() / MIB or None
