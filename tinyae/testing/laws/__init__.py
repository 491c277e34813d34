"""Laws: sentences that must hold for every correct function or layer, as assertions for your own tests.

A unit test compares with numbers that somebody worked out. A law needs none: the backward pass *is* linear, a sample's
output *does not* depend on where in the batch it stands, padding *is* nothing. So a law can be asked of any layer on any
input, and finds mistakes that a gradient check cannot see.

    check_layer(layer, x)                  all laws that fit; the error names the one that is broken
    assert_permutation_equivariant(f, x)   one law, of a Module or of any function of Tensors

Everything is computed in float64, parameters count as inputs, generators are rewound and buffers put back, so a layer is
left as it was. `point` is what they share, `derivatives`, `symmetries` and `states` hold the laws, `check_layer` asks all.
"""

from tinyae.testing.laws.check_layer import check_layer
from tinyae.testing.laws.derivatives import (
    assert_adjoint,
    assert_backward_linear,
    assert_double_gradient,
    assert_gradient,
    assert_gradients_unshared,
    assert_inputs_unchanged,
)
from tinyae.testing.laws.law import LawError
from tinyae.testing.laws.states import assert_device_agreement, assert_modes_agree, assert_save_load
from tinyae.testing.laws.symmetries import assert_padding_invariant, assert_permutation_equivariant

__all__ = [
    "LawError",
    "assert_adjoint",
    "assert_backward_linear",
    "assert_device_agreement",
    "assert_double_gradient",
    "assert_gradient",
    "assert_gradients_unshared",
    "assert_inputs_unchanged",
    "assert_modes_agree",
    "assert_padding_invariant",
    "assert_permutation_equivariant",
    "assert_save_load",
    "check_layer",
]
