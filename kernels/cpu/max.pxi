cdef extern from "max.h" nogil:
    ctypedef struct MaxTaps:
        Py_ssize_t first_row, end_row, first_column, end_column, columns, down, across
    void max_of_window_float(const float* x, const MaxTaps* taps, Py_ssize_t channels, float* best, float* where)
    void max_of_window_double(const double* x, const MaxTaps* taps, Py_ssize_t channels, double* best, double* where)


cdef inline void max_of_window(const real* x, const MaxTaps* taps, Py_ssize_t channels, real* best,
                               real* where) noexcept nogil:
    if real is float:
        max_of_window_float(x, taps, channels, best, where)
    else:
        max_of_window_double(x, taps, channels, best, where)
