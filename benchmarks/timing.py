"""What the benchmarks share: timing of calls, and lists of sizes from flags."""

import time

import jax
from absl import flags


def once(call, *inputs) -> tuple[float, float, object]:
    """Wall and processor seconds of one call, until its result is there, and the result."""
    starts = time.perf_counter(), time.process_time()
    result = jax.block_until_ready(call(*inputs))
    return time.perf_counter() - starts[0], time.process_time() - starts[1], result


def repeated(call, *inputs, repeats: int) -> tuple[list[float], list[float], object]:
    """Wall and processor seconds of each of `repeats` calls after one that compiles, and the result.

    Processor time is of all cores; load from other processes hardly changes it.
    """
    once(call, *inputs)
    wall, cpu, results = zip(*(once(call, *inputs) for _ in range(repeats)), strict=True)
    return list(wall), list(cpu), results[-1]


def sizes(flag: flags.FlagHolder, least: int = 1) -> list[int]:
    """The whole numbers of a list flag. Raises ValueError, naming the flag."""
    texts = [text.strip() for text in flag.value]
    if not texts or not all(text.isdecimal() and int(text) >= least for text in texts):
        raise ValueError(
            f"{flag.name} must be whole numbers from {least} on with commas between, "
            f"got {','.join(flag.value)!r}"
        )
    return [int(text) for text in texts]
