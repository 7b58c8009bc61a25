"""Each check of the emulator's checked mode: a kernel with a planted fault is caught, its sound twin is not."""

import pickle
from dataclasses import dataclass

import numpy as np
import pytest

pytest.importorskip("numba", reason="the emulator needs Numba and llvmlite")

from minicnn.kernels.cuda import emulator  # noqa: E402

from .emulating import Arrays, assemble, execute, three  # noqa: E402

HEAD = ".shared .align 16 .b8 pool[256];"
START = """
    .local .align 8 .b8 mine[32];
    .reg .b32 %t, %v, %w, %n; .reg .f32 %f, %g; .reg .pred %p, %q; .reg .b64 %x, %y, %s, %l, %d; .reg .b16 %h;
    .reg .f32 %f<4>;
    mov.u32 %t, %tid.x;
    mad.wide.u32 %x, %t, 4, %0;    // x and y + 4 * thread, and the same in shared memory
    mad.wide.u32 %y, %t, 4, %1;
    mov.u64 %s, pool; mad.wide.u32 %s, %t, 4, %s;
    mov.u64 %l, mine;
    ld.global.f32 %f, [%x];
"""


@dataclass(frozen=True)
class Plant:
    """faulty and sound: instructions after START; kind: of the fault, as it is named."""

    name: str
    kind: str
    faulty: str
    sound: str
    grid: int = 1


# 64 threads, x and y of 64 float32 each, pool of 64.
PLANTS = [
    Plant("read beyond the end", "global out of bounds", "ld.global.f32 %f, [%x+4];", "ld.global.f32 %f, [%x];"),
    Plant("read before the start", "global out of bounds", "ld.global.f32 %f, [%x+-4];", "ld.global.f32 %f, [%x+0];"),
    Plant("write beyond the end", "global out of bounds", "st.global.f32 [%y+4], %f;", "st.global.f32 [%y], %f;"),
    Plant("write where nothing is", "global out of bounds", "mov.u64 %d, 64; st.global.f32 [%d], %f;",
          "mov.u64 %d, %y; st.global.f32 [%d], %f;"),
    Plant("generic write beyond the end", "global out of bounds", "st.f32 [%y+4], %f;", "st.f32 [%y], %f;"),
    Plant("shared beyond the end", "shared out of bounds", "st.shared.f32 [%s+4], %f;", "st.shared.f32 [%s], %f;"),
    Plant("local beyond the end", "local out of bounds", "st.local.f32 [%l+32], %f;", "st.local.f32 [%l+28], %f;"),
    Plant("vector across the end", "global out of bounds", "setp.eq.u32 %p, %t, 60; @%p ld.global.v4.f32 "
          "{%f0, %f1, %f2, %f3}, [%x+16];", "setp.eq.u32 %p, %t, 60; @%p ld.global.v4.f32 {%f0, %f1, %f2, %f3}, [%x];"),
    Plant("misaligned", "global misaligned access", "ld.global.f32 %f, [%0+2];", "ld.global.f32 %f, [%0+4];"),
    Plant("misaligned vector", "global misaligned access", "ld.global.v4.f32 {%f0, %f1, %f2, %f3}, [%0+8];",
          "ld.global.v4.f32 {%f0, %f1, %f2, %f3}, [%0+16];"),
    Plant("misaligned in shared memory", "shared misaligned access", "st.shared.v2.f32 [pool+4], {%f, %f};",
          "setp.eq.u32 %p, %t, 0; @%p st.shared.v2.f32 [pool+8], {%f, %f};"),
    Plant("read of what another thread writes", "shared race",
          "st.shared.f32 [%s], %f; xor.b32 %v, %t, 63; mov.u64 %d, pool; mad.wide.u32 %d, %v, 4, %d;"
          "bar.sync 0; st.shared.f32 [%s], %f; ld.shared.f32 %f, [%d];",
          "st.shared.f32 [%s], %f; xor.b32 %v, %t, 63; mov.u64 %d, pool; mad.wide.u32 %d, %v, 4, %d;"
          "bar.sync 0; st.shared.f32 [%s], %f; bar.sync 0; ld.shared.f32 %f, [%d];"),
    Plant("write of what another thread reads", "shared race",
          "st.shared.f32 [%s], %f; bar.sync 0; ld.shared.f32 %f, [pool]; st.shared.f32 [%s], %f;",
          "st.shared.f32 [%s], %f; bar.sync 0; ld.shared.f32 %f, [pool]; bar.sync 0; st.shared.f32 [%s], %f;"),
    Plant("two write the same word", "shared race", "st.shared.f32 [pool], %f;",
          "setp.eq.u32 %p, %t, 5; @%p st.shared.f32 [pool], %f;"),
    Plant("two write the same byte", "shared race",
          "shr.u32 %v, %t, 1; cvt.u64.u32 %d, %v; mov.u64 %s, pool; add.u64 %d, %d, %s; mov.u16 %h, 1;"
          "st.shared.u8 [%d], %h;",
          "cvt.u64.u32 %d, %t; mov.u64 %s, pool; add.u64 %d, %d, %s; mov.u16 %h, 1; st.shared.u8 [%d], %h;"),
    Plant("lanes of a warp without a barrier", "shared race",
          "st.shared.f32 [%s], %f; xor.b32 %v, %t, 1; mov.u64 %d, pool; mad.wide.u32 %d, %v, 4, %d;"
          "bar.sync 0; st.shared.f32 [%s], %f; ld.shared.f32 %f, [%d];",
          "st.shared.f32 [%s], %f; xor.b32 %v, %t, 1; mov.u64 %d, pool; mad.wide.u32 %d, %v, 4, %d;"
          "bar.sync 0; st.shared.f32 [%s], %f; bar.warp.sync -1; ld.shared.f32 %f, [%d];"),
    Plant("warps with barriers of their own", "shared race",
          "st.shared.f32 [%s], %f; bar.sync 0; st.shared.f32 [%s], %f; xor.b32 %v, %t, 32; mov.u64 %d, pool;"
          "mad.wide.u32 %d, %v, 4, %d; bar.warp.sync -1; ld.shared.f32 %f, [%d];",
          "st.shared.f32 [%s], %f; bar.sync 0; st.shared.f32 [%s], %f; xor.b32 %v, %t, 16; mov.u64 %d, pool;"
          "mad.wide.u32 %d, %v, 4, %d; bar.warp.sync -1; ld.shared.f32 %f, [%d];"),
    Plant("a shuffle is no barrier", "shared race",
          "st.shared.f32 [%s], %f; bar.sync 0; st.shared.f32 [%s], %f; xor.b32 %v, %t, 1; mov.u64 %d, pool;"
          "mad.wide.u32 %d, %v, 4, %d; shfl.sync.bfly.b32 %w, %v, 1, 31, -1; ld.shared.f32 %f, [%d];",
          "st.shared.f32 [%s], %f; bar.sync 0; st.shared.f32 [%s], %f; xor.b32 %v, %t, 1; mov.u64 %d, pool;"
          "mad.wide.u32 %d, %v, 4, %d; shfl.sync.bfly.b32 %w, %v, 1, 31, -1; bar.warp.sync -1;"
          "ld.shared.f32 %f, [%d];"),
    Plant("two write the same word of global memory", "global race", "st.global.f32 [%1], 0f00000000;",
          "setp.eq.u32 %p, %t, 0; @%p st.global.f32 [%1], 0f00000000;"),
    Plant("read after another's write, no barrier", "global race",
          "st.global.f32 [%y], %f; ld.global.f32 %f, [%1];",
          "st.global.f32 [%y], %f; bar.sync 0; ld.global.f32 %f, [%1];"),
    Plant("two blocks write the same word", "global race", "st.global.f32 [%y], %f;",
          "mov.u32 %v, %ctaid.x; setp.eq.u32 %p, %v, 0; @%p st.global.f32 [%y], %f;", grid=2),
    Plant("a block reads what another wrote", "global race",
          "mov.u32 %v, %ctaid.x; setp.eq.u32 %p, %v, 0; @%p st.global.f32 [%y], %f; @!%p ld.global.f32 %f, [%y];",
          "mov.u32 %v, %ctaid.x; setp.eq.u32 %p, %v, 0; @%p st.global.f32 [%y], %f; @%p ld.global.f32 %f, [%y];",
          grid=2),
    Plant("a block writes what another read", "global race",
          "mov.u32 %v, %ctaid.x; setp.eq.u32 %p, %v, 1; @!%p ld.global.f32 %f, [%1]; bar.sync 0;"
          "setp.eq.and.u32 %q, %t, 40, %p; @%q st.global.f32 [%1], %f;",
          "mov.u32 %v, %ctaid.x; setp.eq.u32 %p, %v, 1; @%p ld.global.f32 %f, [%1]; bar.sync 0;"
          "setp.eq.and.u32 %q, %t, 40, %p; @%q st.global.f32 [%1], %f;", grid=2),
    Plant("an atomic and a plain write", "global race",
          "atom.global.add.u32 %v, [%1], 1; setp.eq.u32 %p, %t, 9; @%p st.global.u32 [%1], %t;",
          "atom.global.add.u32 %v, [%1], 1; bar.sync 0; setp.eq.u32 %p, %t, 9; @%p st.global.u32 [%1], %t;"),
    Plant("an atomic and a plain read", "global race", "red.global.add.u32 [%1], 1; ld.global.u32 %v, [%1];",
          "red.global.add.u32 [%1], 1; bar.sync 0; ld.global.u32 %v, [%1];"),
    Plant("never written", "uninitialised shared memory",
          "setp.lt.u32 %p, %t, 63; @%p st.shared.f32 [%s], %f; bar.sync 0; ld.shared.f32 %f, [%s];",
          "st.shared.f32 [%s], %f; bar.sync 0; ld.shared.f32 %f, [%s];"),
    Plant("only written by the block before", "uninitialised shared memory",
          "mov.u32 %v, %ctaid.x; setp.eq.u32 %p, %v, 0; @%p st.shared.f32 [%s], %f; ld.shared.f32 %f, [%s];",
          "st.shared.f32 [%s], %f; ld.shared.f32 %f, [%s];", grid=2),
    Plant("some threads are done", "divergent barrier", "setp.gt.u32 %p, %t, 40; @%p ret; bar.sync 0;",
          "bar.sync 0; setp.gt.u32 %p, %t, 40; @%p ret;"),
    Plant("some threads at another barrier", "divergent barrier",
          "setp.gt.u32 %p, %t, 40; @%p bra other; bar.sync 0; bra end; other: bar.sync 0; end:",
          "setp.gt.u32 %p, %t, 99; @%p bra other; bar.sync 0; bra end; other: bar.sync 0; end:"),
    Plant("lanes of the mask are done", "divergent warp", "setp.gt.u32 %p, %t, 40; @%p ret;"
          "shfl.sync.down.b32 %v, %t, 1, 31, -1;", "shfl.sync.down.b32 %v, %t, 1, 31, -1;"),
    Plant("lanes of the mask went another way", "divergent warp",
          "and.b32 %v, %t, 31; setp.lt.u32 %p, %v, 16; @%p shfl.sync.bfly.b32 %w, %t, 1, 31, -1;",
          "and.b32 %v, %t, 31; setp.lt.u32 %p, %v, 16; @%p shfl.sync.bfly.b32 %w, %t, 1, 31, 0xFFFF;"),
    Plant("a lane that its mask does not name", "divergent warp", "shfl.sync.bfly.b32 %w, %t, 1, 31, 0xFFFF;",
          "shfl.sync.bfly.b32 %w, %t, 1, 31, 0xFFFFFFFF;"),
    Plant("a vote that some do not come to", "divergent warp",
          "setp.lt.u32 %p, %t, 33; @%p vote.sync.ballot.b32 %v, %p, -1;",
          "setp.lt.u32 %p, %t, 33; vote.sync.ballot.b32 %v, %p, -1;"),
    Plant("a loop that does not end", "endless loop", "again: add.u32 %v, %v, 0; setp.eq.u32 %p, %v, 0; @%p bra again;",
          "again: add.u32 %v, %v, 1; setp.lt.u32 %p, %v, 100; @%p bra again;"),
    Plant("division by zero", "division by zero", "div.u32 %v, 64, %t;", "add.u32 %v, %t, 1; div.u32 %v, 64, %v;"),
    Plant("a trap", "trap", "setp.eq.u32 %p, %t, 3; @%p trap;", "setp.eq.u32 %p, %t, 64; @%p trap;"),
]  # fmt: skip


def run(body: str, grid: int, order: str) -> None:
    x = np.ones(64, np.float32)
    execute(assemble(START + body, "u64 u64", HEAD), [x, np.zeros_like(x)], grid, 64, order=order)


@pytest.mark.parametrize("order", ["forward", "reverse"])
@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_a_planted_fault_is_found_and_its_sound_twin_is_not(plant, order):
    with pytest.raises(emulator.KernelFault) as caught:
        run(plant.faulty, plant.grid, order)
    assert caught.value.kind == plant.kind
    assert caught.value.count >= 1
    assert caught.value.line is not None and caught.value.text in plant.faulty
    run(plant.sound, plant.grid, order)


def fault(body: str, grid: int = 1, **options) -> emulator.KernelFault:
    x = np.ones(64, np.float32)
    with pytest.raises(emulator.KernelFault) as caught:
        execute(assemble(START + body, "u64 u64", HEAD), [x, x], grid, 64, **options)
    return caught.value


def test_a_race_is_told_with_both_threads_and_the_address():
    found = fault("setp.eq.u32 %p, %t, 7; @%p st.shared.f32 [pool+128], %f; setp.eq.u32 %p, %t, 35;"
                  "@%p ld.shared.f32 %f, [pool+128];")  # fmt: skip
    assert (found.thread, found.other_thread) == ((35, 0, 0), (7, 0, 0))
    assert (found.block, found.other_block) == ((0, 0, 0), (0, 0, 0))
    assert (found.address, found.count) == ("4 bytes at 128 of shared memory", 1)
    assert str(found).startswith(
        "shared race: thread (35,0,0) reads 4 bytes at 128 of shared memory, which thread (7,0,0) wrote since the last "
        "barrier; "
        f"block (0,0,0); PTX line {found.line}: @%p ld.shared.f32 %f, [pool+128]; kernel kernel"
    )


def test_a_fault_can_be_sent_to_another_process():
    found = fault("st.global.f32 [%1], %f;")
    copy = pickle.loads(pickle.dumps(found))
    assert (str(copy), copy.kind, copy.thread, copy.count) == (str(found), found.kind, found.thread, found.count)
    with pytest.raises(emulator.PtxError) as caught:
        emulator.load(assemble("frobnicate;"), checked=False)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert str(copy) == str(caught.value) and copy.line == caught.value.line


def test_a_race_between_blocks_names_both():
    found = fault("mov.u32 %v, %ctaid.x; add.u32 %v, %v, %t; setp.eq.u32 %p, %v, 4; @%p st.global.f32 [%1+8], %f;", 3)
    assert (found.thread, found.block) == ((3, 0, 0), (1, 0, 0))
    assert (found.other_thread, found.other_block) == ((4, 0, 0), (0, 0, 0))
    assert "of block (0,0,0)" in str(found) and "blocks have no order" in str(found)
    assert found.count == 2


X, Y = "parameter 0", "parameter 1"


@pytest.mark.parametrize(
    ("body", "address", "thread"),
    [
        ("ld.global.f32 %f, [%x+8];", f"4 bytes at 256 of {X}, past its 256 bytes", 62),
        ("st.global.f32 [%y+-4], %f;", f"4 bytes at -4 of {Y}, before its 256 bytes", 0),
        ("st.global.v2.f32 [%y+4], {%f, %f};", f"8 bytes at 4 of {Y}", 0),  # misaligned
        ("st.shared.f32 [%s+4], %f;", "4 bytes at 256 of shared memory, past its 256 bytes", 63),
        # What is far away may lie in the other array, or behind it: it is told by the one that was meant.
        ("st.global.f32 [%y+1048576], %f;", f"4 bytes at 1048576 of {Y}, past its 256 bytes", 0),
        ("ld.global.f32 %f, [%x+1048576];", f"4 bytes at 1048576 of {X}, past its 256 bytes", 0),
        ("setp.lt.u32 %p, %t, 40; selp.b64 %d, %y, %x, %p; ld.global.f32 %f, [%d+4];",
         f"4 bytes at 256 of {X}, past its 256 bytes", 63),
        ("mov.u64 %d, 64; st.global.f32 [%d], %f;", "address 0x40, where no array lies", 0),
    ],
)  # fmt: skip
def test_an_address_is_told_by_the_array_that_was_meant(body, address, thread):
    found = fault(body)
    assert (found.address, found.thread) == (address, (thread, 0, 0))


def test_parameters_have_the_names_that_they_were_given():
    program = emulator.load(assemble(START, "u64 u64", HEAD), checked=True, names=("picture", "filters"))
    arrays = Arrays(np.ones(64, np.float32))
    first = arrays.views[0].ctypes.data
    with pytest.raises(emulator.KernelFault, match="4 bytes at 256 of picture, past its 256 bytes"):
        program.run(three(1), three(65), 0, np.array([first, first], np.uint64).tobytes(), arrays.memory)
    with pytest.raises(emulator.KernelFault, match="address 0x0 by way of picture, for which no array was passed"):
        program.run(three(1), three(65), 0, np.array([0, first], np.uint64).tobytes(), arrays.memory)


def test_an_array_that_stands_in_a_table_is_told_by_where_it_lies():
    arrays = Arrays(np.zeros(32, np.uint64), np.zeros(64, np.float32), np.zeros(64, np.float32))
    table, y, third = (view.ctypes.data for view in arrays.views)
    arrays.views[0][0] = third
    program = emulator.load(assemble(START + "ld.global.u64 %d, [%0]; st.global.f32 [%d+256], %f;", "u64 u64", HEAD),
                            checked=True)  # fmt: skip
    with pytest.raises(emulator.KernelFault, match=f"4 bytes at 256 of the array at {third:#x}, past its 256 bytes"):
        program.run(three(1), three(64), 0, np.array([table, y], np.uint64).tobytes(), arrays.memory)


def test_an_access_that_must_not_be_made_is_skipped():
    arrays = Arrays(np.zeros(64, np.float32), np.zeros(64, np.float32))
    body = assemble(START + "mov.f32 %f, 0f3F800000; st.global.f32 [%y+4], %f;", "u64 u64", HEAD)
    program = emulator.load(body, checked=True)
    arrays.memory.remove(arrays.views[1].ctypes.data)
    arrays.memory.add(arrays.views[1].ctypes.data, 128)
    packed = np.array([view.ctypes.data for view in arrays.views], np.uint64).tobytes()
    with pytest.raises(emulator.KernelFault):
        program.run(three(1), three(64), 0, packed, arrays.memory)
    assert arrays.views[1].tolist() == [0] + [1] * 31 + [0] * 32


def test_only_memory_that_the_parameters_point_into_may_be_touched():
    """An address that strays from one array into another is caught as long as the kernel was not given that one."""
    x = np.ones(64, np.float32)
    arrays = Arrays(x, x, x)
    first, second, third = (view.ctypes.data for view in arrays.views)
    body = assemble(START + f"ld.global.f32 %f, [%x+{third - first}];", "u64 u64", HEAD)
    with pytest.raises(emulator.KernelFault, match="out of bounds"):
        emulator.load(body, checked=True).run(
            three(1), three(64), 0, np.array([first, second], np.uint64).tobytes(), arrays.memory
        )


def test_all_findings_are_counted_and_the_next_run_starts_afresh():
    assert fault("st.global.f32 [%1], %f;").count == 63
    assert fault("st.global.f32 [%1], %f;", order="reverse").thread == (62, 0, 0)
    run("st.global.f32 [%y], %f;", 1, "forward")


def test_what_an_earlier_launch_did_is_no_race():
    arrays = Arrays(np.ones(64, np.float32), np.ones(64, np.float32))
    program = emulator.load(assemble(START + "st.global.f32 [%y], %f;", "u64 u64", HEAD), checked=True)
    addresses = [view.ctypes.data for view in arrays.views]
    for pair in (addresses, addresses[::-1]):  # the second reads what the first wrote
        program.run(three(1), three(64), 0, np.array(pair, np.uint64).tobytes(), arrays.memory)


@pytest.mark.parametrize(
    ("grid", "block", "shared_bytes", "words"),
    [
        (1, 1025, 0, "at most 1024"),
        (1, (1, 1, 65), 0, "at most 1024"),
        (1, 0, 0, "at most 1024"),
        ((1, 65536), 32, 0, "grid"),
        (0, 32, 0, "grid"),
        (1, 32, 300_000, "dynamic shared memory"),
    ],
)
def test_launches_that_a_gpu_refuses_are_refused(grid, block, shared_bytes, words):
    program = emulator.load(assemble(""), checked=False)
    with pytest.raises(emulator.KernelFault, match=words):
        program.run(three(grid), three(block), shared_bytes, b"", emulator.Memory())


def test_a_block_larger_than_the_kernel_was_compiled_for_is_refused():
    program = emulator.load(assemble("").replace("kernel()", "kernel()\n.maxntid 64, 2, 1"), checked=False)
    program.run(three(1), three(128), 0, b"", emulator.Memory())
    with pytest.raises(emulator.KernelFault, match="at most 128 fit"):
        program.run(three(1), three(160), 0, b"", emulator.Memory())


def test_static_shared_memory_has_a_limit():
    emulator.load(assemble("", head=".shared .align 4 .b8 pool[49152];"), checked=False)
    with pytest.raises(emulator.KernelFault, match="49156 bytes of static shared memory"):
        emulator.load(assemble("", head=".shared .align 4 .b8 pool[49156];"), checked=False)


def test_fast_mode_stops_where_it_cannot_go_on():
    with pytest.raises(emulator.KernelFault, match="divergent warp"):
        run_fast = assemble(
            "    .reg .b32 %v, %t; .reg .pred %p; mov.u32 %t, %tid.x; setp.lt.u32 %p, %t, 5;"
            "@%p shfl.sync.bfly.b32 %v, %t, 1, 31, -1; bar.sync 0;"
        )
        execute(run_fast, [], 1, 32, checked=False)


def test_after_very_many_epochs_the_count_starts_anew():
    arrays = Arrays(np.ones(64, np.float32), np.ones(64, np.float32))
    program = emulator.load(assemble(START + "st.global.f32 [%y], %f;", "u64 u64", HEAD), checked=True)
    packed = np.array([view.ctypes.data for view in arrays.views], np.uint64).tobytes()
    arrays.memory.epoch = 2**30 - 1
    for _ in range(4):
        program.run(three(1), three(64), 0, packed, arrays.memory)
    assert 1 < arrays.memory.epoch < 10
