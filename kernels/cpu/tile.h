/* The register tile: the one inner loop of every convolution and matrix product.

   TILE_ROWS rows by two vectors of columns are summed up in registers and stored once:

       tile            y[places[j] + k] = bias[k] + sum over steps t of a[rows[j] + t] * b[t][k]
       tile_channels   y[places[j] + k] = bias[k] + sum over steps t of a[rows[j] + t + k] * b[t][k]

   b is packed, the two vectors of a step behind those of the step before. a is read where it lies: each row has an
   offset, and a Walk says where the steps are. So the same loop does

       a convolution           rows are pixels, columns are filters, steps are the taps of the filter
       its weight gradient     rows are taps, columns are filters, steps are pixels
       a matrix product        rows and columns are rows and columns
       depthwise gradient      tile_channels: a vector of channels where the others broadcast one number

   A depthwise convolution has a handful of steps, too few for all that: tile_depthwise is its loop.

   12 sums, 2 vectors of b and a broadcast number fit the 16 registers of SSE and AVX. Written with the vector
   extensions of GCC and Clang, once for both types: the file includes itself for float and for double. */

#ifndef TILE_H
#define TILE_H

#include <stddef.h>

#if defined(__AVX512F__)
#define TILE_BYTES 64
#elif defined(__AVX2__)
#define TILE_BYTES 32
#else
#define TILE_BYTES 16
#endif

#define TILE_ROWS 6
#define PIECES_AHEAD 8
#define TILE_INLINE static inline __attribute__((always_inline))

/* Where the steps of a sum are, in elements: `runs` runs of `length` steps. In a, run i begins at starts[i] and its
   steps are a_step apart; in b, all steps are b_step apart. */
typedef struct {
    ptrdiff_t runs, length, a_step, b_step;
    const ptrdiff_t *starts;
} Walk;

/* What happens to an output at last: clip(y + added, low, high). `added` lies as y does; NULL: nothing is added. */
typedef struct {
    const void *added;
    double low, high;
} Finish;

/* What becomes of the sums: y = bias + sum, or with `add` y += sum; then it is finished, unless that is NULL. Only
   `height` rows and `width` columns are stored; all TILE_ROWS rows are read: those that are too many must repeat one
   that exists. */
typedef struct {
    ptrdiff_t height, width;
    int add;
    const Finish *finish;
} Store;

/* Where the taps of a depthwise filter are, and what is read `news` times soon: the processor is told, as so many rows
   are read together that it can't see it coming. */
typedef struct {
    ptrdiff_t count, news;
    const ptrdiff_t *a, *b, *soon;
} Taps;

/* STORE_ROW(j), which each tile defines, for every row: an index that is no constant would put the sums in memory. */
#define STORE_ROWS STORE_ROW(0) STORE_ROW(1) STORE_ROW(2) STORE_ROW(3) STORE_ROW(4) STORE_ROW(5)

#define REAL float
#define OF_TYPE(name) name##_float
#include "tile.h"
#undef REAL
#undef OF_TYPE

#define REAL double
#define OF_TYPE(name) name##_double
#include "tile.h"
#undef REAL
#undef OF_TYPE

#else

#define Vector OF_TYPE(Vector)
#define LANES ((ptrdiff_t)(TILE_BYTES / sizeof(REAL)))
#define AT(pointer) (*(Vector *)(pointer))

/* A vector anywhere in an array of REAL: it need not be aligned. */
typedef REAL Vector __attribute__((vector_size(TILE_BYTES), aligned(__alignof__(REAL)), may_alias));

/* NaN is neither below nor above, and comes through. */
TILE_INLINE REAL OF_TYPE(clip)(REAL y, REAL low, REAL high) {
    y = y < low ? low : y;
    return y > high ? high : y;
}

TILE_INLINE Vector OF_TYPE(clip_all)(Vector y, REAL low, REAL high) {
    for (int k = 0; k < LANES; k++) y[k] = OF_TYPE(clip)(y[k], low, high);
    return y;
}

/* The first `width` columns of a row of sums, where that is not all of them. */
static __attribute__((noinline)) void OF_TYPE(store_columns)(Vector sum0, Vector sum1, ptrdiff_t width,
                                                             const REAL *base, const Finish *finish, ptrdiff_t place,
                                                             REAL *y) {
    const REAL *added = finish ? finish->added : NULL;
    REAL sums[2 * LANES];
    AT(sums) = sum0;
    AT(sums + LANES) = sum1;
    for (ptrdiff_t k = 0; k < width; k++) {
        REAL sum = sums[k] + (base ? base[k] : 0);
        if (added) sum += added[place + k];
        y[place + k] = finish ? OF_TYPE(clip)(sum, finish->low, finish->high) : sum;
    }
}

/* y = base + sum, finished. Whatever else is to happen to an output before it leaves the registers belongs here. */
TILE_INLINE void OF_TYPE(store_row)(Vector sum0, Vector sum1, ptrdiff_t width, const REAL *base, const Finish *finish,
                                    ptrdiff_t place, REAL *y) {
    if (width == 2 * LANES) {
        if (base) sum0 += AT(base), sum1 += AT(base + LANES);
        if (finish) {
            const REAL *added = finish->added;
            if (added) sum0 += AT(added + place), sum1 += AT(added + place + LANES);
            sum0 = OF_TYPE(clip_all)(sum0, finish->low, finish->high);
            sum1 = OF_TYPE(clip_all)(sum1, finish->low, finish->high);
        }
        AT(y + place) = sum0;
        AT(y + place + LANES) = sum1;
    } else
        OF_TYPE(store_columns)(sum0, sum1, width, base, finish, place, y);
}

/* `channels` and `vectors` are constants: each combination becomes a loop of its own, its sums in registers. */
TILE_INLINE void OF_TYPE(any_tile)(int channels, int vectors, const Walk *walk, const Store *store, const REAL *a,
                                   const ptrdiff_t *rows, const REAL *b, const REAL *bias, REAL *y,
                                   const ptrdiff_t *places) {
    for (ptrdiff_t j = 0; !channels && j < store->height; j++) {
        __builtin_prefetch(y + places[j], 1);
        __builtin_prefetch(y + places[j] + 2 * LANES - 1, 1);
    }
    const Vector zero = {0};
    Vector sum[TILE_ROWS][2] = {{zero, zero}, {zero, zero}, {zero, zero}, {zero, zero}, {zero, zero}, {zero, zero}};
    const ptrdiff_t length = walk->length, a_step = walk->a_step, b_step = walk->b_step;
    for (ptrdiff_t run = 0; run < walk->runs; run++) {
        const REAL *row[TILE_ROWS];
        for (int j = 0; j < TILE_ROWS; j++) row[j] = a + walk->starts[run] + rows[j];
        for (ptrdiff_t i = 0, t = 0; i < length; i++, t += a_step, b += b_step) {
            const Vector b0 = AT(b), b1 = vectors == 2 ? AT(b + LANES) : zero;
            for (int j = 0; j < TILE_ROWS; j++) {
                sum[j][0] += channels ? AT(row[j] + t) * b0 : row[j][t] * b0;
                if (vectors == 2) sum[j][1] += channels ? AT(row[j] + t + LANES) * b1 : row[j][t] * b1;
            }
        }
    }
#define STORE_ROW(j)                                                                                                   \
    if (j < store->height)                                                                                             \
        OF_TYPE(store_row)(sum[j][0], sum[j][1], store->width, store->add ? y + places[j] : bias, store->finish,       \
                           places[j], y);
    STORE_ROWS
#undef STORE_ROW
}

static void OF_TYPE(tile)(const Walk *walk, const Store *store, const REAL *a, const ptrdiff_t *rows, const REAL *b,
                          const REAL *bias, REAL *y, const ptrdiff_t *places) {
    if (store->width <= LANES)
        OF_TYPE(any_tile)(0, 1, walk, store, a, rows, b, bias, y, places);
    else
        OF_TYPE(any_tile)(0, 2, walk, store, a, rows, b, bias, y, places);
}

static void OF_TYPE(tile_channels)(const Walk *walk, const Store *store, const REAL *a, const ptrdiff_t *rows,
                                   const REAL *b, const REAL *bias, REAL *y, const ptrdiff_t *places) {
    OF_TYPE(any_tile)(1, 2, walk, store, a, rows, b, bias, y, places);
}

/* TILE_ROWS pixels of a depthwise convolution that see the same taps:

       y[places[j] + k] = bias[k] + sum over taps t of a[rows[j] + taps->a[t] + k] * b[taps->b[t] + k]

   Not inlined: in the loop over the channels GCC would clip number by number. */
static __attribute__((noinline)) void OF_TYPE(tile_depthwise)(const Taps *taps, const Store *store, const REAL *a,
                                                              const ptrdiff_t *rows, const REAL *b, const REAL *bias,
                                                              REAL *y, const ptrdiff_t *places) {
    const Vector zero = {0};
    Vector sum[TILE_ROWS][2] = {{zero, zero}, {zero, zero}, {zero, zero}, {zero, zero}, {zero, zero}, {zero, zero}};
    const REAL *row[TILE_ROWS];
    for (int j = 0; j < TILE_ROWS; j++) row[j] = a + rows[j];
    for (ptrdiff_t t = 0; t < taps->news; t++)
        for (int j = 0; j < TILE_ROWS; j++) __builtin_prefetch(row[j] + taps->soon[t], 0, 2);
    for (ptrdiff_t t = 0; t < taps->count; t++) {
        const ptrdiff_t at = taps->a[t];
        const REAL *tap = b + taps->b[t];
        const Vector b0 = AT(tap), b1 = AT(tap + LANES);
        for (int j = 0; j < TILE_ROWS; j++) {
            sum[j][0] += AT(row[j] + at) * b0;
            sum[j][1] += AT(row[j] + at + LANES) * b1;
        }
    }
#define STORE_ROW(j)                                                                                                   \
    if (j < store->height)                                                                                             \
        OF_TYPE(store_row)(sum[j][0], sum[j][1], store->width, bias, store->finish, places[j], y);
    STORE_ROWS
#undef STORE_ROW
}

/* Copy `count` pieces of `numbers` numbers; each is followed by zeros up to the next, to_step further on. The empty asm
   keeps the compiler from calling memcpy and memset for the few numbers that do not fill a vector. */
static void OF_TYPE(copy_pieces)(const REAL *restrict from, ptrdiff_t from_step, REAL *restrict to, ptrdiff_t to_step,
                                 ptrdiff_t numbers, ptrdiff_t count) {
    const Vector zero = {0};
    for (; count > 0; count--, from += from_step, to += to_step) {
        ptrdiff_t k = 0;
        for (; k + LANES <= numbers; k += LANES) AT(to + k) = AT(from + k);
        for (; k < numbers; k++) {
            to[k] = from[k];
            __asm__("");
        }
        for (; k + LANES <= to_step; k += LANES) AT(to + k) = zero;
        for (; k < to_step; k++) {
            to[k] = 0;
            __asm__("");
        }
    }
}

/* Copy `count` pieces of `numbers` numbers and cut them up: `depth` numbers of each go to one plane, the next ones to
   the next plane, the last of which is filled up with zeros. Pieces lie apart, so the processor is told which comes
   soon. Where a plane's part of a piece ends within a vector, all of that is copied; the next piece overwrites what is
   too much. Only the last pieces are copied number by number. */
static void OF_TYPE(copy_planes)(const REAL *restrict from, ptrdiff_t from_step, REAL *restrict to, ptrdiff_t depth,
                                 ptrdiff_t plane, ptrdiff_t numbers, ptrdiff_t count) {
    const ptrdiff_t behind = (LANES - depth % LANES) % LANES;
    for (; count > 0; count--, from += from_step, to += depth) {
        REAL *out = to;
        ptrdiff_t first = 0;
        if ((count - 1) * depth >= behind)
            for (; first + depth <= numbers; first += depth, out += plane) {
                __builtin_prefetch(from + first + PIECES_AHEAD * from_step);
                for (ptrdiff_t k = 0; k < depth; k += LANES) AT(out + k) = AT(from + first + k);
            }
        for (; first < numbers; first += depth, out += plane)
            OF_TYPE(copy_pieces)(from + first, 0, out, depth, numbers - first < depth ? numbers - first : depth, 1);
    }
}

#undef Vector
#undef LANES
#undef AT

#endif
