"""The arms of an experiment: recipes that differ in one thing."""

import dataclasses
import pathlib
import re
from typing import Any

from senet.errors import InputError
from senet.models.spec import Spec
from senet.recipes.fields import read_value
from senet.recipes.recipe import MODEL, Recipe


@dataclasses.dataclass(frozen=True)
class Arm:
    """One of the networks or settings that are compared.

    Args:
        name: to show, and to name folders by.
        recipe: but for the seed.
    """

    name: str
    recipe: Recipe

    def with_seed(self, seed: int) -> Recipe:
        """The recipe of one run."""
        return dataclasses.replace(self.recipe, seed=seed)

    @property
    def data(self) -> str:
        """The data set, as people call it."""
        return pathlib.Path(self.recipe.data).name

    @property
    def settings(self) -> dict[str, Any]:
        """The recipe without what differs from run to run and from machine to machine."""
        return {k: v for k, v in self.recipe.to_json().items() if k not in ("seed", "data")}


def arms_of(recipe: Recipe, vary: str | None = None) -> list[Arm]:
    """What an experiment compares.

    Args:
        recipe: of the first arm.
        vary: `None` compares the network with itself without SE; `"ratio=4,8,16"` gives a field of
            the recipe or of `senet.Spec` these values in turn.

    Returns:
        Arms that differ in this one thing. The first is the one that others are compared with: the
        network without SE, or the first value.

    Raises:
        ValueError: there is no such field, a value is not allowed, or there is nothing to compare.

    Example:
        >>> [arm.name for arm in arms_of(Recipe(), "ratio=4,16")]
        ['ratio=4', 'ratio=16']
    """
    if vary is None:
        if recipe.built_spec().ratio is None:
            raise InputError(
                f"{recipe.model} has no squeeze and excitation to compare it without: "
                "name the network that has, or say what to vary."
            )
        plain = dataclasses.replace(recipe, spec=recipe.spec | {"ratio": None})
        return [Arm("plain", plain), Arm("se", recipe)]
    field, sign, texts = vary.partition("=")
    field = field.strip().replace("-", "_")
    parts = re.split(r",(?![^\[]*\])", texts)  # commas outside brackets
    values = [read_value(text.strip()) for text in parts if text.strip()]
    if not sign or len(values) < 2:
        raise InputError(f"Say what to vary as field=value,value, as ratio=4,8,16; got {vary!r}.")
    of_recipe = {f.name for f in dataclasses.fields(Recipe)} - {"spec", "seed"}
    if field not in of_recipe and field not in {f.name for f in dataclasses.fields(Spec)}:
        raise InputError(f"Neither a recipe nor a network's spec has a field {field!r}.")
    arms = []
    for value in values:
        change = {field: value} if field in of_recipe else {"spec": recipe.spec | {field: value}}
        fields = recipe.to_json() | change
        if field == "weights" and recipe.model == MODEL:  # which is the default: theirs then
            fields["model"] = None
        arms.append(Arm(f"{field}={value}", Recipe.from_json(fields)))
    return arms
