"""`senet convert`."""

import pathlib
import warnings

import click

from senet.cli.command import command_of, complain

NAMES = ("senet", "timm", "caffe")


@command_of("convert")
@click.argument("source", type=click.Path(path_type=pathlib.Path))
@click.argument("target", type=click.Path(path_type=pathlib.Path))
@click.option(
    "--names",
    type=click.Choice(NAMES),
    default="senet",
    show_default=True,
    help="Names of the arrays in a .safetensors file.",
)
@click.option("--network", help="Network in SOURCE, where the file cannot tell.")
@click.option("--variant", help="Its variant, where the file cannot tell.")
@click.option("--classes", type=click.IntRange(1), help="Its classes, where the file cannot tell.")
@click.option("--weights", help="Published weights that SOURCE is a copy of, as ra2_in1k.")
def command(
    source: pathlib.Path,
    target: pathlib.Path,
    names: str,
    network: str | None,
    variant: str | None,
    classes: int | None,
    weights: str | None,
) -> int:
    """Read the weights file SOURCE and write its network to TARGET.

    SOURCE is ours (.keras, .safetensors, .weights.h5) or PyTorch's (.safetensors, .pth, .pt) with
    the names of timm, torchvision, the Caffe release's ports or moskomule. TARGET ends in .keras
    (stock Keras loads it) or .safetensors. Nothing in SOURCE is run. With --weights its checksum is
    compared where one is known, and TARGET has the class names and preprocessing.

    \b
    senet convert seresnet50_ra2.pth se_resnet50.keras
    senet convert runs/pets/model.keras pets.safetensors --names timm
    senet convert old.weights.h5 new.keras --network se_resnet50 --classes 10
    """
    from senet import applications

    said = {"network": network, "variant": variant, "classes": classes, "weights": weights}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        model = applications.load(source, **{k: v for k, v in said.items() if v is not None})
    for warning in caught:
        complain(f"warning: {warning.message}")
    applications.save(model, target, names=None if names == "senet" else names)
    card = model.card
    classifier = f"{card.classes} classes" if card.classes else "no classifier"
    print(f"{card.network}, {classifier}, {model.count_params():,} values: {target}")
    if names != "senet" and (advice := applications.how_to_load(card, target.name, names)):
        print(advice)
    return 0
