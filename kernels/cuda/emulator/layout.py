"""Where things lie in the arrays that the compiled kernel, the scheduler and the checks share.

Numba keeps what it compiled of checks.py and schedule.py on disk and looks at the age of those two files only: after a
change here, touch them.
"""

# The context of a thread: int32 words. What must survive a stop follows them, then the thread's local memory.
STATE = 0  # >= 0: may run, from its beginning (0) or from that stop; < 0: stands at stop -STATE; EXITED
TID_X, TID_Y, TID_Z = 1, 2, 3
VALUE, SECOND, THIRD, MASK = 4, 5, 6, 7  # what a thread brings to a stop: its operands
RESULT, FLAG = 8, 9  # what it takes from there
SAVED = 10
EXITED = -(2**31)

# The launch: uint32 words.
NTID, NCTAID, CTAID = 0, 3, 6
DYNAMIC_SHARED, TOTAL_SHARED = 9, 10
LAUNCH_WORDS = 12

WARP = 32

# What a thread may stop at. Up to BAR_OR it waits for its block, from BAR_WARP on for lanes of its warp.
BAR, BAR_POPC, BAR_AND, BAR_OR = 1, 2, 3, 4
BAR_WARP, SHFL_UP, SHFL_DOWN, SHFL_BFLY, SHFL_IDX, VOTE_ALL, VOTE_ANY, VOTE_UNI, VOTE_BALLOT, ACTIVEMASK = range(5, 15)

# How memory is accessed, and which memory.
READ, WRITE, ATOMIC = 0, 1, 2
GLOBAL, SHARED, LOCAL, GENERIC = 0, 1, 2, 3

# The board: int64 words, one for each run. First what the checks need to know,
EPOCH = 0  # counts barriers and blocks, on and on over all runs: accesses of one epoch have no order
LAUNCH_EPOCH, BLOCK_EPOCH = 1, 2  # the first of this launch, of this block
RANGES, RANGE_COUNT = 3, 4  # address of the table of memory, its rows (of RANGE_WORDS)
SHARED_BASE, SHARED_SIZE, SHARED_SHADOW = 5, 6, 7
CONTEXTS, CONTEXT_BYTES, LOCAL_OFFSET, LOCAL_SIZE = 8, 9, 10, 11
GLOBAL_SHIFT, SHARED_SHIFT = 12, 13  # one shadow stands for 1 << so many bytes
BUDGET = 14  # backward branches that the threads of this block may still take
# then what they found: how many, whether to stop, and the first of them;
FAULTS, STOP, KIND, INSTRUCTION, THREAD, FAULT_EPOCH, ADDRESS, OTHER_THREAD, OTHER_EPOCH = range(16, 25)
# then how often the lanes of each warp were brought together.
TICKS = 32
BOARD_WORDS = TICKS + 32

# A row of the table of memory, sorted by address.
RANGE_START, RANGE_END, RANGE_SHADOW, RANGE_WRITABLE = 0, 1, 2, 3
RANGE_WORDS = 4

# The shadow of a unit of memory: int32 words for each of READ, WRITE and ATOMIC.
SEEN_EPOCH, SEEN_TICK, SEEN_THREAD, SEEN_LANES, ELSE_EPOCH, ELSE_THREAD = range(6)
SEEN_WORDS = 6
SHADOW_WORDS = 3 * SEEN_WORDS

# What can be found.
(
    OUT_OF_BOUNDS,
    MISALIGNED,
    RACE_READ,
    RACE_WRITE,
    RACE_ATOMIC,
    UNINITIALISED,
    READ_ONLY,
    DIVISION,
    TRAP,
    ENDLESS,  # from here on there is no going on
    DIVERGENT_BARRIER,
    DIVERGENT_WARP,
) = range(1, 13)
