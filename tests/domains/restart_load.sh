#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# vidasd is killed again and again while three domains work on the same files of a container with a store: names,
# locks and those who wait for them, appends, writes through, leases recalled, files open all along; and
# vidasfs of one of them is killed in between. Nothing fails, nothing is lost, nothing is done twice.
# vidas-presets: release asan
# vidas-timeout: 240
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
seconds=8

is() { same "$1" "$(ask "${@:2}")" "${*:2}"; }
store=$VIDAS_TMP/store
mkdir "$store"
vidasd_start
for i in 1 2 3; do domain_add $i; done
admin container create c --domains 1,2,3 --root "file://$store"
for i in 1 2 3; do domain_mount $i "$VIDAS_TMP/$i"; done
m() { echo "$VIDAS_TMP/$1/c"; }
mkdir "$(m 1)/churn" "$(m 1)/through"
setfattr -n user.vidas.write_policy -v through "$(m 1)/through"

# Open and locked all along.
for i in 1 2 3; do
	helper $i
	is "" $i open k rwc "$(m $i)/kept"
	is "" $i setlk k wr $((i * 10)) 10
	is 2 $i write k $((i * 10)) "d$i"
done
is "" 1 lock k ex
helper w
is "" w open k rw "$(m 3)/kept"
tell w setlk k wr 10 10 wait # until domain 1 lets go, at the end

pids=()
for i in 1 2 3; do
	churn "$(m $i)/churn" "of$i" $seconds >"$VIDAS_TMP/out.$i" &
	pids+=($!)
done
# What was closed is in the store, whoever died meanwhile.
through() {
	local n=0 end=$((SECONDS + seconds))
	while [ $SECONDS -lt $end ]; do
		echo $((++n)) >"$(m 1)/through/file" || return 1
		same $n "$(cat "$store/through/file")" "the store when the write through has returned"
		same $n "$(cat "$(m 2)/through/file")" "a file that another domain has written"
	done
	echo $n >"$VIDAS_TMP/out.through"
}
through &
pids+=($!)
# What one domain caches another changes.
recalls() {
	local n=0 end=$((SECONDS + seconds))
	: >"$(m 2)/leased"
	while [ $SECONDS -lt $end ]; do
		stat -c %a "$(m 3)/leased" >/dev/null
		chmod $((600 + n++ % 7)) "$(m 2)/leased"
		same $((600 + (n - 1) % 7)) "$(stat -c %a "$(m 3)/leased")" "the mode that was just set"
		stat -c %a "$(m 1)/leased" >/dev/null
	done
}
recalls &
pids+=($!)

for round in 1 2 3 4; do
	sleep 1
	vidasd_kill
	is d2 2 read k 20 2
	[ $round != 2 ] || worker_kill "$VIDAS_TMP/2"
	sleep 0.3
	vidasd_start
	[ $round != 3 ] || worker_kill "$VIDAS_TMP/2"
	for i in 1 2 3; do is "error EAGAIN" $i setlk k rd $((i % 3 * 10 + 10)) 1; done
	is "error EAGAIN" 2 lock k sh
done
for p in "${pids[@]}"; do
	wait "$p" || fail "$(cat "$VIDAS_TMP"/out.*)"
done

# Locks are what they were, and a circle is found by the vidasd of now.
tell 2 setlk k wr 30 1 wait
sleep 0.1
is "error EDEADLK" 3 setlk k wr 20 1 wait
is "" 1 setlk k un 0 0
same "" "$(hear w 5)" "a lock that was waited for all the time"
is "" 3 setlk k un 30 10
same "" "$(hear 2 5)"
is "" 1 lock k un

total=$(cat "$VIDAS_TMP"/out.[123] | awk '{ n += $1 } END { print n }')
echo "rounds: $(cat "$VIDAS_TMP"/out.[123] | xargs), written through: $(cat "$VIDAS_TMP/out.through")"
for i in 1 2 3; do
	same "$total" "$(cat "$(m $i)/churn/counter")" "counted under a lock, as domain $i sees it"
	same "$total" "$(sort -u "$(m $i)/churn/log" | wc -l)" "lines appended, as domain $i sees them"
	same "d1 d2 d3" "$(for j in 1 2 3; do ask $i read k $((j * 10)) 2; done | xargs)"
done
same "$total" "$(wc -l <"$(m 1)/churn/log")"
same "$(cat "$VIDAS_TMP/out.through")" "$(cat "$store/through/file")" "the store, without a flush"
admin flush "$(m 1)"
# (A put that was killed may have left its temporary file: that is the backend's to clear.)
diff -r -x '.vidas-put-*' "$store" "$(m 2)" || fail "store and pool differ"
for i in 1 2 3 w; do helper_end $i; done

# A domain is killed whole, in the middle of everything: its locks are free within a second, what it had half
# done is done or not done, and nobody else is held up.
mkdir "$(m 1)/dies"
churn "$(m 2)/dies" dies 60 >/dev/null &
pid=$!
churn "$(m 1)/dies" lives 4 >"$VIDAS_TMP/out.1" &
lives=$!
sleep 1
kill -KILL $pid
wait $pid 2>/dev/null || true
domain_kill "$VIDAS_TMP/2"
wait $lives || fail "$(cat "$VIDAS_TMP/out.1")"
[ "$(sort -u "$(m 3)/dies/log" | wc -l)" = "$(wc -l <"$(m 3)/dies/log")" ] || fail "a line twice"
[ "$(grep -c lives "$(m 3)/dies/log")" = "$(cat "$VIDAS_TMP/out.1")" ] || fail "lines that are lost"
umount -l "$VIDAS_TMP/2"
domain_mount 2 "$VIDAS_TMP/2"
rm -rf "$(m 2)/dies"
refuses any ls "$(m 1)/dies" 2>/dev/null
for i in 1 2 3; do domain_umount "$VIDAS_TMP/$i"; done
vidasd_stop
vidas fsck --pool "$run/pool" || fail "vidas fsck"
