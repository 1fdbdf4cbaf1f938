#!/usr/bin/env bash
# Every command that the documents show runs, on the files that they show. Those that take minutes are
# shortened to two rounds from a base that was hardly pretrained. What other tests execute, and what
# cannot run as it stands, is in the tables of documented.py.
. tests/e2e/common.sh

program=$FEDCELL project=$TEST_TMP/project
unset FEDCELL OMP_NUM_THREADS FEDCELL_CACHE
copy_project "$project"
shorten_sweeps "$project"
mkdir "$project/build"
cat >"$project/build/fedcell" <<SH
#!/usr/bin/env bash
case "\${LESS-}:\$1:\$*" in
  yes:run:*tellm*)
    set -- "\$@" --set environment.rounds=2 --set environment.channels='[2, 2]' --set environment.hidden=8 \\
      --set trajectories.count=4 --set dynamics.epochs=2 --set warm_up.steps=2 --set policy.width=40 \\
      --set grpo.iterations=1 --set grpo.episodes=2 --set evaluation.trials=2 ;;
  yes:run:*) set -- "\$@" --set federation.rounds=2 --set federation.eval_devices=4 --set pretrain.steps=10 ;;
esac
exec "$program" "\$@"
SH
chmod +x "$project/build/fedcell"

# the small model of llama2.c that a section of jobs/README.md starts from
stories=(../shared/models/stories260K.bin ../shared/tokenizers/llama2c/tok512.bin)
for file in "${stories[@]}"; do
  [[ -f $file ]] || skip "$file is not there"
  cp "$file" "$project"
done

"$(fedcell_python)" tests/e2e/documented.py documented_commands "$project" ||
  fail "a command of the documents, see above"

# the table of commands in README.md names all of them, and no other
commands() { sed -n "$1" "$2" | sort -u; }
diff <("$program" --help | commands 's/^  fedcell \([a-z]*\).*/\1/p' /dev/stdin) \
  <(commands 's/^| `fedcell \([a-z]*\).*/\1/p' README.md) || fail "README.md's table of commands"

# runs that stand within the text, as those behind the measured figures: their files and settings are right
# shellcheck disable=SC2016 # backquotes of the document
grep -oE '`[^`]*build/fedcell (run|check) jobs/[^`]*`' README.md |
  sed 's|.*\(build/fedcell .*\)`$|\1|' >"$TEST_TMP/within"
(($(wc -l <"$TEST_TMP/within") >= 3)) || fail "README.md names no runs within its text"
while read -r -a words; do
  if [[ ${words[2]} == */sst2-* && ! -d ../shared/data/sst2 ]]; then
    echo "not checked, as SST-2 is not there: ${words[*]}"
    continue
  fi
  # the fetched weights may not be there
  if [[ ${words[2]} == *-minilm.yaml ]]; then words+=(--set model.base=embedded); fi
  "$program" check "${words[@]:2}" >"$TEST_TMP/said" 2>&1 || fail "${words[*]}: $(tail -n 5 "$TEST_TMP/said")"
done <"$TEST_TMP/within"

# the check must be able to fail
mkdir -p "$TEST_TMP/other/tests/e2e"
cp tests/e2e/documented.py "$TEST_TMP/other/tests/e2e"
printf '%s\n' '```sh' 'build/fedcell check nowhere.yaml' '```' >"$TEST_TMP/other/README.md"
touch "$TEST_TMP/other/CONTRIBUTING.md"
expect_failure 1 "FAILED: README.md:1: exit code 1: build/fedcell check nowhere.yaml" \
  "$(fedcell_python)" "$TEST_TMP/other/tests/e2e/documented.py" documented_commands "$project"
printf '%s\n' '```' 'fedcell check' '```' >"$TEST_TMP/other/README.md"
expect_failure 1 "README.md:1: a block of kind '' without a file's name: nothing executes it" \
  "$(fedcell_python)" "$TEST_TMP/other/tests/e2e/documented.py" documented_commands "$project"
