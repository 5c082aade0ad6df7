"""Fetch images that others collected to test their programs; nothing of them is kept here.

    python -m tests.data.corpora FOLDER

They come as packages, by name and with a checksum: the source distribution of Pillow by pip, and
Debian's gdk-pixbuf-tests by apt-get, on a Debian that has it. Each lies in a folder of FOLDER then.
"""

import hashlib
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile

NAMES = ("pillow", "gdk-pixbuf")
"""Folders of the images of Pillow and of Debian."""
PILLOW = "pillow==13.0.0"
PILLOW_HASH = "sha256:cdcd1ba258178f7356d74170c9a81ba4eab6a5d55748bc402a5a2a6fe6be3510"
IMAGES = "/Tests/images/"
DEBIAN = "gdk-pixbuf-tests=2.42.10+dfsg-1+deb12u4"
DEBIAN_HASH = "171a99bae12ef6196806a0ac2389ce800be8c2a8db86e9389eba031c7e99ee8d"


def fetch_pillow(folder: pathlib.Path) -> None:
    """The test images of Pillow, some thousand."""
    with tempfile.TemporaryDirectory() as place:
        wanted = pathlib.Path(place, "wanted.txt")
        wanted.write_text(f"{PILLOW} --hash={PILLOW_HASH}\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes"]
        command += ["--no-deps", "--no-binary=:all:", "--dest", place, "--requirement", str(wanted)]
        subprocess.run(command, check=True)
        (archive,) = pathlib.Path(place).glob("*.tar.gz")
        with tarfile.open(archive) as source:
            for member in source:
                if member.isreg() and IMAGES in member.name:
                    source.extract(member, place, filter="data")
        (images,) = pathlib.Path(place).glob(f"*{IMAGES}")
        shutil.move(images, folder)


def fetch_debian(folder: pathlib.Path) -> None:
    """The test images of gdk-pixbuf, some hundred."""
    with tempfile.TemporaryDirectory() as place:
        subprocess.run(["apt-get", "download", "-qq", DEBIAN], cwd=place, check=True)
        (package,) = pathlib.Path(place).glob("*.deb")
        found = hashlib.sha256(package.read_bytes()).hexdigest()
        if found != DEBIAN_HASH:
            sys.exit(f"{package.name} has the SHA-256 {found}, and not {DEBIAN_HASH}.")
        subprocess.run(["dpkg-deb", "-x", str(package), str(folder)], check=True)


def list_fetched(folder: pathlib.Path) -> list[pathlib.Path]:
    """The folders of what is there.

    Raises:
        FileNotFoundError: nothing is.
    """
    found = [folder / name for name in NAMES if (folder / name).is_dir()]
    if not found:
        raise FileNotFoundError(f"python -m tests.data.corpora {folder} fetches the images")
    return found


def main(folder: pathlib.Path) -> None:
    """Fetch what is not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    pillow, debian = (folder / name for name in NAMES)
    if not pillow.exists():
        fetch_pillow(pillow)
    if not debian.exists():
        if shutil.which("apt-get") is None:
            print("The images of gdk-pixbuf are left out: there is no apt-get.")
        else:
            fetch_debian(debian)
    for fetched in list_fetched(folder):
        print(f"{fetched.name}: {sum(path.is_file() for path in fetched.rglob('*'))} files")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
