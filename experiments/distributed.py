"""The flags with which several processes train together, and the joining."""

from absl import flags

from modadd_jax.training import parallel


def define_flags() -> None:
    """Which processes train together, how many seeds at once, and whether to go on with a run."""
    flags.DEFINE_string(
        "coordinator", None, "host:port of process 0, where several processes train together."
    )
    flags.DEFINE_integer("num_processes", None, "How many processes, with --coordinator.")
    flags.DEFINE_integer("process_id", None, "Which process this is, from 0, with --coordinator.")
    flags.DEFINE_bool(
        "distributed", False, "Find the other processes from the cluster's environment (SLURM, TPU pods)."
    )
    flags.DEFINE_integer("wave_size", None, "Most seeds trained at once; default what the memory holds.")
    flags.DEFINE_bool("resume", True, "Go on with a run that the workdir holds; --noresume refuses to.")


def join() -> None:
    """Joins the other processes where the flags say so; before anything touches JAX. Raises ValueError."""
    values = flags.FLAGS
    if values.wave_size is not None and values.wave_size < 1:
        raise ValueError(f"wave_size must be at least 1, got {values.wave_size}")
    cluster = (values.coordinator, values.num_processes, values.process_id)
    if values.distributed or any(value is not None for value in cluster):
        parallel.initialize(*cluster)
