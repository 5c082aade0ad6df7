import csv

import numpy as np
import pytest

from senet.data.damage import BadImages, TooManyBadImages
from senet.data.sources import load_data


@pytest.fixture
def source(photos):
    """24 photos, the first of circles, those at 3 and 14 damaged, in order."""
    whole = load_data(str(photos), split=False).split("all")
    for index in (3, 14):
        (photos / whole.names[index]).write_text("no image")
    return whole


def rows(path):
    with open(path, newline="") as file:
        return list(csv.reader(file))


NAMES = ("circle", "square")
REASON = "Not a JPEG, PNG, WEBP, BMP, GIF, TIFF image."


def test_damaged_images_are_listed_once_with_class_and_reason(tmp_path, source):
    bad = BadImages(source, "ignore", tmp_path / "bad_images.csv", class_names=NAMES)
    bad.add(np.array([], "int64"))
    assert not (tmp_path / "bad_images.csv").exists()
    bad.add(np.array([14]))
    bad.add([3, 14])
    assert rows(tmp_path / "bad_images.csv") == [
        ["file", "class", "reason"],
        ["circle/03.png", "circle", REASON],
        ["square/02.png", "square", REASON],
    ]
    assert bad.indices == (3, 14)
    assert bad.counts() == dict(damaged=2, images=24, by_class={"circle": 1, "square": 1})


def test_no_damage_is_counted_too(tmp_path, source):
    bad = BadImages(source, "stop", tmp_path / "bad_images.csv")
    assert bad.counts() == dict(damaged=0, images=24, by_class={})


def test_an_image_that_can_be_read_after_all_is_listed_as_such(tmp_path, source):
    bad = BadImages(source, "ignore", tmp_path / "bad_images.csv")
    bad.add([0])
    assert rows(tmp_path / "bad_images.csv")[1] == [
        *("circle/00.png", "0", "It could not be read at first, and could later."),
    ]


def test_lines_of_other_images_stay_in_the_list(tmp_path, source):
    path = tmp_path / "bad_images.csv"
    BadImages(source.take(np.array([14])), "ignore", path, class_names=NAMES).add([0])
    for _ in range(2):
        BadImages(source.take(np.array([3])), "ignore", path, class_names=NAMES).add([0])
    assert [row[0] for row in rows(path)] == ["file", "square/02.png", "circle/03.png"]


def numbered(source, n, bad):
    """A source of n images of class 1 after 1,000 of class 0, whose first ones are damaged."""
    sound = [i for i in range(12) if i != 3]
    indices = [sound[i % 11] for i in range(1000)] + [3] * bad + [12] * (n - bad)
    part = source.take(np.array(indices))
    labels = np.repeat([0, 1], [1000, n])
    return type(source)([f"{i:04d}" for i in range(len(labels))], labels, part.reader, part.keys)


@pytest.mark.parametrize(
    ("n", "bad", "reasons"),
    [
        (200, 12, []),
        (200, 13, ["13 of 1200 images cannot be read, more than 1%"]),
        (100, 10, []),
        (100, 11, ["11 of the 100 images of square cannot be read, more than 10%"]),
        (5, 1, ["1 of the 5 images of square cannot be read, more than 10%"]),
        (12, 12, ["12 of 1012 images", "12 of the 12 images of square"]),
    ],
)
def test_one_percent_of_all_and_ten_of_a_class_are_the_limit(tmp_path, source, n, bad, reasons):
    part = numbered(source, n, bad)
    found = BadImages(part, "limit", tmp_path / "bad_images.csv", class_names=NAMES)
    indices = range(1000, 1000 + bad)
    if not reasons:
        found.add(indices)
        return
    with pytest.raises(TooManyBadImages) as error:
        found.add(indices)
    for reason in reasons:
        assert reason in str(error.value)
    assert len(rows(tmp_path / "bad_images.csv")) == bad + 1


def test_the_message_shows_ten_images_and_what_to_do(tmp_path, source):
    bad = BadImages(numbered(source, 50, 12), "limit", tmp_path / "bad_images.csv")
    with pytest.raises(TooManyBadImages) as error:
        bad.add(range(1000, 1012))
    lines = str(error.value).splitlines()
    assert lines[1] == f"  1000: {REASON}"
    assert lines[10:12] == [f"  1009: {REASON}", "  and 2 more"]
    assert str(tmp_path / "bad_images.csv") in lines[12]
    assert "--bad-images ignore" in lines[12]
    assert len(lines) == 13


def test_stop_ends_at_the_first_and_ignore_never(tmp_path, source):
    with pytest.raises(TooManyBadImages, match="1 of 24 images cannot be read, and one is enough"):
        BadImages(source, "stop", tmp_path / "bad_images.csv").add([3])
    BadImages(source, "ignore", tmp_path / "bad_images.csv").add(range(24))


def test_an_unknown_policy_is_refused(tmp_path, source):
    with pytest.raises(ValueError, match="one of limit, stop, ignore; got 'never'"):
        BadImages(source, "never", tmp_path / "bad_images.csv")
