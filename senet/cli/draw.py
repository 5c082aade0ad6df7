"""`senet draw`."""

import pathlib

import click

from senet.cli.command import command_of, say
from senet.models.family import VARIANTS


@command_of("draw")
@click.argument("name")
@click.option("--variant", type=click.Choice(list(VARIANTS)), help="Of a network; seed by default.")
@click.option("--classes", type=click.IntRange(1, 100_000), help="1000, or those of the weights.")
@click.option("--size", type=click.IntRange(32), help="Side of the input, pixels.")
@click.option(
    "--out",
    type=click.Path(path_type=pathlib.Path, file_okay=False),
    default=".",
    show_default=True,
    help="Folder for the pictures.",
)
def command(
    name: str,
    variant: str | None,
    classes: int | None,
    size: int | None,
    out: pathlib.Path,
) -> None:
    """Draw the network NAME as SVG and PNG: the whole, a group, and its blocks.

    NAME is a network as `senet list` shows them, a run folder, a file of weights, or published
    weights as se_resnet50.imagenet. Shapes and parameter counts are read from the model.

    \b
    senet draw se_resnext50_32x4d --out pictures
    senet draw runs/pets --out pictures
    """
    from senet import applications
    from senet.drawing import draw

    for path in draw(applications.outline(name, variant=variant, classes=classes, size=size), out):
        say(path)
