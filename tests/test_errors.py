import ast
import builtins
import errno
import inspect
import pathlib

import pytest

import senet
from senet import errors

KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if kind.__module__ == "senet.errors" and kind is not errors.Error
]
BUILT_IN = {
    "InputError": ValueError,
    "FileError": OSError,
    "NotFoundError": FileNotFoundError,
    "ExistsError": FileExistsError,
    "DeniedError": PermissionError,
    "IsFolderError": IsADirectoryError,
    "IsFileError": NotADirectoryError,
    "LibraryError": ModuleNotFoundError,
    "CapacityError": MemoryError,
    "UnsupportedError": NotImplementedError,
}


def test_every_kind_is_of_the_family_and_the_built_in_error_that_it_was():
    assert {kind.__name__ for kind in KINDS} == set(BUILT_IN)
    for kind in KINDS:
        assert issubclass(kind, (senet.Error, BUILT_IN[kind.__name__]))
        assert issubclass(kind, senet.Error)


def test_whatever_senet_raises_is_of_the_family():
    """Built-in errors are raised only where they stay inside, or Python asks for them."""
    inside = {
        ("__init__.py", "AttributeError"),
        ("arrays.py", "KeyError"),
        ("pickles.py", "IndexError"),
        ("containers.py", "IndexError"),
        ("experiment.py", "KeyboardInterrupt"),
        ("interruption.py", "KeyboardInterrupt"),
    }
    built_in = {
        name
        for name, kind in vars(builtins).items()
        if inspect.isclass(kind) and issubclass(kind, BaseException)
    }
    found = set()
    for path in pathlib.Path(senet.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Raise) and node.exc is not None:
                raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
                if isinstance(raised, ast.Name) and raised.id in built_in:
                    found.add((path.name, raised.id))
    assert found <= inside, found - inside


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOENT, errors.NotFoundError),
        (errno.EEXIST, errors.ExistsError),
        (errno.EACCES, errors.DeniedError),
        (errno.EISDIR, errors.IsFolderError),
        (errno.ENOTDIR, errors.IsFileError),
        (errno.ENOSPC, errors.FileError),
    ],
)
def test_an_error_of_the_system_keeps_its_number_its_file_and_its_words(number, kind):
    cause = OSError(number, "words", "photo.jpg")
    with pytest.raises(senet.Error) as caught, errors.one_family():
        raise cause
    assert type(caught.value) is kind
    assert isinstance(caught.value, type(cause))
    assert (caught.value.errno, caught.value.filename) == (number, "photo.jpg")
    assert str(caught.value) == str(cause)


def test_errors_of_the_family_and_those_that_nobody_foresaw_pass_as_they_are():
    for error in (senet.WeightsError("a.pth", "it is empty"), KeyError("x"), ValueError("y")):
        with pytest.raises(type(error)) as caught, errors.one_family():
            raise error
        assert caught.value is error


def test_a_library_that_is_missing_is_named_with_the_command_that_installs_it():
    with (
        pytest.raises(senet.LibraryError, match=r'pip install "senet\[export\]"'),
        errors.one_family(),
    ):
        raise ModuleNotFoundError("No module named 'openvino'", name="openvino")
    with pytest.raises(ModuleNotFoundError) as caught, errors.one_family():
        import nothing_of_this_name  # noqa: F401
    assert not isinstance(caught.value, senet.Error)


def test_the_words_of_backends_for_no_memory_are_known():
    class ResourceExhaustedError(Exception):
        pass

    for error in (
        ResourceExhaustedError("OOM when allocating"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory"),
    ):
        with pytest.raises(MemoryError, match="smaller batches"), errors.one_family():
            raise error
    for error in (RuntimeError("no"), TimeoutError("late")):
        with pytest.raises(type(error)) as caught, errors.one_family():
            raise error
        assert caught.value is error


def test_what_fits_no_memory_says_so():
    with pytest.raises(senet.CapacityError, match="not enough memory"), errors.one_family():
        raise MemoryError
