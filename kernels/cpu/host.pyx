"""The processor, and the memory blocks that arrays live in. Compiled once, for the plainest processor."""

cimport cython
cimport numpy as cnp
from cpython.buffer cimport PyBuffer_FillInfo
from cpython.ref cimport PyObject, PyTypeObject, Py_INCREF
from libc.stdlib cimport free

cnp.import_array()

cdef extern from *:
    """
    #include <stdlib.h>
    #ifdef _OPENMP
    #include <omp.h>
    #else
    static int omp_get_max_threads(void) { return 1; }
    #endif

    #ifdef _OPENMP
    #define HAVE_OPENMP 1
    #else
    #define HAVE_OPENMP 0
    #endif

    #if defined(__x86_64__)
    static int supports(int level) {
      __builtin_cpu_init();
      if (level == 1) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    }
    #else
    static int supports(int level) { return 0; }
    #endif

    static void *take_memory(size_t bytes) {
      void *p = 0;
      return posix_memalign(&p, 64, bytes) ? 0 : p;  /* 64: a cache line, and the widest vector */
    }
    """
    const int HAVE_OPENMP
    Py_ssize_t PY_SSIZE_T_MAX
    int omp_get_max_threads()
    int supports(int level)
    void* take_memory(size_t size) nogil

cdef extern from "numpy/arrayobject.h":
    PyTypeObject PyArray_Type
    object PyArray_NewFromDescr(PyTypeObject*, cnp.dtype, int rank, cnp.npy_intp* shape, cnp.npy_intp* strides,
                                void* data, int flags, PyObject*)

openmp = bool(HAVE_OPENMP)


def default_threads():
    """What OpenMP would use: OMP_NUM_THREADS or the processors it sees."""
    return omp_get_max_threads()


def has_avx2():
    return bool(supports(1))


def has_avx512():
    return bool(supports(2))


cdef enum:
    MOST_AXES = 32  # of an array

cdef Py_ssize_t MOST_BYTES = PY_SSIZE_T_MAX // 2


cdef class Pool:
    """Memory kept for the next array of the same size.

    A block returns here when the last array on it is gone, and is handed out again by `take`. What is kept unused
    stays below `limit` bytes; what is over goes back to the system.
    """

    cdef dict shelves
    cdef readonly Py_ssize_t in_use
    cdef readonly Py_ssize_t kept
    cdef readonly Py_ssize_t peak
    cdef public Py_ssize_t limit

    def __cinit__(self, Py_ssize_t limit):
        self.shelves = {}
        self.limit = limit

    def take(self, Py_ssize_t count):
        """A Block of `count` bytes, not cleared."""
        cdef Block block
        cdef Py_ssize_t room = rounded(count) if self.limit else max(count, 1)
        cdef list shelf = self.shelves.get(room)
        cdef size_t address = shelf.pop() if shelf else 0  # before anything that could run other code
        if address:
            self.kept -= room
        block = Block.__new__(Block)
        if address:
            block.memory = <char*>address
        else:
            block.memory = <char*>take_memory(room)
            if block.memory == NULL:
                self.clear()
                block.memory = <char*>take_memory(room)
            if block.memory == NULL:
                raise MemoryError(f"no memory for an array of {count} bytes ({self.in_use} bytes are in use)")
        block.pool = self
        block.count = count
        block.room = room
        self.in_use += room
        self.peak = max(self.peak, self.in_use)
        return block

    def array(self, tuple shape, cnp.dtype dtype):
        """A C-contiguous array on a Block of its own, not cleared."""
        cdef cnp.npy_intp sizes[MOST_AXES]
        cdef Py_ssize_t count = dtype.itemsize, axis
        cdef int rank = len(shape)
        if rank > MOST_AXES:
            raise ValueError(f"an array of {rank} dimensions: at most {MOST_AXES} are possible")
        for axis in range(rank):
            sizes[axis] = shape[axis]
            if sizes[axis] and count > MOST_BYTES // sizes[axis]:
                raise ValueError(f"an array of shape {shape} and dtype {dtype} is larger than the address space")
            count *= sizes[axis]
        cdef Block block = self.take(count)
        Py_INCREF(dtype)  # the next call takes the reference over
        array = PyArray_NewFromDescr(&PyArray_Type, dtype, rank, sizes, NULL, block.memory, cnp.NPY_ARRAY_DEFAULT, NULL)
        cnp.set_array_base(array, block)
        return array

    def clear(self):
        """Give all unused memory back to the system."""
        for shelf in self.shelves.values():
            for address in shelf:
                free(<void*><size_t>address)
        self.shelves = {}
        self.kept = 0

    def reset_peak(self):
        self.peak = self.in_use

    def __dealloc__(self):
        if self.shelves is not None:
            for shelf in self.shelves.values():
                for address in shelf:
                    free(<void*><size_t>address)

    cdef void put_back(self, char* memory, Py_ssize_t room):
        self.in_use -= room
        if self.kept + room > self.limit:
            free(memory)
            return
        shelf = self.shelves.get(room)
        if shelf is None:
            shelf = self.shelves[room] = []
        shelf.append(<size_t>memory)
        self.kept += room


@cython.no_gc_clear  # it needs its pool to the end
cdef class Block:
    """Bytes for one array; a NumPy array on it keeps it alive."""

    cdef char* memory
    cdef Py_ssize_t count
    cdef Py_ssize_t room
    cdef Pool pool

    def __getbuffer__(self, Py_buffer* view, int flags):
        PyBuffer_FillInfo(view, self, self.memory, self.count, 0, flags)

    def __dealloc__(self):
        if self.memory != NULL:
            self.pool.put_back(self.memory, self.room)


cdef Py_ssize_t rounded(Py_ssize_t count):
    """Sizes come in steps of an eighth of the power of two below, so that near sizes share their memory."""
    cdef Py_ssize_t step = 64
    while step <= count // 16:
        step *= 2
    return max((count + step - 1) // step * step, 64)
