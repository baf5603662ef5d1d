"""`.npz` and `.csv` files, and where files may lie."""

import contextlib
import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.data import Files
from models.data.samples import DataError

X = np.random.default_rng(0).random((20, 3)).astype(np.float32)
Y = np.arange(20) % 2


def load(folder: Path, name: str, **settings: object):
    return Files("files", name, **settings).load(folder, seed=0)  # type: ignore[arg-type]


def save(folder: Path, **arrays: object) -> Path:
    np.savez_compressed(folder / "made.npz", **arrays)  # type: ignore[arg-type]
    return folder


def test_an_npz_with_x_and_y_is_split(tmp_path: Path) -> None:
    loaded = load(save(tmp_path, x=X, y=Y), "made.npz")
    assert (len(loaded.train), len(loaded.test), loaded.input_shape) == (16, 4, (3,))


def test_an_npz_with_an_official_test_part_keeps_it(tmp_path: Path) -> None:
    loaded = load(save(tmp_path, x_train=X, y_train=Y, x_test=X[:5], y_test=Y[:5]), "made.npz")
    assert np.array_equal(loaded.train.x.numpy(), X)
    assert np.array_equal(loaded.test.x.numpy(), X[:5])


def test_colour_images_keep_their_bytes_as_numbers(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 3, 4, 5), np.uint8)
    loaded = load(save(tmp_path, x_train=images, y_train=Y, x_test=images, y_test=Y), "made.npz")
    assert loaded.input_shape == (3, 4, 5)
    assert np.array_equal(loaded.train.x.numpy(), images)


def test_text_labels_of_an_npz_are_read_without_unpickling(tmp_path: Path) -> None:
    loaded = load(save(tmp_path, x=X, y=np.array(["cat", "dog"])[Y]), "made.npz")
    assert loaded.classes == 2


class Planted:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, ("unpickled",))


def test_a_pickle_in_an_npz_is_refused_and_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save(tmp_path, x=X, y=np.array([Planted()] * 20, dtype=object))
    with pytest.raises(DataError, match=r"^made.npz: y holds pickled objects, which are never loaded"):
        load(tmp_path, "made.npz")
    (tmp_path / "bare.npz").write_bytes(pickle.dumps(Planted()))
    with pytest.raises(DataError, match=r"^bare.npz: not a .npz archive"):
        load(tmp_path, "bare.npz")
    assert not Path("unpickled").exists()


def with_header(header: bytes, data: bytes) -> bytes:
    """An .npz whose x.npy has this header."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data)
        y = io.BytesIO()
        np.save(y, Y)
        archive.writestr("y.npy", y.getvalue())
    return packed.getvalue()


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"{'descr': '<f4', 'fortran_order': False, 'shape': (20, 4)}", "its header says"),
        (b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 9)}", "at most"),
        (b"{'descr': '<f4', 'fortran_order': False, 'shape': (-20, -3)}", "archive that can be read"),
        (b"{'descr': '|O', 'fortran_order': False, 'shape': (20, 3)}", "pickled"),
        (b"{'descr': 'nonsense', 'fortran_order': False, 'shape': (20, 3)}", "archive that can be read"),
        (b"(" * 5000, "archive that can be read"),
        (b"-" * 9000 + b"1", "archive that can be read"),
        (b"", "archive that can be read"),
    ],
)
def test_a_header_that_lies_is_found_out_before_anything_is_allocated(
    tmp_path: Path, header: bytes, reason: str
) -> None:
    (tmp_path / "made.npz").write_bytes(with_header(header, X.tobytes()))
    with pytest.raises(DataError, match=rf"^made.npz: .*{reason}"):
        load(tmp_path, "made.npz")


def test_an_npz_without_the_arrays_lists_those_it_holds(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"made.npz: holds features, y; it must hold x_train, y_train, x_test, y_test, or"
    ):
        load(save(tmp_path, features=X, y=Y), "made.npz")


@pytest.mark.parametrize("size", [0, 1, 30, 200, -30, -1])
def test_a_truncated_npz_is_refused(tmp_path: Path, size: int) -> None:
    file = save(tmp_path, x=X, y=Y) / "made.npz"
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(DataError, match=r"^made.npz: "):
        load(tmp_path, "made.npz")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(0, 600), st.binary(min_size=1, max_size=12))
def test_a_damaged_npz_is_read_or_refused_and_nothing_else(tmp_path: Path, at: int, damage: bytes) -> None:
    sound = io.BytesIO()
    np.savez(sound, x=X, y=Y)
    broken = bytearray(sound.getvalue())
    broken[at : at + len(damage)] = damage
    (tmp_path / "made.npz").write_bytes(broken)
    with contextlib.suppress(DataError):
        load(tmp_path, "made.npz")


TABLE = "height,species,weight\n" + "".join(f"{each}.5,{'cat' if each % 2 else 'dog'},{-each}\n" for each in range(20))


def test_a_csv_is_read_with_its_label_column_anywhere(tmp_path: Path) -> None:
    (tmp_path / "made.csv").write_text(TABLE)
    loaded = load(tmp_path, "made.csv", label="species")
    assert (len(loaded.train), len(loaded.test), loaded.input_shape, loaded.classes) == (16, 4, (2,), 2)
    rows = {(*x.tolist(), y) for x, y in zip(loaded.train.x, loaded.train.y.tolist(), strict=True)}
    assert rows <= {(each + 0.5, -each, 0 if each % 2 else 1) for each in range(20)}


def test_the_label_column_is_called_label_unless_said_otherwise(tmp_path: Path) -> None:
    (tmp_path / "made.csv").write_text(TABLE.replace("species", "label"))
    assert load(tmp_path, "made.csv").classes == 2


def test_a_table_as_windows_writes_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "made.csv").write_bytes(b"\xef\xbb\xbf" + TABLE.replace("\n", "\r\n").encode() + b"\r\n\r\n")
    assert len(load(tmp_path, "made.csv", label="species").train) == 16


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            TABLE,
            r"^data.label: 'label' must name one column of made.csv.*; the columns are 'height', 'species', 'weight'",
        ),
        ("", "the columns are .none: the file is empty"),
        ("label,label,x\n1,2,3\n", "data.label: 'label' must name one column"),
        ("label\n1\n2\n", "data.label: 'label' must name one column of made.csv, besides the features"),
        ("x,label\n", "there is no line of data"),
        ("x,label\n1,a\n2,a,3\n", "line 3 has 3 values, the first line 2"),
        ("x,label\n1,a\ntwo,b\n", "line 3, column 'x': 'two' is not a finite number"),
        ("label,x,z\na,1,1\nb,2,\n", "line 3, column 'z': '' is not a finite number"),
        ("x,label\n1,a\nnan,b\n", "line 3, column 'x': 'nan' is not a finite number"),
        ("x,label\n1,a\n2, \n", "line 3 has no label"),
        ("x,label\n1,a\n2,a\n", "all 2 labels are a"),
        ("x,label\n1,0.5\n2,0.25\n", "label 0.5 in row 0 is not a whole number"),
        ("x,label\n1,a\n2,b\n3,c\n", "data.test: class 0 has 1 of the 3 samples in 3 classes"),
        ('x,label\n"1,a\n', "not a CSV file in UTF-8"),
        ("x,label\n1,\udcff\n", "not a CSV file in UTF-8"),
        ("x,label\n" + "1" * 200_000 + ",a\n", "not a CSV file in UTF-8 .*field larger than"),
    ],
)
def test_a_wrong_csv_is_refused_with_the_place_and_the_reason(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "made.csv").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(DataError, match=reason):
        load(tmp_path, "made.csv")


def test_a_label_column_makes_no_sense_but_for_a_csv(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data.label: 'y' is not allowed; made.npz is no .csv"):
        load(save(tmp_path, x=X, y=Y), "made.npz", label="y")


def test_a_folder_with_one_data_file_may_be_named_itself(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    save(tmp_path / "letters", x=X, y=Y)
    (tmp_path / "letters" / "SOURCE.txt").write_text("where it comes from")
    assert len(load(tmp_path, "letters").train) == 16
    assert load(tmp_path, "letters").hash == load(tmp_path, "letters/made.npz").hash
    (tmp_path / "letters" / "b.csv").write_text(TABLE)
    with pytest.raises(DataError, match=r"the folder 'letters' holds b.csv, made.npz; it must hold"):
        load(tmp_path, "letters")


@pytest.mark.parametrize("name", ["../outside.npz", "inner/../../outside.npz", "..", ".", "", "link.npz", "links"])
def test_a_path_never_leaves_the_data_directory(tmp_path: Path, name: str) -> None:
    inner = tmp_path / "data"
    (inner / "inner").mkdir(parents=True)
    np.savez(tmp_path / "outside.npz", x=X, y=Y)
    (inner / "link.npz").symlink_to(tmp_path / "outside.npz")
    (inner / "links").symlink_to(tmp_path)
    with pytest.raises(DataError, match=r"^data.name: .* is not allowed; it must be a path inside the data directory"):
        load(inner, name)
    with pytest.raises(DataError, match=r"inside the data directory"):
        load(inner, str(tmp_path / "outside.npz"))


def test_files_inside_a_folder_may_not_be_links_out_of_the_data_directory(tmp_path: Path) -> None:
    inner = tmp_path / "data"
    for folder, file in (("one", "made.npz"), ("idx", "train-images-idx3-ubyte.gz")):
        (inner / folder).mkdir(parents=True)
        (tmp_path / file).write_bytes(b"secret")
        (inner / folder / file).symlink_to(tmp_path / file)
        with pytest.raises(DataError, match=r"inside the data directory"):
            load(inner, folder)


def test_a_link_that_stays_inside_is_followed(tmp_path: Path) -> None:
    save(tmp_path, x=X, y=Y)
    (tmp_path / "again.npz").symlink_to(tmp_path / "made.npz")
    assert len(load(tmp_path, "again.npz").train) == 16


@pytest.mark.parametrize("name", ["no\0thing", "x" * 5000, "circle.npz"])
def test_a_name_that_is_no_path_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "circle.npz").symlink_to(tmp_path / "circle.npz")
    with pytest.raises(DataError, match=r"is not a path that can be followed"):
        load(tmp_path, name)


def test_an_unknown_name_lists_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'fashion' is not in the data directory; it holds made.npz"):
        load(save(tmp_path, x=X, y=Y), "fashion")


def test_a_kind_of_file_that_is_not_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(
        DataError, match=r"'notes.txt' is not allowed; it must be a .npz, a .csv or a folder of idx files"
    ):
        load(tmp_path, "notes.txt")
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(DataError, match=r"'pipe.npz' is not in the data directory"):
        load(tmp_path, "pipe.npz")


def test_without_a_data_directory_the_reason_says_how_to_give_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no data directory is given \(--data-dir or SNAS_DATA_DIR\)"):
        Files("files", "made.npz").load(None, 0)
    with pytest.raises(DataError, match=r"the data directory .*nowhere does not exist"):
        load(tmp_path / "nowhere", "made.npz")
