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
    """Indices of at most `count` images of these classes, in order.

    Each class has its share of them, and one image at least where `count` allows it.
    """
    own = [np.flatnonzero(labels == k) for k in classes]
    sizes = np.array([len(indices) for indices in own])
    if sizes.sum() <= count:
        quotas = sizes
    elif count < len(classes):
        quotas = np.zeros(len(classes), int)
        quotas[spread_evenly(len(classes), count)] = 1
    else:
        shares = count * sizes / sizes.sum()
        quotas = np.maximum(1, np.floor(shares).astype(int))
        while quotas.sum() != count:
            away = shares - quotas  # the class that is furthest from its share gives or takes one
            if quotas.sum() < count:
                quotas[np.where(quotas < sizes, away, -np.inf).argmax()] += 1
            else:
                quotas[np.where(quotas > 1, away, np.inf).argmin()] -= 1
    taken = [np.array([], "int64")] + [
        one[spread_evenly(len(one), n)] for one, n in zip(own, quotas, strict=True) if n
    ]
    return np.sort(np.concatenate(taken))
