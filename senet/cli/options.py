"""Options that several commands share: a recipe by preset, file and flags."""

import dataclasses
import pathlib
from typing import Any, Literal, get_args, get_origin

import click

from senet.recipes.fields import kind_of, read_value
from senet.recipes.recipe import Recipe
from senet.recipes.toml import merge_recipe


class Listed(click.ParamType):
    """Values with commas between them."""

    name = "list"

    def __init__(self, kind: type) -> None:
        self.kind = kind

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[Any, ...]:
        """The values of `0.3,0.6` as a tuple."""
        try:
            return tuple(self.kind(part) for part in str(value).split(",") if part)
        except ValueError:
            self.fail(f"{value!r} is no list of values with commas between them.", param, ctx)


class Assigned(click.ParamType):
    """A field and its value."""

    name = "field=value"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, Any]:
        """The two sides of `ratio=8`."""
        field, sign, text = str(value).partition("=")
        if not sign or not field:
            self.fail(f"{value!r} is no field=value, as ratio=8.", param, ctx)
        return field.strip().replace("-", "_"), read_value(text.strip())


def recipe_options(function):
    """A flag for each field of `Recipe`, of its type; one that is not given is `None`."""
    for field in reversed(dataclasses.fields(Recipe)):
        kind, _ = kind_of(field)
        flag = "--" + field.name.replace("_", "-")
        options: dict[str, Any] = dict(default=None, help=_describe(field))
        if kind is bool:
            flag = f"{flag}/--no-{flag[2:]}"
        elif kind is dict:
            options |= dict(type=Assigned(), multiple=True)
        elif get_origin(kind) is Literal:
            options |= dict(type=click.Choice(get_args(kind)))
        elif get_origin(kind) is tuple:
            options |= dict(type=Listed(get_args(kind)[0]))
        else:
            options |= dict(type=kind)
        function = click.option(flag, field.name, **options)(function)
    return function


def _describe(field: dataclasses.Field) -> str:
    text, default = field.metadata["help"], field.default
    if default is dataclasses.MISSING or default is None or default is False or default == ():
        return text
    shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
    return f"{text}  [default: {shown}]"


def read_flags(fields: dict[str, Any]) -> dict[str, Any]:
    """The flags that were given, as fields of a recipe."""
    given = {name: value for name, value in fields.items() if value is not None}
    spec = dict(given.pop("spec"))
    return given | {"spec": spec} if spec else given


def read_recipe(preset: str | None, file: pathlib.Path | None, fields: dict[str, Any]) -> Recipe:
    """The recipe that `--preset` or `--recipe` names, with the flags over it."""
    if preset and file:
        raise click.UsageError("--preset and --recipe both name a recipe: give one of them.")
    return merge_recipe(preset, file, read_flags(fields))
