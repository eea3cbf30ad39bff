"""The pages docs/results/*.md from the JSON records in results/: tables, figures and what they say.

    python -m experiments.results            # writes every page; seconds
    python -m experiments.results --check    # writes nothing; fails where a page is not what its records say

A page is made from the template results/<study>/page.md.j2 (modadd_jax/report/results.py says what it may
call). Only pages that change are written.
"""

from pathlib import Path

from absl import flags

from experiments import cli
from modadd_jax.report.results import PAGES, pages
from modadd_jax.storage.workdir import write_atomically


def define_flags() -> None:
    flags.DEFINE_string("root", ".", "The repository, with its folder results.")
    flags.DEFINE_bool("check", False, "Write nothing, and fail where a page is not current.")


def main() -> None:
    root = Path(flags.FLAGS.root)
    if not (root / "results").is_dir():
        raise ValueError(f"{root} has no folder results: run this in the repository, or name it with --root")
    made = pages(root)
    there = {path: (root / path).read_text() for path in made if (root / path).is_file()}
    old = [path for path, text in made.items() if there.get(path) != text]
    stray = [path for path in (root / PAGES).glob("*.md") if path.relative_to(root) not in made]
    if flags.FLAGS.check:
        if old or stray:
            names = ", ".join(str(path) for path in (*old, *stray))
            raise ValueError(f"not what the records say: {names}; make results writes them")
        print(f"{len(made)} files are current")
        return
    for path in old:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(root / path, made[path])
        print(f"wrote {path}")
    for path in stray:
        path.unlink()
        print(f"removed {path.relative_to(root)}, which has no records")
    print(f"{len(made)} files are current")


if __name__ == "__main__":
    cli.run(main, define_flags)
