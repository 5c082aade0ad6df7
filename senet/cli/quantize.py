"""`senet quantize`."""

import json
import pathlib

import click

from senet.cli.command import command_of, say, say_warnings
from senet.deployment.formats import QUANTIZABLE


@command_of("quantize")
@click.argument("model", type=click.Path(path_type=pathlib.Path))
@click.option(
    "--weights", help="Published weights, a run or a file, where MODEL is the name of a network."
)
@click.option(
    "--format",
    "style",
    type=click.Choice(QUANTIZABLE),
    default="openvino",
    show_default=True,
    help="What the runtime reads.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=pathlib.Path),
    help="Folder to write; an earlier export there is replaced.",
)
@click.option("--data", help="Images; by default those of the run.")
@click.option("--class-map", help="File that renames or merges classes, .csv or .json.")
@click.option(
    "--images",
    type=click.IntRange(10),
    default=300,
    show_default=True,
    help="Training images to calibrate on.",
)
@click.option(
    "--max-drop",
    type=click.FloatRange(0, 100),
    default=0.5,
    show_default=True,
    help="Top-1 that may be lost on held-out images, percentage points.",
)
@click.option("--pixels", is_flag=True, help="Let the graph normalise pixels 0-255 (uint8).")
def command(
    model: pathlib.Path,
    weights: str | None,
    style: str,
    out: pathlib.Path,
    data: str | None,
    class_map: str | None,
    images: int,
    max_drop: float,
    pixels: bool,
) -> None:
    """Write a trained network in int8, if it stays as good on held-out images.

    MODEL is a run folder, a file that senet saved, published weights as se_resnet50.imagenet, or
    with --weights the name of a network; all but a run need --data. Ranges come of training images,
    scores of those held out. The last line on standard output is the result as JSON.

    \b
    senet quantize runs/pets --out pets-int8
    senet evaluate pets-int8 --data photos/
    """
    import senet

    result = senet.quantize(
        model,
        out,
        style,
        weights=weights,
        data=data,
        class_map=class_map,
        images=images,
        max_drop=max_drop,
        pixels=pixels,
    )
    say(result)
    say_warnings(result.warnings)
    click.echo(json.dumps(result.to_json()))
