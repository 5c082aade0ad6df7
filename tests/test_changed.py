import pytest

from tests.changed import OF_FILES, ROOT, select_tests


@pytest.mark.parametrize(
    ("changed", "tests"),
    [
        ("senet/data/decode.py", "tests/data"),
        ("senet/cli/main.py", "tests/cli"),
        ("senet/training/loop.py", "tests/training"),
        ("tests/weights/written.py", "tests/weights"),
        ("senet/files.py", "tests/test_files.py"),
        ("senet/graph.py", "tests/models"),
        ("tests/test_quiet.py", "tests/test_quiet.py"),
        ("README.md", "tests/docs"),
        ("docs/deployment.md", "tests/docs"),
        ("docs/images/report.png", "tests/docs"),
        ("Makefile", None),
        ("tests/conftest.py", None),
        ("senet/data/gone/away.py", "tests/data"),
        ("senet/gone.py", None),
    ],
)
def test_the_select_tests_a_change_are_those_of_its_room(changed, tests):
    assert select_tests([changed]) == ({tests} if tests else set())


def test_every_file_of_the_package_has_tests():
    modules = [path.relative_to(ROOT).as_posix() for path in (ROOT / "senet").rglob("*.py")]
    without = [path for path in modules if not select_tests([path])]
    assert without == []
    assert all((ROOT / path).exists() for paths in OF_FILES.items() for path in paths)
