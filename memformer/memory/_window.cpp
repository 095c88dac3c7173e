// Attention to a local window in bfloat16, forward and backward, by tiles: `window_part` of
// model/window.py, of which plain torch is the definition. Logits, exponentials and sums are in
// float32 and stay in the cache; weights and their gradients are rounded to bfloat16 before they are
// multiplied, as in torch (Dao et al. 2022, arXiv:2205.14135, algorithms 1 and 4).
//
// Scores are computed by columns, keys by queries, so that a vector holds 16 queries of one key: the
// largest logit, the sum and the factors of a query need nothing across a vector, and what comes out
// of one product has the layout that the next one wants.
//
// A C interface on raw pointers, as in _fused.cpp, of whose library this is a part.
//
//   B lanes, H query heads, G key/value heads, L queries, C columns, D head_dim, a multiple of 32
//   query l stands at column C - L + l and sees `window` columns up to its own, as far as held

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "_threads.h"
#include "_tiles.h"

#if HAS_TILES

namespace {

constexpr int64_t N = 32;      // queries, keys or channels of two tiles
constexpr int64_t KEYS = 128;  // keys whose gradients are summed together

// (B, heads, n, D) in bfloat16: elements between lanes, heads and rows; a row lies together.
struct Rows {
  uint16_t* at;
  int64_t lane, head, row;
  uint16_t* operator()(int64_t b, int64_t h, int64_t i) const {
    return at + b * lane + h * head + i * row;
  }
};

struct Shape {
  int64_t B, H, G, L, C, D, window;
  const int64_t* n_held;  // (B,): columns before the queries' own that are held; they stand last
  int64_t own(int64_t l) const { return C - L + l; }
  int64_t first_held(int64_t b) const { return C - L - n_held[b]; }
};

inline int64_t up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// Keys and values of one lane and head, zeros where nothing is held or past the end.
struct Packed {
  int64_t n, wide;                     // rows, a multiple of KEYS; elements between channels
  std::vector<uint16_t> rows, values;  // (n, D)
  std::vector<uint16_t> columns;       // (D, wide): of values forward, of keys backward
  void fill(const Shape& s, const Rows& k, const Rows& v, int64_t b, int64_t g, bool is_back) {
    n = up(s.C, KEYS);
    wide = n + N;  // rows of tiles fall into different sets of the cache
    rows.assign(n * s.D, 0);
    values.assign(n * s.D, 0);
    columns.resize(s.D * wide);
    for (int64_t c = std::max<int64_t>(0, s.first_held(b)); c < s.C; ++c) {
      std::memcpy(&rows[c * s.D], k(b, g, c), s.D * 2);
      std::memcpy(&values[c * s.D], v(b, g, c), s.D * 2);
    }
    const uint16_t* from = is_back ? rows.data() : values.data();
    for (int64_t c = 0; c < n; c += N)  // few cache lines at a time
      for (int64_t d = 0; d < s.D; ++d)
        for (int64_t i = c; i < c + N; ++i) columns[d * wide + i] = from[i * s.D + d];
  }
};

TARGET_AMX inline __m512i of_each_lane(int64_t step) {
  return _mm512_mullo_epi32(
      _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
      _mm512_set1_epi32(static_cast<int>(step)));
}

// The first of 16 that are there.
inline uint16_t first_of(int64_t n) {
  return static_cast<uint16_t>(n >= 16 ? 0xffff : n <= 0 ? 0 : (1 << n) - 1);
}

// Rows first ... first + 31 -> two tiles of 16 rows, channels in pairs: (2, D / 2, 16, 2).
TARGET_AMX inline void pack_across(const Shape& s, const Rows& x, int64_t b, int64_t h,
                                   int64_t first, uint16_t* out) {
  const __m512i at = of_each_lane(x.row), zero = _mm512_setzero_si512();
  for (int64_t t = 0; t < N; t += 16) {
    const __mmask16 mask = first_of(s.L - first - t);
    const uint16_t* rows = mask ? x(b, h, first + t) : x.at;
    for (int64_t p = 0; p < s.D / 2; ++p, out += 32)
      _mm512_storeu_si512(out, _mm512_mask_i32gather_epi32(zero, mask, at, rows + 2 * p, 2));
  }
}

TARGET_AMX inline __m512i widened(const uint16_t* x) {
  return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)));
}

// The same rows -> pairs of rows, (16, D, 2).
TARGET_AMX inline void pack_down(const Shape& s, const Rows& x, int64_t b, int64_t h,
                                 int64_t first, uint16_t* out) {
  const __m512i zero = _mm512_setzero_si512();
  for (int64_t l = first; l < first + N; l += 2)
    for (int64_t d = 0; d < s.D; d += 16, out += 32) {
      const __m512i even = l < s.L ? widened(x(b, h, l) + d) : zero;
      const __m512i odd = l + 1 < s.L ? widened(x(b, h, l + 1) + d) : zero;
      _mm512_storeu_si512(out, _mm512_or_si512(even, _mm512_slli_epi32(odd, 16)));
    }
}

// Queries first ... first + 31 that see column c, as bits.
inline uint32_t seen(const Shape& s, int64_t b, int64_t first, int64_t c) {
  if (c < s.first_held(b) || c >= s.C) return 0;
  const int64_t at = c - (s.C - s.L) - first;  // the column's own query, counted from the first
  const int64_t low = std::min(std::max<int64_t>(at, 0), N);
  const int64_t high = std::min(std::max<int64_t>(std::min(at + s.window, s.L - first), 0), N);
  if (low >= high) return 0;
  return static_cast<uint32_t>(((uint64_t{1} << high) - 1) & ~((uint64_t{1} << low) - 1));
}

// Of 32 columns from c on, whether all of the 32 queries see all, or none sees any.
enum Seen { NONE, SOME, ALL };
inline Seen seen_of(const Shape& s, int64_t b, int64_t first, int64_t c) {
  const int64_t last = std::min(first + N, s.L) - 1;
  if (c > s.own(last) || c + N <= std::max(s.first_held(b), s.own(first) - s.window + 1))
    return NONE;
  const bool is_all = first + N <= s.L && c + N - 1 <= s.own(first) &&
                      c >= std::max(s.first_held(b), s.own(last) - s.window + 1);
  return is_all ? ALL : SOME;
}

// exp of what is at most about 0, to some 2^-21 of itself; 0 below -87, where normal numbers end (the
// processor is slow on others); of what is no number, none.
TARGET_AMX inline __m512 exp_of(__m512 x) {
  const __mmask16 is_some = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-87.0f), _CMP_NLT_UQ);
  x = _mm512_maskz_mov_ps(is_some, x);
  const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), 0);
  __m512 f = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);  // ln 2 in two parts
  f = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), f);
  __m512 y = _mm512_set1_ps(1.0f / 720);
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(1.0f / 120));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(1.0f / 24));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(1.0f / 6));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(0.5f));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(1.0f));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(1.0f));
  return _mm512_maskz_scalef_ps(is_some, y, n);
}

TARGET_AMX inline __m256i narrow(__m512 x) { return (__m256i)_mm512_cvtneps_pbh(x); }

// Two rows of 16 -> 16 pairs.
TARGET_AMX inline __m512i interleaved(__m512 even, __m512 odd) {
  const __m512i low = _mm512_cvtepu16_epi32(narrow(even));
  return _mm512_or_si512(low, _mm512_slli_epi32(_mm512_cvtepu16_epi32(narrow(odd)), 16));
}

TARGET_AMX inline __m512 wide_of(const uint16_t* x) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(widened(x), 16));
}

// 16 channels of one query, which lie `step` floats apart, times a factor.
TARGET_AMX inline void put(const float* x, int64_t step, float factor, uint16_t* out) {
  const __m512 row = _mm512_i32gather_ps(of_each_lane(step), x, 4);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out),
                      narrow(_mm512_mul_ps(row, _mm512_set1_ps(factor))));
}

// Products of two tiles of rows with two of columns, n_step times 32 numbers further each.
// a: 32 rows, a_row elements apart; b: interleaved, of two tiles; out: 32 rows of floats.
template <bool IS_ADDED>
TARGET_AMX inline void multiply(const uint16_t* a, int64_t a_row, int64_t a_step,
                                const uint16_t* b, int64_t b_row, int64_t b_tile, int64_t b_step,
                                int64_t n_step, float* out, int64_t out_row) {
  const int64_t to = out_row * 4;
  asm volatile("" ::: "memory");  // GCC does not know that loads of tiles read what was written
  if (IS_ADDED) {
    _tile_loadd(0, out, to);
    _tile_loadd(1, out + 16, to);
    _tile_loadd(2, out + 16 * out_row, to);
    _tile_loadd(3, out + 16 * out_row + 16, to);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int64_t i = 0; i < n_step; ++i) {
    _tile_loadd(4, a + i * a_step, a_row * 2);
    _tile_loadd(6, b + i * b_step, b_row * 2);
    _tile_loadd(7, b + b_tile + i * b_step, b_row * 2);
    _tile_loadd(5, a + 16 * a_row + i * a_step, a_row * 2);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, out, to);
  _tile_stored(1, out + 16, to);
  _tile_stored(2, out + 16 * out_row, to);
  _tile_stored(3, out + 16 * out_row + 16, to);
}

// 32 keys by 32 queries: rows of keys with packed queries.
TARGET_AMX inline void scores(const Shape& s, const uint16_t* keys, const uint16_t* queries,
                              float* out) {
  multiply<false>(keys, s.D, N, queries, 32, s.D * 16, 16 * 32, s.D / N, out, N);
}

struct Forward {
  Shape s;
  Rows q, k, v, o;
  float* lse;  // (B, H, L)
  const Packed* packed;
};

struct ForwardRoom {
  std::vector<uint16_t> q, p;
  std::vector<float> s;
  alignas(64) float out[N][N];
};

// 32 queries of one head.
TARGET_AMX void forward_part(const Forward& f, int64_t b, int64_t h, int64_t first,
                             ForwardRoom& room) {
  const Shape& s = f.s;
  const Packed& x = f.packed[b * s.G + h / (s.H / s.G)];
  const int64_t n = std::min(N, s.L - first);
  const int64_t lowest = std::max(s.first_held(b), s.own(first) - s.window + 1) / N * N;
  const int64_t n_block = (s.own(first + n - 1) - lowest) / N + 1;
  room.q.resize(N * s.D);
  room.s.resize(n_block * N * N);
  room.p.resize(n_block * N * N);
  pack_across(s, f.q, b, h, first, room.q.data());
  const __m512 nothing = _mm512_set1_ps(-std::numeric_limits<float>::infinity());
  __m512 most[2] = {nothing, nothing}, sum[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
  for (int64_t i = 0; i < n_block; ++i) {
    const int64_t c = lowest + i * N;
    float* out = room.s.data() + i * N * N;
    scores(s, x.rows.data() + c * s.D, room.q.data(), out);
    const bool is_all = seen_of(s, b, first, c) == ALL;
    for (int64_t j = 0; j < N; ++j) {
      const uint32_t bits = is_all ? ~0u : seen(s, b, first, c + j);
      for (int t = 0; t < 2; ++t) {
        float* at = out + j * N + 16 * t;
        const __m512 here =
            _mm512_mask_loadu_ps(nothing, static_cast<__mmask16>(bits >> (16 * t)), at);
        if (!is_all) _mm512_storeu_ps(at, here);
        most[t] = _mm512_max_ps(most[t], here);
      }
    }
  }
  for (int t = 0; t < 2; ++t)  // queries that are none see nothing
    most[t] = _mm512_max_ps(most[t], _mm512_set1_ps(-std::numeric_limits<float>::max()));
  for (int64_t i = 0; i < n_block; ++i) {
    const float* in = room.s.data() + i * N * N;
    uint16_t* out = room.p.data() + i * N * N;
    for (int64_t j = 0; j < N; j += 2)
      for (int t = 0; t < 2; ++t) {
        const float* at = in + j * N + 16 * t;
        const __m512 even = exp_of(_mm512_sub_ps(_mm512_loadu_ps(at), most[t]));
        const __m512 odd = exp_of(_mm512_sub_ps(_mm512_loadu_ps(at + N), most[t]));
        sum[t] = _mm512_add_ps(sum[t], _mm512_add_ps(even, odd));
        _mm512_storeu_si512(out + t * 16 * 32 + j / 2 * 32, interleaved(even, odd));
      }
  }
  float part[N], logs[N];
  for (int t = 0; t < 2; ++t) {
    _mm512_storeu_ps(part + 16 * t, _mm512_div_ps(_mm512_set1_ps(1.0f), sum[t]));
    _mm512_storeu_ps(logs + 16 * t, most[t]);
  }
  for (int64_t i = 0; i < n; ++i)
    f.lse[(b * s.H + h) * s.L + first + i] = logs[i] - std::log(part[i]);
  for (int64_t d = 0; d < s.D; d += N) {
    multiply<false>(x.columns.data() + d * x.wide + lowest, x.wide, N, room.p.data(), 32, 16 * 32,
                    N * N, n_block, &room.out[0][0], N);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t e = 0; e < N; e += 16)
        put(&room.out[e][i], N, part[i], f.o(b, h, first + i) + d + e);
  }
}

struct Backward {
  Shape s;
  Rows q, k, v, o, grad_o, grad_q;
  const float *lse, *grad_lse;  // (B, H, L); of the second none, if nobody asks for it
  const Packed* packed;
  float *by_k, *by_v;  // (B, H, n, D): of each query head
};

struct BackwardRoom {
  std::vector<uint16_t> q, g, q_down, g_down;  // all queries: (groups, ...)
  std::vector<uint16_t> p, ds;                 // (KEYS, wide): rows of keys
  std::vector<float> offset, lse, by_q;        // (L', ), (L', ), (D, L')
  alignas(64) float s[N][N], dp[N][N];
  alignas(64) uint16_t down[KEYS / N][N * N];  // gradients of logits, keys in pairs
};

// What is the same for all keys: g . o less the gradient of the log of the sum.
TARGET_AMX void begin_head(const Backward& f, int64_t b, int64_t h, BackwardRoom& r) {
  const Shape& s = f.s;
  const int64_t n = up(s.L, N);
  for (auto* x : {&r.q, &r.g, &r.q_down, &r.g_down}) x->resize(n * s.D);
  r.offset.assign(n, 0);
  r.lse.assign(n, 0);
  r.by_q.assign(s.D * n, 0);
  for (int64_t first = 0; first < n; first += N) {
    pack_across(s, f.q, b, h, first, r.q.data() + first * s.D);
    pack_across(s, f.grad_o, b, h, first, r.g.data() + first * s.D);
    pack_down(s, f.q, b, h, first, r.q_down.data() + first * s.D);
    pack_down(s, f.grad_o, b, h, first, r.g_down.data() + first * s.D);
  }
  for (int64_t l = 0; l < s.L; ++l) {
    const uint16_t *g = f.grad_o(b, h, l), *o = f.o(b, h, l);
    __m512 sum = _mm512_setzero_ps();
    for (int64_t d = 0; d < s.D; d += 16) sum = _mm512_fmadd_ps(wide_of(g + d), wide_of(o + d), sum);
    const int64_t at = (b * s.H + h) * s.L + l;
    r.offset[l] = _mm512_reduce_add_ps(sum) - (f.grad_lse ? f.grad_lse[at] : 0.0f);
    r.lse[l] = f.lse[at];
  }
}

// Keys from c on, KEYS of them, with the queries of one head.
TARGET_AMX void backward_part(const Backward& f, int64_t b, int64_t h, int64_t c,
                              BackwardRoom& r) {
  const Shape& s = f.s;
  const Packed& x = f.packed[b * s.G + h / (s.H / s.G)];
  const int64_t n = up(s.L, N), end = std::min(c + KEYS, s.C);
  float* by_k = f.by_k + ((b * s.H + h) * x.n + c) * s.D;
  float* by_v = f.by_v + ((b * s.H + h) * x.n + c) * s.D;
  const int64_t low = std::max<int64_t>(0, std::max(c, s.first_held(b)) - (s.C - s.L)) / N * N;
  const int64_t high = std::min(s.L, end - 1 - (s.C - s.L) + s.window);
  if (low >= high) {
    std::memset(by_k, 0, KEYS * s.D * 4);
    std::memset(by_v, 0, KEYS * s.D * 4);
    return;
  }
  const int64_t n_group = (high - low + N - 1) / N, wide = n_group * N + N;
  r.p.resize(KEYS * wide);
  r.ds.resize(KEYS * wide);
  for (int64_t group = 0; group < n_group; ++group) {
    const int64_t first = low + group * N;
    const __m512 lse[2] = {_mm512_loadu_ps(&r.lse[first]), _mm512_loadu_ps(&r.lse[first + 16])};
    const __m512 offset[2] = {_mm512_loadu_ps(&r.offset[first]),
                              _mm512_loadu_ps(&r.offset[first + 16])};
    for (int64_t part = 0; part < KEYS / N; ++part) {
      const int64_t at = c + part * N;
      uint16_t* p = r.p.data() + part * N * wide + group * N;
      uint16_t* ds = r.ds.data() + part * N * wide + group * N;
      const Seen is_seen = seen_of(s, b, first, at);
      if (is_seen == NONE) {
        for (int64_t j = 0; j < N; ++j) {
          std::memset(p + j * wide, 0, N * 2);
          std::memset(ds + j * wide, 0, N * 2);
        }
        std::memset(r.down[part], 0, sizeof(r.down[part]));
        continue;
      }
      scores(s, x.rows.data() + at * s.D, r.q.data() + first * s.D, &r.s[0][0]);
      scores(s, x.values.data() + at * s.D, r.g.data() + first * s.D, &r.dp[0][0]);
      for (int64_t j = 0; j < N; j += 2) {
        const uint32_t bits[2] = {is_seen == ALL ? ~0u : seen(s, b, first, at + j),
                                  is_seen == ALL ? ~0u : seen(s, b, first, at + j + 1)};
        for (int t = 0; t < 2; ++t) {
          __m512 both[2];
          for (int e = 0; e < 2; ++e) {
            const __mmask16 mask = static_cast<__mmask16>(bits[e] >> (16 * t));
            const __m512 logit = _mm512_load_ps(r.s[j + e] + 16 * t);
            const __m512 weight = _mm512_maskz_mov_ps(mask, exp_of(_mm512_sub_ps(logit, lse[t])));
            const __m512 by_weight = _mm512_load_ps(r.dp[j + e] + 16 * t);
            both[e] = _mm512_maskz_mul_ps(mask, weight, _mm512_sub_ps(by_weight, offset[t]));
            const int64_t to = (j + e) * wide + 16 * t;
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + to), narrow(weight));
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(ds + to), narrow(both[e]));
          }
          _mm512_store_si512(r.down[part] + t * 16 * 32 + j / 2 * 32,
                             interleaved(both[0], both[1]));
        }
      }
    }
    for (int64_t d = 0; d < s.D; d += N)
      multiply<true>(x.columns.data() + d * x.wide + c, x.wide, N, r.down[0], 32, 16 * 32, N * N,
                     KEYS / N, &r.by_q[d * n + first], n);
  }
  for (int64_t j = 0; j < KEYS; j += N)
    for (int64_t d = 0; d < s.D; d += N) {
      const int64_t at = low * s.D + 2 * d;
      multiply<false>(r.p.data() + j * wide, wide, N, r.g_down.data() + at, 2 * s.D, 32, N * s.D,
                      n_group, by_v + j * s.D + d, s.D);
      multiply<false>(r.ds.data() + j * wide, wide, N, r.q_down.data() + at, 2 * s.D, 32, N * s.D,
                      n_group, by_k + j * s.D + d, s.D);
    }
}

TARGET_AMX void end_head(const Backward& f, int64_t b, int64_t h, const BackwardRoom& r) {
  const int64_t n = up(f.s.L, N);
  for (int64_t l = 0; l < f.s.L; ++l)
    for (int64_t d = 0; d < f.s.D; d += 16)
      put(&r.by_q[d * n + l], n, 1.0f, f.grad_q(b, h, l) + d);
}

// The sum over the query heads of one key head, in their order.
TARGET_AMX void sum_heads(const Shape& s, const float* by, int64_t n, int64_t b, int64_t g,
                          int64_t c, uint16_t* out) {
  const int64_t r = s.H / s.G;
  for (int64_t d = 0; d < s.D; d += 16) {
    __m512 sum = _mm512_setzero_ps();
    for (int64_t h = g * r; h < (g + 1) * r; ++h)
      sum = _mm512_add_ps(sum, _mm512_loadu_ps(by + ((b * s.H + h) * n + c) * s.D + d));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + d), narrow(sum));
  }
}

std::vector<Packed> packed_of(int64_t n_thread, const Shape& s, const Rows& k, const Rows& v,
                              bool is_back) {
  std::vector<Packed> packed(s.B * s.G);
  in_threads(n_thread, s.B * s.G, [&] {
    return [&](int64_t i) { packed[i].fill(s, k, v, i / s.G, i % s.G, is_back); };
  });
  return packed;
}

Rows rows_of(const void* at, const int64_t* strides) {
  return {static_cast<uint16_t*>(const_cast<void*>(at)), strides[0], strides[1], strides[2]};
}

}  // namespace

#endif  // HAS_TILES

extern "C" {

// Whether this machine has the calls below.
int memformer_best_path();
int memformer_has_window() { return memformer_best_path() == 4; }

#if HAS_TILES

// sizes: B, H, G, L, C, D, window. strides: (5, 3), between lanes, heads and rows of q, k, v, o.
void memformer_window_read(int n_thread, const int64_t* sizes, const int64_t* n_held,
                           const int64_t* strides, const void* q, const void* k, const void* v,
                           void* o, float* lse) {
  const Shape s{sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5], sizes[6], n_held};
  const Rows keys = rows_of(k, strides + 3), values = rows_of(v, strides + 6);
  const auto packed = packed_of(n_thread, s, keys, values, false);
  const Forward f{s,   rows_of(q, strides), keys, values, rows_of(o, strides + 9),
                  lse, packed.data()};
  const int64_t n_group = (s.L + N - 1) / N;
  in_threads(n_thread, s.B * s.H * n_group, [&] {
    return [&, room = ForwardRoom()](int64_t part) mutable {
      const int64_t head = part / n_group;
      begin_tiles();
      forward_part(f, head / s.H, head % s.H, part % n_group * N, room);
      end_tiles();
    };
  });
}

// Gradients of q (as strided), and of k and v, (B, G, C, D) without gaps. strides: of q, k, v, o,
// grad_o, grad_q.
void memformer_window_back(int n_thread, const int64_t* sizes, const int64_t* n_held,
                           const int64_t* strides, const void* q, const void* k, const void* v,
                           const void* o, const float* lse, const void* grad_o,
                           const float* grad_lse, void* grad_q, uint16_t* grad_k,
                           uint16_t* grad_v) {
  const Shape s{sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5], sizes[6], n_held};
  const Rows keys = rows_of(k, strides + 3), values = rows_of(v, strides + 6);
  const auto packed = packed_of(n_thread, s, keys, values, true);
  const int64_t n = up(s.C, KEYS);
  std::vector<float> by_k(s.B * s.H * n * s.D), by_v(s.B * s.H * n * s.D);
  const Backward f{s, rows_of(q, strides), keys, values, rows_of(o, strides + 9),
                   rows_of(grad_o, strides + 12), rows_of(grad_q, strides + 15), lse, grad_lse,
                   packed.data(), by_k.data(), by_v.data()};
  in_threads(n_thread, s.B * s.H, [&] {
    return [&, room = BackwardRoom()](int64_t head) mutable {
      const int64_t b = head / s.H, h = head % s.H;
      begin_tiles();
      begin_head(f, b, h, room);
      for (int64_t c = 0; c < s.C; c += KEYS) backward_part(f, b, h, c, room);
      end_head(f, b, h, room);
      end_tiles();
    };
  });
  in_threads(n_thread, s.B * s.G, [&] {
    return [&](int64_t part) {
      for (int64_t c = 0; c < s.C; ++c) {
        const int64_t at = (part * s.C + c) * s.D;
        sum_heads(s, f.by_k, n, part / s.G, part % s.G, c, grad_k + at);
        sum_heads(s, f.by_v, n, part / s.G, part % s.G, c, grad_v + at);
      }
    };
  });
}

#endif  // HAS_TILES

}  // extern "C"
