"""One server on a state directory: REST, pages, reaper and its own workers, from start to a clean end."""

import ipaddress
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType

import uvicorn

from app import devices, heap, local, state
from app.connections import Impatient
from app.crew import Crew
from app.settings import Settings

LAST_REQUESTS = 2  # seconds that open requests and event streams are given at the end
LARGEST_HEAD = 16 * 1024  # bytes of request line and headers
# Seconds that a connection may rest between two requests: longer than clients keep theirs (5 is common).
KEPT_ALIVE = 15
BEYOND_GRACE = 3.0  # seconds a worker may take beyond its trainer's own grace

log = logging.getLogger(__name__)


class CannotListen(Exception):
    """The server must not, or cannot, listen at this address."""


class NoWorker(Exception):
    """Every worker process fails as soon as it starts."""


def serve(settings: Settings, host: str, port: int, workers: int | None, reaps: bool = True) -> None:
    """Serves until SIGTERM or SIGINT; no process of its own is left then.

    port     0: any free one; `server.json` in the state directory says which
    workers  None: one per GPU, or where there is none one per core
    reaps    whether it reaps beside serving; else `snas reaper` does
    Raises: CannotListen, NoWorker, state.Occupied, devices.InvalidDevices
    """
    gpus = devices.visible(os.environ, devices.installed())
    workers = workers if workers is not None else len(gpus) or local.cores()
    _check(host, settings)
    # Until uvicorn takes over, a request to end unwinds what was begun.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with state.held(settings.state_dir), _listen(host, port) as listener, _crew(settings, workers, gpus) as crew:
        # Only now: importing torch takes seconds, and the workers do it at the same time.
        from app.main import create_app

        app = create_app(settings)
        config = uvicorn.Config(
            app,
            http=Impatient,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            h11_max_incomplete_event_size=LARGEST_HEAD,
            limit_concurrency=settings.largest_load,
            timeout_keep_alive=KEPT_ALIVE,
            timeout_graceful_shutdown=LAST_REQUESTS,
            proxy_headers=bool(settings.trusted_proxies),
            forwarded_allow_ips=list(settings.trusted_proxies),
        )
        address = state.Address(_url(host, listener), os.getpid())

        def announce() -> None:
            address.write(settings.state_dir)
            log.info("listening on %s, %d workers, state in %s", address.url, workers, settings.state_dir)

        with _reaping(settings) if reaps else nullcontext():
            _Server(config, crew, announce).run([listener])
    if crew.is_hopeless:
        raise NoWorker("no worker process comes to life; what they wrote before they ended says why")


@contextmanager
def _crew(settings: Settings, workers: int, gpus: tuple[str, ...]) -> Iterator[Crew]:
    crew = Crew(workers, _worker_command(settings), settings.grace_seconds + BEYOND_GRACE, gpus)
    crew.start()
    try:
        yield crew
    finally:
        crew.end()
        crew.join()


@contextmanager
def _reaping(settings: Settings) -> Iterator[None]:
    from app.reaper import Reaper

    reaper = Reaper(settings)
    reaper.start()
    try:
        yield
    finally:
        reaper.stop()


class _Server(uvicorn.Server):
    """Says when it listens; ends its crew with itself, and itself when the crew is hopeless."""

    def __init__(self, config: uvicorn.Config, crew: Crew, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._crew = crew
        self._announce = announce
        # uvicorn handles signals only while it serves, and raises them once more afterwards: both must end in peace.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle_exit)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        heap.settle()
        self._announce()

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or self._crew.is_hopeless

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._crew.end()
        super().handle_exit(sig, frame)


def _check(host: str, settings: Settings) -> None:
    # Imported where they are needed: a server on loopback without keys starts faster.
    if settings.first_key is not None or settings.first_key_file is not None:
        from app import firstkey

        try:
            firstkey.check(settings)
        except firstkey.InvalidSecret as error:
            raise CannotListen(str(error)) from None
    elif not _is_loopback(host) and not _has_keys(settings):
        raise CannotListen(
            f"--host {host} can be reached from other machines, and no key is needed yet to submit and cancel jobs."
            " Make the first one: snas init (a container gets it from SNAS_FIRST_KEY_FILE)"
        )


def _has_keys(settings: Settings) -> bool:
    if settings.database_url is None and not (settings.state_dir / "app.db").exists():
        return False
    from app import database, keys

    database.upgrade(settings)
    db = database.engine(settings)
    try:
        return keys.exist(db)
    finally:
        db.dispose()


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name that DNS may lead anywhere
        return False


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise CannotListen(f"cannot listen on {host} port {port}: {(error.strerror or str(error)).lower()}") from error
    # Connections inherit it. asyncio would set it on none of them, as this socket does not name its protocol; without
    # it the end of every answer waits 40 ms for the client to acknowledge its head.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _url(host: str, listener: socket.socket) -> str:
    # Unspecified addresses (0.0.0.0, ::) listen on loopback too.
    name = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    return f"http://{f'[{name}]' if ':' in name else name}:{listener.getsockname()[1]}"


def _worker_command(settings: Settings) -> list[str]:
    command = ["worker", "--state", str(settings.state_dir.absolute())]
    if settings.data_dir is not None:
        command += ["--data-dir", str(settings.data_dir.absolute())]
    return command
