"""`senet predict`."""

import pathlib
import sys

import click

from senet.cli.command import command_of, complain, say_warnings


@command_of("predict")
@click.argument("images", nargs=-1, required=True)
@click.option(
    "--model",
    required=True,
    type=click.Path(path_type=pathlib.Path),
    help="Run folder, file that senet saved, published weights as se_resnet50.imagenet, or with "
    "--weights the name of a network.",
)
@click.option(
    "--weights",
    help="Published weights, a run or a file of a named network; or what a file is a copy of.",
)
@click.option(
    "--format",
    "style",
    type=click.Choice(["table", "csv", "jsonl"]),
    default="table",
    show_default=True,
)
@click.option(
    "--top",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Classes for each image.",
)
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True)
def command(
    images: tuple[str, ...],
    model: pathlib.Path,
    weights: str | None,
    style: str,
    top: int,
    batch_size: int,
) -> int:
    """Name what is on IMAGES: files, folders or patterns.

    \b
    senet predict photo.jpg --model runs/pets
    senet predict photo.jpg --model se_resnet50.imagenet --top 5

    Folders are searched to any depth, hidden files passed over. Prints class and probability. A
    file that is no image that can be read is named on standard error, the others are predicted all
    the same, and the exit code is 1.
    """
    import senet
    from senet.prediction.predicting import WRITERS

    found = senet.predict(model, images, weights=weights, top=top, batch_size=batch_size)
    say_warnings(found.warnings)
    WRITERS[style](found, sys.stdout)
    for prediction in found.failed:
        complain(f"error: {prediction.file}: {prediction.error}")
    return 1 if found.failed else 0
