// Exact k-nearest-neighbour search by inner product, without writing a score to memory.
//
// Keys are packed as bfloat16, 16 keys to a row of registers. A block of queries walks them once;
// scores stay in registers and are compared with each query's threshold; the few that pass go to a
// small buffer, which is cut back when it is full. With q', k' the vectors rounded, a score is off
// by at most e = |q - q'| |k| + |q'| |k - k'|, which are known, and what sums in float32 lose. So
// all that lies within 2 e of the k-th best is kept, and scored again from the keys as stored: the
// pairs returned are the k best, ties to the lower slot.
//
// A C interface on raw pointers: no header of torch or Python is needed.
//
//   D head_dim, even; P = D / 2 pairs of channels; k pairs wanted; M queries of one key/value head

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#if defined(__GNUC__) || defined(__clang__)
#define ALWAYS_INLINE inline __attribute__((always_inline))
#else
#define ALWAYS_INLINE inline
#endif

#include "_threads.h"
#include "_tiles.h"

namespace {

constexpr int LANES = 16;        // keys in a packed block
constexpr int BLOCKS = 4;        // packed blocks scored together
constexpr int MOST_QUERIES = 6;  // queries scored together: 6 x 4 sums fill 24 of 32 registers
constexpr int TILE_QUERIES = 32;  // queries scored together in tiles: two tiles of 16
constexpr int BISECTIONS = 14;
constexpr int64_t TILE = 256;    // keys that stay in the first cache while all queries pass

// How the scores of one step are computed; `best_path` is the largest that the machine has.
enum Path : int { PORTABLE = 0, AVX2 = 1, AVX512 = 2, AVX512_BF16 = 3, AMX = 4 };

uint16_t to_bf16(float x) {  // to the nearest, ties to even; keys are finite
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

float from_bf16(uint16_t x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float y;
  std::memcpy(&y, &bits, 4);
  return y;
}

// What a number of a row is stored as; of int8, each row has a float32 scale.
enum Kind : int { F32 = 0, BF16 = 1, INT8 = 2 };

// Keys, or values, as stored: consecutive slots lie in one tensor (G, n, D), tensors ascend.
struct Slabs {
  int64_t n;
  const int64_t *first, *stride;  // first slot; elements between heads
  const void* const* rows;
  const float* const* scales;  // (G, n) each, as far apart as the rows; none but of int8
  Kind kind;
  int64_t D;
};

// The row of a slot, which the slabs hold, as its slab and the element it begins at.
inline std::pair<int64_t, int64_t> row_of(const Slabs& t, int64_t g, int64_t slot) {
  int64_t slab = 0;
  for (int64_t high = t.n; high - slab > 1;) {
    const int64_t middle = (slab + high) / 2;
    (t.first[middle] <= slot ? slab : high) = middle;
  }
  return {slab, g * t.stride[slab] + (slot - t.first[slab]) * t.D};
}

// Rows lie far apart: asked for some steps before they are read, they come while others are read.
constexpr int64_t AHEAD = 8;
constexpr int64_t BYTES_OF[] = {4, 2, 1};  // by Kind

ALWAYS_INLINE void ask_for_row(const Slabs& t, int64_t g, int64_t slot) {
#if defined(__GNUC__) || defined(__clang__)
  const auto [slab, at] = row_of(t, g, slot);
  const char* row = static_cast<const char*>(t.rows[slab]) + at * BYTES_OF[t.kind];
  for (int64_t i = 0; i < t.D * BYTES_OF[t.kind]; i += 64) __builtin_prefetch(row + i);
#endif
}

// What the row at an element of a slab is multiplied by.
inline float scale_of(const Slabs& t, int64_t slab, int64_t at) {
  return t.kind == INT8 ? t.scales[slab][at / t.D] : 1.0f;
}

// Rotary positions (arXiv:2104.09864): channel p turns with channel p + D / 2. A table has cos and
// sin of each of D / 2 angles by distance, (distances, 2, D / 2); the last row serves all beyond.
struct Rotary {
  const float* table;  // none: keys are compared as stored
  int64_t n, shift;    // rows; the key of a slot stands at position slot + shift
};

inline const float* turn_at(const Rotary& r, int64_t position, int64_t slot, int64_t D) {
  const int64_t distance = position - (slot + r.shift);
  return r.table + std::min(std::max<int64_t>(distance, 0), r.n - 1) * D;
}

struct Query {
  int64_t start, stop;
  float threshold, margin;
  int n = 0;
  std::vector<float> scores;
  std::vector<int32_t> slots;  // counted from the lowest slot of the search
};

ALWAYS_INLINE int count_from(const float* scores, int n, float threshold) {
  int count = 0;
  for (int i = 0; i < n; ++i) count += scores[i] >= threshold;
  return count;
}

// Keep what may be among the k best: all within the margin of the k-th best score so far, of which
// a bound from below is found by bisection: the largest threshold that at least k scores reach.
ALWAYS_INLINE void cut_inline(Query& q, int k) {
  if (q.n > k) {
    const float* scores = q.scores.data();
    float low = scores[0], high = scores[0];
    for (int i = 1; i < q.n; ++i) {
      low = std::min(low, scores[i]);
      high = std::max(high, scores[i]);
    }
    low = std::max(low, q.threshold);  // all that are held reached it
    for (int i = 0; i < BISECTIONS && low < high; ++i) {
      const float middle = low + (high - low) / 2;
      const int count = count_from(scores, q.n, middle);
      (count >= k ? low : high) = middle;
      if (count >= k && count <= k + k / 8) break;
    }
    q.threshold = std::max(q.threshold, low - q.margin);
    int kept = 0;
    for (int i = 0; i < q.n; ++i) {
      q.scores[kept] = q.scores[i];
      q.slots[kept] = q.slots[i];
      kept += q.scores[i] >= q.threshold;
    }
    q.n = kept;
  }
  const size_t room = q.scores.size();
  if (static_cast<size_t>(q.n) * 2 > room) {  // ties, or a wide margin: never drop a candidate
    q.scores.resize(room * 2);
    q.slots.resize(room * 2);
  }
}

void cut(Query& q, int k) { cut_inline(q, k); }

// Before anything is kept there is room for a whole block; afterwards again.
inline bool is_full(const Query& q) {
  return q.n + 2 * LANES > static_cast<int64_t>(q.scores.size());
}

// One call: what all its threads read.
struct Task {
  int64_t G, M, D, k;
  const float* queries;  // (G, M, D)
  const int64_t *start, *stop;  // (M,)
  int64_t n_packed;
  const int64_t *packed_first, *packed_n;
  const uint16_t* const* packed_keys;  // (G, blocks, P, 16, 2) each
  int64_t n_loose;  // stretches that are not packed: scored as stored
  const int64_t *loose_first, *loose_stop;
  Slabs slabs;
  Rotary rotary;             // packed keys are turned by their positions, `turned` by the queries'
  const int64_t* positions;  // (M,)
  const float* turned;       // (G, M, D)
  float largest, rounded;    // norms of any key, and of what rounding took from any key
  float* scores;   // (G, M, k)
  int64_t* slots;  // (G, M, k)
};

struct Worker {
  std::vector<Query> queries;
  std::vector<uint16_t> q;  // (M, D) in bfloat16
  std::vector<uint64_t> ranks;
};

inline void keep(Query& q, float score, int64_t slot, int64_t origin, int k) {
  q.scores[q.n] = score;
  q.slots[q.n] = static_cast<int32_t>(slot - origin);
  ++q.n;
  if (is_full(q)) cut(q, k);
}

// Where one block of queries meets one stretch of BLOCKS * 16 packed keys.
struct Step {
  const uint16_t* q;         // N rows of D
  const uint16_t* keys;      // BLOCKS (or fewer) consecutive packed blocks
  int n_block;
  int64_t P, slot, limit, origin;  // slots of the first key and past the last, of the lowest
  int k;
  Query* const* queries;
  const bool* is_inside;  // the query may see every one of these keys
};

// ---- portable -----------------------------------------------------------------------------------

template <int N>
void step_portable(const Step& s) {
  for (int i = 0; i < N; ++i) {
    Query& q = *s.queries[i];
    for (int b = 0; b < s.n_block; ++b) {
      const uint16_t* keys = s.keys + b * s.P * 2 * LANES;
      float sum[LANES] = {};
      for (int64_t p = 0; p < s.P; ++p) {
        const uint16_t* both = s.q + (i * s.P + p) * 2;
        const float a = from_bf16(both[0]), c = from_bf16(both[1]);
        for (int j = 0; j < LANES; ++j) {
          const uint16_t* key = keys + (p * LANES + j) * 2;
          sum[j] += a * from_bf16(key[0]) + c * from_bf16(key[1]);
        }
      }
      for (int j = 0; j < LANES; ++j) {
        const int64_t slot = s.slot + b * LANES + j;
        if (sum[j] >= q.threshold && slot >= q.start && slot < std::min(q.stop, s.limit))
          keep(q, sum[j], slot, s.origin, s.k);
      }
    }
  }
}

#if HAS_X86

// ---- 512 bits -----------------------------------------------------------------------------------

#define TARGET_512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))
#define TARGET_BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")))

TARGET_512 void cut_512(Query& q, int k) { cut_inline(q, k); }

// Keys of [first, first + 16) that a query sees: its bounds and the end of the stretch.
inline uint32_t seen_of(const Query& q, int64_t first, int64_t limit) {
  const int64_t low = std::min<int64_t>(std::max<int64_t>(q.start - first, 0), LANES);
  const int64_t high =
      std::min<int64_t>(std::max<int64_t>(std::min(q.stop, limit) - first, 0), LANES);
  return ((1u << high) - 1u) & ~((1u << low) - 1u);
}

// A vector of scores that is known to hold one above the threshold. Compressed in registers: stores
// that compress are slow on some processors.
TARGET_512 __attribute__((noinline)) void keep_512(Query& q, __m512 sum, __mmask16 pass, int first,
                                                   int k) {
  const __m512i at = _mm512_add_epi32(
      _mm512_set1_epi32(first),
      _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
  _mm512_storeu_ps(q.scores.data() + q.n, _mm512_maskz_compress_ps(pass, sum));
  _mm512_storeu_si512(q.slots.data() + q.n, _mm512_maskz_compress_epi32(pass, at));
  q.n += __builtin_popcount(pass);
  if (is_full(q)) cut_512(q, k);
}

// A macro, for a function of one target is not inlined into one of another.
#define KEEP_512(sum, b)                                                               \
  {                                                                                    \
    __mmask16 pass = _mm512_cmp_ps_mask(sum, _mm512_set1_ps(q.threshold), _CMP_GE_OQ); \
    if (pass) {                                                                        \
      const int64_t first = s.slot + (b) * LANES;                                      \
      if (!s.is_inside[i]) pass &= static_cast<__mmask16>(seen_of(q, first, s.limit)); \
      if (pass) keep_512(q, sum, pass, static_cast<int>(first - s.origin), s.k);       \
    }                                                                                  \
  }

template <int N, int B>
TARGET_BF16 void step_bf16_of(const Step& s) {
  __m512 sum[N][B];
  for (int i = 0; i < N; ++i)
    for (int b = 0; b < B; ++b) sum[i][b] = _mm512_setzero_ps();
  const uint16_t* keys = s.keys;
  for (int64_t p = 0; p < s.P; ++p, keys += 2 * LANES) {
    __m512bh key[B];
    for (int b = 0; b < B; ++b)
      key[b] = (__m512bh)_mm512_loadu_si512(keys + b * s.P * 2 * LANES);
    for (int i = 0; i < N; ++i) {
      int32_t pair;
      std::memcpy(&pair, s.q + (i * s.P + p) * 2, 4);
      const __m512bh both = (__m512bh)_mm512_set1_epi32(pair);
      for (int b = 0; b < B; ++b) sum[i][b] = _mm512_dpbf16_ps(sum[i][b], key[b], both);
    }
  }
  for (int i = 0; i < N; ++i) {
    Query& q = *s.queries[i];
    for (int b = 0; b < B; ++b) KEEP_512(sum[i][b], b)
  }
}

template <int N>
TARGET_BF16 void step_bf16(const Step& s) {
  if (s.n_block == BLOCKS) return step_bf16_of<N, BLOCKS>(s);
  for (int b = 0; b < s.n_block; ++b) {
    Step one = s;
    one.keys = s.keys + b * s.P * 2 * LANES;
    one.slot = s.slot + b * LANES;
    step_bf16_of<N, 1>(one);
  }
}

template <int N>
TARGET_512 void step_512(const Step& s) {
  const __m512i high = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
  for (int b = 0; b < s.n_block; ++b) {
    __m512 sum[N];
    for (int i = 0; i < N; ++i) sum[i] = _mm512_setzero_ps();
    const uint16_t* keys = s.keys + b * s.P * 2 * LANES;
    for (int64_t p = 0; p < s.P; ++p) {
      const __m512i both = _mm512_loadu_si512(keys + p * 2 * LANES);
      const __m512 even = _mm512_castsi512_ps(_mm512_slli_epi32(both, 16));
      const __m512 odd = _mm512_castsi512_ps(_mm512_and_si512(both, high));
      for (int i = 0; i < N; ++i) {
        const __m512 a = _mm512_set1_ps(from_bf16(s.q[(i * s.P + p) * 2]));
        const __m512 c = _mm512_set1_ps(from_bf16(s.q[(i * s.P + p) * 2 + 1]));
        sum[i] = _mm512_fmadd_ps(odd, c, _mm512_fmadd_ps(even, a, sum[i]));
      }
    }
    for (int i = 0; i < N; ++i) {
      Query& q = *s.queries[i];
      KEEP_512(sum[i], b)
    }
  }
}

// ---- 256 bits -----------------------------------------------------------------------------------

template <int N>
__attribute__((target("avx2,fma"))) void step_avx2(const Step& s) {
  const __m256i high = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
  for (int half = 0; half < 2 * s.n_block; ++half) {  // 8 keys
    __m256 sum[N];
    for (int i = 0; i < N; ++i) sum[i] = _mm256_setzero_ps();
    const uint16_t* keys = s.keys + (half / 2) * s.P * 2 * LANES + (half % 2) * LANES;
    for (int64_t p = 0; p < s.P; ++p) {
      const __m256i both =
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(keys + p * 2 * LANES));
      const __m256 even = _mm256_castsi256_ps(_mm256_slli_epi32(both, 16));
      const __m256 odd = _mm256_castsi256_ps(_mm256_and_si256(both, high));
      for (int i = 0; i < N; ++i) {
        const __m256 a = _mm256_set1_ps(from_bf16(s.q[(i * s.P + p) * 2]));
        const __m256 c = _mm256_set1_ps(from_bf16(s.q[(i * s.P + p) * 2 + 1]));
        sum[i] = _mm256_fmadd_ps(odd, c, _mm256_fmadd_ps(even, a, sum[i]));
      }
    }
    for (int i = 0; i < N; ++i) {
      Query& q = *s.queries[i];
      int pass = _mm256_movemask_ps(
          _mm256_cmp_ps(sum[i], _mm256_set1_ps(q.threshold), _CMP_GE_OQ));
      if (pass == 0) continue;
      float row[8];
      _mm256_storeu_ps(row, sum[i]);
      for (; pass; pass &= pass - 1) {
        const int j = __builtin_ctz(pass);
        const int64_t slot = s.slot + half * 8 + j;
        if (slot >= q.start && slot < std::min(q.stop, s.limit))
          keep(q, row[j], slot, s.origin, s.k);
      }
    }
  }
}

#endif  // HAS_X86

#if HAS_TILES

// ---- tiles --------------------------------------------------------------------------------------

constexpr int TILE_PAIRS = 16;  // channels of a tile, in pairs

// The first `n_query` of 32 queries, the rest are zeros. P is a multiple of 16.
TARGET_AMX void step_tiles(const Step& s, int n_query) {
  alignas(64) float sums[TILE_QUERIES][2 * LANES];
  const int64_t D = 2 * s.P, block = s.P * 2 * LANES;
  const uint16_t* q = s.q;
  for (int b = 0; b < s.n_block; b += 2) {
    const bool is_pair = b + 1 < s.n_block;
    const uint16_t* one = s.keys + b * block;
    const uint16_t* two = is_pair ? one + block : one;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t p = 0; p < s.P; p += TILE_PAIRS) {
      _tile_loadd(4, q + 2 * p, D * 2);
      _tile_loadd(6, one + p * 2 * LANES, 64);
      _tile_loadd(7, two + p * 2 * LANES, 64);
      _tile_loadd(5, q + 16 * D + 2 * p, D * 2);
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, &sums[0][0], sizeof(sums[0]));
    _tile_stored(1, &sums[0][LANES], sizeof(sums[0]));
    _tile_stored(2, &sums[16][0], sizeof(sums[0]));
    _tile_stored(3, &sums[16][LANES], sizeof(sums[0]));
    const int64_t first = s.slot + b * LANES;
    for (int i = 0; i < n_query; ++i) {
      Query& query = *s.queries[i];
      const __m512 threshold = _mm512_set1_ps(query.threshold);
      const __m512 low = _mm512_load_ps(sums[i]), high = _mm512_load_ps(sums[i] + LANES);
      __mmask16 pass = _mm512_cmp_ps_mask(low, threshold, _CMP_GE_OQ);
      __mmask16 other = _mm512_cmp_ps_mask(high, threshold, _CMP_GE_OQ);
      if (_mm512_kortestz(pass, other)) continue;
      if (!s.is_inside[i]) {
        pass &= static_cast<__mmask16>(seen_of(query, first, s.limit));
        other &= static_cast<__mmask16>(seen_of(query, first + LANES, s.limit));
      }
      const int at = static_cast<int>(first - s.origin);
      if (pass) keep_512(query, low, pass, at, s.k);
      if (other && is_pair) keep_512(query, high, other, at + LANES, s.k);
    }
  }
}

#endif  // HAS_TILES

using StepOf = void (*)(const Step&);

template <int N>
StepOf step_of(Path path) {
#if HAS_X86
  if (path >= AVX512_BF16) return step_bf16<N>;
  if (path == AVX512) return step_512<N>;
  if (path == AVX2) return step_avx2<N>;
#endif
  return step_portable<N>;
}

StepOf step_for(Path path, int n_query) {
  switch (n_query) {
    case 1: return step_of<1>(path);
    case 2: return step_of<2>(path);
    case 3: return step_of<3>(path);
    case 4: return step_of<4>(path);
    case 5: return step_of<5>(path);
    default: return step_of<MOST_QUERIES>(path);
  }
}

Path best_path() {
#if HAS_X86
  __builtin_cpu_init();
  const bool has_512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                       __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  const bool has_bf16 = has_512 && __builtin_cpu_supports("avx512bf16");
#if HAS_TILES
  static const bool has_tiles = has_bf16 && may_use_tiles();
  if (has_tiles) return AMX;
#endif
  if (has_bf16) return AVX512_BF16;
  if (has_512) return AVX512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return AVX2;
#endif
  return PORTABLE;
}

inline float to_float(float x) { return x; }
inline float to_float(uint16_t x) { return from_bf16(x); }
inline float to_float(int8_t x) { return x; }

template <typename T>
ALWAYS_INLINE float inner(const float* q, const T* row, int64_t D) {
  float sum[LANES] = {};
  int64_t d = 0;
  for (; d + LANES <= D; d += LANES)
    for (int j = 0; j < LANES; ++j) sum[j] += q[d + j] * to_float(row[d + j]);
  for (; d < D; ++d) sum[d % LANES] += q[d] * to_float(row[d]);
  for (int width = LANES / 2; width; width /= 2)
    for (int j = 0; j < width; ++j) sum[j] += sum[j + width];
  return sum[0];
}

// a turned by an angle, times row.
template <typename T>
ALWAYS_INLINE float turned_inner(const float* a, const T* row, const float* turn, int64_t P) {
  float sum[LANES] = {};
  const auto one = [&](int64_t p) {
    const float x = to_float(row[p]), y = to_float(row[p + P]);
    return turn[p] * (a[p] * x + a[p + P] * y) + turn[p + P] * (a[p] * y - a[p + P] * x);
  };
  int64_t p = 0;
  for (; p + LANES <= P; p += LANES)
    for (int j = 0; j < LANES; ++j) sum[j] += one(p + j);
  for (; p < P; ++p) sum[p % LANES] += one(p);
  for (int width = LANES / 2; width; width /= 2)
    for (int j = 0; j < width; ++j) sum[j] += sum[j + width];
  return sum[0];
}

template <typename T>
ALWAYS_INLINE float inner_of_row(const Slabs& t, int64_t slab, int64_t at, const float* q,
                                 const float* turn) {
  const T* row = static_cast<const T*>(t.rows[slab]) + at;
  return turn ? turned_inner(q, row, turn, t.D / 2) : inner(q, row, t.D);
}

ALWAYS_INLINE float inner_at(const Slabs& t, int64_t g, int64_t slot, const float* q,
                             const float* turn) {
  const auto [slab, at] = row_of(t, g, slot);
  switch (t.kind) {
    case BF16: return inner_of_row<uint16_t>(t, slab, at, q, turn);
    case INT8: return scale_of(t, slab, at) * inner_of_row<int8_t>(t, slab, at, q, turn);
    default: return inner_of_row<float>(t, slab, at, q, turn);
  }
}

// Score and slot as one number: the better pair has the smaller, ties go to the lower slot.
inline uint64_t rank_of(float score, int32_t slot) {
  const float positive_zero = score + 0.0f;  // -0 ties with 0
  uint32_t bits;
  std::memcpy(&bits, &positive_zero, 4);
  bits ^= bits >> 31 ? 0xffffffffu : 0x80000000u;  // ascends with the score
  return static_cast<uint64_t>(~bits) << 32 | static_cast<uint32_t>(slot);
}

inline float score_of(uint64_t rank) {
  uint32_t bits = ~static_cast<uint32_t>(rank >> 32);
  bits ^= bits >> 31 ? 0x80000000u : 0xffffffffu;
  float score;
  std::memcpy(&score, &bits, 4);
  return score;
}

// The k best of a query's candidates, by their keys as stored.
ALWAYS_INLINE void answer_inline(const Task& t, int64_t g, int64_t m, Query& query, int64_t origin,
                                 Worker& w) {
  cut_inline(query, static_cast<int>(t.k));
  const float* q = t.queries + (g * t.M + m) * t.D;
  const int64_t n = query.n, n_found = std::min(t.k, n);
  w.ranks.resize(n);
  for (int64_t i = 0; i < std::min(n, AHEAD); ++i) ask_for_row(t.slabs, g, query.slots[i] + origin);
  for (int64_t i = 0; i < n; ++i) {
    if (i + AHEAD < n) ask_for_row(t.slabs, g, query.slots[i + AHEAD] + origin);
    const int64_t slot = query.slots[i] + origin;
    const float* turn =
        t.rotary.table ? turn_at(t.rotary, t.positions[m], slot, t.D) : nullptr;
    w.ranks[i] = rank_of(inner_at(t.slabs, g, slot, q, turn), query.slots[i]);
  }
  const int64_t at = (g * t.M + m) * t.k;
  uint64_t* ranks = w.ranks.data();
  const auto put = [&](int64_t place, uint64_t rank) {
    t.scores[at + place] = score_of(rank);
    t.slots[at + place] = static_cast<int64_t>(rank & 0xffffffffu) + origin;
  };
  if (n > 8 * LANES) {
    std::partial_sort(ranks, ranks + n_found, ranks + n);
    for (int64_t i = 0; i < n_found; ++i) put(i, ranks[i]);
  } else {
    for (int64_t i = 0; i < n; ++i) {  // few: counting the better ones is quicker than sorting
      int64_t place = 0;
      for (int64_t j = 0; j < n; ++j) place += ranks[j] < ranks[i];
      if (place < t.k) put(place, ranks[i]);
    }
  }
  for (int64_t i = n_found; i < t.k; ++i) {
    t.scores[at + i] = -std::numeric_limits<float>::infinity();
    t.slots[at + i] = -1;
  }
}

void answer(const Task& t, int64_t g, int64_t m, Query& query, int64_t origin, Worker& w) {
  answer_inline(t, g, m, query, origin, w);
}

#if HAS_X86
TARGET_512 void answer_512(const Task& t, int64_t g, int64_t m, Query& query, int64_t origin,
                           Worker& w) {
  answer_inline(t, g, m, query, origin, w);
}
#endif

// Queries [first, last) of head g.
void search_part(const Task& t, Path path, int64_t g, int64_t first, int64_t last, Worker& w) {
  const int64_t n = last - first, P = t.D / 2;
  const int64_t origin = t.slabs.first[0];
#if HAS_TILES
  // tiles are whole: few queries, or other widths, are quicker or only possible without
  const bool has_tiles = path == AMX && P % TILE_PAIRS == 0 && n > MOST_QUERIES;
  const int64_t most = has_tiles ? TILE_QUERIES : MOST_QUERIES;
#else
  const bool has_tiles = false;
  const int64_t most = MOST_QUERIES;
#endif
  w.q.assign((n + most - 1) / most * most * t.D, 0);
  if (static_cast<int64_t>(w.queries.size()) < n) w.queries.resize(n);
  const size_t room = std::max<size_t>(3 * t.k, 64) + BLOCKS * LANES;
  int64_t lowest = std::numeric_limits<int64_t>::max(), highest = 0;
  for (int64_t m = 0; m < n; ++m) {
    const float* row = (t.rotary.table ? t.turned : t.queries) + (g * t.M + first + m) * t.D;
    double norm = 0, lost = 0;  // the square of a small float underflows
    for (int64_t d = 0; d < t.D; ++d) {
      const uint16_t narrow = to_bf16(row[d]);
      const double gone = static_cast<double>(row[d]) - from_bf16(narrow);
      w.q[m * t.D + d] = narrow;
      norm += static_cast<double>(row[d]) * row[d];
      lost += gone * gone;
    }
    norm = std::sqrt(norm);
    lost = std::sqrt(lost);
    Query& q = w.queries[m];
    q.start = t.start[first + m];
    q.stop = t.stop[first + m];
    q.threshold = -std::numeric_limits<float>::infinity();
    const double sums = (t.D + 16) * std::pow(2.0, -23) * norm * t.largest;
    const double error = lost * t.largest + (norm + lost) * t.rounded + sums;
    // products below the least normal float may be flushed to zero
    q.margin = static_cast<float>(2 * (error + t.D * std::numeric_limits<float>::min()));
    q.n = 0;
    if (q.scores.size() < room) {
      q.scores.resize(room);
      q.slots.resize(room);
    }
    lowest = std::min(lowest, q.start);
    highest = std::max(highest, q.stop);
    for (int64_t part = t.n_loose - 1; part >= 0; --part) {
      const float* a = t.queries + (g * t.M + first + m) * t.D;
      const int64_t from = std::max(q.start, t.loose_first[part]);
      for (int64_t slot = std::min(q.stop, t.loose_stop[part]) - 1; slot >= from; --slot) {
        const float* turn =
            t.rotary.table ? turn_at(t.rotary, t.positions[first + m], slot, t.D) : nullptr;
        const float score = inner_at(t.slabs, g, slot, a, turn);
        if (score >= q.threshold) keep(q, score, slot, origin, static_cast<int>(t.k));
      }
    }
  }
#if HAS_TILES
  if (has_tiles) begin_tiles();
#endif
  // the newest keys first: they are the likeliest, and a high threshold early saves work
  for (int64_t part = t.n_packed - 1; part >= 0; --part) {
    const int64_t from = t.packed_first[part], n_key = t.packed_n[part];
    const int64_t n_block = (n_key + LANES - 1) / LANES;
    const uint16_t* keys = t.packed_keys[part] + g * n_block * P * 2 * LANES;
    for (int64_t tile = (n_key - 1) / TILE * TILE; tile >= 0; tile -= TILE) {
      const int64_t end = std::min(tile + TILE, n_key);
      if (from + end <= lowest || from + tile >= highest) continue;
      for (int64_t m = 0; m < n; m += most) {
        const int n_query = static_cast<int>(std::min<int64_t>(most, n - m));
        Query* queries[TILE_QUERIES];
        bool is_inside[TILE_QUERIES], is_seen = false;
        for (int i = 0; i < n_query; ++i) {
          Query& q = w.queries[m + i];
          queries[i] = &q;
          is_inside[i] =
              q.start <= from + tile && from + end <= q.stop && (end - tile) % LANES == 0;
          is_seen |= q.start < from + end && from + tile < q.stop;
        }
        if (!is_seen) continue;
        const uint16_t* q = w.q.data() + m * t.D;
        Step s{q, keys + tile * P * 2, 0, P, from + tile, from + end, origin, static_cast<int>(t.k),
               queries, is_inside};
        const int n_block_here = static_cast<int>((end - tile + LANES - 1) / LANES);
#if HAS_TILES
        if (has_tiles) {
          s.n_block = n_block_here;
          step_tiles(s, n_query);
          continue;
        }
#endif
        const StepOf step = step_for(path, n_query);
        for (int b = 0; b < n_block_here; b += BLOCKS) {
          s.n_block = std::min(BLOCKS, n_block_here - b);
          step(s);
          s.keys += BLOCKS * P * 2 * LANES;
          s.slot += BLOCKS * LANES;
        }
      }
    }
  }
#if HAS_TILES
  if (has_tiles) end_tiles();
#endif
  auto* ask = answer;
#if HAS_X86
  if (path >= AVX512) ask = answer_512;
#endif
  for (int64_t m = 0; m < n; ++m) ask(t, g, first + m, w.queries[m], origin, w);
}

// ---- pairs taken by slot: each product is the other's gradient ----------------------------------

// out(m, i) = a(m) . row(slot(m, i)); 0 where the slot is -1.
template <typename T>
ALWAYS_INLINE void inner_of(const Slabs& t, int64_t g, const float* a, const int64_t* slots,
                            int64_t k, const Rotary& r, int64_t position, float* out) {
  for (int64_t i = 0; i < k; ++i) {
    out[i] = 0;
    if (slots[i] < 0) continue;
    const auto [slab, at] = row_of(t, g, slots[i]);
    const float* turn = r.table ? turn_at(r, position, slots[i], t.D) : nullptr;
    out[i] = scale_of(t, slab, at) * inner_of_row<T>(t, slab, at, a, turn);
  }
}

// out(m) = sum over i of a(m, i) row(slot(m, i)); slots of -1 are left out.
template <typename T>
ALWAYS_INLINE void sum_of(const Slabs& t, int64_t g, const float* a, const int64_t* slots,
                          int64_t k, const Rotary& r, int64_t position, float* out) {
  for (int64_t d = 0; d < t.D; ++d) out[d] = 0;
  for (int64_t i = 0; i < k; ++i) {
    if (slots[i] < 0 || a[i] == 0) continue;
    const auto [slab, at] = row_of(t, g, slots[i]);
    const T* row = static_cast<const T*>(t.rows[slab]) + at;
    const float weight = a[i] * scale_of(t, slab, at);
    if (!r.table) {
      for (int64_t d = 0; d < t.D; ++d) out[d] += weight * to_float(row[d]);
      continue;
    }
    const int64_t P = t.D / 2;
    const float* turn = turn_at(r, position, slots[i], t.D);
    for (int64_t p = 0; p < P; ++p) {  // the row turned back by the angle
      const float x = to_float(row[p]), y = to_float(row[p + P]);
      out[p] += weight * (turn[p] * x + turn[p + P] * y);
      out[p + P] += weight * (turn[p] * y - turn[p + P] * x);
    }
  }
}

struct Rows {
  Slabs slabs;
  int64_t M, k;
  bool is_sum;
  const float* a;        // (G, M, D), or (G, M, k) for sums
  const int64_t* slots;  // (G, M, k)
  Rotary rotary;
  const int64_t* positions;  // (M,)
  float* out;                // (G, M, k), or (G, M, D) for sums
};

template <typename T>
ALWAYS_INLINE void take_of(const Rows& r, int64_t g, const float* a, const int64_t* slots,
                           int64_t position, float* out) {
  if (r.is_sum) return sum_of<T>(r.slabs, g, a, slots, r.k, r.rotary, position, out);
  inner_of<T>(r.slabs, g, a, slots, r.k, r.rotary, position, out);
}

ALWAYS_INLINE void take_row(const Rows& r, int64_t row) {
  const int64_t g = row / r.M, wide = r.slabs.D;
  if (row + 1 < (g + 1) * r.M)  // the rows of the next
    for (int64_t i = 0; i < r.k; ++i)
      if (r.slots[(row + 1) * r.k + i] >= 0) ask_for_row(r.slabs, g, r.slots[(row + 1) * r.k + i]);
  const float* a = r.a + row * (r.is_sum ? r.k : wide);
  float* out = r.out + row * (r.is_sum ? wide : r.k);
  const int64_t* slots = r.slots + row * r.k;
  const Slabs& t = r.slabs;
  const int64_t at = r.rotary.table ? r.positions[row % r.M] : 0;
  switch (t.kind) {
    case BF16: return take_of<uint16_t>(r, g, a, slots, at, out);
    case INT8: return take_of<int8_t>(r, g, a, slots, at, out);
    default: return take_of<float>(r, g, a, slots, at, out);
  }
}

void take_portable(const Rows& r, int64_t first, int64_t last) {
  for (int64_t row = first; row < last; ++row) take_row(r, row);
}

#if HAS_X86
TARGET_512 void take_512(const Rows& r, int64_t first, int64_t last) {
  for (int64_t row = first; row < last; ++row) take_row(r, row);
}

__attribute__((target("avx2,fma"))) void take_avx2(const Rows& r, int64_t first, int64_t last) {
  for (int64_t row = first; row < last; ++row) take_row(r, row);
}
#endif

void take(const Rows& r, Path path, int64_t first, int64_t last) {
#if HAS_X86
  if (path >= AVX512) return take_512(r, first, last);
  if (path == AVX2) return take_avx2(r, first, last);
#endif
  take_portable(r, first, last);
}

}  // namespace

extern "C" {

// Raised with every change of what a call below is given or does; fused.py names the one it speaks.
int memformer_abi() { return 5; }

// The best path that this machine has, 0 to 4.
int memformer_best_path() { return best_path(); }

// Keys of one head, n rows of D from `keys` on -> (ceil(n / 16), D / 2, 16, 2) bfloat16, zeros at
// the end. Turned by cos and sin (n, 2, D / 2) if given. To `norms`: the largest norm of a key, and
// of what rounding took from one.
void memformer_pack(const void* keys, int is_bf16, int64_t n, int64_t D, const float* turn,
                    uint16_t* out, float* norms) {
  std::vector<float> key(D);
  const int64_t P = D / 2, n_block = (n + LANES - 1) / LANES;
  double largest = 0, rounded = 0;
  for (int64_t block = 0; block < n_block; ++block) {
    uint16_t* to = out + block * P * 2 * LANES;
    for (int j = 0; j < LANES; ++j) {
      const int64_t row = block * LANES + j;
      double norm = 0, lost = 0;
      for (int64_t d = 0; d < D; ++d) {
        key[d] = 0;
        if (row < n)
          key[d] = is_bf16 ? from_bf16(static_cast<const uint16_t*>(keys)[row * D + d])
                           : static_cast<const float*>(keys)[row * D + d];
        norm += static_cast<double>(key[d]) * key[d];
      }
      if (turn && row < n) {
        const float* angle = turn + row * D;
        for (int64_t p = 0; p < P; ++p) {
          const float x = key[p], y = key[p + P];
          key[p] = x * angle[p] - y * angle[p + P];
          key[p + P] = x * angle[p + P] + y * angle[p];
        }
      }
      for (int64_t d = 0; d < D; ++d) {
        const uint16_t narrow = to_bf16(key[d]);
        const double gone = static_cast<double>(key[d]) - from_bf16(narrow);
        to[((d / 2) * LANES + j) * 2 + d % 2] = narrow;
        lost += gone * gone;
      }
      largest = std::max(largest, norm);
      rounded = std::max(rounded, lost);
    }
  }
  norms[0] = static_cast<float>(std::sqrt(largest));
  norms[1] = static_cast<float>(std::sqrt(rounded));
}

// The k best slots of each query within its bounds, best first, ties to the lower slot; score -inf
// and slot -1 where there are fewer. Packed stretches and slabs ascend; slabs cover the stretches,
// and the loose ones, which are for few queries.
// With a table of turns (see Rotary), scores are those of each key at its distance from its query:
// then packed keys and `turned` are turned by their positions, `queries` are not.
void memformer_search(int path, int n_thread, int64_t G, int64_t M, int64_t D, int64_t k,
                      const float* queries, const int64_t* start, const int64_t* stop,
                      int64_t n_packed, const int64_t* packed_first, const int64_t* packed_n,
                      const uint16_t* const* packed_keys, int64_t n_loose,
                      const int64_t* loose_first, const int64_t* loose_stop, int64_t n_slab,
                      const int64_t* slab_first, const int64_t* slab_stride,
                      const void* const* slab_keys, const float* const* slab_scales,
                      int kind, float largest, float rounded,
                      const float* table, int64_t n_table, int64_t shift,
                      const int64_t* positions, const float* turned, float* scores,
                      int64_t* slots) {
  const Task task{G, M, D, k, queries, start, stop, n_packed, packed_first, packed_n, packed_keys,
                  n_loose, loose_first, loose_stop,
                  {n_slab, slab_first, slab_stride, slab_keys, slab_scales,
                   static_cast<Kind>(kind), D},
                  {table, n_table, shift}, positions, turned, largest, rounded, scores, slots};
  // parts of whole blocks of queries, several a thread, so that none waits long for another
  const int64_t wanted = n_thread > 1 ? (4 * n_thread + G - 1) / G : 1;
  int64_t size = (M + wanted - 1) / wanted;
  size = (size + MOST_QUERIES - 1) / MOST_QUERIES * MOST_QUERIES;
  size = std::min<int64_t>(std::max<int64_t>(size, 8 * MOST_QUERIES), 128 * MOST_QUERIES);
  const int64_t per_head = (M + size - 1) / size;
  in_threads(n_thread, G * per_head, [&] {
    return [&, worker = Worker()](int64_t part) mutable {
      const int64_t first = part % per_head * size;
      search_part(task, static_cast<Path>(path), part / per_head, first, std::min(first + size, M),
                  worker);
    };
  });
}

// Rows of slabs taken by slot. is_sum 0: a (G, M, D) -> inner products (G, M, k), 0 where the slot
// is -1. is_sum 1: a (G, M, k) -> weighted sums (G, M, D). With a table of turns a is turned by the
// distance from its position to the slot's, or the row is turned back: each is the other's
// gradient.
void memformer_take(int path, int n_thread, int is_sum, int64_t G, int64_t M, int64_t D, int64_t k,
                    const float* a, const int64_t* slots, int64_t n_slab,
                    const int64_t* slab_first, const int64_t* slab_stride,
                    const void* const* slab_rows, const float* const* slab_scales, int kind,
                    const float* table, int64_t n_table, int64_t shift, const int64_t* positions,
                    float* out) {
  const Rows rows{{n_slab, slab_first, slab_stride, slab_rows, slab_scales,
                   static_cast<Kind>(kind), D},
                  M, k, is_sum != 0, a, slots, {table, n_table, shift}, positions, out};
  const int64_t n = G * M, size = std::max<int64_t>(64, n / (4 * n_thread) + 1);
  in_threads(n_thread, (n + size - 1) / size, [&] {
    return [&](int64_t part) {
      take(rows, static_cast<Path>(path), part * size, std::min(n, (part + 1) * size));
    };
  });
}

}  // extern "C"
