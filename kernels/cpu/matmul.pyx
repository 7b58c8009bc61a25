"""Matrix products, y = a @ b (+ bias), of batches of matrices, either side transposed.

The register tile (tile.h) takes its rows from one side and its columns, packed, from the other. The product is cut
into blocks of rows and columns, one a task. A task goes through the sum in pieces short enough for the packed columns
of a tile to stay in the first-level cache and its rows in the second, and adds each piece to y.

Which side gives the rows is a matter of what lies well in memory: a row is read where it is if its numbers lie side by
side, and columns are packed fastest if they lie side by side. So some products are computed as y^T = b^T @ a^T
("turned").

Where one side is thin, or the sums are short, each number of the large side is used but a few times: another matter
(thin.h).

A small y with long sums has too few blocks to share out: its sums are cut into parts, whose number follows from the
shape.
"""

include "common.pxi"
include "tile.pxi"

from cython.parallel cimport prange, threadid

cdef extern from "thin.h" nogil:
    enum:
        THIN_ROWS
        THIN_STEPS
    void thin_product_float(Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t steps, const float* a, Py_ssize_t a_next,
                            Py_ssize_t a_step, const float* b, Py_ssize_t b_step, float* y, Py_ssize_t y_row)
    void thin_product_double(Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t steps, const double* a, Py_ssize_t a_next,
                             Py_ssize_t a_step, const double* b, Py_ssize_t b_step, double* y, Py_ssize_t y_row)
    void thin_outer_float(Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t steps, const float* a, Py_ssize_t a_next,
                          Py_ssize_t a_step, const float* b, Py_ssize_t b_step, float* y, Py_ssize_t y_row)
    void thin_outer_double(Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t steps, const double* a, Py_ssize_t a_next,
                           Py_ssize_t a_step, const double* b, Py_ssize_t b_step, double* y, Py_ssize_t y_row)
    void thin_dots_float(Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t steps, const float* a, Py_ssize_t a_next,
                         const float* b, Py_ssize_t b_next, float* y, Py_ssize_t y_row, Py_ssize_t y_column)
    void thin_dots_double(Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t steps, const double* a, Py_ssize_t a_next,
                          const double* b, Py_ssize_t b_next, double* y, Py_ssize_t y_row, Py_ssize_t y_column)

cdef enum:
    ROWS = 768              # of a block, at most
    ROW_NUMBERS = 73728     # of those that are read at a time: a share of the second-level cache
    COLUMNS = 512           # of a block; fewer if there are not
    TASKS = 12              # blocks
    STEPS = 384             # of the sum at a time
    PANELS = 4              # of columns that are packed at a time
    PART_STEPS = 512        # of the sum that are worth a part
    FEW = 4                 # columns that are multiplied with rows one by one,
    DOTS = 96               # so many rows a task
    OUTER_NUMBERS = 16384   # of y that a sum of outer products writes in a task
    THIN_COLUMNS = 4096     # that a few rows are multiplied with at a time: half the first-level cache
    THIN_PART = 32768       # multiply-adds of a few rows and a matrix that are worth a part

cdef struct Side:                               # steps to the next matrix, the next row (column), and along the sum
    Py_ssize_t matrix, next, step

cdef struct Product:
    Py_ssize_t batch, M, N, K                   # M rows and N columns of the tiles
    Side a, b                                   # what gives the rows, what gives the columns
    bint turned                                 # y is N x M
    Py_ssize_t rows, columns, row_blocks, column_blocks, parts


cdef const real* read_rows(const Product* p, const real* a, Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t steps,
                           real* buffer, Py_ssize_t* table) noexcept nogil:
    """Where to read rows, which begin where the table says: in place or copied into the buffer.

    Rows that are neighbours are copied into tiles, [tiles][steps][TILE_ROWS]; others, if many columns meet them, behind
    each other: at steps of a power of two, as large matrices have them, they compete for the same places of the cache.
    """
    cdef Py_ssize_t i, j, next = p.a.next
    if p.a.step != 1:
        copy_planes(a, p.a.step, buffer, TILE_ROWS, steps * TILE_ROWS, rows, steps)
        for i in range(whole_tiles(rows)):
            j = min(i, rows - 1)
            table[i] = j // TILE_ROWS * steps * TILE_ROWS + j % TILE_ROWS
        return buffer
    if steps < next and columns > PANELS * tile_width(sizeof(real)):
        copy_pieces(a, next, buffer, steps, steps, rows)
        a, next = buffer, steps
    for i in range(whole_tiles(rows)):
        table[i] = min(i, rows - 1) * next
    return a


cdef void pack_columns(const Product* p, const real* b, Py_ssize_t columns, Py_ssize_t steps, real* to) noexcept nogil:
    """Put the columns of each tile beside each other, zeros where there are fewer: [tiles][steps][width]."""
    cdef Py_ssize_t width = tile_width(sizeof(real)), column, s
    if p.b.next == 1:
        copy_planes(b, p.b.step, to, width, steps * width, columns, steps)
        return
    for column in range(ceil_div(columns, width) * width):
        for s in range(steps):
            to[s * width] = b[column * p.b.next + s * p.b.step] if column < columns else 0
        to += 1 if (column + 1) % width else (steps - 1) * width + 1


cdef void add_piece(const Product* p, const real* a, const real* b, const real* bias, real* y, Py_ssize_t y_row,
                    Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t steps, bint add, real* a_buffer, real* b_buffer,
                    Py_ssize_t* table) noexcept nogil:
    """A block of y (+)= so many steps of its sums (+ bias)."""
    cdef Py_ssize_t width = tile_width(sizeof(real)), start = 0, packed = 0, panel, column, i
    cdef bint in_place = p.b.next == 1 and rows <= 2 * TILE_ROWS    # packing would not pay
    cdef Py_ssize_t* places = table + whole_tiles(rows)
    cdef const real* b_panel
    cdef Walk walk = Walk(1, steps, 1 if p.a.step == 1 else TILE_ROWS, width, &start)
    cdef Store store = Store(0, 0, add, NULL)
    for i in range(whole_tiles(rows)):
        places[i] = i * y_row
    a = read_rows(p, a, rows, columns, steps, a_buffer, table)
    for panel in range(ceil_div(columns, width)):
        column = panel * width
        store.width = min(width, columns - column)
        if in_place and store.width == width:
            b_panel = b + column
            walk.b_step = p.b.step
        else:
            if in_place or panel % PANELS == 0:
                pack_columns(p, b + column * p.b.next, min(PANELS * width, columns - column), steps, b_buffer)
                packed = panel
            b_panel = b_buffer + (panel - packed) * steps * width
            walk.b_step = width
        for i in range(ceil_div(rows, TILE_ROWS)):
            store.height = min(TILE_ROWS, rows - i * TILE_ROWS)
            tile(False, &walk, &store, a, table + i * TILE_ROWS, b_panel, bias + column if bias else NULL, y + column,
                 places + i * TILE_ROWS)


cdef void multiply_task(const Product* p, const real* a, const real* b, const real* bias, real* y, Py_ssize_t task,
                        real* a_buffer, real* b_buffer, real* y_buffer, Py_ssize_t* table) noexcept nogil:
    """One block of one matrix, or of a part of its sums: y is (batch, parts, M, N), or turned (batch, parts, N, M)."""
    cdef Py_ssize_t blocks = p.row_blocks * p.column_blocks, block = task % blocks
    cdef Py_ssize_t part = task // blocks % p.parts, matrix = task // (blocks * p.parts)
    cdef Py_ssize_t m = block // p.column_blocks * p.rows, rows = min(p.rows, p.M - m)
    cdef Py_ssize_t n = block % p.column_blocks * p.columns, columns = min(p.columns, p.N - n)
    cdef Py_ssize_t begin = p.K * part // p.parts, steps = p.K * (part + 1) // p.parts - begin, piece, k, i, j
    a += matrix * p.a.matrix + m * p.a.next + begin * p.a.step
    b += matrix * p.b.matrix + n * p.b.next + begin * p.b.step
    y += (matrix * p.parts + part) * p.M * p.N
    for piece in range(max(1, ceil_div(steps, STEPS))):     # a sum of nothing is 0, and is written too
        k = piece * STEPS
        if p.turned:
            add_piece(p, a + k * p.a.step, b + k * p.b.step, <const real*>NULL, y_buffer, columns, rows, columns,
                      min(STEPS, steps - k), k > 0, a_buffer, b_buffer, table)
        else:
            add_piece(p, a + k * p.a.step, b + k * p.b.step, bias + n if bias else NULL, y + m * p.N + n, p.N, rows,
                      columns, min(STEPS, steps - k), k > 0, a_buffer, b_buffer, table)
    if p.turned:
        for j in range(columns):
            for i in range(rows):
                y[(n + j) * p.M + m + i] = y_buffer[i * columns + j] + (bias[m + i] if bias else 0)


cdef void dot_task(const Product* p, const real* a, const real* b, const real* bias, real* y,
                   Py_ssize_t task) noexcept nogil:
    """Rows times a few columns, both in one piece."""
    cdef Py_ssize_t tasks = ceil_div(p.M, DOTS), matrix = task // tasks, first = task % tasks * DOTS
    cdef Py_ssize_t end = min(first + DOTS, p.M), row = 1 if p.turned else p.N, column = p.M if p.turned else 1, m, n
    a += matrix * p.a.matrix + first * p.a.next
    b += matrix * p.b.matrix
    y += matrix * p.M * p.N
    for n in range(p.N):
        for m in range(first, end):
            y[m * row + n * column] = bias[m if p.turned else n] if bias else 0
    y += first * row
    if real is float:
        thin_dots_float(end - first, p.N, p.K, a, p.a.next, b, p.b.next, y, row, column)
    else:
        thin_dots_double(end - first, p.N, p.K, a, p.a.next, b, p.b.next, y, row, column)


cdef void outer_task(const Product* p, const real* a, const real* b, real* y, Py_ssize_t task) noexcept nogil:
    """A sum of a few outer products, some rows of it."""
    cdef Py_ssize_t matrix = task // p.row_blocks, first = task % p.row_blocks * p.rows
    a += matrix * p.a.matrix + first * p.a.next
    b += matrix * p.b.matrix
    y += (matrix * p.M + first) * p.N
    if real is float:
        thin_outer_float(min(p.rows, p.M - first), p.N, p.K, a, p.a.next, p.a.step, b, p.b.step, y, p.N)
    else:
        thin_outer_double(min(p.rows, p.M - first), p.N, p.K, a, p.a.next, p.a.step, b, p.b.step, y, p.N)


cdef void add_parts(const Product* p, const real* partial, const real* bias, real* y) noexcept nogil:
    cdef Py_ssize_t size = p.M * p.N, across = p.M if p.turned else p.N, row, part, i
    for row in prange(p.batch * (size // across), num_threads=threads(p.batch * p.parts * size)):
        for i in range(across):
            y[row * across + i] = bias[i] if bias else 0
        for part in range(p.parts):
            for i in range(across):
                y[row * across + i] += partial[(row * across // size * p.parts + part) * size + row * across % size + i]


cdef void thin_task(const Product* p, const real* a, const real* b, real* sums, Py_ssize_t across,
                    Py_ssize_t task) noexcept nogil:
    """A few rows times some columns of one matrix, or a part of their sums."""
    cdef Py_ssize_t column = task % p.column_blocks * p.columns, columns = min(p.columns, p.N - column)
    cdef Py_ssize_t part = task // p.column_blocks % p.parts, matrix = task // (p.column_blocks * p.parts)
    cdef Py_ssize_t begin = p.K * part // p.parts, steps = p.K * (part + 1) // p.parts - begin
    a += matrix * p.a.matrix + begin * p.a.step
    b += matrix * p.b.matrix + begin * p.b.step + column
    memset(sums, 0, p.M * across * sizeof(real))
    if real is float:
        thin_product_float(p.M, columns, steps, a, p.a.next, p.a.step, b, p.b.step, sums, across)
    else:
        thin_product_double(p.M, columns, steps, a, p.a.next, p.a.step, b, p.b.step, sums, across)


cdef void add_thin_parts(const Product* p, const real* sums, Py_ssize_t across, const real* bias,
                         real* y) noexcept nogil:
    """y = bias + the sums of all parts, which are [batch][parts][blocks of columns][M][across]."""
    cdef Py_ssize_t row, part, block, first, k
    cdef const real* more
    for row in range(p.batch * p.M):
        for k in range(p.N):
            y[k] = bias[k] if bias else 0
        for part in range(p.parts):
            for block in range(p.column_blocks):
                first = block * p.columns
                more = sums + ((row // p.M * p.parts + part) * p.column_blocks + block) * p.M * across
                more += row % p.M * across
                for k in range(min(p.columns, p.N - first)):
                    y[first + k] += more[k]
        y += p.N


cdef int multiply_thin(Product* p, const real* a, const real* b, const real* bias, real* y, int team) except -1:
    cdef Py_ssize_t across, tasks, task
    p.columns = min(p.N, THIN_COLUMNS)
    p.column_blocks = ceil_div(p.N, p.columns)
    p.parts = max(1, min(PARTS, p.M * p.N * p.K // THIN_PART))
    # rows of sums are an odd number of cache lines apart: at steps of a power of two they would compete for places
    across = (ceil_div(p.columns * sizeof(real), LINE) | 1) * LINE // sizeof(real)
    tasks = p.batch * p.parts * p.column_blocks
    cdef Workspace workspace = take_workspace(tasks * p.M * across * sizeof(real))
    cdef real* sums = <real*>first_line(workspace.block)
    with nogil:
        for task in prange(tasks, num_threads=team, schedule="dynamic"):
            thin_task(p, a, b, sums + task * p.M * across, across, task)
        add_thin_parts(p, sums, across, bias, y)
    give_back(workspace)
    return 0


cdef int multiply(Product* p, const real* a, const real* b, const real* bias, real* y) except -1:
    cdef Py_ssize_t width = tile_width(sizeof(real)), blocks, tasks, task
    cdef int team = threads_for_products(p.batch * p.M * p.N * p.K)
    if p.batch * p.M * p.N == 0:
        return 0
    if p.N <= FEW and p.a.step == 1 and p.b.step == 1:
        tasks = p.batch * ceil_div(p.M, DOTS)
        for task in prange(tasks, nogil=True, num_threads=team, schedule="dynamic"):
            dot_task(p, a, b, bias, y, task)
        return 0
    if p.K <= THIN_STEPS and p.b.next == 1 and not p.turned and not bias:
        p.rows = max(1, OUTER_NUMBERS // p.N)
        p.row_blocks = ceil_div(p.M, p.rows)
        tasks = p.batch * p.row_blocks
        for task in prange(tasks, nogil=True, num_threads=team, schedule="dynamic"):
            outer_task(p, a, b, y, task)
        return 0
    if p.M <= THIN_ROWS and p.b.next == 1 and not p.turned:
        return multiply_thin(p, a, b, bias, y, team)
    p.row_blocks = ceil_div(p.M, min(ROWS, ROW_NUMBERS // max(1, min(p.K, STEPS))))
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
    # the workspace: partial sums, and for each thread packed rows, packed columns, a turned block and a table of places
    cdef Py_ssize_t partial_bytes = whole_lines(p.batch * p.parts * p.M * p.N * sizeof(real)) if p.parts > 1 else 0
    cdef Py_ssize_t a_bytes = whole_lines(p.rows * STEPS * sizeof(real))
    cdef Py_ssize_t b_bytes = whole_lines(PANELS * width * STEPS * sizeof(real))
    cdef Py_ssize_t y_bytes = whole_lines(p.rows * p.columns * sizeof(real)) if p.turned else 0
    cdef Py_ssize_t own_bytes = a_bytes + b_bytes + y_bytes + whole_lines(2 * p.rows * sizeof(Py_ssize_t))
    cdef Workspace workspace = take_workspace(partial_bytes + team * own_bytes)
    cdef char* start = first_line(workspace.block)
    cdef real* partial = <real*>start if p.parts > 1 else y
    cdef char* own
    with nogil:
        for task in prange(tasks, num_threads=team, schedule="dynamic"):
            own = start + partial_bytes + threadid() * own_bytes
            multiply_task(p, a, b, bias if p.parts == 1 else NULL, partial, task, <real*>own, <real*>(own + a_bytes),
                          <real*>(own + a_bytes + b_bytes), <Py_ssize_t*>(own + a_bytes + b_bytes + y_bytes))
        if p.parts > 1:
            add_parts(p, partial, bias, y)
    give_back(workspace)
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
