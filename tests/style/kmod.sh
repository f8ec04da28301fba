#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# vidas-presets: none
# kmod/ builds without a warning (W=1), and sparse finds nothing, nor does smatch where it is in PATH, against the kernel
# headers of this machine and, where the lab of tests/xen has its tree, those of its Debian.
. "$VIDAS_SRC/tests/lib/test.sh"
need make gcc
lab=$VIDAS_SRC/tests/xen/lab/lab
options=(C=2 CF=-D__CHECK_ENDIAN__)
command -v sparse >/dev/null || { echo "without sparse, which is not here"; options=(); }

clean() { # NAME, of a directory with make's output in its file `log`
	! grep -E 'vidas-gnt.*(warn:|warning|error|undefined)' "$VIDAS_TMP/$1/log" || fail "$1: see the lines above"
	[ -s "$VIDAS_TMP/$1/vidas-gnt.ko" ] || fail "$1: there is no module: $(tail -n 5 "$VIDAS_TMP/$1/log")"
	echo "$1: no warning"
}

built=0
for headers in /lib/modules/*/build; do
	[ -e "$headers/Makefile" ] || continue
	name=$(basename "$(dirname "$headers")")
	cp -r "$VIDAS_SRC/kmod" "$VIDAS_TMP/$name"
	make -C "$VIDAS_TMP/$name" KDIR="$headers" W=1 ${options[@]+"${options[@]}"} >"$VIDAS_TMP/$name/log" 2>&1 || true
	clean "$name"
	built=$((built + 1))
	command -v smatch >/dev/null || continue
	make -C "$VIDAS_TMP/$name" KDIR="$headers" clean >"$VIDAS_TMP/$name/log"
	make -C "$VIDAS_TMP/$name" KDIR="$headers" C=2 CHECK="smatch -p=kernel" >"$VIDAS_TMP/$name/log" 2>&1 || true
	grep -q 'CHECK .*vidas-gnt.c' "$VIDAS_TMP/$name/log" || fail "smatch was not run"
	clean "$name"
done
if "$lab" cached 2>/dev/null; then
	cp -r "$VIDAS_SRC/kmod" "$VIDAS_TMP/lab"
	# shellcheck disable=SC2016 # for the shell in the tree; W=1 wants perl's Pod::Usage, which is not there
	"$lab" sdk -C "$VIDAS_TMP/lab" sh -c 'make KDIR="$KDIR" KCFLAGS=-Wextra\ -Wno-unused-parameter\ -Wno-sign-compare "$@"' \
		sh C=2 CF=-D__CHECK_ENDIAN__ >"$VIDAS_TMP/lab/log" 2>&1 || true
	clean lab
	built=$((built + 1))
fi
[ $built -gt 0 ] || skip "no kernel headers here (scripts/install-deps xen-lab)"
