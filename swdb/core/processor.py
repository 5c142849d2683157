"""What processor this is, as far as it matters, how much of it and of the memory this process may use, whether a GPU is likely.

A container or a batch job often gets a few cores and gibibytes of a node; what the machine has is not asked anywhere else.
"""

import ctypes
import math
import os
import platform
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

BF16_FLAGS = {"amx_bf16", "avx512_bf16"}  # processors on which bf16 and channels_last train faster than fp32
NVIDIA = Path("/dev/nvidiactl")  # is there where NVIDIA's driver is loaded
GPU_DRIVERS = (NVIDIA, Path("/dev/nvidia0"), Path("/proc/driver/nvidia"), Path("/dev/dxg"), Path("/dev/kfd"))
CGROUPS = Path("/sys/fs/cgroup")
TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4  # options of glibc's mallopt


def processor_name() -> str:
    """Return the name of the processor."""
    return _field("model name") or platform.processor()


def has_fast_bf16() -> bool:
    """Whether the processor computes in bf16 faster than in fp32."""
    return bool(BF16_FLAGS & set(_field("flags").split()))


def may_have_gpu() -> bool:
    """Whether a GPU's driver is loaded, so that torch is worth loading to ask it."""
    return any(driver.exists() for driver in GPU_DRIVERS)


def usable_cores() -> int:
    """Return how many cores this process may keep busy, at least 1.

    That is the least of what the process is bound to, what its control groups allow (versions 1 and 2, rounded up), and
    what Slurm gave to the task.
    """
    limits = [float(_bound_to()), _quota()]
    with suppress(ValueError):
        limits.append(float(int(os.environ.get("SLURM_CPUS_PER_TASK", ""))))
    return max(1, math.ceil(min(limit for limit in limits if limit > 0)))


def _bound_to() -> int:
    if hasattr(os, "process_cpu_count"):  # Python 3.13; it hears PYTHON_CPU_COUNT, too
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        with suppress(OSError):
            return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quota() -> float:
    """Return how many cores' time the control groups allow, infinity where they set no limit."""
    least = math.inf
    for folder in _groups("cpu"):
        with suppress(OSError, ValueError, ZeroDivisionError):
            quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
            if quota != "max":
                least = min(least, int(quota) / int(period))
        with suppress(OSError, ValueError, ZeroDivisionError):
            quota = int((folder / "cpu.cfs_quota_us").read_text(encoding="ascii"))
            if quota > 0:
                least = min(least, quota / int((folder / "cpu.cfs_period_us").read_text(encoding="ascii")))
    return least if least > 0 else math.inf


def _groups(controller: str) -> Iterator[Path]:
    """Yield the folders of the control groups that hold this process, from its own up to the root.

    Inside a container the path may be that of the host and lead nowhere; the root is then the container's own.
    """
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            root = CGROUPS
        elif controller in controllers.split(","):
            named = (CGROUPS / name for name in (controllers, controller))
            root = next((folder for folder in named if folder.is_dir()), CGROUPS / controller)
        else:
            continue
        place = root / path.lstrip("/")
        yield from (folder for folder in (place, *place.parents) if folder == root or root in folder.parents)


# ---------------------------------------------------------------- memory


def usable_memory() -> float:
    """Return how many bytes this process and those that it starts may still take, infinity where nobody says so.

    That is the least of what the machine has available and what the control groups leave (versions 1 and 2).
    """
    least = _number("/proc/meminfo", "MemAvailable:") * 1024 or math.inf
    for folder in _groups("memory"):
        for most, now in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            with suppress(OSError, ValueError):
                limit, used = (int((folder / name).read_text(encoding="ascii")) for name in (most, now))
                cached = _number(folder / "memory.stat", "inactive_file", "total_inactive_file")  # given up when needed
                least = min(least, max(0.0, limit - used + cached))
    return least


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, for what it asks for next; with a C library that is not glibc, do nothing.

    Else every step of a training gets its larger tensors from the kernel anew, which clears them page by page: 5 to 10 % of
    the time on photographs. `forget_peak_memory` gives back what is free.
    """
    for option, value in ((MMAP_MAX, 0), (TRIM_THRESHOLD, 2**31 - 1), (TOP_PAD, 2**26)):
        _c_library("mallopt", option, value)


def forget_peak_memory() -> None:
    """Let `peak_memory` count from now on, and only what is in use, where the system can."""
    _c_library("malloc_trim", 0)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory() -> int:
    """Return the most bytes of memory that this process held since the peak was forgotten; 0 where nobody says so."""
    return int(_number("/proc/self/status", "VmHWM:") * 1024)


def _c_library(function: str, *values: int) -> None:
    """Call a function of the C library, if it has it."""
    with suppress(OSError, AttributeError, TypeError):  # TypeError: on Windows there is no library of this name
        getattr(ctypes.CDLL(None), function)(*values)


def _number(path: Path | str, *names: str) -> float:
    """Return the number behind one of some names in a file of the kernel's, the last that is there; 0 where none is."""
    found = 0.0
    with suppress(OSError, ValueError):
        for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
            words = line.split()
            if len(words) > 1 and words[0] in names:
                found = float(words[1])
    return found


def _field(name: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
