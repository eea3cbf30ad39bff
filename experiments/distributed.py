"""The flags with which several processes train together, and the joining."""

from absl import flags

from modadd_jax.training import parallel


def define_flags() -> None:
    """Which processes train together, how many seeds at once, and whether to go on with a run."""
    flags.DEFINE_string("coordinator", None, "host:port of process 0, if several processes train together.")
    flags.DEFINE_integer("num_processes", None, "Number of processes, with --coordinator.")
    flags.DEFINE_integer("process_id", None, "Number of this process, from 0, with --coordinator.")
    flags.DEFINE_bool(
        "distributed", False, "Find the other processes from the cluster's environment (SLURM, TPU pods)."
    )
    flags.DEFINE_integer(
        "wave_size", None, "Largest number of seeds trained at once; default: as many as fit into memory."
    )
    flags.DEFINE_integer(
        "host_devices",
        None,
        "Number of devices that the CPU becomes; default: one per core for several seeds, two for one seed.",
    )
    flags.DEFINE_bool("resume", True, "Go on with a run that the workdir holds; --noresume refuses to.")


def join(num_rows: int) -> None:
    """Joins the other processes where the flags say so, else makes use of all cores (`parallel.use_cores`).

    Before anything touches JAX. Raises ValueError.
    """
    values = flags.FLAGS
    for name in ("wave_size", "host_devices"):
        if values[name].value is not None and values[name].value < 1:
            raise ValueError(f"{name} must be at least 1, got {values[name].value}")
    cluster = (values.coordinator, values.num_processes, values.process_id)
    if values.distributed or any(value is not None for value in cluster):
        parallel.initialize(*cluster)
    else:
        parallel.use_cores(num_rows, values.host_devices)
