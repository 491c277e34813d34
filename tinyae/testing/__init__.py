"""Is this gradient right? Tools that answer by measuring.

A gradient rule is a formula somebody derived by hand, and a wrong one rarely crashes: training only gets a
little worse. This room holds the independent witnesses. `gradcheck` compares the rules with finite differences,
which know nothing of rules; it works on any function of Tensors, so on your own primitives, layers and losses
as well as on ours. `complex_step` computes a derivative to the last digits for functions that also accept
complex numbers.

    from tinyae.testing import check_module, gradcheck
    gradcheck(lambda x, w: ta.ops.tanh(x @ w), [x, w], order=2)
    check_module(layer, x)

An `OpCase` says what a function should compute and where it is smooth, and `check_case` asks it everything: values,
both orders, dtypes, strides. `tables` holds the cases of the whole package and needs SciPy, `mutation` breaks rules on
purpose to see whether all this would notice; both are imported only when asked for.

Laws are sentences that hold for every correct layer, and `check_layer` asks for all of them at once; the Hypothesis
strategies (`arrays_nd`, `arrays_ntd`, ...) draw the inputs. `docs/verify.md` shows a layer of one's own being verified.

Nothing in here is needed to train a model.
"""

from tinyae.testing.differences import GradcheckError, GradcheckReport, complex_step
from tinyae.testing.gradients import gradcheck, holding_detached
from tinyae.testing.laws import (
    LawError,
    assert_adjoint,
    assert_backward_linear,
    assert_device_agreement,
    assert_double_gradient,
    assert_gradient,
    assert_gradients_unshared,
    assert_inputs_unchanged,
    assert_modes_agree,
    assert_padding_invariant,
    assert_permutation_equivariant,
    assert_save_load,
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
    "assert_device_agreement",
    "assert_double_gradient",
    "assert_gradient",
    "assert_gradients_unshared",
    "assert_inputs_unchanged",
    "assert_modes_agree",
    "assert_padding_invariant",
    "assert_permutation_equivariant",
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
