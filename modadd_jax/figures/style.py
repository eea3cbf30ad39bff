"""One look for all figures, and the only place that writes them.

Widths are those of a two-column page; sizes are in inches, fonts in points. Colours are those of
Okabe and Ito, which readers of any colour vision can distinguish. STIX fonts come with matplotlib, so the
figures look alike on every machine.
"""

import functools
import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator

from modadd_jax import float64
from modadd_jax.analysis.reading import Frequency, Reading, frequency_of

P = ParamSpec("P")
T = TypeVar("T")

SINGLE, DOUBLE = 3.4, 7.0  # inches, width of one and of two columns

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#7F7F7F"
KEY_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)  # key frequencies, heaviest first

STYLE = {
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 9,
    "axes.titlesize": 9,
    "figure.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.title_fontsize": 8,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlepad": 5,
    "axes.labelpad": 3,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "lines.linewidth": 1.0,
    "patch.linewidth": 0.4,
    "figure.dpi": 100,
    "savefig.dpi": 200,  # of PNG files, and of the scatters that are pixels inside SVG files
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.06,
    "svg.hashsalt": "modadd_jax",  # ids in SVG files are random without it
}


def styled(draw: Callable[P, T]) -> Callable[P, T]:
    """Runs a figure function under STYLE and in float64, and restores the caller's settings.

    Raises ValueError if a figure of a reading is given something else.
    """
    first = next(iter(inspect.signature(draw).parameters.values()))

    @functools.wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        given = args[0] if args else kwargs.get(first.name)
        if first.annotation is Reading and not isinstance(given, Reading):
            raise ValueError(
                f"{first.name} must be a Reading, as ma.read gives it, got {type(given).__name__}"
            )
        with mpl.rc_context(STYLE), float64.enabled():
            return draw(*args, **kwargs)

    return wrapper


@styled
def save(fig: Figure, directory: str | Path, name: str) -> list[Path]:
    """Writes name.png and name.svg; the same figure always gives the same bytes of SVG.

    Args:
      fig: of any function of this package.
      directory: made where it does not exist.
      name: of the files, without suffix.
    Returns:
      The two paths.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / f"{name}.{suffix}" for suffix in ("png", "svg")]
    fig.savefig(paths[0])
    fig.set_layout_engine("none")  # found while the PNG was drawn, and as long to find as all the rest
    fig.savefig(paths[1], metadata={"Date": None})
    return paths


def chosen_frequency(reading: Reading, k: int | None) -> Frequency:
    """The key frequency to draw: k, or the heaviest for None.

    Raises ValueError if k is not a key frequency, or the circuit has none.
    """
    if k is not None:
        return frequency_of(reading, k)
    if not reading.frequencies:
        raise ValueError("the circuit has no key frequency, so there is nothing to draw")
    return reading.frequencies[0]


def key_colour(index: int) -> str:
    """Colour of the key frequency of that rank, 0 the heaviest; the same in every figure."""
    return KEY_COLOURS[index % len(KEY_COLOURS)]


def panel(ax: Axes, letter: str, title: str = "", pad: float | None = None) -> None:
    """Bold letter, then the title; pad in points above the axes."""
    ax.set_title(rf"$\mathbf{{{letter}}}$" + (f"   {title}" if title else ""), pad=pad)


def pi_text(x: float) -> str:
    """A multiple of pi/4 in symbols."""
    quarters = round(4 * x / math.pi)
    divisor = math.gcd(quarters, 4)
    n, d = quarters // divisor, 4 // divisor
    if n == 0:
        return "$0$"
    count = {1: "", -1: "-"}.get(n, str(n))
    return rf"${count}\pi$" if d == 1 else rf"${count}\pi/{d}$"


def pi_ticks(axis: mpl.axis.Axis, step: float = math.pi / 2) -> None:
    """Ticks at multiples of step, itself a multiple of pi/4."""
    axis.set_major_locator(MultipleLocator(step))
    axis.set_major_formatter(FuncFormatter(lambda x, _: pi_text(x)))


def r2_text(x: float) -> str:
    """R^2 with two significant digits of 1 - R^2, up to six decimals."""
    missing = 1 - float(x)
    if missing < 5e-7:
        return "$R^2>0.999999$"
    decimals = 3 if missing > 0.01 else min(6, 1 - math.floor(math.log10(missing)))
    return f"$R^2={float(x):.{decimals}f}$"


def neurons_text(n: int) -> str:
    return "1 neuron" if n == 1 else f"{n} neurons"


def signed(x: np.ndarray, p: int) -> np.ndarray:
    """Integers mod p moved to above -p/2 and up to p/2."""
    return (x + (p - 1) // 2) % p - (p - 1) // 2
