"""What a file is that is no weights file, by its first bytes and, of an archive, its members."""

import json
from collections.abc import Iterable

SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it."),
    (0, b"Rar!\x1a\x07", "a RAR archive: unpack it."),
    (0, b"\x1f\x8b", "a file compressed by gzip: unpack it."),
    (0, b"BZh", "a file compressed by bzip2: unpack it."),
    (0, b"\xfd7zXZ\0", "a file compressed by xz: unpack it."),
    (0, b"\x28\xb5\x2f\xfd", "a file compressed by Zstandard: unpack it."),
    (257, b"ustar", "a tar archive: unpack it."),
    (0, b"PK\x05\x06", "a zip archive with nothing in it."),
    (
        0,
        b"PK\x07\x08",
        "a part of a zip archive of several files: put them together and unpack it.",
    ),
    (0, b"\x93NUMPY", "an array of NumPy, in which no names of networks are known."),
    (0, b"GGUF", "a GGUF file, a format of language models."),
    (4, b"TFL3", "a program of LiteRT, which senet predict --model takes in its exported folder."),
    (0, b"\x08\x01\x12", "an exported ONNX program, from which weights are not read back."),
    (0, b"version https://git-lfs", "a pointer of Git LFS: git lfs pull gets the file."),
    (0, b"\x89PNG", "an image."),
    (0, b"\xff\xd8\xff", "an image."),
)
"""Where, with which bytes, files of other kinds begin, and what they are."""

PICKLES = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
"""How pickles of the protocols from 2 begin."""


def describe_file(head: bytes) -> str:
    """What a file is that none of the readers takes, in a sentence without its beginning.

    Args:
        head: its first bytes, some hundred of them.
    """
    if not head.strip(b"\0"):
        what = "nothing but zeros" if head else "an empty file"
        return f"{what}: download or copy it again."
    for at, signature, what in SIGNATURES:
        if head[at:].startswith(signature):
            return what
    if head.startswith(PICKLES):
        return (
            "a plain pickle, which is a program: load it where you trust it and write its weights "
            "with torch.save(model.state_dict(), path)."
        )
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<error")):
        return "a page, as a server sends in place of a file: download it again."
    if text.startswith(b"{"):
        return "a text in JSON, perhaps the index of weights that lie in files beside it."
    return (
        f"no safetensors, torch, Keras or HDF5 file, but begins with {head[:16]!r}. Perhaps the "
        "download gave something else than the file."
    )


def describe_archive(names: Iterable[str]) -> str:
    """What a zip archive is that is neither torch's nor Keras', in a sentence.

    Args:
        names: of its members.
    """
    names = list(names)
    last = {name.rpartition("/")[2] for name in names}
    endings = {name.rpartition(".")[2] for name in last if name}
    if "constants.pkl" in last:
        return (
            "a TorchScript program, which is code and weights: torch.jit.load it where you trust "
            "it and save its state_dict()."
        )
    if "archive_format" in last:
        return "a program of torch.export: save model.state_dict() instead."
    if "config.json" in last and "metadata.json" in last:
        return "a .keras file without weights in it: save it again."
    if endings == {"npy"}:
        return "an .npz file of NumPy, in which no names of networks are known."
    packed = [
        name for name in sorted(last) if name.endswith((".pth", ".pt", ".safetensors", ".keras"))
    ]
    if packed:
        return f"a zip archive with {json.dumps(packed[0])} in it: unpack it."
    pickles = sum(name.rpartition("/")[2] == "data.pkl" for name in names)
    return f"a zip archive with {pickles} members data.pkl, where torch writes one."
