import numpy as np

from senet.data.preprocessing import Preprocessing
from senet.data.sources import load_data
from senet.deployment.images import crops, describe_missing


def test_images_to_calibrate_on_that_cannot_be_read_are_counted(photos):
    source = load_data(str(photos), split=False).split("all")
    preprocessing = Preprocessing(16)
    whole = crops(source, preprocessing, 300)
    assert len(whole) == 24
    assert describe_missing(whole, source, 300) == []
    (photos / source.names[0]).write_text("no image")
    found = crops(source, preprocessing, 300)
    np.testing.assert_array_equal(found, whole[1:])
    assert describe_missing(found, source, 300) == [
        "1 of the 24 images to calibrate on or to compare on cannot be read and are left out."
    ]
    assert describe_missing(crops(source, preprocessing, 4), source, 4)[0].startswith("1 of the 4 ")
