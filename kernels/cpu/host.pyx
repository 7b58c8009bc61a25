"""The processor, the memory that arrays live in, and calls of kernels. Compiled once, for the plainest processor."""

cimport cython
cimport numpy as cnp
from cpython.buffer cimport PyBuffer_FillInfo
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.ref cimport PyObject, PyTypeObject, Py_INCREF
from libc.stdlib cimport free
from libc.string cimport memcpy

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

    cpdef Block take(self, Py_ssize_t count):
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

    cpdef array(self, tuple shape, cnp.dtype dtype):
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
        shelves, self.shelves, self.kept = self.shelves, {}, 0
        for shelf in shelves.values():
            for address in shelf:
                free(<void*><size_t>address)

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
            shelf = self.shelves.setdefault(room, [])  # making a list may free another block of this size
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


# ------------------------------------------------------------------------------------------------ calls of kernels

cdef enum:
    MOST_ARRAYS = 16  # of a call
    MOST_FORM = 5 + MOST_AXES * sizeof(cnp.npy_intp)  # bytes that say an argument's letter, dtype and shape


cdef char* write_form(char* end, cnp.ndarray array) except NULL:
    """Write the dtype and shape of an array down at `end`; returns where that ends."""
    if array.ndim > MOST_AXES:
        raise ValueError(f"an array of {array.ndim} dimensions: at most {MOST_AXES} are possible")
    cdef Py_ssize_t size = array.ndim * sizeof(cnp.npy_intp)
    end[0], end[1] = array.descr.kind, array.descr.byteorder
    end[2], end[3] = <char>array.descr.itemsize, <char>array.ndim
    memcpy(end + 4, array.shape, size)
    return end + 4 + size


cdef object forms_of(tuple arrays):
    """Dtypes and shapes of arrays, None among them, as a key of a dict."""
    cdef char forms[MOST_ARRAYS * MOST_FORM]
    cdef char* end = forms
    if len(arrays) > MOST_ARRAYS:
        raise TypeError(f"{len(arrays)} arrays came, a kernel takes {MOST_ARRAYS} at most")
    for one in arrays:
        if one is None:
            end[0] = 0
            end += 1
        elif cnp.PyArray_Check(one):
            end = write_form(end, one)
        else:  # of another device
            return tuple([None if a is None else (a.shape, a.dtype.str, getattr(a, "device", None)) for a in arrays])
    return PyBytes_FromStringAndSize(forms, end - forms)


cdef class Remembered:
    """A function of the dtypes and shapes of tensors and of settings, which remembers what it returned.

    holder: the class of tensors, whose attribute `array` is their array. Settings are ints, words, bools, None and
    tuples of ints; a call with anything else goes to the function. Settings of other types are others: True equals 1.
    """

    cdef readonly object function
    cdef object holder
    cdef dict results
    cdef Py_ssize_t most

    def __init__(self, function, holder, Py_ssize_t most=4096):
        self.function, self.holder, self.most = function, holder, most
        self.results = {}

    def __call__(self, *arguments):
        cdef char forms[MOST_ARRAYS * MOST_FORM]
        cdef char* end = forms
        cdef list key = [None]
        cdef Py_ssize_t i
        if len(arguments) > MOST_ARRAYS:
            return self.function(*arguments)
        for one in arguments:
            end[0] = kind_of(one)
            if end[0] == b"?":
                array = one.array if isinstance(one, self.holder) else None
                if not cnp.PyArray_Check(array):
                    return self.function(*arguments)
                end = write_form(end + 1, array)
            else:
                end += 1
                key.append(one)
        key[0] = PyBytes_FromStringAndSize(forms, end - forms)
        cdef tuple known = tuple(key)
        result = self.results.get(known)
        if result is None:
            result = self.function(*arguments)
            if len(self.results) >= self.most:
                self.results.clear()
            self.results[known] = result
        return result


cdef char kind_of(object setting):
    """A letter for the type of a setting, "?" for what is none."""
    if type(setting) is int:
        return b"i"
    if type(setting) is tuple:
        for part in <tuple>setting:
            if type(part) is not int:
                return b"?"
        return b"t"
    if setting is None:
        return b"n"
    return b"s" if type(setting) is str else b"b" if type(setting) is bool else b"?"


cdef class Calls:
    """Calls kernels by name, and remembers what each kind of call needs: minicnn/dispatch.py, which fills it in.

    pool: the memory of outputs on the CPU; elsewhere(shape, dtype, device) makes those on other devices. place(array):
    the device that an array lives on. names(name): the params of a kernel, and those of them that a plan depends on.
    plan(name, device, arrays, params, prepared): checks a call that was not seen before, and says what to run, (shape,
    dtype) of each output, and the algorithm. plans: where that is remembered, for at most `most` calls. watch(name,
    device, algorithm, arrays, outputs, params): told of each call while `watchers` is not empty.
    """

    cdef Pool pool
    cdef object elsewhere, place, names, plan, watch
    cdef dict plans, known
    cdef list watchers
    cdef Py_ssize_t most

    def __init__(self, Pool pool, elsewhere, place, names, plan, dict plans, Py_ssize_t most, watch, list watchers):
        self.pool, self.elsewhere, self.place, self.names, self.plan, self.watch = pool, elsewhere, place, names, plan, watch
        self.plans, self.most, self.watchers = plans, most, watchers
        self.known = {}

    cdef object find(self, str name, str device, tuple arrays, dict params, bint prepared):
        """The plan of a call, made if this is the first of its kind."""
        cdef tuple needed, deciding
        needed, deciding = self.settings(name)
        cdef tuple key = (name, device, prepared, forms_of(arrays), *[params.get(p) for p in deciding])
        plan = self.plans.get(key)
        if plan is None or len(params) != len(needed):
            plan = self.plan(name, device, arrays, params, prepared)
            if len(self.plans) >= self.most:  # a program that never repeats a shape must not grow for it
                self.plans.clear()
            self.plans[key] = plan
        return plan

    cdef str device_of(self, array):
        return "cpu" if cnp.PyArray_Check(array) else self.place(array)

    cdef tuple settings(self, str name):
        found = self.known.get(name)
        if found is None:
            found = self.known[name] = self.names(name)
        return found

    cdef list values(self, str name, str device, tuple arrays, dict params, bint prepared):
        """The params in the order of the contract."""
        try:
            return [params[p] for p in self.settings(name)[0]]
        except KeyError:
            self.plan(name, device, arrays, params, prepared)  # which says what is wrong
            raise

    def call(self, str name, device, tuple arrays, dict params, kept):
        """Run a kernel: the one output, or a tuple of them. device: where the first array lives, if None."""
        if device is None:
            device = self.device_of(arrays[0])
        run, forms, algorithm = self.find(name, device, arrays, params, kept is not None)
        cdef list outputs
        if <str>device == "cpu":
            outputs = [self.pool.array(shape, dtype) for shape, dtype in forms]
        else:
            outputs = [self.elsewhere(shape, dtype, device) for shape, dtype in forms]
        cdef list arguments = [*arrays, *outputs, *self.values(name, device, arrays, params, kept is not None)]
        if kept is None:
            run(*arguments)
        else:
            run(*arguments, kept=kept)
        if self.watchers:
            self.watch(name, device, algorithm, arrays, outputs, params)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def call_rows(self, str name, list rows, dict params):
        """Run a kernel that only changes arrays in place once for many rows of them."""
        device = self.device_of(rows[0][0])
        cdef list plans = [self.find(name, device, arrays, params, False) for arrays in rows]
        plans[0].run(*[list(column) for column in zip(*rows)], *self.values(name, device, rows[0], params, False))
        if self.watchers:
            for arrays in rows:
                self.watch(name, device, plans[0].algorithm, arrays, [], params)
