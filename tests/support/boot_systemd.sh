#!/bin/bash
# Boots a real systemd as process 1 of namespaces of its own, over a throw-away copy of this machine's files. What is in
# FOLDER/files is laid over them, and PROGRAM is /usr/bin/keyround. The network is this machine's, so that the services
# reach the test's emulator; nothing else of the machine is seen or changed.
#
# usage, as root: boot_systemd.sh FOLDER PROGRAM (or "": the /usr/bin/keyround of this machine)
# KEYROUND_TEST_SYSTEMD may name a folder with the files of another version of systemd, to be used instead of this
# machine's (with usr/ alone at its top).
# Prints the process number of that systemd as this machine counts, and ends it when standard input ends.
set -euo pipefail
folder=$1 program=$2

hierarchy=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
[[ -n $hierarchy ]] || { echo "no cgroup2 hierarchy is mounted on this machine" >&2; exit 1; }
# A part of the hierarchy must be ours before the namespace is made: it becomes the root of what systemd sees.
group=$hierarchy/keyround-test.$$
mkdir "$group"
echo $$ > "$group/cgroup.procs"

cleanup() {
    kill -9 "$outside" 2>/dev/null || true
    wait "$outside" 2>/dev/null || true
    echo $$ > "$hierarchy/cgroup.procs"
    for _ in $(seq 50); do
        find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
        [[ -d $group ]] || break
        sleep 0.1
    done
}

export folder program
unshare --fork --kill-child --pid --mount --uts --ipc --cgroup --propagation private -- /bin/bash -euc '
    hostname keyround-test
    mount -t tmpfs -o size=1g,mode=755 tmpfs "$folder/overlay"
    mkdir "$folder"/overlay/{upper,work,root}
    root=$folder/overlay/root
    mount -t overlay -o "lowerdir=/,upperdir=$folder/overlay/upper,workdir=$folder/overlay/work" overlay "$root"
    mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
    for name in sys sysrq-trigger; do
        [ -e "$root/proc/$name" ] || continue
        mount --bind "$root/proc/$name" "$root/proc/$name"
        mount -o remount,bind,ro "$root/proc/$name"
    done
    [ ! -e "$root/proc/kmsg" ] || mount --bind /dev/null "$root/proc/kmsg"
    mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
    mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$root/sys/fs/cgroup"
    mount -t tmpfs -o mode=755,nosuid,nodev tmpfs "$root/run"
    mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/tmp"
    mount -t tmpfs -o mode=755,nosuid tmpfs "$root/dev"
    for device in "null 1 3" "zero 1 5" "full 1 7" "random 1 8" "urandom 1 9" "tty 5 0"; do
        set -- $device
        mknod -m 666 "$root/dev/$1" c "$2" "$3"
    done
    mkdir "$root"/dev/{pts,shm,mqueue}
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
    mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/dev/shm"
    ln -s pts/ptmx "$root/dev/ptmx"
    ln -s /proc/self/fd "$root/dev/fd"

    # What this machine starts at boot is not wanted, nor what needs hardware.
    rm -f "$root"/etc/systemd/system/*.{wants,requires}/* "$root"/{usr/,}lib/systemd/system/timers.target.wants/*
    rm -f "$root/etc/fstab"
    # Nor what the package left here: one that was removed leaves its units masked.
    [ -z "$program" ] || rm -rf "$root"/{etc,usr/lib}/systemd/system/keyround* "$root"/{etc,var/lib}/keyround
    for unit in systemd-{udevd,udev-trigger,timesyncd,hwdb-update,modules-load,sysctl,random-seed,pstore,logind}.service \
        systemd-{firstboot,binfmt,networkd,resolved,networkd-wait-online}.service ldconfig.service \
        systemd-udevd-{control,kernel}.socket dev-{hugepages,mqueue}.mount sys-kernel-{config,debug,tracing}.mount \
        sys-fs-fuse-connections.mount proc-sys-fs-binfmt_misc.automount; do
        ln -sf /dev/null "$root/etc/systemd/system/$unit"
    done
    # Without one, systemd takes this for the first boot of a new machine, and that takes minutes.
    echo 0123456789abcdef0123456789abcdef > "$root/etc/machine-id"
    printf "[Unit]\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n" \
        > "$root/etc/systemd/system/keyround-test.target"
    [ -z "${KEYROUND_TEST_SYSTEMD:-}" ] || cp -a "$KEYROUND_TEST_SYSTEMD/." "$root/"
    cp -a "$folder/files/." "$root/"
    if [ -n "$program" ]; then
        touch "$root/usr/bin/keyround"
        mount --bind "$program" "$root/usr/bin/keyround"
    fi

    cd "$root"
    mkdir -p mnt/.outside
    pivot_root . mnt/.outside
    cd /
    umount -l /mnt/.outside
    rmdir /mnt/.outside
    # In a container systemd leaves this to whoever made it, and the mounts of LoadCredential= depend on it.
    mount --make-rshared /
    exec setpriv --bounding-set -sys_time,-sys_module,-sys_rawio,-sys_boot,-syslog,-wake_alarm,-mac_admin \
        /usr/bin/env -i container=keyround-test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        /lib/systemd/systemd --system --unit=keyround-test.target --log-target=journal --show-status=no
' </dev/null >"$folder/boot.log" 2>&1 &
outside=$!
trap cleanup EXIT

for _ in $(seq 300); do
    inside=$(pgrep -P "$outside" | head -1) || true
    if [[ -n ${inside:-} && $(cat "/proc/$inside/comm" 2>/dev/null) == systemd ]]; then
        echo "$inside"
        exec >&-
        cat >/dev/null
        exit 0
    fi
    kill -0 "$outside" 2>/dev/null || break
    sleep 0.1
done
cat "$folder/boot.log" >&2
exit 1
