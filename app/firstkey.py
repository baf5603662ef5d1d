"""The first key from outside: a container gets it as a secret, for nobody is there to read what `snas init` prints."""

import contextlib

from sqlalchemy import Engine

from app import keys
from app.settings import Settings


class InvalidSecret(Exception):
    """What is given as first key is none, or its file cannot be read. Never says what it holds."""


def check(settings: Settings) -> None:
    """Raises: InvalidSecret"""
    text = _given(settings)
    if text is not None and not keys.is_key(text):
        where = "SNAS_FIRST_KEY" if settings.first_key is not None else f"SNAS_FIRST_KEY_FILE {settings.first_key_file}"
        raise InvalidSecret(f"{where} holds {len(text)} characters that are no key; a key is {keys.SHAPE}")


def make(settings: Settings, db: Engine) -> None:
    """Makes it an administrator's where there is no key yet. Raises: InvalidSecret."""
    check(settings)
    text = _given(settings)
    if text is not None:
        with contextlib.suppress(keys.KeysExist):  # a restart; by now it may be revoked, and stays so
            keys.create_first(db, text)


def _given(settings: Settings) -> str | None:
    if settings.first_key is not None:
        return settings.first_key.get_secret_value()
    if settings.first_key_file is None:
        return None
    try:
        return settings.first_key_file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a key"
        raise InvalidSecret(f"SNAS_FIRST_KEY_FILE {settings.first_key_file}: {reason}") from None
