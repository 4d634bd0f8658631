#!/usr/bin/env bash
# What an update costs: our patches beside zstd, xdelta3 and casync, to the release in a directory
# from older ones: one small package, all security updates that Debian's archives still have the
# version before of, and the kernel. Prints bytes, CPU seconds, memory and ratios.
# usage: channels/bench.sh PROGRAMS RELEASE-DIRECTORY WORK-DIRECTORY
set -euo pipefail
programs=$(realpath "$1") release=$(realpath "$2") work=$3
rm -rf "$work"
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT

"$programs/examples/delta-bench" locks image/coreos.lock "$work/locks"
olds=()
for kind in small security kernel; do
    "$programs/image" build --lock "$work/locks/$kind.lock" --version 0.0.1 --no-qcow2 \
        --output "$work/$kind" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
    rm -f "$work/$kind/coreos.raw"
    olds+=("$kind=$work/$kind")
done
"$programs/examples/delta-bench" compare "$release" "${olds[@]}"

cd "$work"
"$programs/channels" init --no-passphrase >log
"$programs/channels" publish security --no-packs >>log
"$programs/channels" publish "$release" --patch-from 0.0.1 >>log
version=$(basename "$release"/coreos_*.root .root)
# What was written until here is not to be waited for.
sync
for how in "" unpatched; do
    "$programs/examples/apply-bench" repository repository/metadata/1.root.json security "${version#coreos_}" $how
done
