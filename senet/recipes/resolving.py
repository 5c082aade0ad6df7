"""What a recipe leaves open: whole paths, and defaults that depend on the data."""

import dataclasses
import os
from typing import Any

from senet.data.sources import Data, absolute
from senet.errors import InputError
from senet.foreign import escape_text
from senet.recipes.recipe import Recipe
from senet.weights.catalogue import is_tag


def locate_paths(recipe: Recipe) -> Recipe:
    """The recipe with paths that mean the same from every folder.

    Example:
        >>> locate_paths(Recipe(data="photos")).data == os.path.abspath("photos")
        True

    Raises:
        ValueError: a path has bytes that are no UTF-8, or control characters.
    """
    weights = recipe.weights
    if weights is not None and os.path.exists(weights) and not is_tag(weights):
        weights = os.path.abspath(weights)
    paths: dict[str, Any] = dict(
        data=absolute(recipe.data),
        class_map=recipe.class_map and os.path.abspath(recipe.class_map),
        weights=weights,
    )
    for name, path in paths.items():
        if path and escape_text(path) != path:
            raise InputError(
                f"The path of {name}, '{escape_text(path)}', has bytes that are no UTF-8, or "
                "control characters, which no recipe can hold: rename what it leads to."
            )
    return dataclasses.replace(recipe, **paths)


def fill_defaults(recipe: Recipe, data: Data) -> Recipe:
    """The recipe with a value for everything that depends on the network and the data.

    Args:
        recipe: with `None` for what it leaves open.
        data: that it is used on.

    Returns:
        A recipe with size, crop, flip and jitter, whose batches hold no more images than there
        are.
    """
    defaults: dict[str, Any] = dict(
        size=recipe.built_spec().input_size,
        crop="shift" if data.small else "resized",
        flip=0.5 if data.mirror else 0.0,
        jitter=0.0 if data.small else 0.2,
    )
    missing = {name: value for name, value in defaults.items() if getattr(recipe, name) is None}
    batch_size = min(recipe.batch_size, len(data.split("train")))
    return dataclasses.replace(recipe, batch_size=batch_size, **missing)
