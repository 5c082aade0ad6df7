import struct
import sys

import numpy as np
import pytest
from PIL import Image
from tensorboardX.proto.event_pb2 import Event, SessionLog

from senet.runs.events import Events

TABLE = []
for byte in range(256):
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)  # CRC-32C, reflected
    TABLE.append(byte)


def masked_crc(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 255] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def events_of(folder):
    """Every event in a folder: records of length, its CRC, data, its CRC."""
    for path in sorted(folder.iterdir()):
        assert "tfevents" in path.name  # TensorBoard looks for it
        content = path.read_bytes()
        while content:
            length, crc = struct.unpack("<QI", content[:12])
            assert crc == masked_crc(content[:8])
            data = content[12 : 12 + length]
            assert struct.unpack("<I", content[12 + length : 16 + length]) == (masked_crc(data),)
            yield Event.FromString(data)
            content = content[16 + length :]


def shown_by_tensorboard(folder):
    """Scalars by name and step; a session that starts at a step purges that step and later ones."""
    shown, version = [], 0
    for event in events_of(folder):
        if event.HasField("file_version"):
            version = float(event.file_version.removeprefix("brain.Event:"))
        elif event.HasField("session_log") and event.session_log.status == SessionLog.START:
            assert version >= 2  # else TensorBoard does not purge
            shown = [row for row in shown if row[1] < event.step]
        shown += [
            (v.tag, event.step, v.simple_value) for v in event.summary.value if not v.image.width
        ]
    return shown


def test_the_checksum_of_this_test_is_that_of_the_specification():
    crc = (masked_crc(b"123456789") - 0xA282EAD8) & 0xFFFFFFFF
    assert (crc << 15 | crc >> 17) & 0xFFFFFFFF == 0xE3069283


def test_every_number_of_an_epoch_is_an_event_of_its_step(tmp_path):
    row = dict(epoch=1, loss=2.5, val_accuracy=np.float32(0.5), images_per_second=100)
    with Events(tmp_path / "new" / "events") as events:
        events.scalars(1, row | dict(note="warm-up", best=True, val_loss=None))
        events.scalars(2, dict(loss=1.25))
    assert shown_by_tensorboard(tmp_path / "new" / "events") == [
        *(("loss", 1, 2.5), ("val_accuracy", 1, 0.5), ("images_per_second", 1, 100.0)),
        ("loss", 2, 1.25),
    ]


def test_a_picture_arrives_pixel_by_pixel(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype="uint8")
    Image.fromarray(pixels).save(tmp_path / "curves.png")
    with Events(tmp_path / "events") as events:
        events.image("curves", tmp_path / "curves.png", 4)
    *_, last = events_of(tmp_path / "events")
    (value,) = last.summary.value
    assert (value.tag, last.step) == ("curves", 4)
    assert (value.image.height, value.image.width) == (7, 5)
    (tmp_path / "back.png").write_bytes(value.image.encoded_image_string)
    with Image.open(tmp_path / "back.png") as back:
        np.testing.assert_array_equal(np.asarray(back), pixels)


def test_a_resumed_run_goes_on_without_showing_a_step_twice(tmp_path):
    with Events(tmp_path) as events:
        for epoch in (1, 2, 3):
            events.scalars(epoch, dict(loss=float(epoch)))
    with Events(tmp_path, first_step=3) as events:  # the model of epoch 2 was the last one saved
        for epoch in (3, 4):
            events.scalars(epoch, dict(loss=10.0 * epoch))
    assert len(list(tmp_path.iterdir())) == 2
    assert shown_by_tensorboard(tmp_path) == [
        *(("loss", 1, 1.0), ("loss", 2, 2.0), ("loss", 3, 30.0), ("loss", 4, 40.0)),
    ]


def test_the_event_files_need_neither_tensorflow_nor_keras(tmp_path):
    import subprocess

    code = (
        "import sys\n"
        "from senet.runs.events import Events\n"
        f"with Events({str(tmp_path)!r}) as events: events.scalars(1, dict(loss=1.0))\n"
        "wrong = {'tensorflow', 'keras', 'torch', 'jax', 'matplotlib'} & set(sys.modules)\n"
        "assert not wrong, wrong\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert shown_by_tensorboard(tmp_path) == [("loss", 1, 1.0)]


def test_without_the_library_the_message_has_the_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "senet\[tensorboard\]"') as raised:
        Events(tmp_path / "events")
    assert raised.value.name == "tensorboardX"
    assert not (tmp_path / "events").exists()
