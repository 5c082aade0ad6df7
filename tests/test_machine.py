import subprocess

from senet import machine


def test_a_container_has_no_more_than_its_limit(tmp_path, monkeypatch):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(machine, "LIMIT_OF_CONTAINER", limit)
    whole = machine.count_memory()
    for text, expected in (("max\n", whole), ("1048576\n", 2**20), (str(2**60), whole)):
        limit.write_text(text)
        assert machine.count_memory() == expected


def test_a_machine_has_memory_and_cores():
    assert machine.count_memory() > 2**28
    assert machine.count_cores() >= 1


def test_a_process_of_our_own_runs_nothing_of_the_current_folder(tmp_path, monkeypatch):
    """Also where this one would, as under `python -m`."""
    (tmp_path / "json.py").write_text("raise SystemExit('code of a stranger')")
    monkeypatch.chdir(tmp_path)
    for place in ("", str(tmp_path), tmp_path):
        monkeypatch.syspath_prepend(place)
    command, environment = machine.own_program("senet", "list", "--help")
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "senet list" in done.stdout
