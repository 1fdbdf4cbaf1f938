#!/usr/bin/env bash
# A full disk, a folder that cannot be written, no room for the shared weights: one clear message, no
# half-written result, and an older result stays as it was.
. tests/e2e/common.sh

# a folder's place taken by a file
echo hello >"$TEST_TMP/file"
expect_failure 1 "$TEST_TMP/file" fedcell_on 2 run "$small" --output "$TEST_TMP/file/x.h5"

# a read-only folder, seen by a user without root's rights
if [[ $(id -u) -eq 0 ]]; then
  as_user=(setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=/tmp)
  chmod 755 "$TEST_TMP"
else
  as_user=(env)
fi
mkdir "$TEST_TMP/locked"
chmod 555 "$TEST_TMP/locked"
if "${as_user[@]}" test -x "$FEDCELL" -a -r "$small"; then
  expect_failure 1 "cannot write results there: Permission denied" \
    "${as_user[@]}" "$FEDCELL" run "$small" --output "$TEST_TMP/locked/x.h5"
fi

# a disk with room for the configuration, but not for the result
mkdir "$TEST_TMP/disk"
if ! mount -t tmpfs -o size=64k tmpfs "$TEST_TMP/disk" 2>/dev/null; then
  skip "a full disk needs the right to mount a tmpfs; the other cases passed"
fi
trap 'umount "$TEST_TMP/disk"' EXIT
expect_failure 1 "x.ckpt.h5: it needs up to" fedcell_on 2 run "$small" --quiet --set federation.rounds=50 \
  --set adapter.rank=16 --output "$TEST_TMP/disk/x.h5"
[[ -z $(ls "$TEST_TMP/disk") ]] || fail "left behind: $(ls "$TEST_TMP/disk")"
expect_failure 1 "model.scratch" fedcell_on 2 run "$small" --quiet --set model.width=64 \
  --set model.scratch="$TEST_TMP/disk" --output "$TEST_TMP/x.h5"
