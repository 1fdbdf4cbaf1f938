/* weights.h - what the weight files of this room share. */
#ifndef FC_STORE_WEIGHTS_H
#define FC_STORE_WEIGHTS_H

#include "fedcell/fc_weights.h"

/* Local. Writes config.json. */
fc_err fc_weights_write_shape(const fc_model_shape *shape, const char *folder);

#endif
