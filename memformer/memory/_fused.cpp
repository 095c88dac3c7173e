// Exact k-nearest-neighbour search by inner product, without writing a score to memory.
//
// Keys are packed as bfloat16, 16 keys to a row of registers. A block of queries walks them once;
// scores stay in registers and are compared with each query's threshold; the few that pass go to a
// small buffer, which is cut back when it is full. A score in bfloat16 is off by at most
// e = RELATIVE_ERROR |q| |k|, so all that lies within 2 e of the k-th best is kept, and scored again
// from the keys as stored: the pairs returned are the k best, ties to the lower slot.
//
// A C interface on raw pointers: no header of torch or Python is needed.
//
//   D head_dim, even; P = D / 2 pairs of channels; k pairs wanted; M queries of one key/value head

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <thread>
#include <utility>
#include <vector>

#if defined(__GNUC__) || defined(__clang__)
#define ALWAYS_INLINE inline __attribute__((always_inline))
#else
#define ALWAYS_INLINE inline
#endif

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define HAS_X86 1
#include <immintrin.h>
#else
#define HAS_X86 0
#endif

namespace {

constexpr int LANES = 16;        // keys in a packed block
constexpr int BLOCKS = 4;        // packed blocks scored together
constexpr int MOST_QUERIES = 6;  // queries scored together: 6 x 4 sums fill 24 of 32 registers
constexpr int BISECTIONS = 14;
constexpr int64_t TILE = 256;    // keys that stay in the first cache while all queries pass
// two roundings to 8 bits, 2^-9 each, and their product; the rest is for the sums of products
constexpr float RELATIVE_ERROR = 1.05f / 256;

// How the scores of one step are computed; `best_path` is the largest that the machine has.
enum Path : int { PORTABLE = 0, AVX2 = 1, AVX512 = 2, AVX512_BF16 = 3 };

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

// Keys, or values, as stored: consecutive slots lie in one tensor (G, n, D), tensors ascend.
struct Slabs {
  int64_t n;
  const int64_t *first, *stride;  // first slot; elements between heads
  const void* const* rows;
  bool is_bf16;
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

// Rotary positions (arXiv:2104.09864): channel p turns with channel p + D / 2. A table has cos and
// sin of each of D / 2 angles by distance, (distances, 2, D / 2); the last row serves all beyond it.
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

int count_from(const float* scores, int n, float threshold) {
  int count = 0;
  for (int i = 0; i < n; ++i) count += scores[i] >= threshold;
  return count;
}

// Keep what may be among the k best: all within the margin of the k-th best score so far, of which
// a bound from below is found by bisection: the largest threshold that at least k scores reach.
void cut(Query& q, int k) {
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

// One call: what all its threads read.
struct Task {
  int64_t G, M, D, k;
  const float* queries;  // (G, M, D)
  const int64_t *start, *stop;  // (M,)
  int64_t n_packed;
  const int64_t *packed_first, *packed_n;
  const uint16_t* const* packed_keys;  // (G, blocks, P, 16, 2) each
  Slabs slabs;
  Rotary rotary;             // packed keys are turned by their positions, `turned` by the queries'
  const int64_t* positions;  // (M,)
  const float* turned;       // (G, M, D)
  float largest;             // norm of any key
  float* scores;   // (G, M, k)
  int64_t* slots;  // (G, M, k)
};

struct Worker {
  std::vector<Query> queries;
  std::vector<uint16_t> q;  // (M, D) in bfloat16
  std::vector<std::pair<float, int64_t>> found;
};

inline void keep(Query& q, float score, int64_t slot, int64_t origin) {
  q.scores[q.n] = score;
  q.slots[q.n] = static_cast<int32_t>(slot - origin);
  ++q.n;
}

// Where one block of queries meets one stretch of BLOCKS * 16 packed keys.
struct Step {
  const uint16_t* const* q;  // N rows of D
  const uint16_t* keys;      // BLOCKS (or fewer) consecutive packed blocks
  int n_block;
  int64_t P, slot, limit, origin;  // slots of the first key and past the last, of the lowest
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
        const float a = from_bf16(s.q[i][2 * p]), c = from_bf16(s.q[i][2 * p + 1]);
        for (int j = 0; j < LANES; ++j) {
          const uint16_t* key = keys + (p * LANES + j) * 2;
          sum[j] += a * from_bf16(key[0]) + c * from_bf16(key[1]);
        }
      }
      for (int j = 0; j < LANES; ++j) {
        const int64_t slot = s.slot + b * LANES + j;
        if (sum[j] >= q.threshold && slot >= q.start && slot < std::min(q.stop, s.limit))
          keep(q, sum[j], slot, s.origin);
      }
    }
  }
}

#if HAS_X86

// ---- 512 bits -----------------------------------------------------------------------------------

#define TARGET_512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))
#define TARGET_BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")))

// A macro, for a function of one target is not inlined into one of another.
#define KEEP_512(sum, b)                                                                         \
  {                                                                                              \
    __mmask16 pass = _mm512_cmp_ps_mask(sum, _mm512_set1_ps(q.threshold), _CMP_GE_OQ);           \
    if (pass) {                                                                                  \
      const int64_t first = s.slot + (b) * LANES;                                                \
      if (!s.is_inside[i]) {                                                                     \
        const int64_t low = std::min<int64_t>(std::max<int64_t>(q.start - first, 0), LANES);     \
        const int64_t end = std::min(q.stop, s.limit) - first;                                   \
        const int64_t high = std::min<int64_t>(std::max<int64_t>(end, 0), LANES);                \
        const uint32_t seen = ((1u << high) - 1u) & ~((1u << low) - 1u);                         \
        pass &= static_cast<__mmask16>(seen);                                                    \
      }                                                                                          \
      const __m512i at = _mm512_add_epi32(_mm512_set1_epi32(static_cast<int>(first - s.origin)), \
                                          _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, \
                                                            12, 13, 14, 15));                    \
      _mm512_mask_compressstoreu_ps(q.scores.data() + q.n, pass, sum);                           \
      _mm512_mask_compressstoreu_epi32(q.slots.data() + q.n, pass, at);                          \
      q.n += __builtin_popcount(pass);                                                           \
    }                                                                                            \
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
      std::memcpy(&pair, s.q[i] + 2 * p, 4);
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
        const __m512 a = _mm512_set1_ps(from_bf16(s.q[i][2 * p]));
        const __m512 c = _mm512_set1_ps(from_bf16(s.q[i][2 * p + 1]));
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
        const __m256 a = _mm256_set1_ps(from_bf16(s.q[i][2 * p]));
        const __m256 c = _mm256_set1_ps(from_bf16(s.q[i][2 * p + 1]));
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
        if (slot >= q.start && slot < std::min(q.stop, s.limit)) keep(q, row[j], slot, s.origin);
      }
    }
  }
}

#endif  // HAS_X86

using StepOf = void (*)(const Step&);

template <int N>
StepOf step_of(Path path) {
#if HAS_X86
  if (path == AVX512_BF16) return step_bf16<N>;
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
  if (has_512 && __builtin_cpu_supports("avx512bf16")) return AVX512_BF16;
  if (has_512) return AVX512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return AVX2;
#endif
  return PORTABLE;
}

inline float to_float(float x) { return x; }
inline float to_float(uint16_t x) { return from_bf16(x); }

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

float inner_at(const Slabs& t, int64_t g, int64_t slot, const float* q, const float* turn) {
  const auto [slab, at] = row_of(t, g, slot);
  if (turn)
    return t.is_bf16
               ? turned_inner(q, static_cast<const uint16_t*>(t.rows[slab]) + at, turn, t.D / 2)
               : turned_inner(q, static_cast<const float*>(t.rows[slab]) + at, turn, t.D / 2);
  return t.is_bf16 ? inner(q, static_cast<const uint16_t*>(t.rows[slab]) + at, t.D)
                   : inner(q, static_cast<const float*>(t.rows[slab]) + at, t.D);
}

// The k best of a query's candidates, by their keys as stored.
void answer(const Task& t, int64_t g, int64_t m, Query& query, int64_t origin, Worker& w) {
  cut(query, static_cast<int>(t.k));
  const float* q = t.queries + (g * t.M + m) * t.D;
  w.found.clear();
  for (int i = 0; i < query.n; ++i) {
    const int64_t slot = query.slots[i] + origin;
    const float* turn =
        t.rotary.table ? turn_at(t.rotary, t.positions[m], slot, t.D) : nullptr;
    w.found.emplace_back(-inner_at(t.slabs, g, slot, q, turn), slot);  // the smaller is the better
  }
  const int64_t n = std::min<int64_t>(t.k, static_cast<int64_t>(w.found.size()));
  std::partial_sort(w.found.begin(), w.found.begin() + n, w.found.end());
  const int64_t at = (g * t.M + m) * t.k;
  for (int64_t i = 0; i < t.k; ++i) {
    t.scores[at + i] = i < n ? -w.found[i].first : -std::numeric_limits<float>::infinity();
    t.slots[at + i] = i < n ? w.found[i].second : -1;
  }
}

// Queries [first, last) of head g.
void search_part(const Task& t, Path path, int64_t g, int64_t first, int64_t last, Worker& w) {
  const int64_t n = last - first, P = t.D / 2;
  const int64_t origin = t.n_packed ? t.packed_first[0] : 0;
  w.q.resize(n * t.D);
  if (static_cast<int64_t>(w.queries.size()) < n) w.queries.resize(n);
  const size_t room = std::max<size_t>(3 * t.k, 64) + BLOCKS * LANES;
  int64_t lowest = std::numeric_limits<int64_t>::max(), highest = 0;
  for (int64_t m = 0; m < n; ++m) {
    const float* row = (t.rotary.table ? t.turned : t.queries) + (g * t.M + first + m) * t.D;
    double norm = 0;  // the square of a small float underflows
    for (int64_t d = 0; d < t.D; ++d) {
      w.q[m * t.D + d] = to_bf16(row[d]);
      norm += static_cast<double>(row[d]) * row[d];
    }
    Query& q = w.queries[m];
    q.start = t.start[first + m];
    q.stop = t.stop[first + m];
    q.threshold = -std::numeric_limits<float>::infinity();
    const double error = RELATIVE_ERROR * std::sqrt(norm) * t.largest;
    // products below the least normal float may be flushed to zero
    q.margin = static_cast<float>(2 * (error + t.D * std::numeric_limits<float>::min()));
    q.n = 0;
    if (q.scores.size() < room) {
      q.scores.resize(room);
      q.slots.resize(room);
    }
    lowest = std::min(lowest, q.start);
    highest = std::max(highest, q.stop);
  }
  // the newest keys first: they are the likeliest, and a high threshold early saves work
  for (int64_t part = t.n_packed - 1; part >= 0; --part) {
    const uint16_t* keys = t.packed_keys[part] +
                           g * ((t.packed_n[part] + LANES - 1) / LANES) * P * 2 * LANES;
    const int64_t from = t.packed_first[part], n_key = t.packed_n[part];
    for (int64_t tile = (n_key - 1) / TILE * TILE; tile >= 0; tile -= TILE) {
      const int64_t end = std::min(tile + TILE, n_key);
      if (from + end <= lowest || from + tile >= highest) continue;
      for (int64_t m = 0; m < n; m += MOST_QUERIES) {
        const int n_query = static_cast<int>(std::min<int64_t>(MOST_QUERIES, n - m));
        const uint16_t* rows[MOST_QUERIES];
        Query* queries[MOST_QUERIES];
        for (int i = 0; i < n_query; ++i) {
          rows[i] = w.q.data() + (m + i) * t.D;
          queries[i] = &w.queries[m + i];
        }
        const StepOf step = step_for(path, n_query);
        for (int64_t at = tile; at < end; at += BLOCKS * LANES) {
          const int64_t stop = std::min(at + BLOCKS * LANES, end);
          const int64_t slot = from + at;
          bool is_inside[MOST_QUERIES], is_seen = false;
          for (int i = 0; i < n_query; ++i) {
            Query& q = *queries[i];
            is_inside[i] = q.start <= slot && from + stop <= q.stop && (stop - at) % LANES == 0;
            is_seen |= q.start < from + stop && slot < q.stop;
            if (q.n + BLOCKS * LANES > static_cast<int64_t>(q.scores.size()))
              cut(q, static_cast<int>(t.k));
          }
          if (!is_seen) continue;
          step({rows, keys + at * P * 2, static_cast<int>((stop - at + LANES - 1) / LANES), P, slot,
                from + stop, origin, queries, is_inside});
        }
      }
    }
  }
  for (int64_t m = 0; m < n; ++m) answer(t, g, first + m, w.queries[m], origin, w);
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
    const T* row = static_cast<const T*>(t.rows[slab]) + at;
    out[i] = r.table ? turned_inner(a, row, turn_at(r, position, slots[i], t.D), t.D / 2)
                     : inner(a, row, t.D);
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
    const float weight = a[i];
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

ALWAYS_INLINE void take_row(const Rows& r, int64_t row) {
  const int64_t g = row / r.M, wide = r.slabs.D;
  const float* a = r.a + row * (r.is_sum ? r.k : wide);
  float* out = r.out + row * (r.is_sum ? wide : r.k);
  const int64_t* slots = r.slots + row * r.k;
  const Slabs& t = r.slabs;
  const int64_t at = r.rotary.table ? r.positions[row % r.M] : 0;
  if (r.is_sum && t.is_bf16) sum_of<uint16_t>(t, g, a, slots, r.k, r.rotary, at, out);
  else if (r.is_sum) sum_of<float>(t, g, a, slots, r.k, r.rotary, at, out);
  else if (t.is_bf16) inner_of<uint16_t>(t, g, a, slots, r.k, r.rotary, at, out);
  else inner_of<float>(t, g, a, slots, r.k, r.rotary, at, out);
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

// Work on parts 0 ... n - 1 by up to n_thread threads, each with what `make` gives it.
template <typename Make>
void in_threads(int64_t n_thread, int64_t n, const Make& make) {
  std::atomic<int64_t> next{0};
  const auto run = [&] {
    auto work = make();
    for (int64_t part; (part = next.fetch_add(1)) < n;) work(part);
  };
  std::vector<std::thread> threads;
  for (int64_t i = 1; i < std::min(n_thread, n); ++i) threads.emplace_back(run);
  run();
  for (auto& thread : threads) thread.join();
}

}  // namespace

extern "C" {

// Raised with every change of what a call below is given or does; fused.py names the one it speaks.
int memformer_abi() { return 1; }

// The best path that this machine has, 0 to 3.
int memformer_best_path() { return best_path(); }

// Keys of one head, n rows of D from `keys` on -> (ceil(n / 16), D / 2, 16, 2) bfloat16, zeros at
// the end. Turned by cos and sin (n, 2, D / 2) if given. Returns the largest norm of a key.
float memformer_pack(const void* keys, int is_bf16, int64_t n, int64_t D, const float* turn,
                     uint16_t* out) {
  std::vector<float> key(D);
  const int64_t P = D / 2, n_block = (n + LANES - 1) / LANES;
  double largest = 0;
  for (int64_t block = 0; block < n_block; ++block) {
    uint16_t* to = out + block * P * 2 * LANES;
    for (int j = 0; j < LANES; ++j) {
      const int64_t row = block * LANES + j;
      double norm = 0;
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
      for (int64_t d = 0; d < D; ++d) to[((d / 2) * LANES + j) * 2 + d % 2] = to_bf16(key[d]);
      largest = std::max(largest, norm);
    }
  }
  return static_cast<float>(std::sqrt(largest));
}

// The k best slots of each query within its bounds, best first, ties to the lower slot; score -inf
// and slot -1 where there are fewer. Packed stretches and slabs ascend; slabs cover the stretches.
// With a table of turns (see Rotary), scores are those of each key at its distance from its query:
// then packed keys and `turned` are turned by their positions, `queries` are not.
void memformer_search(int path, int n_thread, int64_t G, int64_t M, int64_t D, int64_t k,
                      const float* queries, const int64_t* start, const int64_t* stop,
                      int64_t n_packed, const int64_t* packed_first, const int64_t* packed_n,
                      const uint16_t* const* packed_keys, int64_t n_slab,
                      const int64_t* slab_first, const int64_t* slab_stride,
                      const void* const* slab_keys, int is_bf16, float largest,
                      const float* table, int64_t n_table, int64_t shift,
                      const int64_t* positions, const float* turned, float* scores,
                      int64_t* slots) {
  const Task task{G, M, D, k, queries, start, stop, n_packed, packed_first, packed_n, packed_keys,
                  {n_slab, slab_first, slab_stride, slab_keys, is_bf16 != 0, D},
                  {table, n_table, shift}, positions, turned, largest, scores, slots};
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
// distance from its position to the slot's, or the row is turned back: each is the other's gradient.
void memformer_take(int path, int n_thread, int is_sum, int64_t G, int64_t M, int64_t D, int64_t k,
                    const float* a, const int64_t* slots, int64_t n_slab,
                    const int64_t* slab_first, const int64_t* slab_stride,
                    const void* const* slab_rows, int is_bf16, const float* table, int64_t n_table,
                    int64_t shift, const int64_t* positions, float* out) {
  const Rows rows{{n_slab, slab_first, slab_stride, slab_rows, is_bf16 != 0, D},
                  M, k, is_sum != 0, a, slots, {table, n_table, shift}, positions, out};
  const int64_t n = G * M, size = std::max<int64_t>(64, n / (4 * n_thread) + 1);
  in_threads(n_thread, (n + size - 1) / size, [&] {
    return [&](int64_t part) {
      take(rows, static_cast<Path>(path), part * size, std::min(n, (part + 1) * size));
    };
  });
}

}  // extern "C"
