"""The program as a user runs it.

Most tests run it in this process, for one that starts TensorFlow for a line of output takes
seconds; `program` starts a process where that is what counts.
"""

import contextlib
import csv
import html
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import warnings

import keras
import pytest
from safetensors.numpy import load_file, save_file

from senet import applications, quiet
from senet.cli.main import COMMANDS, main
from senet.training import setup
from tests.conftest import default_signals, make_photos

SENET = [sys.executable, "-m", "senet"]
TINY = ["--size", "32", "--batch-size", "8", "--warmup", "0", "--learning-rate", "0.02"]
THIN = [*TINY, "--spec", "n_blocks=[1,1,1]"]


NARROW = dict(n_filters=(16, 16, 16, 16), n_blocks=(1, 1, 1, 1))
GREY = dict(input_shape=(64, 64, 1))


def program(*args, **options):
    """What a process of the program says, and its exit code."""
    options = dict(capture_output=True, text=True, timeout=300) | options
    return subprocess.run([*SENET, *map(str, args)], **options)


def senet(*args, cwd="."):
    """What the program says in this process, and its exit code."""
    keras.utils.clear_session(free_memory=False)
    arguments, output, errors = ["senet", *map(str, args)], io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
        warnings.catch_warnings(),
    ):
        patch.setattr(sys, "argv", arguments)
        patch.setenv(quiet.DEBUG, "")  # so that what --debug sets does not stay
        with pytest.raises(SystemExit) as ended:
            main()
    said = output.getvalue(), errors.getvalue()
    return subprocess.CompletedProcess(arguments, ended.value.code, *said)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    photos = make_photos(folder / "photos", 24)
    options = ["--epochs", "2", *TINY, "--seed", "1"]  # a seed that is not the default one
    done = program("train", "--data", photos, *options, "--out", folder / "run")
    return folder / "run", photos, done


def test_the_report_ends_in_commands_that_use_the_network(trained, tmp_path):
    """As a reader copies them, from the folder in which the training was started."""
    run, photos, _ = trained
    end = html.unescape((run / "report.html").read_text().split("Use this network")[1])
    lines = [line.removeprefix("<pre><code>") for line in end.splitlines()]
    commands = [shlex.split(line, comments=True) for line in lines if "senet " in line]
    named = {words[1]: words[2:] for words in commands if words[0] == "senet"}
    assert list(named) == ["predict", "evaluate", "explain", "export"]
    where = named["evaluate"][0]
    assert not where.startswith("/")
    photo = next(photos.rglob("*.png"))
    given = {"photo.jpg": photo, "photos/": photos}
    given |= {f"{where}-inside": tmp_path / "inside", f"{where}-onnx": tmp_path / "onnx"}
    for name in ("predict", "evaluate", "explain"):
        done = senet(name, *(given.get(word, word) for word in named[name]))
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "inside" / "explain.html").is_file()
    assert named["export"] == [where, "--format", "onnx", "--out", f"{where}-onnx"]
    assert "senet.predict(" in end


def error_of(done):
    """The one line of an error; fails if there is a traceback or more than that line."""
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.lower().startswith("error")]
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_a_finished_run_of_before_the_baseline_gives_its_result_again(tmp_path, trained):
    shutil.copytree(trained[0], tmp_path / "run")
    result = json.loads((tmp_path / "run/result.json").read_text())
    for name in ("baseline", "majority_class", "trained_on", "trained_on_complete"):
        del result[name]
    (tmp_path / "run/result.json").write_text(json.dumps(result))
    done = senet("train", "--resume", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert f"top-1 {result['top1']:.2%} on {result['images']} test images\n" in done.stderr
    assert json.loads(done.stdout) == result


EXAMPLES = ("train", "experiment", "compare", "predict", "explain", "fold", "convert", "export")


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_in_the_help_have_a_line_each(name):
    text = senet(name, "--help").stdout
    assert "\\b" not in text
    examples = [line for line in text.splitlines() if line.startswith(f"  senet {name} ")]
    assert len(examples) >= 2


def test_help_of_every_command_answers_without_a_backend():
    code = (
        "import sys, runpy\n"
        "class Blocked:\n"
        "    def find_spec(self, name, *args):\n"
        "        assert name.split('.')[0] not in ('keras', 'tensorflow', 'matplotlib'), name\n"
        "sys.meta_path.insert(0, Blocked())\n"
        "from senet.cli.main import COMMANDS, senet_command\n"
        "senet_command.main(['--help'], standalone_mode=False)\n"
        "for name in COMMANDS:\n"
        "    senet_command.main([name, '--help'], standalone_mode=False)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Usage:") == 15  # the group and fourteen commands


def test_senet_alone_shows_five_commands_that_exist():
    done = senet()
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    shown = [line.split() for line in lines if line.startswith("  ")]
    assert [words[:2] for words in shown] == [
        ["senet", name] for name in ("train", "train", "predict", "explain", "export")
    ]
    for _, name, *words in shown:
        flags = senet(name, "--help").stdout
        assert all(f"{word} " in flags for word in words if word.startswith("--"))
    assert max(map(len, lines)) <= 80


def test_help_groups_all_commands():
    lines = senet("--help").stdout.splitlines()
    titles = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    groups = ["From data to a network:", "Look inside:", "Deploy:", "Tools:"]
    assert titles == ["Options:", *groups]
    listed = [line.split()[0] for line in lines[lines.index(groups[0]) :] if line.startswith("  ")]
    assert sorted(listed) == sorted(COMMANDS)


def test_train_ends_with_a_line_of_json_and_says_where_the_pictures_are(trained):
    run, _, done = trained
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    result = json.loads(line)
    assert (result["images"], result["split"]) == (10, "test")
    assert str(run / "report.html") in done.stderr
    assert str(run / "curves.png") in done.stderr
    assert "epoch 2/2" in done.stderr
    lines = [line.split() for line in done.stderr.splitlines()]
    assert ["class", "train", "validation", "test"] in lines
    assert ["circle", "17", "2", "5"] in lines
    assert ["square", "17", "2", "5"] in lines
    counts = dict(train=17, validation=2, test=5)
    assert result["images_per_class"] == dict(circle=counts, square=counts)
    assert "always saying 'circle', the most frequent class, is right for 50.0%" in done.stderr
    assert done.stderr.count("(baseline 50.0%)") == 2  # beside the score of each epoch
    assert (result["baseline"], result["majority_class"]) == (0.5, "circle")


def test_faults_of_the_data_are_said_and_stand_in_the_report(tmp_path):
    photos = make_photos(tmp_path / "photos", 12, ("circle", "square"))
    make_photos(tmp_path / "more", 3, ("circle", "square", "star"), seed=1)
    for split, folder in (("train", "photos"), ("test", "more")):
        shutil.copytree(tmp_path / folder, tmp_path / "data" / split)
    shutil.rmtree(tmp_path / "data" / "test" / "star")
    shutil.copytree(tmp_path / "more" / "star", tmp_path / "data" / "train" / "star")
    shutil.copy(photos / "circle" / "00.png", tmp_path / "data" / "test" / "circle" / "twice.png")
    options = ["--epochs", "1", *THIN, "--learning-rate", "0", "--out", tmp_path / "run"]
    done = senet("train", "--data", tmp_path / "data", *options)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["images"], result["trained_on"], result["split"]) == (6, 1, "test")
    said = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert said == [f"warning: {warning}" for warning in result["warnings"]]
    assert "No test image is of star" in said[0]
    assert "Of the 7 test images 1 are among the training images too" in said[1]
    page = (tmp_path / "run" / "report.html").read_text()
    assert page.count('<div class="warning">') == len(said)
    assert "1 more was trained on and does not count; with it the score would be" in page
    assert "No image is of 1 of the 3 classes: star." in page
    assert "<tr><td>star</td><td>2</td><td>1</td><td>0</td></tr>" in page
    again = senet("evaluate", tmp_path / "run")
    assert json.loads(again.stdout.splitlines()[-1])["trained_on"] == 1
    assert "No image is of star (1 of 3 classes)." in again.stdout


def test_no_acceleration_makes_no_twin(tmp_path, photos, monkeypatch):
    def refuse(model):
        raise AssertionError("there was to be no twin")

    monkeypatch.setattr(setup, "accelerate", refuse)
    command = ["train", "--data", photos, "--epochs", 1, *THIN, "--out"]
    done = senet(*command, tmp_path / "stock", "--no-acceleration", "--ema", 0.9)
    assert done.returncode == 0, done.stderr
    assert "there was to be no twin" in error_of(senet(*command, tmp_path / "twin"))


def test_evaluate_counts_every_image_and_agrees_with_training(trained, tmp_path):
    run, _, done = trained
    picture = tmp_path / "matrix.png"
    again = program("evaluate", run, "--batch-size", "3", "--confusion", picture)
    assert again.returncode == 0, again.stderr
    *table, line = again.stdout.splitlines()
    result = json.loads(line)
    trained_result = json.loads(done.stdout)
    assert result["images"] == 10
    assert result["top1"] == trained_result["top1"]
    assert [row.split()[0] for row in table] == ["class", "circle", "square", "top-1"]
    assert (result["baseline"], result["majority_class"]) == (0.5, "circle")
    assert table[-1] == (
        f"top-1 {result['top1']:.2%} on 10 test images (baseline 50.00%: always 'circle')"
    )
    assert sum(row["images"] for row in result["per_class"]) == 10
    assert picture.exists()
    train = senet("evaluate", run, "--split", "train")
    result = json.loads(train.stdout.splitlines()[-1])
    assert (result["images"], result["trained_on"]) == (34, 34)
    assert "trained on 34 of them" in train.stdout


@pytest.fixture(scope="module")
def made_of_the_run(trained, tmp_path_factory):
    """Everything that a run can be made into, by its own commands and one after the other."""
    run, photos, _ = trained
    folder = tmp_path_factory.mktemp("made")
    file = run / "model.keras"
    quantized = ["--images", 20, "--max-drop", 100]
    for command in (
        ["export", run, "--out", folder / "openvino"],
        ["export", file, "--format", "onnx", "--out", folder / "onnx"],
        ["quantize", run, "--out", folder / "int8", *quantized],
        ["quantize", file, "--data", photos, "--out", folder / "int8-of-file", *quantized],
        ["convert", file, folder / "model.safetensors"],
        ["convert", folder / "model.safetensors", folder / "back.keras"],
        ["export", folder / "back.keras", "--out", folder / "openvino-of-back"],
    ):
        done = senet(*command)
        assert done.returncode == 0, done.stderr
    return [run, file, run / "best.keras", *sorted(folder.iterdir())]


def test_whatever_is_made_of_a_run_is_scored_on_the_images_that_the_run_held_out(
    trained, made_of_the_run
):
    assert len(made_of_the_run) == 10
    for model in made_of_the_run:
        done = senet("evaluate", model, "--data", trained[1])
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout.splitlines()[-1])
        assert (result["split"], result["images"], result["trained_on"]) == ("test", 10, 0), model
        result = json.loads(
            senet(
                "evaluate", model, "--data", trained[1], "--split", "validation"
            ).stdout.splitlines()[-1]
        )
        assert (result["images"], result["trained_on"]) == (4, 0), model


def test_images_that_were_trained_on_do_not_count_wherever_they_lie(
    trained, made_of_the_run, tmp_path
):
    """The run's images under other names, without one: no longer the data of the training."""
    run, photos, done = trained
    for path in sorted(photos.rglob("*.png"))[1:]:
        (tmp_path / "other" / path.parent.name).mkdir(parents=True, exist_ok=True)
        copy = tmp_path / "other" / path.parent.name / f"renamed-{path.name}"
        copy.write_bytes(path.read_bytes())
    with open(run / "images.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["image"] != "circle/00.png"]
    of_training = sum(row["split"] == "train" for row in rows)
    for model in made_of_the_run:
        done = senet("evaluate", model, "--data", tmp_path / "other")
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout.splitlines()[-1])
        assert result["split"] == "all"
        assert (result["images"], result["trained_on"]) == (47 - of_training, of_training), model
        assert sum(row["images"] for row in result["per_class"]) == 47 - of_training
        assert f"{of_training} more were trained on and do not count" in done.stdout
        both = result["top1"] * result["images"], result["top1_with_trained_on"] * 47
        assert [round(number) for number in both] == [pytest.approx(number) for number in both]
        drawn = senet("evaluate", model, "--data", tmp_path / "other", "--split", "test")
        result = json.loads(drawn.stdout.splitlines()[-1])
        assert (result["split"], result["images"] + result["trained_on"]) == ("test", 10)


def test_nothing_but_images_that_were_trained_on_is_no_score(trained, tmp_path):
    run, photos, _ = trained
    with open(run / "images.csv", newline="") as file:
        names = [row["image"] for row in csv.DictReader(file) if row["split"] == "train"]
    for name in names:
        (tmp_path / "seen" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "seen" / name).write_bytes((photos / name).read_bytes())
    done = senet("evaluate", run / "model.keras", "--data", tmp_path / "seen")
    assert "trained on every image" in error_of(done)
    done = senet("evaluate", run / "model.keras", "--data", tmp_path / "seen", "--split", "train")
    assert "trained on every image" in error_of(done)
    assert "--split train" not in error_of(done)


def test_training_images_of_other_data_are_set_apart_of_its_training_split_too(trained, tmp_path):
    """Only the training images of its own split are scored when they are asked for."""
    run, photos, _ = trained
    shutil.copytree(photos, tmp_path / "data" / "train")
    make_photos(tmp_path / "data" / "test", 4, seed=1)
    asked = ["--data", tmp_path / "data", "--split", "train"]
    done = senet("evaluate", run / "model.keras", *asked)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    with open(run / "images.csv", newline="") as file:
        before = {row["image"] for row in csv.DictReader(file) if row["split"] == "train"}
    assert result["own_split"] is False
    assert result["trained_on"] + result["images"] == 44  # 4 of 48 were drawn for validation
    assert len(before) - 4 <= result["trained_on"] <= len(before)
    assert f"{result['trained_on']} more were trained on and do not count" in done.stdout
    assert "no score on images it has not seen" not in done.stdout
    other = make_photos(tmp_path / "other", 6, seed=2)
    done = senet("evaluate", run / "model.keras", "--data", other, "--split", "train")
    assert json.loads(done.stdout.splitlines()[-1])["trained_on"] == 0
    assert "trained on" not in done.stdout.rsplit("\n", 2)[0]
    assert "split at random for this (seed 1), not as in training" in done.stdout


def test_a_network_that_does_not_say_what_it_was_trained_on_is_scored_with_that_said(tiny):
    file, photos = tiny
    done = senet("evaluate", file, "--data", photos)
    assert json.loads(done.stdout.splitlines()[-1])["trained_on"] is None
    assert "Whether it was trained on some of them is not known." in done.stdout


def test_a_run_that_starts_from_another_does_not_count_what_that_was_trained_on(trained, tmp_path):
    run, photos, _ = trained
    options = ["--epochs", "1", *TINY, "--seed", "2", "--weights", run / "model.keras"]
    done = senet("train", "--data", photos, *options, "--out", tmp_path / "second")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    with open(run / "images.csv", newline="") as file:
        before = {row["image"] for row in csv.DictReader(file) if row["split"] == "train"}
    with open(tmp_path / "second" / "images.csv", newline="") as file:
        held_out = {row["image"] for row in csv.DictReader(file) if row["split"] == "test"}
    assert 0 < len(held_out & before) < 10
    expected = 10 - len(held_out & before), len(held_out & before)
    assert (result["images"], result["trained_on"]) == expected
    again = json.loads(senet("evaluate", tmp_path / "second").stdout.splitlines()[-1])
    assert (again["images"], again["trained_on"], again["top1"]) == (*expected, result["top1"])


@pytest.mark.parametrize("style", ["table", "csv", "jsonl"])
def test_predict_prints_class_and_probability(trained, style):
    run, photos, _ = trained
    files = [photos / "circle" / "00.png", photos / "square"]
    done = senet("predict", *files, "--model", run, "--format", style, "--top", "2")
    assert done.returncode == 0, done.stderr
    if style == "csv":
        rows = list(csv.DictReader(io.StringIO(done.stdout)))
        assert len(rows) == 2 * 25
        assert float(rows[0]["probability"]) + float(rows[1]["probability"]) == pytest.approx(
            1, abs=1e-4
        )
        assert {row["class"] for row in rows} == {"circle", "square"}
    elif style == "jsonl":
        records = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(records) == 25
        assert records[0]["file"] == str(files[0])
        assert records[0]["classes"][0]["probability"] >= 0.5
    else:
        first = done.stdout.splitlines()[0]
        assert str(files[0]) in first
        assert "%" in first


def test_predict_looks_into_folders_that_a_pattern_matches(trained):
    run, photos, _ = trained
    done = program("predict", f"{photos}/*", "--model", run, "--format", "jsonl")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 48


def test_a_backend_that_keras_json_names_but_is_not_installed_is_passed_over(tmp_path):
    (tmp_path / "keras.json").write_text('{"backend": "mxnet"}')
    environment = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
    done = program("info", "se_resnet10", env=environment | {"KERAS_HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr


def test_a_confusion_matrix_goes_to_a_png_file_in_any_folder(trained, tmp_path):
    done = senet("evaluate", trained[0], "--confusion", "matrix.txt", cwd=tmp_path)
    assert done.returncode == 2
    assert "'matrix.txt' must end in .png or .svg" in error_of(done)
    done = senet("evaluate", trained[0], "--confusion", "a/b/matrix.png", cwd=tmp_path)
    assert done.returncode == 0
    assert (tmp_path / "a/b/matrix.png").is_file()


def test_info_and_draw_take_a_run_a_file_and_published_weights(trained, tmp_path):
    run = trained[0]
    shown = [senet("info", where).stdout for where in (run, run / "model.keras")]
    assert shown[0] == shown[1]
    assert "se_resnet20_cifar, variant seed, 2 classes, input 32 x 32 x 3\n" in shown[0]
    assert "trainable parameters 273,970 " in shown[0]
    larger = senet("info", run, "--size", "64", "--classes", "5").stdout
    assert "5 classes, input 64 x 64 x 3" in larger
    published = senet("info", "se_resnet50.a3_in1k").stdout  # nothing is downloaded for it
    assert "se_resnet50, variant torch, 1000 classes, input 160 x 160 x 3" in published
    assert "trainable parameters 28,088,024 " in published
    assert "a variant of its own" in error_of(senet("info", run, "--variant", "torch"))
    assert "Did you mean 'se_resnet50'" in error_of(senet("info", "se_resnet51"))
    done = senet("draw", run, "--out", tmp_path / "a/b")
    assert done.returncode == 0, done.stderr
    assert all(os.path.isfile(path) for path in done.stdout.splitlines())


def test_draw_says_where_the_pictures_are(tmp_path):
    done = senet("draw", "se_resnet20_cifar", "--classes", "10", "--out", tmp_path / "pictures")
    assert done.returncode == 0, done.stderr
    paths = done.stdout.splitlines()
    assert len(paths) == 4
    assert all(os.path.getsize(path) > 1000 for path in paths)
    assert "Did you mean 'se_resnet20_cifar'" in error_of(senet("draw", "se_resnet20_cifer"))


def test_predict_names_a_bad_file_and_goes_on(trained, tmp_path):
    run, photos, _ = trained
    (tmp_path / "notes.jpg").write_text("hello")
    pattern = str(photos / "circle" / "0*.png")
    done = senet("predict", tmp_path / "notes.jpg", pattern, "--model", run, "--format", "jsonl")
    assert done.returncode == 1
    assert "notes.jpg: Not a JPEG" in error_of(done)
    assert len(done.stdout.splitlines()) == 10


def started(command):
    """A process of its own group, which answers to signals."""
    pipe = subprocess.PIPE
    with default_signals():
        return subprocess.Popen(
            command, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        )


def test_ctrl_c_leaves_a_usable_last_epoch(tmp_path):
    photos = make_photos(tmp_path / "photos", 24)
    out = tmp_path / "run"
    command = [*SENET, "train", "--data", str(photos), "--epochs", "500", *THIN, "--out", str(out)]
    process = started(command)
    deadline = time.monotonic() + 240
    while not (out / "metrics.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    result = json.loads(stdout.splitlines()[-1])
    assert result["interrupted"]
    assert 1 <= result["epochs"] < 500
    assert "Traceback" not in stderr
    done = senet("predict", photos / "circle" / "00.png", "--model", out)
    assert done.returncode == 0, done.stderr
    assert "interrupted" in (out / "report.html").read_text()


def test_ctrl_c_before_the_first_epoch_is_over_says_so(tmp_path):
    photos = make_photos(tmp_path / "photos", 24)
    command = [*SENET, "train", "--data", str(photos), *THIN, "--out", str(tmp_path / "run")]
    process = started(command)
    deadline = time.monotonic() + 240
    while not (tmp_path / "run" / "run.json").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    done = senet("predict", photos, "--model", tmp_path / "run")
    assert "ended before the first epoch" in error_of(done)


def test_list_shows_the_family_and_takes_a_pattern():
    assert len(senet("list").stdout.splitlines()) == 1 + 25 + 24  # SENet-154 has no plain name
    rows = senet("list", "se_resnext50*").stdout.splitlines()[1:]
    assert [row.split()[0] for row in rows] == ["se_resnext50_32x4d"]


def test_list_shows_published_weights():
    lines = senet("list", "se_resnet50", "--weights").stdout.splitlines()
    assert len(lines) == 1 + 6 + 2
    assert lines[1].split()[:5] == ["se_resnet50", "ra2_in1k*", "80.26", "95.07", "224"]
    assert "(0.485, 0.456, 0.406)" in lines[-1]
    assert "matches 'vgg*'" in error_of(senet("list", "vgg*", "--weights"))


def test_convert_goes_to_foreign_names_and_back(trained, tmp_path):
    run, photos, _ = trained
    file = tmp_path / "ours.safetensors"
    done = senet("convert", run / "model.keras", file)
    assert done.returncode == 0, done.stderr
    assert "se_resnet20_cifar, 2 classes" in done.stdout
    back = tmp_path / "back.keras"
    assert senet("convert", file, back).returncode == 0
    photo = next(photos.rglob("*.png"))
    named = [senet("predict", photo, "--model", m).stdout for m in (run / "model.keras", back)]
    assert named[0] == named[1]
    refused = senet("convert", file, tmp_path / "a.safetensors", "--names", "timm")
    assert "timm has no network that is built as se_resnet20_cifar" in error_of(refused)
    assert len({path.stat().st_mode for path in (run / "model.keras", file, back)}) == 1


@pytest.mark.parametrize("ending", ["keras", "safetensors"])
def test_convert_that_cannot_write_leaves_nothing_behind(trained, tmp_path, ending):
    """A limit to the size of files fails like a full disk: in the middle of a file."""
    code = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)); "
    code += "from senet.cli.main import main; sys.argv[0] = 'senet'; main()"
    target = tmp_path / f"a.{ending}"
    command = [sys.executable, "-c", code, "convert", trained[0] / "model.keras", target]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert "File too large" in error_of(done)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("classes", [2 * 10**9, 10**30])
def test_convert_refuses_classes_that_fit_no_memory(trained, tmp_path, classes):
    target = tmp_path / "a.keras"
    done = senet("convert", trained[0] / "model.keras", target, "--classes", classes)
    assert "more than the memory of this machine" in error_of(done)
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_model_save_is_given_what_it_lacks_by_convert(trained, tmp_path):
    run, photos, _ = trained
    keras.saving.load_model(run / "model.keras").save(tmp_path / "fitted.keras")
    photo = next(photos.rglob("*.png"))
    line = error_of(senet("predict", photo, "--model", tmp_path / "fitted.keras"))
    assert "senet convert FILE NEW --class-names cat,dog --values 0-1" in line
    (tmp_path / "names.txt").write_text("circle\nsquare\n")
    given = ["--values", "imagenet"]
    for number, names in enumerate(("circle,square", tmp_path / "names.txt")):
        target = tmp_path / f"{number}.keras"
        done = senet("convert", tmp_path / "fitted.keras", target, "--class-names", names, *given)
        assert (done.returncode, done.stderr) == (0, "")
        named = [senet("predict", photo, "--model", m).stdout for m in (run, target)]
        assert named[0] == named[1]
    refused = senet("convert", run, tmp_path / "b.keras", "--class-names", "circle")
    assert "one name for each class" in error_of(refused)


def test_info_of_a_file_of_keras_counts_it(trained, tmp_path):
    keras.saving.load_model(trained[0] / "model.keras").save(tmp_path / "fitted.keras")
    done = senet("info", tmp_path / "fitted.keras")
    assert done.returncode == 0, done.stderr
    assert "trainable parameters 273,970 " in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train", "--data="), "Data are named by a folder, a file or one of digits"),
        (("train", "--validation", "0", "--test", "0"), "validation must be above 0: without"),
        (("train", "--spec", "foo=3"), "Unknown field of a network's spec 'foo'. Known: n_blocks"),
        (("train", "--processes", "999"), "999 are more than the cores of this machine"),
        (("train", "--weights", "nowhere/run"), "no run folder or weights file"),
        (("convert", "a.keras", "b.keras", "--size", "64"), "belong to --values"),
        (("convert", "RUN", "b.keras", "--class-names", "no.txt"), "no file of class names"),
        (("convert", "se_resnet50", "b.keras"), "is the name of a network"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_options_that_do_not_fit_are_answered_with_why(trained, tmp_path, arguments, words):
    arguments = [trained[0] if word == "RUN" else word for word in arguments]
    assert words in error_of(senet(*arguments, cwd=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_backend_that_keras_has_not_is_named(tmp_path):
    done = program("info", "se_resnet10", env=os.environ | {"KERAS_BACKEND": "foo"})
    assert "KERAS_BACKEND must be one of tensorflow, jax, torch; it is 'foo'" in error_of(done)


def test_finetune_takes_network_and_size_of_a_run(trained, tmp_path):
    run, photos, _ = trained
    options = ["--preset", "finetune", "--weights", run, "--epochs", "1", "--batch-size", "8"]
    done = senet("train", *options, "--data", photos, "--out", tmp_path / "new/tuned")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "new/tuned/run.json").read_text())
    assert (record["recipe"]["model"], record["recipe"]["size"]) == ("se_resnet20_cifar", 32)
    assert "--model" not in record["command"]
    again = senet(*record["command"].replace("new/tuned", "again").split()[1:])
    assert again.returncode == 0, again.stderr
    assert senet("train", "--resume", tmp_path / "again", "--weights", run).returncode == 0
    other = senet(
        "train", *options, "--model", "se_resnet10", "--data", photos, "--out", tmp_path / "x"
    )
    assert "holds se_resnet20_cifar, not se_resnet10" in error_of(other)


def test_convert_takes_a_run(trained, tmp_path):
    done = senet("convert", trained[0], tmp_path / "new/ours.safetensors")
    assert done.returncode == 0, done.stderr
    assert "se_resnet20_cifar, 2 classes" in done.stdout
    assert (tmp_path / "new/ours.safetensors").is_file()


def test_what_was_taken_of_a_checkpoint_is_said_once(trained, tmp_path):
    model = applications.create("se_resnet18", variant="torch", classes=2, **NARROW)
    applications.save(model, tmp_path / "a.safetensors", names="timm")
    arrays = load_file(tmp_path / "a.safetensors")
    save_file({f"ema.{n}": a for n, a in arrays.items()} | arrays, tmp_path / "b.safetensors")
    done = senet("convert", tmp_path / "b.safetensors", tmp_path / "c.keras")
    assert done.returncode == 0
    (line,) = [text for text in done.stderr.splitlines() if "used the averaged weights" in text]
    assert line.startswith("warning: ")
    assert "left out conv1.weight, bn1.* (" not in line  # four and fewer are listed one by one
    assert "bn1.weight" in line


def test_a_network_for_other_channels_is_named_by_predict(trained, tmp_path):
    model = applications.create("se_resnet18", variant="torch", classes=2, **NARROW | GREY)
    applications.save(model, tmp_path / "a.safetensors", names="timm")
    photo = next(trained[1].rglob("*.png"))
    done = senet("predict", photo, "--model", tmp_path / "a.safetensors")
    assert "takes images of 1 channel, and here images are read in RGB" in error_of(done)


def test_files_that_hold_no_network_are_answered_with_one_line(tmp_path):
    for name, content in (("a.pth", b""), ("b.safetensors", b"<html>"), ("c.keras", b"PK")):
        (tmp_path / name).write_bytes(content)
        done = senet("convert", tmp_path / name, tmp_path / "out.keras")
        assert done.returncode == 1
        assert name in error_of(done)
    assert "There is no run folder or weights file" in error_of(
        senet("convert", "missing.pth", "out.keras")
    )
    assert not (tmp_path / "out.keras").exists()


def test_info_and_draw_give_a_stage_the_same_parameters(tmp_path):
    shown = senet("info", "se_resnet10", "--size", "64").stdout
    stages = re.findall(r"^(stem|stage\d|classifier) +[\dx ]+?  +([\d,]+) +[\d,]+$", shown, re.M)
    assert len(stages) == 6
    assert sum(int(n.replace(",", "")) for _, n in stages) == int(
        re.search(r"trainable parameters ([\d,]+)", shown)[1].replace(",", "")
    )
    senet("draw", "se_resnet10", "--size", "64", "--out", str(tmp_path))
    drawn = (tmp_path / "se_resnet10-macro.svg").read_text()
    for _, parameters in stages:
        assert f">{parameters} parameters<" in drawn


def test_info_shows_parameters_multiply_adds_and_stages():
    done = senet("info", "se_resnet50")
    assert "28,071,976" in done.stdout
    assert "3,871,627,264" in done.stdout
    assert "7 x 7 x 2048" in done.stdout
    layers = json.loads(senet("info", "se_resnet50", "--json").stdout)["layers"]
    assert sum(layer["multiply_adds"] for layer in layers) == 3_871_627_264


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["trian"], 2, "No such command 'trian'"),
        (["train", "--epoch", "3"], 2, "No such option"),
        (["train", "--epochs", "many"], 2, "not a valid integer"),
        (["train", "--epochs", "0"], 1, "epochs must be from 1"),
        (["train", "--model", "se_resnet5"], 1, "Did you mean 'se_resnet50'"),
        (["train", "--crop", "round"], 2, "'round' is not one of"),
        (["train", "--data", "nowhere/"], 1, "There is no folder or zip file"),
        (["evaluate"], 2, "Missing argument 'RUN'"),
        (["evaluate", "nowhere"], 1, "There is no run folder or weights file 'nowhere'"),
        (["predict", "photo.jpg"], 2, "Missing option '--model'"),
        (["predict", "nothing.jpg", "--model", "nowhere"], 1, "There is no image at 'nothing.jpg'"),
        (["list", "vgg*"], 1, "No network matches 'vgg*'"),
        (["info", "se_resnet51"], 1, "Did you mean 'se_resnet50'"),
        (["info", "se_resnet50", "--size", "8"], 2, "not in the range"),
    ],
)
def test_mistakes_are_answered_with_one_line(tmp_path, args, code, message):
    done = senet(*args, cwd=tmp_path)
    assert done.returncode == code
    assert message in error_of(done)
    assert list(tmp_path.iterdir()) == []


def empty(folder):
    folder.mkdir()


def one_class(folder):
    make_photos(folder, 3, ("circle",))


def text_named_jpg(folder):
    make_photos(folder, 6)
    for name in ("circle", "square"):
        for file in (folder / name).iterdir():
            file.unlink()
            file.with_suffix(".jpg").write_text("not an image")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (empty, "There are no images"),
        (one_class, "has one class, 'circle'"),
        (text_named_jpg, "12 of 12 images cannot be read"),
    ],
)
def test_data_that_cannot_be_used_is_answered_with_one_line(tmp_path, build, message):
    build(tmp_path / "data")
    done = senet("train", "--data", tmp_path / "data", *TINY, "--out", tmp_path / "run")
    assert done.returncode == 1
    assert message in error_of(done)


def test_evaluating_on_other_classes_is_refused(trained, tmp_path):
    other = make_photos(tmp_path / "other", 4, ("cat", "dog"))
    done = senet("evaluate", trained[0], "--data", other)
    assert "knows the classes circle, square" in error_of(done)


def test_evaluate_says_which_images_cannot_be_read_and_what_was_left_out(trained, tmp_path):
    photos = make_photos(tmp_path / "photos", 20, seed=9)
    for i in range(15):
        (photos / "square" / f"{i:02d}.png").write_bytes(b"\xff\xd8\xff\xe0")
    (photos / "circle" / "about.txt").write_text("")
    (photos / "bird").mkdir()
    done = senet("evaluate", trained[0], "--data", photos)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["images"], result["skipped"]) == (25, 15)
    others, barren, damaged, *_ = result["warnings"]
    assert others == "Not read, by the ending: 1 .txt (circle/about.txt)."
    assert barren.endswith("count for nothing: bird.")
    assert damaged.startswith(
        "15 of 40 images cannot be read and do not count: square/00.png: JPEG, damaged: "
    )
    assert damaged.endswith("; and 12 more.")
    for line in result["warnings"]:
        assert f"warning: {line}" in done.stderr


def test_predict_passes_over_what_is_hidden_and_names_what_is_not_read(trained, tmp_path):
    folder = make_photos(tmp_path / "photos", 2)
    (folder / "circle" / "00.png").rename(folder / "circle" / "00.JFIF")
    for name in ("._a.png", "circle/IMG.HEIC", "about.txt", "__MACOSX/b.png", ".c/d.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    done = senet("predict", folder, "--model", trained[0], "--format", "jsonl")
    assert done.returncode == 1
    assert error_of(done).endswith("IMG.HEIC: HEIC: save it as JPEG.")
    assert "Not read, by the ending: 1 .txt (about.txt)." in done.stderr
    files = [json.loads(line)["file"] for line in done.stdout.splitlines()]
    assert [os.path.relpath(file, folder).replace(os.sep, "/") for file in files] == [
        *("circle/00.JFIF", "circle/01.png", "square/00.png", "square/01.png"),
    ]


NEEDS_BYTES = pytest.mark.skipif(os.name != "posix", reason="names are text on Windows")


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """A run on classes and files whose names are no text, or in letters that few fonts have."""
    folder = tmp_path_factory.mktemp("foreign")
    photos = make_photos(folder / "photos", 12)
    os.rename(photos / "square", os.fsencode(photos) + b"/caf\xe9")
    (photos / "circle").rename(photos / "\u732b \U000e01ef")
    os.rename(
        os.fsencode(photos) + b"/caf\xe9/00.png", os.fsencode(photos) + b"/caf\xe9/na\xefve.png"
    )
    damaged = os.fsencode(photos) + b"/caf\xe9/\xff.png"
    with open(damaged, "wb") as file:
        file.write(b"no image")
    options = ["--epochs", "1", *THIN, "--bad-images", "ignore"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = program("train", "--data", photos, *options, "--out", folder / "run", env=environment)
    return folder / "run", photos, done


@NEEDS_BYTES
def test_a_run_on_names_that_are_no_text_ends_as_any_other(foreign):
    run, _, done = foreign
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "Glyph" not in done.stderr
    assert r"caf\xe9" in done.stderr
    assert done.stdout.isascii()
    result = json.loads(done.stdout)
    assert {*result["images_per_class"]} == {r"caf\xe9", "\u732b \U000e01ef"}
    assert result["bad_images"]["damaged"] == 1
    files = [path for path in run.iterdir() if path.suffix in (".csv", ".json", ".toml", ".html")]
    assert len(files) >= 7
    for path in files:
        assert "\ufffd" not in path.read_text(encoding="utf-8")
    with open(run / "bad_images.csv", newline="", encoding="utf-8") as file:
        assert [row["file"] for row in csv.DictReader(file)] == [r"caf\xe9/\xff.png"]
    assert r"caf\xe9" in (run / "report.html").read_text(encoding="utf-8")


@NEEDS_BYTES
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("style", ["table", "csv", "jsonl"])
def test_predictions_are_whole_whatever_letters_the_terminal_has(foreign, encoding, style):
    run, photos, _ = foreign
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = program(
        *("predict", photos, "--model", run, "--format", style, "--top", 2),
        env=environment,
        encoding=encoding,
    )
    assert done.returncode == 1
    assert error_of(done).endswith(
        r"caf\xe9/\xff.png: Not a JPEG, PNG, WEBP, BMP, GIF, TIFF image."
    )
    lines = done.stdout.splitlines()
    assert len(lines) == {"table": 48, "csv": 49, "jsonl": 24}[style]
    name = r"caf\xe9/na\xefve.png"
    shown = json.dumps(name)[1:-1] if style == "jsonl" else name
    assert sum(shown in line for line in lines) == (2 if style == "csv" else 1)


@NEEDS_BYTES
def test_evaluate_explain_and_export_take_names_that_are_no_text(foreign, tmp_path):
    run, photos, _ = foreign
    for command in (
        ("evaluate", run, "--data", photos, "--split", "all", "--confusion", tmp_path / "c.png"),
        ("explain", run, "--out", tmp_path / "inside"),
        ("export", run, "--format", "triton", "--out", tmp_path / "exported", "--images", 8),
        ("compare", run, "--out", tmp_path / "compared"),
    ):
        done = senet(*command)
        assert done.returncode == 0, done.stderr
        json.loads(done.stdout.splitlines()[-1])
    (labels,) = (tmp_path / "exported").rglob("labels.txt")
    assert labels.read_text(encoding="utf-8").splitlines() == [r"caf\xe9", "\u732b \U000e01ef"]


@NEEDS_BYTES
def test_a_path_that_no_recipe_can_hold_is_refused_before_anything_is_written(tmp_path):
    photos = os.fsencode(make_photos(tmp_path / "photos", 12))
    os.rename(photos, os.fsencode(tmp_path) + b"/caf\xe9")
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    done = program("train", "--data", path, cwd=tmp_path)
    assert r"caf\xe9', has bytes that are no UTF-8" in error_of(done)
    assert not (tmp_path / "runs").exists()


def test_a_missing_backend_is_named(tmp_path):
    environment = os.environ | {"KERAS_BACKEND": "jax", "HOME": str(tmp_path)}
    done = program("info", "se_resnet20_cifar", env=environment)
    if "jax" not in done.stderr:
        pytest.skip("JAX is installed here")
    assert 'pip install "senet[jax]"' in error_of(done)


def test_a_fault_that_nobody_foresaw_is_one_line_that_says_how_to_report_it(monkeypatch):
    def fail(*_args, **_options):
        raise RuntimeError("the first line\nand \x1b[31mthe second")

    monkeypatch.setattr(applications, "create", fail)
    line = error_of(senet("info", "se_resnet50"))
    assert "did not foresee this: RuntimeError: the first line and \\x1b[31mthe second." in line
    assert "Please report it to the developers of senet" in line
    shown = senet("info", "se_resnet50", "--debug").stderr
    assert "Traceback" in shown
    assert "in fail" in shown
    assert "\x1b" not in shown


ESCAPE = "\x1b[31mred"


@pytest.mark.parametrize(
    "arguments",
    [
        ("info", ESCAPE),
        ("list", ESCAPE),
        ("convert", ESCAPE, "a.keras"),
        ("predict", ESCAPE, "--model", ESCAPE),
        ("evaluate", ESCAPE),
        ("compare", ESCAPE),
        ("train", "--data", ESCAPE, "--out", "a"),
        ("train", "--model", ESCAPE),
        ("train", "--epochs", ESCAPE),
        ("train", f"--{ESCAPE}"),
        (ESCAPE,),
    ],
    ids=lambda words: words[0] if len(words) < 2 else " ".join(words[:2]).replace("\x1b", ""),
)
def test_names_do_not_steer_the_terminal(arguments, tmp_path):
    done = senet(*arguments, cwd=tmp_path)
    assert done.returncode in (1, 2)
    assert "x1b[31mred" in done.stderr
    assert "\x1b" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    "arguments", [("--debug", "info", "se_resnet51"), ("info", "se_resnet51", "--debug")]
)
def test_debug_shows_the_traceback(arguments):
    done = senet(*arguments)
    assert "Traceback" in done.stderr


def test_a_missing_library_of_an_extra_is_answered_with_the_command_that_installs_it(tmp_path):
    code = (
        "import sys\n"
        "sys.modules['tensorboardX'] = None\n"
        "from senet.cli import main\n"
        "from senet.runs.events import Events\n"
        "main.senet_command.main = lambda **options: Events('events')\n"
        "main.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=os.getcwd()
    )
    assert 'pip install "senet[tensorboard]"' in error_of(done)


def test_compare_prints_a_table_and_json_and_goes_on_after_a_bad_folder(trained, tmp_path):
    run, _, done = trained
    (tmp_path / "photos").mkdir()
    again = senet("compare", run, tmp_path / "photos", "--out", tmp_path / "out")
    assert again.returncode == 1
    assert "photos' is no run folder" in error_of(again)
    heading, row, line = again.stdout.splitlines()
    assert heading.split()[:2] == ["run", "network"]
    assert row.split()[:3] == ["run", "se_resnet20_cifar", "photos"]
    (compared,) = json.loads(line)["runs"]
    assert compared["top1"] == json.loads(done.stdout)["top1"]
    assert compared["parameters"] == json.loads((run / "run.json").read_text())["parameters"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "compare.svg",
        "compare.png",
        "compare.html",
    }
    assert senet("compare", run).returncode == 0
    assert "Missing argument 'RUNS" in error_of(senet("compare"))


def test_an_exported_network_is_used_like_a_run(trained, tmp_path):
    run, photos, _ = trained
    out = tmp_path / "exported"
    done = senet("export", run, "--out", out, "--images", 8)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["images"], result["precision"]) == (8, "bfloat16")
    assert result["difference"] < 1e-5
    assert "compared with Keras on 8 images: float32 differs by at most" in done.stdout
    scores = []
    for model in (run, out):
        done = senet("evaluate", model, "--data", photos, "--split", "all")
        assert done.returncode == 0, done.stderr
        scores.append(json.loads(done.stdout.splitlines()[-1])["top1"])
    assert scores[0] == pytest.approx(scores[1], abs=0.05)
    done = senet("predict", photos / "circle", "--model", out, "--format", "csv")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1 + 24
    assert "exported network" in error_of(senet("export", out, "--out", tmp_path / "twice"))
    assert not (tmp_path / "twice").exists()


def test_quantize_prints_the_score_before_and_after(trained, tmp_path):
    run, _, _ = trained
    options = ["--pixels", "--images", 20, "--max-drop", 100]
    done = senet("quantize", run, "--out", tmp_path / "int8", *options)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert json.loads((tmp_path / "int8" / "senet.json").read_text())["input"]["type"] == "uint8"
    result = json.loads(done.stdout.splitlines()[-1])
    assert {"top1_before", "top1", "agreement"} <= set(result)
    assert (result["images"], result["own_split"], result["trained_on"]) == (10, True, 0)
    assert (result["baseline"], result["majority_class"]) == (0.5, "circle")
    assert "(baseline 50.00%: always 'circle')" in done.stdout
    assert (tmp_path / "int8" / "model.xml").is_file()
    alone = senet("quantize", run / "model.keras", "--out", tmp_path / "other")
    assert "--data" in error_of(alone)
    assert not (tmp_path / "other").exists()


def test_a_missing_runtime_says_what_to_install(trained, tmp_path):
    run, _, _ = trained
    code = (
        "import sys\n"
        "sys.modules['openvino'] = None\n"
        "sys.argv = ['senet', 'export', *sys.argv[1:]]\n"
        "from senet.cli.main import main\n"
        "main()\n"
    )
    command = [sys.executable, "-c", code, str(run), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert 'pip install "senet[export]"' in error_of(done)
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A file of a small network with gates, and images of its classes."""
    import senet as package
    from senet.data.preprocessing import Preprocessing

    folder = tmp_path_factory.mktemp("tiny")
    model = package.create(
        "se_resnet10",
        n_blocks=(1, 1),
        n_filters=(8, 16),
        ratio=4,
        input_shape=(32, 32, 3),
        classes=2,
    )
    about = dict(class_names=("circle", "square"), preprocessing=Preprocessing(32).to_json())
    package.save(model, folder / "tiny.keras", **about)
    return folder / "tiny.keras", make_photos(folder / "photos", 16)


@pytest.fixture(scope="module")
def noted(tiny, tmp_path_factory):
    """The same network, which says that it was trained on 24 of the images, drawn with seed 1."""
    import senet as package
    from senet.data.sources import load_data
    from senet.data.trained_on import describe_training, digest_splits

    options = dict(seed=1, validation=0.1, test=0.2, fraction=1.0)
    data = load_data(str(tiny[1]), **options)
    assert {name: len(split) for name, split in data.splits.items()} == dict(
        train=24, validation=2, test=6
    )
    file = tmp_path_factory.mktemp("noted") / "noted.keras"
    described = describe_training(data, options, digest_splits(data))
    package.save(package.load(tiny[0]), file, trained_on=described.to_json())
    return file, data


def copy_some(photos, data, folder, split, count):
    """So many images of a split and as many that are new, under other names."""
    make_photos(folder, count // 2, seed=7)
    for i, name in enumerate(data.split(split).names[:count]):
        shutil.copy(photos / name, folder / name.split("/")[0] / f"again{i}.png")
    return folder


QUANTIZED = ["--images", 10, "--max-drop", 100]
FOLDED = ["--max-drop", 100]


@pytest.mark.parametrize(("command", "options"), [("quantize", QUANTIZED), ("fold", FOLDED)])
def test_what_a_file_was_trained_on_is_neither_scored_nor_split_anew(
    tiny, noted, tmp_path, command, options
):
    (file, photos), (known, data) = tiny, noted

    def result_of(model, images):
        out = tmp_path / ("out.keras" if command == "fold" else "out")
        done = senet(command, model, "--data", images, "--out", out, *options)
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout.splitlines()[-1])
        test = result.get("test", result)  # that of folding has a part for it
        return done.stdout, result, test

    said, result, test = result_of(known, photos)
    assert (test["images"], result["own_split"], result["trained_on"]) == (6, True, 0)
    assert result["trained_on_complete"] is True
    assert "trained on" not in said.rsplit("\n", 2)[0]
    assert test["baseline"] == 0.5
    said, result, test = result_of(file, photos)
    assert (test["images"], result["own_split"], result["trained_on"]) == (6, False, None)
    assert result["seed"] == 0
    assert "Whether it was trained on some of them is not known." in said
    assert "split at random for this (seed 0), not as in training" in said
    for split in ("train", "validation"):
        make_photos(tmp_path / "mixed" / split, 10, seed=3)
    copy_some(photos, data, tmp_path / "mixed" / "test", "train", 8)
    said, result, test = result_of(known, tmp_path / "mixed")
    assert (test["images"], result["trained_on"], result["own_split"]) == (8, 8, False)
    assert "8 more were trained on and do not count." in said
    assert "seed" not in result  # all folders were there


def test_explain_leaves_out_what_the_network_was_trained_on(tiny, noted, tmp_path):
    (file, photos), (known, data) = tiny, noted
    mixed = copy_some(photos, data, tmp_path / "mixed", "train", 8)

    def result_of(model, images, *options):
        done = senet("explain", model, "--data", images, "--out", tmp_path / "out", *options)
        assert done.returncode == 0, done.stderr
        return done.stdout, json.loads(done.stdout.splitlines()[-1])

    said, result = result_of(known, mixed)
    assert (result["images"], result["trained_on"], result["split"]) == (8, 8, "all")
    page = (tmp_path / "out" / "explain.html").read_text()
    for text in (said, page):
        assert "8 more were trained on and do not count." in text
    assert 0 < result["baseline"] < 1
    assert f"(the most frequent class alone: {result['baseline']:.2%})".replace("%", " %") in page
    numbers = json.loads((tmp_path / "out" / "gates.json").read_text())
    assert {key: numbers[key] for key in result if key != "out"} == {
        key: value for key, value in result.items() if key != "out"
    }
    said, result = result_of(known, photos)
    assert (result["images"], result["trained_on"], result["split"]) == (6, 0, "test")
    said, result = result_of(known, photos, "--split", "train")
    assert (result["images"], result["trained_on"], result["split"]) == (24, 24, "train")
    assert "It was trained on 24 of them" in said
    said, result = result_of(known, photos, "--split", "train", "--images", "10")
    assert (result["images"], result["trained_on"]) == (10, 10)
    assert "It was trained on 10 of them" in said
    said, result = result_of(file, mixed)
    assert (result["images"], result["trained_on"]) == (16, None)
    assert "Whether it was trained on some of them is not known." in said
    assert "Whether it was trained on some of them is not known." in (
        (tmp_path / "out" / "explain.html").read_text()
    )


def test_a_class_map_gives_every_command_the_names_that_the_network_knows(tiny, tmp_path):
    file, _ = tiny
    images = make_photos(tmp_path / "photos", 8, ("ring", "box"))
    names = tmp_path / "map.csv"
    names.write_text("label,name\nring,circle\nbox,square\n")
    for command, options in (
        ("evaluate", []),
        ("explain", ["--out", tmp_path / "inside"]),
        ("quantize", ["--out", tmp_path / "int8", "--images", 10, "--max-drop", 100]),
        ("fold", ["--out", tmp_path / "folded.keras", "--max-drop", 100]),
    ):
        given = [command, file, "--data", images, *options]
        assert "rename them with a class map (--class-map)" in error_of(senet(*given)), command
        done = senet(*given, "--class-map", names)
        assert done.returncode == 0, done.stderr


def test_a_class_map_that_the_run_does_not_have_is_not_called_a_change_of_the_images(
    trained, tmp_path
):
    run, _, _ = trained
    names = tmp_path / "map.csv"
    names.write_text("label,name\ncircle,square\nsquare,circle\n")
    error = error_of(senet("evaluate", run, "--class-map", names))
    assert "With this class map" in error
    assert "any more" not in error
    same = tmp_path / "same.csv"
    same.write_text("label,name\ncircle,circle\nsquare,square\n")
    done = senet("evaluate", run, "--class-map", same)
    assert json.loads(done.stdout.splitlines()[-1])["own_split"] is True


def test_explain_writes_a_page_and_ends_with_its_numbers(tiny, tmp_path):
    file, photos = tiny
    out = tmp_path / "inside"
    done = senet("explain", file, "--data", photos, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "Early gates are class-agnostic." in done.stdout
    numbers = json.loads(done.stdout.splitlines()[-1])
    assert (numbers["images"], numbers["split"], numbers["out"]) == (32, "all", str(out))
    assert [row["channels"] for row in numbers["profile"]] == [8, 16]
    assert f"page: {out / 'explain.html'}" in done.stdout
    assert {"explain.html", "gates.json", "profile.png"} <= {path.name for path in out.iterdir()}
    assert "--data" in error_of(senet("explain", file, "--out", out))


def test_explain_looks_at_so_many_images_and_draws_the_classes_that_are_named(tiny, tmp_path):
    file, photos = tiny
    given = "explain", file, "--data", photos, "--out", tmp_path / "inside"
    done = senet(*given, "--images", 8, "--class", "square")
    assert done.returncode == 0, done.stderr
    numbers = json.loads(done.stdout.splitlines()[-1])
    assert numbers["images"] == 8
    assert numbers["sample"] == ["8 of 32 images were looked at, of each class its share."]
    page = (tmp_path / "inside" / "explain.html").read_text()
    for text in (done.stdout, page):
        assert numbers["sample"][0] in text
    assert "The paper's figure 6: square, and the mean over all 2 classes" in page.replace(
        "&#39;", "'"
    )
    error = error_of(senet(*given, "--class", "ring"))
    assert "no image of a class 'ring' to show; there are images of circle, square" in error
    assert page == (tmp_path / "inside" / "explain.html").read_text()


def test_explain_refuses_a_folder_of_others_before_it_reads_images(tiny, tmp_path):
    file, photos = tiny
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    refused = senet("explain", file, "--data", photos, "--out", tmp_path / "mine")
    assert "holds something else" in error_of(refused)


def test_fold_writes_a_network_that_is_used_like_any_other(tiny, tmp_path):
    file, photos = tiny
    out = tmp_path / "folded.keras"
    options = "--data", photos, "--max-drop", 100
    done = senet("fold", file, *options, "--out", out)
    assert done.returncode == 0, done.stderr
    *said, last = done.stdout.splitlines()
    result = json.loads(last)
    assert (len(result["folded"]), result["blocks"]) == (2, 2)
    assert result["parameters"] < result["parameters_before"]
    assert result["multiply_adds"] < result["multiply_adds_before"]
    assert f"written: {out}" in said
    assert sum(line.startswith("+ stage") for line in said) == 2
    assert {path.name for path in tmp_path.iterdir()} == {
        *("folded.keras", "folded.json", "folded.png")
    }
    again = senet("evaluate", out, "--data", photos)
    assert again.returncode == 0, again.stderr
    done = senet("explain", out, "--data", photos, "--out", tmp_path / "inside")
    assert "has no gates left: senet fold took away all 2." in error_of(done)
    done = senet("fold", file, *options, "--blocks", "stage2_*", "--out", out)
    assert list(json.loads(done.stdout.splitlines()[-1])["folded"]) == ["stage2_block1_se_scale"]
    done = senet("fold", file, *options, "--blocks", "stage3_*", "--out", out)
    assert "No block is called stage3_*; the blocks of" in error_of(done)
    assert "ends in .keras" in error_of(senet("fold", file, *options, "--out", tmp_path / "folded"))


def test_benchmark_prints_a_table_and_a_last_line_of_json():
    options = dict(mode="train", batch_size=2, size=48, precision="mixed_bfloat16", repeats=3)
    flags = [x for name, value in options.items() for x in (f"--{name.replace('_', '-')}", value)]
    done = senet("benchmark", "se_resnet10", *flags, "--variant", "torch", "--no-acceleration")
    assert done.returncode == 0, done.stderr
    *table, last = done.stdout.splitlines()
    for part in (
        "2 images of 48 x 48 pixels",
        "mixed_bfloat16",
        "without the twin",
        "of the limit",
    ):
        assert part in "\n".join(table)
    result = json.loads(last)
    assert {name: result[name] for name in ("mode", "batch_size", "size", "precision")} == {
        name: options[name] for name in ("mode", "batch_size", "size", "precision")
    }
    assert result["acceleration"] is False
    seconds = sorted(result["seconds"])
    assert result["images_per_second"] == pytest.approx(2 / seconds[1])
    assert result["spread"] == pytest.approx([2 / seconds[2], 2 / seconds[0]])
    assert result["machine"]["keras"] == keras.__version__
    assert result["machine_limits"]["precision"] == "bfloat16"
    assert result["share"] == pytest.approx(result["images_per_second"] / result["limit"])


def test_benchmark_refuses_in_one_line_what_cannot_be_timed(tmp_path):
    assert "nothing-here" in error_of(senet("benchmark", "nothing-here"))
    (tmp_path / "text.keras").write_text("no network")
    for mode in ("train", "infer"):
        assert "text.keras" in error_of(senet("benchmark", tmp_path / "text.keras", "--mode", mode))
    assert "--no-acceleration" in error_of(senet("benchmark", "se_resnet10", "--no-acceleration"))
    assert senet("benchmark", "se_resnet10", "--mode", "fly").returncode == 2
