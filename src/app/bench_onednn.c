/* bench_onednn.c - the yardstick of `fedcell bench gemm`, where the build found oneDNN. */
#include "bench_onednn.h"
#include "fedcell/fc_mem.h"

#ifdef FEDCELL_ONEDNN
#include <dnnl.h>

struct fc_onednn {
  dnnl_engine_t engine;
  dnnl_stream_t stream;
  dnnl_memory_t x, x_bf16, W, W_bf16, y;
  dnnl_primitive_t round, product;
};

bool fc_onednn_there(void) {
  return true;
}

#define TRY_ONEDNN(call)                                                                           \
  do {                                                                                             \
    const dnnl_status_t status_ = (call);                                                          \
    if (status_ != dnnl_success)                                                                   \
      return fc_fail(FC_ERR_DATA, "oneDNN: %s: status %d", #call, (int)status_);                   \
  } while (0)

/* A copy of memory `from` in the order and type of `to`. */
static fc_err create_reorder(dnnl_engine_t engine, dnnl_memory_t from, dnnl_memory_t to,
                             dnnl_primitive_t *out) {
  const dnnl_memory_desc_t *from_md, *to_md;
  dnnl_primitive_desc_t pd;
  TRY_ONEDNN(dnnl_memory_get_memory_desc(from, &from_md));
  TRY_ONEDNN(dnnl_memory_get_memory_desc(to, &to_md));
  TRY_ONEDNN(dnnl_reorder_primitive_desc_create(&pd, from_md, engine, to_md, engine, NULL));
  const dnnl_status_t status = dnnl_primitive_create(out, pd);
  dnnl_primitive_desc_destroy(pd);
  TRY_ONEDNN(status);
  return FC_ERR_OK;
}

static fc_err reorder(const fc_onednn *d, dnnl_primitive_t how, dnnl_memory_t from,
                      dnnl_memory_t to) {
  const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
  TRY_ONEDNN(dnnl_primitive_execute(how, d->stream, 2, args));
  return FC_ERR_OK;
}

static fc_err pack_weights(fc_onednn *d) {
  dnnl_primitive_t pack;
  FC_TRY(create_reorder(d->engine, d->W, d->W_bf16, &pack));
  fc_err err = reorder(d, pack, d->W, d->W_bf16);
  dnnl_primitive_destroy(pack);
  FC_TRY(err);
  TRY_ONEDNN(dnnl_stream_wait(d->stream));
  return FC_ERR_OK;
}

/* The product, and memory for its operands in the orders that it asks for. */
static fc_err create_product(fc_onednn *d, const dnnl_matmul_desc_t *matmul) {
  dnnl_primitive_desc_t pd;
  TRY_ONEDNN(dnnl_primitive_desc_create(&pd, matmul, NULL, d->engine, NULL));
  const dnnl_memory_desc_t *x = dnnl_primitive_desc_query_md(pd, dnnl_query_src_md, 0);
  const dnnl_memory_desc_t *W = dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
  dnnl_status_t status = dnnl_memory_create(&d->x_bf16, x, d->engine, DNNL_MEMORY_ALLOCATE);
  if (status == dnnl_success)
    status = dnnl_memory_create(&d->W_bf16, W, d->engine, DNNL_MEMORY_ALLOCATE);
  if (status == dnnl_success) status = dnnl_primitive_create(&d->product, pd);
  dnnl_primitive_desc_destroy(pd);
  TRY_ONEDNN(status);
  return FC_ERR_OK;
}

static fc_err create(fc_onednn *d, const float *x, const float *W, float *y, int N, int I, int O) {
  const dnnl_dims_t x_dims = {N, I}, W_dims = {I, O}, y_dims = {N, O};
  dnnl_memory_desc_t x_f32, W_f32, y_f32, x_bf16, W_bf16;
  dnnl_matmul_desc_t matmul;
  TRY_ONEDNN(dnnl_engine_create(&d->engine, dnnl_cpu, 0));
  TRY_ONEDNN(dnnl_stream_create(&d->stream, d->engine, dnnl_stream_default_flags));
  TRY_ONEDNN(dnnl_memory_desc_init_by_tag(&x_f32, 2, x_dims, dnnl_f32, dnnl_ab));
  TRY_ONEDNN(dnnl_memory_desc_init_by_tag(&W_f32, 2, W_dims, dnnl_f32, dnnl_ba));
  TRY_ONEDNN(dnnl_memory_desc_init_by_tag(&y_f32, 2, y_dims, dnnl_f32, dnnl_ab));
  TRY_ONEDNN(dnnl_memory_desc_init_by_tag(&x_bf16, 2, x_dims, dnnl_bf16, dnnl_format_tag_any));
  TRY_ONEDNN(dnnl_memory_desc_init_by_tag(&W_bf16, 2, W_dims, dnnl_bf16, dnnl_format_tag_any));
  TRY_ONEDNN(dnnl_matmul_desc_init(&matmul, &x_bf16, &W_bf16, NULL, &y_f32));
  FC_TRY(create_product(d, &matmul));
  /* oneDNN takes what it only reads through the same type of pointer */
  TRY_ONEDNN(dnnl_memory_create(&d->x, &x_f32, d->engine, (void *)x));
  TRY_ONEDNN(dnnl_memory_create(&d->W, &W_f32, d->engine, (void *)W));
  TRY_ONEDNN(dnnl_memory_create(&d->y, &y_f32, d->engine, y));
  FC_TRY(create_reorder(d->engine, d->x, d->x_bf16, &d->round));
  return pack_weights(d);
}

fc_err fc_onednn_create(const float *x, const float *W, float *y, int N, int I, int O,
                        fc_onednn **out) {
  FC_TRY(fc_alloc(1, sizeof **out, out));
  fc_err err = create(*out, x, W, y, N, I, O);
  if (err != FC_ERR_OK) fc_onednn_destroy(out);
  return err;
}

fc_err fc_onednn_run(void *arg) {
  const fc_onednn *d = arg;
  const dnnl_exec_arg_t args[] = {
      {DNNL_ARG_SRC, d->x_bf16}, {DNNL_ARG_WEIGHTS, d->W_bf16}, {DNNL_ARG_DST, d->y}};
  FC_TRY(reorder(d, d->round, d->x, d->x_bf16));
  TRY_ONEDNN(dnnl_primitive_execute(d->product, d->stream, 3, args));
  TRY_ONEDNN(dnnl_stream_wait(d->stream));
  return FC_ERR_OK;
}

void fc_onednn_destroy(fc_onednn **onednn) {
  fc_onednn *d = *onednn;
  if (!d) return;
  dnnl_primitive_t primitives[] = {d->round, d->product};
  dnnl_memory_t memories[] = {d->x, d->x_bf16, d->W, d->W_bf16, d->y};
  for (int i = 0; i < 2; i++)
    if (primitives[i]) dnnl_primitive_destroy(primitives[i]);
  for (int i = 0; i < 5; i++)
    if (memories[i]) dnnl_memory_destroy(memories[i]);
  if (d->stream) dnnl_stream_destroy(d->stream);
  if (d->engine) dnnl_engine_destroy(d->engine);
  fc_free(d);
  *onednn = NULL;
}

#else

bool fc_onednn_there(void) {
  return false;
}

fc_err fc_onednn_create(const float *x, const float *W, float *y, int N, int I, int O,
                        fc_onednn **out) {
  (void)x, (void)W, (void)y, (void)N, (void)I, (void)O;
  *out = NULL;
  return fc_fail(FC_ERR_DATA, "built without oneDNN");
}

fc_err fc_onednn_run(void *arg) {
  (void)arg;
  return FC_ERR_DATA;
}

void fc_onednn_destroy(fc_onednn **d) {
  *d = NULL;
}
#endif
