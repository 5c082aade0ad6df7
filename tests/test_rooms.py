"""The arrows of the design: who may import whom."""

import ast
import pathlib

import senet
from senet.runs import folder

ROOT = pathlib.Path(senet.__file__).parent
ALL_MAY_USE = {"errors", "machine"}
MAY_USE = {
    "errors": set(),
    "machine": set(),
    "files": set(),
    "foreign": set(),
    "graph": set(),
    "progress": set(),
    "quiet": {"foreign"},
    "timing": set(),
    "models": {"graph"},
    "acceleration": {"graph"},
    "data": {"files", "foreign", "progress"},
    "plotting": {"files"},
    "drawing": {"graph", "models", "plotting"},
    "weights": {"graph", "models", "files", "foreign"},
    "evaluation": {"data", "foreign", "progress"},
    "references": {"models", "recipes", "runs", "weights"},
    "applications": {"data", "foreign", "graph", "models", "recipes", "references", "weights"},
    "surgery": {"applications", "models", "weights"},
    "deployment": {
        *("graph", "models", "data", "evaluation", "files", "foreign", "progress", "quiet"),
    },
    "explanation": {
        *("graph", "models", "data", "evaluation", "acceleration"),
        *("runs", "plotting", "timing", "files", "foreign", "progress"),
    },
    "recipes": {"models", "data", "foreign", "weights"},
    "runs": {"recipes", "data", "evaluation", "plotting", "files", "foreign", "progress"},
    "prediction": {
        *("applications", "data", "deployment", "evaluation", "foreign"),
        *("progress", "references", "runs", "weights"),
    },
    "training": {
        *("applications", "models", "data", "evaluation", "explanation", "acceleration", "weights"),
        *("recipes", "references", "runs", "plotting", "files", "foreign", "progress"),
    },
    "benchmarking": {
        *("applications", "data", "deployment", "models", "prediction", "progress", "recipes"),
        *("references", "training"),
    },
    "tasks": {
        *("data", "deployment", "evaluation", "explanation", "files", "foreign", "plotting"),
        *("applications", "models", "prediction", "recipes", "runs", "surgery"),
        *("benchmarking", "training"),
    },
}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "senet":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("senet."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (a.name.split(".")[1] for a in node.names if a.name.startswith("senet."))


def room(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def test_imports_run_downwards_only():
    wrong = [
        f"{path.relative_to(ROOT)} imports {used}"
        for path in ROOT.rglob("*.py")
        if room(path) in MAY_USE
        for used in imports(path)
        if used != room(path) and used not in MAY_USE[room(path)] | ALL_MAY_USE
    ]
    assert wrong == []


def test_every_room_is_in_the_plan():
    rooms = {room(path) for path in ROOT.rglob("*.py")}
    assert rooms == set(MAY_USE) | {"cli", "__init__", "__main__"}


def test_only_the_owner_of_the_run_folder_names_its_files():
    files = {
        value
        for name, value in vars(folder).items()
        if name.isupper() and "." in value and value != folder.REPORT  # other reports are so called
    }
    assert {"run.json", "model.keras", "metrics.csv", "curves.png"} <= files
    wrong = [
        f"{path.relative_to(ROOT)}: {node.value}"
        for path in ROOT.rglob("*.py")
        if room(path) != "runs"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in files
    ]
    assert wrong == []


def test_only_the_setup_of_a_run_reads_its_recipe():
    wrong = [
        f"{path.name}: {ast.unparse(node)}"
        for path in (ROOT / "training").glob("*.py")
        if path.name != "setup.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and ast.unparse(node.value).split(".")[-1] in ("recipe", "located", "complete", "Recipe")
    ]
    assert wrong == []


def test_nothing_imports_the_internals_of_keras():
    for path in ROOT.rglob("*.py"):
        assert "keras.src" not in path.read_text(), path
