/* cnn.h - what the CNN's files share. */
#ifndef FC_MODEL_CNN_H
#define FC_MODEL_CNN_H

#include "fedcell/fc_cnn.h"

enum { FC_CNN_WINDOW = FC_K_WINDOW * FC_K_WINDOW };

/* Inputs of the first dense layer: (channels, height/4, width/4) as PyTorch flattens them. */
int fc_cnn_features(const fc_cnn_shape *shape);

#endif
