/* Winograd's transforms, for vectors of channels (or filters).

   n outputs of a correlation along one axis with r taps cost n + r - 1 products instead of n * r:

       y = A^T ((G g) * (B^T d))        d: n + r - 1 inputs, g: r taps, y: n outputs  (the products element by element)

   The idea: two polynomials are multiplied by multiplying their values at enough points. The points are 0, 1, -1, then
   2, -2, then 1/2, -1/2, and infinity, where the value is the last coefficient. A y and G g are values of polynomials
   whose coefficients are y and g, the latter divided by the product of the differences to the other points (SCALE4,
   ...); B^T makes up for it. Along both axes: Y = A^T ((G g G^T) * (B^T d B)) A, for n x n outputs

       F(4, 3)    6 points: 36 products for 16 outputs of 3x3 taps, in the place of 144
       F(4, 5)    8 points: 64 products for 16 outputs of 5x5 taps, in the place of 400
       F(2, 3)    4 points: 16 products for 4 outputs of 3x3 taps: more products, but fewer numbers to a filter

   Turned around, the same matrices give the gradients: G^T ((B^T d B) * (A dy A^T)) G by the filters, and by the
   picture B ((G g G^T) * (A dy A^T)) B^T.

   A. Lavin, S. Gray: Fast Algorithms for Convolutional Neural Networks (2015), arXiv:1509.09308. */

#ifndef WINOGRAD_H
#define WINOGRAD_H

#ifndef TILE_H /* which, once read, is another file: it includes itself */
#include "tile.h"
#endif

#define WINOGRAD_POINTS 8 /* at most, along an axis: 4, 6 or 8 */

/* Of the pixels of a square, rows top..bottom and columns left..right are in the picture. The first rows belong to the
   squares above as well, the first columns to the square before: so many of them have been written. */
typedef struct {
    ptrdiff_t top, bottom, left, right, above, before;
} Overlap;

#define Vector Vector_float
#define LANES ((ptrdiff_t)(TILE_BYTES / sizeof(float)))
#define AT(pointer) (*(Vector *)(pointer))
#define UNROLL _Pragma("GCC unroll 8")
#define ROLLED _Pragma("GCC unroll 1")

static const float SCALE4[] = {-1, 1 / 2.f, 1 / 2.f, 1};
static const float SCALE6[] = {1 / 4.f, -1 / 6.f, -1 / 6.f, 1 / 24.f, 1 / 24.f, 1};
static const float SCALE8[] = {-1, -2 / 9.f, -2 / 9.f, 1 / 90.f, 1 / 90.f, 32 / 45.f, 32 / 45.f, 1};

/* ---------------------------------------------------------------------------------------------- along one axis */

/* u = A y: the values of the polynomial y[0] + y[1] a + ... + y[n-1] a^(n-1) at the points. The even powers are the
   same at a and -a, the odd ones have the other sign. */
TILE_INLINE void values(int points, int n, const Vector *y, Vector *u) {
    Vector even1 = y[0], odd1 = y[1], even2 = y[0], odd2 = 2.f * y[1], even3 = y[0], odd3 = 0.5f * y[1];
    UNROLL for (int s = 2; s < n; s++) {
        const float power = 1 << s;
        if (s % 2 == 0)
            even1 += y[s], even2 += power * y[s], even3 += 1 / power * y[s];
        else
            odd1 += y[s], odd2 += power * y[s], odd3 += 1 / power * y[s];
    }
    u[0] = y[0];
    u[1] = even1 + odd1, u[2] = even1 - odd1;
    if (points >= 6) u[3] = even2 + odd2, u[4] = even2 - odd2;
    if (points == 8) u[5] = even3 + odd3, u[6] = even3 - odd3;
    u[points - 1] = y[n - 1];
}

/* y = A^T u: the transpose of `values`. */
TILE_INLINE void sums(int points, int n, const Vector *u, Vector *y) {
    const Vector even1 = u[1] + u[2], odd1 = u[1] - u[2];
    UNROLL for (int s = 0; s < n; s++) {
        const float power = 1 << s;
        y[s] = s % 2 == 0 ? even1 : odd1;
        if (points >= 6) y[s] += power * (s % 2 == 0 ? u[3] + u[4] : u[3] - u[4]);
        if (points == 8) y[s] += 1 / power * (s % 2 == 0 ? u[5] + u[6] : u[5] - u[6]);
    }
    y[0] += u[0];
    y[n - 1] += u[points - 1];
}

/* u = B^T d: row i holds the coefficients of the polynomial that is zero at all points but the i-th (and infinity). */
TILE_INLINE void interpolants(int points, const Vector *d, Vector *u) {
    if (points == 4) {
        u[0] = d[2] - d[0];
        u[1] = d[2] + d[1], u[2] = d[2] - d[1];
        u[3] = d[3] - d[1];
    } else if (points == 6) {
        const Vector even1 = d[4] - 4.f * d[2], odd1 = d[3] - 4.f * d[1];
        const Vector even2 = d[4] - d[2], odd2 = 2.f * (d[3] - d[1]);
        u[0] = 4.f * d[0] - 5.f * d[2] + d[4];
        u[1] = even1 + odd1, u[2] = even1 - odd1;
        u[3] = even2 + odd2, u[4] = even2 - odd2;
        u[5] = 4.f * d[1] - 5.f * d[3] + d[5];
    } else {
        const Vector even1 = d[2] - 4.25f * d[4] + d[6], odd1 = d[1] - 4.25f * d[3] + d[5];
        const Vector even2 = 0.25f * d[2] - 1.25f * d[4] + d[6], odd2 = 0.5f * d[1] - 2.5f * d[3] + 2.f * d[5];
        const Vector even3 = 4.f * d[2] - 5.f * d[4] + d[6], odd3 = 2.f * d[1] - 2.5f * d[3] + 0.5f * d[5];
        u[0] = d[6] - d[0] + 5.25f * (d[2] - d[4]);
        u[1] = even1 + odd1, u[2] = even1 - odd1;
        u[3] = even2 + odd2, u[4] = even2 - odd2;
        u[5] = even3 + odd3, u[6] = even3 - odd3;
        u[7] = d[7] - d[1] + 5.25f * (d[3] - d[5]);
    }
}

/* d = B u: the transpose of `interpolants`, the coefficients of the sum of those polynomials, each times its u[i]. */
TILE_INLINE void combination(int points, const Vector *u, Vector *d) {
    const Vector even1 = u[1] + u[2], odd1 = u[1] - u[2];
    if (points == 6) {
        const Vector even2 = u[3] + u[4], odd2 = 2.f * (u[3] - u[4]);
        d[0] = 4.f * u[0];
        d[1] = 4.f * (u[5] - odd1) - odd2;
        d[2] = -5.f * u[0] - 4.f * even1 - even2;
        d[3] = odd1 + odd2 - 5.f * u[5];
        d[4] = u[0] + even1 + even2;
        d[5] = u[5];
    } else {
        const Vector even2 = u[3] + u[4], odd2 = u[3] - u[4], even3 = u[5] + u[6], odd3 = u[5] - u[6];
        d[0] = -u[0];
        d[1] = odd1 + 0.5f * odd2 + 2.f * odd3 - u[7];
        d[2] = 5.25f * u[0] + even1 + 0.25f * even2 + 4.f * even3;
        d[3] = 5.25f * u[7] - 4.25f * odd1 - 2.5f * (odd2 + odd3);
        d[4] = -5.25f * u[0] - 4.25f * even1 - 1.25f * even2 - 5.f * even3;
        d[5] = odd1 + 2.f * odd2 + 0.5f * odd3 - 5.25f * u[7];
        d[6] = u[0] + even1 + even2 + even3;
        d[7] = u[7];
    }
}

TILE_INLINE void scale(int points, Vector *u) {
    UNROLL for (int i = 0; i < points; i++) u[i] *= points == 8 ? SCALE8[i] : points == 6 ? SCALE6[i] : SCALE4[i];
}

/* --------------------------------------------------------------------------------------------- along both axes */

typedef enum { INPUT, INPUT_GRAD, OUTPUT, OUTPUT_GRAD, FILTER, FILTER_GRAD } Transform;

TILE_INLINE void along_one_axis(Transform transform, int points, int n, Vector *from, Vector *to) {
    switch (transform) {
    case INPUT: interpolants(points, from, to); break;
    case INPUT_GRAD: combination(points, from, to); break;
    case OUTPUT: sums(points, n, from, to); break;
    case OUTPUT_GRAD: values(points, n, from, to); break;
    case FILTER: values(points, n, from, to), scale(points, to); break;
    case FILTER_GRAD: scale(points, from), sums(points, n, from, to); break;
    }
}

/* One vector of channels of a square; n is the side that is not `points`. All but the pointers and steps are
   constants. */
TILE_INLINE void along_first_axis(Transform transform, int points, int n, const float *from, ptrdiff_t row,
                                  ptrdiff_t column, Vector half[WINOGRAD_POINTS][WINOGRAD_POINTS]) {
    const int in = transform == OUTPUT_GRAD || transform == FILTER ? n : points;
    const int out = transform == OUTPUT || transform == FILTER_GRAD ? n : points;
    Vector line[WINOGRAD_POINTS], result[WINOGRAD_POINTS];
    ROLLED for (int j = 0; j < in; j++, from += column) {
        UNROLL for (int i = 0; i < in; i++) line[i] = AT(from + i * row);
        along_one_axis(transform, points, n, line, result);
        UNROLL for (int i = 0; i < out; i++) half[i][j] = result[i];
    }
}

TILE_INLINE void along_both_axes(Transform transform, int points, int n, const float *from, ptrdiff_t row,
                                 ptrdiff_t column, float *to, ptrdiff_t to_row, ptrdiff_t to_column) {
    const int out = transform == OUTPUT || transform == FILTER_GRAD ? n : points;
    Vector half[WINOGRAD_POINTS][WINOGRAD_POINTS], result[WINOGRAD_POINTS];
    along_first_axis(transform, points, n, from, row, column, half);
    ROLLED for (int i = 0; i < out; i++, to += to_row) {
        along_one_axis(transform, points, n, half[i], result);
        UNROLL for (int j = 0; j < out; j++) AT(to + j * to_column) = result[j];
    }
}

/* The functions below take any number of channels and round it up to whole vectors where nothing is said of its end.
   A transformed square is points x points vectors, `point` numbers apart. The gradients know 6 and 8 points only. */

/* points x points pixels of the picture. The next square's come soon; they lie too far apart for the processor to
   guess. */
TILE_INLINE void any_input(int points, ptrdiff_t channels, const float *x, ptrdiff_t row, ptrdiff_t pixel, float *to,
                           ptrdiff_t point) {
    for (int i = 0; i < points; i++)
        for (int j = 0; j < points - 2; j++) __builtin_prefetch(x + i * row + (points + j) * pixel);
    for (ptrdiff_t c = 0; c < channels; c += LANES)
        along_both_axes(INPUT, points, points, x + c, row, pixel, to + c, points * point, point);
}

static void winograd_input(int points, ptrdiff_t channels, const float *x, ptrdiff_t row, ptrdiff_t pixel, float *to,
                           ptrdiff_t point) {
    if (points == 4)
        any_input(4, channels, x, row, pixel, to, point);
    else if (points == 6)
        any_input(6, channels, x, row, pixel, to, point);
    else
        any_input(8, channels, x, row, pixel, to, point);
}

/* 4x4 pixels of the output's gradient. */
static void winograd_output_grad(int points, ptrdiff_t channels, const float *dy, ptrdiff_t row, ptrdiff_t pixel,
                                 float *to, ptrdiff_t point) {
    for (ptrdiff_t k = 0; k < channels; k += LANES)
        if (points == 6)
            along_both_axes(OUTPUT_GRAD, 6, 4, dy + k, row, pixel, to + k, 6 * point, point);
        else
            along_both_axes(OUTPUT_GRAD, 8, 4, dy + k, row, pixel, to + k, 8 * point, point);
}

/* The taps of filters, `tap` numbers apart: 5x5 to 8 points, 3x3 to 6 or 4. */
static void winograd_filters(int points, ptrdiff_t filters, const float *w, ptrdiff_t tap, float *to,
                             ptrdiff_t point) {
    for (ptrdiff_t k = 0; k < filters; k += LANES)
        if (points == 4)
            along_both_axes(FILTER, 4, 3, w + k, 3 * tap, tap, to + k, 4 * point, point);
        else if (points == 6)
            along_both_axes(FILTER, 6, 3, w + k, 3 * tap, tap, to + k, 6 * point, point);
        else
            along_both_axes(FILTER, 8, 5, w + k, 5 * tap, tap, to + k, 8 * point, point);
}

/* The gradient of the taps. */
static void winograd_filter_grad(int points, ptrdiff_t filters, const float *from, ptrdiff_t point, float *dw,
                                 ptrdiff_t tap) {
    for (ptrdiff_t k = 0; k < filters; k += LANES)
        if (points == 6)
            along_both_axes(FILTER_GRAD, 6, 3, from + k, 6 * point, point, dw + k, 3 * tap, tap);
        else
            along_both_axes(FILTER_GRAD, 8, 5, from + k, 8 * point, point, dw + k, 5 * tap, tap);
}

/* The first `count` numbers of a vector. */
TILE_INLINE void store_some(Vector v, ptrdiff_t count, float *to) {
    if (count >= LANES)
        AT(to) = v;
    else
        for (ptrdiff_t k = 0; k < count; k++) to[k] = v[k];
}

TILE_INLINE Vector load_some(const float *from, ptrdiff_t count) {
    if (count >= LANES) return AT(from);
    Vector v = {0};
    for (ptrdiff_t k = 0; k < count; k++) v[k] = from[k];
    return v;
}

/* NaN is neither below nor above, and comes through. */
TILE_INLINE Vector clip_vector(Vector y, Vector low, Vector high) {
    typedef int Mask __attribute__((vector_size(TILE_BYTES)));
    const Mask below = (Mask)(y < low), above = (Mask)(y > high);
    return (Vector)(((Mask)low & below) | ((Mask)high & above) | ((Mask)y & ~below & ~above));
}

TILE_INLINE void any_output(int points, int n, ptrdiff_t channels, const float *from, ptrdiff_t point,
                            const float *bias, const Finish *finish, float *y, ptrdiff_t height, ptrdiff_t width,
                            ptrdiff_t row, ptrdiff_t pixel) {
    const Vector zero = {0};
    const float *to_add = finish ? finish->added : NULL;
    const Vector low = zero + (finish ? (float)finish->low : 0), high = zero + (finish ? (float)finish->high : 0);
    Vector half[WINOGRAD_POINTS][WINOGRAD_POINTS], result[WINOGRAD_POINTS];
    for (ptrdiff_t k = 0; k < channels; k += LANES) {
        if (k % (2 * LANES) == 0)
            for (ptrdiff_t i = 0; i < height; i++)
                for (ptrdiff_t j = 0; j < width; j++) __builtin_prefetch(y + i * row + j * pixel + k, 1);
        const Vector base = bias ? load_some(bias + k, channels - k) : zero;
        along_first_axis(OUTPUT, points, n, from + k, points * point, point, half);
        ROLLED for (ptrdiff_t i = 0; i < height; i++) {
            sums(points, n, half[i], result);
            UNROLL for (int j = 0; j < n; j++) {
                if (j >= width) break;
                /* Whatever else is to happen to an output before it is stored belongs here. */
                const ptrdiff_t place = i * row + j * pixel + k;
                Vector sum = result[j] + base;
                if (to_add) sum += load_some(to_add + place, channels - k);
                if (finish) sum = clip_vector(sum, low, high);
                store_some(sum, channels - k, y + place);
            }
        }
    }
}

/* The first `height` x `width` of 4x4 pixels of the output (2x2 for 4 points), exactly `channels` of each. bias,
   finish: may be NULL. */
static void winograd_output(int points, ptrdiff_t channels, const float *from, ptrdiff_t point, const float *bias,
                            const Finish *finish, float *y, ptrdiff_t height, ptrdiff_t width, ptrdiff_t row,
                            ptrdiff_t pixel) {
    if (points == 4)
        any_output(4, 2, channels, from, point, bias, finish, y, height, width, row, pixel);
    else if (points == 6)
        any_output(6, 4, channels, from, point, bias, finish, y, height, width, row, pixel);
    else
        any_output(8, 4, channels, from, point, bias, finish, y, height, width, row, pixel);
}

TILE_INLINE void any_input_grad(int points, ptrdiff_t channels, const float *from, ptrdiff_t point,
                                const Overlap *overlap, float *dx, ptrdiff_t row, ptrdiff_t pixel) {
    Vector half[WINOGRAD_POINTS][WINOGRAD_POINTS], result[WINOGRAD_POINTS];
    for (ptrdiff_t k = 0; k < channels; k += LANES) {
        along_first_axis(INPUT_GRAD, points, points, from + k, points * point, point, half);
        ROLLED for (ptrdiff_t i = overlap->top; i < overlap->bottom; i++) {
            const ptrdiff_t added = i < overlap->above ? points : overlap->before;
            combination(points, half[i], result);
            UNROLL for (int j = 0; j < points; j++) {
                if (j < overlap->left || j >= overlap->right) continue;
                float *to = dx + i * row + j * pixel + k;
                if (j < added) result[j] += load_some(to, channels - k);
                store_some(result[j], channels - k, to);
            }
        }
    }
}

/* The gradient of points x points pixels of the picture, exactly `channels` of each. The first of them would be at dx;
   `overlap` says which are in the picture, and which are added to what is there. */
static void winograd_input_grad(int points, ptrdiff_t channels, const float *from, ptrdiff_t point,
                                const Overlap *overlap, float *dx, ptrdiff_t row, ptrdiff_t pixel) {
    if (points == 6)
        any_input_grad(6, channels, from, point, overlap, dx, row, pixel);
    else
        any_input_grad(8, channels, from, point, overlap, dx, row, pixel);
}

/* ------------------------------------------------------------------------------------------------ the products */

#define PIECE_CHANNELS 256 /* that are multiplied at a time: so much of a panel's filters fits the first-level cache */
#define TILES_AHEAD 8      /* while which the filters of the next piece are fetched */

/* `rows`, a constant, squares by a panel of filters: the sums stay in registers. */
TILE_INLINE void product_tile(int rows, ptrdiff_t channels, const float *squares, ptrdiff_t square,
                              const float *filters, int add, float *m, ptrdiff_t m_square, const char *ahead,
                              ptrdiff_t ahead_step) {
    const Vector zero = {0};
    Vector sum[TILE_ROWS][2] = {{zero, zero}, {zero, zero}, {zero, zero}, {zero, zero}, {zero, zero}, {zero, zero}};
    const float *row[TILE_ROWS];
    for (int j = 0; j < rows; j++) row[j] = squares + j * square;
    for (ptrdiff_t c = 0; c < channels; c++, filters += 2 * LANES, ahead += ahead_step) {
        const Vector filters0 = AT(filters), filters1 = AT(filters + LANES);
        __builtin_prefetch(ahead, 0, 2);
        for (int j = 0; j < rows; j++) {
            sum[j][0] += row[j][c] * filters0;
            sum[j][1] += row[j][c] * filters1;
        }
    }
    for (int j = 0; j < rows; j++, m += m_square) {
        if (add) sum[j][0] += AT(m), sum[j][1] += AT(m + LANES);
        AT(m) = sum[j][0];
        AT(m + LANES) = sum[j][1];
    }
}

/* m[s][k] = sum over channels c of squares[s][c] * filters[c][k], for one of the products and a panel of filters.

   The squares are cut into tiles of nearly the same height. Filters come from memory when squares are few: while tiles
   use those of a piece, those behind them are fetched. */
static void winograd_product(ptrdiff_t count, ptrdiff_t channels, const float *squares, ptrdiff_t square,
                             const float *filters, float *m, ptrdiff_t m_square) {
    const ptrdiff_t tiles = (count + TILE_ROWS - 1) / TILE_ROWS, fetching = tiles < TILES_AHEAD ? tiles : TILES_AHEAD;
    const ptrdiff_t step = (2 * TILE_BYTES + fetching - 1) / fetching;
    ptrdiff_t first = 0;
    do {
        const ptrdiff_t piece = channels - first < PIECE_CHANNELS ? channels - first : PIECE_CHANNELS;
        const char *next = (const char *)(filters + piece * 2 * LANES);
        for (ptrdiff_t i = 0; i < tiles; i++) {
            const ptrdiff_t begin = count * i / tiles, rows = count * (i + 1) / tiles - begin;
            const float *a = squares + begin * square + first;
            const char *ahead = i < fetching ? next + i * piece * step : (const char *)filters;
            float *to = m + begin * m_square;
#define TILE(rows)                                                                                                     \
    case rows:                                                                                                         \
        product_tile(rows, piece, a, square, filters, first > 0, to, m_square, ahead, i < fetching ? step : 0);        \
        break;
            switch (rows) { TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6) }
#undef TILE
        }
        filters += piece * 2 * LANES;
        first += piece;
    } while (first < channels);
}

#undef Vector
#undef LANES
#undef AT
#undef UNROLL

#endif
