"""Memory for images that is shared by all threads and worker processes of a program.

One image takes up to 400 million bytes; several at one time would take several times that. So what
a large one takes is asked for before, in units that are locks of the system on small files: a
process that is killed holds none. Images that are as small as usual are not counted.
"""

import contextlib
import ctypes
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator

import filelock
from PIL import Image

from senet.data import limits

UNIT = 12 * 2**20
"""Bytes that are asked for together."""
UNCOUNTED = 8 * 2**20
"""Bytes that an image may take without asking: of pixels, those of two megapixels."""
UNCOUNTED_FILE = 4 * 2**20
"""Bytes that its file may have."""
UNITS_TO_RETURN = 10
"""Units before and after whose use free memory is returned, which takes time: an image of 12
megapixels takes fewer."""
WAIT = 0.005
"""Seconds between two looks at what others have given back."""

_local = threading.local()
_folder: tempfile.TemporaryDirectory | str | None = None
_making = threading.Lock()


class Share:
    """Memory of which each thread takes a part for a while, and waits where others have it.

    Args:
        name: of its files.
        total: bytes.
        uncounted: bytes up to which nothing is asked for.
    """

    def __init__(self, name: str, total: int, uncounted: int) -> None:
        self.name, self.units, self.uncounted = name, -(-total // UNIT), uncounted

    def take(self, size: float) -> None:
        """Take a number of bytes until the end of `holding`, once so many are free.

        Outside of that nothing is counted: it is a program that reads one image at a time.
        """
        held: contextlib.ExitStack | None = getattr(_local, "held", None)
        if held is None or size <= self.uncounted:
            return
        os.makedirs(get_folder(), exist_ok=True)  # it may have been cleaned away in a long run
        missing = min(self.units, -(-int(size) // UNIT))
        if missing > UNITS_TO_RETURN:
            return_free_memory()
        with self._lock("turn").acquire(timeout=-1):  # who collects gets all before the next one
            while missing:
                for number in range(self.units):
                    with contextlib.suppress(filelock.Timeout):
                        held.enter_context(self._lock(number))
                        missing -= 1
                        _local.units += 1
                    if not missing:
                        return
                time.sleep(WAIT)

    def _lock(self, what: str | int) -> filelock.BaseFileLock:
        path = os.path.join(get_folder(), f"{self.name}-{what}")
        return filelock.FileLock(path, timeout=0, thread_local=False, poll_interval=WAIT)


FILES = Share("file", limits.MAX_FILE, UNCOUNTED_FILE)
PIXELS = Share("pixels", limits.MAX_DECODING, UNCOUNTED)
"""Whoever takes of both takes of `FILES` first, so that nobody waits for who waits."""


@contextlib.contextmanager
def holding() -> Iterator[None]:
    """Keep what is taken in the body until its end; inside another one, until the end of that.

    An image that was read in it must not be kept any longer.
    """
    if getattr(_local, "held", None) is not None:
        yield
        return
    with contextlib.ExitStack() as held:
        _local.held, _local.units = held, 0
        try:
            yield
        finally:
            _local.held = None
            if _local.units > UNITS_TO_RETURN:  # before others take what is given back
                return_free_memory()


def return_free_memory() -> None:
    """Let the system have what this process does not use, as far as its C library can.

    That of glibc may keep what a thread has freed for this thread: several of them would have
    several large images. Pillow may keep some for the next image.
    """
    Image.core.clear_cache()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def get_folder() -> str:
    """The folder of the locks, which is made when it is asked for first."""
    global _folder
    with _making:
        if _folder is None:
            _folder = tempfile.TemporaryDirectory(prefix="senet-", ignore_cleanup_errors=True)
        return _folder if isinstance(_folder, str) else _folder.name


def use_folder(folder: str) -> None:
    """Share with the process whose folder this is."""
    global _folder
    with _making:
        _folder = folder
