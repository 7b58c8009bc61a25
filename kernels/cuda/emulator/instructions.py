"""The PTX instructions that the emulator knows: what our kernels may use. Others are refused by name and line.

The meanings are those of NVIDIA's "Parallel Thread Execution ISA". d is the target, a, b, c are the operands.
Modifiers that stand together, as in `rn rz rm rp`, exclude each other in PTX; any that is listed may be written.
Two things are left to a GPU and pinned here: the `.approx` functions are the float64 ones rounded to float32 (a GPU is
allowed an error of one or two units in the last place), and a NaN that comes out of arithmetic is the processor's.
"""

from dataclasses import dataclass

_INTEGERS = "s16 s32 s64 u16 u32 u64"
_BITS = "b16 b32 b64"
_FLOATS = "f32 f64"
_MEMORY = "b8 b16 b32 b64 u8 u16 u32 u64 s8 s16 s32 s64 f32 f64"
_ROUNDING = "rn rz rm rp"  # to nearest even, to zero, down, up; of float64 only rn
_CACHING = "ca cg cs lu cv wb wt volatile L1::no_allocate L1::evict_last L1::evict_first"  # hints, without effect here
_SCOPES = "relaxed cta gpu sys"


@dataclass(frozen=True)
class Known:
    """One row of the list. types: what each type of the instruction may be; modifiers: what may stand before them."""

    meaning: str
    types: frozenset[str]
    modifiers: frozenset[str]


def _known(meaning: str, types: str = "", modifiers: str = "") -> Known:
    return Known(meaning, frozenset(types.split()), frozenset(modifiers.split()))


KNOWN: dict[str, Known] = {
    # integers and floats
    "add": _known("d = a + b; cc: the carry is kept", f"{_INTEGERS} {_FLOATS}", f"{_ROUNDING} ftz sat cc"),
    "sub": _known("d = a - b; cc: the borrow is kept", f"{_INTEGERS} {_FLOATS}", f"{_ROUNDING} ftz sat cc"),
    "mul": _known(
        "d = a * b; lo, hi: that half of it, wide: all of it",
        f"{_INTEGERS} {_FLOATS}",
        f"lo hi wide {_ROUNDING} ftz sat",
    ),
    "mad": _known(
        "d = a * b + c, lo, hi or wide; of floats: fma",
        f"{_INTEGERS} {_FLOATS}",
        f"lo hi wide {_ROUNDING} ftz sat cc",
    ),
    "fma": _known("d = a * b + c, rounded once", _FLOATS, f"{_ROUNDING} ftz sat"),
    "div": _known(
        "d = a / b; full and approx: within 2 ulp on a GPU, exact here",
        f"{_INTEGERS} {_FLOATS}",
        "rn full approx ftz",
    ),
    "rem": _known("d = a - trunc(a / b) * b", _INTEGERS),
    "abs": _known("d = |a|", f"s16 s32 s64 {_FLOATS}", "ftz"),
    "neg": _known("d = -a", f"s16 s32 s64 {_FLOATS}", "ftz"),
    "min": _known("d = the smaller; the number if the other is NaN", f"{_INTEGERS} {_FLOATS}", "ftz NaN"),
    "max": _known("d = the larger; the number if the other is NaN", f"{_INTEGERS} {_FLOATS}", "ftz NaN"),
    # integers only
    "addc": _known("d = a + b + carry", "u32 s32 u64 s64", "cc"),
    "subc": _known("d = a - (b + borrow)", "u32 s32 u64 s64", "cc"),
    "madc": _known("d = half of a * b, + c + carry", "u32 s32 u64 s64", "lo hi cc"),
    "sad": _known("d = c + |a - b|", _INTEGERS),
    "popc": _known("d = number of ones in a", "b32 b64"),
    "clz": _known("d = number of leading zeros of a", "b32 b64"),
    "brev": _known("d = a with its bits in reverse order", "b32 b64"),
    "bfind": _known("d = number of the highest bit that is not the sign; -1 if none", "u32 s32 u64 s64", "shiftamt"),
    "bfe": _known("d = c bits of a from bit b on, with their sign", "u32 s32 u64 s64"),
    "bfi": _known("d = b with d bits of a put in from bit c on", "b32 b64"),
    "prmt": _known("d = four bytes picked out of a and b by the digits of c", "b32"),
    # logic and shifts
    "and": _known("d = a & b", f"pred {_BITS}"),
    "or": _known("d = a | b", f"pred {_BITS}"),
    "xor": _known("d = a ^ b", f"pred {_BITS}"),
    "not": _known("d = ~a", f"pred {_BITS}"),
    "cnot": _known("d = a == 0", _BITS),
    "lop3": _known("d = any function of three bits, by its table", "b32"),
    "shl": _known("d = a << b; 0 when b is too large", _BITS),
    "shr": _known("d = a >> b; the sign, or 0, when b is too large", f"{_BITS} {_INTEGERS}"),
    "shf": _known("d = 32 of the 64 bits b:a, shifted", "b32", "l r clamp wrap"),
    # comparison and selection
    "setp": _known(
        "p = a (compared to) b, and, or, xor a predicate",
        f"{_BITS} {_INTEGERS} {_FLOATS}",
        "eq ne lt le gt ge lo ls hi hs equ neu ltu leu gtu geu num nan and or xor ftz",
    ),
    "set": _known(
        "d = all ones (1.0) where the comparison holds, else 0",
        f"{_BITS} {_INTEGERS} {_FLOATS}",
        "eq ne lt le gt ge lo ls hi hs equ neu ltu leu gtu geu num nan and or xor ftz",
    ),
    "selp": _known("d = p ? a : b", f"{_BITS} {_INTEGERS} {_FLOATS}"),
    "slct": _known("d = c >= 0 ? a : b", f"{_BITS} {_INTEGERS} {_FLOATS}", "ftz"),
    "testp": _known("p = a is of that kind", _FLOATS, "finite infinite number notanumber normal subnormal"),
    # functions of floats
    "copysign": _known("d = |b| with the sign of a", _FLOATS),
    "rcp": _known("d = 1 / a", _FLOATS, "rn approx ftz"),
    "sqrt": _known("d = square root of a", _FLOATS, "rn approx ftz"),
    "rsqrt": _known("d = 1 / square root of a", _FLOATS, "approx ftz"),
    "ex2": _known("d = 2 to the power of a", "f32", "approx ftz"),
    "lg2": _known("d = logarithm of a to the base 2", "f32", "approx ftz"),
    "sin": _known("d = sin a", "f32", "approx ftz"),
    "cos": _known("d = cos a", "f32", "approx ftz"),
    "tanh": _known("d = tanh a", "f32", "approx"),
    # moving and converting
    "mov": _known("d = a; a tuple in braces is packed or taken apart", f"pred {_MEMORY}"),
    "cvt": _known(
        "d = a as another type; rni rzi rmi rpi: to a whole number; too large for an integer: its largest",
        "s8 s16 s32 s64 u8 u16 u32 u64 f32 f64",
        f"{_ROUNDING} rni rzi rmi rpi ftz sat",
    ),
    "cvta": _known("d = a: addresses of all spaces are plain addresses here", "u64", "to global shared local const"),
    # memory
    "ld": _known("d = [a]; v2, v4: that many at once", _MEMORY, f"param global shared local const v2 v4 nc {_CACHING}"),
    "ldu": _known("d = [a], the same for all threads", _MEMORY, "global v2 v4"),
    "st": _known("[a] = b", _MEMORY, f"global shared local v2 v4 {_CACHING}"),
    "atom": _known(
        "d = [a], [a] = f(d, b), at once",
        "b32 b64 u32 u64 s32 s64 f32 f64",
        f"global shared add min max and or xor inc dec exch cas {_SCOPES}",
    ),
    "red": _known(
        "[a] = f([a], b), at once",
        "b32 b64 u32 u64 s32 s64 f32 f64",
        f"global shared add min max and or xor inc dec {_SCOPES}",
    ),
    "membar": _known("accesses before it are seen before those after it", "", "cta gl sys"),
    "fence": _known("the same", "", "sc acq_rel cta gpu sys"),
    # threads together
    "bar": _known(
        "sync: wait for the threads of the block; red: and count or combine predicates; warp.sync: wait for lanes",
        "u32 pred",
        "sync red popc and or warp aligned",
    ),
    "barrier": _known("sync: wait for all threads of the block", "", "sync aligned"),
    "shfl": _known("d = a of another lane", "b32", "sync up down bfly idx"),
    "vote": _known("d = all, any, uni(form), ballot of the lanes' predicates", "pred b32", "sync all any uni ballot"),
    "activemask": _known("d = the lanes of the warp that are here", "b32"),
    # control
    "bra": _known("go on at the label", "", "uni"),
    "brx": _known("go on at label number a of a table", "", "idx uni"),
    "ret": _known("the thread is done", "", "uni"),
    "exit": _known("the thread is done"),
    "trap": _known("the kernel gives up"),
    "nanosleep": _known("wait a little: nothing here", "u32"),
}

SPECIAL_REGISTERS: dict[str, str] = {
    "%tid.x %tid.y %tid.z": "the thread within its block",
    "%ntid.x %ntid.y %ntid.z": "threads of a block",
    "%ctaid.x %ctaid.y %ctaid.z": "the block within the grid",
    "%nctaid.x %nctaid.y %nctaid.z": "blocks of the grid",
    "%laneid": "the thread within its warp",
    "%warpid": "the warp within its block",
    "%nwarpid": "warps of a block",
    "%lanemask_eq %lanemask_lt %lanemask_le %lanemask_gt %lanemask_ge": "the lanes that are equal, less, ...",
    "%dynamic_smem_size %total_smem_size": "bytes of shared memory",
    "%clock %clock64 %clock_hi": "ticks of the processor",
}
