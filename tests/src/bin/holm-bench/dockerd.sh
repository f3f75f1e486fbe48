# A dockerd in namespaces of its own, on a root file system of its own. $1 is the folder of the root file system, made
# where it is not there yet; $2 one for data and socket.
root=$1 work=$2
# Debian's releases later than this computer's have the engine of today.
suite=forky
if [ ! -d "$root" ]; then
    echo "making a Debian $suite with dockerd in $root" >&2
    mkdir -p "$(dirname "$root")"
    mmdebstrap --quiet --variant=minbase --aptopt='Acquire::Check-Valid-Until "false"' \
        --include=docker.io,iptables,ca-certificates "$suite" "$root.new" http://deb.debian.org/debian >&2
    mkdir -p "$root.new/var/lib/docker" "$root.new/run"
    mv "$root.new" "$root"
fi
mkdir -p "$work/data" "$work/run"
exec unshare --mount --net --pid --fork --kill-child --propagation private bash -eu -c '
    root=$1 work=$2
    ip link set lo up
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs tmpfs "$root/run"
    mount -t tmpfs tmpfs "$root/tmp"
    mkdir "$root/run/out" "$root/run/old"
    mount --bind "$work/run" "$root/run/out"
    mount --bind "$work/data" "$root/var/lib/docker"
    cd "$root"
    pivot_root . run/old
    umount -l /run/old
    exec dockerd --host unix:///run/out/docker.sock --exec-root /run/docker --pidfile /run/docker.pid \
        --cgroup-parent /holm-bench
' bash "$root" "$work"
