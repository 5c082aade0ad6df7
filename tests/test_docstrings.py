"""Every example in a docstring runs, and gives what it says."""

import doctest
import importlib
import inspect
import logging
import pkgutil
import re

import keras
import numpy as np
import pytest
from PIL import Image

import senet
from tests.conftest import make_photos

SKIPPED = {
    "senet.training.experiment.experiment": "takes minutes, and a test of its own trains smaller",
}
"""Examples that may say `# doctest: +SKIP`, and why."""
MEASURED = {
    *("senet.tasks.evaluating.EvaluationResult", "senet.tasks.evaluating.evaluate"),
    *("senet.tasks.predicting.PredictionResult", "senet.tasks.predicting.predict"),
    *("senet.tasks.quantizing.quantize", "senet.tasks.training.TrainingResult"),
    "senet.tasks.training.train",
}
"""Whose fractions depend on how a machine rounds: they need not be equal."""
OF_DIGITS = (
    *("senet.tasks.training.train", "senet.tasks.training.resume"),
    *("senet.tasks.evaluating.EvaluationResult", "senet.tasks.evaluating.evaluate"),
    *("senet.tasks.explaining.ExplanationResult", "senet.tasks.explaining.explain"),
    *("senet.tasks.folding.FoldingResult", "senet.tasks.folding.fold"),
    *("senet.training.run.resume", "senet.runs.events.Events"),
)
"""Of one run, in the order in which they follow each other."""
OF_PETS = (
    *("senet.tasks.training.TrainingResult", "senet.tasks.predicting.PredictionResult"),
    *("senet.tasks.predicting.predict", "senet.tasks.exporting.export"),
    *("senet.tasks.quantizing.quantize", "senet.applications.load", "senet.recipes.toml.read_toml"),
)
"""Of a network that tells cats from dogs."""


def find_examples():
    """The docstrings with examples, by the name of what they describe."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    names = [info.name for info in pkgutil.walk_packages(senet.__path__, "senet.")]
    modules = [importlib.import_module(name) for name in names if not name.endswith("__main__")]
    found = [test for module in modules for test in finder.find(module, module.__name__)]
    return {test.name: test for test in found if test.examples}


EXAMPLES = find_examples()


class Fractions(doctest.OutputChecker):
    """Takes any fraction where one is expected, and any white space for any other."""

    def check_output(self, want, got, optionflags):
        mask = re.compile(r"\d+\.\d+")
        return super().check_output(mask.sub("0.0", want), mask.sub("0.0", got), optionflags)


def run_examples(name):
    """Run the examples of one docstring in the working directory."""
    test = EXAMPLES[name]
    test.globs.update(senet=senet, np=np, keras=keras)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
    said = []
    runner = doctest.DocTestRunner(Fractions() if name in MEASURED else None, False, flags)
    logging.disable(logging.INFO)  # what other libraries log is no output of ours
    try:
        runner.run(test, out=said.append, clear_globs=False)
    finally:
        logging.disable(logging.NOTSET)
    assert not runner.failures, "".join(said)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory of examples."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", sorted(set(EXAMPLES) - {*OF_DIGITS, *OF_PETS}))
def test_examples(name, folder):
    run_examples(name)


def test_examples_of_a_run_on_digits(folder):
    for name in OF_DIGITS:
        run_examples(name)


def test_examples_of_a_network_of_pets(folder):
    make_photos(folder / "photos", 24, classes=("cat", "dog"))
    Image.open(folder / "photos/cat/00.png").convert("RGB").save("photo.jpg", quality=95)
    (folder / "scans").mkdir()
    Image.open(folder / "photos/dog/00.png").save("scans/1.png")
    fields = dict(model="se_resnet20_cifar", spec={"n_blocks": (1, 1, 1)}, size=32, crop="shift")
    senet.train("photos", out="runs/pets", epochs=8, batch_size=8, learning_rate=0.1, **fields)
    for name in OF_PETS:
        run_examples(name)


def test_only_what_cannot_run_here_is_skipped():
    skipping = {
        name
        for name, test in EXAMPLES.items()
        if any(example.options.get(doctest.SKIP) for example in test.examples)
    }
    assert skipping == set(SKIPPED)


def test_every_public_function_has_an_example():
    public = [getattr(senet, name) for name in senet.__all__ if not name.startswith("SE")]
    functions = [item for item in public if inspect.isroutine(item)]
    assert len(functions) > 15
    assert [f for f in functions if f"{f.__module__}.{f.__qualname__}" not in EXAMPLES] == []
