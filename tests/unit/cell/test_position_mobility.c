/* Where devices stand and how they move. */
#include "cell_fixture.h"
#include "cell.h"

static void placement_is_uniform_over_the_ring(void **state) {
  (void)state;
  enum { N = 20000 };
  fixture f = fixture_make("cell: {radius_m: 400, min_distance_m: 100}\n"
                           "population: {devices: 20000}\n");
  int inner = 0;
  double x = 0, y = 0;
  for (uint32_t d = 0; d < N; d++) {
    fc_position at = fc_cell_position(f.cell, 0, d);
    assert_true(at.distance_m >= 100 && at.distance_m <= 400 * (1 + 1e-12));
    assert_relative(hypot(at.x_m, at.y_m), at.distance_m, 1e-12);
    assert_true(fc_cell_profile(f.cell, d).distance_m == at.distance_m);
    inner += at.distance_m < 200;
    x += at.x_m;
    y += at.y_m;
  }
  /* P(r < 200) = (200^2 - 100^2) / (400^2 - 100^2) = 0.2 */
  assert_close(inner / (double)N, 0.2, 4 * sqrt(0.16 / N));
  double spread = sqrt((400.0 * 400 + 100 * 100) / 4 / N); /* var x = E r^2 / 2 */
  assert_close(x / N, 0, 4 * spread);
  assert_close(y / N, 0, 4 * spread);
  fixture_drop(&f);
}

static void static_devices_stay(void **state) {
  (void)state;
  fixture f = fixture_make("{}");
  fc_position start = fc_cell_position(f.cell, 0, 3), later = fc_cell_position(f.cell, 77, 3);
  assert_true(start.x_m == later.x_m && start.y_m == later.y_m);
  fixture_drop(&f);
}

static void walkers_stay_inside_and_keep_their_speed(void **state) {
  (void)state;
  fixture f = fixture_make("cell: {mobility: waypoint, mobility_period_s: 10, radius_m: 200}\n"
                           "population: {devices: 20, speed_mps: {uniform: [1, 3]}}\n");
  double travelled = 0, could = 0;
  for (uint32_t d = 0; d < 20; d++) {
    double speed = field_draw(f.cell, FIELD_speed_mps, 0, d);
    assert_true(speed >= 1 && speed <= 3);
    fc_position before = fc_cell_position(f.cell, 0, d);
    for (uint64_t t = 1; t < 200; t++) {
      fc_position now = fc_cell_position(f.cell, t, d);
      double step = hypot(now.x_m - before.x_m, now.y_m - before.y_m);
      assert_true(hypot(now.x_m, now.y_m) <= 200 * (1 + 1e-12));
      assert_true(now.distance_m >= 10);
      assert_true(step <= 10 * speed * (1 + 1e-9)); /* as the crow flies: at most */
      travelled += step;
      could += 10 * speed;
      before = now;
    }
  }
  /* only a turn shortens a step: legs are some nine steps long */
  assert_true(travelled > 0.85 * could);
  fixture_drop(&f);
}

static void a_straight_leg_is_walked_at_full_speed(void **state) {
  (void)state;
  /* steps of 1 m in a cell of 500 m: most of three steps in a row are on one leg */
  fixture f = fixture_make("cell: {mobility: waypoint, mobility_period_s: 1}\n"
                           "population: {devices: 5, speed_mps: 1}\n");
  int full = 0;
  for (uint64_t t = 0; t < 200; t++) {
    fc_position a = fc_cell_position(f.cell, t, 2), b = fc_cell_position(f.cell, t + 1, 2);
    full += fabs(hypot(b.x_m - a.x_m, b.y_m - a.y_m) - 1) < 1e-9;
  }
  assert_true(full >= 195);
  fixture_drop(&f);
}

static void a_pause_is_a_rest(void **state) {
  (void)state;
  fixture f = fixture_make("cell: {mobility: waypoint, mobility_period_s: 10, pause_s: 1e6}\n"
                           "population: {devices: 5, speed_mps: 10}\n");
  /* the first leg is at most 1000 m: after 100 s everyone rests at the first waypoint */
  for (uint32_t d = 0; d < 5; d++) {
    fc_position start = fc_cell_position(f.cell, 0, d);
    fc_position a = fc_cell_position(f.cell, 11, d), b = fc_cell_position(f.cell, 5000, d);
    assert_true(a.x_m == b.x_m && a.y_m == b.y_m);
    assert_true(a.x_m != start.x_m);
  }
  fixture_drop(&f);
}

static void no_speed_is_no_motion(void **state) {
  (void)state;
  fixture f = fixture_make("cell: {mobility: waypoint}\npopulation: {speed_mps: 0}\n");
  fc_position a = fc_cell_position(f.cell, 0, 1), b = fc_cell_position(f.cell, 99, 1);
  assert_true(a.x_m == b.x_m && a.y_m == b.y_m);
  fixture_drop(&f);
}

static void walkers_keep_their_start_and_any_round_can_be_asked(void **state) {
  (void)state;
  fixture still = fixture_make("{}"), walks = fixture_make("cell: {mobility: waypoint}");
  fc_position a = fc_cell_position(still.cell, 0, 4), b = fc_cell_position(walks.cell, 0, 4);
  assert_true(a.x_m == b.x_m && a.y_m == b.y_m);
  fc_position late = fc_cell_position(walks.cell, 300, 4);
  fc_cell_position(walks.cell, 5, 4);
  fc_position again = fc_cell_position(walks.cell, 300, 4);
  assert_true(late.x_m == again.x_m && late.y_m == again.y_m);
  fixture_drop(&still);
  fixture_drop(&walks);
}

static void gains_follow_the_walk(void **state) {
  (void)state;
  fixture f = fixture_make("cell: {mobility: waypoint, pathloss: power-law, fading: none}");
  fc_profile p = fc_cell_profile(f.cell, 6);
  for (uint64_t t = 0; t < 30; t++) {
    double d = fc_cell_position(f.cell, t, 6).distance_m;
    assert_relative(fc_cell_channel(f.cell, &p, t, 6).gain_up, pow(d, -3.8), 1e-12);
  }
  assert_relative(p.pathloss, pow(p.distance_m, -3.8), 1e-12);
  fixture_drop(&f);
}

static void redraw_gives_a_new_place_and_loss_each_round(void **state) {
  (void)state;
  enum { N = 5000 };
  fixture f = fixture_make("cell: {mobility: redraw, fading: none, "
                           "pathloss_db: {uniform: [60, 70]}}");
  fc_profile p = fc_cell_profile(f.cell, 0);
  assert_true(fc_cell_channel(f.cell, &p, 0, 0).gain_up == p.pathloss);
  double sum = 0, inner = 0, before = 0;
  for (uint64_t t = 0; t < N; t++) {
    double loss = -10 * log10(fc_cell_channel(f.cell, &p, t, 0).gain_up);
    assert_true(loss >= 60 - 1e-9 && loss <= 70 + 1e-9 && loss != before);
    before = loss;
    sum += loss;
    inner += fc_cell_position(f.cell, t, 0).distance_m < 250;
  }
  assert_close(sum / N, 65, 4 * 10 / sqrt(12.0 * N));
  double q = (250.0 * 250 - 100) / (500.0 * 500 - 100);
  assert_close(inner / N, q, 4 * sqrt(q * (1 - q) / N));
  fixture_drop(&f);
}

static void surroundings_are_normal_and_fade_with_distance(void **state) {
  (void)state;
  enum { N = 20000 };
  fixture f = fixture_make("cell: {decorrelation_m: 50}\npopulation: {devices: 20000}\n");
  double variance = 0, at_50_m = 0, at_200_m = 0, cross = 0;
  for (uint32_t d = 0; d < N; d++) {
    fc_position at = fc_cell_position(f.cell, 0, d); /* anywhere in the grid */
    double angle = atan2(at.y_m, at.x_m) * 7;        /* any direction */
    surroundings here = surroundings_at(f.cell, d, at.x_m, at.y_m);
    surroundings near =
        surroundings_at(f.cell, d, at.x_m + 50 * cos(angle), at.y_m + 50 * sin(angle));
    surroundings far = surroundings_at(f.cell, d, at.x_m + 200, at.y_m);
    variance += here.shadowing * here.shadowing;
    at_50_m += here.shadowing * near.shadowing;
    at_200_m += here.shadowing * far.shadowing;
    cross += here.shadowing * here.sight;
  }
  assert_close(variance / N, 1, 4 * sqrt(2.0 / N));
  assert_close(at_50_m / N, exp(-1), 4 * sqrt(2.0 / N) + 0.003); /* 0.003: the grid's own error */
  assert_close(at_200_m / N, 0, 4 / sqrt(N));
  assert_close(cross / N, 0, 4 / sqrt(N));
  /* no jump across a grid line */
  double grid = f.cell->shadowing_grid_m;
  assert_close(surroundings_at(f.cell, 0, grid * (1 - 1e-9), 3).shadowing,
               surroundings_at(f.cell, 0, grid * (1 + 1e-9), 3).shadowing, 1e-7);
  assert_close(surroundings_at(f.cell, 0, -1e-9, -1e-9).shadowing,
               surroundings_at(f.cell, 0, 1e-9, 1e-9).shadowing, 1e-7);
  fixture_drop(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(placement_is_uniform_over_the_ring),
      cmocka_unit_test(static_devices_stay),
      cmocka_unit_test(walkers_stay_inside_and_keep_their_speed),
      cmocka_unit_test(a_straight_leg_is_walked_at_full_speed),
      cmocka_unit_test(a_pause_is_a_rest),
      cmocka_unit_test(no_speed_is_no_motion),
      cmocka_unit_test(walkers_keep_their_start_and_any_round_can_be_asked),
      cmocka_unit_test(gains_follow_the_walk),
      cmocka_unit_test(redraw_gives_a_new_place_and_loss_each_round),
      cmocka_unit_test(surroundings_are_normal_and_fade_with_distance),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
