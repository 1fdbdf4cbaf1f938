/* fc_machine.h - the machine that the program runs on. Local. */
#ifndef FC_MACHINE_H
#define FC_MACHINE_H

#include <stddef.h>

/* The first processor's model name into out (size); "unknown" where the system does not tell. */
void fc_machine_cpu(char *out, size_t size);
/* Bytes of this node's memory, 0 if the system does not tell. */
size_t fc_machine_memory_bytes(void);
/* Bytes of the last-level cache, 0 if the system does not tell. */
size_t fc_machine_cache_bytes(void);

#endif
