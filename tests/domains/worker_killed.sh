#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# vidasfs is killed: the mount goes on by itself, programs wait and do not fail, and what they have open and
# locked is theirs as before.
# vidas-presets: release asan
# vidas-timeout: 240
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"

seconds=${VIDAS_SECONDS:-4} # under load, each way

is() { same "$1" "$(ask "${@:2}")" "${*:2}"; }
two_domains
for way in passthrough nopassthrough; do
	[ $way = passthrough ] || { domain_umount "$VIDAS_TMP/1"; domain_mount 1 "$VIDAS_TMP/1" nopassthrough; }
	dir=$a/$way
	mkdir "$dir"
	helper 1
	helper 2
	is "" 1 open f rwc "$dir/f"
	is 6 1 write f 0 before
	is "" 1 open u rwc "$dir/unlinked"
	is 7 1 write u 0 nowhere
	rm "$dir/unlinked"
	is "" 1 open p rwac "$dir/appended"
	is "" 1 setlk f wr 10 10
	is "" 1 lock f ex
	is "" 2 open f rw "$b/$way/f"
	mkdir "$dir/dir" "$dir/dir/sub"
	for i in $(seq 200); do : >"$dir/dir/n$i"; done
	cd "$dir/dir"
	helper 3 # one that waits, in the same domain
	is "" 3 open f rw "$dir/f"
	tell 3 setlk f wr 10 1 wait
	helper 4 # and one that is told not to
	is "" 4 open f rw "$dir/f"
	tell 4 setlk f wr 10 1 wait
	sleep 0.1

	worker_kill "$VIDAS_TMP/1"
	is before 1 read f 0 6
	is 5 1 write f 0 AFTER
	is AFTERe 2 read f 0 6
	is nowhere 1 read u 0 7
	is 0 1 nlink u
	is 7 1 size u
	is 1 1 append p x
	is "error EAGAIN" 2 lock f ex
	is "error EAGAIN" 2 setlk f wr 15 1
	same 201 "$(ls | wc -l)"
	touch sub/new # by a directory that was entered before
	rm sub/new
	cd "$VIDAS_TMP"
	kill -USR1 "${helper_pid[4]}"
	same "error EINTR" "$(hear 4 5)"
	helper_end 4
	is "" 1 setlk f un 0 0
	is "" 1 lock f un
	same "" "$(hear 3 5)" "a lock that was waited for when the worker died"
	is "error EAGAIN" 2 setlk f wr 10 1
	is "" 1 close u
	echo by-name >"$b/$way/g"
	same by-name "$(cat "$dir/g")"
	stat "$dir/g" >/dev/null
	chmod 640 "$b/$way/g"
	same 640 "$(stat -c %a "$dir/g")" "mode of a file that the dead one let the kernel cache"
	# Open for writing there: no other domain takes its size for granted.
	is "" 2 open g rw "$b/$way/g"
	worker_kill "$VIDAS_TMP/2"
	stat "$dir/g" >/dev/null
	is 4 2 append g more
	same 8 "$(stat -c %s "$dir/g")"
	helper_end 1
	helper_end 2
	helper_end 3
done

# Under load: nothing fails, nothing is done twice, and no lock lets two in.
domain_umount "$VIDAS_TMP/1"
domain_mount 1 "$VIDAS_TMP/1"
for way in passthrough nopassthrough; do
	rm -rf "$a/churn"
	mkdir "$a/churn"
	pids=() kills=0
	for i in 1 2 3; do
		churn "$a/churn" "one$i" "$seconds" >"$VIDAS_TMP/out.$i" &
		pids+=($!)
	done
	churn "$b/churn" two "$seconds" >"$VIDAS_TMP/out.4" &
	pids+=($!)
	while kill -0 "${pids[@]}" 2>/dev/null; do
		sleep 0.$((RANDOM % 50 + 10))
		worker_kill "$VIDAS_TMP/1"
		kills=$((kills + 1))
	done
	for i in 1 2 3 4; do wait "${pids[$i - 1]}" || fail "$way: $(cat "$VIDAS_TMP/out.$i")"; done
	total=$(awk '{ n += $1 } END { print n }' "$VIDAS_TMP"/out.*)
	echo "$way: $(cat "$VIDAS_TMP"/out.* | xargs) rounds, $kills kills"
	same "$total" "$(cat "$b/churn/counter")" "what was counted under a lock"
	same "$total" "$(wc -l <"$b/churn/log")" "lines that were appended"
	same "$total" "$(sort -u "$b/churn/log" | wc -l)" "different ones of them"
	same "counter log" "$(ls "$b/churn" | xargs)"
	if [ $way = passthrough ]; then
		domain_umount "$VIDAS_TMP/1"
		domain_mount 1 "$VIDAS_TMP/1" nopassthrough
	fi
done
refuses any grep -E 'ERROR|cannot|lost' "$VIDAS_TMP/vidasfs.log"

# One that crashes again and again starts over: what was open is lost, and says so; the mount is there.
helper 1
is "" 1 open f rwc "$a/f"
is "" 1 setlk f wr 0 1
for _ in 1 2 3; do
	pid=$(domain_pid "$VIDAS_TMP/1")
	kill -ABRT "$pid"
	wait_for 5 gone "$pid"
	wait_for 10 domain_pid "$VIDAS_TMP/1"
done
wait_for 10 grep -q 'is mounted anew' "$VIDAS_TMP/vidasfs.log"
wait_for 10 test -e "$a/f"
is "error ENOTCONN" 1 setlk f wr 5 1
helper_end 1
echo new >"$a/f"
same new "$(cat "$b/f")"

# Unmounting ends worker and keeper; so does a signal to the keeper.
for way in umount signal; do
	worker_kill "$VIDAS_TMP/1"
	ls "$a" >/dev/null
	pid=$(domain_pid "$VIDAS_TMP/1")
	keeper=$(awk '$1 == "PPid:" { print $2 }' "/proc/$pid/status")
	if [ $way = umount ]; then domain_umount "$VIDAS_TMP/1"; else kill "$keeper"; fi
	wait_for 5 gone "$pid"
	wait_for 5 gone "$keeper"
	refuses any mountpoint -q "$VIDAS_TMP/1"
	domain_mount 1 "$VIDAS_TMP/1"
done
