"""The kernels: what every op comes down to.

`contracts` says what each computes, `reference` computes it in plain NumPy, `cpu` in Cython loops.
"""

if __name__ != "minicnn.kernels":
    raise ImportError("the kernels are imported as minicnn.kernels; build and install the package first: pip install .")
