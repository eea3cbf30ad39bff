"""Random state dicts of both conventions, their logits in plain NumPy, and a .pt writer without torch."""

import pickle
import struct
import zipfile

import numpy as np


def random_state(source, p=7, heads=3, d_head=4, m=11, eq=False, separate=False, biases="mlp", seed=0):
    """float32; deviation 0.4, so that no term drowns the others. Zhong's unembedding has all V columns."""
    rng = np.random.default_rng(seed)
    n, d_model, vocab = 2 + eq, heads * d_head, p * (1 + separate) + eq
    zhong = source == "zhong"
    shapes = {
        "embed.W_E": (d_model, vocab) if zhong else (vocab, d_model),
        "pos_embed.W_pos": (n, d_model),
        **{
            f"blocks.0.attn.W_{x}": (heads, d_head, d_model) if zhong else (heads, d_model, d_head)
            for x in "QKV"
        },
        "blocks.0.attn.W_O": (d_model, heads * d_head) if zhong else (heads, d_head, d_model),
        "blocks.0.mlp.W_in": (m, d_model) if zhong else (d_model, m),
        "blocks.0.mlp.W_out": (d_model, m) if zhong else (m, d_model),
        "unembed.W_U": (d_model, vocab if zhong else p),
    }
    if biases in ("mlp", "all"):
        shapes |= {"blocks.0.mlp.b_in": (m,), "blocks.0.mlp.b_out": (d_model,)}
    if biases == "all":
        shapes |= {f"blocks.0.attn.b_{x}": (heads, d_head) for x in "QKV"}
        shapes |= {"blocks.0.attn.b_O": (d_model,), "unembed.b_U": (p,)}
    state = {name: np.float32(0.4 * rng.normal(size=shape)) for name, shape in shapes.items()}
    return state | {"blocks.0.attn.mask": np.tril(np.ones((n, n), np.float32))}


def logits_of(state, source, p, rate, constant, separate=False):
    """Logits [p, p, p] as the original code computes them, in float64, one pair at a time."""
    f64 = {name: array.astype(np.float64) for name, array in state.items()}
    w_e, w_pos, w_u = f64["embed.W_E"], f64["pos_embed.W_pos"], f64["unembed.W_U"]
    attn = {name.rsplit(".", 1)[1]: x for name, x in f64.items() if ".attn." in name}
    mlp = {name.rsplit(".", 1)[1]: x for name, x in f64.items() if ".mlp." in name}
    equals = [p * (1 + separate)] if len(w_pos) == 3 else []
    result = np.zeros((p, p, p))
    for a in range(p):
        for b in range(p):
            tokens = [a, b + p * separate, *equals]
            if source == "zhong":
                x = w_e[:, tokens].T + w_pos
                q, k, v = (np.einsum("hed,nd->hne", attn[f"W_{s}"], x) for s in "QKV")
            else:
                x = w_e[tokens] + w_pos
                q, k, v = (
                    np.einsum("nd,hde->hne", x, attn[f"W_{s}"])
                    + np.broadcast_to(attn.get(f"b_{s}", np.zeros(1)), attn["W_Q"].shape[::2])[:, None, :]
                    for s in "QKV"
                )
            scores = np.einsum("hie,hje->hij", q, k) / np.sqrt(q.shape[-1])
            scores = np.where(attn["mask"][None] == 0, -np.inf, scores)  # causal
            e = np.exp(scores - scores.max(axis=-1, keepdims=True))
            pattern = (1 - rate) * e / e.sum(axis=-1, keepdims=True) + rate * constant
            z = np.einsum("hij,hje->ihe", pattern, v)  # the constant is the same with and without the mask:
            if source == "zhong":  # only the last position is read, which sees every key
                x = x + z.reshape(len(x), -1) @ attn["W_O"].T
                h = np.maximum(x @ mlp["W_in"].T + mlp["b_in"], 0)
                x = x + h @ mlp["W_out"].T + mlp["b_out"]
            else:
                x = x + np.einsum("ihe,hed->id", z, attn["W_O"]) + attn.get("b_O", 0.0)
                h = np.maximum(x @ mlp["W_in"] + mlp.get("b_in", 0.0), 0)
                x = x + h @ mlp["W_out"] + mlp.get("b_out", 0.0)
            result[a, b] = (x @ w_u)[-1, :p] + f64.get("unembed.b_U", 0.0)
    return result


def _text(word):
    return b"X" + struct.pack("<I", len(word)) + word.encode()


def _ints(numbers):
    return b"(" + b"".join(b"J" + struct.pack("<i", n) for n in numbers) + b"t"


def write_pt(path, state, edit=lambda pickle: pickle, storage="FloatStorage", compression=zipfile.ZIP_STORED):
    """What torch.save writes for a state dict of contiguous float32 tensors; `edit` changes the pickle."""
    body = b"\x80\x02ccollections\nOrderedDict\n)R("
    for key, (name, array) in enumerate(state.items()):
        strides = [step // array.itemsize for step in np.empty(array.shape, array.dtype).strides]
        body += _text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n(("
        body += _text("storage") + f"ctorch\n{storage}\n".encode() + _text(str(key)) + _text("cpu")
        body += b"J" + struct.pack("<i", array.size) + b"tQK\x00" + _ints(array.shape) + _ints(strides)
        body += b"\x89ccollections\nOrderedDict\n)RtR"
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", edit(body + b"u."))
        for key, array in enumerate(state.values()):
            archive.writestr(f"archive/data/{key}", np.ascontiguousarray(array).tobytes())
        archive.writestr("archive/version", "3\n")


def write_old_pt(path, state, storage="FloatStorage"):
    """What torch.save wrote before 1.6: pickles in a row, then the storages, each after its length."""

    body = b"\x80\x02}("
    for key, (name, array) in enumerate(state.items()):
        strides = [step // array.itemsize for step in array.strides]
        body += _text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n((" + _text("storage")
        body += f"ctorch\n{storage}\n".encode() + _text(str(key)) + _text("cpu")
        body += b"J" + struct.pack("<i", array.size) + b"NtQK\x00" + _ints(array.shape) + _ints(strides)
        body += b"\x89}tR"
    head = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    with path.open("wb") as file:
        for thing in head:
            pickle.dump(thing, file, protocol=2)
        file.write(body + b"u.")
        pickle.dump([str(key) for key in range(len(state))], file, protocol=2)
        for array in state.values():
            file.write(struct.pack("<q", array.size) + array.tobytes())
