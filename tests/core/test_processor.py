"""The processor is named, and asked for bf16, by what the system says of it; and so are the cores that a job may use."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from swdb.core import processor
from swdb.core.processor import has_fast_bf16, processor_name, usable_cores

CPUINFO = """processor\t: 0
model\t\t: 143
model name\t: Made-up 9000: 2 cores
vmx flags\t: amx_bf16
flags\t\t: fpu sse2 {flags}

processor\t: 1
model name\t: another
flags\t\t: fpu amx_bf16
"""


@pytest.fixture
def cpuinfo(monkeypatch):
    """Let the system say something else of its processor, or nothing."""

    def say(text: str | None) -> None:
        def read_text(path: Path, *arguments, **options) -> str:
            if text is None:
                raise FileNotFoundError(path)
            return text

        monkeypatch.setattr(Path, "read_text", read_text)

    return say


def test_a_processor_has_the_name_that_the_system_gives_it(cpuinfo):
    cpuinfo(CPUINFO)
    assert processor_name() == "Made-up 9000: 2 cores"


@pytest.mark.parametrize("text", [None, "", "Features\t: fp asimd\n"])
def test_where_the_system_does_not_say_the_platform_is_asked(cpuinfo, monkeypatch, text):
    cpuinfo(text)
    monkeypatch.setattr(processor.platform, "processor", lambda: "arm")
    assert processor_name() == "arm"
    assert not has_fast_bf16()


@pytest.mark.parametrize(
    ("flags", "fast"),
    [("avx512_bf16", True), ("amx_bf16 amx_tile", True), ("avx512f avx512_bf16x bf16", False), ("", False)],
)
def test_bf16_is_fast_where_the_processor_has_one_of_two_flags(cpuinfo, flags, fast):
    cpuinfo(CPUINFO.format(flags=flags))
    assert has_fast_bf16() is fast


# ---------------------------------------------------------------- cores


@pytest.fixture
def node(monkeypatch, tmp_path):
    """A node of 64 cores; a job that is bound to some, in control groups with files, under Slurm or not."""

    def be(bound: int = 64, cgroup: str = "", files: dict[str, str] | None = None, slurm: str | None = None) -> int:
        for name, content in (files or {}).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        read_text = Path.read_text
        monkeypatch.setattr(processor, "CGROUPS", tmp_path)
        monkeypatch.setattr(os, "cpu_count", lambda: 64)
        monkeypatch.setattr(os, "process_cpu_count", lambda: bound, raising=False)
        monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
        if slurm is not None:
            monkeypatch.setenv("SLURM_CPUS_PER_TASK", slurm)
        monkeypatch.setattr(
            Path, "read_text", lambda p, *a, **k: cgroup if str(p) == "/proc/self/cgroup" else read_text(p, *a, **k)
        )
        return usable_cores()

    return be


V1 = "12:cpuset:/docker/x\n4:cpu,cpuacct:/docker/x\n1:name=systemd:/docker/x\n"


@pytest.mark.parametrize(
    ("job", "cores"),
    [
        ({}, 64),
        ({"bound": 1}, 1),
        ({"cgroup": "0::/job\n", "files": {"job/cpu.max": "150000 100000\n"}}, 2),
        ({"cgroup": "0::/job/step\n", "files": {"job/step/cpu.max": "max 100000\n", "job/cpu.max": "300000 100000\n"}}, 3),
        ({"cgroup": "0::/\n", "files": {"cpu.max": "50000 100000\n"}}, 1),
        ({"cgroup": "0::/of/the/host\n", "files": {"cpu.max": "400000 100000\n"}}, 4),
        ({"cgroup": "0::/../../job\n", "files": {"cpu.max": "400000 100000\n"}}, 4),
        ({"cgroup": V1, "files": {"cpu,cpuacct/cpu.cfs_quota_us": "200000", "cpu,cpuacct/cpu.cfs_period_us": "100000"}}, 2),
        ({"cgroup": V1, "files": {"cpu/docker/x/cpu.cfs_quota_us": "-1", "cpu/docker/x/cpu.cfs_period_us": "100000"}}, 64),
        ({"cgroup": V1, "files": {"cpu/docker/x/cpu.cfs_quota_us": "80000", "cpu/docker/x/cpu.cfs_period_us": "0"}}, 64),
        ({"cgroup": "0::/job\n", "files": {"job/cpu.max": "garbage"}}, 64),
        ({"slurm": "8"}, 8),
        ({"slurm": "128"}, 64),
        ({"slurm": "many"}, 64),
        ({"slurm": "0"}, 64),
        ({"bound": 4, "slurm": "8", "cgroup": "0::/job\n", "files": {"job/cpu.max": "1600000 100000"}}, 4),
    ],
    ids=str,
)  # fmt: skip
def test_a_job_may_use_the_least_of_what_it_was_given(node, job, cores):
    assert node(**job) == cores


@pytest.mark.parametrize("there", [True, False])
def test_a_gpu_may_be_there_where_any_driver_is(tmp_path, monkeypatch, there):
    monkeypatch.setattr(processor, "GPU_DRIVERS", (tmp_path / "none", tmp_path if there else tmp_path / "nor this"))
    assert processor.may_have_gpu() is there


def test_where_nothing_says_what_a_process_is_bound_to_the_machine_is_asked(monkeypatch):
    for name in ("process_cpu_count", "sched_getaffinity"):
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cores() == 1


# ---------------------------------------------------------------- memory


@pytest.fixture
def memory(monkeypatch, tmp_path):
    """A machine with memory available, and a job in control groups with files."""

    def be(available: str, cgroup: str = "", files: dict[str, str] | None = None) -> float:
        for name, content in (files or {}).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        read_text = Path.read_text
        said = {"/proc/self/cgroup": cgroup, "/proc/meminfo": available}
        monkeypatch.setattr(processor, "CGROUPS", tmp_path)
        monkeypatch.setattr(Path, "read_text", lambda p, *a, **k: said.get(str(p)) or read_text(p, *a, **k))
        return processor.usable_memory()

    return be


MEMINFO = "MemTotal:  9000 kB\nMemAvailable:    8000 kB\n"


@pytest.mark.parametrize(
    ("job", "kib"),
    [
        ({}, 8000),
        ({"cgroup": "0::/job\n", "files": {"job/memory.max": "4096000", "job/memory.current": "1024000"}}, 3000),
        ({"cgroup": "0::/job\n", "files": {"job/memory.max": "max", "job/memory.current": "1024000"}}, 8000),
        (
            {
                "cgroup": "5:memory:/job\n",
                "files": {
                    "memory/job/memory.limit_in_bytes": "4096000",
                    "memory/job/memory.usage_in_bytes": "4096000",
                    "memory/job/memory.stat": "inactive_file 1\ntotal_inactive_file 2048000\n",
                },
            },
            2000,
        ),
        ({"cgroup": "0::/job\n", "files": {"job/memory.max": "1024", "job/memory.current": "4096"}}, 0),
    ],
    ids=str,
)
def test_a_job_may_take_the_least_of_what_is_left_to_it(memory, job, kib):
    assert memory(MEMINFO, **job) == 1024 * kib


def test_where_nobody_says_there_is_no_limit(memory):
    assert memory("nothing") == float("inf")


PEAKS = """
from swdb.core import processor
processor.forget_peak_memory()
before = processor.peak_memory()
ballast = bytearray(80 << 20)
after = processor.peak_memory()
del ballast
processor.forget_peak_memory()
print(before, after, processor.peak_memory())
"""


def test_the_peak_of_a_process_is_forgotten_and_measured():
    # In a process of its own: one that has had more memory before may take the ballast out of that.
    result = subprocess.run([sys.executable, "-c", PEAKS], capture_output=True, text=True, check=True)
    before, after, forgotten = map(int, result.stdout.split())
    assert 70 << 20 < after - before < 200 << 20
    assert forgotten < after - (40 << 20)


KEPT = """
import resource, sys
from swdb.core import processor
if "keep" in sys.argv:
    processor.keep_freed_memory()

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        bytearray(40 << 20)  # as the tensors of a step: larger than what the C library keeps by itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
processor.forget_peak_memory()
before = processor.peak_memory()
bytearray(200 << 20)
processor.forget_peak_memory()
faults()
print(faults(), processor.peak_memory() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="asks glibc")
def test_memory_that_is_freed_is_kept_for_what_comes_next_and_not_counted_as_used():
    def measured(*words):
        result = subprocess.run([sys.executable, "-c", KEPT, *words], capture_output=True, text=True, check=True)
        return tuple(map(int, result.stdout.split()))

    (usual, _), (kept, more) = measured(), measured("keep")
    assert kept < 100 and usual > 10_000  # pages: ten blocks of 10,240
    assert more < 150 << 20  # the block of 200 MiB has been given back


def test_a_c_library_that_has_no_such_function_is_left_alone(monkeypatch):
    def no_library(name):
        raise TypeError(name)

    processor._c_library("there_is_no_such_function", 1)
    monkeypatch.setattr(processor.ctypes, "CDLL", no_library)
    processor.keep_freed_memory()
    processor.forget_peak_memory()
