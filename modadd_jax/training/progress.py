"""What a run says while it trains, and how it hears that it should stop."""

import math
import signal
import sys
import threading

from tqdm import tqdm

from modadd_jax.config import Config
from modadd_jax.training import parallel


class Progress:
    """A progress bar on a terminal, or else a line for every tenth of the run. Only the first process
    prints."""

    def __init__(self, config: Config, start: int):
        self.total, self.done = config.train.num_steps, start
        self.next_line = start
        self.silent = not parallel.is_first()
        tty = sys.stderr.isatty() and not self.silent
        self.bar = tqdm(total=self.total, initial=start, unit="step", dynamic_ncols=True) if tty else None

    def update(self, step: int, text: str = "") -> None:
        if self.bar is not None:
            if text:
                self.bar.set_postfix_str(text)
            self.bar.update(step - self.done)
        elif text and (step >= self.next_line or step == self.total):
            self.say(f"step {step}/{self.total}  {text}")
            self.next_line = (step // math.ceil(self.total / 10) + 1) * math.ceil(self.total / 10)
        self.done = step

    def say(self, text: str) -> None:
        if not self.silent:
            tqdm.write(text, file=sys.stderr) if self.bar is not None else print(text, flush=True)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


class Preemption:
    """Whether any process of this run was asked to end (SIGTERM). A context manager."""

    def __enter__(self) -> "Preemption":
        self.asked = False
        # Only the main thread can set a signal handler in Python.
        self.heard = threading.current_thread() is threading.main_thread()
        self.before = signal.signal(signal.SIGTERM, self._note) if self.heard else None
        return self

    def __exit__(self, *_) -> None:
        if self.heard:
            signal.signal(signal.SIGTERM, self.before)

    def _note(self, *_) -> None:
        self.asked = True

    def __bool__(self) -> bool:
        return parallel.any_process(self.asked)
