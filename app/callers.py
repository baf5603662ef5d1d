"""Who asks, and what they may do."""

from dataclasses import dataclass
from typing import Protocol

READ, SUBMIT, ADMIN = "read", "submit", "admin"
SCOPES = (READ, SUBMIT, ADMIN)
"""Each includes those before it."""


class Owned(Protocol):
    """What belongs to an owner, who may let all others see it: a job."""

    @property
    def owner(self) -> str: ...

    @property
    def shared(self) -> bool: ...


class NotAllowed(PermissionError):
    """The caller is known, but may not do this. Names the scope that is needed."""


@dataclass(frozen=True)
class Caller:
    """The owner that a request speaks for, and its widest scope.

    key      the prefix of the key that was shown; None where none is needed
    address  where the request came from; None: from this machine, without a request
    """

    owner: str
    scope: str
    key: str | None = None
    address: str | None = None

    def require(self, scope: str) -> None:
        """Raises: NotAllowed."""
        if SCOPES.index(self.scope) < SCOPES.index(scope):
            raise NotAllowed(f"this needs the scope {scope!r}; the scope given is {self.scope!r}")

    @property
    def sees_all(self) -> bool:
        return self.scope == ADMIN

    @property
    def may_submit(self) -> bool:
        return self.scope in (SUBMIT, ADMIN)

    def may_see(self, found: Owned) -> bool:
        return self.sees_all or found.shared or found.owner == self.owner

    def may_change(self, found: Owned) -> bool:
        return self.scope == ADMIN or (self.scope == SUBMIT and found.owner == self.owner)


@dataclass(frozen=True)
class Visitor:
    """Who looks at a page. csrf: what its forms must bring along; None without a session."""

    caller: Caller
    csrf: str | None = None


@dataclass(frozen=True)
class Stranger:
    """Someone whom no valid key speaks for; what they tried is kept in the audit log."""

    address: str | None
    key: str | None = None
    owner: None = None


LOCAL = Caller("local", ADMIN)
"""Whoever reaches an open server, which listens on loopback alone, and the command line on the state directory."""
