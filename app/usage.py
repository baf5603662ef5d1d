"""What a run costs the process that trains it: CPU seconds, and the most memory it held meanwhile."""

import time
from dataclasses import dataclass
from pathlib import Path

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # Linux: the peak begins again at what is held now


@dataclass(frozen=True)
class Usage:
    """cpu_seconds: of all threads, the system's share included; peak_bytes: resident, of the whole process with its
    libraries and data; None where the system does not tell.
    """

    cpu_seconds: float = 0.0
    peak_bytes: int | None = None

    def and_then(self, later: "Usage") -> "Usage":
        """Of two parts together."""
        peaks = [each.peak_bytes for each in (self, later) if each.peak_bytes is not None]
        return Usage(self.cpu_seconds + later.cpu_seconds, max(peaks, default=None))


class Meter:
    """Counts from when it is made, in a process that does nothing else meanwhile."""

    def __init__(self) -> None:
        self._began = time.process_time()
        try:
            _RESET.write_text(_RESET_PEAK)
            self._peaks = True
        except OSError:  # not Linux, or forbidden: the peak would be that of an earlier run
            self._peaks = False

    def read(self) -> Usage:
        return Usage(time.process_time() - self._began, _peak() if self._peaks else None)


def _peak() -> int:
    (line,) = [line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024
