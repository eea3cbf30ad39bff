"""Everything of the paper, and beyond, from one command.

    python -m experiments.reproduce                          # train the default model, then everything
    python -m experiments.reproduce --quick                  # the same of the quick preset, in minutes
    python -m experiments.reproduce --workdir runs/mainline  # of a run that is there, or an imported model

Trains what is missing, then does every study of modadd_jax/report/studies.py, as its own command does
it, and writes

    <study>.json   and <study>.md: what each study found
    figures/       every figure as PNG and SVG, in k<k>/ those of each key frequency
    tables/        the tables of the paper and more, as Markdown, CSV and LaTeX
    report.html    one file that opens offline, with an interactive picture of the integral
    results.json   every number that the report prints, with its file and function
    reproduce.json what was done, when, and what failed
    logs/          of each stage that failed, where

Started again, it skips what is finished for the same weights. A stage that fails is named with its reason
and left out of the report; the others go on, and the exit status is 1 at the end. Step, seed and output
are chosen as for experiments.analyze; with --step nothing more is trained.
"""

<<<<<<< HEAD
=======
import functools
import json
import os
import resource
import subprocess
>>>>>>> training
import sys
from pathlib import Path

from absl import flags

from experiments import cli, loading
from modadd_jax import float64
from modadd_jax.config import preset
from modadd_jax.report.reproduce import reproduce
from modadd_jax.report.study import Subject
from modadd_jax.storage.workdir import CONFIG_FILE, Workdir
from modadd_jax.training import loop

QUICK_STEPS = 2_000  # a third of the preset's: every answer is right by 1,000


def define_flags() -> None:
    loading.define_flags()
    flags.DEFINE_bool("quick", False, "Train the quick preset (p = 59) where there is no run yet.")


def train_missing(path: Path, quick: bool) -> None:
    """Trains what the workdir lacks: all of it, or the rest of its own config. Raises ValueError."""
    if (path / CONFIG_FILE).exists():
        workdir = Workdir.open(path)
        config, steps = workdir.config, workdir.steps()
        if config.imported or (steps and steps[-1] >= config.train.num_steps):
            return
    else:
<<<<<<< HEAD
        config = preset("quick").replace(num_steps=QUICK_STEPS) if quick else preset("mainline")
        config = config.replace(early_checkpoints=True)  # which the study dynamics follows
    print(f"training into {path}", flush=True)
    loop.run(config, path)
=======
        config = preset("quick").replace(num_steps=QUICK_STEPS) if _QUICK.value else preset("mainline")
        config = config.replace(early_checkpoints=True)  # which the stage dynamics follows
    print(f"training into {path}", flush=True)
    done = subprocess.run(_command("train", [*cli.flags_of(config), f"--workdir={path}"]), check=False)
    if done.returncode:
        raise ValueError(f"training failed with exit status {done.returncode}: there is nothing to read")


class Records:
    """reproduce.json: what became of each stage."""

    def __init__(self, run: Run):
        self.file, self.of = run.out / RECORD, run.of
        try:
            stages = json.loads(self.file.read_text())["stages"]
        except (OSError, ValueError, KeyError, TypeError):  # none yet, or a broken one
            stages = {}
        self.stages = {name: row for name, row in stages.items() if row.get("of") == run.of}

    def add(self, name: str, **row: Any) -> None:
        self.stages[name] = {"of": self.of, **row}
        report = {"schema_version": SCHEMA_VERSION, "stages": self.stages}
        write_atomically(self.file, json.dumps(report, indent=1) + "\n")

    def done(self, name: str, writes: tuple[str, ...]) -> bool:
        """Whether the stage was done for these weights, and what it wrote is still about them."""
        if self.stages.get(name, {}).get("status") != "done":
            return False
        return all(self._is_ours(self.file.parent / written) for written in writes)

    def _is_ours(self, file: Path) -> bool:
        if file.suffix != ".json":
            return file.exists()
        said = read_json(file)
        if said is None:
            return False
        named = said.get("checkpoint") if isinstance(said.get("checkpoint"), dict) else {}
        # A file about all seeds of a run has the digest of all.
        names = ("step", "seed", "params_sha256") if "seed" in named else ("step",)
        return all(named.get(name, self.of[name]) == self.of[name] for name in names)


def read_json(file: Path) -> dict[str, Any] | None:
    """The dictionary in a file; None where there is no such file or no dictionary in it."""
    try:
        record = json.loads(file.read_text())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _processor_seconds() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def timed(records: Records, name: str, work: Callable[[], str | None], place: str) -> None:
    """Does one stage, records how it went, and says so.

    Args:
      work: returns why it failed, or None; any exception is a failure of this stage alone.
      place: "3/11".
    """
    print(f"[{place}] {name} ...", end=" ", flush=True)
    wall, processor = time.monotonic(), _processor_seconds()
    try:
        failure = work()
    except Exception as error:
        failure = f"{type(error).__name__}: {error}"
    spent = {
        "seconds": round(time.monotonic() - wall, 1),
        "processor_seconds": round(_processor_seconds() - processor, 1),
    }
    if failure is None:
        records.add(name, status="done", **spent)
        print(f"{spent['seconds']:.0f} s", flush=True)
    else:
        records.add(name, status="failed", reason=failure, **spent)
        print(f"FAILED: {failure}", flush=True)


def run_command(run: Run, stage: Stage, environment: dict[str, str]) -> str | None:
    """Runs a stage's command, its output in logs/. Returns why it failed, or None."""
    log = run.out / "logs" / f"{stage.name}.log"
    log.parent.mkdir(exist_ok=True)
    arguments = [f"--workdir={run.loaded.workdir.path}", *stage.flags(run)]
    with log.open("w") as file:
        command = _command(stage.module, arguments)
        done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=environment, check=False)
    if done.returncode:
        last = log.read_text(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        return f"{last[0].removeprefix('error: ')} (exit status {done.returncode}, see {log})"
    missing = [name for name in stage.writes if not (run.out / name).exists()]
    return f"it wrote no {', '.join(missing)}" if missing else None


def read_results(run: Run, stages: dict[str, dict]) -> dict[str, dict]:
    """The JSON files of the stages that are done, and the config, by name of file."""
    results = {CONFIG_FILE: run.loaded.config.to_dict()}
    for stage in STAGES:
        if stages.get(stage.name, {}).get("status") == "done":
            results |= {name: read_json(run.out / name) for name in stage.writes}
    return {name: record for name, record in results.items() if record is not None}


def draw_keys(run: Run, reading: summary.Reading) -> None:
    """Figures 1, 2, 3 and 5 of every key frequency, in figures/k<k>/."""
    drawn = {
        "figure1_finite_sum_to_integral": figures.finite_sum_to_integral,
        "figure2_rectangles": figures.rectangles,
        "figure3_phases": figures.phase_relation,
        "figure5_band": figures.band,
    }
    for frequency in reading.frequencies:
        k = int(frequency.k)
        for name, draw in drawn.items():
            figures.save(draw(reading, k), run.out / "figures" / f"k{k}", name)


def write_tables(run: Run, results: dict[str, dict]) -> None:
    """tables/<name>.md, .csv and .tex of every table whose numbers are there."""
    directory = run.out / "tables"
    directory.mkdir(exist_ok=True)
    for table in tables.all_tables(results):
        for suffix, write in tables.WRITERS.items():
            write_atomically(directory / f"{table.name}.{suffix}", write(table, results))


def write_report(run: Run, reading: summary.Reading, results: dict[str, dict], stages: dict) -> None:
    """report.html, and results.json with the numbers it prints."""
    drawn = {
        file.stem: html.picture(file.read_bytes(), file.with_suffix(".png").read_bytes())
        for file in (run.out / "figures").glob("*.svg")
    }
    page, cited = html.page(reading, results, drawn, stages)
    write_atomically(run.out / "report.html", page)
    numbers = {"schema_version": SCHEMA_VERSION, "checkpoint": run.of, "numbers": cited}
    write_atomically(run.out / "results.json", json.dumps(numbers, indent=1) + "\n")


def prepare() -> Run:
    """Trains what is missing, and finds what the flags name."""
    flags.FLAGS.workdir = flags.FLAGS.workdir or (
        "runs/reproduce_quick" if _QUICK.value else "runs/reproduce"
    )
    path = Path(flags.FLAGS.workdir).absolute()
    if flags.FLAGS.step is None:
        train_missing(path)
    loaded = loading.load_params()
    of = {"step": loaded.step, "seed": loaded.seed, "params_sha256": sha256_of_params(loaded.params)}
    return Run(loaded, loading.out_directory(loaded).absolute(), of)


def run_stages(run: Run, records: Records, environment: dict[str, str], total: int) -> bool:
    """Runs the commands that are not finished. Returns whether there were any."""
    config, steps = run.loaded.config, run.loaded.workdir.steps()
    fresh = False
    for number, stage in enumerate(STAGES, 1):
        place, reason = f"{number}/{total}", stage.why_not(config, steps)
        if reason is not None:
            records.add(stage.name, status="left out", reason=reason)
            print(f"[{place}] {stage.name}: left out, {reason}", flush=True)
        elif records.done(stage.name, stage.writes):
            print(f"[{place}] {stage.name}: finished before", flush=True)
        else:
            fresh = True
            timed(records, stage.name, lambda s=stage: run_command(run, s, environment), place)
    return fresh
>>>>>>> training


def main() -> None:
    values = flags.FLAGS
    values.workdir = values.workdir or ("runs/reproduce_quick" if values.quick else "runs/reproduce")
    if values.step is None:
        train_missing(Path(values.workdir).absolute(), values.quick)
    with float64.enabled():
        loaded = loading.load_params()
        out = loading.out_directory(loaded).absolute()
        failed = reproduce(Subject(loaded.model, loaded.workdir, additive=True), out)
    print(f"\nresults of step {loaded.step}, seed {loaded.seed}, are in {out}")
    if failed:
        print(f"failed: {', '.join(failed)}")
        sys.exit(1)


if __name__ == "__main__":
    cli.run(main, define_flags)
