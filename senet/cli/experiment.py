"""`senet experiment`."""

import json
import pathlib
from typing import Any

import click

from senet.cli.command import command_of, say
from senet.cli.options import Listed, read_recipe, recipe_options
from senet.recipes.arms import arms_of
from senet.recipes.presets import PRESETS


@command_of("experiment")
@click.option("--vary", help="Field and values, as ratio=4,8,16; SE against plain by default.")
@click.option(
    "--seeds",
    type=Listed(int),
    default="0,1,2",
    show_default=True,
    help="Of each arm; two at least.",
)
@click.option("--out", type=click.Path(path_type=pathlib.Path, file_okay=False), required=True)
@click.option("--preset", type=click.Choice(list(PRESETS)), help="Recipe to start from.")
@click.option(
    "--recipe",
    "file",
    type=click.Path(path_type=pathlib.Path),
    help="TOML file of a recipe; the other flags change it.",
)
@recipe_options
def command(
    vary: str | None,
    seeds: tuple[int, ...],
    out: pathlib.Path,
    preset: str | None,
    file: pathlib.Path | None,
    **fields: Any,
) -> int:
    """Train networks that differ in one thing under one recipe, with several seeds each.

    Prints top-1 on held-out images for every seed, mean and standard deviation, and the difference
    to the first with its 95 % confidence interval (paired by seed, Student's t). The same command
    goes on where it was stopped. The last line on standard output is the result as JSON.

    \b
    senet experiment --out experiments/digits
    senet experiment --data photos/ --vary ratio=none,4,16 --out experiments/ratio
    """
    recipe = read_recipe(preset, file, fields)
    arms = arms_of(recipe, vary)
    from senet.training.experiment import experiment, table

    summary = experiment(arms, out, seeds=seeds)
    say(table(summary))
    if summary["baseline"]:
        say(f"baseline, always saying the most frequent class: {summary['baseline']:.2%}")
    click.echo(json.dumps(summary))
    return 0
