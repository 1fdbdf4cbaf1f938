/* check.c - what can be seen only from several options together, before anything runs. Each fault
 * is told with the file and line of the option that should change. */
#include "federation.h"
#include <string.h>

static bool option_is(const fc_config *cfg, const char *option, const char *value) {
  return strcmp(fc_config_string(cfg, option), value) == 0;
}

static void check_participants(fc_config *cfg) {
  int64_t devices = fc_config_int(cfg, "population.devices");
  fc_federation_settings s = fc_federation_settings_read(cfg);
  if (s.participants > devices)
    fc_config_fault(cfg, "federation.participants", "must be at most population.devices = %lld",
                    (long long)devices);
  if ((int64_t)s.cohort * s.local.batch > INT32_MAX)
    fc_config_fault(cfg, "federation.cohort",
                    "cohort x federation.local.batch is %lld sequences, at most 2147483647",
                    (long long)s.cohort * s.local.batch);
  int64_t batch =
      fc_participants_per_round(&s, (uint32_t)devices) * s.local.batch * s.local.accumulate;
  if (option_is(cfg, "federation.method", "centralised") && batch > INT32_MAX)
    fc_config_fault(cfg, "federation.local.batch",
                    "participants x batch x accumulate is %lld, at most 2147483647 for method "
                    "centralised",
                    (long long)batch);
}

/* The shape of a base that the options describe. */
static void check_shape(fc_config *cfg) {
  int64_t width = fc_config_int(cfg, "model.width"), heads = fc_config_int(cfg, "model.heads");
  if (width % heads != 0)
    fc_config_fault(cfg, "model.heads", "must divide model.width = %lld", (long long)width);
  int64_t kv_heads = fc_config_int(cfg, "model.kv_heads");
  if (kv_heads > heads || (kv_heads > 0 && heads % kv_heads != 0))
    fc_config_fault(cfg, "model.kv_heads", "must divide model.heads = %lld", (long long)heads);
}

static void check_pretraining(fc_config *cfg) {
  bool causal = fc_arch_is_causal(fc_arch_find(fc_config_string(cfg, "model.family")));
  const char *fits = causal ? "causal_lm" : "masked_lm";
  if (!option_is(cfg, "pretrain.objective", "auto") && !option_is(cfg, "pretrain.objective", fits))
    fc_config_fault(cfg, "pretrain.objective", "must be %s or auto for model.family = %s", fits,
                    fc_config_string(cfg, "model.family"));
  if (*fc_config_string(cfg, "model.tokenizer"))
    fc_config_fault(
        cfg, "model.tokenizer",
        "must be empty for model.base = embedded, which learns a vocabulary of its own");
  if (!(fc_config_real(cfg, "data.public_fraction") > 0))
    fc_config_fault(cfg, "data.public_fraction",
                    "must be above 0 for model.base = embedded, which learns from the public part");
}

static void check_adapter(fc_config *cfg) {
  const char *method = fc_config_string(cfg, "federation.method");
  if (!*fc_config_string(cfg, "adapter.init")) return;
  if (option_is(cfg, "adapter.kind", "full"))
    fc_config_fault(cfg, "adapter.init", "must be empty for adapter.kind = full");
  else if (fc_task_trains_all(cfg))
    fc_config_fault(cfg, "adapter.init", "must be empty for federation.method = %s", method);
}

fc_err fc_check_configuration(fc_config *cfg, fc_cell **cell) {
  bool embedded = option_is(cfg, "model.base", "embedded");
  fc_err err = fc_traces_cell(cfg, cell);
  check_participants(cfg);
  check_adapter(cfg);
  if (embedded || option_is(cfg, "model.base", "random")) check_shape(cfg);
  if (embedded) check_pretraining(cfg);
  const fc_method *method = fc_method_find(fc_config_string(cfg, "federation.method"));
  if (method->check) method->check(cfg);
  fc_err faults = fc_config_finish(cfg);
  return faults != FC_ERR_OK ? faults : err;
}

fc_err fc_federation_check(fc_config *cfg) {
  fc_cell *cell = NULL;
  FC_TRY(fc_config_finish(cfg)); /* the checks need values within their ranges */
  fc_err err = fc_check_configuration(cfg, &cell);
  fc_cell_destroy(&cell);
  return err;
}
