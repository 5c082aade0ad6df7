"""One run in several processes and on several devices, on JAX."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from senet.training import processes
from senet.training.distribution import Team, join_processes
from tests.training.test_resume import assert_same, end_of

RECIPE = """
data = "digits"
fraction = 0.2
epochs = 2
batch_size = 32
learning_rate = 0.001  # small, so that rounding stays rounding
mixup = 0.2
cutmix = 1.0
ema = 0.9
save_minutes = 0.001

[spec]
dropout = 0.2
stochastic_depth = 0.1
n_blocks = [1, 1, 1]
"""
on_jax = pytest.mark.skipif(keras.backend.backend() != "jax", reason="several processes need JAX")
TWO_DEVICES = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}


@pytest.fixture
def senet(tmp_path):
    """Starts the command line; what it says goes to the files `out` and `errors`."""
    started = []

    def start(*arguments, **environment):
        with open(tmp_path / "out", "w") as out, open(tmp_path / "errors", "w") as errors:
            command = [sys.executable, "-m", "senet", *map(str, arguments)]
            process = subprocess.Popen(
                command, env=os.environ | environment, stdout=out, stderr=errors
            )
        started.append(process)
        process.errors = tmp_path / "errors"
        process.out = tmp_path / "out"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def trained(senet, folder, *arguments, **environment):
    """The result of a run in a folder."""
    recipe = folder.with_name("recipe.toml")
    recipe.write_text(RECIPE)
    process = senet("train", "--recipe", recipe, "--out", folder, *arguments, **environment)
    assert process.wait(timeout=300) == 0, process.errors.read_text()
    return json.loads(process.out.read_text().splitlines()[-1])  # Gloo speaks there too


def rows(folder):
    with open(folder / "metrics.csv") as file:
        return list(csv.DictReader(file))


@on_jax
def test_processes_and_devices_train_what_one_does(tmp_path, senet):
    runs = dict(
        one=trained(senet, tmp_path / "one"),
        processes=trained(senet, tmp_path / "processes", "--processes", 2),
        devices=trained(senet, tmp_path / "devices", **TWO_DEVICES),
    )
    for name, result in runs.items():
        assert result["images"] == 359  # odd, each counted once
        assert abs(result["loss"] - runs["one"]["loss"]) < 1e-4
        for row, expected in zip(rows(tmp_path / name), rows(tmp_path / "one"), strict=True):
            for column in ("loss", "val_loss"):
                assert abs(float(row[column]) / float(expected[column]) - 1) < 1e-4
        arrays, ends = end_of(tmp_path / name), end_of(tmp_path / "one")
        assert arrays.keys() == ends.keys()
        difference = [np.ravel(arrays[k] - ends[k]) for k in ends if k.startswith("model")]
        size = [np.ravel(ends[k]) for k in ends if k.startswith("model")]
        assert np.linalg.norm(np.concatenate(difference)) < 1e-5 * np.linalg.norm(
            np.concatenate(size)
        )
    files = [sorted(p.name for p in (tmp_path / name).iterdir()) for name in runs]
    assert files[0] == files[1] == files[2]
    assert len(list((tmp_path / "processes" / "checkpoints").iterdir())) == 2
    assert_same(end_of(tmp_path / "processes"), end_of(tmp_path / "devices"))


@on_jax
def test_processes_that_were_told_to_stop_go_on_to_the_same_bits(tmp_path, senet):
    trained(senet, tmp_path / "left", "--processes", 2)
    folder = tmp_path / "stopped"
    process = senet(
        *("train", "--recipe", tmp_path / "recipe.toml", "--out", folder, "--processes", 2)
    )
    wait_for(lambda: list(folder.glob("checkpoints/step*")), process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143, process.errors.read_text()
    resumed = senet("train", "--resume", folder, "--processes", 2)
    assert resumed.wait(timeout=300) == 0, resumed.errors.read_text()
    assert "bit for bit" not in resumed.errors.read_text()
    assert_same(end_of(folder), end_of(tmp_path / "left"))


@on_jax
def test_when_a_process_is_killed_the_others_end_and_the_run_goes_on(tmp_path, senet):
    folder, recipe = tmp_path / "killed", tmp_path / "recipe.toml"
    recipe.write_text(RECIPE.replace("epochs = 2", "epochs = 200"))
    process = senet("train", "--recipe", recipe, "--out", folder, "--processes", 2)
    wait_for(lambda: list(folder.glob("checkpoints/step*")), process)
    children = children_of(process.pid)
    assert len(children) == 2
    os.kill(children[1], signal.SIGKILL)
    process.wait(timeout=60)
    assert process.returncode == 128 + signal.SIGKILL
    assert not any(alive(child) for child in children)
    process = senet("train", "--resume", folder)
    wait_for(lambda: "not bit for bit" in process.errors.read_text(), process)


@on_jax
def test_batches_that_cannot_be_shared_are_refused(tmp_path, senet):
    process = senet(
        *("train", "--batch-size", 31, "--processes", 2, "--out", tmp_path / "run"),
        *("--spec", "n_blocks=[1,1,1]"),
    )
    assert process.wait(timeout=120) == 1
    errors = process.errors.read_text()
    assert "cannot be shared by 2 devices: choose --batch-size 32" in errors
    assert "Traceback" not in errors


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX can")
def test_other_backends_refuse_to_be_one_of_several(monkeypatch):
    monkeypatch.setenv(processes.PROCESSES, "2")
    with pytest.raises(ValueError, match="set KERAS_BACKEND=jax"), join_processes():
        pass


def test_one_process_is_a_team_of_its_own():
    with join_processes() as team:
        assert team.leads
        assert team.part == (0, 1)
    assert Team().largest(3, 0) == [3, 0]
    assert Team().union([7, 2, 7]) == [2, 7]
    assert Team().gather(np.arange(3)).tolist() == [[0, 1, 2]]


def wait_for(condition, process, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.errors.read_text()
        assert time.monotonic() < end
        time.sleep(0.05)


def children_of(pid):
    return [
        int(path.split("/")[2])
        for path in (f"/proc/{p}/stat" for p in os.listdir("/proc") if p.isdigit())
        if parent(path) == pid
    ]


def parent(path):
    try:
        with open(path) as file:
            return int(file.read().rsplit(")", 1)[1].split()[1])
    except OSError:
        return None


def alive(pid):
    return os.path.exists(f"/proc/{pid}")
