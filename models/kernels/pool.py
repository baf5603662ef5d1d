"""Max pooling of images, batch innermost.

x, dx     [channels, height, width, batch]
y, dy     [channels, height', width', batch]
chosen    uint8, shaped as y: which place of its window, row by row, the maximum came from
geometry  height and width of a window, its stride, and the padding, which never is the maximum
"""

from typing import Any

import numpy as np

from models.kernels.compiled import kernel

Array = np.ndarray[Any, Any]
Geometry = tuple[int, int, int, int, int, int]


@kernel
def max_pool(x: Array, geometry: Geometry, y: Array, chosen: Array) -> None:
    """The first of equal maxima; the last NaN where there is one, as torch has it."""
    channels, height, width, batch = x.shape
    tall, wide, down, right, above, before = geometry
    for c in range(channels):
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                top, left = i * down - above, j * right - before
                first = True
                for p in range(max(0, -top), min(tall, height - top)):
                    for q in range(max(0, -left), min(wide, width - left)):
                        h, w, place = np.uint64(top + p), np.uint64(left + q), np.uint8(p * wide + q)
                        if first:
                            for n in range(batch):
                                y[c, i, j, n] = x[c, h, w, n]
                                chosen[c, i, j, n] = place
                        else:
                            for n in range(batch):
                                value, best = x[c, h, w, n], y[c, i, j, n]
                                better = (value > best) | (value != value)
                                y[c, i, j, n] = value if better else best
                                chosen[c, i, j, n] = place if better else chosen[c, i, j, n]
                        first = False


@kernel
def max_pool_backward(dy: Array, chosen: Array, geometry: Geometry, dx: Array) -> None:
    channels, height, width, batch = dx.shape
    tall, wide, down, right, above, before = geometry
    for c in range(channels):
        for row in range(height):
            for column in range(width):
                for n in range(batch):
                    dx[c, row, column, n] = 0
        for i in range(dy.shape[1]):
            for j in range(dy.shape[2]):
                top, left = i * down - above, j * right - before
                for p in range(max(0, -top), min(tall, height - top)):
                    for q in range(max(0, -left), min(wide, width - left)):
                        h, w, place = np.uint64(top + p), np.uint64(left + q), np.uint8(p * wide + q)
                        for n in range(batch):
                            dx[c, h, w, n] += dy[c, i, j, n] if chosen[c, i, j, n] == place else dy.dtype.type(0)
