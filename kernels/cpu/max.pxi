# The maxima of windows, channel by channel, and where in the window they are.
#
# Taps are visited from the last to the first: of equals the one visited last stays, of several NaN the first visited.

cdef inline void visit(real value, Py_ssize_t tap, real* best, real* where) noexcept nogil:
    cdef bint wins = (not value < best[0]) & (best[0] == best[0])   # NaN is not below anything
    best[0] = value if wins else best[0]
    where[0] = <real>tap if wins else where[0]


cdef inline void max_of_4(const real* x, Py_ssize_t down, Py_ssize_t across, Py_ssize_t width, real* best,
                          real* where) noexcept nogil:
    """A 2x2 window: best[c] and its tap, for channels c < width."""
    cdef real top, tap
    cdef Py_ssize_t c
    for c in range(width):
        top = x[down + across + c]
        tap = 3
        visit(x[down + c], 2, &top, &tap)
        visit(x[across + c], 1, &top, &tap)
        visit(x[c], 0, &top, &tap)
        best[c] = top
        where[c] = tap


cdef inline void max_of_9(const real* x, Py_ssize_t down, Py_ssize_t across, Py_ssize_t width, real* best,
                          real* where) noexcept nogil:
    """A 3x3 window."""
    cdef real top, tap
    cdef Py_ssize_t c
    for c in range(width):
        top = x[2 * down + 2 * across + c]
        tap = 8
        visit(x[2 * down + across + c], 7, &top, &tap)
        visit(x[2 * down + c], 6, &top, &tap)
        visit(x[down + 2 * across + c], 5, &top, &tap)
        visit(x[down + across + c], 4, &top, &tap)
        visit(x[down + c], 3, &top, &tap)
        visit(x[2 * across + c], 2, &top, &tap)
        visit(x[across + c], 1, &top, &tap)
        visit(x[c], 0, &top, &tap)
        best[c] = top
        where[c] = tap
