"""Files that users upload: recognised by what they hold, refused before they can do harm."""

import hashlib
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bombs import BOMBS, LARGEST, idx, npz, zipped
from hypothesis import given
from hypothesis import strategies as st

from models.data import Upload, formats
from models.data.idx import PARTS
from models.data.preview import plain, preview
from models.data.refusal import DataError
from models.data.upload import kept_in

MEMORY = 96 * 2**20  # bytes: a few copies of the longest line that is read

X = np.arange(24.0).reshape(8, 3)
Y = np.arange(8) % 2
IDX = zipped({f"{part}.gz": idx((8, 2, 2) if "idx3" in part else (8,), 32 if "idx3" in part else 8) for part in PARTS})


def look(path: Path, data: bytes, label: str = "label", largest: int = LARGEST) -> dict[str, Any]:
    path.write_bytes(data)
    return preview("made", formats.read(path, "made", formats.recognise(path, "made"), label, largest))


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_with_the_reason_before_it_takes_memory(
    tmp_path: Path, bomb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data, reason = BOMBS[bomb]
    tracemalloc.start()
    with pytest.raises(DataError) as caught:
        look(tmp_path / "made", data)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert reason in str(caught.value)
    assert most < MEMORY
    assert [each.name for each in tmp_path.iterdir()] == ["made"], "nothing is unpacked, nothing is run"


def test_a_preview_tells_shape_classes_and_range(tmp_path: Path) -> None:
    found = look(tmp_path / "made", npz(x=X, y=np.array(["no", "yes"])[Y]))
    assert found == {
        "samples": 8,
        "test": None,
        "shape": [3],
        "dtype": "float64",
        "min": 0.0,
        "max": 23.0,
        "classes": 2,
        "labels": ["no", "yes"],
        "counts": [4, 4],
        "smallest": 4,
        "constant": 0,
        "constant_at": [],
    }


def test_constant_features_are_named_by_their_place(tmp_path: Path) -> None:
    found = look(tmp_path / "made", b"a,label,b,c\n1,x,5,7\n2,y,5,7\n")
    assert (found["shape"], found["constant"], found["constant_at"]) == ([3], 2, [1, 2])


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_what_is_not_finite_is_refused_with_its_place(tmp_path: Path, value: str) -> None:
    x = X.copy()
    x[5, 2] = float(value)
    with pytest.raises(DataError, match=r"not a finite number .* in row 5, position 2"):
        look(tmp_path / "made", npz(x=x, y=Y))
    with pytest.raises(DataError, match=f"line 3, column 'b': '{value}' is not a finite number"):
        look(tmp_path / "made", f"a,b,label\n1,2,0\n1,{value},1\n".encode())


@pytest.mark.parametrize(
    ("data", "format_", "shape", "test"),
    [
        (npz(x=X, y=Y), "npz", [3], None),
        (npz(x_train=X, y_train=Y, x_test=X[:4], y_test=Y[:4]), "npz", [3], 4),
        (b"PK,label\n1,a\n2,b\n", "csv", [1], None),
    ],
)
def test_a_format_is_known_by_its_bytes(
    tmp_path: Path, data: bytes, format_: str, shape: list[int], test: int | None
) -> None:
    path = tmp_path / "made.exe"
    found = look(path, data)
    assert formats.recognise(path, "made") == format_
    assert (found["shape"], found["test"]) == (shape, test)


def test_a_zip_of_idx_files_is_images_with_their_official_test_part(tmp_path: Path) -> None:
    (tmp_path / "made").write_bytes(IDX)
    assert formats.recognise(tmp_path / "made", "made") == "idx"
    arrays = formats.read(tmp_path / "made", "made", "idx", "label", LARGEST)
    assert arrays.x.shape == (8, 2, 2)
    assert arrays.x_test is not None
    assert arrays.x_test.shape == (8, 2, 2)


def upload(folder: Path, data: bytes, **fields: Any) -> Upload:
    sha256 = hashlib.sha256(data).hexdigest()
    (folder / sha256).write_bytes(data)
    return Upload(**{"kind": "upload", "name": "made", "sha256": sha256, "format": "npz"} | fields)


def test_its_hash_is_that_of_its_file(tmp_path: Path) -> None:
    made = upload(tmp_path, npz(x=X, y=Y))
    with kept_in(tmp_path):
        loaded = made.load(None, 0)
    assert loaded.hash == made.sha256
    assert loaded.input_shape == (3,)


def test_a_file_that_is_another_is_refused(tmp_path: Path) -> None:
    made = upload(tmp_path, npz(x=X, y=Y))
    (tmp_path / str(made.sha256)).write_bytes(npz(x=X + 1, y=Y))
    with kept_in(tmp_path), pytest.raises(DataError, match=rf"has changed: its sha256 was {made.sha256}, found is"):
        made.load(None, 0)


def test_without_a_server_that_keeps_it_there_is_none(tmp_path: Path) -> None:
    made = upload(tmp_path, npz(x=X, y=Y))
    with pytest.raises(DataError, match=r"data.name: 'made' is not known here"):
        made.load(tmp_path, 0)
    with kept_in(tmp_path / "elsewhere"), pytest.raises(DataError, match="is not here any more"):
        made.load(None, 0)


@pytest.mark.parametrize("sha256", ["../../etc/passwd", "a" * 63, "A" * 64, "a" * 64 + "/"])
def test_nothing_but_a_hash_can_name_its_file(sha256: str) -> None:
    with pytest.raises(ValueError, match="it must be 64 hexadecimal digits"):
        Upload(kind="upload", name="made", sha256=sha256)


@given(st.text(st.characters(), max_size=200), st.integers(1, 100))
def test_text_of_others_is_made_plain(text: str, longest: int) -> None:
    shown = plain(text, longest)
    assert len(shown) <= longest
    assert shown.isprintable()
    shown.encode()
