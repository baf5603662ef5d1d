"""The GPUs that the workers of this machine may use, under the names by which CUDA knows them."""

from collections.abc import Mapping
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"
DRIVER = Path("/proc/driver/nvidia/gpus")


class InvalidDevices(ValueError):
    """CUDA_VISIBLE_DEVICES names a device twice; CUDA would then find none."""


def visible(environment: Mapping[str, str], installed: int) -> tuple[str, ...]:
    """One name per GPU: an index, or as `CUDA_VISIBLE_DEVICES` writes it, `GPU-...` or `MIG-...`.

    As CUDA reads it, the list ends before the first index that no device has. Raises: InvalidDevices.
    """
    if VISIBLE not in environment:
        return tuple(map(str, range(installed)))
    if not installed:
        return ()
    names: list[str] = []
    for name in map(str.strip, environment[VISIBLE].split(",")):
        if not _exists(name, installed):
            break
        if name in names:
            raise InvalidDevices(f"{VISIBLE}={environment[VISIBLE]!r} names {name} twice")
        names.append(name)
    return tuple(names)


def installed() -> int:
    """How many GPUs the driver of this machine, or of this container, has."""
    return sum(1 for _ in DRIVER.iterdir()) if DRIVER.is_dir() else 0


def of_place(devices: tuple[str, ...], number: int) -> dict[str, str]:
    """What the environment of the worker at a place says: each has one GPU to itself, or shares it in turns."""
    return {VISIBLE: devices[number % len(devices)]} if devices else {}


def _exists(name: str, installed: int) -> bool:
    if name.isdecimal():
        return int(name) < installed
    return name.startswith(("GPU-", "MIG-"))
