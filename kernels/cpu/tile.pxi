# The register tile of tile.h for Cython.

cdef extern from "tile.h" nogil:
    enum:
        TILE_BYTES
        TILE_ROWS
    ctypedef struct Walk:
        Py_ssize_t runs, length, a_step, b_step
        const Py_ssize_t* starts
    ctypedef struct Finish:
        const void* added
        double low, high
    ctypedef struct Taps:
        Py_ssize_t count, news
        const Py_ssize_t* a
        const Py_ssize_t* b
        const Py_ssize_t* soon
    ctypedef struct Store:
        Py_ssize_t height, width
        bint add
        const Finish* finish
    ctypedef struct Block:
        Py_ssize_t rows, columns, panel
        bint add
        const Finish* finish
    void tile_float(const Walk*, const Store*, const float* a, const Py_ssize_t* rows, const float* b,
                    const float* bias, float* y, const Py_ssize_t* places)
    void tile_double(const Walk*, const Store*, const double* a, const Py_ssize_t* rows, const double* b,
                     const double* bias, double* y, const Py_ssize_t* places)
    void tile_block_float(const Walk*, const Block*, const float* a, const Py_ssize_t* rows, const float* b,
                          const float* bias, float* y, const Py_ssize_t* places)
    void tile_block_double(const Walk*, const Block*, const double* a, const Py_ssize_t* rows, const double* b,
                           const double* bias, double* y, const Py_ssize_t* places)
    void tile_channels_float(const Walk*, const Store*, const float* a, const Py_ssize_t* rows, const float* b,
                             const float* bias, float* y, const Py_ssize_t* places)
    void tile_channels_double(const Walk*, const Store*, const double* a, const Py_ssize_t* rows, const double* b,
                              const double* bias, double* y, const Py_ssize_t* places)
    void tile_depthwise_float(const Taps*, const Store*, const float* a, const Py_ssize_t* rows, const float* b,
                              const float* bias, float* y, const Py_ssize_t* places)
    void tile_depthwise_double(const Taps*, const Store*, const double* a, const Py_ssize_t* rows, const double* b,
                               const double* bias, double* y, const Py_ssize_t* places)
    ctypedef struct Row:
        Py_ssize_t count, row, y_step, stride
    void depthwise_row_float(const Row*, const Finish*, const float* a, const float* b, const float* bias, float* y)
    void depthwise_row_double(const Row*, const Finish*, const double* a, const double* b, const double* bias,
                              double* y)
    void copy_pieces_float(const float* source, Py_ssize_t source_step, float* to, Py_ssize_t to_step,
                           Py_ssize_t numbers, Py_ssize_t count)
    void copy_pieces_double(const double* source, Py_ssize_t source_step, double* to, Py_ssize_t to_step,
                            Py_ssize_t numbers, Py_ssize_t count)
    void copy_planes_float(const float* source, Py_ssize_t source_step, float* to, Py_ssize_t depth, Py_ssize_t plane,
                           Py_ssize_t numbers, Py_ssize_t count)
    void copy_planes_double(const double* source, Py_ssize_t source_step, double* to, Py_ssize_t depth,
                            Py_ssize_t plane, Py_ssize_t numbers, Py_ssize_t count)


cdef inline void tile(bint channels, const Walk* walk, const Store* store, const real* a, const Py_ssize_t* rows,
                      const real* b, const real* bias, real* y, const Py_ssize_t* places) noexcept nogil:
    if real is float:
        if channels:
            tile_channels_float(walk, store, a, rows, b, bias, y, places)
        else:
            tile_float(walk, store, a, rows, b, bias, y, places)
    else:
        if channels:
            tile_channels_double(walk, store, a, rows, b, bias, y, places)
        else:
            tile_double(walk, store, a, rows, b, bias, y, places)


cdef inline void tile_block(const Walk* walk, const Block* block, const real* a, const Py_ssize_t* rows, const real* b,
                            const real* bias, real* y, const Py_ssize_t* places) noexcept nogil:
    if real is float:
        tile_block_float(walk, block, a, rows, b, bias, y, places)
    else:
        tile_block_double(walk, block, a, rows, b, bias, y, places)


cdef inline void tile_depthwise(const Taps* taps, const Store* store, const real* a, const Py_ssize_t* rows,
                                const real* b, const real* bias, real* y, const Py_ssize_t* places) noexcept nogil:
    if real is float:
        tile_depthwise_float(taps, store, a, rows, b, bias, y, places)
    else:
        tile_depthwise_double(taps, store, a, rows, b, bias, y, places)


cdef inline void depthwise_row(const Row* row, const Finish* finish, const real* a, const real* b, const real* bias,
                               real* y) noexcept nogil:
    if real is float:
        depthwise_row_float(row, finish, a, b, bias, y)
    else:
        depthwise_row_double(row, finish, a, b, bias, y)


cdef inline void copy_pieces(const real* source, Py_ssize_t source_step, real* to, Py_ssize_t to_step,
                             Py_ssize_t numbers, Py_ssize_t count) noexcept nogil:
    if real is float:
        copy_pieces_float(source, source_step, to, to_step, numbers, count)
    else:
        copy_pieces_double(source, source_step, to, to_step, numbers, count)


cdef inline void copy_planes(const real* source, Py_ssize_t source_step, real* to, Py_ssize_t depth, Py_ssize_t plane,
                             Py_ssize_t numbers, Py_ssize_t count) noexcept nogil:
    if real is float:
        copy_planes_float(source, source_step, to, depth, plane, numbers, count)
    else:
        copy_planes_double(source, source_step, to, depth, plane, numbers, count)


cdef inline Finish finish_at(const Finish* finish, Py_ssize_t offset) noexcept nogil:
    """The same for outputs that begin `offset` bytes further on."""
    cdef Finish there = finish[0]
    if there.added:
        there.added = <const char*>there.added + offset
    return there


cdef inline Py_ssize_t tile_width(size_t size) noexcept nogil:
    """Columns of a tile, for numbers of `size` bytes."""
    return 2 * TILE_BYTES // size


cdef inline Py_ssize_t ceil_div(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return (a + b - 1) // b


cdef inline Py_ssize_t whole_tiles(Py_ssize_t rows) noexcept nogil:
    """Rows of the tiles that cover so many rows."""
    return ceil_div(rows, TILE_ROWS) * TILE_ROWS


# A workspace is one block of memory, cut up by hand. What the tile reads in vectors begins at a cache line: a vector
# that lies across two lines costs two loads.
cdef enum:
    LINE = 64
    MOST_KEPT = 67108864        # bytes of the workspace that is kept

cdef struct Workspace:
    void* block
    Py_ssize_t bytes

cdef Workspace _kept = Workspace(NULL, 0)


cdef inline Py_ssize_t whole_lines(size_t bytes) noexcept nogil:
    return (bytes + LINE - 1) // LINE * LINE


cdef inline char* first_line(void* block) noexcept nogil:
    """The first cache line that begins in the block, which must be LINE bytes too long."""
    return <char*>block + (LINE - <size_t>block % LINE) % LINE


cdef Workspace take_workspace(Py_ssize_t bytes) except *:
    """A workspace of so many bytes (and LINE more), to be given back.

    The last one is kept for the next call: memory fresh from the system costs a page fault for each 4 KB. The lock of
    the interpreter keeps calls from other threads away, which find none and get one of their own.
    """
    global _kept
    cdef Workspace workspace = _kept
    _kept = Workspace(NULL, 0)
    if workspace.bytes < bytes + LINE:
        free(workspace.block)
        workspace = Workspace(allocate(bytes + LINE, 1), bytes + LINE)
    return workspace


cdef void give_back(Workspace workspace) noexcept:
    global _kept
    if _kept.bytes < workspace.bytes <= MOST_KEPT:
        free(_kept.block)
        _kept = workspace
    else:
        free(workspace.block)
