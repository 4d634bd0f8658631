#!/usr/bin/env bash
# What provisioning costs beside Debian's cloud-init, on the same configuration in the same root:
# checking it, and applying it. Prints CPU time, memory and helper processes of each, and the ratios.
# Needs root; what cloud-init runs in is kept in target/ for the next time.
# usage: coreos-init/bench.sh PROGRAMS WORK-DIRECTORY
set -euo pipefail
program=$1/coreos-init work=$2
here=$(dirname "$0")
suite=trixie
peer=target/bench-cloud-init-$suite
rm -rf "$work"
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT

if [ "$(id -u)" != 0 ]; then
    echo "not root: coreos-init is not compared with cloud-init"
    exit 0
fi
if [ ! -e "$peer/usr/bin/cloud-init" ]; then
    rm -rf "$peer"
    if ! mmdebstrap --quiet --variant=minbase --include=cloud-init,netcat-openbsd,openssh-server,sudo,systemd \
        $suite "$peer" >"$work/log" 2>&1; then
        tail -5 "$work/log"
        rm -rf "$peer"
        echo "no Debian archive: coreos-init is not compared with cloud-init"
        exit 0
    fi
    # It finds its configuration where a NoCloud disc would be mounted.
    mkdir -p "$peer/var/lib/cloud/seed/nocloud"
    echo 'instance-id: bench' >"$peer/var/lib/cloud/seed/nocloud/meta-data"
    # Making host keys is not compared.
    printf 'datasource_list: [NoCloud]\nssh_deletekeys: false\nssh_genkeytypes: []\n' \
        >"$peer/etc/cloud/cloud.cfg.d/99-bench.cfg"
fi
cp "$here/bench.yaml" "$peer/root/bench.yaml"
cp "$here/bench.yaml" "$peer/var/lib/cloud/seed/nocloud/user-data"
# Both start with what this root is made of.
tar -C "$peer" -cf "$work/base.tar" etc usr/share/zoneinfo/Europe usr/lib/systemd/system

# The roots that the next command uses up, one each: fresh RUNS
fresh() {
    rm -rf "$work/roots"
    for run in $(seq "$1"); do
        mkdir -p "$work/roots/$run"
        tar -C "$work/roots/$run" -xf "$work/base.tar"
    done
}

# A mount namespace of its own: what is mounted in it goes with it. It starts without what an
# earlier run has left.
peer_run() {
    unshare --mount --net --fork sh -eu -c '
        mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root"
        mount -t proc proc "$2/root/proc"
        mount --rbind /dev "$2/root/dev"
        mount -t tmpfs run "$2/root/run"
        shift; cd "$1/root"; shift
        exec chroot . "$@"' sh "$PWD/$peer" "$PWD/$work/peer" "$@"
}

# Prints `CPU-ms KiB processes` of a command, which gets the number of its run for {}.
cost() { # RUNS COMMAND…
    local runs=$1 run cpu memory started
    shift
    : >"$work/cost"
    for run in $(seq "$runs"); do
        rm -rf "$work/peer"
        mkdir -p "$work/peer/upper" "$work/peer/work" "$work/peer/root"
        TIMEFORMAT='%U %S'
        if ! { time "${@//\{\}/$run}" >"$work/log" 2>&1; } 2>>"$work/cost"; then
            tail -5 "$work/log" >&2
            return 1
        fi
    done
    cpu=$(awk '{ sum += ($1 + $2) * 1000 } END { printf "%.1f", sum / NR }' "$work/cost")
    rm -rf "$work/peer" && mkdir -p "$work/peer/upper" "$work/peer/work" "$work/peer/root"
    command time -q -o "$work/memory" -f '%M' "${@//\{\}/$((runs + 1))}" >"$work/log" 2>&1 || true
    memory=$(tail -1 "$work/memory")
    rm -rf "$work/peer" && mkdir -p "$work/peer/upper" "$work/peer/work" "$work/peer/root"
    strace -f -qq -e trace=execve -e signal=none -o "$work/trace" "${@//\{\}/$((runs + 2))}" >"$work/log" 2>&1 || true
    # What only waits for the stages is none of theirs.
    started=$(grep 'execve(.*= 0$' "$work/trace" | grep -cv '/sleep"\|nc.openbsd"' || true)
    echo "$cpu $memory $started"
}

compare() { # NAME COST-OF-OURS COST-OF-THEIRS
    echo "$2 $3" | awk -v name="$1" '{
        printf "%-10s coreos-init %8.1f ms CPU %7.1f MB %4d helper processes\n", name, $1, $2 / 1024, $3
        printf "%-10s cloud-init  %8.1f ms CPU %7.1f MB %4d helper processes\n", "", $4, $5 / 1024, $6
        printf "%-10s %.0f times the CPU, %.1f times the memory\n", "", $4 / $1, $5 / $2
    }'
}

# The four stages as Debian's units start them: one process, told by sockets when to go on.
cat >"$peer/root/stages" <<'STAGES'
#!/bin/sh
cloud-init --all-stages &
for stage in local network config final; do
    while [ ! -S /run/cloud-init/share/$stage.sock ]; do sleep 0.1; done
    echo start | nc.openbsd -Uu -W1 /run/cloud-init/share/$stage.sock \
        -s /run/cloud-init/share/$stage-return.sock >/dev/null
done
wait
# It did what was asked for.
test -x /opt/bin/hello && id ann
STAGES
chmod +x "$peer/root/stages"

export -f peer_run
export peer work

# What theirs costs without the root that it runs in.
beyond() { # COST COST-OF-NOTHING
    echo "$1 $2" | awk '{ printf "%.1f %d %d", $1 - $4, $2, $3 - $6 }'
}

version=$(sed -n '/^Package: cloud-init$/,/^$/s/^Version: //p' "$peer/var/lib/dpkg/status")
echo "coreos-init beside cloud-init $version of Debian $suite, one run on average"
nothing=$(cost 5 bash -c 'peer_run true')
theirs=$(cost 5 bash -c 'peer_run cloud-init schema -c /root/bench.yaml')
ours=$(cost 50 "$program" validate "$here/bench.yaml")
compare validate "$(beyond "$ours" "0 0 1")" "$(beyond "$theirs" "$nothing")"
theirs=$(cost 5 bash -c 'peer_run /root/stages')
fresh 52
ours=$(cost 50 "$program" apply --root "$work/roots/{}" --from-file "$here/bench.yaml")
compare apply "$(beyond "$ours" "0 0 1")" "$(beyond "$theirs" "$nothing")"
