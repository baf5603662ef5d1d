"""Arithmetic on active weights alone, compiled by Numba. Batch innermost; knows nothing of torch."""
