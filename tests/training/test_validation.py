import dataclasses

import numpy as np
import pytest

from senet.data.damage import BadImages
from senet.data.decode import ImageError
from senet.data.preprocessing import Preprocessing
from senet.data.sources import load_data
from senet.training.distribution import Team
from senet.training.validation import Validation
from tests.conftest import make_photos


class Brightness:
    """Gives two probabilities that follow from the pixels, as a network would."""

    def predict_on_batch(self, images):
        share = 1 / (1 + np.exp(-images.mean(axis=(1, 2, 3))))
        return np.stack([share, 1 - share], axis=1).astype("float32")


class OneDamaged:
    """Images of another reader, but for one that cannot be read."""

    def __init__(self, reader, damaged):
        self.reader, self.damaged = reader, damaged

    def image(self, key):
        if key == self.damaged:
            raise ImageError("Not a JPEG, PNG")
        return self.reader.image(key)


@dataclasses.dataclass(frozen=True)
class Pair(Team):
    """Two processes of which this one is run after the other; `sent` is what each has given."""

    sent: dict = dataclasses.field(default_factory=dict)

    def gather(self, array):
        given = self.sent.setdefault(self.rank, [])
        given.append(array)
        other = self.sent.get(1 - self.rank, [])
        there = other[len(given) - 1] if len(other) >= len(given) else np.zeros_like(array)
        assert there.shape == array.shape, "only equal arrays can be gathered"
        return np.stack([array, there] if self.rank == 0 else [there, array])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    found = load_data(str(make_photos(tmp_path_factory.mktemp("shares") / "photos", 24)))
    odd = found.split("train").take(np.arange(31))  # so that the shares differ by one
    odd = dataclasses.replace(odd, reader=OneDamaged(odd.reader, odd.keys[6]))
    return dataclasses.replace(found, splits=found.splits | {"train": odd})


def validation(data, team):
    return Validation(data, Preprocessing(32), team, BadImages(data, "ignore", None), batch_size=4)


def test_two_processes_score_every_image_once_and_in_order(data):
    alone = validation(data, Team()).score(Brightness(), "train", "alone")
    assert len(alone.names) == 30
    assert alone.skipped == {data.split("train").names[6]: "Not a JPEG, PNG"}
    sent = {}
    validation(data, Pair(1, 2, 2, sent)).score(Brightness(), "train", "second")
    together = validation(data, Pair(0, 2, 2, sent)).score(Brightness(), "train", "first")
    assert together.names == alone.names
    np.testing.assert_array_equal(together.labels, alone.labels)
    np.testing.assert_allclose(together.probabilities, alone.probabilities, rtol=1e-6)
    assert together.skipped == alone.skipped


def test_images_that_cannot_be_read_are_noted_with_their_split(data):
    scored = validation(data, Team())
    scored.score(Brightness(), "train", "training")
    assert scored.bad_images.counts()["by_split"] == {"train": 1}
    assert scored.bad_images.describe()[0].startswith(f"{data.split('train').names[6]} (train): ")


def test_a_split_without_images_is_refused(data):
    empty = dataclasses.replace(data, splits=data.splits | {"test": data.split("test").take([])})
    with pytest.raises(ValueError, match="There are no test images to evaluate on"):
        validation(empty, Team()).score(Brightness(), "test", "none")


def test_without_a_copy_the_network_itself_is_scored(data):
    model = Brightness()
    assert validation(data, Team()).copy_to_one_device(model) is model
