"""Heat maps of labelled images: why the predicted class, and where the true one."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from senet.data.preprocessing import Preprocessing
from senet.evaluation import Evaluation
from senet.explanation.gradcam import Halves


def find_heat(
    model: keras.Model,
    preprocessing: Preprocessing,
    evaluation: Evaluation,
    crops: Mapping[int, Any],
    batch_size: int = 32,
) -> dict[tuple[int, int], np.ndarray]:
    """Where a network saw the predicted class of images, and of mistakes the true one.

    Args:
        model: that predicted.
        preprocessing: makes inputs of crops.
        evaluation: the predictions.
        crops: what the network sees of images, by their index in the evaluation; at least one.
        batch_size: images in a batch.

    Returns:
        For the index of an image and of a class a map in the size of the crop, `(H, W)`.

    Raises:
        InputError: it is no network that Grad-CAM can read.
    """
    predicted, true = evaluation.predictions, evaluation.labels
    asked = [(i, k) for i in crops for k in dict.fromkeys((int(predicted[i]), int(true[i])))]
    inputs = np.stack([preprocessing.normalise(crops[i]) for i, _ in asked])
    halves = Halves.of(model, None, inputs)
    heat = halves.compute_heat(inputs, [k for _, k in asked], batch_size)
    return dict(zip(asked, halves.enlarge(heat, inputs), strict=True))
