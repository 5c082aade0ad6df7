"""A recipe out of a preset or a TOML file, and of what changes it."""

import os
import tomllib
from collections.abc import Mapping
from typing import Any

from senet.errors import InputError, NotFoundError
from senet.foreign import read_file
from senet.recipes.fields import merge_fields
from senet.recipes.presets import DEFAULT, read_preset
from senet.recipes.recipe import Recipe

MAX_RECIPE = 2**14
"""Largest recipe that is read, bytes: one with every field has a thousand. Dotted keys take time
with the square of their number."""


def merge_recipe(
    preset: str | None, base: Recipe | str | os.PathLike | None, changes: Mapping[str, Any]
) -> Recipe:
    """A recipe, that of a file, or else of a preset, and changes over it, as flags give them.

    Args:
        preset: to start from; `quick` where there is neither it nor a base.
        base: a recipe, or a file of TOML, which names in itself the preset that it starts from, if
            not `quick`.
        changes: fields to set otherwise; those of the spec add to it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: preset or field are unknown, or a value is outside its range.

    Example:
        >>> merge_recipe("paper", None, {"epochs": 3}).epochs
        3
    """
    if isinstance(base, Recipe):
        fields = base.to_json()
    else:
        fields = read_toml(base) if base else read_preset(preset or DEFAULT)
    return Recipe.from_json(merge_fields(fields, changes))


def read_toml(path: str | os.PathLike) -> dict[str, Any]:
    """Fields of a recipe from a TOML file, as `Recipe.to_toml` writes it.

    A field `preset` names the recipe to start from.

    Args:
        path: of the file.

    Returns:
        The fields, to be given to `Recipe.from_json`; those of the preset are filled in.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no TOML, or its preset or a field is unknown.

    Example:
        >>> Recipe.from_json(read_toml("runs/pets/recipe.toml")).epochs
        8
    """
    try:
        values = tomllib.loads(read_file(path, MAX_RECIPE).decode("utf-8"))
    except FileNotFoundError:
        raise NotFoundError(f"There is no recipe {str(path)!r}.") from None
    except RecursionError as error:
        raise InputError(f"{str(path)!r} cannot be read as TOML: it is nested too deep") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{str(path)!r} cannot be read as TOML: {error}") from error
    try:
        fields = merge_fields(read_preset(str(values.pop("preset", DEFAULT))), values)
        Recipe.from_json(fields)  # here, where the file that is wrong has a name
    except (TypeError, ValueError) as error:
        raise InputError(f"{str(path)!r}: {error}") from error
    return fields
