"""The optimizers' steps: one pass each over the parameters, their gradients and what the optimizer remembers.

Every formula is a loop of a line or two over neighbouring numbers, which becomes vector code; choices are made outside.
A kernel takes arrays, or lists of them: the parameters of a whole model, the gradients of each, and so on. Most of a
model's arrays are small, so a call and a team of threads for each would cost more than the work. They are cut into
tasks, each some neighbouring elements of one parameter and of what belongs to it.
"""

include "common.pxi"

from cython.parallel cimport prange
from libc.math cimport pow, sqrt, sqrtf
from libc.stdlib cimport qsort

cdef enum:
    GRAIN = 16384           # elements of a task


cdef inline real root(real x) noexcept nogil:
    if real is float:
        return sqrtf(x)
    else:
        return sqrt(x)


cdef enum:
    ARGUMENTS = 5           # most arrays that belong together

cdef struct Task:           # neighbouring elements of a parameter, and those that belong to them; NULL: absent
    void* at[ARGUMENTS]
    Py_ssize_t count


cdef struct Piece:          # of memory
    size_t start, end


cdef int by_start(const void* one, const void* other) noexcept nogil:
    cdef size_t a = (<const Piece*>one).start, b = (<const Piece*>other).start
    return (a > b) - (a < b)


cdef bint are_apart(tuple rows) except -1:
    """Whether no two parameters share memory: those that do are moved in turn, as they come."""
    cdef Py_ssize_t count = len(rows), i
    cdef Piece* piece = <Piece*>allocate(count, sizeof(Piece))
    cdef bint apart = True
    cdef cnp.ndarray param
    for i in range(count):
        param = rows[i][0]
        piece[i].start = <size_t>cnp.PyArray_DATA(param)
        piece[i].end = piece[i].start + cnp.PyArray_NBYTES(param)
    qsort(piece, count, sizeof(Piece), by_start)
    for i in range(count - 1):
        apart = apart and piece[i].end <= piece[i + 1].start
    free(piece)
    return apart


cdef class Tasks:
    """The tasks of a call."""

    cdef Task* task
    cdef Py_ssize_t count
    cdef int team               # threads
    cdef bint in_float

    def __cinit__(self, *columns):
        """columns: for each argument its array, None, or a list with one for each parameter."""
        cdef tuple rows = tuple(zip(*columns)) if isinstance(columns[0], list) else (columns,)
        cdef Py_ssize_t most = 0, elements = 0, n, begin, size
        cdef char* start
        cdef cnp.ndarray param
        cdef int i
        for row in rows:
            param = row[0]
            most += (cnp.PyArray_SIZE(param) + GRAIN - 1) // GRAIN
        self.task = <Task*>allocate(most, sizeof(Task))
        self.in_float = not rows or rows[0][0].dtype == F32
        for row in rows:
            param = row[0]
            n = cnp.PyArray_SIZE(param)
            size = cnp.PyArray_ITEMSIZE(param)
            if (size == 4) != self.in_float:
                raise TypeError("an optimizer's step takes parameters of one dtype at a time")
            for begin in range(0, n, GRAIN):
                for i in range(len(row)):
                    start = <char*>data(row[i])
                    self.task[self.count].at[i] = start + begin * size if start != NULL else NULL
                self.task[self.count].count = min(GRAIN, n - begin)
                self.count += 1
            elements += n
        self.team = threads(elements) if are_apart(rows) else 1

    def __dealloc__(self):
        free(self.task)


# ----------------------------------------------------------------------------------------------------------- SGD

cdef void sgd_plain(real* p, const real* g, Py_ssize_t n, real lr, real decay) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        p[i] -= lr * (g[i] + decay * p[i])


cdef void sgd_first(real* p, const real* g, real* v, Py_ssize_t n, real lr, real ahead, real decay) noexcept nogil:
    """The first step, which finds no velocity. ahead: the momentum for Nesterov's variant, else 0."""
    cdef real gradient
    cdef Py_ssize_t i
    for i in range(n):
        gradient = g[i] + decay * p[i]
        v[i] = gradient
        p[i] -= lr * (gradient + ahead * gradient)


cdef void sgd_momentum(real* p, const real* g, real* v, Py_ssize_t n, real lr, real momentum, real rest,
                       real decay) noexcept nogil:
    """rest: 1 - dampening."""
    cdef real velocity
    cdef Py_ssize_t i
    for i in range(n):
        velocity = momentum * v[i] + rest * (g[i] + decay * p[i])
        v[i] = velocity
        p[i] -= lr * velocity


cdef void sgd_nesterov(real* p, const real* g, real* v, Py_ssize_t n, real lr, real momentum, real rest,
                       real decay) noexcept nogil:
    cdef real gradient, velocity
    cdef Py_ssize_t i
    for i in range(n):
        gradient = g[i] + decay * p[i]
        velocity = momentum * v[i] + rest * gradient
        v[i] = velocity
        p[i] -= lr * (gradient + momentum * velocity)


cdef void sgd(const Task* task, real* v, double lr, double momentum, double dampening, double decay, bint nesterov,
              bint first) noexcept nogil:
    """v: the velocities, or NULL."""
    cdef real* p = <real*>task.at[0]
    cdef const real* g = <const real*>task.at[1]
    cdef real rest = <real>(1 - dampening), ahead = <real>(momentum if nesterov else 0)
    if v == NULL:
        sgd_plain(p, g, task.count, <real>lr, <real>decay)
    elif first:
        sgd_first(p, g, v, task.count, <real>lr, ahead, <real>decay)
    elif nesterov:
        sgd_nesterov(p, g, v, task.count, <real>lr, <real>momentum, rest, <real>decay)
    else:
        sgd_momentum(p, g, v, task.count, <real>lr, <real>momentum, rest, <real>decay)


def sgd_step(p, g, velocity, double lr, double momentum, double dampening, double weight_decay, bint nesterov,
             bint first):
    cdef Tasks tasks = Tasks(p, g, velocity)
    cdef Task* task = tasks.task
    cdef bint in_float = tasks.in_float
    cdef Py_ssize_t i, count = tasks.count
    cdef int team = tasks.team
    for i in prange(count, nogil=True, num_threads=team, schedule="guided"):
        if in_float:
            sgd(task + i, <float*>task[i].at[2], lr, momentum, dampening, weight_decay, nesterov, first)
        else:
            sgd(task + i, <double*>task[i].at[2], lr, momentum, dampening, weight_decay, nesterov, first)


# ---------------------------------------------------------------------------------------------------------- Adam

cdef void adam_some(real* p, const real* g, real* m, real* v, Py_ssize_t n, real size, real beta1, real rest1,
                    real beta2, real rest2, real unbias, real eps, real shrink, real decay) noexcept nogil:
    """size: lr / (1 - beta1^step). rest: 1 - beta. unbias: 1 / sqrt(1 - beta2^step). shrink: what decoupled decay
    leaves of p."""
    cdef real weight, gradient, mean, square
    cdef Py_ssize_t i
    for i in range(n):
        weight = shrink * p[i]
        gradient = g[i] + decay * p[i]
        mean = beta1 * m[i] + rest1 * gradient
        square = beta2 * v[i] + rest2 * (gradient * gradient)
        m[i] = mean
        v[i] = square
        p[i] = weight - size * (mean / (root(square) * unbias + eps))


cdef void adam(const Task* task, real* p, double lr, double beta1, double beta2, double eps, double decay,
               bint decoupled, double step) noexcept nogil:
    cdef real size = <real>(lr / (1 - pow(beta1, step))), unbias = <real>(1 / sqrt(1 - pow(beta2, step)))
    cdef real shrink = <real>(1 - lr * decay if decoupled else 1), coupled = <real>(0 if decoupled else decay)
    cdef real rest1 = <real>(1 - beta1), rest2 = <real>(1 - beta2)
    adam_some(p, <const real*>task.at[1], <real*>task.at[2], <real*>task.at[3], task.count, size, <real>beta1, rest1,
              <real>beta2, rest2, unbias, <real>eps, shrink, coupled)


def adam_step(p, g, m, v, double lr, double beta1, double beta2, double eps, double weight_decay, bint decoupled,
              double step):
    cdef Tasks tasks = Tasks(p, g, m, v)
    cdef Task* task = tasks.task
    cdef bint in_float = tasks.in_float
    cdef Py_ssize_t i, count = tasks.count
    cdef int team = tasks.team
    for i in prange(count, nogil=True, num_threads=team, schedule="guided"):
        if in_float:
            adam(task + i, <float*>task[i].at[0], lr, beta1, beta2, eps, weight_decay, decoupled, step)
        else:
            adam(task + i, <double*>task[i].at[0], lr, beta1, beta2, eps, weight_decay, decoupled, step)


# ------------------------------------------------------------------------------------------------------- RMSprop

cdef void rmsprop_some(real* p, const real* g, real* square, real* mean, real* velocity, Py_ssize_t n, real lr,
                       real alpha, real rest, real eps, real decay, real momentum) noexcept nogil:
    """The loop is cut into its choices by the compiler: mean and velocity are NULL for all elements or for none."""
    cdef real gradient, variance, change
    cdef Py_ssize_t i
    for i in range(n):
        gradient = g[i] + decay * p[i]
        variance = alpha * square[i] + rest * (gradient * gradient)
        square[i] = variance
        if mean != NULL:
            mean[i] = alpha * mean[i] + rest * gradient
            variance -= mean[i] * mean[i]
        change = gradient / (root(variance) + eps)
        if velocity != NULL:
            change += momentum * velocity[i]
            velocity[i] = change
        p[i] -= lr * change


cdef void rmsprop(const Task* task, real* p, double lr, double alpha, double eps, double decay,
                  double momentum) noexcept nogil:
    rmsprop_some(p, <const real*>task.at[1], <real*>task.at[2], <real*>task.at[3], <real*>task.at[4], task.count,
                 <real>lr, <real>alpha, <real>(1 - alpha), <real>eps, <real>decay, <real>momentum)


def rmsprop_step(p, g, square, mean, velocity, double lr, double alpha, double eps, double weight_decay,
                 double momentum):
    cdef Tasks tasks = Tasks(p, g, square, mean, velocity)
    cdef Task* task = tasks.task
    cdef bint in_float = tasks.in_float
    cdef Py_ssize_t i, count = tasks.count
    cdef int team = tasks.team
    for i in prange(count, nogil=True, num_threads=team, schedule="guided"):
        if in_float:
            rmsprop(task + i, <float*>task[i].at[0], lr, alpha, eps, weight_decay, momentum)
        else:
            rmsprop(task + i, <double*>task[i].at[0], lr, alpha, eps, weight_decay, momentum)


# ------------------------------------------------------------------------------------------------------- Adagrad

cdef void adagrad_some(real* p, const real* g, real* total, Py_ssize_t n, real lr, real eps, real decay) noexcept nogil:
    cdef real gradient, sum
    cdef Py_ssize_t i
    for i in range(n):
        gradient = g[i] + decay * p[i]
        sum = total[i] + gradient * gradient
        total[i] = sum
        p[i] -= lr * (gradient / (root(sum) + eps))


def adagrad_step(p, g, total, double lr, double eps, double weight_decay):
    cdef Tasks tasks = Tasks(p, g, total)
    cdef Task* task = tasks.task
    cdef bint in_float = tasks.in_float
    cdef Py_ssize_t i, count = tasks.count
    cdef int team = tasks.team
    for i in prange(count, nogil=True, num_threads=team, schedule="guided"):
        if in_float:
            adagrad_some(<float*>task[i].at[0], <const float*>task[i].at[1], <float*>task[i].at[2], task[i].count,
                         <float>lr, <float>eps, <float>weight_decay)
        else:
            adagrad_some(<double*>task[i].at[0], <const double*>task[i].at[1], <double*>task[i].at[2], task[i].count,
                         lr, eps, weight_decay)


# ----------------------------------------------------------------------------------------------- running averages

cdef void average_some(real* p, const real* value, Py_ssize_t n, real rest, real share) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        p[i] = rest * p[i] + share * value[i]


def average_step(p, value, double rate, double scale):
    cdef Tasks tasks = Tasks(p, value)
    cdef Task* task = tasks.task
    cdef bint in_float = tasks.in_float
    cdef Py_ssize_t i, count = tasks.count
    cdef int team = tasks.team
    for i in prange(count, nogil=True, num_threads=team, schedule="static"):
        if in_float:
            average_some(<float*>task[i].at[0], <const float*>task[i].at[1], task[i].count, <float>(1 - rate),
                         <float>(rate * scale))
        else:
            average_some(<double*>task[i].at[0], <const double*>task[i].at[1], task[i].count, 1 - rate, rate * scale)
