"""Score a trained network on labelled images."""

import os
from typing import Any

from senet.evaluation import Evaluation, evaluate
from senet.prediction.labelled import labelled_images, recognise, require_unseen
from senet.prediction.trained import Trained


def score(
    trained: Trained,
    data: str | os.PathLike | None = None,
    split: str | None = None,
    batch_size: int = 64,
    class_map: str | os.PathLike | None = None,
) -> tuple[Evaluation, dict[str, Any]]:
    """Evaluate a trained network on labelled images.

    Images that it was trained on are set apart, in the `trained_on` of the evaluation, unless it is
    the training images of its own split that are asked for.

    Args:
        trained: the network.
        data: what `load_data` takes; by default what the run was trained on, split the same way.
        split: `"train"`, `"validation"`, `"test"` or `"all"`. By default the one held out; of
            other data than that of the training all images, unless it has a split of its own.
        batch_size: images in a batch.
        class_map: of `load_data`; by default that of the run for its own images.

    Returns:
        The evaluation, and which images it was made on, as `LabelledImages.about` gives it; of
        training images that were asked for also how many are known to be, as `trained_on`.

    Raises:
        ValueError: no data is named, it has classes that the network does not know, the images of
            the run are not those it was trained on, or all of them were trained on.
    """
    images = labelled_images(trained, data, split, class_map)
    split = split or images.data.held_out
    source = images.data.split(split)
    about = images.about(split)
    wanted = split == "train" and images.own
    seen = recognise(trained, images, split)
    if seen.names is not None and not wanted:
        require_unseen(len(source) - len(seen.names), images, split)
    evaluation = evaluate(
        trained.model, source, trained.preprocessing, trained.class_names, batch_size=batch_size
    )
    if seen.names is None:
        return evaluation, about
    if wanted:
        about["trained_on"] = len(seen.names.intersection(evaluation.names))
        about["trained_on_complete"] = seen.complete
        return evaluation, about
    evaluation = evaluation.set_apart(seen.names, seen.complete)
    require_unseen(len(evaluation.labels), images, split)
    return evaluation, about
