"""Decode files one after the other, and say of each what it took.

    python -m tests.data.measure FOLDER

A line of JSON for each: its name, `seconds` of the processor, `bytes` of memory above what the
program takes when it has decoded an ordinary image, and `result`, `"read"` or why it is refused.
"""

import gc
import json
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from senet.data.decode import ImageError, decode
from senet.data.preprocessing import Preprocessing
from senet.data.sharing import return_free_memory
from tests.data.hostile import encode, picture

ROOT = pathlib.Path(__file__).parents[2]
Result = TypeVar("Result")
PREPROCESSING = Preprocessing.of_values("imagenet", 224)


def measure(run: Callable[[], object]) -> tuple[float, int]:
    """Seconds of the processor, and bytes of memory above the present ones, that a call takes."""
    start = time.process_time()
    _, memory = measure_memory(run)
    return time.process_time() - start, memory


def measure_memory(run: Callable[[], Result]) -> tuple[Result, int]:
    """What a call gives, and the most bytes of memory above the present ones that it takes."""
    gc.collect()
    return_free_memory()
    before = _read("VmRSS")
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # makes the peak that of now
    return run(), _read("VmHWM") - before


def _read(field: str) -> int:
    status = pathlib.Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith(field)).split()[1]) * 1024


def measure_files(paths: Iterable[pathlib.Path]) -> Iterator[dict]:
    """What reading each file as an input of a network takes."""
    PREPROCESSING(decode(encode(picture(), "JPEG")))
    results: list[str] = []
    for path in paths:
        seconds, memory = measure(lambda path=path: results.append(_read_file(path)))
        yield dict(name=path.name, seconds=seconds, bytes=memory, result=results[-1])


def _read_file(path: pathlib.Path) -> str:
    try:
        PREPROCESSING(decode(path.read_bytes()))
    except ImageError as error:
        return str(error)
    return "read"


def run_on(folder: pathlib.Path) -> list[dict]:
    """What each file below a folder took, in a program of its own."""
    command = [sys.executable, "-m", "tests.data.measure", str(folder)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in result.stdout.splitlines()]


if __name__ == "__main__":
    inside = sorted(path for path in pathlib.Path(sys.argv[1]).rglob("*") if path.is_file())
    for measured in measure_files(inside):
        print(json.dumps(measured), flush=True)
