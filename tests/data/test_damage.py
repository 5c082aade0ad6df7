import csv
import dataclasses
import time
import warnings

import numpy as np
import pytest

from senet.data import damage
from senet.data.damage import BadImages, TooManyBadImages, explain_damage, find_damaged
from senet.data.decode import SILENCE, ImageError
from senet.data.sources import Data, load_data
from tests.conftest import make_photos


@pytest.fixture
def source(photos):
    """24 photos, the first of circles, those at 3 and 14 damaged, in order."""
    whole = load_data(str(photos), split=False).split("all")
    for index in (3, 14):
        (photos / whole.names[index]).write_text("no image")
    return whole


def of(source):
    """A data set of nothing but these training images."""
    return Data(NAMES, {"train": source}, notes=())


def rows(path):
    with open(path, newline="") as file:
        return list(csv.reader(file))


NAMES = ("circle", "square")
REASON = "Not a JPEG, PNG, WEBP, BMP, GIF, TIFF image."


def test_damaged_images_are_listed_once_with_class_and_reason(tmp_path, source):
    bad = BadImages(of(source), "ignore", tmp_path / "bad_images.csv")
    bad.add("train", np.array([], "int64"))
    assert not (tmp_path / "bad_images.csv").exists()
    bad.add("train", np.array([14]))
    bad.add("all", [3, 14])
    assert rows(tmp_path / "bad_images.csv") == [
        ["file", "class", "split", "reason"],
        ["circle/03.png", "circle", "train", REASON],
        ["square/02.png", "square", "train", REASON],
    ]
    assert bad.indices == (3, 14)
    assert bad.counts() == dict(
        damaged=2, images=24, by_class={"circle": 1, "square": 1}, by_split={"train": 2}
    )
    names = ("circle/03.png", "square/02.png")
    assert bad.describe() == [f"{name} (train): {REASON}" for name in names]


def test_no_damage_is_counted_too(tmp_path, source):
    bad = BadImages(of(source), "stop", tmp_path / "bad_images.csv")
    assert bad.counts() == dict(damaged=0, images=24, by_class={}, by_split={})


def test_an_image_that_can_be_read_after_all_is_listed_as_such(tmp_path, source):
    bad = BadImages(of(source), "ignore", tmp_path / "bad_images.csv")
    bad.add("train", [0])
    assert rows(tmp_path / "bad_images.csv")[1] == [
        *("circle/00.png", "circle", "train", "It could not be read at first, and could later."),
    ]


def test_lines_of_other_images_stay_in_the_list(tmp_path, source):
    path = tmp_path / "bad_images.csv"
    path.write_text("file,class,reason\ncircle/09.png,circle,of an older run\n")
    BadImages(of(source.take(np.array([14]))), "ignore", path).add("train", [0])
    for _ in range(2):
        BadImages(of(source.take(np.array([3]))), "ignore", path).add("train", [0])
    assert rows(path)[1] == ["circle/09.png", "circle", "", "of an older run"]
    assert [row[0] for row in rows(path)[2:]] == ["square/02.png", "circle/03.png"]


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
    found = BadImages(of(part), "limit", tmp_path / "bad_images.csv")
    indices = range(1000, 1000 + bad)
    if not reasons:
        found.add("train", indices)
        return
    with pytest.raises(TooManyBadImages) as error:
        found.add("train", indices)
    for reason in reasons:
        assert reason in str(error.value)
    assert len(rows(tmp_path / "bad_images.csv")) == bad + 1


def test_the_message_shows_ten_images_and_what_to_do(tmp_path, source):
    bad = BadImages(of(numbered(source, 50, 12)), "limit", tmp_path / "bad_images.csv")
    with pytest.raises(TooManyBadImages) as error:
        bad.add("train", range(1000, 1012))
    lines = str(error.value).splitlines()
    assert lines[1] == f"  1000 (train): {REASON}"
    assert lines[10:12] == [f"  1009 (train): {REASON}", "  and 2 more"]
    assert str(tmp_path / "bad_images.csv") in lines[12]
    assert "--bad-images ignore" in lines[12]
    assert len(lines) == 13


def test_stop_ends_at_the_first_and_ignore_never(tmp_path, source):
    with pytest.raises(TooManyBadImages, match="1 of 24 images cannot be read, and one is enough"):
        BadImages(of(source), "stop", tmp_path / "bad_images.csv").add("train", [3])
    BadImages(of(source), "ignore", tmp_path / "bad_images.csv").add("train", range(24))


def test_an_unknown_policy_is_refused(tmp_path, source):
    with pytest.raises(ValueError, match="one of limit, stop, ignore; got 'never'"):
        BadImages(of(source), "never", tmp_path / "bad_images.csv")


def test_images_of_every_split_count_and_stand_in_the_list_with_it(tmp_path):
    for name, count in (("train", 8), ("validation", 3), ("test", 4)):
        make_photos(tmp_path / "data" / name, count)
    data = load_data(str(tmp_path / "data"))
    for split in data.splits:
        (tmp_path / "data" / data.split(split).names[1]).write_text("no image")
    bad = BadImages(data, "ignore", tmp_path / "bad_images.csv")
    for split in reversed(data.splits):
        bad.add(split, [1])
    assert bad.counts() == dict(
        damaged=3,
        images=30,
        by_class={"circle": 3},
        by_split={"train": 1, "validation": 1, "test": 1},
    )
    assert [row[:3] for row in rows(tmp_path / "bad_images.csv")[1:]] == [
        [f"{split}/circle/01.png", "circle", split] for split in ("train", "validation", "test")
    ]
    again = BadImages(data, "ignore", None)
    again.add("all", bad.indices)
    assert again.counts() == bad.counts()
    assert bad.indices == (1, 17, 23)


def test_held_out_images_count_for_the_limit(tmp_path):
    for name, count in (("train", 8), ("test", 4)):
        make_photos(tmp_path / "data" / name, count)
    data = load_data(str(tmp_path / "data"))
    bad = BadImages(data, "limit", None)
    assert bad.note("test", [1])
    assert not bad.note("test", [1])
    with pytest.raises(TooManyBadImages, match=r"test/circle/01\.png \(test\)"):
        bad.check()


def test_damaged_images_are_found_wherever_they_are(source):
    damaged, looked = find_damaged(source)
    assert damaged == {3: REASON, 14: REASON}
    assert looked == 24
    assert explain_damage(source, 3) == REASON


def test_a_reason_that_is_known_is_not_looked_for_again(tmp_path, source):
    class Counted:
        def image(self, key):
            counted.append(key)
            raise ImageError("read again")

    counted = []
    again = dataclasses.replace(source, reader=Counted())
    bad = BadImages(of(again), "ignore", tmp_path / "bad_images.csv")
    bad.note("train", [3, 14], {3: "known"})
    assert len(counted) == 1
    assert [row[3] for row in rows(tmp_path / "bad_images.csv")[1:]] == ["known", "read again"]
    assert (bad.explain("train", 3), bad.explain("all", 14)) == ("known", "read again")
    assert len(counted) == 1


def test_looking_for_damage_ends_in_time_with_images_of_all_kinds(source, monkeypatch):
    monkeypatch.setattr(damage, "CHUNK", 4)

    seen = []

    class Slow:
        def image(self, key):
            seen.append(key)
            time.sleep(0.05)

    slow = dataclasses.replace(source, reader=Slow())
    damaged, looked = find_damaged(slow, seconds=0.01)
    assert (damaged, looked) == ({}, 4)
    assert {name.split("/")[0] for name in seen} == {"circle", "square"}
    assert find_damaged(slow, seconds=0)[1] == 0


def test_warnings_are_as_before_whoever_leaves_last():
    before = list(warnings.filters)
    SILENCE.__enter__()
    SILENCE.__enter__()
    warnings.warn("held back", stacklevel=1)
    SILENCE.__exit__()
    warnings.warn("held back", stacklevel=1)
    SILENCE.__exit__()
    assert warnings.filters == before
    with pytest.warns(UserWarning, match="said"):
        warnings.warn("said", stacklevel=1)
