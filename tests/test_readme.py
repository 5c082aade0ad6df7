import importlib.util
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PROGRAMS = re.findall(r"^```python\n(.*?)^```", README, flags=re.S | re.M)


def test_the_generated_tables_are_up_to_date():
    spec = importlib.util.spec_from_file_location("tables", ROOT / "docs" / "tables.py")
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    assert len(tables.TABLES) == 3
    for page in tables.TABLES:
        assert tables.rewritten(page) == page.read_text(), page.name


def test_every_picture_of_the_pages_is_there():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        text = page.read_text()
        pictures = re.findall(r'!\[[^\]]*\]\(([^)]+)\)|<img src="([^"]+)"', text)
        for name in filter(None, (part for found in pictures for part in found)):
            assert name.startswith("https://") or (page.parent / name).is_file(), name


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.splitlines()[0][:40])
def test_every_program_runs(program, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_there_are_programs():
    assert len(PROGRAMS) >= 2


def test_every_file_the_tree_names_exists_and_every_module_is_in_it():
    (tree,) = re.findall(r"^```text tree\n(.*?)^```", README, flags=re.S | re.M)
    named, folder = set(), {}
    for line in tree.splitlines():
        match = re.match(r"^([│ ]*)(?:[├└]── )?([\w.\-]+/?)", line)
        depth = len(match[1]) // 4 + (1 if "──" in line else 0)
        folder[depth] = match[2]
        path = pathlib.Path(*(folder[d] for d in range(depth + 1)))
        assert (ROOT / path).exists(), path
        named.add(path.as_posix())
    modules = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "senet").rglob("*.py")
        if path.name not in ("__init__.py", "__main__.py") and "cli" not in path.parts
    }
    assert modules <= named


def test_every_make_target_it_names_exists():
    targets = set(re.findall(r"make ([a-z][a-z-]+)", README))
    makefile = (ROOT / "Makefile").read_text()
    assert targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.M), target
