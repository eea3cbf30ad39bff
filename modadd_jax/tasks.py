"""Questions that are addition once their tokens have other names.

    add                  a + b
    subtract             a - b
    x,y                  x a + y b (mod p), two whole numbers that are invertible modulo p
    multiply             a b modulo a prime P, of the numbers 1..P-1: their logarithms add modulo P - 1

A task says which token stands for the summand i as a, which for the summand j as b, and which class stands
for their sum; `model.as_addition` renames a model's tokens by it. Letters in shapes: p modulus of the
addition. Source: docs/theory.md, section 1.
"""

import functools
import math
import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from modadd_jax.config import ModelConfig, TrainConfig

NAMED = ("add", "subtract", "multiply")


class Task(NamedTuple):
    """The names that make a question an addition modulo p.

    int32, in which JAX indexes whether float64 is on or off.
    """

    says: str  # what is renamed, in sentences; "" where nothing is
    a: np.ndarray  # [p] int32: the token that stands for the summand i as a
    b: np.ndarray  # [p] int32: the same as b
    answer: np.ndarray  # [p] int32: the class that stands for the sum i

    @property
    def is_even_handed(self) -> bool:
        """Whether a and b are renamed alike: then their order is as irrelevant as in a sum."""
        return bool(np.array_equal(self.a, self.b))


def is_prime(n: int) -> bool:
    return n > 1 and all(n % d for d in range(2, math.isqrt(n) + 1))


def modulus(name: str, p: int) -> int:
    """Of the addition that a question modulo p is: p, but P - 1 of the multiplication modulo a prime P.

    P - 1 itself, the number of its tokens, says the same: it is even, and P is not. Raises ValueError where
    the modulus of a multiplication is no prime.
    """
    if name != "multiply" or p < 3:
        return p
    prime = p + 1 - p % 2
    if not is_prime(prime):
        factor = next(d for d in range(2, prime) if prime % d == 0)
        raise ValueError(
            f"p = {p}: task multiply needs a prime modulus, and {prime} has the factor {factor}, whose "
            "multiples have no logarithm"
        )
    return prime - 1


def generator(prime: int) -> int:
    """The smallest g whose powers are all of 1..prime-1."""
    factors = [d for d in range(2, prime) if (prime - 1) % d == 0 and is_prime(d)]
    return next(g for g in range(1, prime) if all(pow(g, (prime - 1) // d, prime) != 1 for d in factors))


def coefficients(name: str, p: int) -> tuple[int, int]:
    """x and y of a task x a + y b, for multiply of the logarithms.

    Raises ValueError where it is no task, or one of them is not invertible modulo p.
    """
    words = {"add": "1,1", "subtract": "1,-1", "multiply": "1,1"}.get(name, name)
    if not re.fullmatch(r"-?\d{1,9},-?\d{1,9}", words):
        raise ValueError(f"task must be {', '.join(NAMED)} or two whole numbers x,y, got {name!r}")
    x, y = (int(word) for word in words.split(","))
    for letter, value in (("x", x), ("y", y)):
        shared = math.gcd(value, p)
        if shared != 1:
            raise ValueError(
                f"task {name}: {letter} = {value} is not invertible modulo p = {p}, since both have the "
                f"factor {shared}"
            )
    return x, y


@functools.lru_cache
def task_of(name: str, p: int) -> Task:
    """The task of that name; p: the modulus of its addition. Raises ValueError as `coefficients`, `modulus`.

    >>> task_of("2,-1", 5).a.tolist(), task_of("2,-1", 5).b.tolist()  # the token 2 is 4 as a, and 3 as b
    ([0, 3, 1, 4, 2], [0, 4, 3, 2, 1])
    >>> (task_of("multiply", 4).a + 1).tolist()  # the powers of 2 modulo 5
    [1, 2, 4, 3]
    """
    numbers = np.arange(p)
    x, y = coefficients(name, p)
    if name == "multiply":
        prime = modulus(name, p) + 1
        g = generator(prime)
        tokens = np.array([pow(g, i, prime) - 1 for i in range(p)], np.int32)  # that of the number n is n - 1
        says = (
            f"The question is a b modulo {prime}, zero left out. The number {g}^i (mod {prime}) is read as "
            f"i, as a, as b and as answer: the logarithms add modulo {p}."
        )
        return Task(says, tokens, tokens, tokens)
    a, b = ((numbers * pow(factor, -1, p) % p).astype(np.int32) for factor in (x, y))
    if x % p == y % p == 1:
        return Task("", a, b, numbers.astype(np.int32))
    asked = {"subtract": "a - b"}.get(name, f"{x} a {'-' if y < 0 else '+'} {abs(y)} b")
    says = (
        f"The question is {asked} modulo {p}. The token t is read as {x % p} t (mod {p}) where it is a, and "
        f"as {y % p} t where it is b: the answer is the sum of the two."
    )
    return Task(says, a, b, numbers.astype(np.int32))


def check_training(model: "ModelConfig", train: "TrainConfig") -> None:
    """Raises ValueError where a model cannot be trained on its task, or not in that way."""
    if model.confuses_order and not model.names.is_even_handed:
        raise ValueError(
            f"task {model.task} tells (a, b) from (b, a); constant attention with = and one vocabulary does "
            "not: set eq_token=False, separate_vocab=True or attention_rate below 1"
        )
    for name, changes in (("enlarged", train.enlarged), ("cut_steps", train.cuts)):
        if changes and model.task != "add":
            raise ValueError(
                f"{name} needs task=add, got {model.task}: it changes waves in the tokens' order"
            )
