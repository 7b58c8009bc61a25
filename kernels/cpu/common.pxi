# What every kernel file includes: pointers of arrays, and how many threads a piece of work is worth.

cimport numpy as cnp
import numpy as np
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

cnp.import_array()

ctypedef fused real:
    float
    double

F32 = np.dtype(np.float32)
F64 = np.dtype(np.float64)
I64 = np.dtype(np.int64)

cdef enum:
    PARTS = 16  # partial sums of a reduction: a number that does not depend on the threads, so neither do the bits

cdef int _threads = 1


def set_num_threads(int count):
    """How many threads the kernels of this module may use."""
    global _threads
    _threads = count


cdef inline int threads(Py_ssize_t work) noexcept nogil:
    """Threads worth using for `work` elementary operations: starting a team costs some microseconds."""
    return 1 if work < 32768 else _threads


cdef inline int threads_for_products(Py_ssize_t products) noexcept nogil:
    """The same for multiply-adds, of which a vector unit does many in one operation."""
    return threads(products // 16)


cdef inline void* data(object array) except? NULL:
    """Where a C-contiguous array begins; NULL for None."""
    if array is None:
        return NULL
    if not cnp.PyArray_Check(array) or not cnp.PyArray_IS_C_CONTIGUOUS(array):
        raise ValueError("a kernel takes C-contiguous NumPy arrays")
    return cnp.PyArray_DATA(array)


cdef inline void* allocate(size_t count, size_t size) except NULL:
    """A workspace of `count` items; free() it."""
    cdef void* block = malloc(count * size if count * size else 1)
    if block == NULL:
        raise MemoryError(f"no memory for a workspace of {count * size} bytes")
    return block
