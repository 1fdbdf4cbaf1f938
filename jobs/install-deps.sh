#!/usr/bin/env bash
# Installs what fedcell needs from the distribution's packages (Debian 12 and its kin); what is
# there already is left alone. Where nothing can be installed (no root, no apt: a cluster) it looks
# for the same things by other means and tells what to load.
#
#   jobs/install-deps.sh [--dry-run] [GROUP...]
#
# Groups: build (compile and run), analysis (tables and plots), tests (tests/run.sh). Default: all.
# Exit code: 0 all there, 1 installation failed, 2 wrong call, 3 something is missing and cannot be
# installed from here.
set -euo pipefail
# shellcheck source=jobs/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# group | Debian package | how to look for it where there is no dpkg | module that often has it
# A look: cmd:NAME on PATH, pc:NAME in pkg-config, inc:HEADER for the C compiler, py:MODULE in
# Python, none (comes with the one before).
requirements='
build    | gcc                    | cmd:cc                  | gcc
build    | libc6-dev              | inc:stdlib.h            | gcc
build    | make                   | cmd:make                | -
build    | cmake                  | cmd:cmake               | cmake
build    | ninja-build            | none                    | ninja
build    | pkg-config             | cmd:pkg-config          | pkgconf
build    | git                    | cmd:git                 | git
build    | libopenmpi-dev         | cmd:mpicc               | openmpi
build    | openmpi-bin            | cmd:mpirun              | openmpi
build    | libopenblas-openmp-dev | pc:openblas             | openblas
build    | liblapacke-dev         | inc:lapacke.h           | openblas
build    | libhdf5-openmpi-dev    | cmd:h5pcc               | hdf5
build    | libgsl-dev             | pc:gsl                  | gsl
build    | librandom123-dev       | inc:Random123/philox.h  | random123
build    | libyaml-dev            | pc:yaml-0.1             | libyaml
build    | libjansson-dev         | pc:jansson              | jansson
build    | libyajl-dev            | pc:yajl                 | yajl
build    | libpcre2-dev           | pc:libpcre2-8           | pcre2
build    | libutf8proc-dev        | pc:libutf8proc          | utf8proc
build    | zlib1g-dev             | pc:zlib                 | zlib
build    | libcmocka-dev          | pc:cmocka               | cmocka
analysis | python3                | cmd:python3             | python
analysis | python3-numpy          | py:numpy                | python
analysis | python3-h5py           | py:h5py                 | python
analysis | python3-pandas         | py:pandas               | python
analysis | python3-matplotlib     | py:matplotlib           | python
analysis | python3-scipy          | py:scipy                | python
analysis | python3-yaml           | py:yaml                 | python
analysis | python3-jinja2         | py:jinja2               | python
tests    | hdf5-tools             | cmd:h5dump              | hdf5
tests    | libdnnl-dev            | inc:dnnl.h              | onednn
tests    | valgrind               | cmd:valgrind            | valgrind
tests    | clang                  | cmd:clang               | llvm
tests    | clang-format           | cmd:clang-format        | llvm
tests    | clang-tidy             | cmd:clang-tidy          | llvm
tests    | libclang-rt-14-dev     | none                    | llvm
tests    | libomp-dev             | none                    | llvm
tests    | shellcheck             | cmd:shellcheck          | shellcheck
tests    | patch                  | cmd:patch               | -
tests    | python3-venv           | py:ensurepip            | python
tests    | python3-pip            | py:pip                  | python
tests    | python3-torch          | py:torch                | pytorch
tests    | python3-nbclient       | py:nbclient             | python
tests    | python3-nbformat       | py:nbformat             | python
tests    | python3-ipykernel      | py:ipykernel            | python
tests    | slurm-wlm              | cmd:slurmctld           | slurm
tests    | munge                  | cmd:munged              | munge
'

dry_run=no
groups=()
for argument in "$@"; do
  case $argument in
    build | analysis | tests) groups+=("$argument") ;;
    --dry-run) dry_run=yes ;;
    -h | --help)
      sed -n '2,/^set /{s/^# \{0,1\}//;/^set /d;p}' "$0"
      exit 0
      ;;
    *)
      echo "install-deps.sh: unknown argument '$argument' (groups: build analysis tests; --dry-run)" >&2
      exit 2
      ;;
  esac
done
((${#groups[@]})) || groups=(build analysis tests)

# One line "package look module" for each requirement of the chosen groups.
wanted() {
  awk -F'|' -v groups=" ${groups[*]} " '
    NF == 4 { gsub(/ /, ""); if (index(groups, " " $1 " ")) print $2, $3, $4 }' <<<"$requirements"
}

is_installed() {
  [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

# Succeeds if the thing is usable however it came here (modules, a prefix of the user's own).
is_found() {
  local kind=${1%%:*} name=${1#*:}
  case $kind in
    cmd) command -v "$name" >/dev/null ;;
    pc) pkg-config --exists "$name" 2>/dev/null ;;
    inc) printf '#include <%s>\n' "$name" | cc -E -x c - >/dev/null 2>&1 ;;
    py) /usr/bin/python3 -c "import $name" 2>/dev/null || python3 -c "import $name" 2>/dev/null ;;
    none) true ;;
  esac
}

# Fills as_root with the prefix that makes apt-get run as root; fails where there is none.
as_root=()
can_install() {
  command -v apt-get >/dev/null || return 1
  [[ $(id -u) -eq 0 ]] && return 0
  command -v sudo >/dev/null || return 1
  # A password can only be asked for on a terminal.
  sudo -n true 2>/dev/null || [[ -t 0 ]] || return 1
  as_root=(sudo)
}

install_packages() {
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q)
  step "updating the package lists"
  "${apt[@]}" update >/dev/null || die "apt-get update failed (no network?)"
  step "installing: $*"
  # A script must not read the answers of a prompt from its caller's input.
  "${apt[@]}" install -y --no-install-recommends "$@" </dev/null >/dev/null ||
    die "apt-get install failed; try it by hand: apt-get install --no-install-recommends $*"
}

# Without the right to install: what is really missing, and what to load.
tell_what_to_load() {
  local package look module modules=() absent=()
  while read -r package look module; do
    is_found "$look" && continue
    absent+=("$(printf '%-26s (Debian package %s)' "$look" "$package")")
    if [[ $module != - && " ${modules[*]} " != *" $module "* ]]; then modules+=("$module"); fi
  done < <(wanted)
  if ((${#absent[@]} == 0)); then
    echo "Nothing to install: all that the groups '${groups[*]}' need was found."
    return 0
  fi
  {
    echo "Packages cannot be installed from here (no apt-get, or neither root nor sudo)."
    echo "Not found (cmd: program, pc: pkg-config name, inc: C header, py: Python module):"
    printf '  %s\n' "${absent[@]}"
    echo "On a cluster, load modules such as these, or ask its administrators for the packages:"
    echo "  module load ${modules[*]}"
    echo "A library in a folder of your own is found through PKG_CONFIG_PATH and CPATH."
  } >&2
  return 3
}

missing=()
if command -v dpkg-query >/dev/null; then
  while read -r package _; do
    is_installed "$package" || missing+=("$package")
  done < <(wanted)
  if ((${#missing[@]} == 0)); then
    echo "Nothing to install: all packages of the groups '${groups[*]}' are there."
    exit 0
  fi
fi
if ! can_install; then
  tell_what_to_load
  exit # with its code
fi
if [[ $dry_run == yes ]]; then
  echo "Would install: ${missing[*]}"
  exit 0
fi
install_packages "${missing[@]}"
step "installed ${#missing[@]} packages"
