"""A server, a reaper and workers as their shipped commands, killed at will and replaced."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from processes import children, is_alive, until

from app import state
from app.settings import Settings


def environment(settings: Settings) -> dict[str, str]:
    """What makes a command see these settings."""
    given = {
        "LEASE_SECONDS": settings.lease_seconds,
        "MAX_ATTEMPTS": settings.max_attempts,
        "POLL_SECONDS": settings.poll_seconds,
        "REAPER_SECONDS": settings.reaper_seconds,
        "TRAINER": settings.trainer,
        "SLEEP_SECONDS": settings.sleep_seconds,
        "DATABASE_URL": settings.database_url,
    }
    return os.environ | {f"SNAS_{name}": str(value) for name, value in given.items() if value is not None}


class Command:
    """One `snas COMMAND`, started again after it was killed; its output is kept in one log."""

    def __init__(self, arguments: Sequence[str], settings: Settings, log: Path) -> None:
        self._command = [sys.executable, "-m", "app.cli", *arguments, "--state", str(settings.state_dir)]
        self._environment: Mapping[str, str] = environment(settings)
        self._log = log
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._command, env=self._environment, stdout=log, stderr=log)

    def kill(self) -> list[int]:
        """Ends it as a crash would; returns the processes it leaves."""
        orphans = children(self.process.pid)
        self.process.kill()
        assert self.process.wait() == -signal.SIGKILL, f"it had ended by itself; see {self._log}"
        return orphans

    @property
    def pid(self) -> int:
        return self.process.pid


class Fleet:
    """One server, one reaper, `size` workers on one state."""

    def __init__(self, settings: Settings, size: int) -> None:
        settings.state_dir.mkdir(parents=True, exist_ok=True)
        self._settings = settings
        self.log = settings.state_dir / "fleet.log"
        self.server = Command(["serve", "--workers", "0", "--no-reaper", "--port", "0"], settings, self.log)
        self.reaper = Command(["reaper"], settings, self.log)
        self.workers = [Command(["worker"], settings, self.log) for _ in range(size)]
        self._orphans: list[int] = []
        self.kills: Counter[str] = Counter()

    def url(self) -> str:
        """Where the server answers, once it does."""

        def look() -> state.Address | None:
            assert self.server.process.poll() is None, f"the server ended; see {self.log}"
            found = state.Address.read(self._settings.state_dir)
            return found if found is not None and found.pid == self.server.pid else None

        return until(look).url

    def strike(self, role: str, command: Command) -> None:
        """Kills a command, and starts another in its place."""
        self._orphans += command.kill()
        self.kills[role] += 1
        command.start()

    def strike_trainer(self, worker: Command) -> None:
        """Kills the trainer of a worker, which replaces it by itself."""
        for trainer in children(worker.pid):
            os.kill(trainer, signal.SIGKILL)
            self.kills["trainer"] += 1

    def end(self) -> None:
        """Asks all of them to end. One that was still starting ends by the signal itself: it did not yet listen."""
        commands = {"server": [self.server], "reaper": [self.reaper], "worker": self.workers}
        for command in (*self.workers, self.reaper, self.server):
            command.process.terminate()
        codes = {role: {each.process.wait() for each in several} for role, several in commands.items()}
        assert codes["server"] == {0}, codes
        assert codes["reaper"] | codes["worker"] <= {0, -signal.SIGTERM}, codes
        until(lambda: not any(map(is_alive, self._orphans)))

    def kill_all(self) -> None:
        """When something went wrong: nothing of it is left behind."""
        for command in (*self.workers, self.reaper, self.server):
            if command.process.poll() is None:
                command.process.kill()
            command.process.wait()
