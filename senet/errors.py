"""The errors of senet: one family, each of them also the built-in error that it is a kind of."""

import contextlib
import importlib.util
from collections.abc import Iterator

BACKENDS = ("tensorflow", "jax", "torch")
"""Libraries that Keras can compute with."""
EXTRAS = {"tensorboardX": "tensorboard"} | dict.fromkeys(
    ("ai_edge_litert", "nncf", "onnx", "onnxruntime", "openvino", "tf2onnx"), "export"
)
"""The extra of this package that each optional library belongs to."""


class Error(Exception):
    """What senet raises on purpose; the message says what was expected, what came, what to do.

    Example:
        >>> try:
        ...     senet.train("photos", epochs=0)
        ... except senet.Error as error:
        ...     print(error)
        epochs must be from 1 to 100000; got 0.
    """


class InputError(Error, ValueError):
    """What was given cannot be used: an argument, an option, a file, a data set."""


class FileError(Error, OSError):
    """A file or folder cannot be read or written."""


class NotFoundError(FileError, FileNotFoundError):
    """There is no such file, folder, run or image."""


class ExistsError(FileError, FileExistsError):
    """There is something else where a file or folder is to be written."""


class DeniedError(FileError, PermissionError):
    """The system does not allow a file or folder to be read or written."""


class IsFolderError(FileError, IsADirectoryError):
    """There is a folder where a file was expected."""


class IsFileError(FileError, NotADirectoryError):
    """There is a file where a folder was expected."""


class LibraryError(Error, ModuleNotFoundError):
    """A library that is needed is not installed; the message has the command that installs it."""


class CapacityError(Error, MemoryError):
    """It does not fit into the memory of this machine."""


class UnsupportedError(Error, NotImplementedError):
    """Keras has no way to do this on this backend."""


OF_SYSTEM: dict[type[OSError], type[FileError]] = {
    OSError: FileError,
    FileNotFoundError: NotFoundError,
    FileExistsError: ExistsError,
    PermissionError: DeniedError,
    IsADirectoryError: IsFolderError,
    NotADirectoryError: IsFileError,
}
"""Our kind for each of the system's."""


@contextlib.contextmanager
def one_family() -> Iterator[None]:
    """Let what the system raises in the body leave it as the same kind of error of the family.

    Errors that nobody foresaw stay what they are: they are faults of senet, or of a library.

    Example:
        >>> with one_family():
        ...     open("nowhere/photo.jpg")
        Traceback (most recent call last):
        senet.errors.NotFoundError: [Errno 2] No such file or directory: 'nowhere/photo.jpg'
    """
    try:
        yield
    except Error:
        raise
    except OSError as error:
        if type(error) not in OF_SYSTEM:  # of a network or another process: not of files
            raise
        raise _of_system(error) from error
    except MemoryError as error:
        raise CapacityError(str(error) or "There is not enough memory.") from error
    except ModuleNotFoundError as error:
        if error.name not in (*BACKENDS, *EXTRAS):
            raise
        raise LibraryError(_how_to_install(error.name), name=error.name) from error
    except Exception as error:
        if not _is_exhausted(error):
            raise
        raise CapacityError(
            "There is not enough memory for this: smaller batches or smaller images take less."
        ) from error


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Let what another library raises in the body leave it as an `InputError` of one line.

    What says nothing against the input stays what it is: the system, memory, a missing library.

    Args:
        what: does not work, the beginning of the line.

    Example:
        >>> with explained("'a.onnx' cannot be run"):
        ...     int("a")
        Traceback (most recent call last):
        senet.errors.InputError: 'a.onnx' cannot be run: invalid literal for int() with base 10: 'a'
    """
    try:
        yield
    except (Error, MemoryError, ImportError, OSError):
        raise
    except Exception as error:
        if _is_exhausted(error):
            raise
        raise InputError(f"{what}: {name_reason(error)}") from error


def name_reason(error: BaseException) -> str:
    """The first line of an error of another library, or its kind where it has no text."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def require_libraries(*names: str) -> None:
    """Say which of some libraries is not installed, and how it is.

    Args:
        names: as they are imported: backends, and optional libraries of this package.

    Raises:
        LibraryError: one is missing.
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise LibraryError(_how_to_add(name), name=name)


def _of_system(error: OSError) -> FileError:
    """The error of the system as one of the family, with its number and file."""
    kind = OF_SYSTEM[type(error)]
    if error.errno is None:
        return kind(*error.args)
    return kind(error.errno, error.strerror, error.filename, None, error.filename2)


def _is_exhausted(error: Exception) -> bool:
    """Whether it is how TensorFlow, JAX or PyTorch say that there is no memory left."""
    name = type(error).__name__
    known = ("ResourceExhaustedError", "OutOfMemoryError")
    return name in known or (name.endswith("RuntimeError") and "RESOURCE_EXHAUSTED" in str(error))


def _how_to_install(library: str) -> str:
    if library in BACKENDS:
        return (
            f"Keras is to use {library}, which is not installed: "
            f'pip install "senet[{library}]", or set KERAS_BACKEND to one of '
            f"{', '.join(BACKENDS)} that is."
        )
    return _how_to_add(library)


def _how_to_add(library: str) -> str:
    known = EXTRAS | dict(zip(BACKENDS, BACKENDS, strict=True))
    what = f'"senet[{known[library]}]"' if library in known else library
    return f"This needs {library}, which is not installed: pip install {what}."
