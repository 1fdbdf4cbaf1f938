/* command_export.c - fedcell export: the trained adapter of a result file for the PEFT library. */
#include "app.h"

static fc_err make_folders(const fc_arguments *a) {
  FC_TRY(fc_output_make_folder(a->operand2));
  return a->base ? fc_output_make_folder(a->base) : FC_ERR_OK;
}

static fc_err read_dtype(const fc_arguments *a, fc_dtype *dtype) {
  *dtype = FC_DTYPE_F32;
  if (!a->dtype) return FC_ERR_OK;
  FC_CHECK(a->base, USAGE, "export --dtype is the base's: give --base FOLDER too");
  FC_CHECK(fc_dtype_of_torch(a->dtype, dtype) &&
               (*dtype == FC_DTYPE_F32 || *dtype == FC_DTYPE_F16 || *dtype == FC_DTYPE_BF16),
           USAGE, "export --dtype %s: allowed are float32, float16, bfloat16", a->dtype);
  return FC_ERR_OK;
}

static fc_err export(const fc_comm *comm, const fc_arguments *a, fc_config *cfg) {
  bool mean = false;
  fc_dtype dtype;
  FC_TRY(read_dtype(a, &dtype));
  FC_TRY(fc_agree(comm, comm->rank == 0 ? make_folders(a) : FC_ERR_OK));
  FC_TRY(fc_federation_export(comm, cfg, a->operand, a->operand2, a->base, dtype, &mean));
  fc_app_say("adapter in %s\n", a->operand2);
  if (a->base) fc_app_say("base model in %s\n", a->base);
  if (mean)
    fc_app_note("warning: this model classifies by the mean of all tokens; transformers' heads see "
                "the first (of a decoder the last) token: take the mean of the hidden states there "
                "by hand\n");
  return FC_ERR_OK;
}

fc_err fc_command_export(const fc_comm *comm, const fc_arguments *a) {
  fc_config *cfg = NULL;
  fc_err err = fc_result_config(comm, a->operand, &cfg);
  if (err == FC_ERR_OK && fc_study_of(cfg) != &fc_study_federation)
    err = fc_fail(FC_ERR_USAGE,
                  "%s holds trials of a policy and no adapter; the policy itself is a Hugging Face "
                  "folder already: fedcell pretrain tells where",
                  a->operand);
  if (err == FC_ERR_OK) err = export(comm, a, cfg);
  fc_config_destroy(&cfg);
  return err;
}
