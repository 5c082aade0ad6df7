"""`senet explain`."""

import json
import pathlib

import click

from senet.cli.command import command_of, say, say_warnings


@command_of("explain")
@click.argument("model", type=click.Path(path_type=pathlib.Path))
@click.option(
    "--weights", help="Published weights, a run or a file, where MODEL is the name of a network."
)
@click.option("--data", help="Folder, zip or name; by default what the run was trained on.")
@click.option("--class-map", help="File that renames or merges classes, .csv or .json.")
@click.option("--split", help="train, validation, test or all; as for senet evaluate.")
@click.option(
    "--images",
    type=click.IntRange(1),
    default=2000,
    show_default=True,
    help="Images to look at, at most; of each class its share.",
)
@click.option(
    "--class",
    "classes",
    multiple=True,
    metavar="NAME",
    help="Class to draw, several times for several; by default four, evenly spread.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=pathlib.Path),
    help="Folder to write; an earlier explanation there is replaced.",
)
@click.option("--batch-size", type=click.IntRange(1), default=64, show_default=True)
def command(
    model: pathlib.Path,
    weights: str | None,
    data: str | None,
    class_map: str | None,
    split: str | None,
    images: int,
    classes: tuple[str, ...],
    out: pathlib.Path,
    batch_size: int,
) -> None:
    """Show what the gates of a network do on labelled images, and where it looks.

    MODEL is a run folder, a file that senet saved, published weights as se_resnet50.imagenet, or
    with --weights the name of a network. Without --data the images are those that the run held out;
    what the network was trained on is left out of others too, unless --split train asks for its own
    training images.

    The folder gets explain.html, which needs no other file: the paper's figures 6 and 7 (mean gate
    of each class, spread within two), a profile of all blocks, the paper's three findings checked,
    and Grad-CAM, with a test of whether its maps beat random ones; its pictures, as PNG and charts
    as SVG too; and gates.json with the numbers. Of more than 100 classes 100 are looked at. The
    last line on standard output is the numbers as JSON.

    \b
    senet explain runs/pets --out pets-inside
    senet explain runs/pets --class "Persian" --class "pug" --out pets-inside
    senet explain se_resnet50 --weights imagenet --data imagenet/val --out inside
    """
    import senet

    result = senet.explain(
        model,
        data,
        out=out,
        weights=weights,
        split=split,
        class_map=class_map,
        classes=classes,
        images=images,
        batch_size=batch_size,
    )
    say(result)
    say_warnings(result.warnings)
    click.echo(json.dumps(result.to_json()))
