"""Runs one function of one seed on many seeds: over all devices of all processes, in waves.

    rows [S, ...] -> waves of [W, ...] -> sharded over the mesh axis "seeds": W / D rows per device

A single row on a CPU may have two devices instead, which share its pairs (`Batches.split`).
A row is everything that one seed has: its number, its rates, its state. Rows are independent, so nothing is
sent between devices during training. Everything here works in the same way on one CPU, on many accelerators,
and on several processes that `initialize` has joined.
Letters in shapes: S rows, W rows in a wave, D devices of all processes.
"""

import contextlib
import functools
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jaxlib
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from modadd_jax.jax_internals import DEVICES_FLAG

AXIS = "seeds"
PAIRS_AXIS = "pairs"  # of the devices that share a row's pairs

# Share of a device's memory that a wave may fill; the rest is for fragmentation and the runtime.
MEMORY_SHARE = 0.8


class Batches(NamedTuple):
    """How S rows are split: `count` waves, one after the other, of `size` rows at once."""

    count: int  # type: ignore[assignment]  # a tuple's method, which nobody calls here
    size: int  # a multiple of the number of devices over `split`
    split: int = 1  # devices that share one row


def initialize(
    coordinator: str | None = None, num_processes: int | None = None, process_id: int | None = None
) -> None:
    """Join the processes of one run. Call before anything else touches JAX.

    Args:
      coordinator: "host:port" of process 0; None finds all three from the cluster's own environment
        (SLURM, Open MPI, cloud TPUs), as jax.distributed.initialize does.
      num_processes, process_id: the number of processes, and the number of this one.
    Raises:
      ValueError: if only some of the three are given or out of range, or if no cluster is found.
    """
    given = {"coordinator": coordinator, "num_processes": num_processes, "process_id": process_id}
    missing = [name for name, value in given.items() if value is None]
    if 0 < len(missing) < 3:
        raise ValueError(f"{', '.join(missing)} missing: give coordinator, num_processes and process_id")
    if coordinator is not None and num_processes is not None and process_id is not None:
        host, _, port = coordinator.rpartition(":")
        if not host or not port.isdecimal():
            raise ValueError(f"coordinator must be host:port, got {coordinator!r}")
        if num_processes < 1 or not 0 <= process_id < num_processes:
            raise ValueError(
                f"process_id must be in 0..num_processes-1, got {process_id} of {num_processes} processes"
            )
    try:
        jax.distributed.initialize(coordinator, num_processes, process_id)
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"cannot join the processes of this run: {error}") from error


def is_first() -> bool:
    """Whether this process is the one that writes and prints."""
    return jax.process_index() == 0


def any_process(flag: bool) -> bool:
    """Whether the flag is set in any process; the same answer in all of them."""
    if jax.process_count() == 1:
        return flag
    return bool(multihost_utils.process_allgather(np.asarray(flag)).any())


@contextlib.contextmanager
def raise_on_all_processes() -> Iterator[None]:
    """A step that succeeds in all processes or raises in all. No process leaves it before all have reached
    its end.

    Raises the error of this process (ValueError or OSError), or a ValueError if only another process failed.
    """
    error = None
    try:
        yield
    except (ValueError, OSError) as caught:
        error = caught
    if any_process(error is not None):
        raise error or ValueError("another process cannot go on; its output says why")


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_cores(num_rows: int, devices: int | None = None) -> None:
    """Makes the CPU several devices: one for each core, at most one per row, and two for a single row.

    Does nothing if JAX has already started its backends, or if the user has set the number of devices by the
    environment (JAX_NUM_CPU_DEVICES, or DEVICES_FLAG in XLA_FLAGS). An accelerator is used as before: only
    the devices of the CPU are counted here.

    Args:
      num_rows: number of rows that are trained together.
      devices: number of devices; by default as above.
    """
    set_by_user = DEVICES_FLAG in os.environ.get("XLA_FLAGS", "")
    if (set_by_user or jax.config.jax_num_cpu_devices != -1) and devices is None:
        return
    with contextlib.suppress(RuntimeError):  # the backends have started
        jax.config.update("jax_num_cpu_devices", devices or min(cores(), max(num_rows, 2)))


@functools.lru_cache
def mesh(split: int = 1) -> Mesh:
    """All devices of all processes: an axis of rows, and one of the `split` devices that share a row."""
    return Mesh(np.asarray(jax.devices()).reshape(-1, split), (AXIS, PAIRS_AXIS))


def over_seeds(function: Callable, precision: str, group: int | None = None, split: int = 1) -> Callable:
    """jit of `function` over a leading axis of rows, sharded over the mesh, at a matmul precision.

    Args:
      function: of one row.
      precision: as jax.default_matmul_precision takes it.
      group: number of rows of a device that are vmapped together, one group after the other; 0 for all. The
        default is all on an accelerator, and 1 on a CPU. On a CPU a batched matrix product or scatter takes
        longer (benchmarks/sweep.py measures it), and with 1 a seed has the same bits as alone.
      split: number of devices that share each row. `function` sees them as the mesh axis PAIRS_AXIS and must
        return the same on all of them.
    The number of rows must be a multiple of the number of devices over `split`.
    """
    if group is None:
        group = 1 if jax.default_backend() == "cpu" else 0

    def one(row):
        with jax.default_matmul_precision(precision):
            return function(*row)

    def on_a_device(*rows):
        if group == 1:
            return jax.lax.map(one, rows)
        return jax.lax.map(one, rows, batch_size=group) if group else jax.vmap(one)(rows)

    rows = P(AXIS)
    # check_vma: rows share nothing, and devices that share a row all gather its sums.
    return jax.jit(
        jax.shard_map(on_a_device, mesh=mesh(split), in_specs=rows, out_specs=rows, check_vma=False)
    )


def arithmetic(waves: Batches) -> dict[str, Any]:
    """Everything, besides the config, that decides the last bits of a row. Equal values give equal networks.

    On an accelerator this includes the number of rows at once. On a CPU the bits of a row do not depend on
    other rows.
    """
    device = jax.devices()[0]
    return {
        "jax": jax.__version__,
        "jaxlib": jaxlib.__version__,
        "backend": device.platform,
        "device": device.device_kind,
        "machine": platform.machine(),
        "devices": mesh().size,
        "devices_per_seed": waves.split,
        "rows_at_once": waves.size,
        "cores": cores(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def plan(num_rows: int, wave_size: int | None = None, parts: int = 1) -> Batches:
    """The fewest waves of at most `wave_size` rows, all of one size so that one program serves them.

    Args:
      num_rows: S.
      wave_size: largest number of rows at once; None for all. At least one row per device is taken.
      parts: number of parts into which a row can be split. A single row is split on the CPU of one process if
        the number of devices is a multiple of it.
    """
    devices = mesh().size
    can_split = jax.default_backend() == "cpu" and jax.process_count() == 1 and devices % parts == 0
    split = parts if can_split and num_rows == 1 else 1
    devices //= split
    count = 1
    if wave_size is not None:
        count = -(-num_rows // max(wave_size - wave_size % devices, devices))
    return Batches(count, -(-num_rows // (count * devices)) * devices, split)


def scatter(rows: Any, waves: Batches) -> list[Any]:
    """A host's tree of [S, ...] as a tree of [W, ...] for each wave, on the devices.

    The last wave is filled up with copies of the last row; `gather` drops them.
    """
    sharding = NamedSharding(mesh(waves.split), P(AXIS))

    def wave_of(leaf, wave):
        leaf = np.asarray(leaf)
        index = np.arange(wave * waves.size, (wave + 1) * waves.size)
        part = leaf[np.minimum(index, len(leaf) - 1)]
        return jax.make_array_from_callback(part.shape, sharding, lambda where: part[where])

    return [jax.tree.map(lambda leaf, w=w: wave_of(leaf, w), rows) for w in range(waves.count)]


def gather(parts: Sequence[Any], num_rows: int) -> Any:
    """Inverse of `scatter`: NumPy [S, ...] in every process. All processes must call it."""
    if jax.process_count() > 1:
        parts = [multihost_utils.process_allgather(part, tiled=True) for part in parts]
    return jax.tree.map(lambda *leaves: np.concatenate([np.asarray(x) for x in leaves])[:num_rows], *parts)


def bytes_per_row(program: Any, *rows: Any) -> int:
    """Memory that one row of a compiled `over_seeds` program needs on a device, by the compiler's plan.

    Args:
      program: of `over_seeds`.
      rows: its arguments, as shapes or arrays of D rows.
    """
    memory = program.lower(*rows).compile().memory_analysis()
    return memory.temp_size_in_bytes + memory.argument_size_in_bytes + memory.output_size_in_bytes


def device_memory() -> int | None:
    """Bytes that programs may use on the smallest device of this process; None if unknown (CPU)."""
    stats = [device.memory_stats() for device in jax.local_devices()]
    limits = [s["bytes_limit"] for s in stats if s and "bytes_limit" in s]
    return min(limits) if limits else None


def rows_that_fit(bytes_of_a_row: int, memory: int) -> int:
    """Largest number of rows in a wave over all devices, each of `memory` bytes; at least one per device."""
    return max(1, int(MEMORY_SHARE * memory) // bytes_of_a_row) * mesh().size
