/* The maxima of windows, channel by channel, and where in the window they are.

   Taps are visited from the last to the first: of equals the one visited last stays, of several NaN the first visited.
   Which tap is largest can't be guessed, and a branch that is guessed wrong costs ten times what the comparison does;
   hence masks, with the vector extensions of GCC and Clang. Written once for both types: the file includes itself for
   float and for double. */

#ifndef MAX_H
#define MAX_H

#include <math.h>

#ifndef TILE_H /* which, once read, is another file: it includes itself */
#include "tile.h"
#endif

/* Taps first_row <= r < end_row, first_column <= s < end_column of a window `columns` taps wide. Tap (r, s) is called
   r * columns + s and lies r * down + s * across behind the window's corner. */
typedef struct {
    ptrdiff_t first_row, end_row, first_column, end_column, columns, down, across;
} MaxTaps;

#define REAL float
#define OF_TYPE(name) name##_float
#include "max.h"
#undef REAL
#undef OF_TYPE

#define REAL double
#define OF_TYPE(name) name##_double
#include "max.h"
#undef REAL
#undef OF_TYPE

#else

#define Vector OF_TYPE(Vector)
#define Mask __typeof__((Vector){0} < (Vector){0})
#define LANES ((ptrdiff_t)(TILE_BYTES / sizeof(REAL)))
#define AT(pointer) (*(Vector *)(pointer))

TILE_INLINE Vector OF_TYPE(choose)(Mask first, Vector a, Vector b) {
    return (Vector)(((Mask)a & first) | ((Mask)b & ~first));
}

/* A vector, or the first `count` numbers of one. */
TILE_INLINE Vector OF_TYPE(load_first)(const REAL *from, ptrdiff_t count) {
    if (count == LANES) return AT(from);
    Vector v = {0};
    for (ptrdiff_t k = 0; k < count; k++) v[k] = from[k];
    return v;
}

TILE_INLINE void OF_TYPE(store_first)(Vector v, ptrdiff_t count, REAL *to) {
    if (count == LANES)
        AT(to) = v;
    else
        for (ptrdiff_t k = 0; k < count; k++) to[k] = v[k];
}

/* All taps, of so many channels; -infinity at tap 0 if there is none. */
TILE_INLINE void OF_TYPE(visit_taps)(const REAL *x, const MaxTaps *taps, ptrdiff_t channels, REAL *best, REAL *where) {
    const Vector zero = {0};
    Vector top = zero - (REAL)INFINITY, place = zero;
    for (ptrdiff_t r = taps->end_row - 1; r >= taps->first_row; r--)
        for (ptrdiff_t s = taps->end_column - 1; s >= taps->first_column; s--) {
            const Vector value = OF_TYPE(load_first)(x + r * taps->down + s * taps->across, channels);
            const Mask wins = ~(value < top) & (top == top); /* NaN is not below anything */
            top = OF_TYPE(choose)(wins, value, top);
            place = OF_TYPE(choose)(wins, zero + (REAL)(r * taps->columns + s), place);
        }
    OF_TYPE(store_first)(top, channels, best);
    OF_TYPE(store_first)(place, channels, where);
}

TILE_INLINE void OF_TYPE(visit_channels)(const REAL *x, const MaxTaps *taps, ptrdiff_t channels, REAL *best,
                                         REAL *where) {
    ptrdiff_t c = 0;
    for (; c + LANES <= channels; c += LANES) OF_TYPE(visit_taps)(x + c, taps, LANES, best + c, where + c);
    if (c < channels) OF_TYPE(visit_taps)(x + c, taps, channels - c, best + c, where + c);
}

/* best[c] and its tap, for channels c < channels of the window whose corner is at x. */
static void OF_TYPE(max_of_window)(const REAL *x, const MaxTaps *taps, ptrdiff_t channels, REAL *best, REAL *where) {
    const ptrdiff_t rows = taps->end_row - taps->first_row, columns = taps->end_column - taps->first_column;
    const int whole = taps->first_row == 0 && taps->first_column == 0 && columns == taps->columns;
    /* The usual windows: loops over so many taps, known beforehand, are unrolled. */
    if (whole && rows == 2 && columns == 2) {
        const MaxTaps of_4 = {0, 2, 0, 2, 2, taps->down, taps->across};
        OF_TYPE(visit_channels)(x, &of_4, channels, best, where);
    } else if (whole && rows == 3 && columns == 3) {
        const MaxTaps of_9 = {0, 3, 0, 3, 3, taps->down, taps->across};
        OF_TYPE(visit_channels)(x, &of_9, channels, best, where);
    } else
        OF_TYPE(visit_channels)(x, taps, channels, best, where);
}

#undef Vector
#undef Mask
#undef LANES
#undef AT

#endif
