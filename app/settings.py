"""What the operator may choose: environment variables that begin with SNAS_."""

from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le
from pydantic import Field, SecretStr
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
    keep_days       a job that ended so long ago is deleted, with all that belongs to it; None: nothing ever is
    log_format      text for people, json for a collector of logs: one object a line
    largest_upload  bytes of an uploaded file
    largest_dataset bytes of its arrays, as they are stored and as they are trained on
    upload_seconds  a file must have come within so long
    trainer         sleep: a worker only sleeps, one run at a time, and makes its numbers up (app.sleeper)
    sleep_seconds   a whole run of such a worker
    allowed_hosts   names, beside those of this machine itself, by which a browser may call the server

    first_key, first_key_file   an administrator's key, or the file that holds it, made when there is none yet
    trusted_proxies       addresses whose X-Forwarded-For and X-Forwarded-Proto are believed
    quota_jobs            unfinished jobs that one owner may have; None: any number
    quota_trials          trials that one owner may have asked of unfinished jobs
    quota_storage         bytes that the uploaded files of one owner may have together
    requests_per_minute   of one key
    largest_body          bytes; a job is a few hundred
    body_seconds          a body must have come within so long
    largest_load          connections and requests at once; what comes beyond is answered 503
    """

    model_config = SettingsConfigDict(env_prefix="SNAS_", frozen=True)

    state_dir: Path = Path(".snas")
    data_dir: Path | None = None
    database_url: Annotated[str | None, Field(repr=False)] = None  # it may hold a password
    lease_seconds: Annotated[float, Gt(0)] = 60.0
    max_attempts: Annotated[int, Ge(1)] = 3
    run_minutes: Annotated[float, Gt(0)] | None = None
    checkpoint_seconds: Annotated[float, Ge(0)] = 30.0
    grace_seconds: Annotated[float, Ge(0)] = 5.0
    poll_seconds: Annotated[float, Gt(0)] = 0.5
    reaper_seconds: Annotated[float, Gt(0)] = 2.0
    cohort: Annotated[int, Ge(1), Le(256)] | None = None
    keep_days: Annotated[float, Ge(0)] | None = None
    log_format: Literal["text", "json"] = "text"
    largest_upload: Annotated[int, Ge(1)] = 256 * 2**20
    largest_dataset: Annotated[int, Ge(1), Le(2**31)] = 2**31
    upload_seconds: Annotated[float, Gt(0)] = 1800.0
    trainer: Literal["train", "sleep"] = "train"
    sleep_seconds: Annotated[float, Ge(0)] = 1.0
    allowed_hosts: tuple[str, ...] = ()
    first_key: SecretStr | None = None
    first_key_file: Path | None = None
    trusted_proxies: tuple[str, ...] = ()
    quota_jobs: Annotated[int, Ge(0)] | None = None
    quota_trials: Annotated[int, Ge(0)] | None = None
    quota_storage: Annotated[int, Ge(0)] | None = None
    requests_per_minute: Annotated[int, Ge(1)] = 600
    largest_body: Annotated[int, Ge(1)] = 1024 * 1024
    body_seconds: Annotated[float, Gt(0)] = 30.0
    largest_load: Annotated[int, Ge(1)] = 1000
