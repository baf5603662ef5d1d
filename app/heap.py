"""What a long-lived process has loaded stays loaded: the garbage collector need not look through it again."""

import gc


def settle() -> None:
    """Call it once all is loaded. Else each full collection walks through torch and the rest of it: a quarter of a
    second every few seconds under load, in which a server answers nobody and a worker may hold the database.
    """
    gc.collect()
    gc.freeze()
