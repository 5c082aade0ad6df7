"""`senet evaluate`."""

import json
import pathlib
from typing import TYPE_CHECKING

import click

from senet.cli.command import command_of, say, say_warnings

if TYPE_CHECKING:
    from senet.evaluation import Evaluation


@command_of("evaluate")
@click.argument("run", type=click.Path(path_type=pathlib.Path))
@click.option("--weights", help="Published weights, where RUN is the name of a network.")
@click.option("--data", help="Folder, zip or name; by default what the run was trained on.")
@click.option("--class-map", help="File that renames or merges classes, .csv or .json.")
@click.option("--split", help="train, validation, test or all; see below for the default.")
@click.option("--batch-size", type=click.IntRange(1), default=64, show_default=True)
@click.option(
    "--confusion",
    type=click.Path(path_type=pathlib.Path),
    help="Draw the confusion matrix here (.png).",
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

    RUN is a run folder, a .keras file or an exported network (the last two need --data). Without
    --data, and of data that the network was trained on, the images are scored that were held out
    then; of other data the test folder, else the validation folder, else all images. Images that
    the network was trained on are told by their content and do not count, unless --split train asks
    for those of its own split. Classes are matched by name; the data may have some of them only.
    Prints precision and recall of each class, then one line of JSON.

    Published weights are scored on the validation images of ImageNet, one folder for each WordNet
    id:

    \b
    senet evaluate se_resnet50 --weights imagenet --data imagenet/val
    """
    if confusion and (confusion.suffix != ".png" or not confusion.parent.is_dir()):
        raise click.BadParameter(
            f"{str(confusion)!r} must end in .png and lie in a folder that exists.",
            param_hint="--confusion",
        )
    from senet.evaluation import describe_seen
    from senet.prediction.scoring import score
    from senet.prediction.trained import load_trained

    evaluation, about = score(load_trained(run, weights), data, split, batch_size, class_map)
    result = about | evaluation.summary() | about
    result["warnings"] = [*about["warnings"], *evaluation.warnings]
    _print_classes(evaluation)
    images = f"{result['images']} {'' if result['split'] == 'all' else result['split'] + ' '}images"
    say(
        f"top-1 {result['top1']:.2%} on {images} (baseline {result['baseline']:.2%}: always "
        f"{result['majority_class']!r})"
    )
    for line in describe_seen(result):
        say(line)
    say_warnings(result["warnings"])
    if confusion:
        from senet.plotting import charts

        charts.confusion(evaluation.confusion, evaluation.class_names, confusion, about["split"])
    click.echo(json.dumps(result | {"per_class": evaluation.per_class}))


def _print_classes(evaluation: "Evaluation") -> None:
    """The table of the classes that have images, and which have none."""
    from senet.foreign import listed

    rows = [row for row in evaluation.per_class if row["images"]]
    width = max(5, *(len(row["name"]) for row in rows))
    say(f"{'class':<{width}}  images  precision  recall      F1")
    for row in rows:
        say(
            f"{row['name']:<{width}}  {row['images']:>6}  {row['precision']:>8.1%}  "
            f"{row['recall']:>6.1%}  {row['f1']:>6.1%}"
        )
    if absent := evaluation.absent:
        classes = len(evaluation.class_names)
        say(f"No image is of {listed(absent)} ({len(absent)} of {classes} classes).")
