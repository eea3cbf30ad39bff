"""The presets: named configs, each with its source, its command, its run time and the expected result.

A preset is a starting point: `Config.replace` makes another config of it.
"""

import types

from modadd_jax.config import Config

# Run times are of one seed on two CPU cores, from the times of a step in docs/performance.md; compilation and
# evaluations come on top. Several seeds take about that time each.
#
# mainline   python -m experiments.train; about a minute and a half.
#   Source: Gross et al., public training code (JasonGross/guarantees-based-mechanistic-interpretability,
#   gbmi/exp_modular_arithmetic, the pizza configuration). That the paper's figures show these models is
#   inferred: this width gives the mean gap of the paper's Figure 3. Gross et al. train in float64
#   (--dtype float64), which takes about twice as long.
#   Expected: every pair right; more than half of the seeds clean, seed 0 among them (docs/results/paper.md).
_MAINLINE = Config().replace(
    p=59, d_model=128, n_heads=4, d_mlp=512, attention_rate=1.0, attention_scale="1/n_ctx", eq_token=False,
    biases="mlp", init="gbmi", train_fraction=0.8, num_steps=10_000, learning_rate=1e-3, weight_decay=1.0,
    beta1=0.9, beta2=0.98, warmup_steps=10, loss="log1p", eval_every=250, checkpoint_every=2_500,
)  # fmt: skip

# p113   python -m experiments.train --preset p113; about three minutes.
#   Source: the p = 113 of Nanda et al. and Gross et al. with `=`, symmetric in a and b, and the orthogonal
#   initialisation of this project (docs/theory.md section 4.8).
#   Expected: every pair right in nearly every seed; more than half of the seeds clean, seed 0 among them
#   (docs/results/p113.md).
_P113 = Config().replace(
    p=113, d_model=128, n_heads=4, d_mlp=512, attention_rate=1.0, attention_scale="1/n_ctx", eq_token=True,
    biases="off", init="orthogonal", train_fraction=0.8, num_steps=10_000, learning_rate=1e-3,
    weight_decay=1.0, beta1=0.9, beta2=0.98, warmup_steps=10, loss="log1p", eval_every=250,
    checkpoint_every=2_500,
)  # fmt: skip

# gbmi   python -m experiments.train --preset gbmi; about eight minutes.
#   Source: Gross et al., the p = 113 setting (paper, appendix on experimental details).
#   Expected: every pair right in nearly every seed; seed 0 is muddy (docs/earlier_measurements.md).
_GBMI = _P113.replace(init="gbmi", train_fraction=0.4, num_steps=25_000)

# zhong   python -m experiments.train --preset zhong; about two minutes.
#   Source: Zhong et al.'s pizza: no `=`, constant 1 for each key, trained MLP biases.
#   Expected: every pair right; a pizza by Zhong et al.'s metrics (docs/results/attention_rate.md, rate 1).
_ZHONG = _P113.replace(
    p=59, eq_token=False, attention_scale="1", biases="mlp", init="nanda", weight_decay=2.0, num_steps=20_000
)

# quick   python -m experiments.train --preset quick; about a minute.
#   Source: p113 with the modulus of mainline, for trying things out.
#   Expected: every pair right by step 1,000; seed 0 is clean (docs/performance.md).
_QUICK = _P113.replace(p=59, num_steps=6_000, eval_every=100, checkpoint_every=1_000)

# clean   python -m experiments.train --preset clean; about two minutes.
#   Source: mainline. Three times, one key is cut in every seed that is not clean and has more than two, and
#   training continues (docs/theory.md section 3.7).
#   Expected: every pair right; nearly every seed clean (docs/results/clean.md).
_CLEAN = _MAINLINE.replace(cut_steps="2500:2+3000:2+3500:2")

# Read-only: a preset is a starting point, `Config.replace` makes another.
PRESETS = types.MappingProxyType(
    {"mainline": _MAINLINE, "p113": _P113, "gbmi": _GBMI, "zhong": _ZHONG, "quick": _QUICK, "clean": _CLEAN}
)


def preset(name: str) -> Config:
    """The config of a preset: mainline, p113, gbmi, zhong, quick or clean.

    The head of this module says what each is. Raises ValueError for an unknown name.

    >>> preset("quick").model.p
    59
    """
    if not isinstance(name, str) or name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}: choose one of {', '.join(PRESETS)}")
    return PRESETS[name]
