/* A few rows times a matrix: y[m][k] += sum over steps t of a[m][t] * b[t][k].

   Each number of b is used but a few times, so the time is that of reading it from memory, once and in long runs: a few
   rows of b at a time, each from end to end, while the rows of y stay in the first-level cache.

   Written with the vector extensions of GCC and Clang, once for both types: the file includes itself for float and for
   double. */

#ifndef THIN_H
#define THIN_H

#ifndef TILE_H /* which, once read, is another file: it includes itself */
#include "tile.h"
#endif

#define THIN_ROWS 6
#define THIN_STEPS 4

#define REAL float
#define OF_TYPE(name) name##_float
#include "thin.h"
#undef REAL
#undef OF_TYPE

#define REAL double
#define OF_TYPE(name) name##_double
#include "thin.h"
#undef REAL
#undef OF_TYPE

#else

#define Vector OF_TYPE(Vector)
#define LANES ((ptrdiff_t)(TILE_BYTES / sizeof(REAL)))
#define AT(pointer) (*(Vector *)(pointer))

/* Add `count` steps, whose numbers of a are in `factors`. `rows` and `count` are constants, but for many rows. */
TILE_INLINE void OF_TYPE(thin_steps)(ptrdiff_t rows, int count, const REAL factors[THIN_ROWS][THIN_STEPS],
                                     const REAL *b, ptrdiff_t b_step, ptrdiff_t columns, REAL *y, ptrdiff_t y_row) {
    ptrdiff_t k = 0;
    for (; k + LANES <= columns; k += LANES)
        for (ptrdiff_t m = 0; m < rows; m++) {
            Vector sum = AT(y + m * y_row + k);
            for (int i = 0; i < count; i++) sum += factors[m][i] * AT(b + i * b_step + k);
            AT(y + m * y_row + k) = sum;
        }
    for (; k < columns; k++)
        for (ptrdiff_t m = 0; m < rows; m++)
            for (int i = 0; i < count; i++) y[m * y_row + k] += factors[m][i] * b[i * b_step + k];
}

static void OF_TYPE(thin_product)(ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t steps, const REAL *a, ptrdiff_t a_next,
                                  ptrdiff_t a_step, const REAL *b, ptrdiff_t b_step, REAL *y, ptrdiff_t y_row) {
    for (ptrdiff_t t = 0; t < steps; t += THIN_STEPS) {
        REAL factors[THIN_ROWS][THIN_STEPS];
        const ptrdiff_t count = steps - t < THIN_STEPS ? steps - t : THIN_STEPS;
        for (ptrdiff_t m = 0; m < rows; m++)
            for (ptrdiff_t i = 0; i < count; i++) factors[m][i] = a[m * a_next + (t + i) * a_step];
        if (count == THIN_STEPS && rows == 1)
            OF_TYPE(thin_steps)(1, THIN_STEPS, factors, b + t * b_step, b_step, columns, y, y_row);
        else if (count == THIN_STEPS)
            OF_TYPE(thin_steps)(rows, THIN_STEPS, factors, b + t * b_step, b_step, columns, y, y_row);
        else
            OF_TYPE(thin_steps)(rows, (int)count, factors, b + t * b_step, b_step, columns, y, y_row);
    }
}

#undef Vector
#undef LANES
#undef AT

#endif
