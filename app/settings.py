"""What the operator may choose: environment variables that begin with SNAS_."""

from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Gt, Le
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """The same values for the server and its workers.

    state_dir       written: databases, logs, caches
    data_dir        only read: data sets given as files
    database_url    None keeps two SQLite files in `state_dir`; `postgresql+psycopg://...` keeps two schemas there
    lease_seconds   a worker silent for so long has lost its run
    max_attempts    a run that crashed or fell silent so often has failed
    run_minutes     a run without a report for so long is stopped, which counts as an attempt; None: never
    checkpoint_seconds  a run is saved at the end of an epoch, so often at most; 0: of every epoch
    grace_seconds   a trainer told to stop is killed after so long
    poll_seconds    an idle worker looks for work so often
    reaper_seconds  the server looks for what was left lying so often
    cohort          a worker trains so many trials at once, as one batched program; None: 32 on a CUDA device, else 1
    allowed_hosts   names, beside those of this machine itself, by which a browser may call the server
    """

    model_config = SettingsConfigDict(env_prefix="SNAS_", frozen=True)

    state_dir: Path = Path(".snas")
    data_dir: Path | None = None
    database_url: str | None = None
    lease_seconds: Annotated[float, Gt(0)] = 60.0
    max_attempts: Annotated[int, Ge(1)] = 3
    run_minutes: Annotated[float, Gt(0)] | None = None
    checkpoint_seconds: Annotated[float, Ge(0)] = 30.0
    grace_seconds: Annotated[float, Ge(0)] = 5.0
    poll_seconds: Annotated[float, Gt(0)] = 0.5
    reaper_seconds: Annotated[float, Gt(0)] = 2.0
    cohort: Annotated[int, Ge(1), Le(256)] | None = None
    allowed_hosts: tuple[str, ...] = ()
