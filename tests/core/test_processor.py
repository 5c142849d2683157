"""The processor is named, and asked for bf16, by what the system says of it."""

from pathlib import Path

import pytest

from swdb.core import processor
from swdb.core.processor import has_fast_bf16, processor_name

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
