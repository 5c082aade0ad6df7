import io
import os
import tarfile
import unicodedata
import zipfile

import pytest
from PIL import Image

from senet.data import finding
from senet.data.finding import find_files, list_folder, list_names
from senet.data.sources import load_data
from tests.conftest import make_photos

NEEDS_LINKS = pytest.mark.skipif(os.name != "posix", reason="links need rights on Windows")
NEEDS_BYTES = pytest.mark.skipif(os.name != "posix", reason="names are text on Windows")


LABELS = ("circle", "square")


def names(data):
    return sorted(data.split("all").names)


@pytest.fixture
def forbid(monkeypatch):
    """Makes folders of these names unreadable, for an administrator too."""

    def forbid(*forbidden):
        scan = os.scandir

        def scandir(path):
            if os.path.basename(os.fspath(path)) in forbidden:
                raise PermissionError(13, "Permission denied", path)
            return scan(path)

        monkeypatch.setattr(os, "scandir", scandir)

    return forbid


def hide_things(folder):
    """Put files where people do not see them, all of which end like images."""
    image = (folder / "circle" / "00.png").read_bytes()
    for name in (
        *("circle/._00.png", "circle/.ipynb_checkpoints/00-checkpoint.png"),
        *("__MACOSX/circle/._00.png", "__MACOSX/circle/00.png", ".cache/a/0.png"),
        *("circle/.DS_Store", "square/Thumbs.db", "desktop.ini"),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(image)


def test_hidden_files_count_for_nothing_in_training_and_prediction(photos):
    before = names(load_data(str(photos)))
    hide_things(photos)
    data = load_data(str(photos))
    assert names(data) == before
    assert data.class_names == ("circle", "square")
    assert data.notes == ()
    found = find_files([str(photos)])
    assert [os.path.relpath(path, photos).replace(os.sep, "/") for path in found.paths] == before
    assert found.notes == ()


def test_hidden_files_count_for_nothing_in_archives(tmp_path, photos):
    hide_things(photos)
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(photos.rglob("*")):
            archive.write(file, file.relative_to(photos).as_posix())
    assert names(load_data(str(path))) == names(load_data(str(photos)))
    assert load_data(str(path)).notes == ()


def test_what_apples_tar_adds_to_a_shard_is_passed_over(tmp_path):
    path = tmp_path / "photos.tar"
    with tarfile.open(path, "w") as archive:
        for i in range(8):
            stream = io.BytesIO()
            Image.new("RGB", (8, 8), (i, 0, 0)).save(stream, "PNG")
            members = {f"{i}.png": stream.getvalue(), f"{i}.cls": str(i % 2).encode()}
            for name, content in members.items():
                for made in (f"./._{name}", f"./{name}"):
                    about = tarfile.TarInfo(made)
                    about.size = len(content)
                    archive.addfile(about, io.BytesIO(content))
    assert len(load_data(str(path)).split("all")) == 8


def test_images_that_are_not_read_are_named_in_shards_and_beside_them(tmp_path):
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "PNG")
    members = {"5.heic": b"", "5.txt": b"0"}
    for i in range(4):
        members |= {f"a/./{i}.png": stream.getvalue(), f"a/./{i}.cls": str(i % 2).encode()}
    with tarfile.open(tmp_path / "photos.tar", "w") as archive:
        for name, content in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
    (tmp_path / "photos-2.tar.gz").write_bytes(b"")
    (tmp_path / "1.jp2").write_bytes(b"")
    data = load_data(str(tmp_path), split=False)
    assert len(data.split("all")) == 4
    assert data.notes == (
        "Not read, by the ending: 1 .heic (5.heic: save as JPEG).",
        "Not read, by the ending: 1 .gz (photos-2.tar.gz), 1 .jp2 (1.jp2: save as JPEG).",
    )


@NEEDS_LINKS
def test_links_to_class_folders_and_images_are_followed(tmp_path, photos):
    (photos / "square").rename(tmp_path / "elsewhere")
    (photos / "square").symlink_to(tmp_path / "elsewhere")
    (photos / "circle" / "linked.png").symlink_to(photos / "circle" / "00.png")
    data = load_data(str(photos))
    assert data.class_names == ("circle", "square")
    assert len(data.split("all")) == 25
    assert data.split("all").image(names(data).index("square/00.png")).size == (48, 40)
    assert len(find_files([str(photos)]).paths) == 25
    assert data.notes == ()


@NEEDS_LINKS
def test_links_that_lead_back_or_nowhere_are_named(photos):
    (photos / "circle" / "again").symlink_to(photos)
    (photos / "square" / "gone.png").symlink_to(photos / "nothing")
    data = load_data(str(photos))
    assert len(data.split("all")) == 24
    (note,) = data.notes
    assert "circle/again (it leads back to a folder that it lies in)" in note
    assert "square/gone.png (it links to nothing)" in note


@NEEDS_LINKS
@pytest.mark.parametrize("up", ["..", "../..", "/"])
def test_links_to_what_lies_above_the_folder_are_not_followed(tmp_path, up):
    photos = make_photos(tmp_path / "above" / "photos", 12)
    make_photos(tmp_path / "above" / "other", 3)
    (photos / "up").symlink_to(up)
    (photos / "circle" / "up").symlink_to(f"../{up}" if up != "/" else up)
    for given in (photos, tmp_path / "linked"):
        if given != photos:
            given.symlink_to(photos)
        data = load_data(str(given))
        assert data.class_names == ("circle", "square")
        assert len(data.split("all")) == 24
        assert "circle/up (it leads back" in data.notes[0]


@NEEDS_LINKS
def test_links_to_folders_of_links_end(tmp_path):
    for i in range(12):
        (tmp_path / f"{i}").mkdir()
        for link in ("a", "b", "c"):
            (tmp_path / f"{i}" / link).symlink_to(tmp_path / f"{i + 1}")
    (tmp_path / "12").mkdir()
    (tmp_path / "12" / "0.png").write_bytes(b"")
    listing = list_folder(tmp_path)
    assert 0 < len(listing.files) <= finding.MAX_VISITS
    assert any("more than 16 links" in reason for reason in listing.unread.values())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_what_is_no_regular_file_is_named_and_not_opened(photos):
    os.mkfifo(photos / "circle" / "pipe.png")
    data = load_data(str(photos))
    assert len(data.split("all")) == 24
    assert "circle/pipe.png (it is no regular file)" in data.notes[0]


def test_folders_that_cannot_be_read_are_named(photos, forbid):
    make_photos(photos, 3, ("triangle",))
    forbid("triangle")
    data = load_data(str(photos))
    assert data.class_names == ("circle", "square")
    assert data.notes == ("Left out, because it cannot be read: triangle (Permission denied).",)
    assert "triangle (Permission denied)" in find_files([str(photos)]).notes[0]


def test_a_folder_that_cannot_be_read_at_all_is_an_error(photos, forbid):
    forbid(photos.name)
    with pytest.raises(PermissionError):
        load_data(str(photos))


@pytest.mark.parametrize("ending", [".jfif", ".JFIF", ".jpe"])
def test_jpegs_are_jpegs_whatever_their_ending(tmp_path, ending):
    for label in ("bird", "cat"):
        (tmp_path / label).mkdir()
        for i in range(4):
            Image.new("RGB", (8, 8), (i, 0, 0)).save(tmp_path / label / f"{i}{ending}", "JPEG")
    data = load_data(str(tmp_path))
    assert data.class_names == ("bird", "cat")
    assert len(data.split("all")) == 8
    assert len(find_files([str(tmp_path)]).paths) == 8


def test_other_endings_are_counted_and_class_folders_without_an_image_named(photos):
    (photos / "bird").mkdir()
    for i in range(3):
        (photos / "bird" / f"{i}.HEIC").write_bytes(b"")
    (photos / "empty").mkdir()
    (photos / "circle" / "README").write_text("about")
    (photos / "circle" / "about.txt").write_text("about")
    data = load_data(str(photos))
    assert data.class_names == ("circle", "square")
    assert data.notes == (
        "Not read, by the ending: 3 .heic (bird/0.HEIC, ...: save as JPEG), 1 without an ending "
        "(circle/README), 1 .txt (circle/about.txt).",
        "Folders without an image that is read, which count for nothing: bird, empty.",
    )


def test_folders_without_an_image_are_named_in_splits_and_archives(tmp_path):
    for split in ("train", "test"):
        make_photos(tmp_path / "data" / split, 3)
    for folder in ("validation/bird", "test/bird", "train/circle/inside"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    expected = (
        "Folders without an image that is read, which count for nothing: test/bird, validation.",
    )
    assert load_data(str(tmp_path / "data"), split=False).notes == expected
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted((tmp_path / "data").rglob("*")):
            archive.write(file, file.relative_to(tmp_path / "data").as_posix())
    assert load_data(str(path), split=False).notes == expected


def test_folders_beside_the_one_that_holds_the_classes_are_named(tmp_path):
    make_photos(tmp_path / "photos", 3)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "0.txt").write_text("")
    data = load_data(str(tmp_path), split=False)
    assert data.class_names == ("circle", "square")
    assert data.notes[1].endswith("nothing: labels.")


def test_a_folder_without_an_image_says_what_is_in_it(tmp_path):
    (tmp_path / "bird").mkdir()
    (tmp_path / "bird" / "0.heic").write_bytes(b"")
    with pytest.raises(ValueError, match=r"no images in .* 1 \.heic \(bird/0\.heic: save as JPEG"):
        load_data(str(tmp_path))


def test_names_may_begin_with_underscores(tmp_path):
    make_photos(tmp_path, 3, ("__background__", "circle"))
    (tmp_path / "circle" / "00.png").rename(tmp_path / "circle" / "__a.png")
    data = load_data(str(tmp_path))
    assert data.class_names == ("__background__", "circle")
    assert "circle/__a.png" in names(data)
    assert len(data.split("all")) == 6


def test_classes_are_compared_in_composed_letters(tmp_path):
    for form, count in (("NFC", 3), ("NFD", 2)):
        make_photos(tmp_path, count, (unicodedata.normalize(form, "Käse"),))
    make_photos(tmp_path, 4, ("Brot",))
    if len(os.listdir(tmp_path)) < 3:
        pytest.skip("this file system composes letters itself")
    data = load_data(str(tmp_path))
    assert data.class_names == ("Brot", "Käse")
    assert sum(counts for counts in data.images_per_class["Käse"].values()) == 5
    for i in range(len(data.split("all"))):
        data.split("all").image(i)


def test_labels_of_a_list_and_of_a_class_map_are_compared_so_too(tmp_path, photos):
    composed, apart = (unicodedata.normalize(form, "Käse") for form in ("NFC", "NFD"))
    lines = [f"circle/{i:02d}.png,{(composed, apart)[i % 2]}" for i in range(6)]
    lines += [f"square/{i:02d}.png,Brot" for i in range(6)]
    (photos / "list.csv").write_text("\n".join(["path,label", *lines]), encoding="utf-8")
    assert load_data(str(photos / "list.csv")).class_names == ("Brot", composed)
    (tmp_path / "map.csv").write_text(f"label,name\n{apart},K\nBrot,B\n", encoding="utf-8")
    data = load_data(str(photos / "list.csv"), class_map=tmp_path / "map.csv")
    assert data.class_names == ("B", "K")


@NEEDS_BYTES
def test_names_that_are_no_text_are_escaped(tmp_path):
    make_photos(tmp_path, 3, ("circle",))
    os.rename(tmp_path / "circle", os.fsencode(tmp_path) + b"/caf\xe9")
    make_photos(tmp_path, 3, ("square",))
    os.rename(tmp_path / "square" / "00.png", os.fsencode(tmp_path / "square") + b"/na\xefve.png")
    data = load_data(str(tmp_path))
    assert data.class_names == (r"caf\xe9", "square")
    assert r"square/na\xefve.png" in names(data)
    for name in (*names(data), *data.class_names):
        name.encode()
    for i in range(6):
        assert data.split("all").image(i).size == (48, 40)


@pytest.mark.parametrize("backslash", [False, True])
def test_names_in_zip_files_are_read_as_utf_8_first(tmp_path, photos, backslash):
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(photos.rglob("*.png")):
            label = {"circle": "Kaese", "square": "Brot"}[file.parent.name]
            archive.write(file, f"{label}{chr(92) if backslash else '/'}{file.name}")
    content = path.read_bytes().replace(b"Kaese", b"K\xc3\xa4se")  # without the flag for UTF-8
    path.write_bytes(content)
    data = load_data(str(path))
    assert data.class_names == ("Brot", "Käse")
    for i in range(24):
        data.split("all").image(i)


def test_names_in_zip_files_that_are_no_utf_8_are_those_of_dos(tmp_path, photos):
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(photos.rglob("*.png")):
            archive.write(file, f"{file.parent.name}/{file.name}")
    path.write_bytes(path.read_bytes().replace(b"circle", b"cercl\x82"))
    data = load_data(str(path))
    assert data.class_names == ("cerclé", "square")
    for i in range(24):
        data.split("all").image(i)


def test_backslashes_in_a_list_lead_to_folders(photos):
    lines = [f"circle\\{i:02d}.png,round" for i in range(6)]
    lines += [f"square/{i:02d}.png,edged" for i in range(6)]
    (photos / "list.csv").write_text("\n".join(["path,label", *lines]))
    data = load_data(str(photos / "list.csv"))
    assert len(data.split("all")) == 12
    for i in range(12):
        data.split("all").image(i)


def test_a_backslash_in_a_list_cannot_list_an_image_twice(photos):
    lines = ["circle\\00.png,round", "circle/00.png,round", "square/00.png,edged"]
    (photos / "list.csv").write_text("\n".join(["path,label", *lines]))
    with pytest.raises(ValueError, match="twice"):
        load_data(str(photos / "list.csv"))


def test_names_of_archives_that_end_in_a_slash_are_folders():
    listing = list_names(["a/", "a/b/1.png", "c/d/", "e.txt", "./f/2.png", "../g/3.png", "/x/"])
    assert listing.files == ("../g/3.png", "./f/2.png", "a/b/1.png", "e.txt")
    assert listing.folders == ("a", "a/b", "c", "c/d", "f", "g", "x")


def test_names_of_nothing_but_dots_and_slashes_are_counted_like_others(tmp_path, photos):
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(photos.rglob("*.png")):
            archive.write(file, f"{file.parent.name}/{file.name}")
        for name in ("..", "circle/..", "/", "\\"):
            archive.writestr(name, b"")
    data = load_data(str(path))
    assert len(data.split("all")) == 24
    assert data.notes == ("Not read, by the ending: 2 without an ending (.., ...).",)


@NEEDS_BYTES
def test_a_file_whose_name_is_a_backslash_is_counted_like_others(photos):
    (photos / "circle" / "\\").write_text("")
    (photos / "\\").write_text("")
    (note,) = load_data(str(photos)).notes
    assert note.startswith("Not read, by the ending: 2 without an ending (")


def test_steps_up_in_the_names_of_a_zip_lead_nowhere_and_lose_nothing(tmp_path, photos):
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(photos.rglob("*.png")):
            up = "../" if file.parent.name == "square" else "./"
            archive.write(file, f"{up}{file.parent.name}/{file.name}")
    data = load_data(str(path))
    assert data.class_names == ("circle", "square")
    assert len(data.split("all")) == 24
    assert data.notes == ()


def test_two_members_of_a_zip_that_are_read_alike_are_two_images(tmp_path, photos):
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(12):
            for label in ("Kaese", "Käse", "Brot"):
                archive.write(photos / "circle" / f"{i:02d}.png", f"{label}/{i:02d}.png")
    path.write_bytes(path.read_bytes().replace(b"Kaese", b"K\xc3\xa4se"))
    data = load_data(str(path))
    assert data.class_names == ("Brot", "Käse")
    assert sum(data.images_per_class["Käse"].values()) == 24
    assert len(set(names(data))) == 36


def test_prediction_names_images_of_kinds_that_are_not_read(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "1.png")
    (tmp_path / "IMG.HEIC").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("")
    found = find_files([str(tmp_path)])
    assert [os.path.basename(path) for path in found.paths] == ["1.png", "IMG.HEIC"]
    assert found.notes == (f"In '{tmp_path}': Not read, by the ending: 1 .txt (notes.txt).",)


def test_a_folder_without_images_beside_others_is_a_note_and_alone_an_error(tmp_path):
    for name in ("full", "empty"):
        (tmp_path / name).mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "full" / "1.png")
    found = find_files([str(tmp_path / "empty"), str(tmp_path / "full")])
    assert len(found.paths) == 1
    assert found.notes == (f"There is no image at '{tmp_path / 'empty'}'.",)
    with pytest.raises(FileNotFoundError, match=r"no image at .*empty"):
        find_files([str(tmp_path / "empty")])
    found = find_files(["nothing", str(tmp_path / "full"), "no*.png", "nothing"])
    assert (len(found.paths), found.missing) == (1, ("nothing", "no*.png"))
    with pytest.raises(FileNotFoundError, match="no image at 'nothing', 'no/thing'"):
        find_files(["nothing", "no/thing"])


def test_patterns_stand_for_nothing_hidden_that_they_do_not_name(photos):
    hide_things(photos)
    sound = {str(path) for path in photos.glob("*/*.png") if path.parent.name in LABELS}
    sound -= {str(photos / "circle" / "._00.png")}
    for pattern in ("*", "**/*.png", "*/*.png"):
        assert set(find_files([str(photos / pattern)]).paths) == sound
    named = find_files([str(photos / "__MACOSX" / "*" / "0*.png")]).paths
    assert named == (str(photos / "__MACOSX" / "circle" / "00.png"),)


def test_files_are_taken_as_they_are_named_and_once(tmp_path):
    for name in ("photo[1].png", "b.dat", ".hidden.png"):
        (tmp_path / name).write_bytes(b"")
    paths = [str(tmp_path / name) for name in ("photo[1].png", ".hidden.png", "b.dat")]
    assert find_files([*paths, str(tmp_path), str(tmp_path / "*.dat")]).paths == tuple(paths)
