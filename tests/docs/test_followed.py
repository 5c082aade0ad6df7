"""Every program and every `senet` command of the README and the book is run, page by page."""

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys

import keras
import pytest
from PIL import Image
from safetensors.numpy import load_file
from sklearn.datasets import load_sample_images

import senet
from senet.weights import imagenet
from tests.conftest import make_photos
from tests.docs.follow import SHORTER, check_said, run_command
from tests.docs.pages import PAGES, ROOT, Command, read_blocks, read_commands
from tests.weights import written
from tests.weights.stand_in import SETTINGS, serve, write_published

DEVICES = "devices.md"
NEED_RUN = ("deployment.md", "folding.md", "gates.md", "speed.md", "weights.md")
"""Pages that begin with a run that another page has made."""
FOLLOWED = [
    name
    for name, page in PAGES.items()
    if name != DEVICES
    and any(
        block.language == "python" or any(c.words[0] == "senet" for c in read_commands(block))
        for block in read_blocks(page)
        if block.language in ("python", "bash")
    )
]
NEEDED = ("tensorflow", "openvino", "onnxruntime", "ai_edge_litert", "nncf")


@pytest.fixture(scope="session")
def materials(tmp_path_factory):
    """What the pages suppose that somebody has."""
    folder = tmp_path_factory.mktemp("materials")
    names = ("cat", "dog")
    make_photos(folder / "photos", 40, names)
    shutil.make_archive(str(folder / "photos"), "zip", folder / "photos")
    make_photos(folder / "others", 12, names, seed=1)
    shutil.copytree(folder / "others" / "cat", folder / "scans")
    make_photos(folder / "imagenet/val", 2, [kind for kind, _ in imagenet.classes()[:2]])
    Image.fromarray(load_sample_images().images[0]).save(folder / "photo.jpg")
    return folder


@pytest.fixture(scope="session")
def run_folder(materials):
    """A run that has learned the photographs."""
    options = dict(model="se_resnet10", size=32, epochs=20, learning_rate=0.02, batch_size=16)
    senet.train(materials / "photos.zip", out=materials / "run", **options)
    return materials / "run"


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    return write_published(tmp_path_factory.mktemp("hub"))


def follow(name, folder, **settings):
    """Follow a page in a folder, in a process of its own; fails where it fails."""
    home = str(ROOT)
    done = subprocess.run(
        [sys.executable, "-m", "tests.docs.follow", name],
        env=os.environ | SETTINGS | {"PYTHONPATH": home} | settings,
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow" or not all(map(importlib.util.find_spec, NEEDED)),
    reason="the pages suppose TensorFlow, and write every format",
)
@pytest.mark.parametrize("name", FOLLOWED)
def test_a_page_can_be_followed_from_the_top(name, request, materials, published, tmp_path):
    folder = tmp_path / "here"
    shutil.copytree(materials, folder, symlinks=True, ignore=shutil.ignore_patterns("run"))
    if name in NEED_RUN:
        shutil.copytree(request.getfixturevalue("run_folder"), folder / "runs" / "photos")
    if name == "weights.md":
        (folder / "seresnet50_ra2.safetensors").symlink_to(published[1])
        write_torch(folder / "seresnet50.pth", load_file(published[1]))
    with serve(*published) as endpoint:
        home = str(tmp_path / "home")
        done = follow(name, folder, HF_HOME=home, HF_ENDPOINT=endpoint)
    assert done.stderr.count(f"{name}, line ") == count_steps(PAGES[name])


def count_steps(page):
    """Programs and command lines of a page."""
    blocks = read_blocks(page)
    commands = [c for b in blocks if b.language == "bash" for c in read_commands(b)]
    return len(commands) + sum(block.language == "python" for block in blocks)


def write_torch(path, arrays):
    """A state dict as PyTorch writes it."""
    written.torch_zip(path, *written.state(arrays))


@pytest.mark.parametrize(
    ("said", "right"), [("0.0\n", True), ("it is 0.0 so\n", True), ("0.03\n", False), ("", False)]
)
def test_what_a_program_promises_to_print_is_compared(said, right):
    with contextlib.nullcontext() if right else pytest.raises(AssertionError, match=r"'0\.0'"):
        check_said("print(1 - 1.0)  # prints 0.0\n", said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["senet", "info", "nothing"], "senet info nothing ended with 1"),
        (["sennet", "info"], "sennet is no program"),
    ],
)
def test_a_command_that_fails_is_no_command_that_was_followed(monkeypatch, words, said):
    monkeypatch.setattr(sys, "argv", [])
    with pytest.raises((RuntimeError, ValueError), match=said):
        run_command(Command({}, words))


def test_what_is_made_shorter_is_on_a_page():
    commands = [
        " ".join(command.words)
        for page in PAGES.values()
        for block in read_blocks(page)
        if block.language == "bash"
        for command in read_commands(block)
    ]
    for beginning in SHORTER:
        assert any(command.startswith(beginning) for command in commands), beginning


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="several devices are JAX's")
def test_the_commands_for_several_devices_run(materials, tmp_path):
    shutil.copytree(materials / "photos", tmp_path / "photos")
    shutil.copytree(materials / "photos", tmp_path / "shared" / "imagenet")
    blocks = [block for block in read_blocks(PAGES[DEVICES]) if block.language == "bash"]
    one_machine, cluster = map(read_commands, blocks)
    for command in one_machine:
        assert command.settings == {"KERAS_BACKEND": "jax"}
        check(start(command.words, tmp_path, "--epochs", "2"))
    *settings, train = cluster
    settings = dict(words[1].split("=", 1) for words in (c.words for c in settings))
    count = int(settings["KERAS_DISTRIBUTION_NUM_PROCESSES"])
    host, _ = settings["KERAS_DISTRIBUTION_JOB_ADDRESSES"].split(":")
    assert host == "host0"
    settings["KERAS_DISTRIBUTION_JOB_ADDRESSES"] = f"127.0.0.1:{free_port()}"
    short = ("--epochs", "1", "--size", "32", "--batch-size", "8", "--spec", "n_blocks=[1,1,1,1]")
    processes = [
        start(train.words, tmp_path, *short, **settings | {"KERAS_DISTRIBUTION_PROCESS_ID": str(i)})
        for i in range(count)
    ]
    for process in processes:
        check(process)
    assert (tmp_path / "shared/runs/paper/report.html").is_file()


def start(words, folder, *flags, **settings):
    """A command of a page in a process, with more flags and settings."""
    return subprocess.Popen(
        [sys.executable, "-m", *words, *flags],
        env=os.environ | {"KERAS_BACKEND": "jax"} | settings,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def check(process):
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said[-3000:]


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
