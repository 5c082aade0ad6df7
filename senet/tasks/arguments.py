"""Checks of arguments that several functions have."""

from typing import Any

from senet.errors import InputError


def require_count(name: str, value: Any, least: int = 1) -> None:
    """Refuse what is no whole number, or a smaller one.

    Raises:
        InputError: it is.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError(f"{name} must be a whole number of at least {least}; got {value!r}.")
