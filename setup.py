"""Builds the compiled kernels. `pip install .` runs it; everything else about the package is in pyproject.toml.

Every Cython file of `kernels/cpu` is compiled once per vector level from the same source, and the level is chosen at
run time. Environment variables for those who work on the kernels:

    MINICNN_BUILD=conv:avx2,pool:avx2    build only these (with `python setup.py build_ext --inplace`)
    MINICNN_CFLAGS="-fsanitize=address"  further compiler and linker flags, last on the line
"""

import importlib.util
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

SOURCES = Path("kernels/cpu")
GENERATED = Path("build/generated")
INCLUDED = {"elementwise": "formulas.h", "norm": "activations.h"}  # what a family includes of them
FAMILIES = ("elementwise", "copy", "reduce", "matmul", "conv", "pool", "norm", "random", "optim", "picture")

# Contraction to fused multiply-adds is on, so levels may differ in the last bit; NaN, infinity and the order of sums
# are kept: no -ffast-math.
FLAGS = ["-O3", "-g0", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-fwrapv", "-Wno-unused-function"]
LEVELS = {
    "baseline": [],
    "avx2": ["-mavx2", "-mfma"],
    "avx512": ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma", "-mprefer-vector-width=512"],
}
if platform.machine().lower() not in ("x86_64", "amd64"):
    LEVELS = {"baseline": []}

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
}


def openmp_flags() -> list[str]:
    """The flags that compile and link an OpenMP program here, or none: then the kernels run on one thread."""
    compiler = shlex.split(os.environ.get("CC", "cc"))
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "probe.c")
        program.write_text("#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n")
        try:
            subprocess.run(
                [*compiler, "-fopenmp", str(program), "-o", str(program.with_suffix(""))],
                check=True,
                capture_output=True,
            )
        except (OSError, subprocess.CalledProcessError):
            print("minicnn: no OpenMP here; the kernels will run on one thread", file=sys.stderr)
            return []
    return ["-fopenmp"]


def write_formulas() -> None:
    """Turn the elementwise contracts, and the activations that other kernels apply, into C (see kernels/formula.py)."""
    modules = {}
    for name in ("contracts", "formula"):
        spec = importlib.util.spec_from_file_location(name, f"kernels/{name}.py")
        modules[name] = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(modules[name])
    contracts, formula = modules["contracts"], modules["formula"]
    GENERATED.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("formulas.h", formula.elementwise_source(contracts.CONTRACTS.values())),
        ("activations.h", formula.activations_source(contracts.CONTRACTS, contracts.ACTIVATIONS)),
    ):
        header = GENERATED / name
        if not header.exists() or header.read_text() != text:  # an untouched header spares a rebuild
            header.write_text(text)


def wanted(family: str, level: str) -> bool:
    only = os.environ.get("MINICNN_BUILD")
    return not only or f"{family}:{level}" in only.split(",")


def extensions() -> list[Extension]:
    extra = shlex.split(os.environ.get("MINICNN_CFLAGS", ""))
    openmp = openmp_flags()
    found = []
    for level, flags in {"": [], **LEVELS}.items():
        families = FAMILIES if level else ("host",)
        built = [
            Extension(
                f"minicnn.kernels.cpu._{family}" + (f"_{level}" if level else ""),
                [str(SOURCES / f"{family}.pyx")],
                include_dirs=[numpy.get_include(), str(SOURCES), str(GENERATED)],
                depends=[str(path) for pattern in ("*.h", "*.pxi") for path in sorted(SOURCES.glob(pattern))]
                + ([str(GENERATED / INCLUDED[family])] if family in INCLUDED else []),
                extra_compile_args=[*FLAGS, *flags, *openmp, *extra],
                extra_link_args=[*openmp, *extra],
                define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
            )
            for family in families
            if wanted(family, level)
        ]
        # One build folder a level: the same .pyx becomes a module of another name in each.
        found += cythonize(
            built, build_dir=f"build/cython/{level or 'host'}", compiler_directives=DIRECTIVES, quiet=True
        )
    return found


class ParallelBuild(build_ext):
    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()


write_formulas()
setup(
    packages=[
        "minicnn",
        "minicnn.benchmarks",
        "minicnn.benchmarks.parts",
        "minicnn.benchmarks.peers",
        "minicnn.commands",
        "minicnn.data",
        "minicnn.data.transforms",
        "minicnn.io",
        "minicnn.models",
        "minicnn.nn",
        "minicnn.ops",
        "minicnn.optim",
        "minicnn.teach",
        "minicnn.train",
        "minicnn.vis",
        "minicnn.kernels",
        "minicnn.kernels.cpu",
        "minicnn.kernels.cuda",
        "minicnn.kernels.cuda.emulator",
    ],
    package_dir={"minicnn": "minicnn", "minicnn.benchmarks": "benchmarks", "minicnn.kernels": "kernels"},
    ext_modules=extensions(),
    cmdclass={"build_ext": ParallelBuild},
)
