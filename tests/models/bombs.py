"""Files made to harm whoever opens them; each is small."""

import gzip
import io
import os
import pickle
import struct
import zipfile
from typing import Any

import numpy as np

from models.data.idx import PARTS


def npz(**arrays: Any) -> bytes:
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)
    return packed.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return packed.getvalue()


def npy(shape: str, dtype: str = "<f8", data: bytes = b"") -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def zeros(name: str, head: bytes, size: int) -> bytes:
    """A zip whose one file holds `head` and `size` zeros, which packs a thousand to one."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open(name, "w", force_zip64=True) as file:
            file.write(head)
            for _ in range(size // 2**20):
                file.write(bytes(2**20))
        if name == "x.npy":
            archive.writestr("y.npy", npy("(2,)", "<i8", bytes(16)))
    return packed.getvalue()


def idx(sizes: tuple[int, ...], values: int) -> bytes:
    return gzip.compress(bytes([0, 0, 8, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes) + bytes(values))


class Opened:
    """What a pickle would run."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("pickle-was-loaded",)


LABELS = idx((4,), 4)
ENDLESS = b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**30)
LARGEST = 2**20  # bytes that the refusals below are made for

BOMBS: dict[str, tuple[bytes, str]] = {
    "a trillion values": (zipped({"x.npy": npy("(1000000, 1000000)"), "y.npy": npy("(1,)")}), "1000000, 1000000"),
    "a shape without end": (zipped({"x.npy": npy(f"({10**30},)"), "y.npy": npy("(1,)")}), "at most"),
    "many values, well packed": (zeros("x.npy", npy("(33554432, 1)", "|u1"), 2**25), "134,217,736 bytes; at most"),
    "zeros without number": (zeros("zeros.bin", b"", 2**28), "a zip of zeros.bin; it must be"),
    "a header without end": (
        zeros("x.npy", b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**30), 2**26),
        "not a .npz archive",
    ),
    "pickled objects": (npz(x=np.array([Opened(), 1]), y=np.arange(2)), "pickled objects, which are never loaded"),
    "pickled labels": (npz(x=np.eye(2), y=np.array([Opened(), 1])), "pickled objects, which are never loaded"),
    "a pickle": (pickle.dumps(Opened()), "a pickle, which is never loaded"),
    "names that lead out": (zipped({"../../x.npy": npy("(1,)"), "y.npy": b""}), "names in it must be plain"),
    "names from the root": (zipped({"/etc/x.npy": npy("(1,)")}), "names in it must be plain"),
    "many files": (zipped({f"{each}.npy": b"" for each in range(101)}), "holds 101 files; at most 100"),
    "half a zip": (npz(x=np.random.default_rng(0).random((9, 9)), y=np.arange(9) % 2)[:400], "not a zip archive"),
    "a gzip": (gzip.compress(b"a,label\n1,2\n"), "gzip data; it must be"),
    "a gzip that grows beyond its header": (
        zipped({f"{PARTS[0]}.gz": idx((4, 1, 1), 2**26)} | {f"{part}.gz": LABELS for part in PARTS[1:]}),
        "but more bytes follow",
    ),
    "half a gzip": (zipped({f"{PARTS[0]}.gz": idx((4, 9, 9), 324)[:30]}), "damaged or truncated"),
    "one long field": (b"x,label\n" + b"1" * 20_000_000 + b",a\n", "line 2 is longer than 16,777,216 characters"),
    "a long field": (b"x,label\n" + b"1" * 200_000 + b",a\n", "field larger than"),
    "a million columns": (b"x," * 1_000_000 + b"label\n", "1,000,001 columns; at most 262,144"),
    "many values in a table": (b"x,label\n" + b"1,2\n" * 140_000, "more than 131,072 values"),
    "a long label": (b"x,label\n1,a\n2," + b"b" * 100_000 + b"\n", "a label of 100,000 characters; at most 200"),
    "a quote that never ends": (b'x,label\n1,"' + b"a\n" * 200_000, "field larger than"),
    "no text": (bytes(range(256)), "not a CSV file in UTF-8"),
    "nothing": (b"", "the file is empty"),
}
BOMBS["a gzip that grows"] = (
    zipped({f"{PARTS[0]}.gz": idx((64, 1024, 1024), 2**26)} | {f"{part}.gz": LABELS for part in PARTS[1:]}),
    "at most 262,144 are read",
)
