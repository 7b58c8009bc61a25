"""What the emulator makes of the text: kernels it understands, and clear errors for those it doesn't."""

import pytest

pytest.importorskip("numba", reason="the emulator needs Numba and llvmlite")

from minicnn.kernels.cuda import emulator  # noqa: E402
from minicnn.kernels.cuda.emulator.emitter import HANDLERS  # noqa: E402
from minicnn.kernels.cuda.emulator.instructions import KNOWN, SPECIAL_REGISTERS  # noqa: E402
from minicnn.kernels.cuda.emulator.liveness import live_before  # noqa: E402
from minicnn.kernels.cuda.emulator.parser import parse  # noqa: E402
from minicnn.kernels.cuda.emulator.types import TYPES, parse_number  # noqa: E402

from .emulating import assemble  # noqa: E402


def test_an_instruction_is_taken_apart():
    text = "@!%p ld.global.nc.v2.f32 {%f1, %f2}, [%0+-8];"
    ptx = assemble(f".reg .pred %p; .reg .f32 %f<3>;\n{text}", "u64")
    kernel = parse(ptx)
    i = kernel.instructions[1]
    assert (i.name, i.modifiers, [type_.name for type_ in i.types]) == ("ld", ("global", "nc", "v2"), ["f32"])
    assert i.operands == ("{%f1, %f2}", "[%0+-8]")
    assert (i.predicate, i.negated, i.number) == ("%p", True, 1)
    assert ptx.splitlines()[i.line - 1] == i.text == text


def test_parameters_lie_as_the_struct_module_packs_them():
    kernel = parse(assemble("", "u64 u32 f64 u8 u16 f32 s64 s32"))
    assert kernel.format == "@QIdBHfqi"
    assert [p.offset for p in kernel.parameters.values()] == [0, 8, 16, 24, 26, 28, 32, 40]


def test_shared_and_local_memory_is_laid_out():
    kernel = parse(assemble(
        ".local .align 8 .b8 mine[12]; .local .align 16 .b8 more[4];",
        head=".extern .shared .align 4 .b8 rest[];\n.shared .align 4 .b8 first[12];\n"
             ".visible .shared .align 16 .f32 second[3][4];\n",
    ))  # fmt: skip
    places = {name: (v.space, v.offset, v.size) for name, v in kernel.variables.items()}
    assert places == {"first": ("shared", 0, 12), "second": ("shared", 16, 48), "rest": ("shared", 64, 0),
                      "mine": ("local", 0, 12), "more": ("local", 16, 4)}  # fmt: skip
    assert (kernel.shared_size, kernel.local_size) == (64, 20)


def test_initial_values_become_bytes():
    head = ".const .align 4 .u32 table[3] = {1, 0xFFFFFFFF};\n.global .f32 one = 0f3F800000;"
    kernel = parse(assemble("", head=head))
    assert kernel.variables["table"].data == b"\1\0\0\0\xff\xff\xff\xff\0\0\0\0"
    assert kernel.variables["one"].data == b"\0\0\x80\x3f"


def test_registers_of_an_inner_scope_are_their_own():
    kernel = parse(assemble(".reg .b32 %r; mov.u32 %r, 1; { .reg .f32 %r; mov.f32 %r, 0f00000000; } mov.u32 %r, 2;"))
    targets = [i.operands[0] for i in kernel.instructions[:3]]
    assert targets[0] == targets[2] != targets[1]
    assert kernel.registers[targets[1]] == TYPES["f32"]


def test_registers_that_are_still_read_are_live():
    kernel = parse(assemble(
        ".reg .b32 %a, %b, %c; .reg .pred %p;"
        "mov.u32 %a, 1; mov.u32 %b, 2; again: add.u32 %b, %b, %a; setp.lt.u32 %p, %b, 9; @%p bra again; mov.u32 %c, %b;"
    ))  # fmt: skip
    live = live_before(kernel)
    assert live[2] == {"%a", "%b"} and live[5] == {"%b"} and live[6] == set()


@pytest.mark.parametrize(
    ("text", "value"),
    [("12", 12), ("-3", -3), ("0x1F", 31), ("0xFFU", 255), ("017", 15), ("0b101", 5), ("0f3F800000", 1.0),
     ("0dC000000000000000", -2.0)],
)  # fmt: skip
def test_numbers(text, value):
    assert parse_number(text) == value


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 %f, %f;", "instruction mma is not known"),
        ("frobnicate.b32 %r, %r;", "instruction frobnicate is not known"),
        ("add.f16 %r, %r, %r;", r"add with .f16"),
        ("add.rna.f32 %f, %f, %f;", r"instruction add.rna.f32 is not known \(add with .rna\)"),
        ("sin.approx.f64 %f, %f;", r"instruction sin.approx.f64 is not known \(sin of .f64\)"),
        ("fma.rm.f64 %d, %d, %d, %d;", "rounding .rm of float64"),
        ("add.u32 %r, %r;", "operands not understood"),
        ("add %r, %r, %r;", "lacks a type"),
        ("mul.u32 %r, %r, %r;", "lo, hi or wide expected"),
        ("add.u32 %r, %zzz, %r;", "register %zzz is not known"),
        ("add.u32 %zzz, %r, %r;", "register %zzz is not known"),
        ("add.f32 %f, %f, 1.5;", "not a number of PTX"),
        ("mov.u64 %d, nowhere;", "nowhere is not known"),
        ("bra nowhere;", "label nowhere does not exist"),
        ("ld.global.f32 %f, %d;", "not an address"),
        ("ld.global.f32 %f, [%r];", "addresses have 64 bits, %r has 32"),
        ("ld.global.v2.f32 %f, [%d];", "2 registers expected"),
        ("ld.param.u64 %d, [nothing];", "parameter nothing is not known"),
        ("ld.param.u64 %d, [kernel_param_0+4];", "outside the parameter"),
        ("bar.sync 1;", "only barrier 0"),
        ("bar.sync 0, 64;", "only barrier 0"),
        ("shfl.down.b32 %r, %r, 1, 31;", "shfl.sync"),
        ("atom.global.add.u32 %r, [%d];", "operation or operands"),
        ("atom.global.max.f32 %f, [%d], %f;", "atomic max of floats"),
        ("cvt.s32.f32 %r, %f;", "rni, rzi, rmi or rpi expected"),
        ("setp.lo.f32 %p, %f, %f;", "comparison .lo of f32"),
        ("{ add.u32 %r, %r, %r;", "brace is not closed"),
        ("} {", "closing brace without an opening one"),
        ("here: here:", "label defined twice"),
        (".reg .v4 %q;", "type .v4 is not known"),
        (".surprise 1;", "directive not known"),
        ("call.uni other, ();", "instruction call is not known"),
    ],
)
@pytest.mark.parametrize("checked", [False, True])
def test_what_is_not_understood_is_refused_by_name_and_line(body, words, checked):
    registers = ".reg .b32 %r; .reg .f32 %f; .reg .b64 %d; .reg .pred %p;\n"
    with pytest.raises(emulator.PtxError, match=words) as caught:
        emulator.load(assemble(registers + body, "u64"), checked=checked)
    if "brace is not" not in words and "does not exist" not in words:
        assert caught.value.line is not None


@pytest.mark.parametrize(
    ("ptx", "words"),
    [
        ("", "0 found"),
        ("not PTX at all {", "0 found"),
        (assemble("") + assemble(""), "2 found"),
        (assemble("").replace("}", ""), "no closing brace"),
        (assemble("").replace("ret;", "ret"), "semicolon is missing"),
        (".func (.reg .b32 %out) helper (.reg .b32 %in) { ret; }\n" + assemble(""), ".func helper"),
        (".extern .func vprintf (.param .b64 a);\n" + assemble(""), ".func vprintf"),
        (assemble("").replace("kernel()", "kernel(.param .align 8 .b8 pair[16])"), "one number or pointer"),
        (assemble("").replace("kernel()", "kernel(.param .f16 half)"), "type .f16"),
        (assemble("", head=".global .u32 x = other;"), "numbers"),
    ],
)
def test_text_that_is_no_kernel_is_refused(ptx, words):
    with pytest.raises(emulator.PtxError, match=words):
        emulator.load(ptx, checked=False)


def test_the_list_of_instructions_is_what_can_be_translated():
    control = {"bra", "brx", "ret", "exit", "trap"}
    assert {name for name, _ in HANDLERS} == set(KNOWN) - control


@pytest.mark.parametrize("name", sorted(name for names in SPECIAL_REGISTERS for name in names.split()))
def test_every_special_register_of_the_list_can_be_read(name):
    emulator.load(assemble(f".reg .b32 %r; mov.u32 %r, {name};"), checked=False)
