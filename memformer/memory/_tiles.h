// Tiles: products of 16 x 32 by 32 x 16 numbers in bfloat16, summed in float32 (Intel AMX).
//
// The first operand has 16 rows of 32 numbers; the second 16 rows of 16 pairs, a row for two numbers
// of what is summed over: what is called interleaved here.

#pragma once

#include <cstdint>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define HAS_X86 1
#include <cpuid.h>
#include <immintrin.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#else
#define HAS_X86 0
#endif
// compilers that know tiles
#if HAS_X86 && ((defined(__clang__) && __clang_major__ >= 11) || \
                (!defined(__clang__) && __GNUC__ >= 11))
#define HAS_TILES 1
#else
#define HAS_TILES 0
#endif

#if HAS_TILES

#define TARGET_AMX \
  __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,amx-tile,amx-bf16")))

namespace {

// The kernel lets a process use tiles when it asks once.
inline bool may_use_tiles() {
#if defined(__linux__) && defined(SYS_arch_prctl)
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  const unsigned bf16 = 1u << 22, tile = 1u << 24;
  constexpr int ARCH_REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18;
  return (d & bf16) && (d & tile) && syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) == 0;
#else
  return false;
#endif
}

// Eight tiles of 16 rows of 64 bytes. A constant: compilers do not see that all of it is read.
alignas(64) const uint8_t TILE_SHAPE[64] = {
    1,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,   // palette 1
    64, 0,  64, 0,  64, 0,  64, 0,  64, 0,  64, 0,  64, 0,  64, 0,   // bytes of a row, 16 bits each
    0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,
    16, 16, 16, 16, 16, 16, 16, 16, 0,  0,  0,  0,  0,  0,  0,  0};  // rows

TARGET_AMX inline void begin_tiles() {
  asm volatile("" ::: "memory");  // what tiles will read is written before
  _tile_loadconfig(TILE_SHAPE);
}

TARGET_AMX inline void end_tiles() { _tile_release(); }

}  // namespace

#endif  // HAS_TILES
