"""What processor this is, as far as it matters."""

import platform
from pathlib import Path

BF16_FLAGS = {"amx_bf16", "avx512_bf16"}  # processors on which bf16 and channels_last train faster than fp32


def processor_name() -> str:
    """Return the name of the processor."""
    return _field("model name") or platform.processor()


def has_fast_bf16() -> bool:
    """Whether the processor computes in bf16 faster than in fp32."""
    return bool(BF16_FLAGS & set(_field("flags").split()))


def _field(name: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
