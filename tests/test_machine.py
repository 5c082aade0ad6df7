import subprocess
import sys
import time

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


def test_peak_memory_is_the_most_that_a_process_had():
    code = (
        "from senet import machine\n"
        "before = machine.read_peak_memory()\n"
        "held = b'x' * 2**27\n"
        "after = machine.read_peak_memory()\n"
        "del held\n"
        "print(before, after, machine.read_peak_memory())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after, later = map(int, done.stdout.split())
    assert before + 0.95 * 2**27 < after < before + 1.5 * 2**27
    assert later > 0.99 * after  # Linux counts pages of late


def test_peak_memory_does_not_count_what_started_the_process():
    """Linux takes the figure of `getrusage` over from the process that forks."""
    code = "from senet import machine; print(machine.read_peak_memory())"
    held = b"x" * 2**29
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 2**22 < int(done.stdout) < len(held)


def test_others_are_busy_when_they_are():
    if machine.Others().count_busy_cores() is None:
        return  # no Linux
    work = [sys.executable, "-c", "while True: pass"]
    with subprocess.Popen(work) as other:
        try:
            others = machine.Others()
            time.sleep(1.5)
            busy = others.count_busy_cores()
        finally:
            other.kill()
    assert busy is None or busy > 0.3  # None in a container that sees a larger machine


def test_own_work_is_not_that_of_others(monkeypatch):
    seconds = {"all": [10.0, 14.0], "own": [1.0, 4.0], "clock": [0.0, 2.0]}
    monkeypatch.setattr(machine, "_read_busy_seconds", lambda: seconds["all"].pop(0))
    monkeypatch.setattr(machine.time, "monotonic", lambda: seconds["clock"].pop(0))
    others = machine.Others(lambda: seconds["own"].pop(0))
    assert others.count_busy_cores() == 0.5  # (4 - 3) seconds in 2


def test_more_cores_than_there_are_is_the_count_of_another_machine(monkeypatch):
    seconds = {"all": [0.0, 300.0], "clock": [0.0, 2.0]}
    monkeypatch.setattr(machine, "_read_busy_seconds", lambda: seconds["all"].pop(0))
    monkeypatch.setattr(machine.time, "monotonic", lambda: seconds["clock"].pop(0))
    monkeypatch.setattr(machine, "count_usable_cores", lambda: 2)
    assert machine.Others(lambda: 0.0).count_busy_cores() is None
