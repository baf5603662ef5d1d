import pytest


@pytest.fixture(scope="session", autouse=True)
def _kernels() -> None:
    """Compiled by a process of its own before any test: runs are compared bit for bit across processes."""
    from models.warm import load_kernels

    load_kernels()
