/* Device profiles from a CSV file: what is read, and the exact message of every fault. */
#include "cell_fixture.h"
#include <stdlib.h>
#include <unistd.h>

static char trace_path[] = "/tmp/fedcell_trace_XXXXXX.csv";

static int make_file(void **state) {
  (void)state;
  int fd = mkstemps(trace_path, 4);
  if (fd < 0) return -1;
  return close(fd);
}

static int remove_file(void **state) {
  (void)state;
  return unlink(trace_path);
}

static void write_trace(const char *bytes, size_t n) {
  FILE *file = fopen(trace_path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, n, file), n);
  assert_int_equal(fclose(file), 0);
}

static void write_text(const char *text) {
  write_trace(text, strlen(text));
}

/* Configuration of n devices with this trace; more: further YAML of the cell. */
static fc_config *config_of(int devices, const char *more) {
  char yaml[512];
  snprintf(yaml, sizeof yaml, "population: {devices: %d, trace: %s}\ncell: {%s}\n", devices,
           trace_path, more);
  return fixture_config(yaml);
}

static fixture make(int devices, const char *more) {
  fixture f = {.cfg = config_of(devices, more)};
  fc_err err = fc_cell_create(f.cfg, FIXTURE_SEED, &f.cell);
  if (err != FC_ERR_OK) fail_msg("%s", fc_err_message());
  return f;
}

static void every_column(void **state) {
  (void)state;
  write_text("compute_flops,tx_power_w,energy_per_flop_j,energy_kappa,memory_bytes,battery_j,"
             "speed_mps,pathloss_db,distance_m\n"
             "1e12,0.1,2e-12,0,4e9,0,1,90,50\n"
             "2e12,0.2,1e-12,1e-36,8e9,1000,2,110,250\n");
  fixture f = make(2, "shadowing_db: 8");
  fc_profile a = fc_cell_profile(f.cell, 0), b = fc_cell_profile(f.cell, 1);
  assert_true(a.compute_flops == 1e12 && a.tx_power_w == 0.1 && a.energy_per_flop_j == 2e-12);
  assert_true(a.memory_bytes == 4e9 && isinf(a.battery_j));
  assert_relative(a.distance_m, 50, 1e-12);
  assert_relative(a.pathloss, 1e-9, 1e-12); /* the whole loss: no shadowing on top */
  assert_true(b.compute_flops == 2e12 && b.tx_power_w == 0.2 && b.memory_bytes == 8e9);
  assert_relative(b.energy_per_flop_j, 5e-12, 1e-12);
  assert_true(b.battery_j == 1000);
  assert_relative(b.distance_m, 250, 1e-12);
  assert_relative(b.pathloss, 1e-11, 1e-12);
  fixture_drop(&f);
}

static void other_columns_are_drawn_as_without_a_trace(void **state) {
  (void)state;
  write_text("tx_power_w\n0.1\n0.3\n0.5\n");
  fixture with = make(3, "pathloss: uma"), without = fixture_make("cell: {pathloss: uma}");
  for (uint32_t d = 0; d < 3; d++) {
    fc_profile a = fc_cell_profile(with.cell, d), b = fc_cell_profile(without.cell, d);
    assert_relative(a.tx_power_w, 0.1 + 0.2 * d, 1e-15);
    assert_true(a.distance_m == b.distance_m && a.pathloss == b.pathloss);
    assert_true(a.compute_flops == b.compute_flops);
  }
  fixture_drop(&with);
  fixture_drop(&without);
}

static void layout_is_forgiving(void **state) {
  (void)state;
  write_text("\xEF\xBB\xBF tx_power_w , memory_bytes\r\n\r\n 0.5 ,\t7e9 \r\n\n+1.5,.5E10");
  fixture f = make(2, "");
  fc_profile a = fc_cell_profile(f.cell, 0), b = fc_cell_profile(f.cell, 1);
  assert_true(a.tx_power_w == 0.5 && a.memory_bytes == 7e9);
  assert_true(b.tx_power_w == 1.5 && b.memory_bytes == 5e9);
  fixture_drop(&f);
}

static void more_rows_than_devices_and_many_rows(void **state) {
  (void)state;
  enum { N = 1000 };
  char *text = malloc(20 * N + 100), *end = text;
  assert_non_null(text);
  end += sprintf(end, "memory_bytes\n");
  for (int i = 0; i < N; i++) end += sprintf(end, "%d\n", i + 1);
  write_text(text);
  free(text);
  fixture f = make(900, "");
  assert_int_equal(fc_cell_devices(f.cell), 900);
  for (uint32_t d = 0; d < 900; d++) assert_true(fc_cell_profile(f.cell, d).memory_bytes == d + 1);
  fixture_drop(&f);
}

static void a_walker_starts_where_the_trace_says(void **state) {
  (void)state;
  write_text("distance_m,speed_mps\n123,2\n");
  fixture f = make(1, "mobility: waypoint, mobility_period_s: 5");
  fc_position a = fc_cell_position(f.cell, 0, 0), b = fc_cell_position(f.cell, 1, 0);
  assert_relative(hypot(a.x_m, a.y_m), 123, 1e-12);
  assert_true(hypot(b.x_m - a.x_m, b.y_m - a.y_m) <= 10 * (1 + 1e-9));
  fixture_drop(&f);
}

/* The message below is the fault after "PATH" has been put before it. */
static void assert_fault(int devices, const char *more, fc_err expected, const char *message) {
  char told[512];
  fc_config *cfg = config_of(devices, more);
  fc_cell *cell = (fc_cell *)cfg;
  assert_int_equal(fc_cell_create(cfg, 1, &cell), expected);
  assert_null(cell);
  snprintf(told, sizeof told, "%s%s", trace_path, message);
  assert_string_equal(fc_err_message(), told);
  fc_config_destroy(&cfg);
}

static void malformed_files(void **state) {
  (void)state;
  static const struct {
    const char *text, *message;
  } cases[] = {
      {"", ": empty: a header with column names is expected"},
      {"\n \n", ": empty: a header with column names is expected"},
      {"tx_power_w\n", ": no rows below the header"},
      {"tx_powr_w\n1\n", ":1: no such column: \"tx_powr_w\"; did you mean tx_power_w?"},
      {"elephants\n1\n", ":1: no such column: \"elephants\""},
      {"tx_power_w,\n1\n", ":1: no such column: \"\""},
      {"tx_power_w,tx_power_w\n1,1\n", ":1: column tx_power_w is there twice"},
      {"tx_power_w,memory_bytes\n1,2\n\n3\n", ":4: 1 values where the header names 2 columns"},
      {"tx_power_w,memory_bytes\n1,2,3\n", ":2: 3 values where the header names 2 columns"},
      {"tx_power_w\nhigh\n", ":2: tx_power_w = \"high\": a finite number is expected"},
      {"tx_power_w,memory_bytes\n,1\n", ":2: tx_power_w = \"\": a finite number is expected"},
      {"tx_power_w\n1\nnan\n", ":3: tx_power_w = \"nan\": a finite number is expected"},
      {"tx_power_w\ninf\n", ":2: tx_power_w = \"inf\": a finite number is expected"},
      {"tx_power_w\n0x10\n", ":2: tx_power_w = \"0x10\": a finite number is expected"},
      {"tx_power_w\n1e999\n", ":2: tx_power_w = \"1e999\": a finite number is expected"},
      {"tx_power_w\n1 2\n", ":2: tx_power_w = \"1 2\": a finite number is expected"},
      {"tx_power_w\n-0.1\n", ":2: tx_power_w = -0.1: must be 0 to 1000000"},
      {"distance_m\n501\n", ":2: distance_m = 501: must be 10 to 500"},
      {"pathloss_db\n-3\n", ":2: pathloss_db = -3: must be 0 to 400"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    write_text(cases[i].text);
    assert_fault(1, "", FC_ERR_DATA, cases[i].message);
  }
  write_trace("tx_power_w\n1\0002\n", 15);
  assert_fault(1, "", FC_ERR_DATA, ":2: a zero byte: not a text file");
}

/* A good file with a few bytes changed is read or told about, never worse. */
static void damaged_files(void **state) {
  (void)state;
  static const char good[] =
      "tx_power_w,distance_m\n0.125,50.25\n2.5,60.50\n3.75,70.75\n1.125,80.25\n";
  static const char bytes[] = "0123456789 \n\r,.-+e\0\xff";
  int refused = 0, read = 0;
  for (uint64_t i = 0; i < 500; i++) {
    fc_rng rng = fc_rng_open(FIXTURE_SEED, FC_RNG_TEST, i, 0);
    char text[sizeof good];
    memcpy(text, good, sizeof good);
    for (uint64_t k = 1 + fc_rng_below(&rng, 2); k > 0; k--)
      text[fc_rng_below(&rng, sizeof good - 1)] = bytes[fc_rng_below(&rng, sizeof bytes - 1)];
    size_t cut = i % 2 ? sizeof good - 1 : 1 + fc_rng_below(&rng, sizeof good - 1);
    write_trace(text, cut);
    fc_config *cfg = config_of(1, "");
    fc_cell *cell;
    fc_err err = fc_cell_create(cfg, 1, &cell);
    if (err == FC_ERR_OK) {
      fc_profile p = fc_cell_profile(cell, 0);
      assert_true(isfinite(p.tx_power_w) && isfinite(p.distance_m) && p.pathloss > 0);
      read++;
    } else {
      assert_int_equal(err, FC_ERR_DATA);
      assert_null(cell);
      assert_memory_equal(fc_err_message(), trace_path, strlen(trace_path));
      refused++;
    }
    fc_cell_destroy(&cell);
    fc_config_destroy(&cfg);
  }
  if (refused < 200 || read < 20) fail_msg("%d refused, %d read", refused, read);
}

static void missing_file(void **state) {
  (void)state;
  fc_config *cfg = fixture_config("population: {trace: /nowhere/trace.csv}");
  fc_cell *cell;
  assert_int_equal(fc_cell_create(cfg, 1, &cell), FC_ERR_IO);
  assert_string_equal(fc_err_message(),
                      "/nowhere/trace.csv: cannot be opened: No such file or directory");
  fc_config_destroy(&cfg);
  cfg = fixture_config("population: {trace: /tmp}");
  assert_int_equal(fc_cell_create(cfg, 1, &cell), FC_ERR_IO);
  assert_string_equal(fc_err_message(), "/tmp: cannot be read: Is a directory");
  fc_config_destroy(&cfg);
}

static void assert_config_fault(int devices, const char *more, const char *option,
                                const char *before, const char *after) {
  char told[512];
  fc_config *cfg = config_of(devices, more);
  fc_cell *cell;
  assert_int_equal(fc_cell_create(cfg, 1, &cell), FC_ERR_USAGE);
  snprintf(told, sizeof told, "%s: %s%s%s", option, before, trace_path, after);
  assert_string_equal(fc_err_message(), told);
  assert_int_equal(fc_config_finish(cfg), FC_ERR_USAGE);
  fc_config_destroy(&cfg);
}

static void traces_that_do_not_fit_the_configuration(void **state) {
  (void)state;
  write_text("distance_m\n20\n30\n");
  assert_config_fault(3, "", "population.devices", "the trace ", " has 2 rows");
  assert_config_fault(2, "mobility: redraw", "cell.mobility", "the trace ",
                      " fixes distance_m, which does not go with redraw");
  write_text("pathloss_db\n20\n30\n");
  assert_config_fault(2, "mobility: waypoint", "cell.mobility", "the trace ",
                      " fixes pathloss_db, which does not go with waypoint");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_column),
      cmocka_unit_test(other_columns_are_drawn_as_without_a_trace),
      cmocka_unit_test(layout_is_forgiving),
      cmocka_unit_test(more_rows_than_devices_and_many_rows),
      cmocka_unit_test(a_walker_starts_where_the_trace_says),
      cmocka_unit_test(malformed_files),
      cmocka_unit_test(damaged_files),
      cmocka_unit_test(missing_file),
      cmocka_unit_test(traces_that_do_not_fit_the_configuration),
  };
  return cmocka_run_group_tests(tests, make_file, remove_file);
}
