"""What the README and the book name is there, and what is generated in them is up to date."""

import importlib.util
import pathlib
import re
import shlex

import click
import pytest

import senet
from senet.cli.main import COMMANDS, senet_command
from tests.docs.pages import INLINE, PAGES, README, ROOT, read_blocks, read_commands, read_prose
from tests.test_rooms import MAY_USE

ARCHITECTURE = PAGES["architecture.md"]
GUIDES = {**PAGES, "CONTRIBUTING.md": ROOT / "CONTRIBUTING.md"}
PICTURES = {
    "se_resnet50-*.svg": "pictures",
    "report*.png": "screenshots",
    "explain.png": "screenshots",
    "compare.png": "screenshots",
    "gates-*.svg": "gates",
    "folding-*.png": "folding",
    "gain-*.svg": "evidence",
}
"""The target of the Makefile that makes a picture, by its name."""
FLAGS_OF_OTHERS = {"--model-repository"}
every_page = pytest.mark.parametrize("page", GUIDES.values(), ids=list(GUIDES))


def load_script(name):
    """A script of docs/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_generated_tables_are_up_to_date():
    tables = load_script("tables")
    assert len(tables.TABLES) == 11
    for page in tables.TABLES:
        assert tables.rewritten(page) == page.read_text(), page.name


def test_every_generated_place_of_a_page_is_in_the_list():
    tables = load_script("tables")
    for page in PAGES.values():
        places = set(re.findall(r"<!-- (\w+): generated -->", page.read_text()))
        assert places == set(tables.TABLES.get(page, ())), page.name


def test_the_readme_is_short_and_shows_a_picture_at_once():
    lines = README.read_text().splitlines()
    assert 110 <= len(lines) <= 140
    assert any(line.startswith("![") for line in lines[:30])


@every_page
def test_every_link_of_a_page_leads_to_a_file(page):
    text = read_prose(page)
    found = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
    for link in found:
        path, _, place = link.partition("#")
        if re.match(r"https?:", link):
            continue
        target = page.parent / path if path else page
        assert target.is_file(), link
        if place and target.suffix == ".md" and target.name != "reference.md":
            assert place in places_of(target), link


def test_every_picture_is_of_a_make_target_and_on_a_page():
    makefile = (ROOT / "Makefile").read_text()
    text = "".join(page.read_text() for page in PAGES.values())
    for path in (ROOT / "docs" / "images").iterdir():
        (target,) = {t for pattern, t in PICTURES.items() if path.match(pattern)}
        assert re.search(rf"^{target}:", makefile, flags=re.M)
        assert f"images/{path.name}" in text, path.name


def places_of(page):
    """The anchors of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", read_prose(page), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


@every_page
def test_code_in_the_text_of_a_page_is_on_one_line(page):
    """The tests that follow read it line by line."""
    for line in read_prose(page).splitlines():
        assert line.count("`") % 2 == 0, line


@every_page
def test_every_command_that_the_text_of_a_page_names_exists(page):
    for code in INLINE.findall(read_prose(page)):
        words = code.split()
        if words[0] == "senet" and len(words) > 1 and words[1] not in ("COMMAND", "--help"):
            assert words[1] in COMMANDS, code
            unknown = {w for w in words if w.startswith("--")} - flags_of(words[1])
            assert not unknown, code
        elif words[0].startswith("--"):
            assert words[0] in FLAGS_OF_OTHERS or any(words[0] in flags_of(c) for c in COMMANDS)


def flags_of(name):
    """Every option of a command as it is typed."""
    with click.Context(senet_command) as context:
        command = senet_command.get_command(context, name)
    options = [p for p in command.params if isinstance(p, click.Option)]
    return {"--help", *(flag for o in options for flag in (*o.opts, *o.secondary_opts))}


def test_every_example_of_the_help_is_one_that_its_command_takes():
    (*texts,) = (b.text for b in read_blocks(PAGES["commands.md"]) if b.language == "text")
    examples = re.findall(r"^  (senet .*?)(?:   .*)?$", "".join(texts), flags=re.M)
    assert len(examples) >= 20
    for example in examples:
        _, name, *words = shlex.split(example)
        with click.Context(senet_command) as group:
            command = senet_command.get_command(group, name)
            command.make_context(name, words, parent=group)  # raises what a user would see


@every_page
def test_every_name_and_file_that_the_text_of_a_page_names_exists(page):
    for code in INLINE.findall(read_prose(page)):
        if found := re.match(r"senet\.(\w+)", code):
            module = ROOT / "senet" / found[1]
            known = found[1] in senet.__all__ or module.is_dir()
            assert known or module.with_suffix(".py").is_file() or found[1] == "json", code
        elif re.fullmatch(r"(senet|tests|docs|benchmarks|evidence)/[\w./]*", code):
            assert (ROOT / code).exists(), code
        elif found := re.fullmatch(r"python ([\w/]+\.py)\b.*", code):
            assert (ROOT / found[1]).is_file(), code


@every_page
def test_every_make_target_of_a_page_exists(page):
    makefile = (ROOT / "Makefile").read_text()
    named = [code for code in INLINE.findall(read_prose(page)) if code.startswith("make ")]
    for block in read_blocks(page):
        if block.language == "bash":
            commands = read_commands(block)
            named += [" ".join(c.words) for c in commands if c.words[0] == "make"]
    for target in named:
        assert re.search(rf"^{target.split()[1]}:", makefile, flags=re.M), target


def test_every_file_the_tree_names_exists_and_every_module_is_in_it():
    (tree,) = [b.text for b in read_blocks(ARCHITECTURE) if b.text.startswith("senet/\n")]
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


def test_a_room_uses_only_what_stands_on_a_lower_floor():
    rows = re.findall(r"^\| ([\w ]+) \| (`[^|]+`) \|", ARCHITECTURE.read_text(), flags=re.M)
    floors = [set(INLINE.findall(rooms)) for name, rooms in rows if name != "word"]
    rooms = [room for floor in floors for room in floor]
    assert sorted(rooms) == sorted({*MAY_USE, "cli"})
    for number, floor in enumerate(floors):
        below = set().union(*floors[number + 1 :])
        ground = floors[-1] if number == len(floors) - 1 else set()
        for room in floor - {"cli"}:
            assert MAY_USE[room] <= below | ground, room


def test_every_page_is_in_the_list_of_the_book_and_in_the_readme():
    pages = {f"docs/{name}" for name, page in PAGES.items() if page != README}
    listed = set(re.findall(r": (\w+\.md)$", (ROOT / "mkdocs.yml").read_text(), flags=re.M))
    assert {f"docs/{name}" for name in listed} == pages | {"docs/tutorial.md"}
    assert pages <= set(re.findall(r"\]\((docs/[\w.]+)", README.read_text()))


def test_every_public_name_is_in_the_reference():
    named = re.findall(r"^::: senet\.(\w+)$", PAGES["reference.md"].read_text(), flags=re.M)
    constructors = {name for name in senet.__all__ if name.startswith("SE")}
    assert set(named) == {*senet.__all__, "SEResNet50"} - (constructors - {"SEResNet50"}) - {
        "__version__"
    }
