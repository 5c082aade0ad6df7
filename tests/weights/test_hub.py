"""Downloads, against a server on this machine that imitates the Hugging Face hub."""

import dataclasses
import functools
import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading

import huggingface_hub
import keras
import numpy as np
import pytest
from PIL import Image

import senet
from senet.weights import catalogue, hub, imagenet
from tests.weights.stand_in import NETWORK, SETTINGS, Hub, serve, write_published


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return write_published(tmp_path_factory.mktemp("hub"))


@pytest.fixture
def endpoint(published):
    """Address of the server; `Hub` is the class that answers."""
    with serve(*published) as address:
        yield address


def run(home, endpoint, *command, cwd=None, **more):
    environment = os.environ | {
        **SETTINGS,
        **{"HF_HOME": str(home), "HF_ENDPOINT": endpoint},
        **more,
    }
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        env=environment,
        cwd=cwd,
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_a_photograph_is_named_by_published_weights_and_again_without_a_connection(
    tmp_path, endpoint
):
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), "uint8")
    Image.fromarray(noise).save(tmp_path / "photo.png")
    command = ("-m", "senet", "predict", tmp_path / "photo.png", "--model", NETWORK)
    command += ("--weights", "imagenet", "--top", "3", "--format", "jsonl")
    done = run(tmp_path / "home", endpoint, *command)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    named = json.loads(line)["classes"]
    assert len(named) == 3
    assert {entry["name"] for entry in named} <= set(imagenet.class_names())
    assert "not verified" in done.stderr
    assert ("GET", f"/{Hub.repository}/resolve/main/model.safetensors") in Hub.requests
    again = run(tmp_path / "home", "http://127.0.0.1:9", *command, HF_HUB_OFFLINE="1")
    assert again.stdout == done.stdout


def test_without_connection_and_cache_the_way_out_is_named(tmp_path):
    program = (
        "import sys, time\n"
        "time.sleep = lambda seconds: None  # between the tries of the hub's client\n"
        "from senet.cli.main import main\n"
        "sys.argv[0] = 'senet'\n"
        "main()\n"
    )
    code = ("-c", program, "predict", __file__, "--model", NETWORK, "--weights", "imagenet")
    for more in (dict(HF_HUB_OFFLINE="1"), {}):
        done = run(tmp_path / "home", "http://127.0.0.1:9", *code, **more)
        assert done.returncode == 1
        assert "cannot be downloaded" in done.stderr
        assert "--model PATH --weights ra2_in1k" in done.stderr


def test_a_transfer_that_breaks_off_leaves_nothing_that_counts_as_the_file(tmp_path, endpoint):
    Hub.broken = 1_000_000
    script = (
        "import sys\n"
        "from senet.weights import catalogue, hub\n"
        "from senet.weights.readers import WeightsError\n"
        "try:\n"
        f"    hub.fetch(catalogue.published({NETWORK!r}, 'imagenet'))\n"
        "except WeightsError as error:\n"
        "    sys.exit(str(error))\n"
    )
    done = run(tmp_path / "home", endpoint, "-c", script)
    assert "cannot be downloaded" in done.stderr
    kept = [p for p in (tmp_path / "home").rglob("model.safetensors") if p.is_file()]
    assert kept == []
    Hub.broken = None
    done = run(tmp_path / "home", endpoint, "-c", script)
    assert done.returncode == 0, done.stderr


def test_a_file_with_another_checksum_is_refused(tmp_path, published, monkeypatch):
    row, path = published
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *a, **k: str(path))
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    assert hub.fetch(dataclasses.replace(row, sha256=found)) == path
    assert hub.fetch(dataclasses.replace(row, sha256=found[:8])) == path
    with pytest.raises(senet.WeightsError, match="Delete the file and download it again"):
        hub.fetch(dataclasses.replace(row, sha256="0" * 64))


class Page(http.server.BaseHTTPRequestHandler):
    """A release page with one file."""

    data = b"weights" * 1000
    requests = None

    def do_GET(self):
        Page.requests.append(self.path)
        self.send_response(200 if self.path == "/release/a-00.pth" else 404)
        self.send_header("Content-Length", str(len(self.data)))
        self.end_headers()
        self.wfile.write(self.data)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def release(monkeypatch, tmp_path):
    """A published row whose file lies on a page of this machine."""
    monkeypatch.setattr(Page, "requests", [])
    get_file = functools.partial(keras.utils.get_file, cache_dir=tmp_path)
    monkeypatch.setattr(keras.utils, "get_file", get_file)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    row = next(row for row in catalogue.table() if row.repository is None)
    yield dataclasses.replace(
        row,
        url=f"http://127.0.0.1:{server.server_port}/release/a-00.pth",
        sha256=hashlib.sha256(Page.data).hexdigest()[:8],
    )
    server.shutdown()
    server.server_close()


def test_a_file_of_a_release_page_is_downloaded_once_and_again_if_it_was_cut_short(release, capfd):
    path = hub.fetch(release)
    assert path.read_bytes() == Page.data
    assert capfd.readouterr().out == ""
    assert hub.fetch(release) == path
    assert Page.requests == ["/release/a-00.pth"]
    path.write_bytes(Page.data[:100])
    assert hub.fetch(release).read_bytes() == Page.data
    assert len(Page.requests) == 2
    with pytest.raises(senet.WeightsError, match="Delete the file and download it again"):
        hub.fetch(dataclasses.replace(release, sha256="0" * 8))
    with pytest.raises(senet.WeightsError, match=r"cannot be downloaded.*load it with"):
        hub.fetch(dataclasses.replace(release, url=release.url + "x"))


def test_the_pinned_revision_of_every_repository_is_asked_for(monkeypatch, tmp_path):
    asked = []

    def download(repository, file, revision=None):
        asked.append((repository, file, revision))
        return str(tmp_path / "file")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    rows = [row for row in catalogue.table() if row.repository]
    for row in rows:
        hub.fetch(row)
    assert asked == [(row.repository, row.file, row.revision) for row in rows]
    assert ("smp-hub/senet154.imagenet", "249f45efc9881ba560a0c480128edbc34ab87e40") in [
        (repository, revision) for repository, _, revision in asked
    ]
    assert "timm/seresnext50_32x4d.racm_in1k" in [repository for repository, *_ in asked]


def test_published_weights_bring_their_size_and_names_for_their_classes_only(
    published, monkeypatch
):
    row, path = published
    row = dataclasses.replace(row, size=160)
    monkeypatch.setattr(catalogue, "published", lambda network, tag: row)
    monkeypatch.setattr(hub, "fetch", lambda row: path)
    whole = senet.create(NETWORK, weights="imagenet")
    assert whole.input_shape == (None, 160, 160, 3)
    assert (whole.card.spec.input_size, whole.card.preprocessing["size"]) == (160, 160)
    assert whole.card.class_names == imagenet.class_names()
    with pytest.warns(UserWarning, match="one of 37 classes"):
        pets = senet.create(NETWORK, weights="imagenet", classes=37)
    assert pets.output_shape == (None, 37)
    assert pets.card.class_names is None
    assert pets.card.preprocessing == whole.card.preprocessing
