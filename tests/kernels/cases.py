"""What the kernels are tried with: for every contract a list of cases, on sizes that tempt a fast loop to go wrong.

One, primes, counts that don't fill a vector (and one that does), nothing at all; windows that overlap, skip or reach
outside; NaN, infinity and ties where they mean something. Each family of kernels has a file of cases.
"""

from minicnn.kernels.contracts import CONTRACTS

from . import (
    cases_conv,
    cases_copy,
    cases_elementwise,
    cases_norm,
    cases_optim,
    cases_picture,
    cases_pool,
    cases_random,
    cases_reduce,
)
from .case import Case

CASES: dict[str, list[Case]] = {name: [] for name in CONTRACTS}
for _family in (cases_elementwise, cases_copy, cases_reduce, cases_conv, cases_pool, cases_norm, cases_random,
                cases_optim, cases_picture):
    for _case in _family.cases():
        CASES.setdefault(_case.kernel, []).append(_case)
