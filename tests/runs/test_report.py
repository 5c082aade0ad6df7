import dataclasses
import html.parser
import json

import numpy as np
import pytest
from PIL import Image

from senet.data.decode import ImageError
from senet.data.preprocessing import Preprocessing
from senet.data.sources import Source, load_data
from senet.evaluation import Evaluation, wilson_interval
from senet.plotting.images import Tile
from senet.plotting.scores import draw_confusion
from senet.plotting.style import both
from senet.recipes.recipe import Recipe
from senet.runs import pictures, report
from senet.runs.page import find_roots, relative_text, write_page

HOSTILE = "<script>alert('1')</script>\"&{{ 7 * 7 }}"
SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 450 300" width="450pt"></svg>'
HISTORY = [
    dict(epoch=1, learning_rate=0.1, loss=2.0, accuracy=0.4, images_per_second=90.0)
    | dict(val_loss=1.5, val_accuracy=0.5, val_top5=1.0, seconds=30.0),
    dict(epoch=2, learning_rate=0.0, loss=1.0, accuracy=0.7, images_per_second=110.0)
    | dict(val_loss=None, val_accuracy=0.6, val_top5=1.0, seconds=34.0),
]


class Images:
    """Gives plain images; the second one is damaged."""

    def image(self, key):
        if key == 1:
            raise ImageError("Not a JPEG, PNG")
        return Image.new("RGB", (48, 40), (10 * (key % 20), 90, 30))


def source_of(evaluation):
    return Source(evaluation.names, evaluation.labels, Images(), range(len(evaluation.names)))


def scored(class_names, labels, predictions, sure=0.9):
    classes = len(class_names)
    probabilities = np.full((len(labels), classes), (1 - sure) / (classes - 1), "float32")
    probabilities[np.arange(len(labels)), predictions] = sure
    names = tuple(f"{class_names[label]}/{i:04d}.png" for i, label in enumerate(labels))
    return Evaluation(tuple(class_names), names, np.asarray(labels), probabilities)


def write(folder, evaluation, **given):
    """A report in a folder, as `Run.finish` writes it; returns the page."""
    for name in report.PICTURES:
        (folder / name).with_suffix(".svg").write_text(SVG)
    config = dict(
        command="senet train --data photos/",
        recipe=dict(model="se_resnet10", label_smoothing=0.1, size=32, foreign=None),
        images=dict(train=34, test=len(evaluation.labels)),
        backend="tensorflow 2.21.0",
        versions=dict(keras="3.15.1"),
        machine=dict(processor="Z80", cores=1),
    )
    config |= given.pop("config", {})
    result = dict(model="se_resnet10", data="/data/photos", split="test", **evaluation.summary())
    result |= dict(epochs=2, seconds=64.0, interrupted=False) | given.pop("result", {})
    source = source_of(evaluation)
    preprocessing = Preprocessing(32)
    report.write(folder, result, config, HISTORY, evaluation, source, preprocessing, **given)
    return (folder / "report.html").read_text(encoding="utf-8")


class Reader(html.parser.HTMLParser):
    """Tags and text of a page, and whether every element is closed."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self.open, self.rows = [], "", [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            return
        self.text += data
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


@pytest.fixture
def cats_and_dogs():
    """Twenty images, sixteen of them right."""
    labels = [0] * 10 + [1] * 10
    predictions = [1] * 3 + [0] * 7 + [1] * 9 + [0]
    return scored(("cat", "dog"), labels, predictions)


def test_the_report_says_the_result_in_a_sentence_with_its_interval(tmp_path, cats_and_dogs):
    text = " ".join(Reader(write(tmp_path, cats_and_dogs)).text.split())
    low, high = wilson_interval(0.8, 20)
    assert "80.00 % of the test images are recognised: 16 of 20, 95 % interval " in text
    assert f"interval {100 * low:.1f} % to {100 * high:.1f} %." in text
    assert "Wilson" in text
    assert "five most probable" not in text  # of two classes


def test_the_report_has_the_numbers_of_each_part(tmp_path, cats_and_dogs):
    page = Reader(write(tmp_path, cats_and_dogs))
    assert ["cat", "dog", "3", "30.0 %"] in page.rows
    assert ["dog", "cat", "1", "10.0 %"] in page.rows
    assert ["cat", "10", "87.5 %", "70.0 %", "77.8 %"] in page.rows
    assert ["2", "0", "1", "0.7", "110", "-", "0.6", "1", "34"] in page.rows
    assert "right for 80.0 % of the images and 90.0 % sure" in page.text
    assert "Expected calibration error: 10.0 %" in page.text
    help_of_size = next(f for f in Recipe.__dataclass_fields__.values() if f.name == "size")
    assert ["size", "32", help_of_size.metadata["help"]] in page.rows
    assert ["foreign", "-", ""] in page.rows
    assert ["processor", "Z80"] in page.rows
    assert ["keras", "3.15.1"] in page.rows
    assert ["training and validation", "1 min 04 s"] in page.rows
    assert ["median epoch", "32 s"] in page.rows
    assert ["median rate of training", "100.0 images/s"] in page.rows
    assert "senet train --data photos/" in page.text


def test_mistakes_are_shown_with_their_files_and_one_that_is_gone_is_named(tmp_path, cats_and_dogs):
    page = Reader(write(tmp_path, cats_and_dogs))
    pictures = [a["alt"] for tag, a in page.tags if tag == "img" and "jpeg" in a["src"]]
    assert pictures[:3] == ["cat/0000.png", "cat/0002.png", "dog/0019.png"]
    assert "cat/0001.png" in page.text
    assert page.text.count("cannot be read") == 1
    assert page.text.count("but is ") == 4
    assert len(pictures) == 3 + 12


def test_the_report_stands_alone(tmp_path, cats_and_dogs):
    page = Reader(write(tmp_path, cats_and_dogs))
    assert {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "a"} == set()
    addresses = [a["src"] for _, a in page.tags if "src" in a]
    assert len(addresses) == 3 + 3 + 12
    assert all(address.startswith("data:image/") for address in addresses)
    assert all(a["alt"] for tag, a in page.tags if tag == "img")


def test_names_of_classes_and_files_are_text_and_nothing_else(tmp_path):
    evaluation = scored((HOSTILE, f"</table>{HOSTILE}"), [0, 0, 1, 1], [0, 1, 1, 0])
    gone = f"{HOSTILE}\udcff.jpg"  # bytes of a file name that are no UTF-8
    written = write(tmp_path, evaluation, skipped=[gone], result=dict(data=f"/{HOSTILE}"))
    page = Reader(written)
    assert "script" not in {tag for tag, _ in page.tags}
    assert "<script" not in written
    assert page.text.count(HOSTILE) > 10
    assert f"{HOSTILE}?.jpg" in page.text


def test_a_report_without_mistakes_says_so(tmp_path):
    page = Reader(write(tmp_path, scored(("cat", "dog"), [0, 1], [0, 1])))
    assert "None on these 2 images." in page.text
    assert "Most often confused" not in page.text


def test_a_report_without_a_correct_prediction_is_written_too(tmp_path):
    page = Reader(write(tmp_path, scored(("cat", "dog"), [0, 1], [1, 0])))
    assert "0 of 2" in page.text
    assert "Correct predictions" not in page.text


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (dict(), None),
        (dict(result=dict(skipped=0)), None),
        (dict(result=dict(skipped=1)), "1 image could not be read and was left out"),
        (dict(result=dict(skipped=["a.png", "b.png"])), "2 images could not be read"),
        (dict(result=dict(skipped={"a.png": "Not a PNG"})), "a.png: Not a PNG"),
        (dict(skipped=["a.png"] * 300), "and 200 more"),
    ],
)
def test_images_that_were_skipped_are_counted_and_named(tmp_path, cats_and_dogs, given, expected):
    text = Reader(write(tmp_path, cats_and_dogs, **given)).text
    assert ("could not be read" in text) == (expected is not None)
    assert expected is None or expected in text


def test_an_interrupted_run_is_reported_as_such(tmp_path, cats_and_dogs):
    page = write(tmp_path, cats_and_dogs, result=dict(interrupted=True))
    assert "interrupted" in page
    assert "senet train --resume" in page
    page = write(tmp_path, cats_and_dogs).replace(tmp_path.name, "run")
    assert "interrupted" not in page
    assert "senet train --resume" not in page


def test_the_best_epoch_is_said_and_that_the_run_was_gone_on_with(tmp_path, cats_and_dogs):
    resumed = [dict(epochs=1.25, step=5), dict(epochs=2, step=8)]
    text = " ".join(
        Reader(write(tmp_path, cats_and_dogs, config=dict(resumed=resumed))).text.split()
    )
    assert "gone on with from a checkpoint after 1.25, 2 epochs." in text
    assert "best validation accuracy is 60.0 %, of epoch 2" in text
    assert "gone on with" not in write(tmp_path, cats_and_dogs)


def test_mistakes_have_their_heat_beside_them(tmp_path, cats_and_dogs):
    asked = []

    def heat(crops):
        asked.extend(crops)
        return {(i, k): np.eye(32, dtype="float32") for i in crops for k in (0, 1)}

    page = Reader(write(tmp_path, cats_and_dogs, heat=heat))
    assert asked == [0, 2, 19]  # image 1 cannot be read
    assert page.text.count("why dog, 90\xa0%") == 2
    assert page.text.count("where cat, 10\xa0%") == 2
    assert page.text.count("why cat, 90\xa0%") == 1
    assert "Grad-CAM" in page.text
    assert len([a for tag, a in page.tags if tag == "img" and "jpeg" in a["src"]]) == 3 * 3 + 12
    assert ("ul", {"class": "images three"}) in page.tags
    without = Reader(write(tmp_path, cats_and_dogs, heat=lambda crops: {}))
    assert "Grad-CAM" not in without.text
    assert "why" not in without.text.split("Mistakes")[1].split("Correct")[0]


@pytest.mark.parametrize(
    "resumed",
    [
        None,
        5,
        "x",
        [{"step": 5}],
        [{"epochs": "2"}],
        [{"epochs": 10**400}],
        [{"epochs": True}],
        [7],
    ],
)
def test_a_damaged_note_that_the_run_was_gone_on_with_costs_no_report(
    tmp_path, cats_and_dogs, resumed
):
    page = write(tmp_path, cats_and_dogs, config=dict(resumed=resumed, command=5))
    assert "gone on with" not in page


def test_training_images_are_shown_with_their_classes(tmp_path, cats_and_dogs):
    tiles = [Tile(np.full((8, 8, 3), 9, "uint8"), "70% cat\n30% dog")]
    page = Reader(write(tmp_path, cats_and_dogs, samples=tiles))
    assert "70% cat, 30% dog" in page.text
    assert "Training images" not in write(tmp_path, cats_and_dogs)


def test_long_names_of_files_are_shortened_and_whole_in_the_title(tmp_path):
    evaluation = scored(("cat", "dog"), [0, 1], [1, 1])
    long = f"a/folder/of/some/depth/{'x' * 30}-{'y' * 30}.png"
    evaluation = dataclasses.replace(evaluation, names=(long, "b/short.png"))
    page = Reader(write(tmp_path, evaluation))
    shown = {a["title"] for tag, a in page.tags if tag == "span" and a.get("class") == "file"}
    assert shown == {long, "b/short.png"}
    assert long not in page.text
    assert f"{'x' * 26}…{'y' * 9}.png" in page.text
    assert "b/short.png" in page.text


def test_only_paths_that_begin_with_a_known_folder_are_changed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = f"{tmp_path}/photos"
    for text, expected in {
        f"see {root}/a.jpg, '{root}'.": "see photos/a.jpg, 'photos'.",
        f"copy{root}/a.jpg": f"copy{root}/a.jpg",
        f"{root}-old/a.jpg": f"{root}-old/a.jpg",
    }.items():
        assert relative_text(text, find_roots(root, f"{root}/a.jpg", "b.jpg")) == expected


def test_paths_are_seen_from_where_the_training_was_started(tmp_path, cats_and_dogs, monkeypatch):
    folder = tmp_path / "project" / "runs" / "a"
    folder.mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")
    command = f"senet train --data {tmp_path}/photos --out {folder} --seed 1"
    recipe = dict(data=f"{tmp_path}/photos", epochs=2, label_smoothing=0.0)
    page = write(folder, cats_and_dogs, config=dict(command=command, recipe=recipe))
    assert str(tmp_path) not in page
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"")
    photo = f"{tmp_path}/photos/a.jpg"
    named = dataclasses.replace(cats_and_dogs, names=(photo, *cats_and_dogs.names[1:]))
    said = [f"{photo} (train): Not a JPEG"]
    said.append(f"{tmp_path}/My photos/b (1).jpg (train): No file '{tmp_path}/My photos/b (1).jpg'")
    named = dataclasses.replace(
        named, skipped={f"{tmp_path}/My photos/b (1).jpg": "No file"}, labels=named.labels
    )
    warnings = [f"Twice: {photo}, {photo}.", "Folders without an image: train/home, a/tmp."]
    given = dict(result=dict(warnings=warnings), skipped=said)
    with_files = write(folder, named, config=dict(command=command, recipe=recipe), **given)
    assert str(tmp_path) not in with_files
    assert "Twice: ../photos/a.jpg, ../photos/a.jpg." in with_files
    assert "../photos/a.jpg (train): Not a JPEG" in with_files
    assert "No file &#39;../My photos/b (1).jpg&#39;" in with_files
    assert "Folders without an image: train/home, a/tmp." in with_files
    assert "<code>senet train --data ../photos --out runs/a --seed 1</code>" in page
    assert ["data", "../photos"] in [row[:2] for row in Reader(page).rows]
    for line in ("--model runs/a ", "senet evaluate runs/a ", "senet.load(&#39;runs/a&#39;)"):
        assert line in page
    monkeypatch.chdir(folder)  # a folder inside would be taken for one that is half-written
    assert "senet explain ../a --out ../a-inside" in write(folder, cats_and_dogs)


def test_a_report_on_hundreds_of_classes_is_bounded_and_starts_with_the_worst(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(200), 5)
    predictions = np.where(rng.random(1000) < 0.8, labels, rng.integers(0, 200, 1000))
    predictions[labels == 7] = 8
    names = [f"class {i} of many with quite a name" for i in range(200)]
    evaluation = scored(names, labels, predictions)
    draw_confusion(evaluation.confusion, names, both(tmp_path / "matrix.png"), "test")
    page = Reader(write(tmp_path, evaluation))
    pictures = [a for tag, a in page.tags if tag == "img"]
    assert len(pictures) <= 4 + report.MAX_MISTAKES + report.MAX_CORRECT
    assert (tmp_path / "report.html").stat().st_size < 500_000
    assert all(path.stat().st_size < 500_000 for path in both(tmp_path / "matrix.png"))
    (first,) = [i for i, row in enumerate(page.rows) if row[:1] == ["class"]][:1]
    assert page.rows[first + 1] == [names[7], "5", "0.0 %", "0.0 %", "0.0 %"]
    pairs = [row for row in page.rows if row[:2] == [names[7], names[8]]]
    assert pairs == [[names[7], names[8], "5", "100.0 %"]]
    assert sum(row[0] in names and len(row) == 5 for row in page.rows) == 200 + report.WORST_CLASSES
    assert "All 200 classes" in page.text


def test_predictions_are_drawn_with_mistakes_first_and_without_unreadable_images(
    tmp_path, cats_and_dogs, monkeypatch
):
    drawn = {}
    monkeypatch.setattr(pictures, "draw_grid", lambda sections, *_, **__: drawn.update(sections))
    source = source_of(cats_and_dogs)
    pictures.draw_predictions(cats_and_dogs, source, Preprocessing(32), tmp_path / "p.png")
    wrong, right = drawn.values()
    assert list(drawn) == [
        "Wrong: the 4 of 4 mistakes",
        "Right: a spread of the correct predictions",
    ]
    assert wrong[0].caption == "dog, 90%\nbut is cat"
    assert [tile.wrong for tile in wrong + right] == [True] * 3 + [False] * 16


def test_a_value_that_the_page_names_and_nobody_gives_is_an_error(tmp_path):
    with pytest.raises(Exception, match="'result' is undefined"):
        write_page(tmp_path / "a.html", "report.html")
    assert list(tmp_path.iterdir()) == []


def test_what_the_report_reads_can_be_written_as_json(cats_and_dogs):
    assert json.loads(json.dumps(cats_and_dogs.summary())) == cats_and_dogs.summary()


def test_predictions_are_drawn_on_their_images_where_others_were_skipped(photos, monkeypatch):
    source = load_data(str(photos)).split("all")
    read = np.array([0, 2, 3])
    evaluation = Evaluation(
        ("circle", "square"),
        tuple(source.names[i] for i in read),
        source.labels[read],
        np.eye(2)[1 - source.labels[read]] * 0.9,  # all wrong
        skipped={source.names[1]: "Not a PNG"},
    )
    drawn = []
    monkeypatch.setattr(
        pictures,
        "draw_grid",
        lambda sections, *_, **__: drawn.extend(
            tile.image for tiles in sections.values() for tile in tiles
        ),
    )
    preprocessing = Preprocessing(16)
    pictures.draw_predictions(evaluation, source, preprocessing, "unused.png")
    expected = [preprocessing.crop(source.image(int(i))).tobytes() for i in read]
    assert [picture.tobytes() for picture in drawn] == expected
