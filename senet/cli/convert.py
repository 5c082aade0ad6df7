"""`senet convert`."""

import os
import pathlib
import warnings
from typing import Any

import click

from senet.cli.command import command_of, complain, say
from senet.data.preprocessing import VALUES, Preprocessing
from senet.errors import NotFoundError
from senet.foreign import read_text

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
@click.option("--class-names", help="Names of its classes, as cat,dog, or a file of a name a line.")
@click.option(
    "--values",
    type=click.Choice(list(VALUES)),
    help="Values of the images that it was trained on; with it its preprocessing is set.",
)
@click.option(
    "--crop-fraction",
    type=click.FloatRange(0.01, 1),
    help="Side of the centre crop over the shorter edge, with --values; 1 by default.",
)
@click.option("--size", type=click.IntRange(32), help="Side of its input, where that is open.")
def command(
    source: pathlib.Path,
    target: pathlib.Path,
    names: str,
    network: str | None,
    variant: str | None,
    classes: int | None,
    weights: str | None,
    class_names: str | None,
    values: str | None,
    crop_fraction: float | None,
    size: int | None,
) -> int:
    """Read the weights SOURCE and write their network to TARGET.

    SOURCE is a run folder, published weights as se_resnet50.imagenet, or a file: ours (.keras,
    .safetensors, .weights.h5), one that model.save of Keras wrote, or PyTorch's (.safetensors,
    .pth, .pt) with the names of timm, torchvision, the Caffe release's ports or moskomule. TARGET
    ends in .keras (stock Keras loads it) or .safetensors. Nothing in SOURCE is run. With --weights
    its checksum is compared where one is known, and TARGET has the class names and preprocessing;
    --class-names and --values give those that SOURCE lacks.

    \b
    senet convert seresnet50_ra2.pth se_resnet50.keras
    senet convert runs/pets pets.safetensors --names timm
    senet convert fitted.keras pets.keras --class-names cat,dog --values 0-1
    senet convert old.weights.h5 new.keras --network se_resnet50 --classes 10
    """
    from senet import applications

    if values is None and (size is not None or crop_fraction is not None):
        raise click.UsageError("--size and --crop-fraction belong to --values: give it too.")
    said = {"network": network, "variant": variant, "classes": classes, "weights": weights}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        model = applications.load(source, **{k: v for k, v in said.items() if v is not None})
    card, about = model.card, dict[str, Any]()
    if class_names is not None:
        about["class_names"] = _read_names(class_names)
    if values is not None:
        side = size or next((n for n in card.input_shape if n not in (None, card.channels)), None)
        if side is None:
            raise click.UsageError("The input of SOURCE is open to any size: give --size too.")
        about["preprocessing"] = Preprocessing.of_values(values, side, crop_fraction or 1.0)
    for warning in caught:
        if len(about) < 2 or "holds no class names" not in str(warning.message):
            complain(f"warning: {warning.message}")
    applications.save(model, target, names=None if names == "senet" else names, **about)
    classifier = f"{card.classes} classes" if card.classes else "no classifier"
    say(f"{card.network}, {classifier}, {model.count_params():,} values: {target}")
    if names != "senet" and (advice := applications.how_to_load(card, target.name, names)):
        say(advice)
    return 0


def _read_names(text: str) -> list[str]:
    """Names with commas between them, or those of a file, a line each."""
    if not os.path.isfile(text) and "," not in text and text.endswith((".txt", ".csv")):
        raise NotFoundError(f"There is no file of class names {text!r}.")
    if not os.path.isfile(text):
        return [name.strip() for name in text.split(",")]
    lines = read_text(pathlib.Path(text)).splitlines()
    return [line.strip() for line in lines if line.strip()]
