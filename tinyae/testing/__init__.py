"""Is this gradient right? Tools that answer by measuring.

A gradient rule is a formula somebody derived by hand, and a wrong one rarely crashes: training only gets a
little worse. This room holds the independent witnesses. `gradcheck` compares the rules with finite differences,
which know nothing of rules; it works on any function of Tensors, so on your own primitives, layers and losses
as well as on ours. `complex_step` computes a derivative to the last digits for functions that also accept
complex numbers.

    from tinyae.testing import gradcheck
    gradcheck(lambda x, w: ta.ops.tanh(x @ w), [x, w], order=2)

Nothing in here is needed to train a model, and nothing outside the tests imports it.
"""

from tinyae.testing.complex_step import complex_step
from tinyae.testing.gradcheck import GradcheckError, GradcheckReport, gradcheck

__all__ = ["GradcheckError", "GradcheckReport", "complex_step", "gradcheck"]
