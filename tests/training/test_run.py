import csv
import json
import re
import shlex
import shutil

import keras
import numpy as np
import pytest
from PIL import Image

import senet
from senet.data import trained_on
from senet.data.pipeline import training_batches
from senet.data.sources import load_data
from senet.evaluation import Evaluation, evaluate
from senet.prediction.scoring import score
from senet.prediction.trained import load_trained
from senet.recipes.recipe import Recipe
from senet.runs import checkpoint, pictures
from senet.runs.comparison_table import fill_row
from senet.runs.reading import read_run
from senet.training import finish, loop, setup
from senet.training import pictures as training_pictures
from senet.training.parts import Diverged
from senet.training.run import resume, train
from tests.conftest import make_photos

CHARTS = ("curves", "confusion", "calibration", "gates_profile", "gates_classes")
TINY = dict(
    **dict(model="se_resnet20_cifar", size=32, batch_size=8, warmup=0.0),
    **dict(spec=dict(n_blocks=(1, 1, 1))),
    **dict(learning_rate=0.02, reference_batch=0),
)

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of two epochs on twenty-four photos."""
    folder = tmp_path_factory.mktemp("run")
    photos = make_photos(folder / "photos", 24)
    result = train(Recipe(data=str(photos), epochs=2, **TINY), folder / "out")
    return folder / "out", result


def test_a_run_folder_holds_what_it_promises(run):
    folder, result = run
    assert {path.name for path in folder.iterdir()} == {
        *("model.keras", "best.keras", "checkpoints", ".lock"),
        *("run.json", "recipe.toml", "result.json", "metrics.csv", "images.csv"),
        *("predictions.png", "samples.png", "report.html"),
        *(f"{name}.{ending}" for name in CHARTS for ending in ("svg", "png")),
    }
    assert json.loads((folder / "result.json").read_text()) == result
    assert (result["split"], result["images"], result["epochs"]) == ("test", 10, 2)


def test_pictures_are_pictures_of_some_size(run):
    for name in (*CHARTS, "predictions", "samples"):
        with Image.open(run[0] / f"{name}.png") as picture:
            assert min(picture.size) > 300
            assert np.asarray(picture.convert("L")).std() > 10


def test_metrics_have_one_row_for_each_epoch(run):
    with open(run[0] / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    for row in rows:
        assert 0 <= float(row["accuracy"]) <= 1
        assert 0 <= float(row["val_accuracy"]) <= float(row["val_top5"]) <= 1
        assert float(row["loss"]) > 0
        assert float(row["images_per_second"]) > 0
    assert float(rows[1]["learning_rate"]) < float(rows[0]["learning_rate"]) < 0.02


def test_the_configuration_says_everything_the_run_used(run):
    config = json.loads((run[0] / "run.json").read_text())
    assert config["class_names"] == ["circle", "square"]
    assert config["images"] == {"train": 34, "validation": 4, "test": 10}
    assert Recipe.from_json(config["recipe"]).size == 32
    assert {"keras", "senet", "python"} <= set(config["versions"])


def test_the_report_needs_no_other_file(run):
    page = (run[0] / "report.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == len(CHARTS)
    assert page.count("src=") == page.count('src="data:')
    assert "http" not in re.sub(r"base64,[^\"]*", "", page)
    assert f"{100 * run[1]['top1']:.2f} %" in page


def test_the_curves_are_there_after_every_epoch_and_say_how_far_it_is(
    tmp_path, photos, monkeypatch
):
    seen = []
    real = loop.train_epoch

    def train_epoch(run, interruption):
        seen.append([path.name for path in tmp_path.glob("out/curves.*")])
        return real(run, interruption)

    def draw_curves(history, paths, **options):
        drawn.append((len(history), options["title"]))
        for path in paths:
            path.write_text("<svg></svg>")

    drawn = []
    monkeypatch.setattr(loop, "train_epoch", train_epoch)
    monkeypatch.setattr(pictures, "draw_curves", draw_curves)
    train(Recipe(data=str(photos), epochs=2, **TINY), tmp_path / "out")
    assert [len(names) for names in seen] == [0, 2]
    assert drawn == [
        (1, "se_resnet20_cifar on photos, 1 of 2 epochs"),
        (2, "se_resnet20_cifar on photos, 2 epochs"),
        (2, "se_resnet20_cifar on photos, 2 epochs"),
    ]


def test_pictures_that_cannot_be_drawn_end_no_training(tmp_path, photos, monkeypatch, capsys):
    def refuse(*given, **options):
        raise OSError("it is open elsewhere\nin a viewer")

    for name in ("draw_curves", "draw_confusion", "draw_grid"):
        monkeypatch.setattr(pictures, name, refuse)
    monkeypatch.setattr(finish, "draw_gates", refuse)
    monkeypatch.setattr(training_pictures, "find_heat", refuse)
    recipe = Recipe(data=str(photos), epochs=2, **TINY | dict(learning_rate=1e-9))  # has mistakes
    result = train(recipe, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "result.json").read_text()) == result
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Learning curves" in page
    assert "svg+xml" not in page
    said = capsys.readouterr().err.splitlines()
    lost = [line for line in said if line.endswith(": it is open elsewhere")]
    assert [line.split(" could")[0].split(" has")[0] for line in lost] == [
        *["warning: The learning curves"] * 3,  # after each epoch, and in the end
        *("warning: The predictions", "warning: The training images", "warning: The gates"),
        "warning: The report",
    ]


def test_mistakes_have_their_heat_in_the_report(tmp_path, photos):
    recipe = Recipe(data=str(photos), epochs=1, **TINY | dict(learning_rate=1e-9))
    result = train(recipe, tmp_path / "out")
    assert result["top1"] < 1
    page = (tmp_path / "out" / "report.html").read_text()
    wrong = result["images"] - round(result["top1"] * result["images"])
    assert page.count("<figcaption>why ") == page.count("<figcaption>where ") == wrong


def test_the_saved_model_is_of_stock_layers_and_gives_the_score_of_the_report(run):
    folder, result = run
    model = keras.saving.load_model(folder / "model.keras")
    assert {type(layer).__module__.split(".")[0] for layer in model.layers} == {"keras"}
    data = load_data(result["data"])
    preprocessing = load_trained(folder).preprocessing
    again = evaluate(model, data.splits["test"], preprocessing, data.class_names, batch_size=3)
    assert again.top1 == result["top1"]
    assert again.loss == pytest.approx(result["loss"], rel=1e-5)


def test_scoring_a_run_again_gives_the_same(run):
    evaluation, about = score(load_trained(run[0]))
    assert about["split"] == "test"
    assert evaluation.top1 == run[1]["top1"]


def test_the_same_recipe_trains_the_same_network(tmp_path, photos):
    recipe = Recipe(data=str(photos), epochs=1, **TINY)
    train(recipe, tmp_path / "a")
    train(recipe, tmp_path / "b")
    first, second = (senet.load(tmp_path / name / "model.keras") for name in "ab")
    for one, other in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_precision_is_used_and_put_back(tmp_path, photos):
    train(Recipe(data=str(photos), epochs=1, precision="mixed_bfloat16", **TINY), tmp_path / "a")
    assert keras.config.dtype_policy().name == "float32"
    model = keras.saving.load_model(tmp_path / "a" / "model.keras")
    assert model.get_layer("stem_conv").compute_dtype == "bfloat16"
    assert model.get_layer("stage1_block1_se_excite").compute_dtype == "float32"
    ours = load_trained(tmp_path / "a").model
    assert ours.get_layer("stem_conv").compute_dtype == "bfloat16"
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    np.testing.assert_array_equal(ours.predict_on_batch(images), model.predict_on_batch(images))


def test_a_folder_with_something_in_it_is_not_touched(tmp_path, photos):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="choose another --out"):
        train(Recipe(data=str(photos), **TINY), tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["thesis.txt"]


def test_an_infinite_loss_stops_the_run_and_keeps_the_last_good_model(
    tmp_path, photos, monkeypatch
):
    def poisoned(*args, **options):
        for batch in training_batches(*args, **options):
            yield batch._replace(images=batch.images * (np.nan if options["epoch"] == 1 else 1))

    monkeypatch.setattr(setup, "training_batches", poisoned)
    with pytest.raises(Diverged, match=r"In step 3 \(epoch 2\) (the loss|a gradient) is"):
        train(Recipe(data=str(photos), epochs=2, **TINY), tmp_path / "out")
    model = load_trained(tmp_path / "out").model
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_weights_that_are_no_numbers_are_not_saved(tmp_path, photos, monkeypatch):
    real = loop.take_step

    def lost_in_the_second_epoch(run, batch):
        real(run, batch)
        if run.state.epoch == 1:  # as on JAX, where a ReLU hides it from the loss
            run.network.model.get_layer("stem_bn").moving_mean.assign([np.nan] * 16)

    monkeypatch.setattr(loop, "take_step", lost_in_the_second_epoch)
    with pytest.raises(Diverged, match=r"After step 4 \(epoch 2\) a weight is infinite"):
        train(Recipe(data=str(photos), epochs=2, **TINY), tmp_path / "out")
    found, _ = checkpoint.read_newest(tmp_path / "out")
    assert found.state["epoch"] == 1
    with open(tmp_path / "out" / "metrics.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 1


def test_metrics_of_an_epoch_are_means_over_its_steps(tmp_path, photos, monkeypatch):
    given = iter([(1.0, 0.0), (5.0, 0.5)])  # 18 training images in two steps of 8
    monkeypatch.setattr(
        keras.Model,
        "train_on_batch",
        lambda *args, **options: dict(zip(("loss", "accuracy"), next(given), strict=True)),
    )
    train(Recipe(data=str(photos), epochs=1, **TINY), tmp_path / "out")
    with open(tmp_path / "out" / "metrics.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (float(row["loss"]), float(row["accuracy"])) == (3.0, 0.25)


def test_a_run_uses_variant_smoothing_seed_and_whole_small_images(tmp_path, photos, monkeypatch):
    losses, seeds = [], []
    monkeypatch.setattr(
        keras.losses,
        "CategoricalCrossentropy",
        lambda **options: losses.append(options) or keras.losses.categorical_crossentropy,
    )
    monkeypatch.setattr(
        setup,
        "load_data",
        lambda where, seed, **options: seeds.append(seed) or load_data(where, seed, **options),
    )
    fields = TINY | dict(variant="caffe", seed=7, label_smoothing=0.2)
    train(Recipe(data=str(photos), epochs=1, **fields), tmp_path / "out")
    trained = load_trained(tmp_path / "out")
    assert trained.model.card.spec.se_bias
    assert (losses, seeds) == ([{"label_smoothing": 0.2}], [7])
    assert trained.preprocessing.crop_fraction == 1.0
    for path in photos.rglob("*.png"):
        Image.open(path).resize((96, 80)).save(path)
    train(Recipe(data=str(photos), epochs=1, **TINY), tmp_path / "large")
    assert load_trained(tmp_path / "large").preprocessing.crop_fraction == 0.875


def test_a_run_without_acceleration_learns_and_scores_alike(tmp_path, photos):
    rows = []
    for acceleration in (True, False):
        out = tmp_path / str(acceleration)
        recipe = Recipe(data=str(photos), epochs=2, acceleration=acceleration, **TINY)
        result = train(recipe, out)
        history = read_run(out, "run").history
        rows.append([*history[-1].values(), result["loss"]])
        assert f"acceleration = {str(acceleration).lower()}" in (out / "recipe.toml").read_text()
    names = [*history[-1], "test loss"]
    for name, one, other in zip(names, *rows, strict=True):
        if "loss" in name:
            assert one == pytest.approx(other, rel=1e-3), name
            if keras.backend.backend() == "tensorflow":
                assert one != other, name  # another order of sums: two ways were computed


def test_se_resnext_trains_through_its_twin(tmp_path, photos):
    network = dict(model="se_resnext50_32x4d", spec=dict(n_blocks=(1, 1, 1, 1)))
    recipe = Recipe(data=str(photos), epochs=1, **TINY | network)
    train(recipe, tmp_path / "out")
    model = senet.load(tmp_path / "out" / "model.keras")
    assert model.get_layer("stage1_block1_3x3_conv").groups == 32
    first = senet.create("se_resnext50_32x4d", input_shape=(32, 32, 3), classes=2)
    assert not np.array_equal(
        model.get_layer("stem_bn").get_weights()[0], first.get_layer("stem_bn").get_weights()[0]
    )


def test_the_recorded_command_is_the_recipe(run):
    config = json.loads((run[0] / "run.json").read_text())
    words = shlex.split(config["command"])
    assert words[:2] == ["senet", "train"]
    flags = dict(zip(words[2::2], words[3::2], strict=True))
    assert flags.pop("--reference-batch") == "0"
    assert flags.pop("--out") == str(run[0])
    assert flags.pop("--data") == config["recipe"]["data"]
    assert flags == {
        **{"--size": "32", "--epochs": "2", "--batch-size": "8"},
        **{"--learning-rate": "0.02", "--warmup": "0.0", "--spec": "n_blocks=[ 1, 1, 1, ]"},
    }


def test_a_run_whose_images_changed_is_not_scored_as_held_out(tmp_path, photos):
    train(Recipe(data=str(photos), epochs=1, **TINY), tmp_path / "out")
    shutil.copy(photos / "circle" / "00.png", photos / "circle" / "new.png")
    with pytest.raises(ValueError, match="not those of the training any more; to score all that"):
        score(load_trained(tmp_path / "out"))
    evaluation, about = score(load_trained(tmp_path / "out"), str(photos))
    seen = len(evaluation.trained_on.labels)
    assert (about["split"], about["own_split"]) == ("all", False)
    assert len(evaluation.labels) + seen == 25
    assert seen in (18, 19)  # the new one is that of the training, if the old one is


def test_a_run_that_does_not_name_its_images_is_not_scored_on_changed_ones(
    tmp_path, photos, monkeypatch
):
    monkeypatch.setattr(trained_on, "MAX_DIGESTS", 17)
    train(Recipe(data=str(photos), epochs=1, **TINY), tmp_path / "out")
    shutil.copy(photos / "circle" / "00.png", photos / "circle" / "new.png")
    for data in (None, str(photos)):
        with pytest.raises(ValueError, match="any more; and which of them were trained on was not"):
            score(load_trained(tmp_path / "out"), data)


def test_of_too_many_images_to_note_the_split_tells_which_were_trained_on(
    tmp_path, photos, monkeypatch
):
    """As of more than 100,000: known by name as long as the data are the same, not elsewhere."""
    monkeypatch.setattr(trained_on, "MAX_DIGESTS", 17)
    result = train(Recipe(data=str(photos), epochs=1, **TINY), tmp_path / "out")
    assert (result["trained_on"], result["trained_on_complete"]) == (0, False)  # as for copies
    assert "is not looked for" in result["warnings"][0]
    for path in (tmp_path / "out", tmp_path / "out" / "model.keras"):
        network = load_trained(path)
        evaluation, about = score(network, str(photos))
        assert (about["split"], about["own_split"]) == ("test", True)
        summary = evaluation.summary()
        assert (summary["images"], summary["trained_on"]) == (result["images"], 0)
        assert not summary["trained_on_complete"]
        evaluation, _ = score(network, str(photos), "all")
        assert len(evaluation.trained_on.labels) == 18
        evaluation, about = score(network, str(photos), "train")
        assert (len(evaluation.labels), about["trained_on"]) == (18, 18)
        shutil.copytree(photos, tmp_path / "copy", dirs_exist_ok=True)
        (tmp_path / "copy" / "circle" / "00.png").unlink(missing_ok=True)
        evaluation, about = score(network, str(tmp_path / "copy"))
        assert evaluation.summary()["trained_on"] is None


def test_a_run_all_of_whose_held_out_images_were_trained_on_has_no_score(tmp_path, photos):
    for split in ("train", "validation", "test"):
        shutil.copytree(photos, tmp_path / "data" / split)
    folder = tmp_path / "out"
    result = train(Recipe(data=str(tmp_path / "data"), epochs=1, **TINY), folder)
    assert (result["images"], result["trained_on"], result["split"]) == (0, 24, "test")
    assert not {"top1", "loss", "baseline"} & set(result)
    assert "there is no score" in result["warnings"][-1]
    page = (folder / "report.html").read_text()
    assert "No score:</b> all 24 test images were trained on." in page
    assert "images are recognised" not in page
    assert "Wilson" not in page
    compared = read_run(folder, "out")
    assert (compared.score.top1, compared.score.interval) == (None, None)
    assert "no score: all test images were trained on" in fill_row(compared)
    with pytest.raises(ValueError, match="trained on every image"):
        score(load_trained(folder))
    assert resume(folder) == json.loads(json.dumps(result))


def test_other_data_is_scored_whole_unless_it_has_a_split(run, tmp_path):
    flat = make_photos(tmp_path / "flat", 5, seed=1)
    evaluation, about = score(load_trained(run[0]), str(flat))
    assert (len(evaluation.labels), about["split"]) == (10, "all")
    assert {name.split("/")[0] for name in evaluation.names} == {"circle", "square"}
    for name in ("train", "test"):
        make_photos(tmp_path / "split" / name, 4, seed=1)
    evaluation, about = score(load_trained(run[0]), str(tmp_path / "split"))
    assert (len(evaluation.labels), about["split"]) == (8, "test")


def test_a_file_alone_needs_the_data_named(run):
    with pytest.raises(ValueError, match="with --data"):
        score(load_trained(run[0] / "model.keras"))


def test_a_damaged_record_of_the_run_does_not_keep_the_network_from_predicting(run, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(run[0], broken)
    for text in ("", "{}", '{"recipe": {"data": [], "seed": "x"}, "split_sha256": 3}'):
        (broken / "run.json").write_text(text)
        trained = load_trained(broken)
        with pytest.raises(ValueError, match="with --data"):
            score(trained)


def test_a_damaged_record_of_what_the_run_was_trained_on_is_named(run, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(run[0], broken)
    values = json.loads((broken / "run.json").read_text())
    (broken / "run.json").write_text(json.dumps(values | dict(trained_on=dict(seed="x"))))
    with pytest.raises(ValueError, match=r"run.json' is damaged: in its record of the images"):
        score(load_trained(broken))


def test_logits_become_probabilities(run, tmp_path):
    trained = load_trained(run[0])
    options = dict(classes=2, input_shape=(32, 32, 3), **TINY["spec"])
    logits = senet.create("se_resnet20_cifar", classifier_activation=None, **options)
    logits.set_weights(trained.model.get_weights())
    card = trained.model.card
    about = dict(class_names=card.class_names, preprocessing=card.preprocessing)
    senet.save(logits, tmp_path / "logits.keras", **about)
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    result = load_trained(tmp_path / "logits.keras").model.predict_on_batch(images)
    np.testing.assert_allclose(result, trained.model.predict_on_batch(images), rtol=1e-4)


def test_evaluation_follows_the_definitions():
    probabilities = np.array(
        [[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.1, 0.6, 0.3], [0.3, 0.3, 0.4]], "float32"
    )
    result = Evaluation(("a", "b", "c"), tuple("wxyz"), np.array([0, 1, 2, 0]), probabilities)
    assert result.top1 == 0.5
    assert result.top(2) == 1.0
    assert result.loss == pytest.approx(-np.log([0.7, 0.5, 0.3, 0.3]).mean())
    assert result.confusion.tolist() == [[1, 0, 1], [0, 1, 0], [0, 1, 0]]
    a, b, c = result.per_class
    assert (a["precision"], a["recall"], a["images"]) == (1.0, 0.5, 2)
    assert (b["precision"], b["recall"]) == (0.5, 1.0)
    assert (c["precision"], c["recall"], c["f1"]) == (0.0, 0.0, 0.0)
    assert result.mistakes.tolist() == [2, 3]
    sure = Evaluation(("a", "b"), ("x",), np.array([0]), np.array([[1.0, 0.0]]))
    assert str(sure.loss) == "0.0"
