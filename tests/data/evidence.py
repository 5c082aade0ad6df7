"""What each hostile, damaged or large image takes, as the book quotes it.

    python -m tests.data.evidence CORPORA OUT

CORPORA is the folder of `tests.data.corpora`; OUT becomes a file of JSON: for each kind of files
how many there are and are read, the most memory and time that one takes, and which one that is.
"""

import json
import pathlib
import sys
import tempfile
from collections.abc import Iterable

from senet.runs.machine import describe_machine
from tests.data import corpora, hostile, measure

MUTANTS = 2000


def make_all(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """The files that are made here, by kind, each kind in a folder."""
    kinds: dict[str, Iterable[tuple[str, bytes]]] = {
        "largest images": ((name, make()) for name, make in hostile.LARGEST.items()),
        "bombs": ((name, make()) for name, make in hostile.BOMBS.items()),
        "scan bombs": ((name, make()) for name, make in hostile.SCAN_BOMBS.items()),
        "polyglots": hostile.polyglots().items(),
        "mutants": hostile.mutants(MUTANTS),
    }
    for kind, files in kinds.items():
        (folder / kind).mkdir()
        for name, content in files:
            (folder / kind / name).write_bytes(content)
    return {kind: folder / kind for kind in kinds}


def summarise(measured: list[dict]) -> dict:
    """Counts and largest figures of files."""
    greediest = max(measured, key=lambda one: one["bytes"])
    slowest = max(measured, key=lambda one: one["seconds"])
    return dict(
        files=len(measured),
        read=sum(one["result"] == "read" for one in measured),
        bytes=greediest["bytes"],
        greediest=greediest["name"],
        seconds=round(slowest["seconds"], 3),
        slowest=slowest["name"],
    )


def main(fetched: pathlib.Path, out: pathlib.Path) -> None:
    """Make, measure, write."""
    with tempfile.TemporaryDirectory() as folder:
        kinds = make_all(pathlib.Path(folder))
        kinds |= {f"test images of {place.name}": place for place in corpora.list_fetched(fetched)}
        found = {}
        for kind, place in kinds.items():
            found[kind] = summarise(measure.run_on(place))
            print(kind, found[kind], flush=True)
    about = describe_machine()
    machine = f"{about['cores']} cores of an {about['processor']}"
    out.write_text(json.dumps(dict(machine=machine, kinds=found), indent=1) + "\n")


if __name__ == "__main__":
    main(*map(pathlib.Path, sys.argv[1:3]))
