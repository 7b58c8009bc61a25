/* Winograd's transforms, for vectors of channels (or filters).

   n outputs of a correlation along one axis with r taps, n + r - 1 = 6, cost 6 products instead of n * r:

       y = A^T ((G g) * (B^T d))        d: 6 inputs, g: r taps, y: n outputs          (the products element by element)

   The idea: two polynomials are multiplied by multiplying their values at enough points. The points are 0, 1, -1, 2, -2
   and infinity, where the value is the last coefficient. A y and G g are values of polynomials whose coefficients are y
   and g, the latter divided by the product of the differences to the other points (SCALE); B^T is what makes up for it.
   Along both axes: Y = A^T ((G g G^T) * (B^T d B)) A, 36 products for n x n outputs. The same 6 x 6 inputs serve
   n = 4 with r = 3, F(4, 3), and n = 2 with r = 5, F(2, 5).

   Turned around, the same matrices give the gradient by the filters: G^T ((B^T d B) * (A dy A^T)) G.

   A. Lavin, S. Gray: Fast Algorithms for Convolutional Neural Networks (2015), arXiv:1509.09308. */

#ifndef WINOGRAD_H
#define WINOGRAD_H

#ifndef TILE_H /* which, once read, is another file: it includes itself */
#include "tile.h"
#endif

#define WINOGRAD_POINTS 6

#define Vector Vector_float
#define LANES ((ptrdiff_t)(TILE_BYTES / sizeof(float)))
#define AT(pointer) (*(Vector *)(pointer))
#define UNROLL _Pragma("GCC unroll 6")
#define ROLLED _Pragma("GCC unroll 1")

static const float SCALE[WINOGRAD_POINTS] = {1 / 4.f, -1 / 6.f, -1 / 6.f, 1 / 24.f, 1 / 24.f, 1};

/* ---------------------------------------------------------------------------------------------- along one axis */

/* u = A y: the values of the polynomial y[0] + y[1] a + ... + y[n-1] a^(n-1) at the points. The even powers are the
   same at a and -a, the odd ones have the other sign. */
TILE_INLINE void values(int n, const Vector *y, Vector *u) {
    Vector even1 = y[0], odd1 = y[1], even2 = y[0], odd2 = 2.f * y[1];
    UNROLL for (int s = 2; s < n; s++) {
        if (s % 2 == 0)
            even1 += y[s], even2 += (float)(1 << s) * y[s];
        else
            odd1 += y[s], odd2 += (float)(1 << s) * y[s];
    }
    u[0] = y[0];
    u[1] = even1 + odd1, u[2] = even1 - odd1;
    u[3] = even2 + odd2, u[4] = even2 - odd2;
    u[5] = y[n - 1];
}

/* y = A^T u: the transpose of `values`. */
TILE_INLINE void sums(int n, const Vector *u, Vector *y) {
    const Vector even1 = u[1] + u[2], odd1 = u[1] - u[2], even2 = u[3] + u[4], odd2 = u[3] - u[4];
    UNROLL for (int s = 0; s < n; s++)
        y[s] = s % 2 == 0 ? even1 + (float)(1 << s) * even2 : odd1 + (float)(1 << s) * odd2;
    y[0] += u[0];
    y[n - 1] += u[5];
}

/* u = B^T d: row i holds the coefficients of the polynomial that is zero at all points but the i-th (and infinity). */
TILE_INLINE void interpolants(const Vector *d, Vector *u) {
    const Vector even1 = d[4] - 4.f * d[2], odd1 = d[3] - 4.f * d[1];
    const Vector even2 = d[4] - d[2], odd2 = 2.f * (d[3] - d[1]);
    u[0] = 4.f * d[0] - 5.f * d[2] + d[4];
    u[1] = even1 + odd1, u[2] = even1 - odd1;
    u[3] = even2 + odd2, u[4] = even2 - odd2;
    u[5] = 4.f * d[1] - 5.f * d[3] + d[5];
}

TILE_INLINE void scale(Vector *u) {
    UNROLL for (int i = 0; i < WINOGRAD_POINTS; i++) u[i] *= SCALE[i];
}

/* --------------------------------------------------------------------------------------------- along both axes */

typedef enum { INPUT, OUTPUT, OUTPUT_GRAD, FILTER, FILTER_GRAD } Transform;

TILE_INLINE void along_one_axis(Transform transform, int n, Vector *from, Vector *to) {
    switch (transform) {
    case INPUT: interpolants(from, to); break;
    case OUTPUT: sums(n, from, to); break;
    case OUTPUT_GRAD: values(n, from, to); break;
    case FILTER: values(n, from, to), scale(to); break;
    case FILTER_GRAD: scale(from), sums(n, from, to); break;
    }
}

/* One vector of channels of a square; n is the side that is not 6. All but the pointers and steps are constants. */
TILE_INLINE void along_both_axes(Transform transform, int n, const float *from, ptrdiff_t row, ptrdiff_t column,
                                 float *to, ptrdiff_t to_row, ptrdiff_t to_column) {
    const int in = transform == OUTPUT_GRAD || transform == FILTER ? n : WINOGRAD_POINTS;
    const int out = transform == OUTPUT || transform == FILTER_GRAD ? n : WINOGRAD_POINTS;
    Vector half[WINOGRAD_POINTS][WINOGRAD_POINTS], line[WINOGRAD_POINTS], result[WINOGRAD_POINTS];
    ROLLED for (int j = 0; j < in; j++, from += column) {
        UNROLL for (int i = 0; i < in; i++) line[i] = AT(from + i * row);
        along_one_axis(transform, n, line, result);
        UNROLL for (int i = 0; i < out; i++) half[i][j] = result[i];
    }
    ROLLED for (int i = 0; i < out; i++, to += to_row) {
        along_one_axis(transform, n, half[i], result);
        UNROLL for (int j = 0; j < out; j++) AT(to + j * to_column) = result[j];
    }
}

/* The functions below take any number of channels and round it up to whole vectors where nothing is said of its end.
   A transformed square is 36 vectors, `point` numbers apart. */

/* 6 x 6 pixels of the picture. */
static void winograd_input(ptrdiff_t channels, const float *x, ptrdiff_t row, ptrdiff_t pixel, float *to,
                           ptrdiff_t point) {
    for (ptrdiff_t c = 0; c < channels; c += LANES)
        along_both_axes(INPUT, 6, x + c, row, pixel, to + c, WINOGRAD_POINTS * point, point);
}

/* n x n pixels of the output's gradient. */
static void winograd_output_grad(int n, ptrdiff_t channels, const float *dy, ptrdiff_t row, ptrdiff_t pixel, float *to,
                                 ptrdiff_t point) {
    for (ptrdiff_t k = 0; k < channels; k += LANES)
        if (n == 4)
            along_both_axes(OUTPUT_GRAD, 4, dy + k, row, pixel, to + k, WINOGRAD_POINTS * point, point);
        else
            along_both_axes(OUTPUT_GRAD, 2, dy + k, row, pixel, to + k, WINOGRAD_POINTS * point, point);
}

/* r x r taps, `tap` numbers apart. */
static void winograd_filters(int r, ptrdiff_t filters, const float *w, ptrdiff_t tap, float *to, ptrdiff_t point) {
    for (ptrdiff_t k = 0; k < filters; k += LANES)
        if (r == 3)
            along_both_axes(FILTER, 3, w + k, 3 * tap, tap, to + k, WINOGRAD_POINTS * point, point);
        else
            along_both_axes(FILTER, 5, w + k, 5 * tap, tap, to + k, WINOGRAD_POINTS * point, point);
}

/* The gradient of r x r taps, `tap` numbers apart. */
static void winograd_filter_grad(int r, ptrdiff_t filters, const float *from, ptrdiff_t point, float *dw,
                                 ptrdiff_t tap) {
    for (ptrdiff_t k = 0; k < filters; k += LANES)
        if (r == 3)
            along_both_axes(FILTER_GRAD, 3, from + k, WINOGRAD_POINTS * point, point, dw + k, 3 * tap, tap);
        else
            along_both_axes(FILTER_GRAD, 5, from + k, WINOGRAD_POINTS * point, point, dw + k, 5 * tap, tap);
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

TILE_INLINE void any_output(int n, ptrdiff_t channels, const float *from, ptrdiff_t point, const float *bias,
                            const Finish *finish, float *y, ptrdiff_t height, ptrdiff_t width, ptrdiff_t row,
                            ptrdiff_t pixel) {
    const Vector zero = {0};
    const float *to_add = finish ? finish->added : NULL;
    float square[4 * 4 * LANES];
    for (ptrdiff_t k = 0; k < channels; k += LANES) {
        const Vector added = bias ? load_some(bias + k, channels - k) : zero;
        along_both_axes(OUTPUT, n, from + k, WINOGRAD_POINTS * point, point, square, n * LANES, LANES);
        for (ptrdiff_t i = 0; i < height; i++)
            for (ptrdiff_t j = 0; j < width; j++) {
                /* Whatever else is to happen to an output before it is stored belongs here. */
                const ptrdiff_t place = i * row + j * pixel + k;
                Vector sum = AT(square + (i * n + j) * LANES) + added;
                if (to_add) sum += load_some(to_add + place, channels - k);
                if (finish) sum = clip_all_float(sum, finish->low, finish->high);
                store_some(sum, channels - k, y + place);
            }
    }
}

/* The first `height` x `width` of n x n pixels of the output, exactly `channels` of each. bias, finish: may be NULL. */
static void winograd_output(int n, ptrdiff_t channels, const float *from, ptrdiff_t point, const float *bias,
                            const Finish *finish, float *y, ptrdiff_t height, ptrdiff_t width, ptrdiff_t row,
                            ptrdiff_t pixel) {
    if (n == 4)
        any_output(4, channels, from, point, bias, finish, y, height, width, row, pixel);
    else
        any_output(2, channels, from, point, bias, finish, y, height, width, row, pixel);
}

#undef Vector
#undef LANES
#undef AT
#undef UNROLL

#endif
