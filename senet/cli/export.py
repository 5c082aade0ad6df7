"""`senet export`."""

import dataclasses
import json
import pathlib

import click

from senet.cli.command import command_of, say, say_warnings


@command_of("export")
@click.argument("model", type=click.Path(path_type=pathlib.Path))
@click.option("--weights", help="Published weights, where MODEL is the name of a network.")
@click.option(
    "--format",
    "style",
    type=click.Choice(["openvino", "onnx", "saved_model", "litert", "triton"]),
    default="openvino",
    show_default=True,
    help="What the runtime reads; openvino is the fastest on a CPU.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=pathlib.Path),
    help="Folder to write; an earlier export there is replaced.",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16"]),
    help="To run in; bfloat16 for openvino and float32 for the others by default.",
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

    MODEL is a run folder, a file that senet saved, or with --weights the name of a network. Batch
    normalisation is folded and the batch is open. `senet predict` and `senet evaluate` use the
    folder like a run. The last line on standard output is the comparison as JSON.

    \b
    senet export runs/pets --out pets-openvino
    senet export runs/pets --format triton --pixels --out repository
    """
    from senet.deployment.export import check_precision, export
    from senet.deployment.images import crops, describe_missing, photographs
    from senet.prediction.labelled import images_of
    from senet.prediction.trained import load_in_keras

    check_precision(style, precision)
    trained, warnings = load_in_keras(model, weights), list[str]()
    if data is None and trained.run is None:
        pictures, where = photographs(trained.preprocessing), "parts of two photographs"
    else:
        found = images_of(trained, data)
        where, source = found.where, found.data.split(found.data.held_out)
        pictures = crops(source, trained.preprocessing, images)
        warnings += [*found.data.notes, *describe_missing(pictures, source, images)]
    comparison = export(
        trained.model,
        out,
        style,
        images=pictures,
        class_names=trained.class_names,
        preprocessing=trained.preprocessing,
        precision=precision,
        pixels=pixels,
        trained_on=trained.trained_on,
    )
    say(f"{style}: {comparison} ({where})")
    say(f"written: {out}")
    say_warnings(warnings)
    about = dict(out=str(out), format=style, warnings=warnings)
    click.echo(json.dumps(about | dataclasses.asdict(comparison)))
