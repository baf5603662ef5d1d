"""MNIST's idx files: read exactly, refused with a reason when anything is wrong with them."""

import contextlib
import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.data import Files
from models.data.idx import IMAGES, LABELS, PARTS, read
from models.data.samples import DataError


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def contents(train: int = 40, test: int = 10) -> dict[str, bytes]:
    noise = np.random.default_rng(0)
    images = noise.integers(0, 256, (train + test, 5, 4), np.uint8)
    digits = (np.arange(train + test) % 2).astype(np.uint8)
    return dict(zip(PARTS, map(idx, (images[:train], digits[:train], images[train:], digits[train:])), strict=True))


def written(folder: Path, files: dict[str, bytes], packed: bool = True) -> Path:
    (folder / "made").mkdir()
    for name, data in files.items():
        (folder / "made" / (f"{name}.gz" if packed else name)).write_bytes(
            gzip.compress(data, mtime=0) if packed else data
        )
    return folder


@pytest.mark.parametrize("packed", [True, False])
def test_a_folder_of_idx_files_is_read_with_its_official_test_part(tmp_path: Path, packed: bool) -> None:
    files = contents()
    loaded = Files("files", "made").load(written(tmp_path, files, packed), seed=0)
    assert (len(loaded.train), len(loaded.test), loaded.classes, loaded.input_shape) == (40, 10, 2, (1, 5, 4))
    assert loaded.train.x.flatten().tolist() == list(files[PARTS[0]][16:])
    assert loaded.test.y.tolist() == list(files[PARTS[3]][8:])


def test_plain_and_packed_files_have_the_same_hash(tmp_path: Path) -> None:
    hashes = set()
    for packed in (True, False):
        (tmp_path / str(packed)).mkdir()
        hashes.add(Files("files", "made").load(written(tmp_path / str(packed), contents(), packed), 0).hash)
    assert len(hashes) == 1


@pytest.mark.parametrize("part", PARTS)
def test_a_missing_file_is_named(tmp_path: Path, part: str) -> None:
    files = contents()
    del files[part]
    with pytest.raises(DataError, match=f"made: {part}.gz is missing"):
        Files("files", "made").load(written(tmp_path, files), 0)


HEADER = idx(np.zeros((2, 2, 2), np.uint8))[:16]
DAMAGED = {
    "empty": (b"", "its first bytes are missing"),
    "text": (b"hello, world, this is text", "its first bytes are 68 65 6c 6c; .* starts with 00 00 08 03"),
    "labels for images": (idx(np.zeros(9, np.uint8)), "its first bytes are 00 00 08 01"),
    "floats": (b"\0\0\x0d\x03" + HEADER[4:] + bytes(32), "its first bytes are 00 00 0d 03"),
    "half a header": (HEADER[:9], "truncated in its header"),
    "one byte short": (HEADER + bytes(7), "truncated; its header says 8 values, it holds 7|more than a file of"),
    "one byte long": (HEADER + bytes(9), "but more bytes follow"),
    "huge": (b"\0\0\x08\x03" + b"\xff" * 12 + bytes(8), "more than a file of .* bytes can hold"),
    "no images": (b"\0\0\x08\x03" + bytes(4) + HEADER[8:], r"x has shape \(0, 2, 2\)"),
}


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_is_refused_by_name_with_the_reason(tmp_path: Path, damage: str, packed: bool) -> None:
    data, reason = DAMAGED[damage]
    with pytest.raises(DataError, match=reason) as refusal:
        Files("files", "made").load(written(tmp_path, {**contents(), PARTS[0]: data}, packed), 0)
    assert str(refusal.value).startswith("made")


@pytest.mark.parametrize("cut", [1, 9, 12, 40])
def test_a_truncated_gzip_is_refused(tmp_path: Path, cut: int) -> None:
    folder = written(tmp_path, contents()) / "made"
    file = folder / f"{PARTS[0]}.gz"
    file.write_bytes(file.read_bytes()[:-cut])
    with pytest.raises(DataError, match=rf"made/{PARTS[0]}.gz: the gzip data is damaged or truncated"):
        Files("files", "made").load(tmp_path, 0)


def test_a_file_that_is_no_gzip_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path, contents()) / "made"
    (folder / f"{PARTS[1]}.gz").write_bytes(contents()[PARTS[1]])
    with pytest.raises(DataError, match="the gzip data is damaged"):
        Files("files", "made").load(tmp_path, 0)


def test_images_and_labels_of_different_lengths_are_refused(tmp_path: Path) -> None:
    files = {**contents(), PARTS[1]: idx(np.zeros(39, np.uint8))}
    with pytest.raises(DataError, match="40 inputs, but labels of shape"):
        Files("files", "made").load(written(tmp_path, files), 0)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    data=st.binary(max_size=64), valid=st.booleans(), packed=st.booleans(), images=st.booleans(), cut=st.integers(0, 30)
)
def test_no_bytes_whatever_lead_to_anything_but_an_array_or_a_refusal(
    tmp_path: Path, data: bytes, valid: bool, packed: bool, images: bool, cut: int
) -> None:
    data = (bytes([0, 0, 8, IMAGES if images else LABELS]) if valid else b"") + data
    data = gzip.compress(data)[: -cut or None] if packed else data
    file = tmp_path / f"made{'.gz' if packed else ''}"
    file.write_bytes(data)
    with contextlib.suppress(DataError):
        array = read(file, "made", IMAGES if images else LABELS)
        assert array.dtype == np.uint8
        assert array.ndim == (IMAGES if images else LABELS)
