#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Stores behind guests: a real NFS server on Dom0's loopback, by nfs:// and mounted by Dom0's kernel (file://), and a
# real S3 server. What a guest writes the server has, with the same checksum; what changes there another guest sees.
# Dom0 speaks to them alone: guests have no network.
# vidas-timeout: 400
# vidas-lab: s3
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/guests.sh"
. "$VIDAS_SRC/tests/lib/stores.sh"
say() { echo "== $* ($SECONDS s)"; }
flush() { on "$1" "setfattr -n user.vidas.flush -v 1 /vidas/$2"; }
sum() { sha256sum | cut -d ' ' -f 1; }

# shows KIND NAME, takes KIND NAME: the server's own view, by a client that is not ours
shows() {
	case $1 in
	s3) "$VIDAS_SRC/tests/servers/s3client" "$OUT/s3.env" get vidastest "files/$2" ;;
	file) store cat "in/$2" ;;
	*) store cat "$2" ;;
	esac
}
takes() {
	case $1 in
	s3) "$VIDAS_SRC/tests/servers/s3client" "$OUT/s3.env" put vidastest "files/$2" ;;
	file) store put "in/$2" ;;
	*) store put "$2" ;;
	esac
}

# works KIND: over the container of that name
works() {
	local c=/vidas/$1
	say "$1"
	on 1 "mkdir $c/dir; head -c 3000001 /dev/urandom >$c/dir/big; echo small >$c/small; sha256sum <$c/dir/big" >sent
	flush 1 "$1"
	same "$(cut -d ' ' -f 1 sent)" "$(shows "$1" dir/big | sum)" "the bytes that the $1 server has"
	same small "$(shows "$1" small)"
	on 2 "sha256sum <$c/dir/big" | cmp - sent
	# Changed there: a guest sees it when it asks, and the other one then.
	head -c 2000003 /dev/urandom >new
	takes "$1" dir/big <new
	on 2 "sha256sum <$c/dir/big" | cmp - sent
	on 2 "vidas update $c/dir/big"
	for n in 1 2; do same "$(sum <new)" "$(on $n "sha256sum <$c/dir/big" | cut -d ' ' -f 1)" "what guest $n sees"; done
	# Renamed and removed by guests.
	on 2 "mv $c/dir $c/moved; rm $c/small"
	flush 2 "$1"
	same "$(sum <new)" "$(shows "$1" moved/big | sum)"
	! shows "$1" small >/dev/null 2>&1 || fail "a removed file is still on the $1 server"
}

mkdir store-nfs4 # no tmpfs is exported
mount --bind "$DISK" store-nfs4
store_begin nfs4
trap 'guests_logs; store_end' EXIT
kinds=nfs
if [ -e "$OUT/s3.env" ]; then
	set -a
	. "$OUT/s3.env"
	set +a
	export AWS_EC2_METADATA_DISABLED=true
	kinds+=" s3"
else
	echo "S3 was not tried: $(cat "$OUT/s3.missing")"
fi
# The kernel's own client, of a directory of that server.
mkdir mnt "$store_dir/export/in"
for module in sunrpc grace lockd nfs dns_resolver nfsv4; do
	[ -d "/sys/module/$module" ] || insmod "/lab/mod/$module.ko"
done
port=$(sed -n 's|^nfs://[^:/]*:\([0-9]*\)/.*|\1|p' <<<"$root")
mount -i -t nfs4 -o "addr=127.0.0.1,clientaddr=127.0.0.1,port=$port,vers=4.2,sec=sys,soft,timeo=100" 127.0.0.1:/export/in mnt
kinds+=" file"

guests_start
guests="$(id 1),$(id 2)"
admin container create nfs --root "$root" --domains "$guests"
case $kinds in *s3*) admin container create s3 --root "s3://vidastest/files?endpoint=$S3_ENDPOINT&region=$S3_REGION" --domains "$guests" ;; esac
admin container create file --root "file://$PWD/mnt" --domains "$guests"
for n in 1 2 3; do on $n "mkdir -p /vidas && vidasfs -o log=/run/vidasfs.log /vidas"; done
for kind in $kinds; do works "$kind"; done
same "" "$(on 3 "ls /vidas; ls /vidas/nfs 2>/dev/null || true")" "what a guest that is not on the list sees"
for n in 1 2 3; do on $n umount /vidas; done
guests_stop
umount mnt
store_end
umount store-nfs4
rm -rf "${DISK:?}"/*
