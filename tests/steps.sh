# shellcheck shell=bash
# tests/steps.sh - the steps of tests/run.sh, one function step_<name> each; sourced by it.
# A step reports every test with `tell`; what it prints goes to build/test-logs/<name>.log.

: "${filter=}" # set by run.sh
logs=build/test-logs
# One line "passed|failed|skipped step/test reason" for each test: the only source of all counts.
tally=$logs/tally.txt

release_build=build-test
asan_build=build-asan
fuzz_build=build-fuzz

# tell passed|failed|skipped STEP[/TEST] [REASON]
tell() { printf '%s\n' "$*" >>"$tally"; }

# Tally lines in, "N passed, N failed, N skipped" out.
count_tests() {
  awk '{ n[$1]++ } END { printf "%d passed, %d failed, %d skipped\n", n["passed"], n["failed"], n["skipped"] }'
}

# selected STEP [TEST]: does the filter take it? A filter that matches the step takes all of it.
selected() { [[ -z $filter || $1 =~ $filter || (-n ${2-} && $2 =~ $filter) ]]; }

# The filter for the names inside a step: empty where the step as a whole is taken.
inner_filter() { if [[ $1 =~ $filter ]]; then echo ''; else echo "$filter"; fi; }

# Project files with these endings, whether the project is a git checkout or an unpacked archive.
project_files() {
  if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    git ls-files -co --exclude-standard -- "$@" | while read -r file; do
      [[ ! -f $file ]] || echo "$file"
    done
  else
    local name names=()
    for name in "$@"; do names+=(-o -path "./$name"); done
    find . -path './build*' -prune -o -type f \( "${names[@]:1}" \) -print
  fi
}

# report STEP EXIT-CODE: a step that is one test.
report() {
  if (($2 == 0)); then tell passed "$1"; else tell failed "$1" "see $logs/$1.log"; fi
}

# Waits until fewer jobs run in the background than there are cores.
wait_for_core() {
  while (($(jobs -rp | wc -l) >= $(cores))); do wait -n || true; done
}

# ---- checks of the text -------------------------------------------------------------------------

step_format() {
  selected format || return 0
  local code=0
  project_files '*.c' '*.h' | xargs -r clang-format --dry-run -Werror || code=$?
  report format "$code"
}

step_shellcheck() {
  selected shellcheck || return 0
  local code=0
  project_files '*.sh' '.ci/run' '*.sbatch' | xargs -r shellcheck -x || code=$?
  report shellcheck "$code"
}

step_documents() {
  selected documents || return 0
  local code=0
  python3 tests/documents.py || code=$?
  report documents "$code"
}

step_clang_tidy() {
  selected clang-tidy || return 0
  local code=0
  run-clang-tidy -p "$release_build" -quiet -j "$(cores)" "$PWD/src/" || code=$?
  report clang-tidy "$code"
}

# ---- building -----------------------------------------------------------------------------------

# build FOLDER TARGETS...: goes on after an error, so that all of them are told at once.
build() {
  local folder=$1 keep_going=(-k)
  shift
  if [[ -f $folder/build.ninja ]]; then keep_going=(-k 0); fi
  cmake --build "$folder" -j "$(cores)" --target "$@" -- "${keep_going[@]}"
}

step_build() {
  # -g: valgrind then names files and lines.
  configure "$release_build" -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_FLAGS=-g -DFEDCELL_WERROR=ON
  # rooms_link: no room reaches what it may not use.
  build "$release_build" all rooms_link
  if selected build; then tell passed build; fi
}

# run_ctest STEP FOLDER CTEST-OPTIONS...: its tests into the tally, one by one.
run_ctest() {
  local name=$1 folder=$2 inner xml tests
  shift 2
  inner=$(inner_filter "$name")
  xml=$PWD/$logs/$name-$(basename "$folder").xml
  # ctest's own exit code says less than its report; no report at all makes the next line fail.
  ctest --test-dir "$folder" -j "$(cores)" -R "${inner:-.}" "$@" --output-on-failure \
    --output-junit "$xml" --test-output-size-passed 1000000 || true
  tests=$(python3 tests/read_junit.py "$name" "$xml")
  if [[ -n $tests ]]; then
    printf '%s\n' "$tests" >>"$tally"
  elif [[ -z $inner ]]; then
    tell failed "$name" "ctest knows no such tests"
  fi
}

step_unit() { run_ctest unit "$release_build" -LE '^(kernel|mpi)$'; }
step_kernel() { run_ctest kernel "$release_build" -L '^kernel$'; }
step_mpi() { run_ctest mpi "$release_build" -L '^mpi$'; }

# The same programs under the address and undefined-behaviour sanitizers, MPI programs on up to two
# ranks. Leaks inside Open MPI and its libraries are not ours (tests/lsan.supp).
step_sanitized() {
  # With a filter, do not build for nothing.
  local inner
  inner=$(inner_filter sanitized)
  [[ $(ctest --test-dir "$release_build" -N -R "${inner:-.}") != *'Total Tests: 0'* ]] || return 0
  configure "$asan_build" -DCMAKE_BUILD_TYPE=Debug -DFEDCELL_SANITIZE=address,undefined
  build "$asan_build" all || tell failed sanitized/build "see $logs/sanitized.log"
  LSAN_OPTIONS=suppressions=$PWD/tests/lsan.supp:print_suppressions=0 \
    UBSAN_OPTIONS=print_stacktrace=1 run_ctest sanitized "$asan_build" -E '[.]n[3-9]$'
}

# ---- fuzzing ------------------------------------------------------------------------------------

fuzz_seconds=10

fuzz_one() { # PROGRAM READER
  local program=$1 reader=$2
  local folders=("$fuzz_build/corpus/$reader") # what is found is kept and used by the next run
  mkdir -p "${folders[0]}"
  if [[ -d tests/fuzz/corpus/$reader ]]; then folders+=("tests/fuzz/corpus/$reader"); fi
  if LSAN_OPTIONS=suppressions=$PWD/tests/lsan.supp:print_suppressions=0 \
    "$program" -max_total_time="$fuzz_seconds" -timeout=20 -rss_limit_mb=2048 \
    -print_final_stats=1 -artifact_prefix="$logs/fuzz-$reader-" "${folders[@]}" \
    >"$logs/fuzz-$reader.log" 2>&1; then
    tell passed "fuzz/$reader"
  else
    tell failed "fuzz/$reader" "see $logs/fuzz-$reader.log; the input is kept beside it"
  fi
}

# Each reader is fed mutations of its seeds for a few seconds under the sanitizers.
step_fuzz() {
  local source wanted=no program reader
  for source in tests/fuzz/fuzz_*.c; do
    if [[ -f $source ]] && selected fuzz "$(basename "$source" .c)"; then wanted=yes; fi
  done
  [[ $wanted == yes ]] || return 0
  CC=clang configure "$fuzz_build" -DCMAKE_BUILD_TYPE=Release -DFEDCELL_FUZZ=ON -DFEDCELL_TESTS=OFF
  build "$fuzz_build" fuzzers
  for program in "$fuzz_build"/tests/fuzz_*; do
    [[ -f $program && -x $program ]] || continue
    reader=${program##*/fuzz_}
    selected fuzz "fuzz_$reader" || continue
    wait_for_core
    fuzz_one "$program" "$reader" &
  done
  wait
}

# ---- valgrind -----------------------------------------------------------------------------------

valgrind_one() { # PROGRAM TEST
  local program=$1 test=$2 log=$logs/valgrind-$2.log code=0
  OMP_NUM_THREADS=1 timeout 120 valgrind -q --error-exitcode=99 --leak-check=full \
    --errors-for-leak-kinds=definite --show-leak-kinds=definite "$program" >"$log" 2>&1 || code=$?
  case $code in
    0) tell passed "valgrind/$test" ;;
    77) tell skipped "valgrind/$test" "$(tail -n 1 "$log")" ;;
    124) tell skipped "valgrind/$test" "takes over 120 s under valgrind" ;;
    *) tell failed "valgrind/$test" "see $log" ;;
  esac
}

# Use of uninitialised memory, which the sanitizers do not see, in the rooms that read files and
# hold the program's memory.
step_valgrind() {
  local program test
  for program in "$release_build"/tests/{base,config,text,data}_test_*; do
    [[ -f $program && -x $program ]] || continue
    test=${program##*/}
    test=${test/_test_/.}
    selected valgrind "$test" || continue
    wait_for_core
    valgrind_one "$program" "$test" &
  done
  wait
}

# ---- scripts and Python -------------------------------------------------------------------------

# run_script STEP TEST COMMAND...: one test. It is given FEDCELL (the program) and TEST_TMP (an empty
# folder of its own); exit code 77 means skipped, its last line says why.
run_script() {
  local of=$1 test=$2 log=$logs/script-$2.log code=0
  shift 2
  selected "$of" "$test" || return 0
  export FEDCELL=$PWD/$release_build/fedcell TEST_TMP
  TEST_TMP=$(mktemp -d)
  timeout --kill-after=10 600 "$@" >"$log" 2>&1 </dev/null || code=$?
  rm -rf "$TEST_TMP"
  case $code in
    0) tell passed "$of/$test" ;;
    77) tell skipped "$of/$test" "$(tail -n 1 "$log")" ;;
    124 | 137) tell failed "$of/$test" "takes over 600 s; see $log" ;;
    *) tell failed "$of/$test" "$({ grep '^FAILED' "$log" || tail -n 1 "$log"; } | head -c 300) (see $log)" ;;
  esac
}

# Every executable tests/e2e/*.sh and tests/fault/*.sh is one test.
step_scripts() {
  local script
  for script in tests/e2e/*.sh tests/fault/*.sh; do
    [[ -x $script ]] || continue
    run_script scripts "$(basename "$(dirname "$script")").$(basename "$script" .sh)" "$script"
  done
}

# Every other executable of tests/slurm is one test, under a Slurm of its own: all at once, as they
# mostly wait.
step_slurm() {
  local script
  for script in tests/slurm/*.sh; do
    [[ -x $script && $script != */up.sh ]] || continue
    run_script slurm "slurm.$(basename "$script" .sh)" tests/slurm/up.sh "$script" &
  done
  wait
}

step_analysis() {
  local python
  python=$(fedcell_python)
  PYTHONPATH=analysis "$python" tests/python_tests.py analysis tests/analysis "$tally" \
    "$(inner_filter analysis)"
}

# fedcell against PyTorch, transformers and PEFT. The programs the tests compare with are in
# FEDCELL_BUILD.
step_oracle() {
  local python code=0
  python=$(tests/oracle/venv.sh 2>"$logs/oracle-venv.log") || code=$?
  if ((code == 77)); then
    if selected oracle; then tell skipped oracle "$(tail -n 1 "$logs/oracle-venv.log")"; fi
    return 0
  fi
  ((code == 0)) || return "$code"
  FEDCELL_BUILD=$PWD/$release_build FEDCELL=$PWD/$release_build/fedcell HF_HUB_OFFLINE=1 \
    TRANSFORMERS_OFFLINE=1 PYTHONPATH=analysis \
    "$python" tests/python_tests.py oracle tests/oracle "$tally" "$(inner_filter oracle)"
}
