#!/usr/bin/env bash
# Thalweg beside timely, renoir and Flink on the workloads of workloads.md, interleaved in one session on this machine.
#
#   bench/compare.sh [--runs N] [--quick]
#
#   --runs N   measured runs of every workload and engine (default 3)
#   --quick    3 M events, one run: shows that everything works and agrees, measures nothing
#
# CARGO_TARGET_DIR is honoured; PEERS_TARGET_DIR, if set, replaces it for the peers.
# Writes results/raw-<date>.jsonl and results/table-<date>.md. A full session (no --quick, every engine, N >= 3,
# every check value right) also replaces results/table.md, the one file there that git keeps.
# Exit status 1: a run failed or gave a wrong check value. Nothing else should use the CPUs meanwhile.
set -euo pipefail

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; }
die() { echo "compare.sh: $*" >&2; exit 2; }

runs='' quick=0
while [ $# -gt 0 ]; do
  case $1 in
    --runs) [ $# -ge 2 ] || die "--runs needs a number"; runs=$2; shift ;;
    --runs=*) runs=${1#*=} ;;
    --quick) quick=1 ;;
    -h|--help) usage; exit 0 ;;
    *) die "unknown argument $1 (see --help)" ;;
  esac
  shift
done
[ -n "$runs" ] || { if [ $quick = 1 ]; then runs=1; else runs=3; fi; }
[[ $runs =~ ^[1-9][0-9]*$ ]] || die "--runs wants a whole number from 1, not '$runs'"
for t in cargo python3; do command -v $t >/dev/null || die "$t is not installed"; done

absolute() { case $1 in /*) echo "$1" ;; *) echo "$PWD/$1" ;; esac; }
if [ -n "${CARGO_TARGET_DIR:-}" ]; then CARGO_TARGET_DIR=$(absolute "$CARGO_TARGET_DIR"); export CARGO_TARGET_DIR; fi
if [ -n "${PEERS_TARGET_DIR:-}" ]; then PEERS_TARGET_DIR=$(absolute "$PEERS_TARGET_DIR"); fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# build <directory> <binary> <cargo arguments>: builds, prints the path of the binary wherever cargo put it.
# The peers inherit the workspace's rustflags (--cfg madsim): none of their dependencies reads that flag.
build() {
  local dir=$1 bin=$2; shift 2
  (cd "$dir" && cargo build --message-format=json-render-diagnostics "$@") | python3 -c '
import json, sys
exe = None
for line in sys.stdin:
    m = json.loads(line)
    if m.get("executable") and m["target"]["name"] == sys.argv[1]:
        exe = m["executable"]
print(exe) if exe else sys.exit("cargo built no binary " + sys.argv[1])' "$bin"
}
peer() {
  local locked=()
  [ ! -f "$here/peers/$1/Cargo.lock" ] || locked=(--locked)
  if [ -n "${PEERS_TARGET_DIR:-}" ]; then export CARGO_TARGET_DIR=$PEERS_TARGET_DIR; fi
  build "$here/peers/$1" "peer-$1" --release ${locked[@]+"${locked[@]}"}
}

echo "building thalweg-bench" >&2
thalweg=$(build "$here/.." thalweg-bench --profile measured -p thalweg-bench)
echo "building peer-timely" >&2
timely=$(peer timely)
echo "building peer-renoir" >&2
renoir=$(peer renoir)

flink_missing() { # prints why Flink cannot run, or nothing
  local t v
  for t in java javac; do command -v $t >/dev/null || { echo "$t is not installed (a JDK 17 is needed)"; return; }; done
  v=$(javac -version 2>&1 | sed -n 's/^javac \([0-9]*\).*/\1/p')
  [ "${v:-0}" -ge 17 ] || { echo "javac is version ${v:-unknown}, a JDK 17 is needed"; return; }
  if [ ! -f "$here/peers/flink/dist/flink-dist-2.3.0.jar" ]; then
    for t in pip unzip; do command -v $t >/dev/null || { echo "$t is not installed, so its jars cannot be fetched"; return; }; done
  fi
  echo "building flink's jobs (the first time fetches 330 MB)" >&2
  "$here/peers/flink/build.sh" >&2 || echo "flink/build.sh failed (messages above)"
}
why=$(flink_missing)
engines=("thalweg=$thalweg" "timely=$timely" "renoir=$renoir")
if [ -z "$why" ]; then engines+=("flink=$here/peers/flink/run.sh"); else echo "SKIPPING FLINK: $why" >&2; fi

mkdir -p "$here/results"
exec python3 "$here/compare.py" "$here" "$runs" "$quick" "$why" "${engines[@]}"
