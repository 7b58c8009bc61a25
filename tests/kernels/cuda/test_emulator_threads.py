"""Threads, warps and blocks: what they exchange, in which order they run, on how many cores."""

import json
import os
import struct

import numpy as np
import pytest

pytest.importorskip("numba", reason="the emulator needs Numba and llvmlite")

from minicnn.kernels.cuda import emulator  # noqa: E402

from .emulating import Arrays, assemble, execute, three  # noqa: E402

START = """
    .reg .b32 %t, %i, %v, %w, %lane; .reg .pred %p, %q; .reg .b64 %x, %y, %s, %wide; .reg .f32 %f;
    mov.u32 %t, %tid.x; mov.u32 %v, %ctaid.x; mov.u32 %w, %ntid.x; mad.lo.u32 %i, %v, %w, %t; mov.u32 %lane, %laneid;
    mad.wide.u32 %x, %i, 4, %0; mad.wide.u32 %y, %i, 4, %1;
"""
BOTH = pytest.mark.parametrize(
    ("checked", "order"), [(False, "forward"), (True, "forward"), (True, "reverse"), (False, "reverse")]
)


def run(body: str, x: np.ndarray, grid=1, block=None, head="", **options) -> np.ndarray:
    """y, one number for each of x; the thread's are at [%x] and [%y]."""
    y = np.zeros_like(x)
    return execute(assemble(START + body, "u64 u64", head), [x, y], grid, block or len(x), **options)[1]


@BOTH
@pytest.mark.parametrize("mode", ["up", "down", "bfly", "idx"])
@pytest.mark.parametrize("width", [32, 8])
def test_shuffles(mode, width, checked, order):
    """As the CUDA programming guide describes __shfl_sync and its kin."""
    lanes, by = np.arange(64) % 32, 3
    clamp = ((32 - width) << 8) | (0 if mode == "up" else 31)
    part, base = lanes % width, lanes // width * width
    source = {"up": part - by, "down": part + by, "bfly": part ^ by, "idx": np.full(64, by % width)}[mode]
    inside = (source >= 0) & (source < width)
    source = np.where(inside, source, part) + base + np.arange(64) // 32 * 32
    x = np.random.default_rng(0).integers(0, 2**32, 64, np.uint32)
    body = f"ld.global.u32 %v, [%x]; shfl.sync.{mode}.b32 %w|%p, %v, {by}, {clamp}, -1; selp.u32 %v, 1, 0, %p;"
    taken = run(body + "st.global.u32 [%y], %w;", x, checked=checked, order=order)
    np.testing.assert_array_equal(taken, x[source])
    flags = run(body + "st.global.u32 [%y], %v;", x, checked=checked, order=order)
    np.testing.assert_array_equal(flags, inside)


@BOTH
def test_votes(checked, order):
    x = np.zeros(96, np.uint32)
    x[[3, 40, 31]] = 1
    x[64:] = 1
    ballots = [1 << 3 | 1 << 31, 1 << 8, 2**32 - 1]
    start = "ld.global.u32 %v, [%x]; setp.ne.u32 %p, %v, 0;"
    expected = {"all": [0, 0, 1], "any": [1, 1, 1], "uni": [0, 0, 1]}
    for kind, values in expected.items():
        body = f"{start} vote.sync.{kind}.pred %q, %p, -1; selp.u32 %v, 1, 0, %q; st.global.u32 [%y], %v;"
        np.testing.assert_array_equal(run(body, x, checked=checked, order=order), np.repeat(values, 32))
    body = f"{start} vote.sync.ballot.b32 %w, %p, -1; st.global.u32 [%y], %w;"
    np.testing.assert_array_equal(run(body, x, checked=checked, order=order), np.repeat(np.uint32(ballots), 32))


@BOTH
def test_half_a_warp_may_shuffle_while_the_other_goes_its_own_way(checked, order):
    body = """
        setp.lt.u32 %p, %lane, 16; @%p bra low;
        shfl.sync.bfly.b32 %v, %i, 1, 31, 0xFFFF0000; bra end;
        low: shfl.sync.bfly.b32 %v, %i, 2, 31, 0x0000FFFF;
        end: bar.sync 0; st.global.u32 [%y], %v;
    """
    expected = [i ^ (2 if i % 32 < 16 else 1) for i in range(64)]
    np.testing.assert_array_equal(run(body, np.zeros(64, np.uint32), checked=checked, order=order), expected)


@BOTH
def test_the_mask_of_those_that_are_here(checked, order):
    body = "setp.lt.u32 %p, %lane, 5; @!%p bra end; activemask.b32 %v; st.global.u32 [%y], %v; end: bar.sync 0;"
    expected = np.where(np.arange(64) % 32 < 5, 31, 0)
    np.testing.assert_array_equal(run(body, np.zeros(64, np.uint32), checked=checked, order=order), expected)


@BOTH
def test_barriers_that_count(checked, order):
    x = np.arange(70, dtype=np.uint32)
    for kind, value in (("popc.u32", 12), ("and.pred", 0), ("or.pred", 1)):
        target = "%v" if kind.startswith("popc") else "%q"
        move = "" if kind.startswith("popc") else "selp.u32 %v, 1, 0, %q;"
        body = f"setp.lt.u32 %p, %t, 12; bar.red.{kind} {target}, 0, %p; {move} st.global.u32 [%y], %v;"
        np.testing.assert_array_equal(run(body, x, checked=checked, order=order), np.full(70, value))


@BOTH
def test_registers_of_every_kind_survive_a_barrier(checked, order):
    body = """
        .reg .b16 %h; .reg .f64 %d; .reg .b64 %l; .reg .b32 %z;
        cvt.u16.u32 %h, %i; cvt.rn.f64.u32 %d, %i; cvt.u64.u32 %l, %i; shl.b64 %l, %l, 33; cvt.rn.f32.u32 %f, %i;
        setp.gt.u32 %p, %i, 20; add.cc.u32 %z, %i, -21;
        bar.sync 0;
        addc.u32 %v, 0, 0; cvt.u32.u16 %w, %h; add.u32 %v, %v, %w; selp.u32 %w, 1000, 0, %p; add.u32 %v, %v, %w;
        cvt.rzi.u32.f64 %w, %d; add.u32 %v, %v, %w; shr.u64 %l, %l, 33; cvt.u32.u64 %w, %l; add.u32 %v, %v, %w;
        cvt.rzi.u32.f32 %w, %f; add.u32 %v, %v, %w; st.global.u32 [%y], %v;
    """
    i = np.arange(40, dtype=np.uint32)
    expected = 4 * i + np.where(i > 20, 1001, 0)
    np.testing.assert_array_equal(run(body, i, checked=checked, order=order), expected)


@BOTH
def test_shared_memory_static_and_dynamic(checked, order):
    """Reversed within the block, by way of both."""
    head = ".shared .align 4 .b8 fixed[12];\n.extern .shared .align 16 .b8 rest[];"
    body = """
        ld.global.u32 %v, [%x]; mov.u64 %s, rest; mad.wide.u32 %wide, %t, 4, %s; st.shared.u32 [%wide], %v;
        setp.eq.u32 %p, %t, 0; @%p st.shared.u32 [fixed+8], %v; bar.sync 0;
        mov.u32 %w, 63; sub.u32 %w, %w, %t; mad.wide.u32 %wide, %w, 4, %s; ld.shared.u32 %v, [%wide];
        ld.shared.u32 %w, [fixed+8]; add.u32 %v, %v, %w; mov.u32 %w, %dynamic_smem_size; add.u32 %v, %v, %w;
        st.global.u32 [%y], %v;
    """
    x = np.arange(128, dtype=np.uint32)
    got = run(body, x, 2, 64, head, checked=checked, order=order, shared_bytes=256)
    pairs = x.reshape(2, 64)
    np.testing.assert_array_equal(got, (pairs[:, ::-1] + pairs[:, :1] + 256).reshape(-1))


@BOTH
def test_local_memory_belongs_to_each_thread(checked, order):
    body = """
        .local .align 16 .b8 mine[64]; .reg .b64 %l;
        mov.u64 %l, mine; mad.wide.u32 %l, %lane, 0, %l; st.local.v2.u32 [%l+8], {%i, %t}; bar.sync 0;
        ld.local.u32 %v, [%l+8]; ld.u32 %w, [%l+12]; add.u32 %v, %v, %w; st.global.u32 [%y], %v;
    """
    i = np.arange(64, dtype=np.uint32)
    np.testing.assert_array_equal(run(body, i, checked=checked, order=order), 2 * i)


@BOTH
def test_narrow_loads_and_stores_keep_their_sign(checked, order):
    x = np.frombuffer(np.random.default_rng(0).bytes(256), np.uint32)
    body = """
        .reg .b16 %h; .reg .b32 %a;
        ld.global.s8 %v, [%x]; ld.global.u8 %w, [%x+1]; add.s32 %v, %v, %w;
        ld.global.s16 %w, [%x+2]; add.s32 %v, %v, %w; ld.global.s8 %h, [%x+3]; cvt.s32.s16 %w, %h; add.s32 %v, %v, %w;
        st.global.u32 [%y], %v; st.global.u8 [%y+3], %v;
    """
    b = x.view(np.int8).reshape(-1, 4).astype(np.int64)
    total = b[:, 0] + (b[:, 1] & 255) + x.view(np.int16)[1::2] + b[:, 3]
    expected = (total & 0xFFFFFF) | (total & 0xFF) << 24
    np.testing.assert_array_equal(run(body, x, checked=checked, order=order), expected.astype(np.uint32))


@BOTH
def test_vectors_of_numbers(checked, order):
    x = np.arange(64, dtype=np.float32)
    body = """
        .reg .f32 %a, %b, %c, %d; .reg .b64 %z; setp.ge.u32 %p, %t, 16; @%p ret;
        mad.wide.u32 %z, %t, 16, %0; ld.global.nc.v4.f32 {%a, %b, %c, %d}, [%z];
        mad.wide.u32 %z, %t, 16, %1; st.global.v2.f32 [%z], {%d, %c}; st.global.v2.f32 [%z+8], {%b, %a};
    """
    np.testing.assert_array_equal(run(body, x, checked=checked, order=order), x.reshape(-1, 4)[:, ::-1].reshape(-1))


ATOMICS = {
    "add": lambda old, b: old + b,
    "min": min,
    "max": max,
    "and": lambda old, b: old & b,
    "or": lambda old, b: old | b,
    "xor": lambda old, b: old ^ b,
    "exch": lambda old, b: b,
    "inc": lambda old, b: 0 if old >= b else old + 1,
    "dec": lambda old, b: b if old == 0 or old > b else old - 1,
}


@BOTH
@pytest.mark.parametrize("operation", ATOMICS)
def test_atomics(operation, checked, order):
    """Each thread on a word of its own: what it gets is the old value."""
    old, b = (np.random.default_rng(k).integers(0, 9, 64, np.uint32) for k in (0, 1))
    type_ = "b32" if operation in ("and", "or", "xor", "exch") else "u32"
    text = f"ld.global.u32 %v, [%y]; atom.global.{operation}.{type_} %w, [%x], %v; st.global.u32 [%y], %w;"
    new, got = execute(assemble(START + text, "u64 u64"), [old, b], 1, 64, checked=checked, order=order)
    np.testing.assert_array_equal(got, old)
    np.testing.assert_array_equal(new, [ATOMICS[operation](int(p), int(q)) for p, q in zip(old, b, strict=True)])


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_atomics_of_all_blocks_add_up(threads):
    text = """
        .reg .b64 %l; red.global.add.u32 [%1], 1; red.global.add.f32 [%1+4], 0f3F000000; mov.u64 %l, -1;
        red.global.add.u64 [%1+8], %l; again: ld.volatile.global.u32 %v, [%1+16]; add.u32 %w, %v, 3;
        atom.global.cas.b32 %w, [%1+16], %v, %w; setp.ne.u32 %p, %v, %w; @%p bra again;
    """
    y = np.zeros(6, np.uint32)
    ptx = assemble(START + text, "u64 u64")
    _, got = execute(ptx, [y, y], 640, 64, checked=False, threads=threads)
    assert got[0] == 40960 and got[1:2].view(np.float32)[0] == 20480 and got[4] == 3 * 40960
    assert got[2:4].view(np.int64)[0] == -40960


def test_special_registers():
    names = ["tid.x", "tid.y", "tid.z", "ntid.x", "ntid.y", "ntid.z", "ctaid.x", "ctaid.y", "ctaid.z", "nctaid.x",
             "nctaid.y", "nctaid.z", "laneid", "warpid", "nwarpid", "lanemask_eq", "lanemask_lt", "lanemask_le",
             "lanemask_gt", "lanemask_ge"]  # fmt: skip
    block, grid = (5, 3, 4), (2, 3, 2)
    stores = "".join(f"mov.u32 %a, %{name}; st.global.u32 [%y+{4 * k}], %a;" for k, name in enumerate(names))
    body = f"""
        .reg .b32 %a, %b, %n; .reg .b64 %y;
        mov.u32 %n, %ctaid.z; mov.u32 %a, %nctaid.y; mov.u32 %b, %ctaid.y; mad.lo.u32 %n, %n, %a, %b;
        mov.u32 %a, %nctaid.x; mov.u32 %b, %ctaid.x; mad.lo.u32 %n, %n, %a, %b;
        mov.u32 %a, %ntid.z; mov.u32 %b, %tid.z; mad.lo.u32 %n, %n, %a, %b;
        mov.u32 %a, %ntid.y; mov.u32 %b, %tid.y; mad.lo.u32 %n, %n, %a, %b;
        mov.u32 %a, %ntid.x; mov.u32 %b, %tid.x; mad.lo.u32 %n, %n, %a, %b;
        mul.lo.u32 %n, %n, {4 * len(names)}; cvt.u64.u32 %y, %n; add.u64 %y, %y, %0; {stores}
    """
    (got,) = execute(assemble(body, "u64"), [np.zeros((2, 3, 2, 4, 3, 5, len(names)), np.uint32)], grid, block)
    cz, cy, cx, tz, ty, tx = np.indices(got.shape[:-1])
    thread = (tz * 3 + ty) * 5 + tx
    lane, bit = thread % 32, 1 << thread % 32
    columns = [tx, ty, tz, 5, 3, 4, cx, cy, cz, 2, 3, 2, lane, thread // 32, 2, bit, bit - 1, 2 * bit - 1,
               2**32 - 2 * bit, 2**32 - bit]  # fmt: skip
    for name, column, values in zip(names, columns, np.moveaxis(got, -1, 0), strict=True):
        np.testing.assert_array_equal(values, column, err_msg=name)


def test_instructions_that_change_nothing_here():
    """Fences, hints, addresses of other spaces, clocks."""
    head = ".shared .align 4 .b8 pool[256];"
    body = """
        .reg .b64 %a, %c; mov.u32 %v, %clock; mov.u64 %c, %clock64; nanosleep.u32 20; membar.gl; fence.acq_rel.gpu;
        cvta.to.global.u64 %a, %x; ldu.global.u32 %v, [%a]; mov.u64 %s, pool; cvta.shared.u64 %s, %s;
        mad.wide.u32 %s, %t, 4, %s; st.u32 [%s], %v; barrier.sync 0; ld.volatile.shared.u32 %w, [%s];
        st.global.cs.u32 [%y], %w; exit; trap;
    """
    x = np.arange(64, dtype=np.uint32)
    np.testing.assert_array_equal(run(body, x, head=head), x)


def test_jumps_by_a_table():
    body = """
        ld.global.u32 %v, [%x]; ts: .branchtargets a, b, c; brx.idx %v, ts;
        a: mov.u32 %w, 10; bra end; b: mov.u32 %w, 20; bra end; c: mov.u32 %w, 30; end: st.global.u32 [%y], %w;
    """
    x = np.array([0, 1, 2, 1] * 8, np.uint32)
    np.testing.assert_array_equal(run(body, x), 10 + 10 * x)


def test_constants_of_the_program():
    table = ".const .align 4 .f32 table[3] = {0f3F800000, 0f40000000, 0f40400000};"
    head = table + "\n.global .align 4 .u32 count[1] = {7};"
    body = """
        ld.const.f32 %f, [table+4]; cvt.rzi.u32.f32 %v, %f; ld.global.u32 %w, [count]; add.u32 %v, %v, %w;
        st.global.u32 [%y], %v;
    """
    assert run(body, np.zeros(32, np.uint32), head=head).tolist() == [9] * 32
    with pytest.raises(emulator.KernelFault, match="out of bounds"):
        run("ld.const.f32 %f, [table+12];", np.zeros(32, np.uint32), head=head)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_cores_share_the_blocks_and_change_nothing(threads):
    """Sums by shared memory, 300 blocks of 256 threads."""
    head = ".shared .align 4 .b8 pool[1024];"
    body = """
        ld.global.f32 %f, [%x]; mov.u64 %s, pool; mad.wide.u32 %wide, %t, 4, %s; st.shared.f32 [%wide], %f;
        mov.u32 %v, 128; .reg .b64 %o; .reg .f32 %g;
        again: bar.sync 0; setp.ge.u32 %p, %t, %v; @%p bra skip;
        mad.wide.u32 %o, %v, 4, %wide; ld.shared.f32 %g, [%o]; ld.shared.f32 %f, [%wide]; add.f32 %f, %f, %g;
        st.shared.f32 [%wide], %f;
        skip: shr.u32 %v, %v, 1; setp.ne.u32 %p, %v, 0; @%p bra again;
        bar.sync 0; ld.shared.f32 %f, [pool]; st.global.f32 [%y], %f;
    """
    x = np.random.default_rng(0).normal(size=300 * 256).astype(np.float32)
    got = run(body, x, 300, 256, head, checked=False, threads=threads).reshape(300, 256)
    sums = x.reshape(300, 256).copy()
    while sums.shape[1] > 1:
        sums = sums[:, : sums.shape[1] // 2] + sums[:, sums.shape[1] // 2 :]
    np.testing.assert_array_equal(got, np.broadcast_to(sums, (300, 256)))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # a fork beside threads is what this is about
def test_a_child_process_runs_blocks_on_cores_of_its_own():
    x = np.ones(64 * 640, np.float32)
    body = "ld.global.f32 %f, [%x]; add.f32 %f, %f, %f; st.global.f32 [%y], %f;"

    def twice() -> bool:
        return bool((run(body, x, 640, 64, checked=False, threads=2) == 2).all())

    assert twice()
    child = os.fork()
    if child == 0:
        os._exit(0 if twice() else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_machine_code_is_kept_and_checked(tmp_path):
    ptx = assemble(START + "ld.global.u32 %v, [%x]; bar.sync 0; add.u32 %v, %v, 5; st.global.u32 [%y], %v;", "u64 u64")
    x = np.arange(32, dtype=np.uint32)

    def result(checked: bool) -> list[int]:
        arrays = Arrays(x, x)
        program = emulator.load(ptx, checked=checked, cache=tmp_path / "code")
        packed = struct.pack(program.parameters, *(view.ctypes.data for view in arrays.views))
        program.run(three(1), three(32), 0, packed, arrays.memory)
        return arrays.views[1].tolist()

    expected = (x + 5).tolist()
    assert result(False) == expected and result(True) == expected
    files = sorted((tmp_path / "code").iterdir())
    assert sorted(path.suffix for path in files) == [".json", ".json", ".o", ".o"]
    times = [path.stat().st_mtime_ns for path in files]
    assert result(False) == expected and result(True) == expected
    assert [path.stat().st_mtime_ns for path in files] == times
    for path in files:  # what is damaged is made again
        if path.suffix == ".o":
            path.write_bytes(path.read_bytes()[:-7])
        else:
            json.loads(path.read_text())
    assert result(False) == expected and result(True) == expected


def test_memory_knows_its_allocations():
    memory = emulator.Memory()
    memory.add(1000, 100)
    memory.add(100, 10)
    memory.add(2000, 0)
    assert len(memory) == 3
    assert memory.find(1099) == (1000, 100) and memory.find(1100) is None and memory.find(99) is None
    with pytest.raises(ValueError, match="overlaps"):
        memory.add(1050, 10)
    with pytest.raises(ValueError, match="overlaps"):
        memory.add(990, 11)
    memory.remove(1000)
    assert memory.find(1050) is None
    with pytest.raises(KeyError):
        memory.remove(1000)


def test_wrong_calls_are_refused():
    program = emulator.load(assemble("", "u64 u32"), checked=False)
    assert program.parameters == "@QI"
    with pytest.raises(ValueError, match=r"8 bytes of parameters, 12 \(@QI\) expected"):
        program.run(three(1), three(1), 0, bytes(8), emulator.Memory())
    with pytest.raises(ValueError, match="'forward' or 'reverse' expected"):
        program.run(three(1), three(1), 0, bytes(12), emulator.Memory(), order="sideways")
