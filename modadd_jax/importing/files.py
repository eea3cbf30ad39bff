"""State dicts on disk: .npz, .safetensors, and PyTorch's .pt and .pth. Nothing that a file says is executed.

A .pt file is a zip of one pickle and the tensors' bytes. With torch installed, torch reads it
(weights_only=True). Without, it is read here: the pickle may call nothing but the two functions that say
where a tensor's bytes are, and anything else in it is refused by name. That covers what torch.save has
written since version 1.6; older files need torch.
"""

import collections
import importlib.util
import io
import pickle
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

SUFFIXES = (".npz", ".safetensors", ".pt", ".pth")

# torch's storage classes by NumPy type; bfloat16, which NumPy lacks, is read as raw bits.
STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
}


def read_state(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a file by name. Raises ValueError, one line, for a file that is none of these."""
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path} must end in {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise ValueError(f"{path} does not exist, or is no file")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                state = {name: arrays[name] for name in arrays.files}
        elif path.suffix == ".safetensors":
            from safetensors.numpy import load_file

            state = load_file(path)
        elif importlib.util.find_spec("torch") is not None:
            state = _read_with_torch(path)
        else:
            state = _read_pt(path)
    except Exception as error:  # each library raises its own kinds for a damaged file
        raise ValueError(f"{path} cannot be read: {error}") from error
    if not state:
        raise ValueError(f"{path} holds no tensor")
    return state


def write_state(path: Path, state: dict[str, np.ndarray]) -> None:
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


def _read_with_torch(path: Path) -> dict[str, np.ndarray]:
    import torch

    state = torch.load(path, map_location="cpu", weights_only=True)
    return {name: _numpy(torch, name, tensor) for name, tensor in _named(state)}


def _numpy(torch, name, tensor) -> np.ndarray:
    if not isinstance(tensor, torch.Tensor):
        raise ValueError(f"{name!r} is no tensor but {type(tensor).__name__}: save the state dict alone")
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _named(state):
    """Items of a state dict. Raises ValueError for anything else."""
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise ValueError("it holds no state dict, that is no tensors by name")
    return state.items()


class _Storage(NamedTuple):
    """The numbers that tensors are cut from."""

    numbers: np.ndarray  # [N]


class _Tensor(NamedTuple):
    array: np.ndarray


def _rebuild_tensor(storage, offset, size, stride, *_):
    """torch._utils._rebuild_tensor_v2, with the check that every number lies in the storage."""
    numbers = storage.numbers
    whole = (offset, *size, *stride)
    if not all(type(x) is int and x >= 0 for x in whole) or len(size) != len(stride):
        raise pickle.UnpicklingError(f"a tensor has size {size}, stride {stride} and offset {offset}")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    count = int(np.prod(size, dtype=object))
    if count > numbers.size or (count and last >= numbers.size):
        raise pickle.UnpicklingError(f"a tensor of {size} reaches beyond its {numbers.size} stored numbers")
    strides = [step * numbers.itemsize for step in stride]
    return _Tensor(np.lib.stride_tricks.as_strided(numbers[offset:], size, strides).copy())


def _rebuild_parameter(tensor, *_):
    """torch._utils._rebuild_parameter: a tensor that was trained."""
    return tensor


class _Unpickler(pickle.Unpickler):
    """Knows the names below and no other."""

    ALLOWED = {  # noqa: RUF012
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
        ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
        **{("torch", name): kind for name, kind in STORAGES.items()},
    }

    def __init__(self, archive: zipfile.ZipFile, root: str):
        self.archive, self.root = archive, root
        self.storages: dict[str, _Storage] = {}
        super().__init__(io.BytesIO(archive.read(f"{root}data.pkl")))

    def find_class(self, module, name):
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}; only tensors are read, and nothing was executed "
                "(if the file is your own, save the state dict alone, or as .npz)"
            )
        return self.ALLOWED[module, name]

    def persistent_load(self, reference):
        kind, storage, key, *_ = reference
        if kind != "storage" or storage not in STORAGES.values():
            raise pickle.UnpicklingError(f"it refers to {kind!r} {storage!r}, which is no tensor's storage")
        if key not in self.storages:
            raw = self.archive.read(f"{self.root}data/{key}")
            if storage == "bfloat16":  # the upper half of a float32
                numbers = (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")
            else:
                numbers = np.frombuffer(raw, storage)
            self.storages[key] = _Storage(numbers)
        return self.storages[key]


def _read_pt(path: Path) -> dict[str, np.ndarray]:
    """A .pt file without torch."""
    if not zipfile.is_zipfile(path):
        raise ValueError("it is no zip of tensors; files of torch before 1.6 need torch: pip install torch")
    with zipfile.ZipFile(path) as archive:
        # torch stores and never compresses: then no file unpacks to more than its own size.
        if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
            raise ValueError("it is compressed, which torch.save never does")
        roots = [
            x[: -len("data.pkl")] for x in archive.namelist() if x.count("/") == 1 and x.endswith("/data.pkl")
        ]
        if len(roots) != 1:
            raise ValueError("it has no data.pkl: torch.save did not write it")
        state = _Unpickler(archive, roots[0]).load()
    odd = [name for name, tensor in _named(state) if not isinstance(tensor, _Tensor)]
    if odd:
        raise ValueError(f"{odd[0]!r} is no tensor: save the state dict alone")
    return {name: tensor.array for name, tensor in state.items()}
