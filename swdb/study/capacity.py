"""How many artefacts are made at once, and where each of them: by cores, memory and GPUs, or as it was typed.

On a CPU each worker computes with one thread: as many workers as cores are faster than all threads on one training, they
do not suffer from other work on the machine, and a result does not depend on the number of cores. On GPUs each has one
worker, or as many as were asked for. There is no training on several GPUs: dozens of runs that do not depend on each other
fill them all, and results would depend on the number of GPUs.

in: what was typed, what is left to make -> out: a `Slot` for each worker
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from swdb.core.artefact import Artefact
from swdb.core.errors import BadInput
from swdb.core.processor import may_have_gpu, usable_cores, usable_memory
from swdb.study.costs import MIB, peaks

GUESS = 1200 * MIB  # that a worker takes at most, where none of its kind has been measured here
SHARE = 0.9  # of the memory that is available
MOST_JOBS = 512


@dataclass(frozen=True)
class Resources:
    """What was typed about where and how many at once; None: as it fits."""

    device: str = "auto"
    jobs: int | None = None
    threads: int | None = None
    devices: tuple[int, ...] | None = None  # GPUs by number, among those that this process sees
    per_device: int = 1  # workers that share a GPU


@dataclass(frozen=True)
class Slot:
    """Where one worker computes."""

    device: str  # for torch: cpu, or cuda, which is then the one GPU that the worker sees
    visible: str | None = None  # CUDA_VISIBLE_DEVICES of the worker; None: as here

    @property
    def environment(self) -> dict[str, str]:
        """What a worker's environment has beyond this process's."""
        return {} if self.visible is None else {"CUDA_VISIBLE_DEVICES": self.visible}


def threads_of(resources: Resources) -> int:
    """Return the number of threads of a worker; raises BadInput for more than may be kept busy."""
    if resources.threads is not None and resources.threads > (cores := usable_cores()):
        raise BadInput(f"--threads {resources.threads}", "more than there are cores", f"at most {cores}")
    return resources.threads or 1


def slots(resources: Resources, todo: Iterable[Artefact], workdir: Path) -> list[Slot]:
    """Return the places of workers; a single one means that no process is worth starting."""
    todo = [artefact for artefact in todo if not artefact.done]
    gpus = chosen_gpus(resources)
    if gpus:
        count = resources.jobs or min(len(gpus) * resources.per_device, max(1, len(todo)))
        return [Slot("cuda", gpus[number % len(gpus)]) for number in range(count)]
    if resources.device.startswith("cuda"):
        return [Slot(resources.device)]  # which says itself that it is not there
    count = resources.jobs or min(_fitting(todo, threads_of(resources), workdir), max(1, len(todo)))
    return [Slot("cpu")] * count


def chosen_gpus(resources: Resources) -> list[str]:
    """Return the GPUs to be used, as CUDA_VISIBLE_DEVICES names each; none where a CPU computes. Raises BadInput."""
    seen = visible_gpus() if resources.device != "cpu" else []
    return [seen[number] for number in gpu_numbers(resources, len(seen))]


def gpu_numbers(resources: Resources, seen: int) -> list[int]:
    """Return the numbers of the GPUs to be used, of so many that are seen; raises BadInput for one that is not there."""
    name, _, number = resources.device.partition(":")
    if name not in ("auto", "cuda"):
        if resources.devices is not None:
            found = f"numbers GPUs, beside --device {resources.device}"
            raise BadInput(f"--devices {_typed(resources)}", found, "--device cuda")
        return []
    if resources.devices is None:
        chosen = [int(number)] if number.isdecimal() else range(seen)
        return [gpu for gpu in chosen if gpu < seen]  # what is not there is refused where it is begun
    for gpu in resources.devices:
        if gpu >= seen:
            known = ", ".join(map(str, range(seen))) or "none: there is no GPU that torch can use"
            raise BadInput(f"--devices {_typed(resources)}", f"there is no GPU {gpu}", known)
    return list(resources.devices)


def visible_gpus() -> list[str]:
    """Return the GPUs that this process sees, as CUDA_VISIBLE_DEVICES names each. Nothing is begun on them."""
    if not may_have_gpu():
        return []
    import torch

    count = torch.cuda.device_count()
    named = [word.strip() for word in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if word.strip()]
    return named[:count] if len(named) >= count else [str(number) for number in range(count)]


def _typed(resources: Resources) -> str:
    return ",".join(map(str, resources.devices or ()))


def _fitting(todo: list[Artefact], threads: int, workdir: Path) -> int:
    """Return how many workers the cores and the memory take, at least 1."""
    by_memory = SHARE * usable_memory() / largest(todo, workdir)
    return int(max(1, min(usable_cores() // threads, by_memory, MOST_JOBS)))


def largest(todo: Iterable[Artefact], workdir: Path) -> int:
    """Return how many bytes a worker takes at most for what is left, as measured here; a guess for what was not."""
    return max((peak or GUESS for peak in peaks(workdir, (one for one in todo if one.steps))), default=GUESS)
