"""What checked mode looks at with every access to memory: bounds, alignment, order.

Two accesses to the same memory, one of them a write, are a race unless something orders them. Time within a block is
counted in epochs: one ends at each barrier. Accesses of one epoch by two warps have no order; those of two lanes of a
warp have one if all its lanes came together (bar.warp.sync) between them. Votes and shuffles order nothing: a GPU does
not promise it. Blocks have no order at all. Nor have atomics, but they do not disturb each other.

For each unit of memory and each kind of access - read, write, atomic - the shadow keeps the latest group of lanes of
one warp that made it without order among them, and one thread of another warp or block that did too. That is enough to
find a race with any of them: whoever comes next is of another warp, or block, than one of the two.
"""

from typing import Any

from numba import cfunc, njit, types
from numba.extending import intrinsic

from .layout import (
    ADDRESS,
    ATOMIC,
    BLOCK_EPOCH,
    CONTEXT_BYTES,
    CONTEXTS,
    ELSE_EPOCH,
    ELSE_THREAD,
    ENDLESS,
    EPOCH,
    FAULT_EPOCH,
    FAULTS,
    GENERIC,
    GLOBAL,
    GLOBAL_SHIFT,
    INSTRUCTION,
    KIND,
    LAUNCH_EPOCH,
    LOCAL,
    LOCAL_OFFSET,
    LOCAL_SIZE,
    MISALIGNED,
    OTHER_EPOCH,
    OTHER_THREAD,
    OUT_OF_BOUNDS,
    RACE_ATOMIC,
    RACE_READ,
    RACE_WRITE,
    RANGE_COUNT,
    RANGE_END,
    RANGE_SHADOW,
    RANGE_START,
    RANGE_WORDS,
    RANGE_WRITABLE,
    RANGES,
    READ,
    READ_ONLY,
    SEEN_EPOCH,
    SEEN_LANES,
    SEEN_THREAD,
    SEEN_TICK,
    SEEN_WORDS,
    SHADOW_WORDS,
    SHARED,
    SHARED_BASE,
    SHARED_SHADOW,
    SHARED_SHIFT,
    SHARED_SIZE,
    STOP,
    THREAD,
    TICKS,
    UNINITIALISED,
    WRITE,
)


def _pointer_to(element: types.Type) -> Any:
    @intrinsic
    def pointer(typing_context, address):
        def generate(context, builder, signature, arguments):
            return builder.inttoptr(arguments[0], context.get_value_type(types.CPointer(element)))

        return types.CPointer(element)(types.int64), generate

    return pointer


_i32, _i64 = types.int32, types.int64
_board = types.CPointer(_i64)
words32, words64 = _pointer_to(_i32), _pointer_to(_i64)  # an address -> a pointer


@njit(types.void(_board, *[_i64] * 6), cache=True)
def note(board, kind, thread, instruction, address, other_thread, other_epoch):
    """Count a fault; of the first keep all that is known. other_thread: -1 if there is none."""
    if board[FAULTS] == 0:
        board[KIND], board[THREAD], board[INSTRUCTION], board[ADDRESS] = kind, thread, instruction, address
        board[OTHER_THREAD], board[OTHER_EPOCH], board[FAULT_EPOCH] = other_thread, other_epoch, board[EPOCH]
    board[FAULTS] += 1
    if kind >= ENDLESS:
        board[STOP] = 1


@njit(cache=True, forceinline=True)
def _unordered(board, seen, at, thread, first_epoch):
    """(thread, epoch) of an access in the shadow that nothing orders before one of this thread now; (-1, 0) if none."""
    seen_epoch, seen_thread = seen[at + SEEN_EPOCH], seen[at + SEEN_THREAD]
    if seen_epoch < first_epoch:
        return -1, 0
    if seen_epoch < board[BLOCK_EPOCH]:
        return seen_thread, seen_epoch
    if seen_epoch == board[EPOCH]:
        if seen_thread >> 5 != thread >> 5:
            return seen_thread, seen_epoch
        others = seen[at + SEEN_LANES] & ~(1 << (thread & 31)) & 0xFFFFFFFF
        if others != 0 and seen[at + SEEN_TICK] == board[TICKS + (thread >> 5)]:
            lane = 0
            while not (others >> lane) & 1:
                lane += 1
            return (thread & ~31) + lane, seen_epoch
    else_epoch, else_thread = seen[at + ELSE_EPOCH], seen[at + ELSE_THREAD]
    if first_epoch <= else_epoch < board[BLOCK_EPOCH]:
        return else_thread, else_epoch
    if else_epoch == board[EPOCH] and else_thread >> 5 != thread >> 5:
        return else_thread, else_epoch
    return -1, 0


@njit(cache=True, forceinline=True)
def _join(board, seen, at, thread, first_epoch):
    """Note in the shadow that this thread makes such an access now."""
    epoch, tick = board[EPOCH], board[TICKS + (thread >> 5)]
    seen_epoch = seen[at + SEEN_EPOCH]
    same_epoch = seen_epoch == epoch
    same_warp = same_epoch and seen[at + SEEN_THREAD] >> 5 == thread >> 5
    of_another_block = first_epoch <= seen_epoch < board[BLOCK_EPOCH]
    if of_another_block or (same_epoch and not same_warp):
        else_epoch = seen[at + ELSE_EPOCH]
        if not first_epoch <= else_epoch < board[BLOCK_EPOCH]:  # what another block did stays
            seen[at + ELSE_EPOCH], seen[at + ELSE_THREAD] = seen_epoch, seen[at + SEEN_THREAD]
    lanes = 0
    if same_warp and seen[at + SEEN_TICK] == tick:
        lanes = seen[at + SEEN_LANES]
    seen[at + SEEN_LANES] = lanes | (1 << (thread & 31))
    seen[at + SEEN_EPOCH], seen[at + SEEN_TICK], seen[at + SEEN_THREAD] = epoch, tick, thread


@njit(cache=True, forceinline=True)
def _check_order(board, shadow, first, last, access, thread, instruction, address, first_epoch):
    """Look for races of an access to the units first to last, then note it there."""
    for unit in range(first, last + 1):
        at = unit * SHADOW_WORDS
        for earlier in range(3):
            if earlier == access and access != WRITE:
                continue  # reads do not disturb reads, nor atomics atomics
            other, epoch = _unordered(board, shadow, at + earlier * SEEN_WORDS, thread, first_epoch)
            if other >= 0:
                kind = RACE_READ if earlier == READ else RACE_WRITE if earlier == WRITE else RACE_ATOMIC
                note(board, kind, thread, instruction, address, other, epoch)
                break
        _join(board, shadow, at + access * SEEN_WORDS, thread, first_epoch)


@njit(cache=True, forceinline=True)
def _check_global(board, address, size, access, thread, instruction):
    ranges = words64(board[RANGES])
    low, high = 0, board[RANGE_COUNT]
    while low < high:  # the last range that starts at the address or before it
        middle = (low + high) // 2
        if ranges[middle * RANGE_WORDS + RANGE_START] <= address:
            low = middle + 1
        else:
            high = middle
    row = (low - 1) * RANGE_WORDS
    if low == 0 or address + size > ranges[row + RANGE_END]:
        note(board, OUT_OF_BOUNDS, thread, instruction, address, -1, 0)
        return 0
    if access != READ and ranges[row + RANGE_WRITABLE] == 0:
        note(board, READ_ONLY, thread, instruction, address, -1, 0)
        return 0
    shift, offset = board[GLOBAL_SHIFT], address - ranges[row + RANGE_START]
    shadow = words32(ranges[row + RANGE_SHADOW])
    last = (offset + size - 1) >> shift
    _check_order(board, shadow, offset >> shift, last, access, thread, instruction, address, board[LAUNCH_EPOCH])
    return 1


@njit(cache=True, forceinline=True)
def _check_shared(board, address, size, access, thread, instruction):
    offset = address - board[SHARED_BASE]
    if offset < 0 or offset + size > board[SHARED_SIZE]:
        note(board, OUT_OF_BOUNDS, thread, instruction, address, -1, 0)
        return 0
    shift, shadow = board[SHARED_SHIFT], words32(board[SHARED_SHADOW])
    first, last = offset >> shift, (offset + size - 1) >> shift
    if access != WRITE:
        for number in range(first, last + 1):
            at = number * SHADOW_WORDS + SEEN_EPOCH
            written, updated = shadow[at + WRITE * SEEN_WORDS], shadow[at + ATOMIC * SEEN_WORDS]
            if max(written, updated) < board[BLOCK_EPOCH]:
                note(board, UNINITIALISED, thread, instruction, address, -1, 0)
                break
    _check_order(board, shadow, first, last, access, thread, instruction, address, board[BLOCK_EPOCH])
    return 1


@njit(cache=True, forceinline=True)
def _check(board, address, element, count, access, space, thread, instruction):
    size = element * count
    if address & (size - 1):  # sizes are powers of two
        note(board, MISALIGNED, thread, instruction, address, -1, 0)
        return 0
    local = board[CONTEXTS] + thread * board[CONTEXT_BYTES] + board[LOCAL_OFFSET]
    if space == GENERIC:
        if board[SHARED_BASE] <= address < board[SHARED_BASE] + board[SHARED_SIZE]:
            space = SHARED
        elif local <= address < local + board[LOCAL_SIZE]:
            space = LOCAL
        else:
            space = GLOBAL
    if space == GLOBAL:
        return _check_global(board, address, size, access, thread, instruction)
    if space == SHARED:
        return _check_shared(board, address, size, access, thread, instruction)
    if address < local or address + size > local + board[LOCAL_SIZE]:
        note(board, OUT_OF_BOUNDS, thread, instruction, address, -1, 0)
        return 0
    return 1


@cfunc(_i32(_board, _i64, _i32, _i32, _i32, _i32, _i32, _i32), cache=True)
def check_access(board, address, element, count, access, space, thread, instruction):
    """1 if the access may be made, 0 if it must not. Races are noted, and made."""
    what = _i64(element), _i64(count), _i64(access), _i64(space)
    return _check(board, _i64(address), *what, _i64(thread), _i64(instruction))


@cfunc(types.void(_board, _i32, _i32, _i32), cache=True)
def note_fault(board, kind, thread, instruction):
    note(board, _i64(kind), _i64(thread), _i64(instruction), _i64(0), _i64(-1), _i64(0))


def symbols() -> dict[str, int]:
    """The functions that compiled kernels call, by the names that they call them by."""
    return {"check_access": check_access.address or 0, "note_fault": note_fault.address or 0}
