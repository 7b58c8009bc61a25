/* Products of matrices of which one is thin, or the sums are short.

   Each number of the large side is used but a few times, so the time is that of reading (or writing) it, once and in
   long runs. The processor fetches ahead by itself, but not from one page of memory to the next, so it is told.

       thin_product   a few rows times a matrix: a few rows of b at a time, while the rows of y stay in the first-level
                      cache
       thin_outer     a sum of a few outer products: y is written row by row, while the rows of b stay there
       thin_dots      rows times a few columns, both in one piece: vectors are multiplied, their lanes added at the end

   Written with the vector extensions of GCC and Clang, once for both types: the file includes itself for float and for
   double. */

#ifndef THIN_H
#define THIN_H

#ifndef TILE_H /* which, once read, is another file: it includes itself */
#include "tile.h"
#endif

#define THIN_ROWS 6
#define THIN_STEPS 4
#define DOT_ROWS 4
#define DOT_COLUMNS 2
#define LINE_BYTES 64
#define BYTES_AHEAD 4096

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
#define AHEAD ((ptrdiff_t)(BYTES_AHEAD / sizeof(REAL)))
#define AT(pointer) (*(Vector *)(pointer))

/* Whether a cache line begins k numbers further on, if one begins here. */
#define BEGINS_LINE(k) ((k) % (ptrdiff_t)(LINE_BYTES / sizeof(REAL)) == 0)

/* Rows of y = (or, if `add`, +=) the sum over i < count of factors[m][i] * row i of b. `add` is a constant, `rows` and
   `count` are where it matters. */
TILE_INLINE void OF_TYPE(thin_steps)(ptrdiff_t rows, ptrdiff_t count, int add,
                                     const REAL factors[THIN_ROWS][THIN_STEPS], const REAL *b, ptrdiff_t b_step,
                                     ptrdiff_t columns, REAL *y, ptrdiff_t y_row) {
    const Vector zero = {0};
    ptrdiff_t k = 0;
    for (; k + LANES <= columns; k += LANES) {
        if (add && BEGINS_LINE(k))
            for (ptrdiff_t i = 0; i < count; i++) __builtin_prefetch(b + i * b_step + k + AHEAD);
        for (ptrdiff_t m = 0; m < rows; m++) {
            Vector sum = add ? AT(y + m * y_row + k) : zero;
            for (ptrdiff_t i = 0; i < count; i++) sum += factors[m][i] * AT(b + i * b_step + k);
            if (!add && BEGINS_LINE(k)) __builtin_prefetch(y + m * y_row + k + AHEAD, 1);
            AT(y + m * y_row + k) = sum;
        }
    }
    for (; k < columns; k++)
        for (ptrdiff_t m = 0; m < rows; m++) {
            REAL sum = add ? y[m * y_row + k] : 0;
            for (ptrdiff_t i = 0; i < count; i++) sum += factors[m][i] * b[i * b_step + k];
            y[m * y_row + k] = sum;
        }
}

/* y[m][k] += sum over steps t of a[m][t] * b[t][k], for at most THIN_ROWS rows m. */
static void OF_TYPE(thin_product)(ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t steps, const REAL *a, ptrdiff_t a_next,
                                  ptrdiff_t a_step, const REAL *b, ptrdiff_t b_step, REAL *y, ptrdiff_t y_row) {
    for (ptrdiff_t t = 0; t < steps; t += THIN_STEPS) {
        REAL factors[THIN_ROWS][THIN_STEPS];
        const ptrdiff_t count = steps - t < THIN_STEPS ? steps - t : THIN_STEPS;
        for (ptrdiff_t m = 0; m < rows; m++)
            for (ptrdiff_t i = 0; i < count; i++) factors[m][i] = a[m * a_next + (t + i) * a_step];
        if (count == THIN_STEPS && rows == 1)
            OF_TYPE(thin_steps)(1, THIN_STEPS, 1, factors, b + t * b_step, b_step, columns, y, y_row);
        else if (count == THIN_STEPS && rows == 2)
            OF_TYPE(thin_steps)(2, THIN_STEPS, 1, factors, b + t * b_step, b_step, columns, y, y_row);
        else if (count == THIN_STEPS)
            OF_TYPE(thin_steps)(rows, THIN_STEPS, 1, factors, b + t * b_step, b_step, columns, y, y_row);
        else
            OF_TYPE(thin_steps)(rows, count, 1, factors, b + t * b_step, b_step, columns, y, y_row);
    }
}

/* y[m][k] = sum over at most THIN_STEPS steps t of a[m][t] * b[t][k]. */
static void OF_TYPE(thin_outer)(ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t steps, const REAL *a, ptrdiff_t a_next,
                                ptrdiff_t a_step, const REAL *b, ptrdiff_t b_step, REAL *y, ptrdiff_t y_row) {
    for (; rows > 0; rows -= THIN_STEPS, a += THIN_STEPS * a_next, y += THIN_STEPS * y_row) {
        REAL factors[THIN_ROWS][THIN_STEPS];
        const ptrdiff_t many = rows < THIN_STEPS ? rows : THIN_STEPS;
        for (ptrdiff_t m = 0; m < many; m++)
            for (ptrdiff_t t = 0; t < steps; t++) factors[m][t] = a[m * a_next + t * a_step];
        if (many == THIN_STEPS && steps == 1)
            OF_TYPE(thin_steps)(THIN_STEPS, 1, 0, factors, b, b_step, columns, y, y_row);
        else if (many == THIN_STEPS && steps == 2)
            OF_TYPE(thin_steps)(THIN_STEPS, 2, 0, factors, b, b_step, columns, y, y_row);
        else
            OF_TYPE(thin_steps)(many, steps, 0, factors, b, b_step, columns, y, y_row);
    }
}

/* The sum of all lanes, in pairs. */
TILE_INLINE REAL OF_TYPE(sum_of_lanes)(Vector v) {
    REAL lane[LANES];
    AT(lane) = v;
    for (ptrdiff_t half = LANES / 2; half > 0; half /= 2)
        for (ptrdiff_t j = 0; j < half; j++) lane[j] += lane[j + half];
    return lane[0];
}

/* sums[j][n] = the product of rows j of a and n of b, for `columns` rows of b, a constant. Unrolled, or the vectors would
   be summed up in memory. */
TILE_INLINE void OF_TYPE(dot_block)(int columns, ptrdiff_t steps, const REAL *const row[DOT_ROWS], const REAL *b,
                                    ptrdiff_t b_next, REAL sums[DOT_ROWS][DOT_COLUMNS]) {
    const Vector zero = {0};
    Vector sum[DOT_ROWS][DOT_COLUMNS] = {{zero, zero}, {zero, zero}, {zero, zero}, {zero, zero}};
    ptrdiff_t t = 0;
    for (; t + LANES <= steps; t += LANES)
#pragma GCC unroll 4
        for (int j = 0; j < DOT_ROWS; j++) {
            if (BEGINS_LINE(t)) __builtin_prefetch(row[j] + t + AHEAD);
            for (int n = 0; n < columns; n++) sum[j][n] += AT(row[j] + t) * AT(b + n * b_next + t);
        }
#pragma GCC unroll 4
    for (int j = 0; j < DOT_ROWS; j++)
#pragma GCC unroll 2
        for (int n = 0; n < columns; n++) sums[j][n] = OF_TYPE(sum_of_lanes)(sum[j][n]);
    for (; t < steps; t++)
        for (int j = 0; j < DOT_ROWS; j++)
            for (int n = 0; n < columns; n++) sums[j][n] += row[j][t] * b[n * b_next + t];
}

/* y[m * y_row + n * y_column] += the product of rows m of a and n of b. */
static void OF_TYPE(thin_dots)(ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t steps, const REAL *a, ptrdiff_t a_next,
                               const REAL *b, ptrdiff_t b_next, REAL *y, ptrdiff_t y_row, ptrdiff_t y_column) {
    for (ptrdiff_t m = 0; m < rows; m += DOT_ROWS) {
        const ptrdiff_t many = rows - m < DOT_ROWS ? rows - m : DOT_ROWS;
        const REAL *row[DOT_ROWS];
        for (ptrdiff_t j = 0; j < DOT_ROWS; j++) row[j] = a + (m + (j < many ? j : many - 1)) * a_next;
        for (ptrdiff_t n = 0; n < columns; n += DOT_COLUMNS) {
            REAL sums[DOT_ROWS][DOT_COLUMNS];
            const ptrdiff_t some = columns - n < DOT_COLUMNS ? columns - n : DOT_COLUMNS;
            if (some == DOT_COLUMNS)
                OF_TYPE(dot_block)(DOT_COLUMNS, steps, row, b + n * b_next, b_next, sums);
            else
                OF_TYPE(dot_block)(1, steps, row, b + n * b_next, b_next, sums);
            for (ptrdiff_t j = 0; j < many; j++)
                for (ptrdiff_t i = 0; i < some; i++) y[(m + j) * y_row + (n + i) * y_column] += sums[j][i];
        }
    }
}

#undef Vector
#undef LANES
#undef AHEAD
#undef AT
#undef BEGINS_LINE

#endif
