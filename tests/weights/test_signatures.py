"""Files that are no weights files, or not of a kind that is read, are called what they are."""

import gzip
import json
import lzma
import pickle
import tarfile
import zipfile

import pytest

import senet
from tests.weights.written import pickled, torch_zip


def refused(path, reason):
    with pytest.raises(senet.WeightsError, match=reason):
        senet.load(path)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is an empty file"),
        (bytes(600), "nothing but zeros"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(40), "a 7z archive: unpack it"),
        (b"Rar!\x1a\x07\x01\0" + bytes(40), "a RAR archive"),
        (gzip.compress(b"weights", mtime=0), "compressed by gzip: unpack it"),
        (lzma.compress(b"weights"), "compressed by xz"),
        (b"BZh91AY&SY", "compressed by bzip2"),
        (b"PK\x05\x06" + bytes(18), "a zip archive with nothing in it"),
        (b"\x93NUMPY\x01\0", "an array of NumPy"),
        (b"\n<!DOCTYPE html><html>", "a page, as a server sends"),
        (b"<?xml version='1.0'?><Error/>", "a page, as a server sends"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (pickle.dumps({"a": 1}, 2), "a plain pickle, which is a program"),
        (pickle.dumps({"a": 1}, 4), "a plain pickle, which is a program"),
        (json.dumps({"weight_map": {}}).encode(), "a text in JSON, perhaps the index"),
        (b"\x89PNG\r\n\x1a\n" + bytes(30), "it is an image"),
        (b"\x1c\0\0\0TFL3", "a program of LiteRT"),
        (b"hello", "no safetensors, torch, Keras or HDF5 file, but begins with b'hello'"),
        (b"\x80", "no safetensors, torch, Keras"),
    ],
)
def test_other_files_are_called_what_they_are(tmp_path, data, reason):
    (tmp_path / "a.pth").write_bytes(data)
    refused(tmp_path / "a.pth", reason)


def test_a_tar_archive_is_called_one(tmp_path):
    (tmp_path / "x").write_text("x")
    with tarfile.open(tmp_path / "a.pth", "w") as archive:
        archive.add(tmp_path / "x", "x")
    refused(tmp_path / "a.pth", "a tar archive: unpack it")


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (
            ["m/data.pkl", "m/constants.pkl", "m/code/a.py"],
            "a TorchScript program, .*torch.jit.load",
        ),
        (["m/constants.pkl"], "a TorchScript program"),
        (["m/archive_format", "m/models/model.json"], "a program of torch.export"),
        (["metadata.json", "config.json"], "a .keras file without weights"),
        (["a.npy", "b.npy"], "an .npz file of NumPy"),
        (["seresnet50.pth", "readme"], 'a zip archive with "seresnet50.pth" in it: unpack it'),
        (["readme"], "a zip archive with 0 members data.pkl"),
        (["a/data.pkl", "b/data.pkl"], "a zip archive with 2 members data.pkl"),
    ],
)
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_archives_are_called_what_they_are(tmp_path, names, reason, compression):
    with zipfile.ZipFile(tmp_path / "a.pt", "w", compression) as archive:
        for name in names:
            archive.writestr(name, pickled({}))
    refused(tmp_path / "a.pt", reason)


@pytest.mark.parametrize("kind", ["torch", "keras"])
def test_an_encrypted_archive_is_called_one(tmp_path, kind):
    path = tmp_path / "a.zip"
    if kind == "torch":
        torch_zip(path, {"x": 1}, {})
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("model.weights.h5", b"x")
            archive.writestr("config.json", "{}")
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    while at > 0:
        data[at + 8] |= 1
        at = data.find(b"PK\x01\x02", at + 1)
    path.write_bytes(data)
    refused(path, "an encrypted zip archive: unpack it with its password")
