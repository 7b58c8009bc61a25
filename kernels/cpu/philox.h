/* Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011), several blocks side by side.
 *
 * Every lane of 64 bits holds one word of 32, as the processor's 32 x 32 -> 64 bit product wants it. That product is
 * asked for by name: what a compiler makes of a plain loop takes three times as long. The high half of a lane may hold
 * anything, for the product and the final masks look at the low half only. */
#ifndef MINICNN_PHILOX_H
#define MINICNN_PHILOX_H
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#include <immintrin.h>
#define PHILOX_BYTES 64
#define PHILOX_PRODUCT(a, b) (philox_lanes) _mm512_mul_epu32((__m512i)(a), (__m512i)(b))
#elif defined(__AVX2__)
#include <immintrin.h>
#define PHILOX_BYTES 32
#define PHILOX_PRODUCT(a, b) (philox_lanes) _mm256_mul_epu32((__m256i)(a), (__m256i)(b))
#elif defined(__SSE2__)
#include <emmintrin.h>
#define PHILOX_BYTES 16
#define PHILOX_PRODUCT(a, b) (philox_lanes) _mm_mul_epu32((__m128i)(a), (__m128i)(b))
#else
#define PHILOX_BYTES 16
#define PHILOX_PRODUCT(a, b) (((a) & (uint64_t)0xFFFFFFFF) * ((b) & (uint64_t)0xFFFFFFFF))
#endif

typedef uint64_t philox_lanes __attribute__((vector_size(PHILOX_BYTES)));

enum {
  PHILOX_LANES = PHILOX_BYTES / 8,
  PHILOX_CHAINS = 2, /* independent rounds to fill the time a product takes; more would not fit the registers */
  PHILOX_BLOCKS = PHILOX_CHAINS * PHILOX_LANES
};

/* Ten rounds on the counters c[word], in place. */
static inline void philox_rounds(philox_lanes c[4][PHILOX_CHAINS], uint32_t key0, uint32_t key1) {
  const philox_lanes zero = {0}, multiplier0 = zero + (uint64_t)0xD2511F53u,
                     multiplier2 = zero + (uint64_t)0xCD9E8D57u;
  for (int round = 0; round < 10; round++) {
    for (int i = 0; i < PHILOX_CHAINS; i++) {
      philox_lanes product0 = PHILOX_PRODUCT(c[0][i], multiplier0), product2 = PHILOX_PRODUCT(c[2][i], multiplier2);
      c[0][i] = (product2 >> 32) ^ c[1][i] ^ (uint64_t)key0;
      c[2][i] = (product0 >> 32) ^ c[3][i] ^ (uint64_t)key1;
      c[1][i] = product2;
      c[3][i] = product0;
    }
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
}

/* The 4 * PHILOX_BLOCKS words of blocks first, first + 1, ... of a stream. */
static inline void philox_words(uint64_t first, uint32_t key0, uint32_t key1, uint32_t *words) {
  const philox_lanes zero = {0};
  philox_lanes c[4][PHILOX_CHAINS];
  for (int i = 0; i < PHILOX_CHAINS; i++) {
    philox_lanes block = zero + (first + (uint64_t)(i * PHILOX_LANES));
    for (int j = 0; j < PHILOX_LANES; j++)
      block[j] += (uint64_t)j;
    c[0][i] = block;
    c[1][i] = block >> 32;
    c[2][i] = c[3][i] = zero;
  }
  philox_rounds(c, key0, key1);
  for (int i = 0; i < PHILOX_CHAINS; i++) {
    uint64_t pair[2][PHILOX_LANES]; /* words 0 and 1, words 2 and 3: in memory the low half comes first */
    philox_lanes low = (c[0][i] & (uint64_t)0xFFFFFFFF) | (c[1][i] << 32);
    philox_lanes high = (c[2][i] & (uint64_t)0xFFFFFFFF) | (c[3][i] << 32);
    memcpy(pair[0], &low, PHILOX_BYTES);
    memcpy(pair[1], &high, PHILOX_BYTES);
    for (int j = 0; j < PHILOX_LANES; j++) {
      memcpy(words, &pair[0][j], 8);
      memcpy(words + 2, &pair[1][j], 8);
      words += 4;
    }
  }
}

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the words of a block are written in little-endian order"
#endif
#endif
