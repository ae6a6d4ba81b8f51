#!/bin/bash
# boot.sh ROOT: boots systemd of ROOT as process 1 of a process namespace, with /root/inside.sh beside it.
set -e
[ $$ = 1 ] || exit 77
root=$1
mount --make-rprivate /
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount --rbind /dev dev
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
mkdir -p .old
printf '[Unit]\nDefaultDependencies=no\n' >etc/systemd/system/test.target
pivot_root . .old
umount -l /.old
rmdir /.old
export container=adit-test PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C HOME=/root TERM=dumb
unset XDG_RUNTIME_DIR
(
  for _ in $(seq 300); do
    [ "$(systemctl is-active test.target 2>/dev/null)" = active ] && break
    sleep 0.1
  done
  status=0
  bash /root/inside.sh </dev/null 2>&1 || status=$?
  echo "ended: $status"
  # The process namespace ends with process 1.
  kill -RTMIN+14 1
) &
exec /lib/systemd/systemd --unit=test.target --log-target=null --show-status=0 </dev/null
