"""Statistics of blocks as they would be counted, made up for a test."""

import numpy as np

from senet.explanation.statistics import SHUFFLES, GateStatistics


def make_block(name, channels, share=0.0, low=0.0, high=0.0, images=50, spread=0.2, classes=2):
    """A block with this share of the variance between classes, and none with shuffled labels."""
    found = GateStatistics.empty(name, (0.0, 1.0), classes, channels)
    found.count[:] = images
    found.shuffled_count[:] = images
    between, within = np.sqrt(share) * spread, np.sqrt(1 - share) * spread
    signs = np.array([-1.0, 1.0] * (classes // 2) + [0.0] * (classes % 2))
    means = 0.5 + between * signs[:, None] + np.zeros(channels)
    found.total, found.squares = images * means, images * (means**2 + within**2)
    found.shuffled_total = np.full((SHUFFLES, classes, channels), images * 0.5)
    found.low, found.high = (int(s * classes * images * channels) for s in (low, high))
    found.largest[:] = 1
    return found
