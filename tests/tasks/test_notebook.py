"""The Python face as one uses it in a notebook, from images to an exported network."""

import contextlib
import io
import threading

import numpy as np
import pytest
from PIL import Image

import senet
from tests.conftest import make_photos

TINY = dict(
    model="se_resnet20_cifar",
    spec={"n_blocks": (1, 1, 1)},
    size=32,
    batch_size=8,
    warmup=0.0,
    learning_rate=0.02,
)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """A run on circles and squares, and the images."""
    folder = tmp_path_factory.mktemp("notebook")
    photos = make_photos(folder / "photos", 24)
    run = senet.train(photos, out=folder / "new" / "run", epochs=2, seed=1, **TINY)
    return run, photos


def test_a_notebook_from_images_to_an_exported_network(shapes, tmp_path, monkeypatch):
    run, photos = shapes
    assert (run.images, run.epochs, run.interrupted) == (10, 2, None)
    assert repr(run).startswith(f"TrainingResult('{run.folder}')\ntop-1 ")
    assert f"report: {run.folder / 'report.html'}" in repr(run)

    result = senet.evaluate(run)
    assert (result.top1, result.images, result.loss) == (
        run.top1,
        run.images,
        pytest.approx(run.values["loss"], rel=1e-5),
    )
    assert "circle" in repr(result)
    assert repr(result).count("top-1") == 1
    assert result.confusion.sum() == 10

    picture = photos / "circle" / "00.png"
    named = senet.predict(run, picture, top=2)
    assert len(named) == 1
    assert {name for name, _ in named[0].classes} == {"circle", "square"}
    assert named[0].probability >= 0.5
    assert named[0].name in repr(named)

    four = make_photos(tmp_path / "four", 12, classes=("cat", "dog", "emu", "fox"))
    monkeypatch.chdir(tmp_path)
    with pytest.warns(UserWarning, match="all but the classifier was loaded"):
        tuned = senet.train(
            four, weights=run, preset="finetune", epochs=1, batch_size=8, freeze=("stem*",)
        )
    assert tuned.folder.parts[0] == "runs"
    assert tuned.values["model"] == "se_resnet20_cifar"
    network = senet.load(tuned)
    assert network.input_shape == (None, 32, 32, 3)
    assert network.card.class_names == ("cat", "dog", "emu", "fox")
    assert network.card.spec.n_blocks == (1, 1, 1)
    stem = network.get_layer("stem_conv").get_weights()[0]
    assert (stem == senet.load(run).get_layer("stem_conv").get_weights()[0]).all()

    exported = senet.export(tuned, tmp_path / "a" / "b" / "onnx", "onnx")
    assert "onnx: compared with Keras" in repr(exported)
    assert (tmp_path / "a/b/onnx/model.onnx").is_file()
    ours, theirs = (
        senet.predict(one, [four / "emu" / "00.png", four / "fox"], top=4)
        for one in (tuned, exported)
    )
    assert len(ours) == len(theirs) == 13
    for mine, other in zip(ours, theirs, strict=True):
        assert dict(mine.classes) == pytest.approx(dict(other.classes), abs=1e-4)


def test_paths_images_and_pixels_are_predicted_alike(shapes):
    run, photos = shapes
    files = [photos / "circle" / "01.png", photos / "square" / "02.png"]
    trained = senet.load(run)
    images = [Image.open(file) for file in files]
    pixels = np.stack([np.asarray(image) for image in images])
    expected = [p.classes for p in senet.predict(trained, files, top=2)]
    for given in (images, pixels, list(pixels), [pixels[:1], images[1]]):
        named = senet.predict(trained, given, top=2)
        assert [p.classes for p in named] == expected
        assert [p.file for p in named] == ["image 1", "image 2"]
    mixed = senet.predict(trained, [files[0], pixels[1]], top=2)
    assert [p.file for p in mixed] == [str(files[0]), "image 2"]
    assert [p.classes for p in mixed[:]] == expected


def test_a_file_that_is_not_there_does_not_stop_the_others(shapes, tmp_path):
    run, photos = shapes
    (tmp_path / "bad.png").write_bytes(b"no image")
    good = photos / "circle" / "01.png"
    named = senet.predict(run, [good, "nowhere.png", tmp_path / "bad.png", "nothing/*.jpg"])
    files = [str(good), "nowhere.png", str(tmp_path / "bad.png"), "nothing/*.jpg"]
    assert [p.file for p in named] == files
    assert [p.file for p in named.failed] == files[1:]
    assert named[0].name
    assert "error: nowhere.png: There is no such file." in repr(named)
    with pytest.raises(senet.NotFoundError, match=r"no image at 'a\.png', 'b\.png'"):
        senet.predict(run, ["a.png", "b.png"])
    pixels = np.zeros((40, 40, 3), "uint8")
    given = ["nowhere.png", pixels, good, good, photos / "circle", tmp_path / "empty"]
    (tmp_path / "empty").mkdir()
    named = senet.predict(run, given)
    assert [p.file for p in named[:4]] == ["nowhere.png", "image 2", str(good), str(good)]
    assert len(named) == 4 + 23  # the folder has the good one and 23 others
    assert named.warnings == (f"There is no image at '{tmp_path / 'empty'}'.",)
    assert [p.file for p in named.failed] == ["nowhere.png"]


def test_what_cannot_be_used_is_an_error_of_the_family_that_says_why(shapes, tmp_path):
    run, photos = shapes
    picture = photos / "circle" / "00.png"
    cases = [
        (lambda: senet.train(photos, epocs=3), "field of a recipe 'epocs'. Did you mean 'epochs'"),
        (lambda: senet.train(photos, epochs=0), "epochs must be from 1 to"),
        (lambda: senet.train(photos, preset="quick", recipe="a.toml"), "give one of them"),
        (lambda: senet.train("nowhere/", out=tmp_path / "a"), "There is no folder or zip file"),
        (lambda: senet.train("", out=tmp_path / "a"), "Data are named by a folder"),
        (lambda: senet.train(photos, out=run), "is a run already"),
        (lambda: senet.resume(tmp_path), "is no run folder"),
        (lambda: senet.evaluate(run, "nowhere/"), "no folder or zip file"),
        (
            lambda: senet.evaluate(run, batch_size=0),
            "batch_size must be a whole number of at least 1",
        ),
        (lambda: senet.evaluate("nowhere"), "no run folder or weights file 'nowhere'"),
        (lambda: senet.predict(run, []), "the list of them is empty"),
        (lambda: senet.predict(run, np.zeros((0, 8, 8, 3), "uint8")), "the list of them is empty"),
        (lambda: senet.train(photos, weights="pets"), "or tag of published weights 'pets'"),
        (lambda: senet.predict(run, picture, top=0), "top must be a whole number"),
        (lambda: senet.predict(run, np.zeros((32, 32, 3))), "make pixels by"),
        (lambda: senet.predict(run, [[[[1], [1, 2]]]]), "An image must be a path"),
        (lambda: senet.predict(run, picture, top=1.5), "top must be a whole number"),
        (lambda: senet.predict(None, picture), "A trained network is named by a run folder"),
        (lambda: senet.predict(senet.create("se_resnet20_cifar"), picture), "does not say its"),
        (lambda: senet.evaluate("se_resnet10", weights=run), "se_resnet20_cifar, not se_resnet10"),
        (lambda: senet.predict("se_resnet50", picture), "'se_resnet50.imagenet' names"),
        (lambda: senet.predict(senet.load(run), picture, weights="imagenet"), "not to a loaded"),
        (lambda: senet.export(run, tmp_path / "a", "tflite"), "format must be one of"),
        (lambda: senet.export(run, photos, "onnx"), "exists and holds something else"),
        (lambda: senet.quantize(run, tmp_path / "a", "litert"), "for int8; got 'litert'"),
        (lambda: senet.quantize(run, tmp_path / "a", images=3), "at least 10; got 3"),
        (lambda: senet.Preprocessing(32, mean=0.5), "A preprocessing needs a size"),
    ]
    for act, words in cases:
        with pytest.raises(senet.Error) as caught:
            act()
        assert words in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "a").exists()


def test_an_image_without_pixels_has_an_error(shapes):
    (named,) = senet.predict(shapes[0], Image.new("RGB", (0, 10)))
    assert "no pixels" in named.error


def test_the_network_of_a_run_is_named_or_not(shapes):
    run, photos = shapes
    picture = photos / "circle" / "00.png"
    named = [
        senet.predict(*arguments, picture, **options)[0].classes
        for arguments, options in [
            ((run,), {}),
            ((str(run.folder),), {}),
            (("se_resnet20_cifar",), dict(weights=run)),
            (("se_resnet20_cifar",), dict(weights=run.folder / "model.keras")),
            ((senet.load(run),), {}),
        ]
    ]
    assert all(classes == named[0] for classes in named)


def test_a_network_that_was_trained_on_in_memory_is_known_to_be(shapes):
    run, photos = shapes
    model = senet.load(run)
    assert senet.evaluate(model, photos).about["own_split"]
    assert senet.evaluate(model, photos).summary()["trained_on_complete"]
    layer = model.get_layer("classifier")
    layer.bias.assign(layer.bias + 1)
    assert not senet.evaluate(model, photos).summary()["trained_on_complete"]


def test_as_many_other_classes_get_a_new_classifier(shapes, tmp_path):
    run, _ = shapes
    other = make_photos(tmp_path / "other", 12, classes=("cat", "dog"))
    fields = dict(weights=run, epochs=1, batch_size=8, learning_rate=1e-6, warmup=0.0)
    with pytest.warns(UserWarning, match="know the classes circle, square, and the data have cat"):
        senet.train(other, out=tmp_path / "a", **fields)
    same = make_photos(tmp_path / "same", 12)
    senet.train(same, out=tmp_path / "b", **fields)
    old, new, kept = (
        senet.load(path).get_layer("classifier").kernel.numpy()
        for path in (run, tmp_path / "a", tmp_path / "b")
    )
    assert abs(old - kept).max() < 1e-3 < abs(old - new).max()


def test_it_works_where_a_kernel_reads_what_is_printed(shapes, tmp_path):
    """Notebooks replace the streams by objects that are no files, and some work in a thread."""
    _, photos = shapes
    made, stream = [], io.StringIO()

    def work():
        with contextlib.redirect_stderr(stream), contextlib.redirect_stdout(stream):
            made.append(senet.train(photos, out=tmp_path / "run", epochs=1, **TINY))
            made.append(senet.predict(made[0], photos / "circle"))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(made) == 2
    assert len(made[1]) == 24
    assert "epoch 1/1" in stream.getvalue()
