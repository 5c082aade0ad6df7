"""`senet train`."""

import json
import pathlib
import sys
from typing import Any

import click

from senet import machine
from senet.cli.command import command_of, complain
from senet.cli.options import read_flags, read_recipe, recipe_options
from senet.recipes.presets import PRESETS
from senet.training import processes as team

EXIT_CODES = {"SIGINT": 130, "SIGTERM": 143}


@command_of("train")
@click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    help="Recipe to start from; the other flags change it.",
)
@click.option(
    "--recipe",
    "file",
    type=click.Path(path_type=pathlib.Path),
    help="TOML file of a recipe, as recipe.toml of a run; the other flags change it.",
)
@click.option(
    "--resume",
    type=click.Path(path_type=pathlib.Path),
    help="Folder of a run that was interrupted: go on with it.",
)
@click.option(
    "--out",
    type=click.Path(path_type=pathlib.Path, file_okay=False),
    help="Folder of the run, new or empty; runs/MODEL-DATA-TIME by default.",
)
@click.option(
    "--processes",
    type=click.IntRange(1),
    default=1,
    help="Train in several processes of this machine that share every batch, on JAX.",
)
@recipe_options
def command(
    preset: str | None,
    file: pathlib.Path | None,
    resume: pathlib.Path | None,
    out: pathlib.Path | None,
    processes: int,
    **fields: Any,
) -> int:
    """Train a network on images and leave a run folder.

    The folder holds the model, the resolved configuration, checkpoints, metrics.csv, plots and
    report.html. Ctrl-C and SIGTERM save a checkpoint and end the run with exit code 130 or 143;
    --resume goes on with it, after a kill too. The last line on standard output is the result as
    JSON.

    \b
    senet train                                     digits
    senet train --data photos/ --model se_resnet10 --size 96
    senet train --preset finetune --data photos.zip --weights seresnet50.safetensors
    senet train --preset finetune --data others/ --weights runs/photos
    senet train --resume runs/photos
    senet train --resume runs/photos --epochs 60    longer, of --schedule constant or plateau
    """
    from senet.tasks import training

    if resume is not None and (preset or file or out):
        raise click.UsageError("--resume goes on with its own recipe and folder.")
    if processes > machine.count_cores():
        cores = machine.count_cores()
        raise click.BadParameter(
            f"{processes} are more than the cores of this machine, which has {cores}: each of them "
            "takes memory of its own and none would be faster.",
            param_hint="--processes",
        )
    share = processes > 1 and not team.is_launched()
    if resume is not None:
        if share:
            return team.launch(sys.argv[1:], processes)
        result = training.resume(resume, **read_flags(fields))
    else:
        recipe = read_recipe(preset, file, fields)
        folder = out or training.choose_folder(recipe)
        if share:
            return team.launch([*sys.argv[1:], *([] if out else ["--out", str(folder)])], processes)
        result = training.train_recipe(recipe, folder)
    complain(str(result))
    print(json.dumps(result.to_json()))
    return EXIT_CODES[result.interrupted] if result.interrupted else 0
