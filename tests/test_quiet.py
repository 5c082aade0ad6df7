"""Libraries do not speak on standard error, and our own warnings take one line."""

import logging
import os
import re
import subprocess
import sys

import pytest

from senet import quiet
from tests.conftest import make_photos

GREETING = re.compile(rb"oneDNN|absl::InitializeLog|cpu_feature_guard|XNNPACK|^INFO", re.M)


def python(code, **environment):
    """What a new process writes to standard error when it runs a program."""
    command = [sys.executable, "-c", code]
    before = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.run(command, capture_output=True, env=before | environment, timeout=120)


def test_what_is_written_past_python_is_held_back(capfd):
    with quiet.held_output():
        os.write(2, b"Hello, I am a library.\n")
        subprocess.run([sys.executable, "-c", "import os; os.write(2, b'Me too.')"], check=True)
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


@pytest.mark.parametrize("debug", ["", "1"])
def test_a_library_is_quiet_unless_somebody_debugs(capsys, caplog, monkeypatch, debug):
    monkeypatch.setenv(quiet.DEBUG, debug)
    logger = logging.getLogger("nncf")
    with quiet.quiet_library("nncf"):
        print("a bar")
        logger.warning("a line")
    logger.warning("after")
    assert capsys.readouterr().out == ("a bar\n" if debug else "")
    said = [record.getMessage() for record in caplog.records]
    assert said == (["a line", "after"] if debug else ["after"])


def test_what_was_held_back_is_shown_where_something_failed(capfd):
    def fail():
        os.write(2, b"the reason\n")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"), quiet.held_output():
        fail()
    assert capfd.readouterr().err == "the reason\n"


def test_with_debugging_everything_is_shown(capfd, monkeypatch):
    monkeypatch.setenv(quiet.DEBUG, "1")
    with quiet.held_output():
        os.write(2, b"Hello.\n")
    assert capfd.readouterr().err == "Hello.\n"


def test_a_process_without_standard_error_goes_on():
    done = python(
        "import os; from senet.quiet import held_output\n"
        "os.close(2)\n"
        "with held_output(): print('done')"
    )
    assert done.stdout == b"done\n"


@pytest.mark.parametrize("arguments", [["info", "se_resnet20_cifar"], ["evaluate", "nowhere"]])
def test_no_library_greets_before_a_command_unless_it_is_debugged(arguments):
    code = (
        f"import sys; sys.argv = ['senet', *{arguments!r}]\nfrom senet.cli.main import main; main()"
    )
    errors = python(code).stderr
    assert errors == b"" if arguments[0] == "info" else re.fullmatch(rb"error: .*\n", errors)
    if arguments[0] == "info" and os.environ["KERAS_BACKEND"] == "tensorflow":
        assert GREETING.search(python(code, **{quiet.DEBUG: "1"}).stderr)


def test_a_library_is_imported_as_without_us():
    code = (
        "from senet import quiet; quiet.hush()\n"
        "import importlib.resources, onnxruntime\n"
        "assert onnxruntime.__spec__.name == 'onnxruntime'\n"
        "assert importlib.resources.files('onnxruntime').joinpath('__init__.py').is_file()\n"
    )
    pytest.importorskip("onnxruntime")
    done = python(code)
    assert (done.returncode, done.stderr) == (0, b"")


def test_our_warnings_take_one_line_and_those_of_others_none():
    code = (
        "from senet import quiet; quiet.hush()\n"
        "import warnings\n"
        "def warn(module, category=UserWarning):\n"
        "    warnings.warn_explicit('one\\n  of two', category, '/lib/a.py', 3, module)\n"
        "warn('senet.weights.transfer')\n"
        "warn('tensorflow.python')\n"
        "warn('senet.models', DeprecationWarning)\n"
    )
    assert python(code).stderr == b"warning: one of two\n"
    assert b"two" in python(code.replace("senet.w", "x"), PYTHONWARNINGS="always").stderr
    assert b"/lib/a.py" in python(code, **{quiet.DEBUG: "1"}).stderr


def test_a_warning_of_the_weights_is_one_line_of_the_command(tmp_path):
    code = (
        "import pathlib, sys, numpy as np, senet\n"
        "from senet.cli.main import main\n"
        "from tests.weights import written\n"
        "options = dict(n_blocks=(1, 1, 1, 1), n_filters=(32, 32, 32, 32), variant='torch')\n"
        "model = senet.create('se_resnet50', classes=1000, **options)\n"
        "senet.save(model, 'a.safetensors', names='timm')\n"
        "from safetensors.numpy import load_file\n"
        "made, storages = written.state(load_file('a.safetensors'))\n"
        "written.torch_zip(pathlib.Path('a.pth'), {'state_dict_ema': made}, storages)\n"
        "sys.argv = ['senet', 'predict', sys.argv[1], '--model', 'a.pth']\n"
        "main()\n"
    )
    photo = make_photos(tmp_path / "photos", 1) / "circle" / "00.png"
    command = [sys.executable, "-c", code, photo]
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert "used the averaged weights under 'state_dict_ema'" in done.stderr, done.stderr
    lines = [line for line in done.stderr.splitlines() if "state_dict_ema" in line]
    assert len(lines) == 1
    assert lines[0].startswith("warning: ")
    assert "site-packages" not in done.stderr
