/* The register tile: the inner loop of direct convolutions and of matrix products (thin.h has that for few rows,
   winograd.h that of Winograd's products).

   TILE_ROWS rows by one or two vectors of columns are summed up in registers and stored once:

       tile            y[places[j] + k] = bias[k] + sum over steps t of a[rows[j] + t] * b[t][k]
       tile_channels   y[places[j] + k] = bias[k] + sum over steps t of a[rows[j] + t + k] * b[t][k]

   b is packed, the two vectors of a step behind those of the step before. a is read where it lies: each row has an
   offset, and a Walk says where the steps are. So the same loop does

       a convolution           rows are pixels, columns are filters, steps are the taps of the filter
       its weight gradient     rows are taps, columns are filters, steps are pixels
       a matrix product        rows and columns are rows and columns
       depthwise gradient      tile_channels: a vector of channels where the others broadcast one number

   A depthwise convolution has a handful of steps, too few for all that: tile_depthwise is its loop.

   12 sums, 2 vectors of b and a broadcast number fit the 16 registers of SSE and AVX (AVX-512 has 32). Written with the vector
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
#define ROW_OUTPUTS 3
#if defined(__SSE2__) && !defined(__FMA__)
#define UNROLLED 1 /* each product needs a register of its own for a while: more steps would need more of them */
#else
#define UNROLLED 4
#endif
#define TILE_INLINE static inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline, aligned(64)))

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

/* What is made of tiles: so many rows and columns. From one panel of b, the columns of a tile, to the next are `panel`
   elements. The lists of rows and places go on to a multiple of TILE_ROWS: the last row is repeated. */
typedef struct {
    ptrdiff_t rows, columns, panel;
    int add;
    const Finish *finish;
} Block;

/* Where the taps of a depthwise filter are, and what is read `news` times soon: the processor is told, as so many rows
   are read together that it can't see it coming. */
typedef struct {
    ptrdiff_t count, news;
    const ptrdiff_t *a, *b, *soon;
} Taps;

/* A row of outputs of a depthwise convolution: how many, from row to row of a and from output to output, in elements,
   and its stride, 1 or 2 pixels. */
typedef struct {
    ptrdiff_t count, row, y_step, stride;
} Row;

/* ROW(j), defined where it is used, for every row: an index that is no constant would put the sums in memory. */
#define ALL_ROWS ROW(0) ROW(1) ROW(2) ROW(3) ROW(4) ROW(5)

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
static NOINLINE void OF_TYPE(store_columns)(Vector sum0, Vector sum1, ptrdiff_t width, const REAL *base,
                                            const Finish *finish, ptrdiff_t place, REAL *y) {
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

/* Some rows or some columns of a tile, where those are not all: `sums` has room for all of them. */
static NOINLINE void OF_TYPE(store_part)(const REAL *sums, const Store *store, const REAL *bias, REAL *y,
                                         const ptrdiff_t *places) {
    for (ptrdiff_t j = 0; j < store->height; j++, sums += 2 * LANES)
        OF_TYPE(store_row)(AT(sums), AT(sums + LANES), store->width, store->add ? y + places[j] : bias, store->finish,
                           places[j], y);
}

/* A tile's sums, out of the registers: what is to happen to all rows of a whole tile is decided once. */
TILE_INLINE void OF_TYPE(store_tile)(int vectors, Vector sum[TILE_ROWS][2], const Store *store, const REAL *bias,
                                     REAL *y, const ptrdiff_t *places) {
    if (store->height < TILE_ROWS || store->width != vectors * LANES) {
        REAL sums[TILE_ROWS * 2 * LANES];
#define ROW(j) AT(sums + 2 * j * LANES) = sum[j][0], AT(sums + (2 * j + 1) * LANES) = sum[j][1];
        ALL_ROWS
#undef ROW
        OF_TYPE(store_part)(sums, store, bias, y, places);
        return;
    }
    const Finish *finish = store->finish;
    const REAL *added = finish ? finish->added : NULL;
    if (store->add) {
#define ROW(j)                                                                                                         \
    sum[j][0] += AT(y + places[j]);                                                                                    \
    if (vectors == 2) sum[j][1] += AT(y + places[j] + LANES);
        ALL_ROWS
#undef ROW
    } else if (bias) {
        const Vector bias0 = AT(bias), bias1 = vectors == 2 ? AT(bias + LANES) : bias0;
#define ROW(j) sum[j][0] += bias0, sum[j][1] += bias1;
        ALL_ROWS
#undef ROW
    }
    if (added) {
#define ROW(j)                                                                                                         \
    sum[j][0] += AT(added + places[j]);                                                                                \
    if (vectors == 2) sum[j][1] += AT(added + places[j] + LANES);
        ALL_ROWS
#undef ROW
    }
    if (finish) {
        const REAL low = finish->low, high = finish->high;
#define ROW(j)                                                                                                         \
    sum[j][0] = OF_TYPE(clip_all)(sum[j][0], low, high);                                                               \
    if (vectors == 2) sum[j][1] = OF_TYPE(clip_all)(sum[j][1], low, high);
        ALL_ROWS
#undef ROW
    }
#define ROW(j)                                                                                                         \
    AT(y + places[j]) = sum[j][0];                                                                                     \
    if (vectors == 2) AT(y + places[j] + LANES) = sum[j][1];
    ALL_ROWS
#undef ROW
}

/* One step of all rows; `channels` and `vectors` are constants. */
TILE_INLINE void OF_TYPE(step)(int channels, int vectors, Vector sum[TILE_ROWS][2], const REAL *const row[TILE_ROWS],
                               ptrdiff_t t, const REAL *b) {
    const Vector b0 = AT(b), b1 = vectors == 2 ? AT(b + LANES) : b0;
    for (int j = 0; j < TILE_ROWS; j++) {
        sum[j][0] += channels ? AT(row[j] + t) * b0 : row[j][t] * b0;
        if (vectors == 2) sum[j][1] += channels ? AT(row[j] + t + LANES) * b1 : row[j][t] * b1;
    }
}

/* `channels` and `vectors` are constants: each combination becomes a loop of its own, its sums in registers. So is
   `dense`: there is one run, the steps in a are 1 and b is packed; UNROLLED of them take hardly more instructions than
   their products. */
TILE_INLINE void OF_TYPE(any_tile)(int channels, int vectors, int dense, const Walk *walk, const Store *store,
                                   const REAL *a, const ptrdiff_t *rows, const REAL *b, const REAL *bias, REAL *y,
                                   const ptrdiff_t *places) {
    const REAL *added = store->finish ? store->finish->added : NULL;
    for (ptrdiff_t j = 0; !channels && j < store->height; j++) {    /* what the store will need */
        __builtin_prefetch(y + places[j], 1);
        __builtin_prefetch(y + places[j] + 2 * LANES - 1, 1);
        if (!added) continue;
        __builtin_prefetch(added + places[j]);
        __builtin_prefetch(added + places[j] + 2 * LANES - 1);
    }
    const Vector zero = {0};
    Vector sum[TILE_ROWS][2] = {{zero, zero}, {zero, zero}, {zero, zero}, {zero, zero}, {zero, zero}, {zero, zero}};
    const ptrdiff_t runs = dense ? 1 : walk->runs, length = walk->length;
    const ptrdiff_t a_step = dense ? 1 : walk->a_step, b_step = dense ? 2 * LANES : walk->b_step;
    for (ptrdiff_t run = 0; run < runs; run++) {
        const REAL *row[TILE_ROWS];
        ptrdiff_t i = 0, t = 0;
        for (int j = 0; j < TILE_ROWS; j++) row[j] = a + walk->starts[run] + rows[j];
        if (dense)
            for (; i + UNROLLED <= length; i += UNROLLED, t += UNROLLED, b += UNROLLED * b_step)
                for (int k = 0; k < UNROLLED; k++)
                    OF_TYPE(step)(channels, vectors, sum, row, t + k, b + k * b_step);
        for (; i < length; i++, t += a_step, b += b_step) OF_TYPE(step)(channels, vectors, sum, row, t, b);
    }
    OF_TYPE(store_tile)(vectors, sum, store, bias, y, places);
}

/* Functions of their own: together with the loops around them GCC runs out of registers, and clips number by number.
   They begin at a cache line, so that what is added elsewhere does not move their loops about. */
#define TILE(name, vectors, dense)                                                                                     \
    static NOINLINE void OF_TYPE(name)(const Walk *walk, const Store *store, const REAL *a, const ptrdiff_t *rows,     \
                                       const REAL *b, const REAL *bias, REAL *y, const ptrdiff_t *places) {            \
        OF_TYPE(any_tile)(0, vectors, dense, walk, store, a, rows, b, bias, y, places);                                \
    }
TILE(tile_wide, 2, 0)
TILE(tile_wide_dense, 2, 1)
TILE(tile_narrow, 1, 0)
TILE(tile_narrow_dense, 1, 1)
#undef TILE

static void OF_TYPE(tile)(const Walk *walk, const Store *store, const REAL *a, const ptrdiff_t *rows, const REAL *b,
                          const REAL *bias, REAL *y, const ptrdiff_t *places) {
    const int dense = walk->runs == 1 && walk->a_step == 1 && walk->b_step == 2 * LANES;
    if (store->width > LANES && dense)
        OF_TYPE(tile_wide_dense)(walk, store, a, rows, b, bias, y, places);
    else if (store->width > LANES)
        OF_TYPE(tile_wide)(walk, store, a, rows, b, bias, y, places);
    else if (dense)
        OF_TYPE(tile_narrow_dense)(walk, store, a, rows, b, bias, y, places);
    else
        OF_TYPE(tile_narrow)(walk, store, a, rows, b, bias, y, places);
}

/* y[places[j] + k] for all rows j and columns k of a block, panel by panel. */
static void OF_TYPE(tile_block)(const Walk *walk, const Block *block, const REAL *a, const ptrdiff_t *rows,
                                const REAL *b, const REAL *bias, REAL *y, const ptrdiff_t *places) {
    const ptrdiff_t width = 2 * LANES;
    Finish finish;
    Store store = {TILE_ROWS, width, block->add, block->finish ? &finish : NULL};
    if (block->finish) finish = *block->finish;
    for (ptrdiff_t left = block->columns; left > 0; left -= width, b += block->panel, y += width) {
        store.width = left < width ? left : width;
        const int part = store.width % LANES != 0;
        for (ptrdiff_t i = 0; i < block->rows; i += TILE_ROWS) {
            /* A repetition may be stored twice where all rows are read before, but not added twice to what is there. */
            store.height = part && block->rows - i < TILE_ROWS ? block->rows - i : TILE_ROWS;
            OF_TYPE(tile)(walk, &store, a, rows + i, b, bias, y, places + i);
        }
        if (bias) bias += width;
        if (block->finish && finish.added) finish.added = (const REAL *)finish.added + width;
    }
}

static void OF_TYPE(tile_channels)(const Walk *walk, const Store *store, const REAL *a, const ptrdiff_t *rows,
                                   const REAL *b, const REAL *bias, REAL *y, const ptrdiff_t *places) {
    OF_TYPE(any_tile)(1, 2, 0, walk, store, a, rows, b, bias, y, places);
}

/* TILE_ROWS pixels of a depthwise convolution that see the same taps:

       y[places[j] + k] = bias[k] + sum over taps t of a[rows[j] + taps->a[t] + k] * b[taps->b[t] + k]

   Not inlined: in the loop over the channels GCC would clip number by number. */
static NOINLINE void OF_TYPE(tile_depthwise)(const Taps *taps, const Store *store, const REAL *a,
                                             const ptrdiff_t *rows, const REAL *b, const REAL *bias, REAL *y,
                                             const ptrdiff_t *places) {
    const Vector zero = {0};
    Vector sum[TILE_ROWS][2] = {{zero, zero}, {zero, zero}, {zero, zero}, {zero, zero}, {zero, zero}, {zero, zero}};
    const REAL *row[TILE_ROWS];
    for (int j = 0; j < TILE_ROWS; j++) row[j] = a + rows[j];
    for (int j = 0; j < TILE_ROWS; j++) __builtin_prefetch(y + places[j] + 2 * LANES - 1, 1);
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
    OF_TYPE(store_tile)(2, sum, store, bias, y, places);
}

/* A row of `count` outputs of a 3x3 depthwise convolution that all see all taps, in two vectors of channels, which are
   all that there are of a pixel in a:

       y[j * y_step + k] = bias[k] + sum over r, s of a[r * row + (j * stride + s) * 2 * LANES + k] * b[3 * r + s][k]

   The nine vectors of a filter stay in registers, so that a product is one instruction, which reads a; ROW_OUTPUTS sums
   are made side by side, as each waits for its last product. */
TILE_INLINE void OF_TYPE(any_row)(int stride, const Row *walk, const Finish *finish, const REAL *a, const REAL *b,
                                  const REAL *bias, REAL *y) {
    const ptrdiff_t pixel = 2 * LANES, row = walk->row, y_step = walk->y_step;
    const REAL low = finish->low, high = finish->high;
    for (int half = 0; half < 2; half++, a += LANES, b += LANES, y += LANES) {
        const Vector zero = {0}, base = bias ? AT(bias + half * LANES) : zero;
        Vector filter[9];
        for (int t = 0; t < 9; t++) filter[t] = AT(b + t * pixel);
        const REAL *from = a;
        REAL *to = y;
        ptrdiff_t left = walk->count;
        for (; left >= ROW_OUTPUTS; left -= ROW_OUTPUTS) {
            Vector sum[ROW_OUTPUTS];
            for (int j = 0; j < ROW_OUTPUTS; j++) sum[j] = base;
            for (int t = 0; t < 9; t++)
                for (int j = 0; j < ROW_OUTPUTS; j++)
                    sum[j] += AT(from + t / 3 * row + (j * stride + t % 3) * pixel) * filter[t];
            for (int j = 0; j < ROW_OUTPUTS; j++, to += y_step) AT(to) = OF_TYPE(clip_all)(sum[j], low, high);
            from += ROW_OUTPUTS * stride * pixel;
        }
        for (; left > 0; left--, from += stride * pixel, to += y_step) {
            Vector sum = base;
            for (int t = 0; t < 9; t++) sum += AT(from + t / 3 * row + t % 3 * pixel) * filter[t];
            AT(to) = OF_TYPE(clip_all)(sum, low, high);
        }
    }
}

static NOINLINE void OF_TYPE(depthwise_row)(const Row *walk, const Finish *finish, const REAL *a, const REAL *b,
                                            const REAL *bias, REAL *y) {
    if (walk->stride == 1)
        OF_TYPE(any_row)(1, walk, finish, a, b, bias, y);
    else
        OF_TYPE(any_row)(2, walk, finish, a, b, bias, y);
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
