"""Damaged and adversarial files of weights, all made of a seed, and what the import does with each.

    python -m tests.malformed                      # the table, of made-up networks
    python -m tests.malformed --samples DIR        # of the .pt and .pth files of a folder too

One process reads one file after the other. An outcome is an import that answers rightly, or a ValueError, of
which the command makes one line; anything else is a failure. The table counts outcomes by kind of damage, and
names the slowest file and the most memory.
"""

import io
import json
import pickle
import resource
import struct
import sys
import time
import zipfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from modadd_jax.constructed import Group, circuit_of, uniform_nodes
from modadd_jax.importing import detect
from modadd_jax.importing.registry import CONVENTIONS
from tests.state_dicts import write_old_pt, write_pt

MOST_BYTES, MOST_SECONDS = 2 << 30, 60.0


class File(NamedTuple):
    """One damaged file."""

    kind: str
    name: str  # with its suffix
    raw: bytes


def networks(p=11, m=16):
    """A state dict of each convention, float32."""
    nodes, ones = np.asarray(uniform_nodes(m)), np.ones(m)
    circuit = circuit_of((Group(2, nodes, ones, ones),), p)
    circuit = type(circuit)(*map(np.asarray, circuit))
    return {
        name: {key: np.ascontiguousarray(x, np.float32) for key, x in convention.example(circuit).items()}
        for name, convention in CONVENTIONS.items()
    }


def saved(state, suffix, folder):
    """The bytes of a state dict as a file of that kind."""
    from modadd_jax.importing.files import write_state

    file = folder / f"made{suffix}"
    {".pt": write_pt, ".pth": write_old_pt}.get(suffix, write_state)(file, state)
    raw = file.read_bytes()
    file.unlink()
    return raw


def _flipped(raw, rng):
    changed = bytearray(raw)
    for place in rng.integers(0, len(raw), rng.integers(1, 9)):
        changed[place] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def damaged(originals, rng, each):
    """Bit flips, some of them in the first bytes where names and sizes are, and truncations."""
    for name, raw in originals.items():
        for number in range(each):
            yield File("bit flips", f"{number}-{name}", _flipped(raw, rng))
            head = min(len(raw), 600)
            yield File("bit flips in the head", f"{number}-{name}", _flipped(raw[:head], rng) + raw[head:])
            yield File("truncated", f"{number}-{name}", raw[: int(rng.integers(0, len(raw)))])
            place, size = int(rng.integers(0, len(raw))), int(rng.integers(1, 200))
            yield File(
                "bytes of another", f"{number}-{name}", raw[:place] + rng.bytes(size) + raw[place + size :]
            )


def _npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def changed(states, rng):
    """State dicts that are well stored and wrong."""
    for name, state in states.items():
        keys = [key for key, x in state.items() if x.ndim == 2]
        key = keys[int(rng.integers(len(keys)))]
        x = state[key]
        edits = {
            "wrong shape": {key: x[:-1]},
            "transposed": {key: np.ascontiguousarray(x.T)},
            "NaN": {key: np.where(np.arange(x.size).reshape(x.shape) == 3, np.nan, x)},
            "infinity": {key: np.where(np.arange(x.size).reshape(x.shape) == 3, np.inf, x)},
            "too large for float32": {key: np.float64(x) + 1e300},
            "0-d tensor": {key: np.float32(1)},
            "empty tensor": {key: np.zeros((0, x.shape[1]), np.float32)},
            "integers": {key: np.int64(10 * x)},
            "booleans": {key: x > 0},
            "float16": {key: np.float16(x)},
            "zeros": {key: np.zeros_like(x)},
            "noise": {key: np.float32(rng.normal(size=x.shape))},
            "tied": {other: state[key] for other in keys if state[other].shape == x.shape},
            "two layers": {"blocks.1.mlp.W_in": x},
            "layer norm": {"blocks.0.ln1.w": x[0]},
            "a further tensor": {"further": x},
            "names with separators": {"../../etc/x": x, "/root/x": x, "a\nb": x},
        }
        for kind, edit in edits.items():
            yield File(kind, f"{name}.npz", _npz(**(state | edit)))
        yield File("missing", f"{name}.npz", _npz(**{k: v for k, v in state.items() if k != key}))
        yield File("no more than one", f"{name}.npz", _npz(**{key: x}))


class _Runs:
    def __init__(self, what):
        self.what = what

    def __reduce__(self):
        return self.what


def _zip(**files):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, raw in files.items():
            archive.writestr(name, raw)
    return file.getvalue()


def _pt(pickled):
    return _zip(**{"archive/data.pkl": pickled, "archive/version": b"3\n"})


def _npy(shape, body=b"", dtype="<f4"):
    header = repr({"descr": dtype, "fortran_order": False, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


def _safetensors(header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def _bomb(size):
    file = io.BytesIO()
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("W_in.npy", "w") as member,
    ):
        for _ in range(size >> 20):
            member.write(bytes(1 << 20))
    return file.getvalue()


def hostile(canary):
    """Files that want something done, or memory, or time. `canary`: a path that nothing may make."""
    calls = {
        "os.system": (__import__("os").system, (f"touch {canary}",)),
        "eval": (eval, (f"open({str(canary)!r}, 'w')",)),
        "exec": (exec, (f"open({str(canary)!r}, 'w')",)),
        "open": (open, (str(canary), "w")),
        "exit": (sys.exit, (0,)),
    }
    for name, call in calls.items():
        for where, tree in (
            ("alone", _Runs(call)),
            ("inside", {"W_in": _Runs(call), "model": {"x": _Runs(call)}}),
        ):
            yield File("pickle that calls", f"{name}-{where}.pt", _pt(pickle.dumps(tree)))
            yield File("pickle that calls", f"{name}-{where}-old.pt", pickle.dumps(tree))
        objects = io.BytesIO()
        np.savez(objects, x=np.array([_Runs(call)], object))
        yield File("object array", f"{name}.npz", objects.getvalue())
    laughs = (
        b"\x80\x02"
        + b"]q\x00"
        + b"".join(
            b"](" + b"h" + bytes([i]) * 1 + (b"h" + bytes([i])) * 9 + b"eq" + bytes([i + 1])
            for i in range(60)
        )
    )
    tuples = (
        b"\x80\x02}"
        + b"K\x01q\x00"
        + b"".join(b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(60))
    )
    pickles = {
        "memo of 2^31": b"\x80\x02}r\xff\xff\xff\x7f.",
        "lists of lists": laughs + b".",
        "tuples as a key": tuples + b"K\x00s.",
        "deep": b"\x80\x02" + b"]" * 20_000 + b"a" * 19_999 + b".",
        "long text": b"\x80\x02X\xff\xff\xff\x7fabc.",
        "8 byte length": b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7fabc.",
        "large frame": b"\x80\x04\x95" + b"\xff" * 7 + b"\x7f}.",
        "unknown opcode": b"\x80\x02\xfe.",
        "empty": b"",
        "extension": b"\x80\x02\x82\x01.",
        "a set": b"\x80\x04\x8f(K\x01\x90.",
        "no end": b"\x80\x02}",
        "storage that is none": b"\x80\x02(X\x01\x00\x00\x00aK\x01K\x02K\x03K\x04tQ.",
        "set state of a function": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}b.",
        "getattr": b"\x80\x02cbuiltins\ngetattr\n(cos\nsystem\nX\x08\x00\x00\x00__call__tR.",
    }
    for name, raw in pickles.items():
        yield File("hostile pickle", f"{name}.pt", _pt(raw))
        yield File("hostile pickle", f"{name}-old.pth", raw)
    bomb = _bomb(300 << 20)
    yield File("zip bomb", "bomb.npz", bomb)
    yield File("zip bomb", "bomb.pt", bomb)
    few = {"u": np.ones((9999, 3)), "v": np.ones((9999, 3)), "W_L": np.ones((3, 9999))}
    lying = bytearray(_bomb(1 << 22))
    at = lying.rindex(b"PK\x01\x02") + 24
    lying[at : at + 4] = struct.pack("<I", 10)
    yield File("zip bomb", "lying.npz", bytes(lying))
    for name in ("../../up.npy", "/up.npy", "a/../../b.npy", "C:\\x.npy", "\u202ex.npy"):
        yield File("path separators", f"{len(name)}.npz", _zip(**{name: _npy((2,), bytes(8))}))
    shapes = [(2**40,), (2**40, 2**40), (-1,), (10**30,), (1,) * 40, (2**20, 0), (3, 3), (1e9,), ("x",)]
    for number, shape in enumerate(shapes):
        yield File("shape that lies", f"{number}.npz", _zip(**{"W_in.npy": _npy(shape, bytes(8))}))
    for number, dtype in enumerate(["<U9", "V8", "O", "<M8[s]", "<c16", ">f4", "<f16", "no"]):
        yield File("other types", f"{number}.npz", _zip(**{"W_in.npy": _npy((1,), bytes(16), dtype)}))
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    headers = [
        {"x": entry | {"shape": [2**60]}}, {"x": entry | {"data_offsets": [0, 2**60]}},
        {"x": entry | {"shape": [-2]}},
        {"x": entry | {"dtype": "F8"}}, {"x": entry | {"dtype": ["F32"]}}, {"x": 3}, {"x": {}}, [entry], 7,
        {"x": entry | {"shape": [[[2]]]}}, {"x": entry | {"data_offsets": [8, 0]}},
        {"x": entry | {"shape": "22"}},
        {"x": entry | {"data_offsets": [-8, 0]}}, {"x": entry | {"shape": [1] * 50}}, {}, b"{",
        b"[" * 100_000,
        b'{"x": NaN}', b"\xff\xfe", {"__metadata__": 3},
    ]  # fmt: skip
    for number, header in enumerate(headers):
        yield File("hostile header", f"{number}.safetensors", _safetensors(header, bytes(8)))
    many = {f"x{i}": entry for i in range(20_000)}
    yield File("hostile header", "many.safetensors", _safetensors(many, bytes(8)))
    yield File("hostile header", "long.safetensors", struct.pack("<Q", 2**63) + b"{}")
    wide = {"W_in": np.ones((200_000, 2), np.float32), "W_out": np.ones((2, 200_000), np.float32)}
    yield File("large modulus", "wide.npz", _npz(**wide))
    yield File(
        "large modulus",
        "tables.npz",
        _npz(**few),
    )
    for name, raw in {
        "empty": b"",
        "text": b"hello\n",
        "zeros": bytes(4096),
        "zip": b"PK\x05\x06" + bytes(18),
    }.items():
        for suffix in (".pt", ".npz", ".safetensors"):
            yield File("no such format", f"{name}{suffix}", raw)


def files(folder, seed=0, each=2, samples=None):
    """All of them, in order. `folder`: for what is made on the way; `samples`: of further originals."""
    rng, states = np.random.default_rng(seed), networks()
    originals = {
        f"{name}{suffix}": saved(state, suffix, folder)
        for name, state in states.items()
        for suffix in (".npz", ".safetensors", ".pt", ".pth")
    }
    yield from (File("whole", name, raw) for name, raw in originals.items())
    if samples is not None:
        found = (*sorted(samples.glob("*.pt")), *sorted(samples.glob("*.pth")))
        originals |= {file.name: file.read_bytes() for file in found}
    yield from damaged(originals, rng, each)
    yield from changed(states, rng)
    yield from hostile(folder / "canary")


def outcome(file, folder):
    """ "imported" or "refused"; raises AssertionError, or whatever the import raised, for anything else."""
    path = folder / file.name.replace("/", "_")
    path.write_bytes(file.raw)
    before = sorted(folder.rglob("*"))
    try:
        found = detect.read(path)
    except ValueError as error:
        return "refused" if str(error) else "without a reason"
    else:
        assert found.chosen.accuracy >= detect.MIN_ACCURACY
        return "imported"
    finally:
        assert sorted(folder.rglob("*")) == before, "something was written"
        path.unlink()


def main(folder, samples):
    table, slowest, start = {}, (0.0, ""), _memory()
    for file in files(folder, samples=samples):
        begun = time.monotonic()
        try:
            result = outcome(file, folder)
        except BaseException as error:
            result = "FAILED"
            said = f"{type(error).__name__}: {str(error)[:200]}"
            print(f"FAILED {file.kind} {file.name}: {said}", file=sys.stderr)
        slowest = max(slowest, (time.monotonic() - begun, f"{file.kind}, {file.name}"))
        table.setdefault(file.kind, Counter())[result] += 1
    print("| files | number | refused in one line | imported rightly | failed |")
    print("| --- | --: | --: | --: | --: |")
    for kind, counts in table.items():
        print(
            f"| {kind} | {counts.total()} | {counts['refused']} | {counts['imported']} | {counts['FAILED']} |"
        )
    total = sum(table.values(), Counter())
    print(f"| all | {total.total()} | {total['refused']} | {total['imported']} | {total['FAILED']} |")
    print(
        f"\nslowest: {slowest[0]:.1f} s ({slowest[1]}); "
        f"most memory: {_memory() >> 20} MiB, {start >> 20} of it before"
    )


def _memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    import tempfile

    given = Path(sys.argv[2]) if len(sys.argv) == 3 and sys.argv[1] == "--samples" else None
    with tempfile.TemporaryDirectory() as place:
        main(Path(place), given)
