"""A start at which some frequencies are larger than the others.

Letters in shapes: p modulus, n columns of a table.
"""

import jax
import jax.numpy as jnp

from modadd_jax import model
from modadd_jax.config import Config

# Far outside of the spread of sizes at the start, which is 4 %, as for lengths of 256 normal numbers.
ENLARGEMENT = 3.0


def enlarge(key: jax.Array, params: model.Params, count: jax.Array, config: Config) -> model.Params:
    """Parameters with the waves of `count` frequencies, drawn by `key`, `ENLARGEMENT` times as large.

    In the tokens' rows of W_E and in W_U; 0 changes nothing. Consumes `key`.
    """
    p = config.model.p
    frequencies = jax.random.permutation(key, (p - 1) // 2) + 1
    chosen = jnp.zeros(p).at[frequencies].set(jnp.arange((p - 1) // 2) < count)
    more = (ENLARGEMENT - 1) * jnp.maximum(chosen, chosen[-jnp.arange(p) % p])[:, None]

    def grown(table):  # [p, n]
        added = jnp.fft.ifft(more * jnp.fft.fft(table, axis=0), axis=0).real
        return table + added.astype(table.dtype)

    tokens = params["W_E"]
    numbers = [grown(tokens[i * p : (i + 1) * p]) for i in range(1 + config.model.separate_vocab)]
    rest = tokens[len(numbers) * p :]
    return params | {"W_E": jnp.concatenate([*numbers, rest]), "W_U": grown(params["W_U"].T).T}
