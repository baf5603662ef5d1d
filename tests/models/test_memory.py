"""Memory that trainings free. Each in a process of its own: what is set is set for good."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, torch
from models.memory import allocate, keep_memory, release_memory
{setting}

def held():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

def step():
    x = allocate(2**24).fill_(1)
    return x, allocate(2**24).fill_(1)

for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
faults, kept = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, held()
release_memory()
print(faults, kept - held())
"""

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="what other C libraries do is theirs")


def run(setting: str) -> tuple[int, int]:
    """Page faults of ten steps that take 32 MiB each; bytes that were still held, and were then released."""
    command = [sys.executable, "-c", PROGRAM.format(setting=setting)]
    faults, released = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout.split()
    return int(faults), int(released)


def test_steps_reuse_what_they_freed_and_no_more_until_it_is_released() -> None:
    faults, released = run("keep_memory()")
    assert faults < 20
    assert 30 * 2**20 < released < 40 * 2**20


def test_pieces_larger_than_asked_return_at_once() -> None:
    faults, released = run("keep_memory(2**20)")
    assert faults >= 10 * 2**25 // 2**21  # a page has 4 KiB, or 2 MiB
    assert released < 2**20
