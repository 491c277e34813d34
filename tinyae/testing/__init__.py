"""Numerical verification of gradients, operations and layers.

Gradient rules are derived by hand, and a wrong one rarely crashes: training only gets a little worse. `gradcheck` compares the
rules with finite differences or the complex step, for any function of Tensors, including your own primitives, layers and
losses. `complex_step` computes derivatives to machine precision for functions that also accept complex numbers.

    from tinyae.testing import check_module, gradcheck
    gradcheck(lambda x, w: ta.ops.tanh(x @ w), [x, w], order=2)
    check_module(layer, x)

An `OpCase` describes what a function should compute and where it is smooth, and `check_case` runs all checks: values, first
and second derivatives, dtypes, strides. `tables` has the cases of the whole package (and needs SciPy); `mutation` breaks rules
on purpose to test the checks. Both are imported on first use.

Laws are properties of every correct layer, and `check_layer` checks all of them; the Hypothesis strategies (`arrays_nd`,
`arrays_ntd`, ...) generate the inputs. `docs/verify.md` shows how to verify a new layer.
"""

from tinyae.testing.differences import GradcheckError, GradcheckReport, complex_step
from tinyae.testing.gradients import gradcheck, holding_detached
from tinyae.testing.invariances import (
    assert_batch_independent,
    assert_calls_independent,
    assert_device_agreement,
    assert_dtype_kept,
    assert_empty_batch,
    assert_layout_independent,
    assert_modes_agree,
    assert_padding_invariant,
    assert_permutation_equivariant,
    assert_save_load,
)
from tinyae.testing.laws import (
    assert_adjoint,
    assert_backward_linear,
    assert_double_gradient,
    assert_gradient,
    assert_gradients_unshared,
    assert_inputs_unchanged,
    assert_one_result,
    assert_parameters_found,
    assert_rules_agree,
    check_layer,
)
from tinyae.testing.strategies import (
    arrays_nd,
    arrays_nhwc,
    arrays_ntd,
    arrays_of,
    axes,
    broadcastable_pairs,
    numbers,
    paddings,
    strides,
)
from tinyae.testing.strict import strict_device
from tinyae.testing.subject import LawError
from tinyae.testing.verification import ModuleCase, OpCase, cases, check_case, check_module

__all__ = [
    "GradcheckError",
    "GradcheckReport",
    "LawError",
    "ModuleCase",
    "OpCase",
    "arrays_nd",
    "arrays_nhwc",
    "arrays_ntd",
    "arrays_of",
    "assert_adjoint",
    "assert_backward_linear",
    "assert_batch_independent",
    "assert_calls_independent",
    "assert_device_agreement",
    "assert_double_gradient",
    "assert_dtype_kept",
    "assert_empty_batch",
    "assert_gradient",
    "assert_gradients_unshared",
    "assert_inputs_unchanged",
    "assert_layout_independent",
    "assert_modes_agree",
    "assert_one_result",
    "assert_padding_invariant",
    "assert_parameters_found",
    "assert_permutation_equivariant",
    "assert_rules_agree",
    "assert_save_load",
    "axes",
    "broadcastable_pairs",
    "cases",
    "check_case",
    "check_layer",
    "check_module",
    "complex_step",
    "gradcheck",
    "holding_detached",
    "numbers",
    "paddings",
    "strict_device",
    "strides",
]
