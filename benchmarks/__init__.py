"""How fast minicnn is, beside others: `python -m benchmarks run` in the source tree, `minicnn bench` anywhere."""
