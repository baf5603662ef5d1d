"""Times of several ways to do one thing, taken in turns in one process: what disturbs one disturbs the others."""

import statistics
import time
from collections.abc import Callable, Mapping

import torch

from models.memory import keep_memory

torch.set_num_threads(1)
keep_memory()  # as the product's trainings do: else any way may wait for new pages at each call, or not, as it happens

Way = Callable[[], object]
Times = dict[str, list[float]]

STRETCH = 0.02  # seconds: a way is timed over so long a stretch of calls, as a training makes them


def medians(ways: Mapping[str, Way], seconds: float = 2.0, least: int = 7) -> dict[str, float]:
    """Median seconds of one call of each way: at least `least` turns, more while all together took under `seconds`."""
    calls = {name: _calls(way) for name, way in ways.items()}
    times: dict[str, list[float]] = {name: [] for name in ways}
    began = time.perf_counter()
    while len(next(iter(times.values()))) < least or time.perf_counter() - began < seconds:
        for name, way in ways.items():
            way()  # what the one before left in the caches is not this one's
            times[name].append(_time(way, calls[name]))
    return {name: statistics.median(taken) for name, taken in times.items()}


def own_times(ways: Mapping[str, Way], turns: int) -> Times:
    """Seconds of one call of each way at each turn, of this thread alone: the turns of others do not count."""
    times: Times = {name: [] for name in ways}
    for _ in range(turns):
        for name, way in ways.items():
            way()
            began = time.thread_time()
            way()
            times[name].append(time.thread_time() - began)
    return times


def pairs(one: Callable[[], float], other: Callable[[], float], turns: int = 3) -> tuple[float, float]:
    """Medians of two measurements that give their own seconds, taken in turns after one of each."""
    one(), other()
    found = [(one(), other()) for _ in range(turns)]
    return statistics.median(each[0] for each in found), statistics.median(each[1] for each in found)


def _calls(way: Way) -> int:
    way()  # compiles
    return max(1, round(STRETCH / min(_time(way, 1) for _ in range(3))))


def _time(way: Way, calls: int) -> float:
    """Seconds of one of so many calls."""
    start = time.perf_counter()
    for _ in range(calls):
        way()
    return (time.perf_counter() - start) / calls
