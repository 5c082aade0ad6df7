"""`senet info`."""

import dataclasses
import json

import click

from senet.cli.command import command_of, say
from senet.models.family import VARIANTS, name_variant


@command_of("info")
@click.argument("name")
@click.option("--variant", type=click.Choice(list(VARIANTS)), help="Of a network; seed by default.")
@click.option("--classes", type=click.IntRange(1, 100_000), help="1000, or those of the weights.")
@click.option("--size", type=click.IntRange(32), help="Side of the input, pixels.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON, layer by layer.")
def command(
    name: str, variant: str | None, classes: int | None, size: int | None, as_json: bool
) -> None:
    """Show parameters, multiply-adds, input size and stages of the network NAME.

    NAME is a network as `senet list` shows them, a run folder, a file of weights, or published
    weights as se_resnet50.imagenet, which are not downloaded.

    \b
    senet info se_resnext50_32x4d --variant torch
    senet info runs/pets
    """
    from senet import applications
    from senet.models.complexity import complexity

    model = applications.outline(name, variant=variant, classes=classes, size=size)
    cost = complexity(model)
    card = model.card
    variant = variant or (card.spec and name_variant(card.network, card.spec))
    height, width, channels = model.input_shape[1:]
    if as_json:
        about = dict(name=model.name, variant=variant)
        click.echo(json.dumps(about | dataclasses.asdict(cost)))
        return
    kind = f", variant {variant}" if variant else ""
    head = f"{model.output_shape[-1]} classes" if len(model.output_shape) == 2 else "no classifier"
    say(
        f"{model.name}{kind}, {head}, input {height} x {width} x {channels}\n"
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
