import ast
import inspect
import subprocess
import sys

import senet

PUBLIC = {
    "Preprocessing",
    "deletion_test",
    "evaluate",
    "explain",
    "export",
    "predict",
    "quantize",
    "resume",
    "train",
    "CapacityError",
    "Error",
    "ExistsError",
    "FileError",
    "InputError",
    "LibraryError",
    "NotFoundError",
    "SENet154",
    "SEResNeXt101_32x8d",
    "SEResNeXt101_64x4d",
    "SEResNeXt152",
    "SEResNet18",
    "SEResNet34",
    "SEResNeXt101",
    "SEResNeXt50",
    "SEResNet101",
    "SEResNet152",
    "SEResNet50",
    "Spec",
    "WeightsError",
    "__version__",
    "accelerate",
    "benchmark",
    "complexity",
    "create",
    "decode_predictions",
    "find_se_blocks",
    "fold",
    "fold_gates",
    "gate_statistics",
    "gates",
    "grad_cam",
    "insert",
    "list_models",
    "list_weights",
    "load",
    "preprocess_input",
    "save",
}


def test_the_public_names_are_these():
    assert set(senet.__all__) == PUBLIC
    assert all(hasattr(senet, name) for name in PUBLIC)


def test_type_checkers_see_the_same_names():
    tree = ast.parse(inspect.getsource(senet))
    seen = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module.startswith("senet.")
        for alias in node.names
    }
    assert seen == PUBLIC - {"__version__"}


def test_every_public_object_says_what_it_is():
    for name in PUBLIC - {"__version__"}:
        assert inspect.getdoc(getattr(senet, name)), name


def test_importing_senet_starts_no_backend():
    code = (
        "import sys, senet, senet.cli.main, senet.cli.train, senet.cli.list;"
        "assert not {'keras', 'tensorflow', 'jax', 'torch', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
