"""Fair samples of what is too much to look at: channels, classes, images."""

import numpy as np

MOST_CLASSES = 100
"""Classes that are looked at; of more, so many are taken."""


def spread_evenly(number: int, count: int) -> np.ndarray:
    """At most `count` of the first `number` integers, evenly spread, both ends among them."""
    return np.unique(np.linspace(0, number - 1, min(number, count)).round().astype("int64"))


def sample_classes(labels: np.ndarray, count: int = MOST_CLASSES) -> np.ndarray:
    """At most `count` of the classes that images have, evenly spread; negative labels are none."""
    known = np.unique(labels[labels >= 0])
    return known[spread_evenly(len(known), count)]


def sample_images(labels: np.ndarray, classes: np.ndarray, count: int) -> np.ndarray:
    """Indices of at most `count` images of these classes, of each class its share, in order."""
    found = np.flatnonzero(np.isin(labels, classes))
    ordered = found[np.argsort(labels[found], kind="stable")]
    return np.sort(ordered[spread_evenly(len(ordered), count)])
