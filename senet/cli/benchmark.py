"""`senet benchmark`."""

import json

import click

from senet.cli.command import command_of, say, say_warnings
from senet.models.family import VARIANTS


@command_of("benchmark")
@click.argument("name")
@click.option(
    "--mode",
    type=click.Choice(["train", "infer"]),
    default="infer",
    show_default=True,
    help="Whether to time a step of training or a prediction.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    help="Images in a step; by default 32 to train and 1 to infer.",
)
@click.option("--size", type=click.IntRange(32, 4096), help="Side of the input, pixels.")
@click.option(
    "--precision",
    type=click.Choice(["float32", "mixed_bfloat16"]),
    help="float32 by default, or what an exported network runs in.",
)
@click.option("--variant", type=click.Choice(list(VARIANTS)), help="Of a network; seed by default.")
@click.option(
    "--repeats",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="That count; one is as many steps as take a fifth of a second.",
)
@click.option(
    "--no-acceleration", is_flag=True, help="Train the network itself and not its fast twin."
)
def command(
    name: str,
    mode: str,
    batch_size: int | None,
    size: int | None,
    precision: str | None,
    variant: str | None,
    repeats: int,
    no_acceleration: bool,
) -> None:
    """Measure how fast the network NAME is on this machine, and how fast it could be.

    NAME is a network as `senet list` shows them, with random weights; a run folder, a file or
    published weights as se_resnet50.imagenet; and to infer a folder that `senet export` or `senet
    quantize` wrote. Images are in memory: reading them is not timed. The limit is that of a large
    matrix product in the same precision. The last line on standard output is all of it as JSON.

    \b
    senet benchmark se_resnet20_cifar --mode train
    senet benchmark se_resnet50 --mode train --precision mixed_bfloat16
    senet benchmark pets-openvino
    """
    import senet

    result = senet.benchmark(
        name,
        mode,
        batch_size=batch_size,
        size=size,
        precision=precision,
        variant=variant,
        repeats=repeats,
        acceleration=not no_acceleration,
    )
    say(result)
    say_warnings(result.warnings)
    click.echo(json.dumps(result.to_json()))
