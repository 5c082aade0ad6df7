import dataclasses
import pathlib

import keras
import numpy as np
import pytest

import senet
from senet.data.preprocessing import Preprocessing
from senet.data.sources import Data, load_data
from senet.deployment.images import crops
from tests.conftest import make_photos


@dataclasses.dataclass
class Case:
    """A small network that knows two kinds of images, and the images."""

    model: keras.Model
    data: Data
    folder: pathlib.Path
    preprocessing: Preprocessing

    def pixels(self, split="test", count=32):
        return crops(self.data.split(split), self.preprocessing, count)

    def inputs(self, split="test", count=32):
        return np.stack([self.preprocessing.normalise(p) for p in self.pixels(split, count)])

    @property
    def about(self):
        return dict(class_names=self.data.class_names, preprocessing=self.preprocessing)


@pytest.fixture(scope="session")
def case(tmp_path_factory):
    keras.utils.set_random_seed(0)
    folder = make_photos(tmp_path_factory.mktemp("deployment") / "photos", 60)
    data = load_data(str(folder))
    model = senet.create("se_resnet10", classes=2, input_shape=(32, 32, 3), variant="torch")
    made = Case(model, data, folder, Preprocessing(32, 1.0, mean=(0.4, 0.5, 0.6)))
    source = data.split("train")
    inputs = made.inputs("train", len(source))
    twin = senet.accelerate(model)
    twin.compile(keras.optimizers.SGD(0.02, 0.9), "sparse_categorical_crossentropy")
    twin.fit(inputs, source.labels, epochs=3, batch_size=16, verbose=0)
    return made
