"""The driver of `make bench-peers`, with stand-ins for the contestants: it is run as it is."""

import importlib.util
import json
import os
import signal
import statistics
import sys
import textwrap

import pytest

from tests.docs.pages import ROOT

FOLDER = ROOT / "benchmarks"
STAND_IN = """
    import sys, time
    from turns import read_options, serve

    options = read_options()
    print("what a library prints")
    if options.get("broken"):
        sys.exit("it cannot be built")
    about = dict(parameters=options["parameters"], machine={"cores": 2}, work={"operations": 4e9})
    serve(lambda: time.sleep(options["seconds"]), about, limits=lambda: {"operations": 1e12})
"""


@pytest.fixture
def peers(tmp_path, monkeypatch):
    """The script as a module, whose contestants sleep."""
    spec = importlib.util.spec_from_file_location("peers", FOLDER / "peers.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "peers", module)
    spec.loader.exec_module(module)
    (tmp_path / "turns.py").write_text((FOLDER / "contestants" / "turns.py").read_text())
    (tmp_path / "ours.py").write_text(textwrap.dedent(STAND_IN))
    monkeypatch.setattr(module, "CONTESTANTS", tmp_path)
    monkeypatch.setattr(module, "TURN", {"infer": 0.1})
    monkeypatch.setattr(module, "PAUSE", 0.0)
    return module


def make_row(peers, *contestants, name="row"):
    options = dict(mode="infer", network="se_resnet50", batch_size=4)
    return peers.Row(name, name.title(), options, contestants)


def sleeper(peers, name, seconds, *, parameters=7, rounds=3, **options):
    about = dict(seconds=seconds, parameters=parameters, **options)
    return peers.Contestant(name, "ours.py", about, rounds)


def test_contestants_run_in_turn_and_are_compared_round_by_round(peers, capfd):
    ours, peer = sleeper(peers, "senet", 0.02), sleeper(peers, "timm", 0.04)
    once = sleeper(peers, "slow", 0.2, rounds=1)
    row = peers.measure(make_row(peers, ours, peer, once), None)
    said = [line.split(": ")[1] for line in capfd.readouterr().err.splitlines() if "round" in line]
    turns = [line.split(", ")[1] for line in said]
    assert turns == ["senet", "timm", "slow", "timm", "senet", "senet", "timm"]
    assert [one["name"] for one in row["contestants"]] == ["senet", "timm", "slow"]
    assert [len(one["seconds"]) for one in row["contestants"]] == [3, 3, 1]
    # A tenth of a second a turn, at least two steps; one that runs once takes a single step.
    (quick, slow, single) = (len(one["seconds"][0]) for one in row["contestants"])
    assert (2 <= quick <= 5, 2 <= slow <= 3, single) == (True, True, 1)
    for one in row["contestants"]:
        medians = [statistics.median(seconds) for seconds in one["seconds"]]
        rates = [4 / median for median in medians]
        assert one["images_per_second"] == [statistics.median(rates), min(rates), max(rates)]
    ours, peer, _ = ([statistics.median(s) for s in one["seconds"]] for one in row["contestants"])
    ratios = [b / a for a, b in zip(ours, peer, strict=True)]
    found = row["ratios"]["timm"]
    assert found == pytest.approx([statistics.median(ratios), min(ratios), max(ratios)])
    assert found[0] > 1
    assert set(row["ratios"]) == {"timm", "slow"}
    assert row["machine"] == {"cores": 2}
    assert row["limit"] == 4 * 1e12 / 4e9
    assert all(one["peak_memory"] > 2**20 for one in row["contestants"])


def test_networks_of_other_sizes_are_not_compared(peers):
    row = make_row(peers, sleeper(peers, "a", 0.01), sleeper(peers, "b", 0.01, parameters=8))
    with pytest.raises(SystemExit, match="not the same network"):
        peers.measure(row, None)
    plain = sleeper(peers, "without SE", 0.01, parameters=8, network="resnet50")
    peers.measure(make_row(peers, sleeper(peers, "a", 0.01), plain), None)


def test_a_contestant_that_fails_is_named_and_the_others_are_ended(peers):
    row = make_row(peers, sleeper(peers, "a", 0.01), sleeper(peers, "b", 0.01, broken=True))
    with pytest.raises(SystemExit, match="b ended with 1 before it was done"):
        peers.measure(row, None)


def test_a_contestant_that_is_killed_while_it_waits_is_named_too(peers, monkeypatch):
    """As by a system that is short of memory."""
    processes = []
    start = peers.Process.__init__

    def started(self, *arguments):
        start(self, *arguments)
        processes.append(self.process)
        if len(processes) == 2:
            os.kill(processes[0].pid, signal.SIGKILL)
            processes[0].wait()

    monkeypatch.setattr(peers.Process, "__init__", started)
    row = make_row(peers, sleeper(peers, "a", 0.01), sleeper(peers, "b", 0.01))
    with pytest.raises(SystemExit, match="a ended with -9 before it was done"):
        peers.measure(row, None)
    assert [process.poll() for process in processes] == [-9, 0]


def run(peers, monkeypatch, out, *options):
    monkeypatch.setattr(sys, "argv", ["peers.py", "--peers", "no", "--out", str(out), *options])
    monkeypatch.setattr(peers, "describe_this_machine", lambda: {"cores": 2})
    peers.main()


def test_finished_rows_are_kept_until_all_are(peers, monkeypatch, tmp_path):
    rows = tuple(make_row(peers, sleeper(peers, "a", 0.01), name=name) for name in ("one", "two"))
    monkeypatch.setattr(peers, "ROWS", rows)
    out, measured = tmp_path / "new" / "speed.json", []
    measure = peers.measure
    monkeypatch.setattr(
        peers, "measure", lambda row, python: measured.append(row.name) or measure(row, python)
    )
    with pytest.raises(SystemExit, match="two would begin too late: run it again"):
        run(peers, monkeypatch, out, "--minutes", "0.0001")
    assert json.loads(out.read_text())["finished"] is False
    run(peers, monkeypatch, out)
    kept = json.loads(out.read_text())
    assert (measured, kept["finished"]) == (["one", "two"], True)
    run(peers, monkeypatch, out, "--rows", "two")
    assert measured == ["one", "two", "two"]
    assert json.loads(out.read_text())["rows"][0] == kept["rows"][0]
    run(peers, monkeypatch, out)
    assert measured == ["one", "two", "two", "one", "two"]  # a finished file is measured anew


def test_rows_of_another_machine_are_not_kept(peers, monkeypatch, tmp_path):
    here, there = dict(machine={"cores": 2}, peers="a"), dict(machine={"cores": 64}, peers="a")
    older = here | dict(peers="b")
    rows = [
        dict(name=name, **about) for name, about in zip("123", (here, there, older), strict=True)
    ]
    out = tmp_path / "speed.json"
    out.write_text(json.dumps(dict(finished=False, rows=rows)))
    assert set(peers.read_kept(out, here, None)) == {"1"}
    assert peers.read_kept(out, here, {"1"}) == {}


def test_an_unknown_row_is_answered_with_the_known_ones(peers, monkeypatch, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(peers, monkeypatch, tmp_path / "speed.json", "--rows", "no_such")
    assert "se_resnet50-train-bfloat16" in capsys.readouterr().err


def test_every_peer_is_in_a_row_at_its_best(peers):
    """Each row has the same step of ours and of a peer, and the engines that the table names."""
    names = {one.name for row in peers.ROWS for one in row.contestants}
    for peer in (
        "compiled, bfloat16",
        "compiled, float32",
        "ONNX Runtime, float32",
        "eager, float32",
    ):
        assert f"timm, {peer}" in names
    for row in peers.ROWS:
        assert not row.contestants[0].is_peer
        assert any(one.is_peer for one in row.contestants)
        assert len({one.name for one in row.contestants}) == len(row.contestants)
        if row.options["mode"] == "infer":  # OpenVINO is the fastest engine for timm too
            precision = row.contestants[0].options["exported"]
            assert peers.timm(precision, "openvino") in row.contestants
            assert peers.timm("bfloat16") in row.contestants
