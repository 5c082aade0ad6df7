"""Print the tests of the rooms that changed since the last commit of main; `make check` runs them.

python tests/changed.py
"""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent.parent
ALWAYS = ("tests/test_rooms.py", "tests/test_public_names.py", "tests/docs/test_pages.py")
"""What any change may break, and takes seconds."""
OF_FILES = {
    "senet/__init__.py": "tests/test_public_names.py",
    "senet/__main__.py": "tests/cli",
    "senet/graph.py": "tests/models",
    "README.md": "tests/docs",
    "mkdocs.yml": "tests/docs",
}
"""Files whose tests do not have their name."""
BOOK = "docs"
"""A folder whose tests have its name, as the rooms of the package."""


def select_tests(changed: list[str]) -> set[str]:
    """Folders and files of tests for changed files, all of them relative to the repository."""
    found = {OF_FILES.get(path) or place_of(pathlib.PurePosixPath(path)) for path in changed}
    return {path for path in found if path and (ROOT / path).exists()}


def place_of(path: pathlib.PurePosixPath) -> str | None:
    """`senet/data/decode.py` and `tests/data/x.py` have `tests/data`; `senet/files.py` its file."""
    folder, *rest = path.parts
    if folder == BOOK:
        return f"tests/{BOOK}"
    if folder not in ("senet", "tests") or not rest:
        return None
    if len(rest) > 1:
        return f"tests/{rest[0]}"
    name = rest[0] if folder == "tests" else f"test_{rest[0]}"
    return f"tests/{name}" if name.startswith("test_") and name.endswith(".py") else None


def changed_files() -> list[str]:
    """Files that differ from the last commit of main, new ones too."""
    differ = git("diff", "--name-only", "--no-renames", "main")
    return differ + git("ls-files", "--others", "--exclude-standard")


def git(*arguments: str) -> list[str]:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


if __name__ == "__main__":
    changed = changed_files()
    without = [path for path in changed if path.endswith(".py") and not select_tests([path])]
    for path in without:
        print(f"no test has the name of {path}: make test", file=sys.stderr)
    print(*sorted({*ALWAYS, *select_tests(changed)}))
