"""Checks of arguments that several functions have."""

import operator
from typing import Any

from senet.errors import InputError


def require_count(name: str, value: Any, least: int = 1) -> None:
    """Refuse what is no whole number, or a smaller one.

    Raises:
        InputError: it is.
    """
    whole = hasattr(value, "__index__") and not isinstance(value, bool)  # of NumPy too
    if not whole or operator.index(value) < least:
        raise InputError(f"{name} must be a whole number of at least {least}; got {value!r}.")
