// One token of each lane through a block of the decoder: what torch does in some sixty small calls,
// in two. Plain torch defines each (model/one_token.py names it); sums are in float32.
//
// A C interface on raw pointers, as in _fused.cpp, of whose library this is a part.
//
//   B lanes, E width of the stream, H query heads, G key/value heads, D head_dim, F feed-forward

#ifndef TARGET  // the first time; see the end of this part

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <thread>
#include <vector>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define HAS_X86 1
#else
#define HAS_X86 0
#endif

namespace {

constexpr int LANES = 16;
enum Path : int { PORTABLE = 0, AVX2 = 1, AVX512 = 2 };  // as in _fused.cpp, better ones are AVX512

#if defined(__GNUC__) || defined(__clang__)
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"  // no vector crosses a call: all is inlined
#endif
typedef float Vector __attribute__((vector_size(4 * LANES)));
#else
struct Vector {
  float at[LANES];
  float& operator[](int i) { return at[i]; }
};
#define EACH(op)                                       \
  inline Vector operator op(Vector a, Vector b) {      \
    for (int i = 0; i < LANES; ++i) a.at[i] op## = b.at[i]; \
    return a;                                          \
  }
EACH(+) EACH(-) EACH(*)
#undef EACH
#endif

#define LOAD(name, from) \
  Vector name;           \
  std::memcpy(&name, from, sizeof(name))

// Threads that do the parts of one step after the other together.
struct Team {
  static constexpr int MOST_STEPS = 3;
  std::atomic<int64_t> next[MOST_STEPS] = {}, done[MOST_STEPS] = {};
  std::atomic<bool> is_told{false};

  // Another part of a step that has n, if one is left.
  bool take(int step, int64_t n, int64_t* part) { return (*part = next[step].fetch_add(1)) < n; }
  void finish(int step) { done[step].fetch_add(1, std::memory_order_release); }
  // Until all n are done, whoever did them.
  void wait(int step, int64_t n) {
    for (int i = 0; done[step].load(std::memory_order_acquire) < n; ++i)
      if (i > 1000) std::this_thread::yield();
  }
};

template <typename Body>
void in_team(int n_thread, const Body& body) {
  Team team;
  std::vector<std::thread> threads;
  for (int i = 1; i < n_thread; ++i) threads.emplace_back([&] { body(team); });
  body(team);
  for (auto& thread : threads) thread.join();
}

struct Front {
  int64_t B, E, H, G, D, n_before;
  const float *x, *norm;
  float eps;
  const float *before, *taps;  // (B, n_before, E), (n_before + 1, E), or none
  const float* weight[3];      // of queries, keys, values: (H D, E), (G D, E), (G D, E)
  const float* scale;          // (H,): queries and keys become unit vectors; none: q / sqrt(D)
  float* h;                    // (B, E)
  float* out[3];               // (B, H, D); of keys and values the first lane's, the first head's
  int64_t lane[3], head[3];    // elements between lanes, between heads of these
};

struct Window {
  int64_t B, H, G, D, C, lane, head;  // columns; elements between lanes, between heads
  const float *q, *keys, *values;     // (B, H, D); (B, G, C, D), rows lie together
  const int64_t* first;               // (B,): the first column that is seen
  const float* table;                 // (C, 2, D / 2): turns by distance
  float *out, *lse;                   // (B, H, D), (B, H)
};

struct Back {
  int64_t B, E, N, F;          // N = H D
  const float *x, *o;          // (B, E), (B, N)
  const float *project, *norm; // (E, N), (E,)
  float eps;
  const float *gate, *up, *down;  // (F, E), (F, E), (E, F)
  float *attended, *wide, *out;   // (B, E): what attention adds; (B, F) room; (B, E)
};

constexpr int64_t FEW = 1 << 18;  // numbers that a thread more is not worth

int team_of(int n_thread, int64_t n_number) {
  return static_cast<int>(std::max<int64_t>(1, std::min<int64_t>(n_thread, n_number / FEW)));
}

}  // namespace

// The rest of the file but for its calls, once for each instruction set: a function that is inlined
// must have the target of the function it is inlined into.
#if HAS_X86
#define NAME with_512
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))
#include "_token.cpp"
#undef NAME
#undef TARGET
#define NAME with_avx2
#define TARGET __attribute__((target("avx2,fma")))
#include "_token.cpp"
#undef NAME
#undef TARGET
#endif
#define NAME portable
#define TARGET
#include "_token.cpp"

#if HAS_X86
#define TAKE(path, what) \
  ((path) >= AVX512 ? with_512::what : (path) == AVX2 ? with_avx2::what : portable::what)
#else
#define TAKE(path, what) portable::what
#endif

extern "C" {

// Norm, convolution, queries, keys and values, and attention to the window. keys and values begin
// at the first of C columns; the token's pair is written to the last. A lane sees its columns from
// `first` on.
void memformer_token_read(int path, int n_thread, int64_t B, int64_t E, int64_t H, int64_t G,
                          int64_t D, int64_t n_before, int64_t C, int64_t lane, int64_t head,
                          const float* x, const float* norm, float eps, const float* before,
                          const float* taps, const float* by_q, const float* by_k,
                          const float* by_v, const float* scale, float* keys, float* values,
                          const int64_t* first, const float* table, float* h, float* q, float* out,
                          float* lse) {
  float *k = keys + (C - 1) * D, *v = values + (C - 1) * D;
  const Front f{B, E, H, G, D, n_before, x, norm, eps, before, taps, {by_q, by_k, by_v}, scale, h,
                {q, k, v}, {H * D, lane, lane}, {D, head, head}};
  const Window w{B, H, G, D, C, lane, head, q, keys, values, first, table, out, lse};
  auto* project = TAKE(path, front);
  auto* attend = TAKE(path, window);
  in_team(team_of(n_thread, (H + 2 * G) * D * E + 4 * B * H * C * D), [&](Team& team) {
    std::vector<float> room(std::max(2 * B * E, C));  // of each thread
    project(f, team, room.data());
    if (!team.is_told.exchange(true))  // one of them
      std::memcpy(h, room.data() + B * E, B * E * sizeof(float));
    attend(w, team, room.data());
  });
}

// What attention read is projected and added, then the feed-forward.
void memformer_token_back(int path, int n_thread, int64_t B, int64_t E, int64_t N, int64_t F,
                          const float* x, const float* o, const float* project, const float* norm,
                          float eps, const float* gate, const float* up, const float* down,
                          float* attended, float* out) {
  std::vector<float> wide(B * F);
  const Back f{B, E, N, F, x, o, project, norm, eps, gate, up, down, attended, wide.data(), out};
  auto* run = TAKE(path, back);
  in_team(team_of(n_thread, E * N + 3 * E * F), [&](Team& team) {
    std::vector<float> room(2 * B * E);
    run(f, team, 32, room.data());
  });
}

}  // extern "C"

#else  // for one instruction set

namespace NAME {
namespace {

TARGET inline float total_of(Vector& a) {
  float part[LANES];
  std::memcpy(part, &a, sizeof(part));
  for (int width = LANES / 2; width; width /= 2)
    for (int j = 0; j < width; ++j) part[j] += part[j + width];
  return part[0];
}

TARGET inline float inner(const float* a, const float* b, int64_t n) {
  Vector s0 = {}, s1 = {}, s2 = {}, s3 = {};
  int64_t i = 0;
  for (; i + 4 * LANES <= n; i += 4 * LANES) {
    LOAD(a0, a + i);
    LOAD(b0, b + i);
    s0 = s0 + a0 * b0;
    LOAD(a1, a + i + LANES);
    LOAD(b1, b + i + LANES);
    s1 = s1 + a1 * b1;
    LOAD(a2, a + i + 2 * LANES);
    LOAD(b2, b + i + 2 * LANES);
    s2 = s2 + a2 * b2;
    LOAD(a3, a + i + 3 * LANES);
    LOAD(b3, b + i + 3 * LANES);
    s3 = s3 + a3 * b3;
  }
  for (; i + LANES <= n; i += LANES) {
    LOAD(a0, a + i);
    LOAD(b0, b + i);
    s0 = s0 + a0 * b0;
  }
  s0 = (s0 + s1) + (s2 + s3);
  float sum = total_of(s0);
  for (; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

// q turned by an angle, times k: channel p turns with channel p + P.
TARGET inline float turned_inner(const float* q, const float* k, const float* turn, int64_t P) {
  Vector sum = {};
  int64_t p = 0;
  for (; p + LANES <= P; p += LANES) {
    LOAD(a, q + p);
    LOAD(b, q + p + P);
    LOAD(x, k + p);
    LOAD(y, k + p + P);
    LOAD(c, turn + p);
    LOAD(s, turn + p + P);
    sum = sum + c * (a * x + b * y);
    sum = sum + s * (a * y - b * x);
  }
  float out = total_of(sum);
  for (; p < P; ++p) {
    const float a = q[p], b = q[p + P], x = k[p], y = k[p + P];
    out += turn[p] * (a * x + b * y) + turn[p + P] * (a * y - b * x);
  }
  return out;
}

// weight / sqrt(mean square + eps) times x
TARGET inline void rms_norm(const float* x, const float* weight, float eps, int64_t n, float* out) {
  const float factor = 1.0f / std::sqrt(inner(x, x, n) / static_cast<float>(n) + eps);
  for (int64_t i = 0; i < n; ++i) out[i] = x[i] * factor * weight[i];
}

TARGET void front(const Front& f, Team& team, float* mixed) {
  for (int64_t b = 0; b < f.B; ++b) {  // little: every thread for itself
    float* h = mixed + (f.B + b) * f.E;
    rms_norm(f.x + b * f.E, f.norm, f.eps, f.E, h);
    float* y = mixed + b * f.E;
    std::memcpy(y, h, f.E * sizeof(float));
    if (!f.taps) continue;
    for (int64_t i = 0; i <= f.n_before; ++i) {
      const float* row = i < f.n_before ? f.before + (b * f.n_before + i) * f.E : h;
      const float* tap = f.taps + i * f.E;
      for (int64_t e = 0; e < f.E; ++e) y[e] += row[e] * tap[e];
    }
  }
  const float root = 1.0f / std::sqrt(static_cast<float>(f.D));
  const int64_t n_part = f.H + 2 * f.G;
  for (int64_t part; team.take(0, n_part, &part); team.finish(0)) {
    const int what = part < f.H ? 0 : part < f.H + f.G ? 1 : 2;
    const int64_t head = part - (what == 0 ? 0 : what == 1 ? f.H : f.H + f.G);
    for (int64_t d = 0; d < f.D; ++d) {
      const float* row = f.weight[what] + (head * f.D + d) * f.E;
      for (int64_t b = 0; b < f.B; ++b)
        f.out[what][b * f.lane[what] + head * f.head[what] + d] =
            inner(row, mixed + b * f.E, f.E);
    }
    if (what == 2) continue;
    for (int64_t b = 0; b < f.B; ++b) {
      float* y = f.out[what] + b * f.lane[what] + head * f.head[what];
      float factor = what ? 1.0f : root;
      if (f.scale) {
        factor = 1.0f / std::max(std::sqrt(inner(y, y, f.D)), 1e-12f);
        if (!what) factor *= f.scale[head];
      }
      for (int64_t d = 0; d < f.D; ++d) y[d] *= factor;
    }
  }
  team.wait(0, n_part);
}

TARGET inline void window_of(const Window& w, int64_t part, float* s) {
  const int64_t b = part / w.H, h = part % w.H, g = h / (w.H / w.G);
  const float* q = w.q + part * w.D;
  const float* keys = w.keys + b * w.lane + g * w.head;
  const float* values = w.values + b * w.lane + g * w.head;
  float most = -std::numeric_limits<float>::infinity();
  for (int64_t c = w.first[b]; c < w.C; ++c) {
    s[c] = turned_inner(q, keys + c * w.D, w.table + (w.C - 1 - c) * w.D, w.D / 2);
    most = std::max(most, s[c]);
  }
  float sum = 0;
  for (int64_t c = w.first[b]; c < w.C; ++c) {
    s[c] = std::exp(s[c] - most);
    sum += s[c];
  }
  float* out = w.out + part * w.D;
  int64_t d = 0;
  for (; d + 4 * LANES <= w.D; d += 4 * LANES) {
    Vector o[4] = {};
    for (int64_t c = w.first[b]; c < w.C; ++c)
      for (int i = 0; i < 4; ++i) {
        LOAD(v, values + c * w.D + d + i * LANES);
        o[i] = o[i] + v * s[c];
      }
    for (int i = 0; i < 4; ++i) o[i] = o[i] * (1.0f / sum);
    std::memcpy(out + d, o, sizeof(o));
  }
  for (; d < w.D; ++d) {
    float o = 0;
    for (int64_t c = w.first[b]; c < w.C; ++c) o += values[c * w.D + d] * s[c];
    out[d] = o / sum;
  }
  w.lse[part] = most + std::log(sum);
}

TARGET void window(const Window& w, Team& team, float* s) {
  const int64_t n_part = w.B * w.H;
  for (int64_t part; team.take(1, n_part, &part); team.finish(1)) window_of(w, part, s);
}

TARGET void back(const Back& f, Team& team, int64_t size, float* y) {
  const int64_t n_0 = (f.E + size - 1) / size;
  for (int64_t part; team.take(0, n_0, &part); team.finish(0))
    for (int64_t e = part * size; e < std::min(f.E, (part + 1) * size); ++e)
      for (int64_t b = 0; b < f.B; ++b)
        f.attended[b * f.E + e] = inner(f.project + e * f.N, f.o + b * f.N, f.N);
  team.wait(0, n_0);
  float* sum = y + f.B * f.E;  // each thread has its own
  for (int64_t b = 0; b < f.B; ++b) {
    for (int64_t e = 0; e < f.E; ++e) sum[b * f.E + e] = f.x[b * f.E + e] + f.attended[b * f.E + e];
    rms_norm(sum + b * f.E, f.norm, f.eps, f.E, y + b * f.E);
  }
  const int64_t n_1 = (f.F + size - 1) / size;
  for (int64_t part; team.take(1, n_1, &part); team.finish(1))
    for (int64_t i = part * size; i < std::min(f.F, (part + 1) * size); ++i)
      for (int64_t b = 0; b < f.B; ++b) {
        const float a = inner(f.gate + i * f.E, y + b * f.E, f.E);
        f.wide[b * f.F + i] =
            a / (1.0f + std::exp(-a)) * inner(f.up + i * f.E, y + b * f.E, f.E);
      }
  team.wait(1, n_1);
  const int64_t n_2 = (f.E + size - 1) / size;
  for (int64_t part; team.take(2, n_2, &part); team.finish(2))
    for (int64_t e = part * size; e < std::min(f.E, (part + 1) * size); ++e)
      for (int64_t b = 0; b < f.B; ++b)
        f.out[b * f.E + e] = sum[b * f.E + e] + inner(f.down + e * f.F, f.wide + b * f.F, f.F);
  team.wait(2, n_2);
}

}  // namespace
}  // namespace NAME

#endif
