"""Whether bf16 saves time on this machine."""

from pathlib import Path

import torch

CPUINFO = Path("/proc/cpuinfo")
BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""Of processors that multiply bf16: x86 with AVX-512 BF16 or AMX, ARM with BF16."""


def runs_bf16(device: torch.device, precision: str) -> bool:
    """Whether a network asked to run in `precision` runs in mixed precision: where that saves time."""
    return precision == "bf16" and multiplies_bf16(device)


def multiplies_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bf16.

    Elsewhere torch works it out without vector instructions: on a Zen 3, which has none for it, a product of
    matrices takes 48 times as long as in fp32.
    """
    return device.type != "cpu" or bool(BF16_FLAGS & _processor_flags())


def _processor_flags() -> set[str]:
    """What the first processor can do, as Linux names it; nothing on other systems."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    flags = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return set(flags.partition(":")[2].split())
