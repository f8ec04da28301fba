#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The workflow of ./quickstart between two domains, in namespaces of their own, while vidasd is killed again and again:
# it ends correctly, and the backend has the same bytes.
# vidas-timeout: 300
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
source=$VIDAS_TMP/source store=$VIDAS_TMP/store
mkdir -p "$source" "$store" "$VIDAS_TMP/v"
cp -a /usr/include/linux /usr/share/doc/base-files "$source" # a thousand files, symbolic links
ln -s linux "$source/link"
vidasd_start
domain_add 1
domain_add 2
admin container create demo --root "file://$store" --domains 1,2

in_domain() { vidas-domain -m "$VIDAS_TMP/v" -o "log=$VIDAS_TMP/domain$1.log" -r "$run" "$1" -- sh -euc "$2"; }

in_domain 2 "
	mkdir $VIDAS_TMP/v/scratch
	for i in \$(seq 600); do [ -e $VIDAS_TMP/v/demo/in.tar ] && break; sleep 0.1; done
	tar -C $VIDAS_TMP/v/scratch -xf $VIDAS_TMP/v/demo/in.tar
	diff -r --no-dereference $source $VIDAS_TMP/v/scratch
	(cd $VIDAS_TMP/v/scratch && grep -rc define . | sort) >$VIDAS_TMP/v/demo/index.part
	mv $VIDAS_TMP/v/demo/index.part $VIDAS_TMP/v/demo/index
" &
consumer=$!
in_domain 1 "
	cd $source
	for part in *; do
		tar -rf $VIDAS_TMP/v/demo/in.part \"\$part\"
		sleep 0.3
	done
	mv $VIDAS_TMP/v/demo/in.part $VIDAS_TMP/v/demo/in.tar
	for i in \$(seq 600); do [ -e $VIDAS_TMP/v/demo/index ] && break; sleep 0.1; done
	setfattr -n user.vidas.flush -v 1 $VIDAS_TMP/v/demo
" &
producer=$!

for _ in 1 2 3 4 5 6; do
	sleep 0.4
	vidasd_kill
	sleep 0.2
	vidasd_start
done
wait $producer || fail "domain 1 broke: $(cat "$VIDAS_TMP/domain1.log")"
wait $consumer || fail "domain 2 broke: $(cat "$VIDAS_TMP/domain2.log")"

mkdir "$VIDAS_TMP/unpacked"
tar -C "$VIDAS_TMP/unpacked" -xf "$store/in.tar"
diff -r --no-dereference "$source" "$VIDAS_TMP/unpacked" || fail "the backend's archive differs from the source"
same "$(cd "$source" && grep -rc define . | sort | sha256sum)" "$(sha256sum <"$store/index")" "the index in the backend"
same "in.tar index" "$(ls "$store" | xargs)" "names in the backend"
vidasd_stop
