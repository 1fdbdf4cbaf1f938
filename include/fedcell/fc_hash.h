/* fc_hash.h - FNV-1a, 64 bits [Fowler+Noll+Vo]: for look-up tables and for names of files, never
 * against an adversary.
 *
 *   uint64_t h = fc_hash_bytes(FC_HASH_START, text, length);   // may be continued with more bytes
 *
 * All Local. */
#ifndef FC_HASH_H
#define FC_HASH_H

#include <stddef.h>
#include <stdint.h>

#define FC_HASH_START UINT64_C(0xcbf29ce484222325)

static inline uint64_t fc_hash_step(uint64_t hash, char byte) {
  return (hash ^ (uint8_t)byte) * UINT64_C(0x100000001b3);
}

static inline uint64_t fc_hash_bytes(uint64_t hash, const void *data, size_t n) {
  const char *byte = (const char *)data;
  for (size_t i = 0; i < n; i++) hash = fc_hash_step(hash, byte[i]);
  return hash;
}

#endif
