"""What the commands share: one-line errors, quiet libraries, flags made from the config."""

import dataclasses
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable

from absl import app, flags
from absl import logging as absl_logging

from modadd_jax.config import PRESETS, Config, ModelConfig, TrainConfig, preset

_PARTS = (("model", ModelConfig), ("train", TrainConfig))


def run(main: Callable[[], None]) -> None:
    """Run a command: bad flags, ValueError and OSError become one line on stderr and exit status 2."""

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


def define_config_flags() -> None:
    """A flag for every field of the config, and --preset. A flag not given is the preset's value."""
    flags.DEFINE_string("preset", "mainline", f"Where the other flags start: {', '.join(PRESETS)}.")
    define = {
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        bool: flags.DEFINE_bool,
        str: flags.DEFINE_string,
    }
    for part, kind in _PARTS:
        mainline = getattr(Config(), part)
        for field in dataclasses.fields(kind):
            default = getattr(mainline, field.name)
            define[field.type](field.name, None, f"{part}.{field.name}; mainline: {default}.")


def config_from_flags() -> Config:
    """The preset with the flags that were given. Raises ValueError."""
    names = [field.name for _, kind in _PARTS for field in dataclasses.fields(kind)]
    given = {name: flags.FLAGS[name].value for name in names if flags.FLAGS[name].value is not None}
    return preset(flags.FLAGS.preset).replace(**given)
