import keras
import numpy as np
import pytest

import senet
from senet.weights import imagenet


def test_there_are_a_thousand_classes_in_the_order_of_their_ids():
    classes = imagenet.classes()
    assert len(classes) == len({synset for synset, _ in classes}) == 1000
    assert [synset for synset, _ in classes] == sorted(synset for synset, _ in classes)
    assert classes[0] == ("n01440764", "tench")
    assert classes[281][0] == "n02123045"
    assert classes[999][0] == "n15075141"


def test_pixels_are_normalised_as_the_networks_read_them():
    x = np.zeros((1, 2, 2, 3), "uint8")
    x[..., 0], x[..., 1] = 255, 128
    result = senet.preprocess_input(x, data_format="channels_last")
    expected = [(1 - 0.485) / 0.229, (128 / 255 - 0.456) / 0.224, -0.406 / 0.225]
    np.testing.assert_allclose(result[0, 1, 0], expected, rtol=1e-6)
    assert result.dtype == np.float32
    first = senet.preprocess_input(x.transpose(0, 3, 1, 2), data_format="channels_first")
    np.testing.assert_array_equal(first.transpose(0, 2, 3, 1), result)
    tensor = senet.preprocess_input(keras.ops.convert_to_tensor(x), data_format="channels_last")
    np.testing.assert_allclose(keras.ops.convert_to_numpy(tensor), result, rtol=1e-6)


def test_images_without_colour_and_unknown_weights_are_refused():
    with pytest.raises(ValueError, match=r"with 3 channels .*\(1, 8, 8, 1\)"):
        senet.preprocess_input(np.zeros((1, 8, 8, 1)))
    with pytest.raises(ValueError, match="ra2_in1k"):
        senet.preprocess_input(np.zeros((1, 8, 8, 3)), weights="ra2_in1")


def test_predictions_are_named_best_first():
    preds = np.zeros((2, 1000))
    preds[0, 281], preds[0, 0], preds[1, 999] = 0.7, 0.2, 1
    named = senet.decode_predictions(preds, top=2)
    assert [entry[0] for entry in named[0]] == ["n02123045", "n01440764"]
    assert named[0][0][2] == pytest.approx(0.7)
    assert named[1][0][0] == "n15075141"
    with pytest.raises(ValueError, match=r"\(N, 1000\).*\(2, 10\)"):
        senet.decode_predictions(preds[:, :10])


def test_pixels_are_normalised_along_the_axis_that_keras_is_set_to():
    x = np.random.default_rng(0).integers(0, 255, (1, 3, 4, 5)).astype("float32")
    keras.config.set_image_data_format("channels_first")
    np.testing.assert_array_equal(
        senet.preprocess_input(x), senet.preprocess_input(x, data_format="channels_first")
    )
