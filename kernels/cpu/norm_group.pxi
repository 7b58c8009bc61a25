# Normalisation over groups of channels of one picture, (M, C): a mean and a variance for each of the G groups, from M
# places and C / G neighbouring channels. With one group and M = 1 it is layer norm, with as many groups as channels
# instance norm.
#
# What belongs to a group is written out once for each of its channels, so that all loops run along whole rows, however
# small the groups. A part of the pictures is a task. Sums are doubles.

cdef enum:
    AT_ONCE = 8             # sums side by side when a row is added up: an order that vector units can follow too


# The workspace of a task: a number for each channel in each of them.
cdef struct Channels:
    double* first           # sums
    double* second
    void* centre            # the means, and what else a pass needs, in the array's precision
    void* scale
    void* slope
    void* shift


cdef double sum_of(const real* x, Py_ssize_t n) noexcept nogil:
    cdef double part[AT_ONCE]
    cdef Py_ssize_t i, j
    cdef double total = 0
    for j in range(AT_ONCE):
        part[j] = 0
    for i in range(n // AT_ONCE):
        for j in range(AT_ONCE):
            part[j] += x[i * AT_ONCE + j]
    for j in range(AT_ONCE):
        total += part[j]
    for i in range(n - n % AT_ONCE, n):
        total += x[i]
    return total


cdef inline void fill_with(real* x, Py_ssize_t n, real value) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        x[i] = value


cdef void sum_rows(const real* x, Py_ssize_t rows, Py_ssize_t channels, double* total) noexcept nogil:
    cdef Py_ssize_t m, c
    memset(total, 0, channels * sizeof(double))
    for m in range(rows):
        for c in range(channels):
            total[c] += x[m * channels + c]


cdef void sum_squares(const real* x, Py_ssize_t rows, Py_ssize_t channels, const real* centre,
                      double* total) noexcept nogil:
    cdef Py_ssize_t m, c
    cdef real d
    memset(total, 0, channels * sizeof(double))
    for m in range(rows):
        for c in range(channels):
            d = x[m * channels + c] - centre[c]
            total[c] += d * d


cdef double sum_of_squares(const real* x, Py_ssize_t n, real centre) noexcept nogil:
    """Of the distances from the centre."""
    cdef double part[AT_ONCE]
    cdef Py_ssize_t i, j
    cdef double total = 0
    cdef real d
    for j in range(AT_ONCE):
        part[j] = 0
    for i in range(n // AT_ONCE):
        for j in range(AT_ONCE):
            d = x[i * AT_ONCE + j] - centre
            part[j] += d * d
    for j in range(AT_ONCE):
        total += part[j]
    for i in range(n - n % AT_ONCE, n):
        d = x[i] - centre
        total += d * d
    return total


cdef void moments(const real* x, real* mean, real* rstd, Py_ssize_t rows, Py_ssize_t channels, Py_ssize_t groups,
                  double eps, real* centre, double* total) noexcept nogil:
    """mean and rstd of each group, and the means once more for each channel."""
    cdef Py_ssize_t each = channels // groups, run = rows * each, k
    if rows == 1 or groups == 1:  # a group lies in one run
        for k in range(groups):
            mean[k] = <real>(sum_of(x + k * run, run) / run)
            fill_with(centre + k * each, each, mean[k])
            rstd[k] = <real>(1 / sqrt(sum_of_squares(x + k * run, run, mean[k]) / run + eps))
        return
    sum_rows(x, rows, channels, total)
    for k in range(groups):
        mean[k] = <real>(sum_of(total + k * each, each) / run)
        fill_with(centre + k * each, each, mean[k])
    sum_squares(x, rows, channels, centre, total)
    for k in range(groups):
        rstd[k] = <real>(1 / sqrt(sum_of(total + k * each, each) / run + eps))


cdef void normalise_picture(const real* x, const real* weight, const real* bias, real* y, real* mean, real* rstd,
                            Py_ssize_t rows, Py_ssize_t channels, Py_ssize_t groups, double eps,
                            const Channels* work) noexcept nogil:
    cdef Py_ssize_t each = channels // groups, k, m, c
    cdef real* centre = <real*>work.centre
    cdef real* scale = <real*>work.scale
    cdef real* shift = <real*>work.shift
    moments(x, mean, rstd, rows, channels, groups, eps, centre, work.first)
    for k in range(groups):
        fill_with(scale + k * each, each, rstd[k])
    for c in range(channels):
        scale[c] = scale[c] if weight == NULL else scale[c] * weight[c]
        shift[c] = 0 if bias == NULL else bias[c]
    for m in range(rows):
        for c in range(channels):
            y[m * channels + c] = (x[m * channels + c] - centre[c]) * scale[c] + shift[c]


cdef void picture_grad(const real* g, const real* x, const real* mean, const real* rstd, const real* weight, real* dx,
                       double* dweight, double* dbias, Py_ssize_t rows, Py_ssize_t channels, Py_ssize_t groups,
                       const Channels* work) noexcept nogil:
    """dx of a picture; its shares of dweight and dbias are added."""
    cdef Py_ssize_t each = channels // groups, k, m, c
    cdef double count = <double>(rows * each), a, b
    cdef real* centre = <real*>work.centre
    cdef real* scale = <real*>work.scale
    cdef real* slope = <real*>work.slope
    cdef real* shift = <real*>work.shift
    cdef double* first = work.first
    cdef double* second = work.second
    for k in range(groups):
        fill_with(centre + k * each, each, mean[k])
        fill_with(scale + k * each, each, rstd[k])
    memset(first, 0, channels * sizeof(double))
    memset(second, 0, channels * sizeof(double))
    for m in range(rows):
        for c in range(channels):
            first[c] += g[m * channels + c]
            second[c] += g[m * channels + c] * (x[m * channels + c] - centre[c])
    for c in range(channels):
        second[c] *= scale[c]
        dbias[c] += first[c]
        dweight[c] += second[c]
    if weight != NULL:
        for c in range(channels):
            first[c] *= weight[c]
            second[c] *= weight[c]
            scale[c] *= weight[c]
    for k in range(groups):
        a = sum_of(first + k * each, each) / count
        b = sum_of(second + k * each, each) / count
        fill_with(slope + k * each, each, <real>(-b * rstd[k] * rstd[k]))
        fill_with(shift + k * each, each, <real>(-a * rstd[k]))
    for m in range(rows):
        for c in range(channels):
            dx[m * channels + c] = (g[m * channels + c] * scale[c]
                                    + ((x[m * channels + c] - centre[c]) * slope[c] + shift[c]))


cdef Channels* workspaces(Py_ssize_t parts, Py_ssize_t channels, size_t size) except NULL:
    """One for each part, in one block; free() it."""
    cdef Py_ssize_t each = channels * (2 * sizeof(double) + 4 * size), part
    cdef Channels* made = <Channels*>allocate(parts * (sizeof(Channels) + each), 1)
    cdef char* block = <char*>(made + parts)
    for part in range(parts):
        made[part].first = <double*>(block + part * each)
        made[part].second = made[part].first + channels
        made[part].centre = made[part].second + channels
        made[part].scale = <char*>made[part].centre + channels * size
        made[part].slope = <char*>made[part].scale + channels * size
        made[part].shift = <char*>made[part].slope + channels * size
    return made


cdef void normalise_some(const real* x, const real* weight, const real* bias, real* y, real* mean, real* rstd,
                         Py_ssize_t begin, Py_ssize_t end, Py_ssize_t rows, Py_ssize_t channels, Py_ssize_t groups,
                         double eps, const Channels* work) noexcept nogil:
    cdef Py_ssize_t n, picture = rows * channels
    for n in range(begin, end):
        normalise_picture(x + n * picture, weight, bias, y + n * picture, mean + n * groups, rstd + n * groups, rows,
                          channels, groups, eps, work)


cdef void normalise_all(const real* x, const real* weight, const real* bias, real* y, real* mean, real* rstd,
                        Py_ssize_t batch, Py_ssize_t rows, Py_ssize_t channels, Py_ssize_t groups, double eps,
                        Py_ssize_t parts, const Channels* work) noexcept nogil:
    cdef Py_ssize_t part
    for part in prange(parts, num_threads=threads(batch * rows * channels), schedule="static", chunksize=1):
        normalise_some(x, weight, bias, y, mean, rstd, part * batch // parts, (part + 1) * batch // parts, rows,
                       channels, groups, eps, work + part)


def group_norm(x, weight, bias, y, mean, rstd, Py_ssize_t groups, double eps):
    cdef Py_ssize_t batch = x.shape[0], rows = x.shape[1], channels = x.shape[2], parts = min(PARTS, max(1, batch))
    cdef void* px = data(x)
    cdef void* pw = data(weight)
    cdef void* pb = data(bias)
    cdef void* py = data(y)
    cdef void* pm = data(mean)
    cdef void* pr = data(rstd)
    cdef Channels* work = workspaces(parts, channels, x.itemsize)
    if x.dtype == F32:
        with nogil:
            normalise_all(<const float*>px, <const float*>pw, <const float*>pb, <float*>py, <float*>pm, <float*>pr,
                          batch, rows, channels, groups, eps, parts, work)
    else:
        with nogil:
            normalise_all(<const double*>px, <const double*>pw, <const double*>pb, <double*>py, <double*>pm,
                          <double*>pr, batch, rows, channels, groups, eps, parts, work)
    free(work)


cdef void some_grads(const real* g, const real* x, const real* mean, const real* rstd, const real* weight, real* dx,
                     double* dweight, double* dbias, Py_ssize_t begin, Py_ssize_t end, Py_ssize_t rows,
                     Py_ssize_t channels, Py_ssize_t groups, const Channels* work) noexcept nogil:
    cdef Py_ssize_t n, picture = rows * channels
    memset(dweight, 0, channels * sizeof(double))
    memset(dbias, 0, channels * sizeof(double))
    for n in range(begin, end):
        picture_grad(g + n * picture, x + n * picture, mean + n * groups, rstd + n * groups, weight, dx + n * picture,
                     dweight, dbias, rows, channels, groups, work)


cdef void all_grads(const real* g, const real* x, const real* mean, const real* rstd, const real* weight, real* dx,
                    real* dweight, real* dbias, Py_ssize_t batch, Py_ssize_t rows, Py_ssize_t channels,
                    Py_ssize_t groups, Py_ssize_t parts, const Channels* work, double* sums) noexcept nogil:
    """sums: dweight and dbias of each part."""
    cdef Py_ssize_t part, c
    for part in prange(parts, num_threads=threads(batch * rows * channels), schedule="static", chunksize=1):
        some_grads(g, x, mean, rstd, weight, dx, sums + 2 * part * channels, sums + (2 * part + 1) * channels,
                   part * batch // parts, (part + 1) * batch // parts, rows, channels, groups, work + part)
    for part in range(1, parts):
        for c in range(2 * channels):
            sums[c] += sums[2 * part * channels + c]
    for c in range(channels):
        dweight[c] = <real>sums[c]
        dbias[c] = <real>sums[channels + c]


def group_norm_grad(g, x, mean, rstd, weight, dx, dweight, dbias):
    cdef Py_ssize_t batch = x.shape[0], rows = x.shape[1], channels = x.shape[2], groups = mean.shape[1]
    cdef Py_ssize_t parts = min(PARTS, max(1, batch))
    cdef void* pg = data(g)
    cdef void* px = data(x)
    cdef void* pm = data(mean)
    cdef void* pr = data(rstd)
    cdef void* pw = data(weight)
    cdef void* pd = data(dx)
    cdef void* pdw = data(dweight)
    cdef void* pdb = data(dbias)
    cdef double* sums = NULL
    cdef Channels* work = workspaces(parts, channels, x.itemsize)
    try:
        sums = <double*>allocate(parts * 2 * channels, sizeof(double))
        if x.dtype == F32:
            with nogil:
                all_grads(<const float*>pg, <const float*>px, <const float*>pm, <const float*>pr, <const float*>pw,
                          <float*>pd, <float*>pdw, <float*>pdb, batch, rows, channels, groups, parts, work, sums)
        else:
            with nogil:
                all_grads(<const double*>pg, <const double*>px, <const double*>pm, <const double*>pr,
                          <const double*>pw, <double*>pd, <double*>pdw, <double*>pdb, batch, rows, channels, groups,
                          parts, work, sums)
    finally:
        free(work)
        free(sums)
