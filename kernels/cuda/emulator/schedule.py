"""Who runs when: blocks one after the other, their threads in warps of 32, each as far as it gets without the others.

Threads that stop at a barrier of their block wait there until all have come; those at a shuffle, a vote or a barrier of
their warp wait for the lanes that its mask names, and change numbers with them here.
"""

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from .checks import note, words64
from .layout import (
    ACTIVEMASK,
    BAR,
    BAR_AND,
    BAR_POPC,
    BAR_WARP,
    BLOCK_EPOCH,
    BUDGET,
    CTAID,
    DIVERGENT_BARRIER,
    DIVERGENT_WARP,
    EPOCH,
    EXITED,
    FLAG,
    MASK,
    NCTAID,
    RESULT,
    SECOND,
    SHFL_BFLY,
    SHFL_DOWN,
    SHFL_IDX,
    SHFL_UP,
    STATE,
    STOP,
    THIRD,
    TICKS,
    VALUE,
    VOTE_ALL,
    VOTE_ANY,
    VOTE_BALLOT,
    WARP,
)

ALL_LANES = 0xFFFFFFFF
MOST_BRANCHES = 1 << 25  # backward, of the threads of a block: in checked mode more are taken for an endless loop


def _call_step(typing_context, function, launch, parameters, shared, contexts, board, first, count, stride):
    """Call the compiled kernel, whose address is `function`; see translate.py."""

    def generate(context, builder, signature, arguments):
        pointer, i32 = ir.IntType(8).as_pointer(), ir.IntType(32)
        type_ = ir.FunctionType(ir.VoidType(), [pointer] * 5 + [i32] * 3)
        callee = builder.inttoptr(arguments[0], type_.as_pointer())
        values = [builder.inttoptr(value, pointer) for value in arguments[1:6]]
        values += [builder.trunc(value, i32) for value in arguments[6:]]
        builder.call(callee, values)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 9), generate


_step: Any = intrinsic(_call_step)


@njit(cache=True)
def _partner(mode: int, lane: int, b: int, c: int) -> tuple[int, bool]:
    """(the lane that a shuffle takes from, whether it lies within the segment), as PTX defines shfl."""
    clamp, segment = c & 31, (c >> 8) & 31
    b = b & 31
    most, least = (lane & segment) | (clamp & ~segment & 31), lane & segment
    if mode == SHFL_UP:
        other = lane - b
        inside = other >= most
    elif mode == SHFL_DOWN:
        other = lane + b
        inside = other <= most
    elif mode == SHFL_BFLY:
        other = lane ^ b
        inside = other <= most
    else:
        other = least | (b & ~segment & 31)
        inside = other <= most
    return (other if inside else lane), inside


@njit(cache=True)
def _lanes_at(contexts: Any, stops: Any, low: int, high: int, stop: int, mask: int) -> tuple[int, int]:
    """(lanes that stand at this stop with this mask, lanes that are done), as masks. All bar.warp.sync count as one."""
    here, done = 0, 0
    for thread in range(low, high):
        state = contexts[thread, STATE]
        bit = 1 << (thread - low)
        if state == EXITED:
            done |= bit
        elif state < 0:
            same = -state == stop or (stops[-state, 0] == BAR_WARP and stops[stop, 0] == BAR_WARP)
            if same and (contexts[thread, MASK] & ALL_LANES) == mask:
                here |= bit
    return here, done


@njit(cache=True)
def _exchange(contexts: Any, low: int, lanes: int, kind: int) -> None:
    """What the lanes of a shuffle or vote get, from what they brought."""
    ballot, count = 0, 0
    for lane in range(WARP):
        if (lanes >> lane) & 1:
            count += 1
            if contexts[low + lane, VALUE] & 1:
                ballot |= 1 << lane
    for lane in range(WARP):
        if not (lanes >> lane) & 1:
            continue
        thread = low + lane
        if SHFL_UP <= kind <= SHFL_IDX:
            other, inside = _partner(kind, lane, contexts[thread, SECOND], contexts[thread, THIRD])
            source = low + other if (lanes >> other) & 1 else thread
            contexts[thread, RESULT], contexts[thread, FLAG] = contexts[source, VALUE], inside
        elif kind == VOTE_BALLOT:
            contexts[thread, RESULT] = ballot
        elif kind == VOTE_ALL:
            contexts[thread, RESULT] = ballot == lanes
        elif kind == VOTE_ANY:
            contexts[thread, RESULT] = ballot != 0
        else:  # uniform
            contexts[thread, RESULT] = ballot == 0 or ballot == lanes
    for lane in range(WARP):
        if (lanes >> lane) & 1:
            contexts[low + lane, STATE] = -contexts[low + lane, STATE]


@njit(cache=True)
def _meet(contexts: Any, stops: Any, low: int, high: int, board: Any, checked: bool) -> bool:
    """Let the lanes of a warp go on that wait for lanes which have come. False if none may."""
    moved = False
    for thread in range(low, high):
        stop = -contexts[thread, STATE]
        if stop <= 0 or contexts[thread, STATE] == EXITED or stops[stop, 0] < BAR_WARP or stops[stop, 0] == ACTIVEMASK:
            continue
        kind, instruction, mask = stops[stop, 0], stops[stop, 1], contexts[thread, MASK] & ALL_LANES
        here, done = _lanes_at(contexts, stops, low, high, stop, mask)
        beyond = ALL_LANES & ~((1 << (high - low)) - 1)  # lanes that this warp does not have
        absent = mask & ~here & ~(done | beyond)
        if absent == 0 and (mask >> (thread - low)) & 1:
            if checked and kind != BAR_WARP and mask & ~here:
                missing = 0
                while not ((mask & ~here) >> missing) & 1:
                    missing += 1
                note(board, DIVERGENT_WARP, thread, instruction, 0, low + missing, board[EPOCH])
            if kind == BAR_WARP and mask | done | beyond == ALL_LANES:
                board[TICKS + low // WARP] += 1
            _exchange(contexts, low, here & mask, kind)
            moved = True
    return moved or _tell_who_is_here(contexts, stops, low, high)


@njit(cache=True)
def _tell_who_is_here(contexts: Any, stops: Any, low: int, high: int) -> bool:
    """Let lanes go on that ask for the mask of those that are with them: when no other lane can come any more."""
    first, lanes = 0, 0
    for thread in range(low, high):
        state = contexts[thread, STATE]
        if state < 0 and state != EXITED and stops[-state, 0] == ACTIVEMASK and (lanes == 0 or state == first):
            first, lanes = state, lanes | (1 << (thread - low))
    for thread in range(low, high):
        if (lanes >> (thread - low)) & 1:
            contexts[thread, RESULT], contexts[thread, STATE] = lanes, -contexts[thread, STATE]
    return lanes != 0


@njit(cache=True)
def _stuck(contexts: Any, stops: Any, board: Any) -> bool:
    """Note a thread that waits for lanes which will not come; False if there is none."""
    for thread in range(len(contexts)):
        state = contexts[thread, STATE]
        if state < 0 and state != EXITED and stops[-state, 0] >= BAR_WARP:
            low = thread & ~(WARP - 1)
            mask = contexts[thread, MASK] & ALL_LANES
            here, _ = _lanes_at(contexts, stops, low, min(low + WARP, len(contexts)), -state, mask)
            missing = 0
            while missing < WARP - 1 and not ((mask & ~here) >> missing) & 1:
                missing += 1
            other = low + missing if (mask >> (thread - low)) & 1 else -1
            note(board, DIVERGENT_WARP, thread, stops[-state, 1], 0, other, board[EPOCH])
            return True
    return False


@njit(cache=True)
def _pass_barrier(contexts: Any, stops: Any, board: Any, checked: bool) -> bool:
    """All threads stand at a barrier or are done: let them pass. False if all are done, or if they can't go on."""
    waiting, done, ones, where, first = 0, -1, 0, 0, 0
    for thread in range(len(contexts)):
        state = contexts[thread, STATE]
        if state == EXITED:
            done = thread
            continue
        if waiting == 0:
            where, first = state, thread
        elif state != where and checked:
            note(board, DIVERGENT_BARRIER, thread, stops[-state, 1], 0, first, board[EPOCH])
            return False
        waiting += 1
        ones += contexts[thread, VALUE] & 1
    if waiting == 0:
        return False
    if checked and done >= 0:
        note(board, DIVERGENT_BARRIER, first, stops[-where, 1], 0, done, board[EPOCH])
        return False
    for thread in range(len(contexts)):
        state = contexts[thread, STATE]
        if state != EXITED:
            kind = stops[-state, 0]
            if kind != BAR:
                all_, any_ = ones == waiting, ones != 0
                result = ones if kind == BAR_POPC else all_ if kind == BAR_AND else any_
                contexts[thread, RESULT] = result
            contexts[thread, STATE] = -state
    board[EPOCH] += 1
    return True


@njit(cache=True)
def _run_block(step, where, contexts, board, stops, by_warp, backward, checked):
    """All threads of a block, from barrier to barrier. where: the addresses that the compiled kernel takes."""
    threads = len(contexts)
    for thread in range(threads):
        contexts[thread, STATE] = 0
    while True:
        if by_warp:
            warps = (threads + WARP - 1) // WARP
            for number in range(warps):
                low = (warps - 1 - number if backward else number) * WARP
                high = min(low + WARP, threads)
                moving = True
                while moving:
                    if backward:
                        _step(step, *where, high - 1, high - low, -1)
                    else:
                        _step(step, *where, low, high - low, 1)
                    moving = _meet(contexts, stops, low, high, board, checked)
            if _stuck(contexts, stops, board):
                return
        elif backward:
            _step(step, *where, threads - 1, threads, -1)
        else:
            _step(step, *where, 0, threads, 1)
        if len(stops) == 1 or not _pass_barrier(contexts, stops, board, checked):
            return


@njit(cache=True, nogil=True)
def run_blocks(
    step: int,
    launch: Any,
    where: Any,
    contexts: Any,
    stops: Any,
    first: int,
    count: int,
    backward: bool,
    checked: bool,
    epochs: Any,
) -> None:
    """Run `count` blocks of the grid from number `first` on.

    step: address of the compiled kernel. where: the addresses that it takes, of (launch, parameters, shared memory,
    contexts, board). stops[n]: (kind, instruction) of stop n, from 1. epochs[n]: the epoch in which block n begins,
    kept if checked. Stops early where threads can't go on.
    """
    board = words64(where[4])
    of_warps = 0
    for stop in range(1, len(stops)):
        of_warps += stops[stop, 0] >= BAR_WARP
    width, height = launch[NCTAID], launch[NCTAID + 1]
    for number in range(first, first + count):
        launch[CTAID] = number % width
        launch[CTAID + 1] = number // width % height
        launch[CTAID + 2] = number // width // height
        board[EPOCH] += 1
        board[BLOCK_EPOCH] = board[EPOCH]
        if checked:
            epochs[number] = board[EPOCH]
        board[BUDGET] = MOST_BRANCHES
        _run_block(step, where, contexts, board, stops, of_warps > 0, backward, checked)
        if board[STOP]:
            return
