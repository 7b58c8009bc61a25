"""Turns the formula of an elementwise contract into something that runs: a NumPy function, C, or Python for the GPU.

A formula is Python: numbers, the inputs and params by name, + - * /, comparisons, & and | between them,
`where(condition, a, b)` and the functions below. All translations go through Python's own parser.
"""

import ast
from collections.abc import Callable, Iterable, Mapping
from typing import Any

#: What a formula may call besides `where`: its NumPy name, and its C name for float32, float64 and int64 ("" for none).
#: What stands for it on a GPU is in cuda/functions.py.
FUNCTIONS = {
    "abs": ("abs", "fabsf", "fabs", "llabs"),
    "exp": ("exp", "m_exp", "exp", ""),
    "expm1": ("expm1", "m_expm1", "expm1", ""),
    "log": ("log", "m_log", "log", ""),
    "log1p": ("log1p", "m_log1p", "log1p", ""),
    "sqrt": ("sqrt", "sqrtf", "sqrt", ""),
    "sin": ("sin", "sinf", "sin", ""),
    "cos": ("cos", "cosf", "cos", ""),
    "tanh": ("tanh", "m_tanh", "tanh", ""),
    "erf": ("", "m_erf", "erf", ""),
    "cdf": ("", "m_cdf", "m_cdf64", ""),  # of the standard normal distribution
    "floor": ("floor", "floorf", "floor", ""),
    "ceil": ("ceil", "ceilf", "ceil", ""),
    "round": ("rint", "rintf", "rint", ""),
    "pow": ("power", "powf", "pow", ""),
}

#: What NumPy doesn't have: the name in scipy.special.
SPECIAL = {"erf": "erf", "cdf": "ndtr"}

#: A kind of element: its C type, its place in FUNCTIONS' rows, and its place in the table of rows.
TYPES = {"f32": ("float", 1, "f"), "f64": ("double", 2, "f"), "i64": ("int64_t", 3, "i"), "b": ("uint8_t", 3, "b")}

#: Of the functions that work along one row: the inputs, how far each moves from element to element, the output.
ROW_ARGUMENTS = "const void *const *in, const ptrdiff_t *step, void *out, ptrdiff_t n, const double *param"


def numpy_function(formula: str, names: Iterable[str]) -> Callable[..., Any]:
    """The formula as a function of arrays (or scalars) in the order of `names`."""
    import numpy as np

    space: dict[str, Any] = {name: getattr(np, row[0]) for name, row in FUNCTIONS.items() if row[0]}
    space["where"] = np.where
    called = {node.id for node in ast.walk(ast.parse(formula)) if isinstance(node, ast.Name)}
    if called & SPECIAL.keys():  # scipy.special takes a while to load
        from scipy import special

        space |= {name: getattr(special, its_name) for name, its_name in SPECIAL.items()}
    return eval(f"lambda {', '.join(names)}: {formula}", space)  # noqa: S307 - our own contracts


def to_c(formula: str, kind: str) -> str:
    """The formula as a C expression over elements of `kind`."""
    return _expression(ast.parse(formula, mode="eval").body, kind)


def to_numba(formula: str) -> str:
    """The formula as Numba takes it for a GPU: Python about single numbers, of the type called `real`."""
    return ast.unparse(_ForDevice().visit(ast.parse(formula, mode="eval")))


class _ForDevice(ast.NodeTransformer):
    """Constants become `real(c)`: Python's own are float64 and would drag the whole line along. A choice becomes one of
    Python's, and & and | are of conditions, which the hardware calculates with as well as with numbers."""

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.parse(f"real({node.value!r})", mode="eval").body

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        if ast.unparse(node.left) == "condition":  # a byte, whatever `real` is
            return node
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        return ast.IfExp(*node.args) if ast.unparse(node.func) == "where" else node


_OPERATORS = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}


def _expression(node: ast.AST, kind: str) -> str:
    ctype, column, _ = TYPES[kind]
    match node:
        case ast.Constant(value=value):
            return f"({ctype}){value!r}"  # a bare 0.5 is a double in C and would drag the whole line along
        case ast.Name(id=name):
            return name
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return f"(-{_expression(operand, kind)})"
        case ast.BinOp(left=left, op=op, right=right):
            return f"({_expression(left, kind)} {_OPERATORS[type(op)]} {_expression(right, kind)})"
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return f"({_expression(left, kind)} {_OPERATORS[type(op)]} {_expression(right, kind)})"
        case ast.Call(func=ast.Name(id="where"), args=[condition, a, b]):
            return "select_{}({}, {}, {})".format(kind, *(_expression(part, kind) for part in (condition, a, b)))
        case ast.Call(func=ast.Name(id=name), args=args) if name in FUNCTIONS and FUNCTIONS[name][column]:
            return f"{FUNCTIONS[name][column]}({', '.join(_expression(a, kind) for a in args)})"
    raise ValueError(f"not part of the formula language: {ast.unparse(node)}")


def elementwise_source(contracts: Iterable[Any]) -> str:
    """A header with one C function a contract and dtype, working along one row, and the table of them."""
    functions, table = [], []
    for contract in contracts:
        if not contract.formula:
            continue
        names = {}
        for kind, (_, _, letter) in TYPES.items():
            if letter in contract.kinds:
                names[kind] = f"{contract.name}_{kind}"
                functions.append(_row(contract, kind))
        rows = ", ".join(names.get(kind, "0") for kind in TYPES)
        lead = [a.kind for a in contract.inputs].index("t")
        table.append(f'    {{"{contract.name}", {len(contract.inputs)}, {lead}, {{{rows}}}}},')
    return "\n".join(
        [
            "/* Made by setup.py from kernels/contracts.py: the elementwise kernels, one row at a time. */",
            f"typedef void (*row_function)({ROW_ARGUMENTS});",
            "typedef struct { const char *name; int inputs, lead; row_function rows[4]; } formula_entry;",
            "",
            *functions,
            "",
            "static const formula_entry FORMULAS[] = {",
            *table,
            "    {0, 0, 0, {0, 0, 0, 0}},",
            "};",
            "",
        ]
    )


def _row(contract: Any, kind: str) -> str:
    """One row function. Steps are 0 for a broadcast input and 1 else; the common cases get a loop of their own, in
    which the compiler knows the steps and so vectorises."""
    ctype = TYPES[kind][0]
    types = ["uint8_t" if a.kind == "b" else ctype for a in contract.inputs]
    result = "uint8_t" if contract.outputs[0].kind == "b" else ctype
    names = [a.name for a in contract.inputs]
    lines = [
        f"static void {contract.name}_{kind}({ROW_ARGUMENTS}) {{"
    ]
    lines += [
        f"  const {t} *restrict in_{name} = in[{i}];" for i, (t, name) in enumerate(zip(types, names, strict=True))
    ]
    lines += [f"  {result} *restrict out_y = out;"]
    lines += [f"  const {ctype} {p} = ({ctype})param[{i}];" for i, p in enumerate(contract.params)]
    loops = {1: ["1"], 2: ["11", "01", "10"], 3: ["111"]}[len(names)]
    for steps in loops:
        test = " && ".join(f"step[{i}] == {s}" for i, s in enumerate(steps))
        lines += [f"  if ({test}) {{ {_loop(contract, kind, types, names, steps)} return; }}"]
    lines += [f"  {_loop(contract, kind, types, names, None)}", "}"]
    return "\n".join(lines)


def _loop(contract: Any, kind: str, types: list[str], names: list[str], steps: str | None) -> str:
    at = ["i" if steps and steps[k] == "1" else "0" if steps else f"i * step[{k}]" for k in range(len(names))]
    elements = " ".join(f"const {t} {n} = in_{n}[{a}];" for t, n, a in zip(types, names, at, strict=True))
    return f"for (ptrdiff_t i = 0; i < n; i++) {{ {elements} out_y[i] = {to_c(contract.formula, kind)}; }}"


# ------------------------------------------------------------------------------ activations inside other kernels


def activations_source(contracts: Mapping[str, Any], names: Iterable[str]) -> str:
    """A header with the activations called `names` and their gradients for other kernels to apply: inline functions of
    one value, and of a row of them, which take the activation by its number in the table; 0 is none."""
    names = list(names)
    lines = [
        "/* Made by setup.py from kernels/contracts.py: activations and their gradients, applied by other kernels. */",
        '#include "vecmath.h"',
        "#include <stddef.h>",
        "",
        "typedef struct { const char *name; int costly; } activation_entry;",
        "static const activation_entry ACTIVATIONS[] = {",
        '    {"", 0},',
        *(f'    {{"{name}", {int(_is_costly(contracts[name].formula))}}},' for name in names),
        "    {0, 0},",
        "};",
    ]
    for kind in ("f32", "f64"):
        for name in names:
            lines += ["", *_activation(contracts[name], contracts[f"{name}_grad"], kind)]
        lines += ["", *_activation_rows(names, kind)]
    return "\n".join([*lines, ""])


def _is_costly(formula: str) -> bool:
    """Whether to keep the values of a formula rather than compute them twice."""
    called = {node.id for node in ast.walk(ast.parse(formula)) if isinstance(node, ast.Name)}
    return bool(called & FUNCTIONS.keys() - {"abs"})


def _activation(value: Any, gradient: Any, kind: str) -> list[str]:
    """The functions of one x: its value, and the gradient of g there. Where the gradient's formula takes y, the value,
    it is made from x."""
    ctype, second = TYPES[kind][0], gradient.inputs[1].name
    given = f"const {ctype} y = {value.name}_of_{kind}(x); " if second == "y" else ""
    return [
        f"static inline {ctype} {value.name}_of_{kind}({ctype} x) {{ return {to_c(value.formula, kind)}; }}",
        f"static inline {ctype} {gradient.name}_of_{kind}({ctype} g, {ctype} x) "
        f"{{ {given}return {to_c(gradient.formula, kind)}; }}",
    ]


def _activation_rows(names: list[str], kind: str) -> list[str]:
    """The choice stands outside the loops, so that each of them becomes vector code."""
    ctype = TYPES[kind][0]
    loop = "for (ptrdiff_t i = 0; i < n; i++)"
    return [
        f"static void activate_{kind}(int activation, {ctype} *restrict x, ptrdiff_t n) {{",
        "  switch (activation) {",
        *(f"  case {i}: {loop} x[i] = {name}_of_{kind}(x[i]); break;" for i, name in enumerate(names, 1)),
        "  }",
        "}",
        "",
        "/* The gradient of x, from g, that of the activation's value. */",
        f"static void activation_grad_{kind}(int activation, const {ctype} *restrict g, const {ctype} *restrict x,",
        f"                                {ctype} *restrict dx, ptrdiff_t n) {{",
        "  switch (activation) {",
        f"  case 0: {loop} dx[i] = g[i]; break;",
        *(f"  case {i}: {loop} dx[i] = {name}_grad_of_{kind}(g[i], x[i]); break;" for i, name in enumerate(names, 1)),
        "  }",
        "}",
    ]
