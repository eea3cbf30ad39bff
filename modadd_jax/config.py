"""The config of a run: the model, the training, and the checks on both.

A `Config` is immutable and hashable, so it can be a static argument of a jitted function. Every field of its
two parts is a flag of `experiments.train`; `config.json` in a workdir is `Config.to_dict()`.
"""

import dataclasses
import typing
from collections.abc import Iterable
from typing import Any

from modadd_jax import tasks

ARCHITECTURES = ("transformer", "circuit")
BIASES = ("off", "mlp", "frozen")
INITS = ("orthogonal", "gbmi", "nanda")
SCALES = ("1/n_ctx", "1")
FORWARDS = ("auto", "plain", "folded")
LOSSES = ("log1p", "standard")
DTYPES = ("float32", "float64")
OPTIMIZERS = ("adamw", "adam", "sgd", "muon", "lion", "adagrad", "lamb")
CUT_RULES = ("lightest", "spread", "double", "paths", "random")
# The last two are formats of a GPU's tensor cores, with sums in float32.
PRECISIONS = ("default", "high", "highest", "TF32_TF32_F32", "BF16_BF16_F32")

# Fields that a config.json written before them does not hold; they then have their defaults.
ADDED_LATER = (
    "separate_vocab", "early_checkpoints", "seed_list", "dtype", "optimizer", "final_rate", "final_decay",
    "enlarged", "architecture", "cut_steps", "cut_rule", "cut_keep", "task",
)  # fmt: skip


def _require(ok: bool, message: str) -> None:
    if not ok:
        raise ValueError(message)


def _require_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    _require(value in choices, f"{name} must be one of {', '.join(choices)}, got {value!r}")


def _is_fraction(text: str) -> bool:
    try:
        return 0.0 < float(text) < 1.0
    except ValueError:
        return False


def _require_types(config: Any) -> None:
    """Fields hold what their annotation says (an int is a float, a bool is no int)."""
    for field in dataclasses.fields(config):
        value, kind = getattr(config, field.name), typing.cast(type, field.type)
        ok = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
        ok = ok or (kind is float and type(value) is int)
        _require(ok, f"{field.name} must be {kind.__name__}, got {value!r}")


def _check_seeds(seeds: tuple) -> None:
    for seed in seeds:
        ok = isinstance(seed, int) and not isinstance(seed, bool)
        _require(ok, f"seeds must be whole numbers, got {seed!r}")
        _require(0 <= seed < 2**31, f"seeds must be in [0, 2^31), got {seed}")
    twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
    _require(not twice, f"seeds must differ, got {', '.join(map(str, twice))} more than once")


def _fields_of_seeds(seeds: Iterable[int]) -> dict[str, Any]:
    """The fields of `TrainConfig` that name these seeds: a range where they are one, else a list."""
    _require(isinstance(seeds, Iterable), f"seeds must be a list of whole numbers, got {seeds!r}")
    seeds = tuple(seeds)
    _require(len(seeds) >= 1, "seeds must name at least one seed, got none")
    _check_seeds(seeds)
    in_a_row = seeds == tuple(range(seeds[0], seeds[0] + len(seeds)))
    return {"seed": seeds[0], "num_seeds": len(seeds), "seed_list": () if in_a_row else seeds}


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The one-layer ReLU transformer of docs/theory.md, section 1. Raises ValueError."""

    p: int = 113  # modulus, at least 3; for task=multiply P - 1, for which the prime P may be given
    d_model: int = 128  # width of the residual stream
    n_heads: int = 4  # number of heads, of width d_model / n_heads
    d_mlp: int = 512  # number m of hidden neurons
    attention_rate: float = 1.0  # r in [0, 1]: 0 is softmax attention, 1 is constant attention
    attention_scale: str = "1/n_ctx"  # the constant each key receives: 1/n_ctx, 1, or a number in (0, 1)
    eq_token: bool = True  # third token "=", at whose position the logits are read
    biases: str = "off"  # biases: off | mlp (trained b_in, b_out) | frozen (all; zero unless imported)
    init: str = "orthogonal"  # initialisation: orthogonal | gbmi | nanda (docs/theory.md section 4.8)
    separate_vocab: bool = False  # b has embeddings of its own: token b + p instead of b
    # transformer | circuit: the tables u, v, W_L, s_a, s_b themselves, which are imported and not trained. Of
    # the other fields only p and d_mlp then mean anything; separate_vocab says that u and v differ.
    architecture: str = "transformer"
    task: str = "add"  # add | subtract | multiply | "x,y" for a x + b y; see tasks.py

    def __post_init__(self):
        _require_types(self)
        object.__setattr__(self, "p", tasks.modulus(self.task, self.p))
        _require(
            self.p >= 3,
            f"p must be at least 3, got {self.p}: a frequency k with amplitude and phase needs 0 < k < p/2",
        )
        tasks.coefficients(self.task, self.p)
        for name in ("d_model", "n_heads", "d_mlp"):
            _require(getattr(self, name) >= 1, f"{name} must be at least 1, got {getattr(self, name)}")
        _require(
            self.d_model % self.n_heads == 0,
            f"d_model must be divisible by n_heads, got d_model={self.d_model}, n_heads={self.n_heads}",
        )
        _require(
            0.0 <= self.attention_rate <= 1.0,
            f"attention_rate must be in [0, 1], got {self.attention_rate}",
        )
        known = (scale := self.attention_scale) in SCALES or _is_fraction(scale)
        _require(known, f"attention_scale must be 1/n_ctx, 1 or a number in (0, 1), got {scale!r}")
        _require_choice("architecture", self.architecture, ARCHITECTURES)
        if self.is_circuit:
            free = ("p", "d_mlp", "eq_token", "separate_vocab", "architecture", "task")
            others = [x for x in dataclasses.fields(self) if x.name not in free]
            _require(
                self.eq_token != self.separate_vocab
                and all(getattr(self, field.name) == field.default for field in others),
                "a circuit has p and d_mlp alone: `config.circuit_config` makes its config",
            )
        _require_choice("biases", self.biases, BIASES)
        _require_choice("init", self.init, INITS)

    @property
    def is_circuit(self) -> bool:
        """Whether this is tables instead of a transformer, without embedding, tokens and attention."""
        return self.architecture == "circuit"

    @property
    def n_ctx(self) -> int:
        """Number of tokens in the context: (a, b, =) or (a, b)."""
        return 3 if self.eq_token else 2

    @property
    def n_vocab(self) -> int:
        """Number of tokens V: those of a, those of b where it has its own, and `=`, the last."""
        return self.p * (1 + self.separate_vocab) + self.eq_token

    @property
    def d_head(self) -> int:
        return self.d_model // self.n_heads

    @property
    def kappa(self) -> float:
        """The weight that constant attention gives to each key position."""
        return 1.0 / self.n_ctx if self.attention_scale == "1/n_ctx" else float(self.attention_scale)

    @property
    def is_separable(self) -> bool:
        """Whether attention is constant, so that pre-activations are u(a) + v(b)."""
        return self.attention_rate == 1.0

    @property
    def names(self) -> tasks.Task:
        """Which tokens the summands and the sum are."""
        return tasks.task_of(self.task, self.p)

    @property
    def confuses_order(self) -> bool:
        """Constant attention, `=` token, one vocabulary: the answers to (a, b) and (b, a) are the same."""
        return self.is_separable and self.eq_token and not self.separate_vocab

    @property
    def is_symmetric(self) -> bool:
        """u = v: the order of a and b is neither seen nor asked for."""
        return self.confuses_order and self.names.is_even_handed


def circuit_config(p: int, d_mlp: int, symmetric: bool, task: str = "add") -> ModelConfig:
    """The config of a circuit that is not a transformer; `symmetric` says that u = v and s_a = s_b."""
    return ModelConfig(
        p=p, d_mlp=d_mlp, eq_token=symmetric, separate_vocab=not symmetric, architecture="circuit", task=task
    )


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Full-batch AdamW and its bookkeeping. Raises ValueError."""

    seed: int = 0  # the first seed
    num_seeds: int = 1  # number of seeds from `seed` on, in one program
    seed_list: tuple = ()  # ints: seeds that are no range, the first of them `seed`; see `Config.replace`
    train_fraction: float = 0.8  # share of the p^2 ordered pairs in the training set, in (0, 1]
    num_steps: int = 10_000  # number of full-batch updates
    learning_rate: float = 1e-3  # learning rate of the optimiser, positive
    weight_decay: float = 1.0  # weight decay, times the learning rate as in PyTorch; adam, adagrad: none
    beta1: float = 0.9  # decay of the mean gradient, or momentum
    beta2: float = 0.98  # decay of the mean squared gradient
    warmup_steps: int = 10  # steps in which the learning rate rises linearly from 0
    optimizer: str = "adamw"  # of optax: adamw | muon | lion | lamb | sgd; without decay: adam | adagrad
    final_rate: float = 1.0  # share of the learning rate that a cosine leaves at the last step, in [0, 1]
    final_decay: float = 1.0  # the same share of the weight decay, may be above 1 (AdamW)
    enlarged: int = 0  # number of random frequencies whose waves in W_E and W_U start three times as large
    cut_steps: str = ""  # steps at which a key of muddy seeds is cut: 2500+5000:2 (:2 is the cut_keep there)
    cut_rule: str = "lightest"  # which key is cut: lightest | spread | double | paths | random
    cut_keep: int = 3  # smallest number of keys that a cut leaves
    loss: str = "log1p"  # cross-entropy: log1p (accurate at any size) | standard (log-softmax)
    dtype: str = "float32"  # of weights, gradients, optimiser and checkpoints: float32 | float64
    forward: str = "auto"  # forward pass: auto (folded if the model separates, else tables) | plain | folded
    precision: str = "highest"  # precision of float32 matrix products; "default" lets a GPU use TF32
    eval_every: int = 250  # steps between evaluations on all p^2 pairs
    checkpoint_every: int = 2_500  # steps between checkpoints
    early_checkpoints: bool = False  # save further checkpoints, on a logarithmic scale, before the first

    def __post_init__(self):
        _require_types(self)
        _require(0 <= self.seed < 2**31, f"seed must be in [0, 2^31), got {self.seed}")
        for name in ("num_seeds", "num_steps", "eval_every", "checkpoint_every", "cut_keep"):
            _require(getattr(self, name) >= 1, f"{name} must be at least 1, got {getattr(self, name)}")
        if self.seed_list:
            self._check_seed_list()
        else:
            last = self.seed + self.num_seeds - 1
            _require(last < 2**31, f"the last seed must be below 2^31, got {last}")
        share, rate, decay = self.train_fraction, self.learning_rate, self.weight_decay
        _require(0.0 < share <= 1.0, f"train_fraction must be in (0, 1], got {share}")
        _require(0.0 < rate < float("inf"), f"learning_rate must be positive, got {rate}")
        _require(0.0 <= decay < float("inf"), f"weight_decay must be at least 0, got {decay}")
        for name in ("beta1", "beta2"):
            _require(0.0 <= getattr(self, name) < 1.0, f"{name} must be in [0, 1), got {getattr(self, name)}")
        _require(self.warmup_steps >= 0, f"warmup_steps must be at least 0, got {self.warmup_steps}")
        _require_choice("loss", self.loss, LOSSES)
        _require_choice("dtype", self.dtype, DTYPES)
        _require_choice("forward", self.forward, FORWARDS)
        _require_choice("precision", self.precision, PRECISIONS)
        _require_choice("optimizer", self.optimizer, OPTIMIZERS)
        _require_choice("cut_rule", self.cut_rule, CUT_RULES)
        _require(0.0 <= self.final_rate <= 1.0, f"final_rate must be in [0, 1], got {self.final_rate}")
        for name in ("final_decay", "enlarged"):
            value = getattr(self, name)
            _require(0 <= value < float("inf"), f"{name} must be at least 0, got {value}")
        _require(
            self.final_decay == 1.0 or self.optimizer == "adamw",
            f"final_decay needs optimizer=adamw, got {self.optimizer}",
        )
        self._check_cuts()

    def _check_cuts(self) -> None:
        numbers = [word.split(":") for word in self.cut_steps.split("+")] if self.cut_steps else []
        fits = all(len(words) <= 2 and all(map(str.isdecimal, words)) for words in numbers)
        _require(fits, f"cut_steps must be step or step:keys, as 2500+5000:2, got {self.cut_steps!r}")
        left = all(int(x) for _, *rest in numbers for x in rest)
        _require(left, f"cut_steps must leave at least 1 key, got {self.cut_steps!r}")
        _require(len(numbers) == len(self.cuts), f"cut_steps names a step twice: {self.cut_steps!r}")
        for step in self.cuts:
            wrong = f"cut_steps must be after 0 and before num_steps={self.num_steps}, got {step}"
            _require(0 < step < self.num_steps, wrong)
        _require(
            not self.cuts or (self.final_rate, self.final_decay) == (1.0, 1.0),
            "cut_steps need constant rates: a cut begins a fresh optimiser, whose schedule would begin again",
        )

    @property
    def cuts(self) -> dict[int, int]:
        """The steps of `cut_steps`, ascending, each with the smallest number of keys that its cut leaves."""
        parts = [part.partition(":") for part in self.cut_steps.split("+") if part]
        return dict(sorted((int(step), int(keys or self.cut_keep)) for step, _, keys in parts))

    def _check_seed_list(self) -> None:
        _check_seeds(self.seed_list)
        _require(
            (self.seed, self.num_seeds) == (self.seed_list[0], len(self.seed_list)),
            f"a list of {len(self.seed_list)} seeds from {self.seed_list[0]} needs seed and num_seeds to say "
            f"so, got {self.seed} and {self.num_seeds}: Config.replace(seeds=...) sets all three",
        )

    @property
    def seeds(self) -> tuple[int, ...]:
        """All seeds, in the order of the rows of every array over them."""
        return self.seed_list or tuple(range(self.seed, self.seed + self.num_seeds))


def _of_seeds(seeds: Iterable[int]) -> TrainConfig:
    """The default training, of these seeds."""
    return TrainConfig(**_fields_of_seeds(seeds))


@dataclasses.dataclass(frozen=True)
class Config:
    """A model (`model`) and its training (`train`). Raises ValueError if the two do not fit.

    The comment behind each field says what it means. `replace` changes fields of either part.

    >>> config = Config().replace(p=11, num_steps=100)
    >>> config.model.p, config.train.num_steps, config.n_train
    (11, 100, 97)

    The weights of an imported model were made elsewhere. They have no optimiser state and no training pairs.
    Of `train` only the seeds have a meaning: 0 for one model, a number for each member of a family.
    """

    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    imported: bool = False

    def __post_init__(self):
        _require(isinstance(self.imported, bool), f"imported must be bool, got {self.imported!r}")
        _require(
            self.imported or not self.model.is_circuit,
            "architecture circuit is for tables that are imported: what is trained is a transformer",
        )
        _require(
            not self.imported or self.train == _of_seeds(self.train.seeds),
            "an imported model has no training here: its train part must be the default, except for seeds",
        )
        _require(
            self.train.forward != "folded" or self.model.is_separable,
            f"forward=folded needs attention_rate=1, got {self.model.attention_rate}: "
            "with softmax attention the pre-activations are not a sum of a term in a and a term in b",
        )
        if not self.imported:
            tasks.check_training(self.model, self.train)
        most, k = (self.model.p - 1) // 2, self.train.enlarged
        _require(k <= most, f"enlarged must be at most {most} at p={self.model.p}, got {k}")
        _require(
            self.n_train >= 1,
            f"train_fraction={self.train.train_fraction} leaves no training pair at p={self.model.p}",
        )

    @property
    def n_train(self) -> int:
        """Number of ordered pairs trained on."""
        return round(self.train.train_fraction * self.model.p**2)

    @property
    def folded(self) -> bool:
        """Whether training works on the tables u, v of a circuit."""
        return self.model.is_separable and self.train.forward != "plain"

    @property
    def tabled(self) -> bool:
        """Whether training works on tables of the tokens (training/attention.py).

        Neither this nor `folded`: on token sequences.
        """
        return not self.model.is_separable and self.train.forward != "plain"

    def to_dict(self) -> dict[str, Any]:
        model = {"model": dataclasses.asdict(self.model)}
        if self.imported:
            family = {} if self.train == TrainConfig() else {"seeds": list(self.train.seeds)}
            return model | {"imported": True} | family
        train = dataclasses.asdict(self.train)
        return model | {"train": train | {"seed_list": list(train["seed_list"])}}  # as JSON gives it back

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "Config":
        """Inverse of `to_dict`. Raises ValueError for unknown or missing fields."""
        _require(isinstance(record, dict), f"config must be a dict, got {type(record).__name__}")
        imported = record.get("imported", False)
        parts: dict[str, Any] = {}
        for part, kind in (("model", ModelConfig), ("train", TrainConfig))[: 1 if imported else 2]:
            known = {field.name for field in dataclasses.fields(kind)}
            _require(isinstance(record.get(part), dict), f"config has no {part!r} part")
            given = set(record[part]) | (known & set(ADDED_LATER))
            _require(
                given == known, f"config part {part!r}: unknown or missing fields {sorted(given ^ known)}"
            )
            fields = dict(record[part])
            if isinstance(fields.get("seed_list"), list):  # JSON has no tuples
                fields["seed_list"] = tuple(fields["seed_list"])
            parts[part] = kind(**fields)
        if imported and "seeds" in record:
            parts["train"] = _of_seeds(record["seeds"])
        return cls(imported=imported, **parts)

    def replace(self, **changes: Any) -> "Config":
        """A copy with the named fields, of either part, changed. Raises ValueError.

        `seeds` (ints, in any order) sets seed, num_seeds and seed_list; seed or num_seeds alone end a list.
        """
        if "seeds" in changes:
            changes = changes | _fields_of_seeds(changes["seeds"])
            del changes["seeds"]
        elif "seed" in changes or "num_seeds" in changes:
            changes = {"seed_list": ()} | changes
        model_names = {field.name for field in dataclasses.fields(ModelConfig)}
        train_names = {field.name for field in dataclasses.fields(TrainConfig)}
        unknown = sorted(set(changes) - model_names - train_names)
        _require(not unknown, f"unknown config fields: {', '.join(unknown)}")
        return dataclasses.replace(
            self,
            model=dataclasses.replace(self.model, **{k: v for k, v in changes.items() if k in model_names}),
            train=dataclasses.replace(self.train, **{k: v for k, v in changes.items() if k in train_names}),
        )

    def differing_fields(self, other: "Config") -> dict[str, tuple[Any, Any]]:
        """{"part.field": (own value, other's value)} for the fields that differ."""

        def flat(config):
            parts = (("model", config.model), ("train", config.train))
            rows = {f"{part}.{k}": v for part, x in parts for k, v in dataclasses.asdict(x).items()}
            return rows | {"imported": config.imported}

        others = flat(other)
        return {name: (own, others[name]) for name, own in flat(self).items() if own != others[name]}
