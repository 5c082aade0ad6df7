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
