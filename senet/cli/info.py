"""`senet info`."""

import dataclasses
import json

import click

from senet.cli.command import command_of, say
from senet.models.family import VARIANTS


@command_of("info")
@click.argument("name")
@click.option("--variant", type=click.Choice(list(VARIANTS)), default="seed", show_default=True)
@click.option("--classes", type=click.IntRange(1, 100_000), default=1000, show_default=True)
@click.option("--size", type=click.IntRange(32), help="Side of the input, pixels.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON, layer by layer.")
def command(name: str, variant: str, classes: int, size: int | None, as_json: bool) -> None:
    """Show parameters, multiply-adds, input size and stages of the network NAME."""
    from senet import applications
    from senet.models.complexity import complexity, shapes_only
    from senet.models.family import named_spec

    side = size or named_spec(name, variant).input_size
    image = (side, side, 3)
    with shapes_only():
        model = applications.create(name, variant=variant, classes=classes, input_shape=image)
    cost = complexity(model)
    if as_json:
        click.echo(json.dumps(dict(name=name, variant=variant) | dataclasses.asdict(cost)))
        return
    say(
        f"{name}, variant {variant}, {classes} classes, input {side} x {side} x 3\n"
        f"trainable parameters {cost.trainable_parameters:,} "
        f"(with running statistics {cost.parameters:,})\n"
        f"multiply-adds {cost.multiply_adds:,}, activations {cost.activations:,} for one image\n"
    )
    say(f"{'stage':<12}{'output':>16}{'trainable parameters':>22}{'multiply-adds':>16}")
    for stage, group in cost.by_group().items():
        shape = " x ".join(map(str, group[-1].output_shape))
        parameters = sum(layer.trainable_parameters for layer in group)
        operations = sum(layer.multiply_adds for layer in group)
        say(f"{stage:<12}{shape:>16}{parameters:>22,}{operations:>16,}")
