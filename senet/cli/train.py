"""`senet train`."""

import datetime
import json
import pathlib
import sys
from typing import Any

import click

from senet.cli.command import command_of
from senet.cli.options import read_flags, read_recipe, recipe_options
from senet.recipes.presets import PRESETS
from senet.recipes.recipe import Recipe
from senet.runs.folder import CONFUSION, CURVES, MODEL, PREDICTIONS, REPORT
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
    senet train                                     digits, in about a minute
    senet train --data photos/ --model se_resnet10 --size 96
    senet train --preset finetune --data photos.zip --weights seresnet50.safetensors
    senet train --resume runs/photos
    """
    if processes > 1 and not team.is_launched():
        arguments = sys.argv[1:]
        if resume is None and out is None:
            recipe = read_recipe(preset, file, fields)
            arguments += ["--out", str(_default_folder(recipe))]
        return team.launch(arguments, processes)
    if resume is not None:
        if preset or file or out:
            raise click.UsageError("--resume goes on with its own recipe and folder.")
        from senet.training.run import resume as go_on

        folder, result = resume, go_on(resume, read_flags(fields))
    else:
        recipe = read_recipe(preset, file, fields)
        folder = out or _default_folder(recipe)
        from senet.training.run import train

        result = train(recipe, folder)
    if "split" in result:
        from senet.evaluation import describe_seen

        baseline = ""
        if "baseline" in result:  # older runs have none
            baseline = f" (baseline {result['baseline']:.2%}: always {result['majority_class']!r})"
        if "top1" in result:
            count = f"{result['images']} {result['split']} images"
            lines = [f"top-1 {result['top1']:.2%} on {count}{baseline}"]
            if "trained_on_complete" in result:  # older runs do not say it
                lines += describe_seen(result)
        else:
            count = f"{result['trained_on']} {result['split']} images"
            lines = [f"no score: all {count} were trained on"]
        score = "\n".join(lines)
        print(
            f"{score}\nreport: {folder / REPORT}\npictures: "
            + ", ".join(str(folder / name) for name in (CURVES, CONFUSION, PREDICTIONS))
            + f"\nmodel: {folder / MODEL}",
            file=sys.stderr,
        )
    print(json.dumps(result))
    return EXIT_CODES[result["interrupted"]] if result["interrupted"] else 0


def _default_folder(recipe: Recipe) -> pathlib.Path:
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    return pathlib.Path("runs", f"{recipe.model}-{pathlib.Path(recipe.data).stem}-{now}")
