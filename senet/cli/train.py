"""`senet train`."""

import dataclasses
import datetime
import json
import pathlib
import sys
from typing import Any, Literal, get_args, get_origin

import click

from senet.training.recipe import Recipe, kind_of


def recipe_options(function):
    """A flag for each field of `Recipe`, of its type, with its default and help."""
    for field in reversed(dataclasses.fields(Recipe)):
        option = click.option(
            "--" + field.name.replace("_", "-"),
            type=_click_type(field),
            default=field.default,
            show_default=field.default is not None,
            help=field.metadata["help"],
        )
        function = option(function)
    return function


def _click_type(field: dataclasses.Field) -> Any:
    kind, _ = kind_of(field)
    return click.Choice(get_args(kind)) if get_origin(kind) is Literal else kind


@click.command("train", context_settings={"help_option_names": ["-h", "--help"]})
@recipe_options
@click.option(
    "--out",
    type=click.Path(path_type=pathlib.Path, file_okay=False),
    help="Folder of the run, new or empty; runs/MODEL-DATA-TIME by default.",
)
def command(out: pathlib.Path | None, **fields: Any) -> int:
    r"""Train a network on images and leave a run folder.

    The folder holds the model, the resolved configuration, metrics.csv, plots and report.html.
    Ctrl-C keeps the last whole epoch. The last line on standard output is the result as JSON.

    \b
    senet train                                     digits, in about a minute
    senet train --data photos/ --model se_resnet10 --size 96
    senet train --data photos.zip --model se_resnext50_32x4d --precision mixed_bfloat16
    """
    recipe = Recipe(**fields)
    folder = out or _default_folder(recipe)
    from senet.training.loop import train

    result = train(recipe, folder)
    print(
        f"top-1 {result['top1']:.2%} on {result['images']} {result['split']} images\n"
        f"report: {folder / 'report.html'}\npictures: "
        + ", ".join(f"{folder / name}.png" for name in ("curves", "confusion", "predictions"))
        + f"\nmodel: {folder / 'model.keras'}",
        file=sys.stderr,
    )
    print(json.dumps(result))
    return 130 if result["interrupted"] else 0


def _default_folder(recipe: Recipe) -> pathlib.Path:
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    return pathlib.Path("runs", f"{recipe.model}-{pathlib.Path(recipe.data).stem}-{now}")
