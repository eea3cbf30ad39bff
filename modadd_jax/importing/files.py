"""State dicts on disk: .npz, .safetensors, and PyTorch's .pt and .pth. No code in a file is executed.

A file is read as what it holds: arrays, and dictionaries of them. `tensors.tensors_of` finds the state dict
in it. Every size that a file names is compared with the bytes that are there before memory is taken.
"""

import io
import json
import math
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from modadd_jax.importing import torch_files

SUFFIXES = (".npz", ".safetensors", ".pt", ".pth")
LARGEST = 1 << 28  # bytes of a file, and of what it unpacks to: a hundred times a network of this kind

# NumPy's type of a safetensors type; bfloat16, which NumPy lacks, is read as raw bits.
_SAFETENSORS = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "bfloat16",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1", "U8": "<u1", "BOOL": "?",
}  # fmt: skip


def read_file(path: Path) -> Any:
    """What a file holds: a dictionary of arrays, or of such dictionaries and whatever else.

    Raises ValueError, one line, for a file that is none of these, or larger than LARGEST.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path} must end in {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise ValueError(f"{path} does not exist, or is not a file")
    readers = {".npz": _read_npz, ".safetensors": _read_safetensors}
    try:
        size = os.path.getsize(path)
        if size > LARGEST:
            raise ValueError(f"it has {size} bytes, more than {LARGEST}")
        return readers.get(path.suffix, torch_files.read)(path)
    except Exception as error:  # zipfile, pickle and json each raise many kinds for a damaged file
        raise ValueError(f"{path} cannot be read: {error or type(error).__name__}") from error


def write_state(path: Path, state: Mapping[str, np.ndarray]) -> None:
    """Write a .npz or .safetensors file, whole or not at all. Raises ValueError for another suffix."""
    if path.suffix not in SUFFIXES[:2]:
        raise ValueError(f"out {path} must end in .npz or .safetensors")
    temporary = path.with_name(f"{path.stem}.tmp{path.suffix}")
    if path.suffix == ".npz":
        np.savez(temporary, allow_pickle=False, **state)
    else:
        from safetensors.numpy import save_file

        save_file({name: np.ascontiguousarray(array) for name, array in state.items()}, temporary)
    temporary.replace(path)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        unpacked = sum(info.file_size for info in members)
        if unpacked > LARGEST:
            raise ValueError(f"it unpacks to {unpacked} bytes, more than {LARGEST}")
        return {
            info.filename.removesuffix(".npy"): _npy(info.filename, archive.read(info)) for info in members
        }


def _npy(name: str, raw: bytes) -> np.ndarray:
    """An array of the bytes of an .npy file; numpy.load would take memory for any shape that these claim."""
    file = io.BytesIO(raw)
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, in_fortran_order, dtype = header(file)
    if dtype.hasobject:
        raise ValueError(f"{name!r} holds Python objects: reading them would execute code (allow_pickle)")
    if dtype.kind not in "fiub":
        raise ValueError(f"{name!r} holds {dtype}, no numbers")
    body = raw[file.tell() :]
    return _array(name, body, dtype, shape, "F" if in_fortran_order else "C")


def _array(
    name: str, body: bytes, dtype: np.dtype, shape: tuple, order: Literal["C", "F"] = "C"
) -> np.ndarray:
    if len(shape) > torch_files.MOST_AXES or not all(type(n) is int and 0 <= n < 2**48 for n in shape):
        raise ValueError(f"{name!r} has an invalid shape")
    if math.prod(shape) * dtype.itemsize != len(body):
        raise ValueError(f"{name!r} has the shape {shape} of {dtype}, but {len(body)} bytes")
    return np.frombuffer(body, dtype).reshape(shape, order=order)


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    raw = path.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    if len(raw) < 8 or start > len(raw):
        raise ValueError("its header is longer than the file")
    header = json.loads(raw[8:start])
    if not isinstance(header, dict):
        raise ValueError("its header is not a JSON object")
    header.pop("__metadata__", None)
    state, last = {}, len(raw) - start
    for name, entry in header.items():
        kind, (begin, end) = entry["dtype"], entry["data_offsets"]
        if kind not in _SAFETENSORS or not 0 <= begin <= end <= last:
            raise ValueError(f"{name!r} is {kind} at {begin}..{end} of {last} bytes")
        body, dtype = raw[start + begin : start + end], _SAFETENSORS[kind]
        if dtype == "bfloat16":
            body, dtype = torch_files.bfloat16(body).tobytes(), "<f4"
        state[name] = _array(name, body, np.dtype(dtype), tuple(entry["shape"]))
    total = sum(array.nbytes for array in state.values())
    if total > LARGEST:
        raise ValueError(f"its tensors have {total} bytes, more than {LARGEST}")
    return state
