#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# How vidasd starts, refuses to start, and stops: one clear line, and the right exit status.
. "$VIDAS_SRC/tests/lib/test.sh"

# says STATUS TEXT COMMAND...: it exits with STATUS and one line on stderr that has TEXT
says() {
	local status=$1 text=$2 got=0
	shift 2
	timeout 20 "$@" 2>err >out || got=$?
	same "$status" "$got" "exit status of '$*' ($(cat err))"
	grep -qF -- "$text" err || fail "'$*' does not say '$text' but: $(cat err)"
	same 1 "$(wc -l <err)" "lines of '$*' on stderr"
}

begin() { # OPTIONS: starts vidasd, sets pid
	vidasd --run-dir "$PWD/run" "$@" 2>>log &
	pid=$!
	wait_for 10 vidas --socket "$PWD/run/vidasd.sock" status
}

end() { # [SIGNAL]
	kill -"${1:-TERM}" $pid
	wait $pid || [ "${1:-TERM}" = KILL ]
}

vidasd --help >help
for option in config pool pool-size pool-huge run-dir default-root filters log-level check-config version help; do
	grep -q -- "--$option" help || fail "--help does not know --$option"
done
vidasd --version | grep -q '^vidasd [0-9]'

# Command lines
says 2 "unknown option '--nonsense'" vidasd --nonsense
says 2 "option '--pool' needs a value" vidasd --pool
says 2 "'more' is no option" vidasd more
says 2 "is not a size" vidasd --pool-size lots
says 2 "is none of" vidasd --pool-huge big
says 2 "is not an absolute path" vidasd --pool relative
says 2 "is not a URL" vidasd --default-root /srv
says 2 "is none of" vidasd --log-level loud
says 2 "filters 'magic': no filter 'magic'" vidasd --filters magic
says 2 "is no value of total" vidasd --filters retry=total:long

# Configuration files
says 1 "cannot read the configuration $PWD/none: No such file" vidasd --config "$PWD/none"
says 1 "cannot read the configuration $PWD" vidasd --config "$PWD"
printf '# comment\n[vidasd]\npool_size = 64M\nfilters = retry=tries:8+total:60s,retry\nlog-level = debug\n' >good
vidasd --config good --check-config
printf 'pool_size = 64M\n\npool_colour = blue\n' >bad
says 1 "bad:3: unknown option 'pool_colour'" vidasd --config bad --check-config
printf '[other]\npool_size = 64M\n' >bad
says 1 "bad:2: unknown section [other]" vidasd --config bad
printf 'pool_size\n' >bad
says 1 "bad:1: not a line" vidasd --config bad
printf 'pool_size = many\n' >bad
says 1 "bad:1: pool-size 'many' is not a size" vidasd --config bad

# Pools
mkdir run
says 1 "does not exist; create it, or leave --pool out" vidasd --run-dir "$PWD/run" --pool "$PWD/missing"
: >file
says 1 "is not a directory" vidasd --run-dir "$PWD/run" --pool "$PWD/file"
mkdir foreign
: >foreign/letter
says 1 "is not empty and is no VIDAS pool" vidasd --run-dir "$PWD/run" --pool "$PWD/foreign"
same letter "$(ls foreign)"
mkdir newer
echo '{"version": 2}' >newer/vidas-pool
says 1 "is of version 2" vidasd --run-dir "$PWD/run" --pool "$PWD/newer"
echo rubbish >newer/vidas-pool
says 1 "is not the marker of a VIDAS pool" vidasd --run-dir "$PWD/run" --pool "$PWD/newer"

# A tmpfs of the size asked for, which stays and is used again
begin --pool-size 64M --pool-huge never
findmnt -n -o OPTIONS run/pool | grep -q 'size=65536k'
findmnt -n -o OPTIONS run/pool | grep -q 'nosuid,nodev'
same '{"version": 1}' "$(cat run/pool/vidas-pool)"
mkdir run2
says 1 "is in use by another vidasd, process $pid" vidasd --run-dir "$PWD/run2" --pool "$PWD/run/pool"
mkdir pool2
says 1 "another process answers at '$PWD/run/vidasd.sock'" vidasd --run-dir "$PWD/run" --pool "$PWD/pool2"
vidas --socket "$PWD/run/vidasd.sock" domain add 7
test -S run/domains/7/sock
# Capabilities: what it needs, no more
same 000000000020041f "$(sed -n 's/^CapPrm:[[:space:]]*//p' /proc/$pid/status)" capabilities
kill -HUP $pid
wait_for 10 grep -q 'were read again' log
end
test ! -S run/vidasd.sock
findmnt -n run/pool >/dev/null || fail "the pool did not stay"
begin
test -S run/domains/7/sock
end KILL
begin # over the sockets of the killed one
end INT

# A directory of ours as the pool; SIGHUP with a bad file changes nothing
mkdir pool3
printf 'pool = %s\n' "$PWD/pool3" >conf
begin --config "$PWD/conf"
test -f pool3/vidas-pool
echo 'nonsense = 1' >>conf
kill -HUP $pid
wait_for 10 grep -q 'the configuration stays as it was' log
end
umount run/pool
