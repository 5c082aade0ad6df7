"""`senet export`."""

import json
import pathlib

import click

from senet.cli.command import command_of, say, say_warnings
from senet.deployment.formats import FORMATS


@command_of("export")
@click.argument("model", type=click.Path(path_type=pathlib.Path))
@click.option(
    "--weights", help="Published weights, a run or a file, where MODEL is the name of a network."
)
@click.option(
    "--format",
    "style",
    type=click.Choice(list(FORMATS)),
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
@click.option(
    "--precision",
    type=click.Choice(sorted({name for style in FORMATS.values() for name in style.precisions})),
    help="To run in; by default bfloat16 for openvino, float32 for the others.",
)
@click.option("--pixels", is_flag=True, help="Let the graph normalise pixels 0-255 (uint8).")
@click.option("--data", help="Images to compare on; by default those that the run held out.")
@click.option("--images", type=click.IntRange(1), default=64, show_default=True)
def command(
    model: pathlib.Path,
    weights: str | None,
    style: str,
    out: pathlib.Path,
    precision: str | None,
    pixels: bool,
    data: str | None,
    images: int,
) -> None:
    """Write a trained network for another runtime, proved equal to Keras on real images.

    MODEL is a run folder, a file that senet saved, published weights as se_resnet50.imagenet, or
    with --weights the name of a network. Batch
    normalisation is folded and the batch is open. `senet predict` and `senet evaluate` use the
    folder like a run. The last line on standard output is the comparison as JSON.

    \b
    senet export runs/pets --out pets-openvino
    senet export runs/pets --format triton --pixels --out repository
    """
    import senet

    result = senet.export(
        model,
        out,
        style,
        weights=weights,
        precision=precision,
        pixels=pixels,
        data=data,
        images=images,
    )
    say(result)
    say_warnings(result.warnings)
    click.echo(json.dumps(result.to_json()))
