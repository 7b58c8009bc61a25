"""Elementwise kernels: a broadcasting walk around the row functions that the build makes of the formulas."""

include "common.pxi"

from cython.parallel cimport prange

cdef extern from *:
    """
    #include <stdint.h>
    #include <stddef.h>
    #include <stdlib.h>
    #include "vecmath.h"
    #include "formulas.h"
    """
    ctypedef void (*row_function)(const void** operands, const Py_ssize_t* step, void* out, Py_ssize_t n,
                                  const double* param) noexcept nogil
    ctypedef struct formula_entry:
        const char* name
        int inputs
        int lead                         # the input that tells the dtype: the first that is no condition
        row_function rows[4]
    const formula_entry* FORMULAS

cdef enum:
    INPUTS = 3      # most inputs of a formula
    PARAMS = 4
    RANK = 32       # most axes of an array
    GRAIN = 8192    # elements a thread takes at a time

# One call, as flat numbers: the output's axes and how far a step along each moves in each input.
cdef struct Walk:
    int inputs
    int rank
    Py_ssize_t shape[RANK]
    Py_ssize_t step[INPUTS][RANK]
    Py_ssize_t size[INPUTS]          # bytes of an element
    Py_ssize_t size_out
    const char* operand[INPUTS]
    char* out
    double param[PARAMS]
    row_function row


cdef int column(object dtype) except -1:
    """The column of a dtype in the table of rows."""
    kind = dtype.char
    if kind == "f":
        return 0
    if kind == "d":
        return 1
    if kind in "lq":
        return 2
    if kind == "?":
        return 3
    raise TypeError(f"no elementwise kernels for {dtype}")


cdef void add_axes(Walk* walk, object arrays, tuple shape) except *:
    """The output's axes, neighbours merged where every input runs through both in one go."""
    cdef Py_ssize_t steps[INPUTS]
    cdef int k, axis
    cdef bint merges
    walk.rank = 0
    cdef Py_ssize_t run[INPUTS]
    for k in range(walk.inputs):
        run[k] = 1
    # From the last axis to the first; reversed again below.
    for axis in range(len(shape) - 1, -1, -1):
        if shape[axis] == 1:
            continue
        merges = walk.rank > 0
        for k in range(walk.inputs):
            theirs = arrays[k].shape
            back = axis - len(shape) + len(theirs)
            length = theirs[back] if back >= 0 else 1
            steps[k] = run[k] if length != 1 else 0
            run[k] *= length
            if walk.rank > 0 and steps[k] != walk.step[k][walk.rank - 1] * walk.shape[walk.rank - 1]:
                merges = False
        if merges:
            walk.shape[walk.rank - 1] *= shape[axis]
            continue
        walk.shape[walk.rank] = shape[axis]
        for k in range(walk.inputs):
            walk.step[k][walk.rank] = steps[k]
        walk.rank += 1
    if walk.rank == 0:
        walk.shape[0] = 1
        for k in range(walk.inputs):
            walk.step[k][0] = 0
        walk.rank = 1


cdef void run_row(const Walk* walk, Py_ssize_t row, Py_ssize_t begin, Py_ssize_t count) noexcept nogil:
    """Elements begin..begin+count of one row (axis 0 of the walk is the innermost)."""
    cdef const void* operands[INPUTS]
    cdef Py_ssize_t step[INPUTS]
    cdef Py_ssize_t offset[INPUTS]
    cdef Py_ssize_t rest = row, place
    cdef int k, axis
    for k in range(walk.inputs):
        step[k] = walk.step[k][0]
        offset[k] = begin * step[k]
    for axis in range(1, walk.rank):
        place = rest % walk.shape[axis]
        rest = rest // walk.shape[axis]
        for k in range(walk.inputs):
            offset[k] += place * walk.step[k][axis]
    for k in range(walk.inputs):
        operands[k] = walk.operand[k] + offset[k] * walk.size[k]
    walk.row(operands, step, walk.out + (row * walk.shape[0] + begin) * walk.size_out, count, walk.param)


cdef void run(const Walk* walk) noexcept nogil:
    cdef Py_ssize_t width = walk.shape[0], rows = 1, row, block, blocks, per
    cdef int axis
    for axis in range(1, walk.rank):
        rows *= walk.shape[axis]
    if rows == 0 or width == 0:
        return
    cdef int team = threads(rows * width)
    if rows == 1:
        blocks = (width + GRAIN - 1) // GRAIN
        for block in prange(blocks, num_threads=team, schedule="static"):
            run_row(walk, 0, block * GRAIN, min(GRAIN, width - block * GRAIN))
    else:
        for row in prange(rows, num_threads=team, schedule="static"):
            run_row(walk, row, 0, width)


cdef class Elementwise:
    """The kernel of one elementwise contract: called with inputs, output, params."""

    cdef const formula_entry* entry
    cdef readonly str name

    def __call__(self, *args):
        cdef Walk walk
        cdef int k
        walk.inputs = self.entry.inputs
        out = args[walk.inputs]
        for k in range(walk.inputs):
            walk.operand[k] = <const char*>data(args[k])
            walk.size[k] = args[k].itemsize
        walk.out = <char*>data(out)
        walk.size_out = out.itemsize
        lead = args[self.entry.lead]
        walk.row = self.entry.rows[column(lead.dtype)]
        if walk.row == NULL:
            raise TypeError(f"{self.name} does not take {lead.dtype}")
        for k, value in enumerate(args[walk.inputs + 1:]):
            walk.param[k] = value
        add_axes(&walk, args, out.shape)
        with nogil:
            run(&walk)


def kernels():
    """All elementwise kernels by name."""
    found = {}
    cdef int i = 0
    cdef Elementwise one
    while FORMULAS[i].name != NULL:
        one = Elementwise.__new__(Elementwise)
        one.entry = &FORMULAS[i]
        one.name = FORMULAS[i].name.decode()
        found[one.name] = one
        i += 1
    return found
