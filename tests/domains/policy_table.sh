#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The table "What is where afterwards" of docs/consistency.md, cell by cell: the three policies side by side, each in
# a container of its own, one row after the other.
# vidas-timeout: 240
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
disk=$VIDAS_TMP/disk a=$VIDAS_TMP/1 b=$VIDAS_TMP/2
policies="through back async"
declare -A result
attr() { getfattr -n "user.vidas.$1" --only-values "$2" 2>/dev/null; }

# What a cell says, as it is: of $name, in the container of policy $1, seen from the other domain.
cell() {
	local in=$disk/$1/$name at=$b/$1/$name text
	text=$(cat "$in" 2>/dev/null) || text=gone
	if [ -e "$at" ]; then
		[ "$(cat "$at")" = new ] || text+=", the pool has '$(cat "$at")'"
		text+=", $(attr state "$at")"
		[ -z "$(attr error "$at")" ] || text+=", error"
	fi
	if [ "$(cat "$in".vidas-conflict-* 2>/dev/null)" = other ] && [ "$(cat "$at".vidas-conflict-*)" = other ]; then
		text+=", kept"
	fi
	[ -z "${result[$1]}" ] || text+=", ${result[$1]#error }"
	echo "$text"
}
is() { [ "$(cell "$1")" = "$2" ]; }
each() { # COMMAND ARG...: with $p
	local p
	for p in $policies; do "$@"; done
}
call() { result[$p]=$(ask "$p" "$@"); }
closed() { call close f; }
synced() { call sync f; }
written() { # open for writing, and written to
	same "" "$(ask "$p" open f rw "$a/$p/$name")"
	same 3 "$(ask "$p" write f 0 new)"
}
forget() { helper_end "$p"; helper "$p"; }
not_due() { setfattr -n user.vidas.write_deadline -v 24h "$b/$p"; }
is_due() { setfattr -n user.vidas.write_deadline -v 250ms "$b/$p"; }

# A pass of vidasd has looked at all that changed until now: it has pushed something newer, or has failed to.
count=0
newer() { echo $count >"$b/$p/always/s"; }
looked() { [ "$(cat "$disk/$1/always/s" 2>/dev/null)" = $count ] || { [ "${2:-}" = fails ] && [ -n "$(attr error "$b/$1/always/s")" ]; }; }
deadline() { # [fails]
	count=$((count + 1))
	each newer
	each is_due
	each eval 'wait_for 60 looked "$p" '"${1:-}"
}
refusing() { mount -o remount,ro "$disk"; }
taking() { mount -o remount,rw "$disk"; }
changed_there() { echo other >"$disk/$p/$name"; }

event_close() { each closed; }
event_fsync() { each synced; }
event_deadline() { deadline; }
event_unmount() {
	local pid
	each closed
	each forget
	pid=$(domain_pid "$a")
	domain_umount "$a"
	wait_for 20 gone "$pid"
	domain_mount 1 "$a"
}
event_stop() {
	vidasd_stop
	# While there is none, state cannot be asked for: the next one is not to push, either.
	for p in $policies; do stopped[$p]=$(cat "$disk/$p/$name"); done
	vidasd_start
	for p in $policies; do same "${stopped[$p]}" "$(cat "$disk/$p/$name")"; done
}
declare -A stopped
event_kill() {
	vidasd_kill
	vidasd_start
	deadline
}
event_kill-close() {
	vidasd_kill
	each written
	vidasd_start
	each closed
}
event_domain-kill() {
	domain_kill "$a"
	each forget
	umount "$a"
	domain_mount 1 "$a"
	deadline
}
event_error-close() { refusing; each closed; }
event_error-fsync() { refusing; each synced; }
event_error-deadline() { refusing; deadline fails; }
event_error-over() { refusing; deadline fails; taking; deadline; }
event_external-close() { each changed_there; each closed; }
event_external-fsync() { each changed_there; each synced; }
event_external-deadline() { each changed_there; deadline; }
event_external-delete() { each eval 'rm "$disk/$p/$name"'; deadline; }
event_delete() { each closed; each eval 'rm "$a/$p/$name"'; deadline; }
event_delete-kill() {
	each closed
	vidasd_kill
	each eval 'rm "$a/$p/$name"'
	vidasd_start
	deadline
}
event_rename() {
	each closed
	each eval 'mv "$a/$p/$name" "$a/$p/$name-g"'
	name+=-g
	deadline
}

# A row: its event, and what the three cells say.
row() {
	local event=$1 p
	name=f-$event
	each not_due
	each eval 'echo old >"$a/$p/$name"; vidas flush "$a/$p/$name"; result[$p]='
	each is_clean
	each written
	"event_$event"
	each eval 'same "" "$(result_unless_errno)"'
	for p in $policies; do
		shift
		for _ in {1..200}; do
			! is "$p" "$1" || break
			sleep 0.1
		done
		same "$1" "$(cell "$p")" "$event under $p"
	done
	taking
	each forget
}
is_clean() { same "old, the pool has 'old', clean" "$(cell "$p")" "$event under $p, at the beginning"; }
result_unless_errno() { case ${result[$p]} in "error "*) ;; *) echo "${result[$p]}" ;; esac; }

mkdir "$disk"
mount -t tmpfs -o size=32m none "$disk"
vidasd_start
domain_add 1
domain_add 2
for p in $policies; do
	mkdir "$disk/$p"
	admin container create $p --root "file://$disk/$p" --domains 1,2
	helper $p
done
domain_mount 1 "$a"
domain_mount 2 "$b"
for p in $policies; do
	setfattr -n user.vidas.write_policy -v $p "$a/$p"
	mkdir "$a/$p/always"
	setfattr -n user.vidas.write_policy -v async "$a/$p/always"
done

rows=0
while IFS='|' read -r _ event _ through back async _; do
	event=$(tr -d ' `' <<<"$event")
	echo "row $event"
	row "$event" "$(xargs <<<"$through")" "$(xargs <<<"$back")" "$(xargs <<<"$async")" </dev/null
	rows=$((rows + 1))
done < <(sed -n '/^## What is where afterwards/,/^## /p' "$VIDAS_SRC/docs/consistency.md" | grep '^| `')
same 19 $rows "rows of the table that were read"
vidasd_stop
