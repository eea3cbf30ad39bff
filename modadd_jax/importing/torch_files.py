"""PyTorch's .pt and .pth files without torch, of both formats: a zip, or, before torch 1.6, pickles in a row.

The pickle that says which tensors there are may call nothing but the functions below, which say where a
tensor's bytes are. Whatever else it names becomes an `Unknown`, which does nothing: optimisers,
schedulers and configs next to a state dict are passed over, and a state dict that needs one is refused.
"""

import io
import math
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

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
MOST_AXES = 8  # of a tensor
# Of the format before torch 1.6: the first two pickles of such a file.
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


def bfloat16(raw: bytes) -> np.ndarray:
    """Raw bfloat16 as float32, of which it is the upper half."""
    return (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")


class _Kind(NamedTuple):
    """One of STORAGES, which pickles name and never call."""

    dtype: str


class _Storage:
    """The numbers that tensors are cut from, [N]; of the old format they come after the tensors."""

    def __init__(self, dtype: str, count: int):
        self.dtype, self.count = dtype, count
        self.numbers: np.ndarray | None = None

    def fill(self, raw: bytes) -> None:
        self.numbers = bfloat16(raw) if self.dtype == "bfloat16" else np.frombuffer(raw, self.dtype)

    @property
    def n_bytes(self) -> int:
        return self.count * (2 if self.dtype == "bfloat16" else np.dtype(self.dtype).itemsize)


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    size: tuple
    stride: tuple

    def array(self) -> np.ndarray:
        """A view of the storage. Raises ValueError where it reaches beyond."""
        numbers, size, stride = self.storage.numbers, self.size, self.stride
        whole = (self.offset, *size, *stride)
        ok = len(size) == len(stride) <= MOST_AXES and all(type(x) is int and 0 <= x < 2**48 for x in whole)
        if not ok:
            raise ValueError("a tensor has an invalid size, stride or offset")
        last = self.offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        count = math.prod(size)
        if count > numbers.size or (count and last >= numbers.size):
            raise ValueError(f"a tensor of {size} reaches beyond its {numbers.size} stored numbers")
        strides = [step * numbers.itemsize for step in stride]
        return np.lib.stride_tricks.as_strided(numbers[self.offset :], size, strides, writeable=False)


class Unknown:
    """Stands for anything that a pickle names and that is not a tensor. `what` is its name."""

    what = "an object"

    def __new__(cls, *_: Any, **__: Any):
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any):
        pass

    def _ignore(self, *_: Any) -> None:
        pass

    append = extend = __setitem__ = _ignore


class _Dict(dict):
    """collections.OrderedDict, as torch.save writes it: empty at first."""

    def __init__(self, *items: Any):
        if items and items != ([],):
            raise pickle.UnpicklingError("it makes a dictionary in a way that torch.save never does")
        super().__init__()


def _rebuild_tensor(storage, offset, size, stride, *_):
    """torch._utils._rebuild_tensor_v2 and its predecessor."""
    if not isinstance(storage, _Storage):
        raise pickle.UnpicklingError("it makes a tensor of something that is not a storage")
    return _Tensor(storage, offset, tuple(size), tuple(stride))


def _rebuild_parameter(tensor, *_):
    """torch._utils._rebuild_parameter: a tensor that was trained."""
    return tensor


ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _Dict,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    **{("torch", name): _Kind(dtype) for name, dtype in STORAGES.items()},
}


class _Unpickler(pickle._Unpickler):  # in C it takes memory for any memo index
    """Knows ALLOWED and makes an `Unknown` of all else. `find(storage, key)` fills a storage."""

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)  # type: ignore[misc]

    def __init__(self, file, find):
        self.find = find
        self.storages: dict[Any, _Storage] = {}
        super().__init__(file, encoding="latin1")

    def find_class(self, module, name):
        return ALLOWED.get((module, name)) or type("Unknown", (Unknown,), {"what": f"{module}.{name}"})

    def persistent_load(self, reference):
        kind, storage, key, _, count, *_ = reference
        if kind != "storage" or not isinstance(storage, _Kind):
            raise pickle.UnpicklingError("it refers to something that is not a tensor's storage")
        if not isinstance(key, str) or type(count) is not int or count < 0:
            raise pickle.UnpicklingError("it has a storage without a name or a number of numbers")
        if key not in self.storages:
            self.storages[key] = _Storage(storage.dtype, count)
            self.find(self.storages[key], key)
        return self.storages[key]

    def _no_state(self):
        """BUILD: attributes of an object, which nothing here has."""
        self.stack.pop()

    def _set_items(self):
        items = self.pop_mark()
        target = self.stack[-1]
        for key, value in zip(items[::2], items[1::2], strict=True):
            _set(target, key, value)

    def _set_item(self):
        value, key = self.stack.pop(), self.stack.pop()
        _set(self.stack[-1], key, value)

    dispatch[pickle.BUILD[0]] = _no_state
    dispatch[pickle.SETITEMS[0]] = _set_items
    dispatch[pickle.SETITEM[0]] = _set_item


def _set(target, key, value):
    # Tuples nested in each other take exponential time to hash, and lists to print: no message shows one.
    if not isinstance(key, (str, int, float, bytes, type(None))):
        raise pickle.UnpicklingError(f"a dictionary has a key that is a {type(key).__name__}")
    if not isinstance(target, (dict, Unknown)):
        raise pickle.UnpicklingError(f"it sets an item of a {type(target).__name__}")
    target[key] = value


def _never(self):
    raise pickle.UnpicklingError("it holds an instruction that torch.save never writes")


for _code in (
    pickle.DICT, pickle.INST, pickle.OBJ, pickle.EXT1, pickle.EXT2, pickle.EXT4,
    pickle.FROZENSET, pickle.ADDITEMS, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER,
):  # fmt: skip
    _Unpickler.dispatch[_code[0]] = _never


def _arrays(tree: Any, depth: int = 3) -> Any:
    """Tensors as arrays in a tree of dictionaries; deeper than a state dict can be nothing is looked at."""
    if isinstance(tree, _Tensor):
        return tree.array()
    if isinstance(tree, dict) and depth:
        return {name: _arrays(value, depth - 1) for name, value in tree.items()}
    return tree


def read(path: Path) -> Any:
    """What a file holds; see `files.read_file`. Raises what zipfile and pickle raise."""
    with path.open("rb") as file:
        is_zip = file.read(4) == b"PK\x03\x04"
    return _arrays(_read_zip(path) if is_zip else _read_old(path))


def _read_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        # torch stores and never compresses, so that no file unpacks to more than its own size.
        if any(info.compress_type != zipfile.ZIP_STORED for info in members):
            raise ValueError("it is compressed, which torch.save never does")
        if sum(info.file_size for info in members) > path.stat().st_size:
            raise ValueError("its parts overlap, which torch.save never does")
        names = [info.filename for info in members]
        roots = [x.removesuffix("data.pkl") for x in names if x.count("/") == 1 and x.endswith("/data.pkl")]
        if len(roots) != 1:
            raise ValueError("it has no data.pkl: torch.save did not write it")

        def find(storage: _Storage, key: str) -> None:
            storage.fill(archive.read(f"{roots[0]}data/{key}"))

        return _Unpickler(io.BytesIO(archive.read(f"{roots[0]}data.pkl")), find).load()


def _read_old(path: Path) -> Any:
    """Magic number, protocol, facts about the machine, the pickle, its storages' keys, then their bytes."""
    file = io.BytesIO(path.read_bytes())
    waiting: dict[str, _Storage] = {}

    def next_pickle() -> Any:
        return _Unpickler(file, lambda storage, key: waiting.__setitem__(key, storage)).load()

    if next_pickle() != MAGIC or next_pickle() != PROTOCOL:
        raise ValueError("it is neither a zip of tensors nor what torch.save wrote before torch 1.6")
    next_pickle()
    tree, keys = next_pickle(), next_pickle()
    named = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    if not named or sorted(keys) != sorted(waiting):
        raise ValueError("the list of its storages is not that of its tensors")
    for key in keys:
        storage, raw = waiting[key], file.read(8)
        count = struct.unpack("<q", raw)[0] if len(raw) == 8 else -1
        body = file.read(storage.n_bytes) if count == storage.count else b""
        if len(body) != storage.n_bytes:
            raise ValueError(
                f"its storage {key!r} has {count} numbers, not the {storage.count} that it needs"
            )
        storage.fill(body)
    return tree
