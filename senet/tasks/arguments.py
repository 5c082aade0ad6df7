"""Checks of arguments that several functions have."""

import numbers
import operator
from typing import Any

import keras

from senet.errors import InputError
from senet.models.graph import find_se_blocks
from senet.prediction.trained import Trained


def require_count(name: str, value: Any, least: int = 1) -> None:
    """Refuse what is no whole number, or a smaller one.

    Raises:
        InputError: it is.
    """
    whole = hasattr(value, "__index__") and not isinstance(value, bool)  # of NumPy too
    if not whole or operator.index(value) < least:
        raise InputError(f"{name} must be a whole number of at least {least}; got {value!r}.")


def require_points(name: str, value: Any) -> None:
    """Refuse what is no number of percentage points.

    Raises:
        InputError: it is.
    """
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= 100:
        raise InputError(f"{name} must be a number of percentage points, 0 to 100; got {value!r}.")


def require_gates(trained: Trained) -> None:
    """Refuse a network all of whose gates were folded away.

    Raises:
        InputError: it is one.
    """
    gone = trained.folded
    if gone and isinstance(trained.model, keras.Model) and not find_se_blocks(trained.model):
        raise InputError(
            f"{trained.where!r} has no gates left: senet fold took away all {len(gone)}. Name the "
            "network that it was made of."
        )
