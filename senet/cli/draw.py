"""`senet draw`."""

import pathlib

import click

from senet.cli.command import command_of, say
from senet.models.family import VARIANTS


@command_of("draw")
@click.argument("name")
@click.option("--variant", type=click.Choice(list(VARIANTS)), default="seed", show_default=True)
@click.option("--classes", type=click.IntRange(1, 100_000), default=1000, show_default=True)
@click.option("--size", type=click.IntRange(32), help="Side of the input, pixels.")
@click.option(
    "--out",
    type=click.Path(path_type=pathlib.Path, file_okay=False),
    default=".",
    show_default=True,
    help="Folder for the pictures.",
)
def command(name: str, variant: str, classes: int, size: int | None, out: pathlib.Path) -> None:
    """Draw the network NAME as SVG and PNG: the whole, a group, and its blocks.

    Shapes and parameter counts are read from the model.
    """
    from senet import applications
    from senet.drawing import draw
    from senet.models.complexity import shapes_only
    from senet.models.family import named_spec

    side = size or named_spec(name, variant).input_size
    shape = (side, side, 3)
    with shapes_only():
        model = applications.create(name, variant=variant, classes=classes, input_shape=shape)
    for path in draw(model, out):
        say(path)
