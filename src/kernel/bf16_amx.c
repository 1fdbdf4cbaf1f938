/* bf16_amx.c - the bf16 product with AMX: a tile of 16 rows of x and 32 inputs times a block of a
 * panel is one instruction. A row of four tiles of C stays in registers: per step a tile of x,
 * which comes from the second cache, serves four blocks of panels (two by two tiles measured
 * slower).
 *
 * Linux gives a process the tile registers (8 KiB of state a thread) when it asks for them once; a
 * thread then says how it divides them, and lets go of them at the end, so that a switch to another
 * thread need not save them. */
#include "bf16.h"
#if defined(__x86_64__)
#include "bf16_avx512.h"
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TARGET_AMX __attribute__((target("amx-tile,amx-bf16")))

/* The compiler does not know what the tile instructions read and write. */
#define MEMORY_BARRIER() __asm__ volatile("" ::: "memory")

/* [Intel SDM 1, 18] */
enum {
  CPUID_7_EDX_AMX_BF16 = 1 << 22,
  CPUID_7_EDX_AMX_TILE = 1 << 24,
  XCR0_TILE_CONFIG = 1 << 17,
  XCR0_TILE_DATA = 1 << 18,
  ARCH_REQUEST_PERMISSION =
      0x1023, /* ARCH_REQ_XCOMP_PERM of asm/prctl.h, which older kernels lack */
  TILE_DATA = 18
};
enum { LINE = 64 / sizeof(fc_bf16) };

static bool system_saves_tiles(void) {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  const uint32_t tiles = XCR0_TILE_CONFIG | XCR0_TILE_DATA;
  return (low & tiles) == tiles;
}

static bool available(void) {
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return false;
  const unsigned needed = CPUID_7_EDX_AMX_BF16 | CPUID_7_EDX_AMX_TILE;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & needed) != needed) return false;
  return system_saves_tiles() && fc_bf16_avx512.available() &&
         syscall(SYS_arch_prctl, ARCH_REQUEST_PERMISSION, TILE_DATA) == 0;
}

/* All eight tiles have 16 rows of 64 bytes. */
TARGET_AMX static void begin(void) {
  static const struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
  } configuration = {.palette = 1,
                     .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
                     .rows = {16, 16, 16, 16, 16, 16, 16, 16}};
  _tile_loadconfig(&configuration);
}

TARGET_AMX static void end(void) {
  _tile_release();
}

/* The share of block k in what comes next: lines of the next panels, and rows of C to be stored. */
TARGET_AMX static inline __attribute__((always_inline)) void
fetch(const fc_bf16_tiles *t, int64_t k, int64_t c_rows, const int panels) {
  const fc_bf16 *soon = t->soon + k * t->soon_lines * LINE;
  for (int l = 0; l < t->soon_lines; l++, soon += LINE)
#pragma GCC unroll 4
    for (int p = 0; p < panels; p++)
      _mm_prefetch((const char *)(soon + p * t->b_next), _MM_HINT_T1);
  for (int64_t r = k * c_rows; r < BF16_PANEL && r < (k + 1) * c_rows; r++)
#pragma GCC unroll 4
    for (int p = 0; p < panels; p++)
      _mm_prefetch((const char *)(t->c + r * t->ldc + p * BF16_PANEL), _MM_HINT_T0);
}

/* Tiles 0..3 are C, 4 is x, 5..7 are the panels' blocks. */
TARGET_AMX static inline __attribute__((always_inline)) void run_tiles(const fc_bf16_tiles *t,
                                                                       const int panels) {
  const float *start = t->start;
  const int64_t start_bytes = t->ld_start * 4, c_bytes = t->ldc * 4, b_next = t->b_next;
  const fc_bf16 *a = t->a, *b = t->b;
  const int64_t c_rows = (BF16_PANEL + t->blocks - 1) / fc_k_max(1, t->blocks);
  if (start) {
    _tile_loadd(0, start, start_bytes);
    if (panels > 1) _tile_loadd(1, start + 16, start_bytes);
    if (panels > 2) _tile_loadd(2, start + 32, start_bytes);
    if (panels > 3) _tile_loadd(3, start + 48, start_bytes);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int64_t k = 0; k < t->blocks; k++, a += BF16_TILE, b += BF16_TILE) {
    _tile_loadd(4, a, 64);
    _tile_loadd(5, b, 64);
    _tile_dpbf16ps(0, 4, 5);
    if (panels > 1) {
      _tile_loadd(6, b + b_next, 64);
      _tile_dpbf16ps(1, 4, 6);
    }
    if (panels > 2) {
      _tile_loadd(7, b + 2 * b_next, 64);
      _tile_dpbf16ps(2, 4, 7);
    }
    if (panels > 3) {
      _tile_loadd(5, b + 3 * b_next, 64);
      _tile_dpbf16ps(3, 4, 5);
    }
    fetch(t, k, c_rows, panels);
  }
  _tile_stored(0, t->c, c_bytes);
  if (panels > 1) _tile_stored(1, t->c + 16, c_bytes);
  if (panels > 2) _tile_stored(2, t->c + 32, c_bytes);
  if (panels > 3) _tile_stored(3, t->c + 48, c_bytes);
}

/* All 16 rows, whatever `rows` is: a product of few rows waits for the panels, not for this. */
TARGET_AMX static void run(const fc_bf16_tiles *t, int rows, int panels) {
  (void)rows;
  MEMORY_BARRIER();
  switch (panels) {
  case 1:
    run_tiles(t, 1);
    break;
  case 2:
    run_tiles(t, 2);
    break;
  case 3:
    run_tiles(t, 3);
    break;
  default:
    run_tiles(t, 4);
  }
  MEMORY_BARRIER();
}

/* The tiles are loaded, not zeroed: the CPU takes less time over tiles that it knows to be zero. */
TARGET_AMX static double peak(int64_t n) {
  _Alignas(64) static const fc_bf16 data[BF16_TILE] = {0x3f80};
  _tile_loadd(4, data, 64);
  _tile_loadd(5, data, 64);
  _tile_loadd(6, data, 64);
  _tile_loadd(7, data, 64);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int64_t i = 0; i < n; i++) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  return 4.0 * 2.0 * BF16_PANEL * BF16_TILE * (double)n;
}

const fc_bf16_path fc_bf16_amx = {.name = "amx",
                                  .fast = true,
                                  .available = available,
                                  .begin = begin,
                                  .end = end,
                                  .convert = fc_bf16_convert_avx512,
                                  .run = run,
                                  .peak = peak};
#endif
