/* fc_rng.h - counter-based random numbers (Random123's Philox4x64-10).
 *
 * A draw is a function of (seed, purpose, round, device, index) and of nothing else: not of the
 * rank, the thread, or what was drawn before elsewhere. Open a stream for one purpose, draw from
 * it in order:
 *
 *   fc_rng rng = fc_rng_open(seed, FC_RNG_CHANNEL, round, device);
 *   double gain = fc_rng_exponential(&rng);
 *
 * Layout, fixed for ever and guarded by golden vectors in the tests:
 *   key     = {seed, purpose}
 *   counter = {index / 4, device, round, 0}; the block's four 64-bit words are used in order.
 * All Local; a stream belongs to one thread. */
#ifndef FC_RNG_H
#define FC_RNG_H

#include <stddef.h>
#include <stdint.h>

/* What a draw is for. Numbers are part of every result: append, never renumber. */
#define FC_RNG_PURPOSE_LIST(X)                                                                     \
  X(TEST, 0)                                                                                       \
  X(PROFILE, 1)   /* device profiles */                                                            \
  X(POSITION, 2)  /* where a device stands */                                                      \
  X(CHANNEL, 3)   /* fading of a round */                                                          \
  X(SHADOWING, 4) /* log-normal shadowing */                                                       \
  X(OUTAGE, 5)    /* delivery */                                                                   \
  X(SPLIT, 6)     /* which sample belongs to which device */                                       \
  X(PARTS, 7)     /* public / device / test parts */                                               \
  X(SELECTION, 8) /* who takes part in a round */                                                  \
  X(BATCH, 9)     /* which samples of a device form its mini-batches */                            \
  X(ADAPTER_INIT, 10)                                                                              \
  X(WEIGHT_INIT, 11)                                                                               \
  X(DROPOUT, 12)                                                                                   \
  X(MASKING, 13)   /* masked language modelling */                                                 \
  X(GENERATOR, 14) /* embedded data generators */                                                  \
  X(MOBILITY, 15)                                                                                  \
  X(COMPRESSION, 16) /* stochastic quantisation of uploads */                                      \
  X(PRIVACY, 17)     /* differential-privacy noise */                                              \
  X(ATTACK, 18)      /* which devices attack, and how */                                           \
  X(GENERATION, 19)  /* the tokens of generated text */                                            \
  X(PROBLEM, 20)     /* generated optimisation problems */                                         \
  X(SCENARIO, 21)    /* devices of the T-ELLM environment */                                       \
  X(GAIN, 22)        /* their channels, round by round */                                          \
  X(CHOICE, 23)      /* what an agent that chooses devices draws */                                \
  X(EXPLORATION, 24) /* noise on its actions */                                                    \
  X(REPLAY, 25)      /* which records it learns from */                                            \
  X(IMAGINATION, 26) /* what a learned environment draws */                                        \
  X(PROBE, 27)       /* samples that a state is estimated on */

typedef enum {
#define FC_RNG_ENUM(id, number) FC_RNG_##id = (number),
  FC_RNG_PURPOSE_LIST(FC_RNG_ENUM)
#undef FC_RNG_ENUM
} fc_rng_purpose;

typedef struct {
  uint64_t seed, purpose, round, device;
  uint64_t index;    /* words drawn so far */
  uint64_t block[4]; /* the current Philox block */
} fc_rng;

fc_rng fc_rng_open(uint64_t seed, fc_rng_purpose purpose, uint64_t round, uint64_t device);

uint64_t fc_rng_u64(fc_rng *rng);
/* In (0,1), never 0 or 1; 52 bits. */
double fc_rng_uniform(fc_rng *rng);
/* Standard normal (Box-Muller: always two words). */
double fc_rng_normal(fc_rng *rng);
/* Mean 1 (one word). */
double fc_rng_exponential(fc_rng *rng);
/* Gamma(shape, 1) by GSL; shape > 0. Consumes a varying number of words. */
double fc_rng_gamma(fc_rng *rng, double shape);
/* ln of a Gamma(shape, 1) draw, safe for tiny shapes where the draw itself underflows. */
double fc_rng_log_gamma(fc_rng *rng, double shape);
/* Uniform integer in [0, n), unbiased; n >= 1. */
uint64_t fc_rng_below(fc_rng *rng, uint64_t n);
/* p (n) <- Dirichlet(alpha,...,alpha), alpha > 0, by log-gamma so that tiny alpha works. */
void fc_rng_dirichlet(fc_rng *rng, double alpha, size_t n, double *p);
/* Fisher-Yates on 32-bit items. */
void fc_rng_shuffle(fc_rng *rng, uint32_t *items, size_t n);
/* k distinct values of [0, n), ascending, every subset equally likely; k <= n. (Floyd: memory and
 * draws are O(k), so that n may be a million devices.) */
void fc_rng_choose(fc_rng *rng, uint32_t n, uint32_t k, uint32_t *out);

#endif
