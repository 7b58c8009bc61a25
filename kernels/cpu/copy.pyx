"""Copies: strided walks, filling, and taking by index; and sums of a few weighted slices, the product with a sparse
matrix. Plain copies move bytes: a dtype counts only by its size."""

include "common.pxi"

from cython.parallel cimport prange

# An element of 1, 4 or 8 bytes.
ctypedef fused item:
    uint8_t
    uint32_t
    uint64_t

cdef enum:
    RANK = 32               # most axes of a walk, once neighbours are merged
    GRAIN = 16384           # elements of a task
    TILE = 32               # side of a tile of a transpose: its 32 lines of 32 elements fit the L1 cache
    FAR = 256               # elements between lines from which on a tile's lines drive each other out of the cache
    BLOCK = 64              # columns of a task of take_grad


cdef int item_size(object array) except -1:
    cdef int size = array.itemsize
    if size != 1 and size != 4 and size != 8:
        raise TypeError(f"no copies of {array.dtype}: its elements have {size} bytes, expected 1, 4 or 8")
    return size


# -------------------------------------------------------------------------------------------------- strided walks
# One array is contiguous, the other is walked through with strides. Axis 0 is the innermost, along which the contiguous
# one runs: the columns of a plane. Axis 1 are its rows. The plane is cut into tiles. If the strided array doesn't run
# along the columns, the axis on which its steps are shortest becomes the rows: so a tile has short ways in both.

cdef struct Walk:
    bint reading            # from the strided array into the contiguous one, not the other way
    int rank
    Py_ssize_t size[RANK]
    Py_ssize_t stride[RANK]
    Py_ssize_t run[RANK]    # the strides of the contiguous array
    Py_ssize_t tile_columns, tile_rows, column_tiles, row_tiles
    Py_ssize_t count        # of tiles


cdef inline Py_ssize_t length(Py_ssize_t step) noexcept nogil:
    return -step if step < 0 else step


cdef int set_axes(Walk* walk, tuple shape, tuple strides) except -1:
    """The axes of a walk, neighbours merged where one goes on as the other."""
    cdef Py_ssize_t size, stride, run = 1
    cdef int axis
    walk.rank = 0
    for axis in range(len(shape) - 1, -1, -1):
        size = shape[axis]
        stride = strides[axis]
        if size == 1:
            continue
        if walk.rank > 0 and stride == walk.stride[walk.rank - 1] * walk.size[walk.rank - 1]:
            walk.size[walk.rank - 1] *= size
            continue
        if walk.rank == RANK:
            raise ValueError(f"strided walk over {len(shape)} axes, {RANK} are possible")
        walk.size[walk.rank] = size
        walk.stride[walk.rank] = stride
        walk.rank += 1
    while walk.rank < 2:
        walk.size[walk.rank] = 1
        walk.stride[walk.rank] = 0
        walk.rank += 1
    for axis in range(walk.rank):
        walk.run[axis] = run
        run *= walk.size[axis]
    return 0


cdef void set_tiles(Walk* walk, bint in_order) noexcept nogil:
    """in_order: the walk is one tile, row by row."""
    cdef int best = 1, axis
    walk.tile_columns, walk.tile_rows = walk.size[0], walk.size[1]
    for axis in range(2, walk.rank):
        if length(walk.stride[axis]) < length(walk.stride[best]):
            best = axis
    if not in_order and length(walk.stride[0]) > 1 and length(walk.stride[best]) < length(walk.stride[0]):
        walk.size[1], walk.size[best] = walk.size[best], walk.size[1]
        walk.stride[1], walk.stride[best] = walk.stride[best], walk.stride[1]
        walk.run[1], walk.run[best] = walk.run[best], walk.run[1]
        walk.tile_rows = min(TILE, walk.size[1])
        walk.tile_columns = TILE * TILE // walk.tile_rows
    elif not in_order:
        walk.tile_columns = min(GRAIN, walk.size[0])
        walk.tile_rows = GRAIN // walk.tile_columns
    walk.column_tiles = (walk.size[0] + walk.tile_columns - 1) // walk.tile_columns
    walk.row_tiles = (walk.size[1] + walk.tile_rows - 1) // walk.tile_rows
    walk.count = walk.column_tiles * walk.row_tiles
    for axis in range(2, walk.rank):
        walk.count *= walk.size[axis]


cdef inline void transpose_tile(const item* x, item* y, Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t from_column,
                                Py_ssize_t to_row) noexcept nogil:
    """y[r, c] = x[c, r], at most TILE of each, through a tile that both are read and written along their lines for."""
    cdef item tile[TILE * (TILE + 1)]
    cdef Py_ssize_t r, c
    for c in range(columns):
        for r in range(rows):
            tile[c * (TILE + 1) + r] = x[c * from_column + r]
    for r in range(rows):
        for c in range(columns):
            y[r * to_row + c] = tile[c * (TILE + 1) + r]


cdef inline void copy_plane(const item* x, item* y, Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t from_row,
                            Py_ssize_t from_column, Py_ssize_t to_row, Py_ssize_t to_column) noexcept nogil:
    cdef Py_ssize_t r, c
    cdef bint fits = rows <= TILE and columns <= TILE
    cdef item value
    if fits and from_row == 1 and to_column == 1 and from_column >= FAR:
        transpose_tile(x, y, rows, columns, from_column, to_row)
        return
    if fits and from_column == 1 and to_row == 1 and to_column >= FAR:
        transpose_tile(x, y, columns, rows, from_row, to_column)
        return
    for r in range(rows):
        if from_column == 1 and to_column == 1:
            memcpy(y + r * to_row, x + r * from_row, columns * sizeof(item))
        elif from_column == 0 and to_column == 1:
            value = x[r * from_row]
            for c in range(columns):
                y[r * to_row + c] = value
        else:
            for c in range(columns):
                y[r * to_row + c * to_column] = x[r * from_row + c * from_column]


cdef void copy_tile(const item* x, item* y, const Walk* walk, Py_ssize_t tile) noexcept nogil:
    cdef Py_ssize_t column = tile % walk.column_tiles * walk.tile_columns, rest = tile // walk.column_tiles
    cdef Py_ssize_t row = rest % walk.row_tiles * walk.tile_rows
    cdef Py_ssize_t rows = min(walk.tile_rows, walk.size[1] - row)
    cdef Py_ssize_t columns = min(walk.tile_columns, walk.size[0] - column)
    cdef Py_ssize_t strided = row * walk.stride[1] + column * walk.stride[0]
    cdef Py_ssize_t contiguous = row * walk.run[1] + column * walk.run[0]
    cdef int axis
    rest = rest // walk.row_tiles
    for axis in range(2, walk.rank):
        strided += rest % walk.size[axis] * walk.stride[axis]
        contiguous += rest % walk.size[axis] * walk.run[axis]
        rest = rest // walk.size[axis]
    if walk.reading:
        copy_plane(x + strided, y + contiguous, rows, columns, walk.stride[1], walk.stride[0], walk.run[1], walk.run[0])
    else:
        copy_plane(x + contiguous, y + strided, rows, columns, walk.run[1], walk.run[0], walk.stride[1], walk.stride[0])


cdef void copy_tiles(const item* x, item* y, const Walk* walk, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    cdef Py_ssize_t tile
    for tile in range(begin, end):
        copy_tile(x, y, walk, tile)


cdef void run(const item* x, item* y, const Walk* walk, int team) noexcept nogil:
    cdef Py_ssize_t each = max(1, GRAIN // (walk.tile_rows * walk.tile_columns)), task
    for task in prange((walk.count + each - 1) // each, num_threads=team, schedule="guided"):
        copy_tiles(x, y, walk, task * each, min(walk.count, (task + 1) * each))


cdef int walk_along(object x, Py_ssize_t x_offset, object y, Py_ssize_t y_offset, tuple shape, tuple strides,
                    bint reading, bint in_order) except -1:
    """Copy x to y. in_order: exactly as an index counts up, on one thread."""
    cdef Walk walk
    cdef const uint8_t* px = <const uint8_t*>data(x)
    cdef uint8_t* py = <uint8_t*>data(y)
    cdef int size = item_size(x)
    cdef int team = 1 if in_order else threads(y.size if reading else x.size)
    if 0 in shape:
        return 0
    walk.reading = reading
    set_axes(&walk, shape, strides)
    set_tiles(&walk, in_order)
    px += x_offset * size
    py += y_offset * size
    if size == 1:
        with nogil:
            run(<const uint8_t*>px, <uint8_t*>py, &walk, team)
    elif size == 4:
        with nogil:
            run(<const uint32_t*>px, <uint32_t*>py, &walk, team)
    else:
        with nogil:
            run(<const uint64_t*>px, <uint64_t*>py, &walk, team)
    return 0


def strided_get(x, y, shape, strides, offset):
    walk_along(x, offset, y, 0, tuple(shape), tuple(strides), True, False)


def strided_set(y, x, shape, strides, offset):
    walk_along(x, 0, y, offset, tuple(shape), tuple(strides), False, meets_itself(shape, strides))


def meets_itself(shape, strides):
    """Whether a walk may come to a place twice. Not if every step is longer than the way along all shorter ones."""
    reach = 0
    for step, size in sorted((abs(stride), size) for size, stride in zip(shape, strides) if size > 1):
        if step <= reach:
            return True
        reach += step * (size - 1)
    return False


# -------------------------------------------------------------------------------------------------------- filling

cdef inline void fill_some(item* y, Py_ssize_t n, item value) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        y[i] = value


cdef void fill_all(item* y, Py_ssize_t n, item value) noexcept nogil:
    cdef Py_ssize_t task
    for task in prange((n + GRAIN - 1) // GRAIN, num_threads=threads(n), schedule="guided"):
        fill_some(y + task * GRAIN, min(GRAIN, n - task * GRAIN), value)


def fill(y, value):
    cdef void* py = data(y)
    pattern = np.array(value, y.dtype)
    cdef void* pv = data(pattern)
    cdef Py_ssize_t n = y.size
    cdef int size = item_size(y)
    if size == 1:
        with nogil:
            fill_all(<uint8_t*>py, n, (<uint8_t*>pv)[0])
    elif size == 4:
        with nogil:
            fill_all(<uint32_t*>py, n, (<uint32_t*>pv)[0])
    else:
        with nogil:
            fill_all(<uint64_t*>py, n, (<uint64_t*>pv)[0])


# ------------------------------------------------------------------------------------------------ taking by index

cdef int check_index(str kernel, object index, Py_ssize_t size) except -1:
    cdef const int64_t* place = <const int64_t*>data(index)
    cdef Py_ssize_t n = index.size, i
    for i in range(n):
        if place[i] < 0 or place[i] >= size:
            where = ", ".join(str(k) for k in np.unravel_index(i, index.shape))
            raise IndexError(f"{kernel}: index[{where}] is {place[i]}, expected 0 to {size - 1}")
    return 0


cdef inline void take_some(const item* x, const int64_t* index, item* y, Py_ssize_t n, Py_ssize_t inner) noexcept nogil:
    """n rows of `inner` elements."""
    cdef Py_ssize_t m
    for m in range(n):
        if inner == 1:
            y[m] = x[index[m]]
        else:
            memcpy(y + m * inner, x + index[m] * inner, inner * sizeof(item))


cdef void take_all(const item* x, const int64_t* index, item* y, Py_ssize_t outer, Py_ssize_t length, Py_ssize_t inner,
                   Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t grain = max(1, GRAIN // max(1, inner)), blocks = (n + grain - 1) // grain, task, o, m
    for task in prange(outer * blocks, num_threads=threads(outer * n * inner), schedule="guided"):
        o = task // blocks
        m = task % blocks * grain
        take_some(x + o * length * inner, index + m, y + (o * n + m) * inner, min(grain, n - m), inner)


def take(x, index, y):
    cdef Py_ssize_t outer = x.shape[0], length = x.shape[1], inner = x.shape[2], n = index.shape[0]
    cdef void* px = data(x)
    cdef void* py = data(y)
    cdef const int64_t* place = <const int64_t*>data(index)
    cdef int size = item_size(x)
    check_index("take", index, length)
    if size == 1:
        with nogil:
            take_all(<const uint8_t*>px, place, <uint8_t*>py, outer, length, inner, n)
    elif size == 4:
        with nogil:
            take_all(<const uint32_t*>px, place, <uint32_t*>py, outer, length, inner, n)
    else:
        with nogil:
            take_all(<const uint64_t*>px, place, <uint64_t*>py, outer, length, inner, n)


cdef void take_back(const real* g, const int64_t* index, real* dx, Py_ssize_t length, Py_ssize_t inner, Py_ssize_t n,
                    Py_ssize_t task) noexcept nogil:
    """Task (outer index, block of columns): a place that was taken twice gets both gradients, in order."""
    cdef Py_ssize_t blocks = (inner + BLOCK - 1) // BLOCK, o = task // blocks, column = task % blocks * BLOCK
    cdef Py_ssize_t width = min(BLOCK, inner - column), d, m, i, at, to
    for d in range(length):
        memset(dx + (o * length + d) * inner + column, 0, width * sizeof(real))
    for m in range(n):
        at = (o * n + m) * inner + column
        to = (o * length + index[m]) * inner + column
        for i in range(width):
            dx[to + i] += g[at + i]


cdef void take_grads(const real* g, const int64_t* index, real* dx, Py_ssize_t outer, Py_ssize_t length,
                     Py_ssize_t inner, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t task
    cdef int team = threads(outer * (length + n) * inner)
    for task in prange(outer * ((inner + BLOCK - 1) // BLOCK), num_threads=team, schedule="guided"):
        take_back(g, index, dx, length, inner, n, task)


def take_grad(g, index, dx, Py_ssize_t length):
    cdef Py_ssize_t outer = dx.shape[0], inner = dx.shape[2], n = index.shape[0]
    cdef void* pg = data(g)
    cdef void* pd = data(dx)
    cdef const int64_t* place = <const int64_t*>data(index)
    check_index("take_grad", index, length)
    if g.dtype == F32:
        with nogil:
            take_grads(<const float*>pg, place, <float*>pd, outer, length, inner, n)
    else:
        with nogil:
            take_grads(<const double*>pg, place, <double*>pd, outer, length, inner, n)


cdef inline void pick_row(const item* x, const int64_t* index, item* y, Py_ssize_t inner) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(inner):
        y[i] = x[index[i] * inner + i]


cdef void pick_all(const item* x, const int64_t* index, item* y, Py_ssize_t outer, Py_ssize_t length,
                   Py_ssize_t inner) noexcept nogil:
    cdef Py_ssize_t o
    for o in prange(outer, num_threads=threads(outer * inner), schedule="guided"):
        pick_row(x + o * length * inner, index + o * inner, y + o * inner, inner)


def pick(x, index, y):
    cdef Py_ssize_t outer = x.shape[0], length = x.shape[1], inner = x.shape[2]
    cdef void* px = data(x)
    cdef void* py = data(y)
    cdef const int64_t* place = <const int64_t*>data(index)
    cdef int size = item_size(x)
    check_index("pick", index, length)
    if size == 1:
        with nogil:
            pick_all(<const uint8_t*>px, place, <uint8_t*>py, outer, length, inner)
    elif size == 4:
        with nogil:
            pick_all(<const uint32_t*>px, place, <uint32_t*>py, outer, length, inner)
    else:
        with nogil:
            pick_all(<const uint64_t*>px, place, <uint64_t*>py, outer, length, inner)


cdef inline void put_row(const item* g, const int64_t* index, item* dx, Py_ssize_t length,
                         Py_ssize_t inner) noexcept nogil:
    cdef Py_ssize_t i
    memset(dx, 0, length * inner * sizeof(item))
    for i in range(inner):
        dx[index[i] * inner + i] = g[i]


cdef void put_all(const item* g, const int64_t* index, item* dx, Py_ssize_t outer, Py_ssize_t length,
                  Py_ssize_t inner) noexcept nogil:
    cdef Py_ssize_t o
    for o in prange(outer, num_threads=threads(outer * length * inner), schedule="guided"):
        put_row(g + o * inner, index + o * inner, dx + o * length * inner, length, inner)


def pick_grad(g, index, dx, Py_ssize_t length):
    cdef Py_ssize_t outer = dx.shape[0], inner = dx.shape[2]
    cdef void* pg = data(g)
    cdef void* pd = data(dx)
    cdef const int64_t* place = <const int64_t*>data(index)
    check_index("pick_grad", index, length)
    if g.itemsize == 4:
        with nogil:
            put_all(<const uint32_t*>pg, place, <uint32_t*>pd, outer, length, inner)
    else:
        with nogil:
            put_all(<const uint64_t*>pg, place, <uint64_t*>pd, outer, length, inner)


include "copy_gather.pxi"
