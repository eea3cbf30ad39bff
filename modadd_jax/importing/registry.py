"""All conventions of weights, in the order in which they are tried. docs/extending.md says how to add one."""

from modadd_jax.importing.convention import Convention
from modadd_jax.importing.conventions import (
    circuit_tables,
    embedding_mlp,
    one_hot_mlp,
    torch_linear,
    transformer_lens,
    two_embedding_mlp,
    zhong,
)

CONVENTIONS: dict[str, Convention] = {
    module.CONVENTION.name: module.CONVENTION
    for module in (
        transformer_lens,
        zhong,
        torch_linear,
        two_embedding_mlp,
        embedding_mlp,
        one_hot_mlp,
        circuit_tables,
    )
}
