"""Matrix products, y = a @ b (+ bias), of batches of matrices, either side transposed.

The register tile (tile.h) takes its rows from one side and its columns, packed, from the other. The product is cut into
blocks of rows and columns, one a task. A task goes through the sum in pieces short enough for the packed columns of a tile
to stay in the first-level cache and its rows in the second, and adds each piece to y.

Which side gives the rows is a matter of what lies well in memory: rows are read where they are if their numbers are
neighbours, and columns are packed fastest if theirs are. So some products are computed as y^T = b^T @ a^T ("turned").

A small y with a long sum has too few blocks to share out: its sum is cut into parts, whose number follows from the shape.
"""

include "common.pxi"
include "tile.pxi"

from cython.parallel cimport prange, threadid

cdef enum:
    ROWS = 384              # of a block
    COLUMNS = 512           # of a block; fewer if there are not
    TASKS = 12              # blocks
    STEPS = 256             # of the sum at a time
    PART_STEPS = 512        # of the sum that are worth a part

cdef struct Side:                               # steps in memory: to the next matrix, the next row or column, along the sum
    Py_ssize_t matrix, next, step

cdef struct Product:
    Py_ssize_t batch, M, N, K                   # M rows and N columns of the tiles
    Side a, b                                   # what gives the rows, what gives the columns
    bint turned                                 # y is N x M
    Py_ssize_t rows, columns, row_blocks, column_blocks, parts


cdef void pack_rows(const Product* p, const real* a, Py_ssize_t rows, Py_ssize_t steps, real* to) noexcept nogil:
    """Put rows that are neighbours (p.a.next is 1) into tiles: [tiles][steps][TILE_ROWS]."""
    cdef Py_ssize_t full = rows // TILE_ROWS, s, t, j
    for s in range(steps):
        for t in range(full):
            for j in range(TILE_ROWS):
                to[(t * steps + s) * TILE_ROWS + j] = a[t * TILE_ROWS + j]
        for j in range(rows - full * TILE_ROWS):
            to[(full * steps + s) * TILE_ROWS + j] = a[full * TILE_ROWS + j]
        a += p.a.step


cdef void pack_columns(const Product* p, const real* b, Py_ssize_t columns, Py_ssize_t steps, real* to) noexcept nogil:
    """Put the columns of a tile beside each other, zeros where there are fewer: [steps][width]."""
    cdef Py_ssize_t width = tile_width(sizeof(real)), s, j
    if p.b.next == 1:
        copy_pieces(b, p.b.step, to, width, columns, steps)
        return
    for s in range(steps):
        for j in range(columns):
            to[j] = b[s * p.b.step + j * p.b.next]
        for j in range(columns, width):
            to[j] = 0
        to += width


cdef void multiply_task(const Product* p, const real* a, const real* b, const real* bias, real* y, Py_ssize_t task,
                        real* a_buffer, real* b_buffer, real* y_buffer, Py_ssize_t* table) noexcept nogil:
    """One block of one matrix, or of one part of its sum: y is (batch, parts, M, N)."""
    cdef Py_ssize_t width = tile_width(sizeof(real))
    cdef Py_ssize_t block = task % (p.row_blocks * p.column_blocks), part = task // (p.row_blocks * p.column_blocks) % p.parts
    cdef Py_ssize_t matrix = task // (p.row_blocks * p.column_blocks * p.parts)
    cdef Py_ssize_t m = block // p.column_blocks * p.rows, rows = min(p.rows, p.M - m)
    cdef Py_ssize_t n = block % p.column_blocks * p.columns, columns = min(p.columns, p.N - n)
    cdef Py_ssize_t k = p.K * part // p.parts, end = p.K * (part + 1) // p.parts
    cdef Py_ssize_t y_row = columns if p.turned else p.N, start = 0, i, j
    cdef Py_ssize_t* places = table + whole_tiles(rows)
    cdef const real* panel
    cdef real* to
    cdef Walk walk
    cdef Store store
    a += matrix * p.a.matrix + m * p.a.next + k * p.a.step
    b += matrix * p.b.matrix + n * p.b.next + k * p.b.step
    y += (matrix * p.parts + part) * p.M * p.N + (n * p.M + m if p.turned else m * p.N + n)
    to = y_buffer if p.turned else y
    walk.runs = 1
    walk.starts = &start
    store.add = False
    for i in range(rows):
        places[i] = i * y_row
    while True:
        walk.length = min(STEPS, end - k)
        walk.a_step = 1 if p.a.step == 1 else TILE_ROWS
        for i in range(whole_tiles(rows)):
            j = i if i < rows else rows - 1
            table[i] = j * p.a.next if p.a.step == 1 else j // TILE_ROWS * walk.length * TILE_ROWS + j % TILE_ROWS
        if p.a.step != 1:
            pack_rows(p, a, rows, walk.length, a_buffer)
        for block in range(ceil_div(columns, width)):
            j = block * width
            store.width = min(width, columns - j)
            if p.b.next == 1 and store.width == width and rows <= 2 * TILE_ROWS:  # packing would not pay
                panel = b + j
                walk.b_step = p.b.step
            else:
                pack_columns(p, b + j * p.b.next, store.width, walk.length, b_buffer)
                panel = b_buffer
                walk.b_step = width
            for i in range(ceil_div(rows, TILE_ROWS)):
                store.height = min(TILE_ROWS, rows - i * TILE_ROWS)
                tile(False, &walk, &store, a if p.a.step == 1 else a_buffer, table + i * TILE_ROWS, panel,
                     bias + n + j if bias and not p.turned else NULL, to + j, places + i * TILE_ROWS)
        k += walk.length
        a += walk.length * p.a.step
        b += walk.length * p.b.step
        store.add = True
        if k >= end:
            break
    if p.turned:
        for j in range(columns):
            for i in range(rows):
                y[j * p.M + i] = to[i * columns + j] + (bias[m + i] if bias else 0)


cdef void add_parts(const Product* p, const real* partial, const real* bias, real* y) noexcept nogil:
    cdef Py_ssize_t size = p.M * p.N, across = p.M if p.turned else p.N, row, part, i
    for row in prange(p.batch * (size // across), num_threads=threads(p.batch * p.parts * size)):
        for i in range(across):
            y[row * across + i] = bias[i] if bias else 0
        for part in range(p.parts):
            for i in range(across):
                y[row * across + i] += partial[(row * across // size * p.parts + part) * size + row * across % size + i]


cdef int multiply(Product* p, const real* a, const real* b, const real* bias, real* y) except -1:
    cdef Py_ssize_t width = tile_width(sizeof(real)), blocks, tasks, task, a_numbers, b_numbers, numbers
    cdef int team = threads(p.batch * p.M * p.N * p.K)
    if p.batch * p.M * p.N == 0:
        return 0
    p.row_blocks = ceil_div(p.M, ROWS)
    p.rows = whole_tiles(ceil_div(p.M, p.row_blocks))
    p.row_blocks = ceil_div(p.M, p.rows)
    p.column_blocks = ceil_div(p.N, COLUMNS)
    while p.batch * p.row_blocks * p.column_blocks < TASKS and p.column_blocks * 4 * width < p.N:
        p.column_blocks *= 2
    p.columns = ceil_div(ceil_div(p.N, p.column_blocks), width) * width
    p.column_blocks = ceil_div(p.N, p.columns)
    blocks = p.batch * p.row_blocks * p.column_blocks
    p.parts = max(1, min(PARTS, p.K // PART_STEPS)) if blocks < TASKS else 1
    tasks = blocks * p.parts
    a_numbers = p.rows * STEPS if p.a.step != 1 else 0
    b_numbers = width * STEPS
    numbers = a_numbers + b_numbers + (p.rows * p.columns if p.turned else 0)
    cdef real* buffers = <real*>allocate(team * numbers, sizeof(real))
    cdef real* partial = <real*>allocate(p.batch * p.parts * p.M * p.N, sizeof(real)) if p.parts > 1 else y
    cdef Py_ssize_t* tables = <Py_ssize_t*>allocate(team * 2 * p.rows, sizeof(Py_ssize_t))
    cdef real* buffer
    with nogil:
        for task in prange(tasks, num_threads=team, schedule="dynamic"):
            buffer = buffers + threadid() * numbers
            multiply_task(p, a, b, bias if p.parts == 1 else NULL, partial, task, buffer, buffer + a_numbers,
                          buffer + a_numbers + b_numbers, tables + threadid() * 2 * p.rows)
        if p.parts > 1:
            add_parts(p, partial, bias, y)
    free(buffers)
    free(tables)
    if p.parts > 1:
        free(partial)
    return 0


def matmul(a, b, bias, y, bint transpose_a, bint transpose_b):
    cdef Py_ssize_t batch = y.shape[0], M = y.shape[1], N = y.shape[2], K = a.shape[1 if transpose_a else 2]
    cdef Product p
    cdef Side left, right
    cdef void* first = data(a)
    cdef void* second = data(b)
    cdef void* added = data(bias)
    if b.shape[0] == 1 and not transpose_a:     # one b for all: the rows of all a make one matrix
        M, batch = batch * M, 1
    left = Side(M * K, 1 if transpose_a else K, M if transpose_a else 1)
    right = Side(K * N if b.shape[0] > 1 else 0, K if transpose_b else 1, 1 if transpose_b else N)
    if transpose_b:     # a column of b is one piece of memory: a good row. Is turning y cheaper than packing b?
        p.turned = transpose_a or N * K > M * (N + K)
    else:
        p.turned = transpose_a and N <= TILE_ROWS
    p.batch, p.K = batch, K
    p.M, p.N, p.a, p.b = M, N, left, right
    if p.turned:
        p.M, p.N, p.a, p.b = N, M, right, left
        first, second = second, first
    if y.dtype == F32:
        multiply(&p, <const float*>first, <const float*>second, <const float*>added, <float*>data(y))
    else:
        multiply(&p, <const double*>first, <const double*>second, <const double*>added, <double*>data(y))
