"""Who asks, and what they may do."""

from dataclasses import dataclass

from app.jobs import Job

READ, SUBMIT, ADMIN = "read", "submit", "admin"
SCOPES = (READ, SUBMIT, ADMIN)
"""Each includes those before it."""


class NotAllowed(PermissionError):
    """The caller is known, but may not do this. Names the scope that is needed."""


@dataclass(frozen=True)
class Caller:
    """The owner that a request speaks for, and its widest scope."""

    owner: str
    scope: str

    def require(self, scope: str) -> None:
        """Raises: NotAllowed."""
        if SCOPES.index(self.scope) < SCOPES.index(scope):
            raise NotAllowed(f"this needs the scope {scope!r}; the scope given is {self.scope!r}")

    def may_see(self, job: Job) -> bool:
        return self.scope == ADMIN or job.owner == self.owner

    def may_change(self, job: Job) -> bool:
        return self.scope == ADMIN or (self.scope == SUBMIT and job.owner == self.owner)


LOCAL = Caller("local", ADMIN)
"""Whoever reaches an open server, which listens on loopback alone."""
