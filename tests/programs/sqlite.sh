#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# SQLite written by two domains at once, with a rollback journal and with a WAL (whose index is memory that all of them
# have mapped, and locked by fcntl): no row is lost, no row is doubled, and the integrity check is content.
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
need sqlite3
rows=60

sql() { sqlite3 -cmd '.timeout 60000' "$@"; }

# Each transaction moves one from one account to the other and writes a row of its own.
writer() { # DATABASE WHO
	local i
	for i in $(seq $rows); do
		echo "begin immediate;
			update account set amount = amount - 1 where id = 1; update account set amount = amount + 1 where id = 2;
			insert into log(who, n, text) values ('$2', $i, hex(randomblob(500))); commit;"
	done | sql -bail "$1"
}

run_mode() { # MODE
	local p pids=() name=db-$1
	same "$1" "$(sql "$a/$name" "pragma journal_mode = $1")"
	sql "$a/$name" "create table account(id integer primary key, amount); insert into account values (1, 1000), (2, 0);
		create table log(who, n, text, unique(who, n));"
	same 1000 "$(sql "$b/$name" 'select amount from account where id = 1')"
	writer "$a/$name" a1 & pids+=($!)
	writer "$a/$name" a2 & pids+=($!)
	writer "$b/$name" b1 & pids+=($!)
	writer "$b/$name" b2 & pids+=($!)
	for _ in $(seq 10); do # readers see whole transactions only
		same 1000 "$(sql "$b/$name" 'select sum(amount) from account')" "the sum while others write"
	done
	for p in "${pids[@]}"; do wait "$p" || fail "a writer in mode $1"; done
	for d in "$a" "$b"; do
		same ok "$(sql "$d/$name" 'pragma integrity_check')"
		same $((4 * rows)) "$(sql "$d/$name" 'select count(*) from log')"
		same "$((1000 - 4 * rows))|$((4 * rows))" "$(sql "$d/$name" 'select a.amount, b.amount from account a, account b where a.id = 1 and b.id = 2')"
	done
	sql "$a/$name" "delete from log where n % 2; vacuum;"
	same ok "$(sql "$b/$name" 'pragma integrity_check')" "after a vacuum"
	same $((2 * rows)) "$(sql "$b/$name" 'select count(*) from log')"
}

# A writer that is killed in mid-transaction: who comes next, in the other domain, rolls it back.
run_killed() { # MODE
	local name=db-$1 pid
	sql "$a/$name" 'pragma cache_size = 5' '.shell true' >/dev/null
	mkfifo "$VIDAS_TMP/in"
	sqlite3 "$a/$name" <"$VIDAS_TMP/in" >"$VIDAS_TMP/out" &
	pid=$!
	exec 5>"$VIDAS_TMP/in"
	echo "pragma cache_size = 5; begin immediate; update account set amount = 5;
		with recursive c(x) as (select 1 union all select x + 1 from c where x < 400)
		insert into log select 'killed', x, hex(randomblob(2000)) from c; select 'there';" >&5
	wait_for 20 grep -q there "$VIDAS_TMP/out"
	kill -KILL $pid
	wait $pid 2>/dev/null || true
	exec 5>&-
	rm "$VIDAS_TMP/in"
	same ok "$(sql "$b/$name" 'pragma integrity_check')" "after a writer was killed"
	same 0 "$(sql "$b/$name" "select count(*) from log where who = 'killed'")"
	same 1000 "$(sql "$b/$name" 'select sum(amount) from account')"
}

two_domains
for mode in delete truncate persist; do run_mode $mode; done
run_killed delete
if passthrough_possible; then
	run_mode wal
	run_killed wal
else
	echo "no WAL without passthrough: mappings are not shared between domains"
fi
