"""Decode files one after the other, and say of each what it took.

    python -m tests.data.measure FILE ...

A line of JSON for each: its name, `seconds` of the processor, `bytes` of memory above what the
program takes when it has decoded an ordinary image, and `result`, `"read"` or why it is refused.
"""

import gc
import json
import pathlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator

from senet.data.decode import ImageError, decode
from senet.data.preprocessing import Preprocessing
from tests.data.hostile import encode, picture

PREPROCESSING = Preprocessing.of_values("imagenet", 224)


def measure(run: Callable[[], object]) -> tuple[float, int]:
    """Seconds of the processor, and bytes of memory above the present ones, that a call takes."""
    gc.collect()
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # makes the peak that of now
    before, start = _read("VmRSS"), time.process_time()
    run()
    return time.process_time() - start, _read("VmHWM") - before


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


if __name__ == "__main__":
    for measured in measure_files(map(pathlib.Path, sys.argv[1:])):
        print(json.dumps(measured), flush=True)
