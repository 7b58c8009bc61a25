/* exp, expm1, log, log1p, tanh, erf and the normal distribution's cdf for float32 without branches or calls, so that
 * the compiler turns a loop over them into vector code; a few units in the last place. (float64 uses the C library's.)
 * The polynomials are least-squares fits at Chebyshev nodes; each comment gives the function, its range and the fit's
 * relative error. */
#ifndef MINICNN_VECMATH_H
#define MINICNN_VECMATH_H
#include <math.h>
#include <stdint.h>
#include <string.h>

/* Functions, so that both sides are computed before the choice: a branch could not become vector code. */
static inline float select_f32(int c, float a, float b) { return c ? a : b; }
static inline double select_f64(int c, double a, double b) { return c ? a : b; }
static inline int64_t select_i64(int c, int64_t a, int64_t b) { return c ? a : b; }
static inline uint8_t select_b(int c, uint8_t a, uint8_t b) { return c ? a : b; }

static inline int32_t bits_of(float x) { int32_t i; memcpy(&i, &x, 4); return i; }
static inline float float_of(int32_t i) { float x; memcpy(&x, &i, 4); return x; }

/* x = n ln 2 + r with n whole and |r| <= ln 2 / 2; gives exp(r) - 1 and n. */
static inline float m_reduce(float x, int32_t *n) {
  const float whole = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer that stands in the low bits */
  float shifted = x * 1.44269504f + whole;
  *n = bits_of(shifted) - bits_of(whole);
  float k = shifted - whole;
  float r = (x - k * 0.693359375f) + k * 2.12194440e-4f; /* ln 2 in two pieces, the first exact times k */
  /* (exp(r) - 1 - r) / r^2, |r| <= 0.348: 3e-9 */
  float p = 1.9899611924e-04f;
  p = p * r + 1.3933902569e-03f;
  p = p * r + 8.3332980760e-03f;
  p = p * r + 4.1666462636e-02f;
  p = p * r + 1.6666666720e-01f;
  p = p * r + 5.0000000137e-01f;
  return p * (r * r) + r;
}

static inline float m_exp(float x) {
  /* Beyond these, exp is 0 or infinite; NaN fails both tests and comes through. */
  float clamped = x < -104.0f ? -104.0f : (x > 89.0f ? 89.0f : x);
  int32_t n, half;
  float e = m_reduce(clamped, &n) + 1.0f;
  half = n >> 1; /* 2^n as a product of two: n reaches 128 and, for subnormal results, -150 */
  return e * float_of((half + 127) << 23) * float_of((n - half + 127) << 23);
}

static inline float m_expm1(float x) {
  float clamped = x < -30.0f ? -30.0f : (x > 89.0f ? 89.0f : x);
  int32_t n, half;
  float e = m_reduce(clamped, &n);
  half = n >> 1;
  float low = float_of((half + 127) << 23), high = float_of((n - half + 127) << 23);
  float small = e * low * high + (low * high - 1.0f);
  return n > 126 ? (e + 1.0f) * low * high : small; /* there the 1 no longer counts, and 2^128 would overflow */
}

static inline float m_log(float x) {
  float scaled = x < 1.17549435e-38f ? x * 33554432.0f : x; /* 2^25 lifts subnormals */
  float lift = x < 1.17549435e-38f ? -25.0f : 0.0f;
  int32_t i = bits_of(scaled);
  int32_t n = (i - 0x3f3504f3) >> 23; /* x = 2^n m with m from sqrt(1/2) to sqrt(2) */
  float f = float_of((int32_t)((uint32_t)i - ((uint32_t)n << 23))) - 1.0f;
  float k = (float)n + lift;
  /* (log(1 + f) - f + f^2/2) / f^3: 7e-8 */
  float p = 0.0714975389f;
  p = p * f - 0.1157120073f;
  p = p * f + 0.1166151107f;
  p = p * f - 0.1241105068f;
  p = p * f + 0.1424993653f;
  p = p * f - 0.1666848024f;
  p = p * f + 0.2000070748f;
  p = p * f - 0.2499998905f;
  p = p * f + 0.3333333119f;
  float square = f * f;
  float tail = p * f * square - k * 2.12194440e-4f - 0.5f * square;
  float y = k * 0.693359375f + (f + tail);
  y = x - x == 0.0f ? y : x; /* infinity and NaN are their own */
  y = x == 0.0f ? -INFINITY : y;
  return x < 0.0f ? NAN : y;
}

static inline float m_log1p(float x) {
  /* u = 1 + x loses the low bits of x, x - (u - 1): log(u + d) = log(u) + d / u + ... puts them back */
  float u = 1.0f + x;
  float lost = (x - (u - 1.0f)) / u;
  return m_log(u) + (lost == lost ? lost : 0.0f); /* where u is 0 or infinite, nothing is lost */
}

static inline float m_tanh(float x) {
  float a = fabsf(x);
  float t = m_expm1(2.0f * (a > 10.0f ? 10.0f : a)); /* tanh(10) rounds to 1 */
  return copysignf(t / (t + 2.0f), x);
}

static inline float m_erf(float x) {
  float a = fabsf(x), square = x * x;
  /* erf(x) / x in x^2, |x| <= 1: 4e-11 */
  float p = -9.6735911694e-06f;
  p = p * square + 1.1268254021e-04f;
  p = p * square - 8.4843965683e-04f;
  p = p * square + 5.2210534138e-03f;
  p = p * square - 2.6865438311e-02f;
  p = p * square + 1.1283782622e-01f;
  p = p * square - 3.7612638476e-01f;
  p = p * square + 1.1283791671e+00f;
  /* erfc(a) exp(a^2) in t = 1 / (1 + a/2), 1 <= a <= 4: 7e-10 */
  float b = a > 4.0f ? 4.0f : a; /* erf(4) rounds to 1 */
  float t = 1.0f / (1.0f + 0.5f * b);
  float q = 1.2026210973e-01f;
  q = q * t - 4.7445800022e-01f;
  q = q * t + 5.6819126613e-01f;
  q = q * t - 1.0769318066e-01f;
  q = q * t + 3.4980761849e-01f;
  q = q * t + 2.5910447116e-01f;
  q = q * t + 2.8500553805e-01f;
  q = q * t - 1.6045762804e-04f;
  float far = copysignf(1.0f - q * m_exp(-b * b), x);
  return a <= 1.0f ? x * p : (x != x ? x : far);
}

/* How likely a standard normal variable is below x. The lower tail is as exact, relative to itself, as the exponential of
 * x^2 / 2 rounded to float32. A formula that asks for exp(-0.5 * x * x) as well, the density, shares the exponential. */
static inline float m_cdf(float x) {
  /* cdf(-a) exp(a^2/2) / t in t = 1 / (1 + 0.35 a), 0 <= a <= 14.5 where float32 ends: 3e-8 */
  float t = 1.0f / (1.0f + 0.35f * fabsf(x));
  float p = -2.9158229e-02f;
  p = p * t + 1.4403255e-01f;
  p = p * t - 2.5584227e-01f;
  p = p * t + 1.5932329e-01f;
  p = p * t - 2.3214722e-02f;
  p = p * t + 1.0555346e-01f;
  p = p * t + 1.1982106e-01f;
  p = p * t + 1.3986355e-01f;
  p = p * t + 1.3962130e-01f;
  float low = p * t * m_exp(-0.5f * x * x);
  return x > 0.0f ? 1.0f - low : low;
}

static inline double m_cdf64(double x) { return 0.5 * erfc(-x * 0.70710678118654752); }

#endif
