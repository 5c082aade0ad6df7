"""`senet evaluate`."""

import json
import pathlib

import click

from senet.cli.command import command_of, say, say_warnings


@command_of("evaluate")
@click.argument("run", type=click.Path(path_type=pathlib.Path))
@click.option(
    "--weights", help="Published weights, a run or a file, where RUN is the name of a network."
)
@click.option("--data", help="Folder, zip or name; by default what the run was trained on.")
@click.option("--class-map", help="File that renames or merges classes, .csv or .json.")
@click.option("--split", help="train, validation, test or all; see below for the default.")
@click.option("--batch-size", type=click.IntRange(1), default=64, show_default=True)
@click.option(
    "--confusion",
    type=click.Path(path_type=pathlib.Path),
    help="Draw the confusion matrix here (.png or .svg).",
)
def command(
    run: pathlib.Path,
    weights: str | None,
    data: str | None,
    class_map: str | None,
    split: str | None,
    batch_size: int,
    confusion: pathlib.Path | None,
) -> None:
    """Score a trained network on every image of a split.

    RUN is a run folder, a .keras file, an exported network, or published weights as
    se_resnet50.imagenet (all but a run need --data). Without
    --data, and of data that the network was trained on, the images are scored that were held out
    then; of other data the test folder, else the validation folder, else all images. Images that
    the network was trained on are told by their content and do not count, unless --split train asks
    for those of its own split. Classes are matched by name; the data may have some of them only.
    Prints precision and recall of each class, then one line of JSON.

    Published weights are scored on the validation images of ImageNet, one folder for each WordNet
    id:

    \b
    senet evaluate se_resnet50.imagenet --data imagenet/val
    """
    if confusion and confusion.suffix not in (".png", ".svg"):
        raise click.BadParameter(
            f"{str(confusion)!r} must end in .png or .svg.", param_hint="--confusion"
        )
    import senet

    result = senet.evaluate(
        run,
        data,
        weights=weights,
        split=split,
        class_map=class_map,
        batch_size=batch_size,
    )
    say(result)
    say_warnings(result.warnings)
    if confusion:
        result.draw_confusion(confusion)
    click.echo(json.dumps(result.to_json()))
