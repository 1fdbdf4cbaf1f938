/* Folders of dynamics: what is saved comes back; damage is told. */
#include "dynamics_fixture.h"
#include <sys/stat.h>

typedef struct {
  world w;
  fc_dynamics *d;
  char folder[300];
} saved;

static int save(void **state) {
  static saved v;
  v.w = small_world("dynamics.epochs=1\ndynamics.variance_floor=0.0123\ndynamics.sample=false\n");
  v.w.t->episode[0].id = UINT64_MAX; /* as large as they come */
  v.d = train_on(&v.w);
  snprintf(v.folder, sizeof v.folder, "%s", scratch_path("folder"));
  assert_int_equal(mkdir(v.folder, 0777), 0);
  assert_ok(fc_dynamics_save(v.d, v.folder));
  *state = &v;
  return 0;
}

static int drop(void **state) {
  saved *v = *state;
  char command[400];
  snprintf(command, sizeof command, "rm -r '%s'", v->folder);
  assert_int_equal(system(command), 0);
  fc_dynamics_destroy(&v->d);
  drop_world(&v->w);
  return 0;
}

static void what_is_saved_comes_back(void **state) {
  const saved *v = *state;
  fc_dynamics *back;
  assert_ok(fc_dynamics_load(v->folder, v->w.s, &back));
  assert_same(v->d, back);
  assert_false(back->sample);
  assert_int_equal(fc_dynamics_weight_count(back), fc_dynamics_weight_count(v->d));
  fc_dynamics_destroy(&back);
}

static void another_scenario_is_told(void **state) {
  const saved *v = *state;
  fc_dynamics *d;
  fc_scenario *fewer = scenario_of(WORLD "environment.devices=5\n");
  fc_scenario *longer = scenario_of(WORLD "environment.rounds=9\n");
  fc_scenario *shorter = scenario_of(WORLD "environment.rounds=7\n");
  assert_fails(fc_dynamics_load(v->folder, fewer, &d), FC_ERR_DATA,
               "the dynamics were learned for 6 devices, the environment has 5");
  assert_null(d);
  assert_fails(fc_dynamics_load(v->folder, longer, &d), FC_ERR_DATA,
               "the dynamics were learned for 8 rounds, the environment has 9");
  assert_ok(fc_dynamics_load(v->folder, shorter, &d));
  fc_dynamics_destroy(&d);
  fc_scenario_destroy(&fewer);
  fc_scenario_destroy(&longer);
  fc_scenario_destroy(&shorter);
}

/* The folder with `from` replaced by `to` in its description cannot be loaded. */
static void damaged(const saved *v, const char *from, const char *to, fc_err code,
                    const char *message) {
  char command[1024], full[512];
  fc_dynamics *d;
  snprintf(command, sizeof command,
           "cp '%s/dynamics.json' '%s/kept' && tr -d '\\n' <'%s/kept' | sed 's/%s/%s/' "
           ">'%s/dynamics.json'",
           v->folder, v->folder, v->folder, from, to, v->folder);
  assert_int_equal(system(command), 0);
  snprintf(full, sizeof full, "%s/dynamics.json%s", v->folder, message);
  assert_fails(fc_dynamics_load(v->folder, v->w.s, &d), code, full);
  assert_null(d);
  snprintf(command, sizeof command, "mv '%s/kept' '%s/dynamics.json'", v->folder, v->folder);
  assert_int_equal(system(command), 0);
}

static void a_damaged_description_is_told(void **state) {
  const saved *v = *state;
  damaged(v, ".*", "", FC_ERR_DATA, ":1: '[' or '{' expected near end of file");
  damaged(v, "\"devices\": 6", "\"devices\": \"6\"", FC_ERR_DATA,
          ": devices is not a whole number");
  damaged(v, "\"mean\": \\[[^,]*,", "\"mean\": [", FC_ERR_DATA,
          ": mean is not a list of 25 numbers");
  damaged(v, "\"scale\": \\[[^,]*,", "\"scale\": [0.0,", FC_ERR_DATA,
          ": scale: number 0 is out of range");
  damaged(v, "\"variance_floor\"", "\"floor\"", FC_ERR_DATA,
          ": variance_floor is not a number above 0");
  damaged(v, "\"sample\": false", "\"sample\": 0", FC_ERR_DATA, ": sample is not true or false");
  damaged(v, "\"trained_on\"", "\"trained\"", FC_ERR_DATA,
          ": trained_on is not a list of episodes");
  damaged(v, "\"trained_on\": \\[ *\\[ *[0-9]*", "\"trained_on\": [[0.5", FC_ERR_DATA,
          ": trained_on: item 0 is not a seed and an id");
}

static void missing_and_short_files_are_told(void **state) {
  const saved *v = *state;
  static const struct {
    const char *file, *message;
    fc_err missing, cut;
  } files[] = {
      {"dynamics.json", "cannot read %s/dynamics.json", FC_ERR_IO, FC_ERR_DATA},
      {"config.json", "cannot read %s/config.json: is it a model folder?", FC_ERR_IO, FC_ERR_DATA},
      {"linear.safetensors", NULL, FC_ERR_IO, FC_ERR_DATA},
      {"model.safetensors", NULL, FC_ERR_IO, FC_ERR_DATA}};
  fc_dynamics *d;
  char command[1024], message[512];
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    snprintf(command, sizeof command, "mv '%s/%s' '%s/kept'", v->folder, files[i].file, v->folder);
    assert_int_equal(system(command), 0);
    assert_int_equal(fc_dynamics_load(v->folder, v->w.s, &d), files[i].missing);
    snprintf(message, sizeof message, files[i].message ? files[i].message : "%s", v->folder);
    if (files[i].message) assert_string_equal(fc_err_message(), message);
    snprintf(command, sizeof command, "head -c 150 '%s/kept' >'%s/%s'", v->folder, v->folder,
             files[i].file);
    assert_int_equal(system(command), 0);
    assert_int_equal(fc_dynamics_load(v->folder, v->w.s, &d), files[i].cut);
    assert_non_null(strstr(fc_err_message(), files[i].file));
    snprintf(command, sizeof command, "mv '%s/kept' '%s/%s'", v->folder, v->folder, files[i].file);
    assert_int_equal(system(command), 0);
  }
}

static void layers_of_another_shape_are_told(void **state) {
  const saved *v = *state;
  world other = small_world("dynamics.epochs=1\ndynamics.width=8\n");
  fc_dynamics *narrow = train_on(&other), *d;
  char folder[300], command[1024], message[512];
  snprintf(folder, sizeof folder, "%s", scratch_path("narrow"));
  assert_int_equal(mkdir(folder, 0777), 0);
  assert_ok(fc_dynamics_save(narrow, folder));
  snprintf(command, sizeof command, "cp '%s/linear.safetensors' '%s'", v->folder, folder);
  assert_int_equal(system(command), 0);
  snprintf(message, sizeof message,
           "%s/linear.safetensors: linear1.weight is missing or has another shape", folder);
  assert_fails(fc_dynamics_load(folder, other.s, &d), FC_ERR_DATA, message);
  fc_dynamics_destroy(&narrow);
  drop_world(&other);
}

static void a_folder_must_be_there(void **state) {
  const saved *v = *state;
  assert_int_equal(fc_dynamics_save(v->d, scratch_path("nowhere")), FC_ERR_IO);
}

static int run(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_saved_comes_back),
      cmocka_unit_test(another_scenario_is_told),
      cmocka_unit_test(a_damaged_description_is_told),
      cmocka_unit_test(missing_and_short_files_are_told),
      cmocka_unit_test(layers_of_another_shape_are_told),
      cmocka_unit_test(a_folder_must_be_there),
  };
  return cmocka_run_group_tests(tests, save, drop);
}

int main(int argc, char **argv) {
  return single_rank_main(argc, argv, run);
}
