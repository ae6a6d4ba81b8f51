#!/bin/bash
# boot.sh ADIT PACKAGING SCRIPT: boots systemd as process 1 of a process namespace, with the units of PACKAGING
# and ADIT as /usr/bin/adit, and runs SCRIPT beside it. Its last line is "ended: STATUS".
set -e
[ $$ = 1 ] || exit 77
adit=$1 packaging=$2 script=$3
mount --make-rprivate /
root=/mnt
mount -t tmpfs adit-test "$root"
cd "$root"
mkdir -p proc sys dev run tmp etc var/lib var/log root .old .upper .work usr
for link in bin sbin lib lib32 lib64 libx32; do
  if [ -L "/$link" ]; then cp -a "/$link" .; fi
done
mount -t overlay -o "lowerdir=/usr,upperdir=$root/.upper,workdir=$root/.work" overlay usr
cp -a /etc/. etc/
rm -rf etc/systemd/system etc/adit
mkdir -p etc/systemd/system usr/lib/adit usr/lib/sysusers.d usr/lib/tmpfiles.d
echo 0123456789abcdef0123456789abcdef >etc/machine-id
install -m 755 "$adit" usr/bin/adit
install -m 755 "$packaging/copy-tunnel" usr/lib/adit/
install -m 644 "$packaging"/*.service etc/systemd/system/
install -m 644 "$packaging/adit.sysusers" usr/lib/sysusers.d/adit.conf
install -m 644 "$packaging/adit.tmpfiles" usr/lib/tmpfiles.d/adit.conf
install -m 755 "$script" root/script
mount -t proc proc proc
mount --rbind /dev dev
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
printf '[Unit]\nDefaultDependencies=no\n' >etc/systemd/system/test.target
# What the services print.
mkdir etc/systemd/system/service.d
printf '[Service]\nStandardOutput=append:/run/services.log\nStandardError=append:/run/services.log\n' >etc/systemd/system/service.d/log.conf
pivot_root . .old
umount -l /.old
export container=adit-test PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
unset XDG_RUNTIME_DIR
(
  for _ in $(seq 300); do
    [ "$(systemctl is-active test.target 2>/dev/null)" = active ] && break
    sleep 0.1
  done
  status=0
  bash /root/script </dev/null || status=$?
  echo "ended: $status"
) &
exec /lib/systemd/systemd --unit=test.target --log-target=null --show-status=0 </dev/null
