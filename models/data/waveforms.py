"""The generator of MNIST-1D: ten digit-like patterns, padded, stretched, moved, bent and made noisy.

Written anew from the description in Greydanus and Kobak 2020 (arXiv 2011.14439) and its published constants: a
reconstruction that follows the same distribution, not the authors' frozen file sample by sample.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

Signal = NDArray[np.float64]

PADDING = (36, 60)  # zeros after the pattern, fewest and most
SCALE = 0.4  # spread of the amplitude's factor around 1
TRANSLATION = 48  # most steps to move, circularly
CORRELATED_NOISE = 0.25  # deviation, before smoothing
SMOOTHING = 2  # steps
NOISE = 2e-2  # deviation
SHEAR = 0.75  # spread of the slope added
LENGTH = 40
PATTERNS = (
    (5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5),
    (5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5),
    (5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5),
    (5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5),
    (5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5),
    (5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5),
    (5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5),
    (5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5),
)


def generate(samples: int, seed: int) -> tuple[Signal, NDArray[np.int64]]:
    """Signals [samples, 40] and their digits [samples], as many of each digit as can be, in random order."""
    noise = np.random.default_rng(seed)
    digits = noise.permutation(np.arange(samples) % len(PATTERNS))
    padding = noise.integers(len(range(*PADDING)) + 1, size=samples)
    signal = _padded(_templates())[padding, digits] * (1 + SCALE * _centred(noise, samples))
    # Every pattern touches 0 inside as well, so where it lies is carried along and not read off the values.
    inside = _padded(np.ones((1, len(PATTERNS[0]))))[padding, 0] > 0
    shift = noise.integers(TRANSLATION, size=(samples, 1))
    steps = (np.arange(signal.shape[1]) - shift) % signal.shape[1]
    signal, inside = np.take_along_axis(signal, steps, axis=1), np.take_along_axis(inside, steps, axis=1)
    background = gaussian_filter1d(CORRELATED_NOISE * noise.standard_normal(signal.shape), SMOOTHING, axis=1)
    signal = np.where(inside, signal, background) + NOISE * noise.standard_normal(signal.shape)
    slope = SHEAR * _centred(noise, samples)
    return _stretched(signal - slope * np.linspace(-0.5, 0.5, signal.shape[1]), LENGTH), digits


def _templates() -> Signal:
    """The patterns [10, 12], each of deviation 1/6, starting and ending at 0."""
    patterns = np.array(PATTERNS)
    templates: Signal = (patterns - patterns[:, :1]) / patterns.std(axis=1, keepdims=True) / 6
    return templates


def _padded(rows: Signal) -> Signal:
    """Each row [n, 12] after each padding, all stretched to one length: [paddings, n, 72]."""
    shortest, longest = PADDING
    length = rows.shape[1] + longest
    return np.stack([_stretched(np.pad(rows, ((0, 0), (0, zeros))), length) for zeros in range(shortest, longest + 1)])


def _stretched(rows: Signal, length: int) -> Signal:
    """Each row linearly interpolated at `length` points."""
    at = np.linspace(0, rows.shape[1] - 1, length)
    left = np.minimum(at.astype(int), rows.shape[1] - 2)
    stretched: Signal = rows[:, left] * (1 - (at - left)) + rows[:, left + 1] * (at - left)
    return stretched


def _centred(noise: np.random.Generator, samples: int) -> Signal:
    """Uniform in [-.5, .5), one for each sample: [samples, 1]."""
    return noise.random((samples, 1)) - 0.5
