"""`senet quantize`."""

import json
import pathlib

import click

from senet.cli.command import command_of, say, say_warnings
from senet.errors import InputError


@command_of("quantize")
@click.argument("model", type=click.Path(path_type=pathlib.Path))
@click.option("--weights", help="Published weights, where MODEL is the name of a network.")
@click.option(
    "--format",
    "style",
    type=click.Choice(["openvino", "onnx", "triton"]),
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
def command(
    model: pathlib.Path,
    weights: str | None,
    style: str,
    out: pathlib.Path,
    data: str | None,
    class_map: str | None,
    images: int,
    max_drop: float,
) -> None:
    """Write a trained network in int8, if it stays as good on held-out images.

    MODEL is a run folder, a file that senet saved, or with --weights the name of a network; the
    last two need --data. Ranges come of training images, scores of those held out. The last line on
    standard output is the result as JSON.

    \b
    senet quantize runs/pets --out pets-int8
    senet evaluate pets-int8 --data photos/
    """
    from senet.deployment.images import crops, describe_missing
    from senet.deployment.quantize import quantize
    from senet.evaluation import describe_seen
    from senet.prediction.labelled import labelled_images, take_held_out
    from senet.prediction.trained import load_in_keras

    trained = load_in_keras(model, weights)
    found = labelled_images(trained, data, "test", class_map)
    split = found.data.held_out
    if split == "all" or "train" not in found.data.splits:
        raise InputError(
            f"{found.where!r} must have images to calibrate on and others to score on: folders "
            "train and test, or no such folders at all."
        )
    held_out, seen = take_held_out(trained, found, split)
    source = found.about(split) | seen
    train = found.data.split("train")
    pictures = crops(train, trained.preprocessing, images)
    source["warnings"] += describe_missing(pictures, train, images)
    result = quantize(
        trained.model,
        out,
        style,
        images=pictures,
        held_out=held_out,
        class_names=trained.class_names,
        preprocessing=trained.preprocessing,
        max_drop=max_drop,
        trained_on=trained.trained_on,
    )
    before, after = result.before, result.after
    say(f"{style}: {result.comparison}")
    say(
        f"top-1 on {len(after.labels)} {split} images: {before.top1:.2%} before, {after.top1:.2%} "
        f"in int8 (baseline {after.majority[1]:.2%}: always {after.majority[0]!r})"
    )
    for line in describe_seen(source):
        say(line)
    source["warnings"] += after.warnings
    say_warnings(source["warnings"])
    say(f"written: {out}")
    about = dict(out=str(out), format=style) | source | dict(images=len(after.labels))
    about |= dict(
        top1_before=before.top1, top1=after.top1, loss_before=before.loss, loss=after.loss
    )
    about |= dict(baseline=after.majority[1], majority_class=after.majority[0])
    click.echo(json.dumps(about | {"agreement": result.comparison.agreement}))
