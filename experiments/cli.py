"""What the commands share: running a command, flags made from the config, the cache of compiled programs.

A command is a module with `define_flags()` and `main()`, and at its end

    if __name__ == "__main__":
        cli.run(main, define_flags)

Importing a command defines no flags, so any two can be imported in one process. `main` reads flags.FLAGS.
"""

import dataclasses
import importlib.util
import inspect
import logging
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import jax
from absl import app, flags
from absl import logging as absl_logging

from modadd_jax.config import Config, ModelConfig, TrainConfig
from modadd_jax.presets import PRESETS, preset

_PARTS = (("model", ModelConfig), ("train", TrainConfig))
CACHE_BYTES = 1 << 30  # of all compiled programs kept; those of every command at p = 113 take about a tenth


def run(main: Callable[[], None], define_flags: Callable[[], None]) -> None:
    """Run a command: bad flags, ValueError and OSError become one line on stderr and exit status 2."""
    flags.DEFINE_bool("compilation_cache", True, "Keep compiled programs for the next command.")
    define_flags()
    for defined in flags.FLAGS.flags_by_module_dict().items():
        if defined[0].startswith(("experiments.", "benchmarks.")):
            for flag in defined[1]:  # so that --help lists those of a helper too
                flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)

    def parse(argv):
        try:
            extra = flags.FLAGS(argv)[1:]
        except flags.Error as error:
            raise SystemExit(_fail(error)) from error
        if extra:
            raise SystemExit(_fail(f"unexpected argument {extra[0]!r}: every option is a --flag"))
        return argv[:1]

    def guarded(_):
        absl_logging.set_verbosity(absl_logging.WARNING)
        logging.getLogger("jax").setLevel(logging.WARNING)
        warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
        if flags.FLAGS.compilation_cache:
            keep_compiled_programs()
        try:
            main()
        except KeyboardInterrupt:
            # At once: an interpreter that ends in an orderly way waits for XLA's threads.
            print("\nstopped: what is saved stays", file=sys.stderr, flush=True)
            sys.stdout.flush()
            os._exit(128 + signal.SIGINT)
        except BrokenPipeError:  # `| head` has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except (ValueError, OSError) as error:  # OSError: no permission, disk full, a file in the way
            sys.exit(_fail(error))

    app.run(guarded, flags_parser=parse)


def _fail(error: object) -> int:
    print("error: " + " ".join(str(error).split()), file=sys.stderr)
    return 2


def keep_compiled_programs() -> None:
    """Compiles into a persistent cache: the next process that needs the same program reads it from disk.

    JAX_COMPILATION_CACHE_DIR names the cache. If it is set, JAX's own variables configure the cache. By
    default the cache is modadd_jax/ in the user's cache directory and holds at most CACHE_BYTES; the least
    recently used programs leave first.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ or importlib.util.find_spec("filelock") is None:
        return  # JAX keeps to a size only with filelock
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    try:
        (root / "modadd_jax").mkdir(parents=True, exist_ok=True)
    except OSError:  # a home that cannot be written: compile every time
        return
    jax.config.update("jax_compilation_cache_dir", str(root / "modadd_jax"))
    jax.config.update("jax_compilation_cache_max_size", CACHE_BYTES)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def define_config_flags(start: str = "mainline") -> None:
    """A flag for every field of the config, and --preset. A flag that is not given has the value of the
    preset."""
    flags.DEFINE_string("preset", start, f"Preset from which the other flags start: {', '.join(PRESETS)}.")
    define = {
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        bool: flags.DEFINE_bool,
        str: flags.DEFINE_string,
    }
    for part, kind in _PARTS:
        mainline, said = getattr(preset("mainline"), part), field_comments(kind)
        for field in _fields_with_a_flag(kind):
            default = getattr(mainline, field.name)
            define[field.type](
                field.name, None, f"{said[field.name]} ({part}.{field.name}; mainline: {default})."
            )
    flags.DEFINE_string(
        "seeds",
        None,
        "A list of seeds instead of --seed and --num_seeds: 0,50,104, or a file of them.",
    )


def field_comments(kind: type) -> dict[str, str]:
    """The comment behind each field of a part of the config, which says what the field is."""
    return dict(re.findall(r"^    (\w+): .+?  # (.+)$", inspect.getsource(kind), re.MULTILINE))


def _fields_with_a_flag(kind: type) -> list[dataclasses.Field]:
    # seed_list has --seeds; what is trained is a transformer.
    return [field for field in dataclasses.fields(kind) if field.name not in ("seed_list", "architecture")]


def config_from_flags() -> Config:
    """The preset with the flags that were given. Raises ValueError."""
    names = [field.name for _, kind in _PARTS for field in _fields_with_a_flag(kind)]
    given = {name: flags.FLAGS[name].value for name in names if flags.FLAGS[name].value is not None}
    if flags.FLAGS.seeds is not None:
        both = [name for name in ("seed", "num_seeds") if name in given]
        if both:
            raise ValueError(f"--seeds names every seed: leave --{both[0]} out")
        given["seeds"] = parse_seeds(flags.FLAGS.seeds)
    return preset(flags.FLAGS.preset).replace(**given)


def flags_of(config: Config) -> list[str]:
    """The flags of `experiments.train` that say all of a config."""
    seeds = ("seed", "num_seeds") if not config.train.seed_list else ()
    named = [
        f"--{field.name}={getattr(getattr(config, part), field.name)}"
        for part, kind in _PARTS
        for field in _fields_with_a_flag(kind)
        if field.name in seeds or field.name not in ("seed", "num_seeds")
    ]
    return named if seeds else [*named, f"--seeds={','.join(map(str, config.train.seed_list))}"]


def parse_seeds(text: str) -> list[int]:
    """Seeds of a list "0,50,104", or of a file with numbers between commas, spaces or line ends.

    Raises ValueError if the text is neither, OSError if the file cannot be read.
    """
    listed = text
    if not re.fullmatch(r"[-+\d\s,.]*", text):
        if not Path(text).is_file():
            raise ValueError(f"seeds must be whole numbers between commas, or a file of them, got {text!r}")
        listed = Path(text).read_text()
    words = listed.replace(",", " ").split()
    odd = next((word for word in words if not re.fullmatch(r"-?\d+", word)), None)
    if odd is not None:
        raise ValueError(f"seeds must be whole numbers, got {odd!r} in {text}")
    return [int(word) for word in words]
