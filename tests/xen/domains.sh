#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Tests of tests/domains, unchanged, over Xen's ring and granted pages: each domain has a gate and an agent of its own,
# and the agent's side of both, which is a guest's elsewhere, is Dom0 too: these are one program or one shell that works
# in several domains at once, and no program is in two guests. `run-domains` takes all that can be run so, which is long
# in emulation. What cannot be, and why, is printed.
# vidas-timeout: 240
. "$VIDAS_SRC/tests/lib/test.sh"
[ -n "${GUESTS:-}" ] || skip "runs in the lab's Dom0 alone"
export VIDAS_TEST_TRANSPORT=vchan
quick="api update coherence locks"
long="paper restart async fsck leases policy_table sync"

# Why not, of all others.
declare -A not=(
	[api_tree]="a guest's programs have no trees"
	[host_object]="reads and writes the descriptors that vidasd sends, which are granted pages here"
	[host_restart]="the same"
	[host_root]="the same"
	[host_session]="sends vidasd a descriptor, which a guest cannot"
	[host_stress]="maps the descriptors that vidasd sends"
	[rooted]="maps files for writing, which takes passthrough"
	[eager]="the same"
	[fetch]="the same"
	[worker_killed]="a near half that is killed takes along what is open"
	[restart_load]="the same"
	[status]="vidas doctor says other things of a Dom0"
	[vidasd]="has no domains"
	[workflow]="domains are mount namespaces; xen/mount has it between guests"
	[over_xen]="the same over a socket"
	[xen_hostile]="sends frames by a socket; xen/hostile has a ring"
	[far_hostile]="the same"
)
for file in "$VIDAS_SRC"/tests/domains/*.sh "$VIDAS_SRC"/tests/domains/*.c; do
	name=$(basename "${file%.*}")
	case " $quick $long " in *" $name "*) continue ;; esac
	[ -n "${not[$name]:-}" ] || fail "is tests/domains/$name run here, or why not?"
	echo "not here: $name: ${not[$name]}"
done

failed=
for name in $quick ${DOMAINS_LONG:+$long}; do
	program=$VIDAS_SRC/tests/domains/$name.sh start=$SECONDS status=0
	[ -e "$program" ] || program=$VIDAS_BUILD/tests/domains/$name
	mkdir "$VIDAS_TMP/$name"
	(cd "$VIDAS_TMP/$name" && VIDAS_TMP=$VIDAS_TMP/$name exec setsid unshare --mount --propagation private --pid --fork \
		--kill-child --mount-proc bash -c '"$@"; exit $?' bash "$program") >"$VIDAS_TMP/$name.log" 2>&1 || status=$?
	xenstore-rm "$VIDAS_TMP/$name" 2>/dev/null || true
	echo "domains/$name over Xen's ring: status $status, $((SECONDS - start)) s"
	if [ $status != 0 ]; then
		failed+=" $name"
		tail -n 20 "$VIDAS_TMP/$name.log"
		grep -hE '^ +[0-9]+\. ' "$VIDAS_TMP/$name.log" || true
	fi
	rm -rf --one-file-system "${VIDAS_TMP:?}/$name"
done
[ -z "$failed" ] || fail "over Xen's ring:$failed"
nothing_granted() { [ "$(grants stat 0 | cut -d ' ' -f 1-3)" = "0 0 0" ]; }
wait_for 20 nothing_granted
