#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Files of a backend come in chunks, as they are read: every way to open one gives its bytes, never zeros, on a store
# that is slow, fails, changes, or whose vidasd is killed; what two domains want is fetched once.
# vidas-presets: release asan
# vidas-timeout: 240
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
store=$VIDAS_TMP/store mib=1048576
mkdir -p "$store/dir/sub"

# Text without a NUL or a blank, so that it can be compared as a word; no two places are alike.
text() { head -c "$(($1 * 3 / 4))" /dev/urandom | base64 -w0; }
text $((12 * mib)) >"$store/text"
for f in one two fails changes killed orphan slow dir/sub/1 dir/sub/2 dir/sub/3; do
	cp "$store/text" "$store/$f"
done
for w in passthrough nopassthrough; do
	mkdir "$store/$w"
	for f in random shared direct copy append wronly rdwr shrink grow trunc cut punch gone moved; do
		cp "$store/text" "$store/$w/$f"
	done
done
echo small >"$store/dir/small"
cp "$(command -v bash)" "$store/bash"
truncate -s +6M "$store/bash"
piece() { # FILE OFFSET LENGTH
	dd if="$1" bs=256K iflag=skip_bytes,count_bytes skip="$2" count="$3" status=none
}
attr() { getfattr --absolute-names -n "user.vidas.$1" --only-values "$2"; }
resident() { attr locality "$1" | cut -d' ' -f2; }
begin() { # FILTERS
	vidasd_start --filters "$1"
	domain_mount 1 "$VIDAS_TMP/1" "${way#passthrough}"
	domain_mount 2 "$VIDAS_TMP/2" "${way#passthrough}"
}
end() {
	wait_for 20 domain_umount "$VIDAS_TMP/1" # who was killed may not be gone yet
	wait_for 20 domain_umount "$VIDAS_TMP/2"
	vidasd_stop
}
way=passthrough
vidasd_start
for d in 1 2; do domain_add $d; done
admin container create data --root "file://$store" --domains 1,2
vidasd_stop
a=$VIDAS_TMP/1/data b=$VIDAS_TMP/2/data

one_fetch() {
	local before p
	begin "stats=every:0s,fault=rate:0%+delay:30ms+ops:get"
	same absent "$(attr state "$a/one")"
	before=$(stat -c '%Y %s' "$a/one")
	exec 5<"$a/one"
	head -c 1000 <&5 | cmp - <(head -c 1000 "$store/one")
	[ "$(resident "$b/one")" -lt $((12 * mib)) ] || fail "all of it was fetched for its first bytes"
	same "$before $(stat -c %Z "$a/one")" "$(stat -c '%Y %s %Z' "$a/one")" "times of what is being fetched"
	exec 5<&-
	cmp "$a/one" "$store/one" &
	p=$!
	cmp "$b/one" "$store/one"
	wait $p
	wait_for 10 eval '[ "$(attr state "$b/one")" = clean ]'
	same $((12 * mib)) "$(resident "$b/one")"
	same "$before" "$(stat -c '%Y %s' "$b/one")" "time and size of what was fetched"
	cmp "$a/one" "$store/one"
	piece "$b/two" $((5 * mib)) 10 | cmp - <(piece "$store/two" $((5 * mib)) 10)
	same "resident $mib of $((12 * mib)) bytes: $((5 * mib))+$mib" "$(attr locality "$a/two")"
	setfattr -n user.vidas.prefetch -v "$((7 * mib - 1))+2" "$a/two"
	same "$((5 * mib))+$((3 * mib))" "$(attr locality "$a/two" | cut -d' ' -f6)"
	refuses any setfattr -n user.vidas.prefetch -v 5+ "$a/two" 2>/dev/null
	end
	grep -q 'stats: get: .* 15.0 MiB' "$VIDAS_TMP/vidasd.log" ||
		fail "12 and 3 MiB were to be fetched once: $(grep 'stats: get' "$VIDAS_TMP/vidasd.log")"
}

# Of one domain that opens it in some way, and of one that looks what became of it.
every_way() {
	local want at=$((9 * mib + 12345)) base=$store
	local store=$base/$way a=$a/$way b=$b/$way
	ln "$base/text" "$store/text"
	begin "fault=rate:0%+delay:10ms+ops:get"
	want=$(piece "$store/text" $at 100)
	helper 1

	ask 1 open f r "$a/random" >/dev/null
	same "$want" "$(ask 1 read f $at 100)" "read"
	same "$(piece "$store/text" 0 100)" "$(ask 1 read f 0 100)" "read at the beginning"
	same "$(piece "$store/text" $((12 * mib - 50)) 50)" "$(ask 1 read f $((12 * mib - 50)) 100)" "read at the end"
	same "" "$(ask 1 read f $((12 * mib)) 100)" "read behind the end"
	same 0 "$(ask 1 seek f data 0)" "SEEK_DATA"
	same $((12 * mib)) "$(ask 1 seek f hole 0)" "SEEK_HOLE"
	same "error ENXIO" "$(ask 1 seek f data $((12 * mib)))"
	ask 1 close f >/dev/null

	ask 1 open f r "$a/shared" >/dev/null
	same "" "$(ask 1 map f $((12 * mib)))" "mmap"
	same "$want" "$(ask 1 load f $at 100)" "a load from what is mapped"
	same "$(piece "$store/text" 0 100)" "$(ask 1 load f 0 100)"
	ask 1 unmap f >/dev/null
	ask 1 close f >/dev/null

	dd if="$a/direct" bs=4096 skip=2000 count=3 iflag=direct status=none |
		cmp - <(piece "$store/text" $((2000 * 4096)) 12288)

	ask 1 open f r "$a/copy" >/dev/null
	ask 1 open t rwc "$a/target" >/dev/null
	same 100 "$(ask 1 copy f $at t 0 100)" "copy_file_range"
	same "$want" "$(cat "$b/target")"
	ask 1 close f >/dev/null
	ask 1 close t >/dev/null

	echo -n end >>"$a/append"
	cmp "$b/append" <(cat "$store/text" && echo -n end)
	ask 1 open f w "$a/wronly" >/dev/null
	same 0 "$(resident "$b/wronly")" "what an open for writing fetched"
	same 3 "$(ask 1 write f $at NEW)"
	cmp "$b/wronly" <(piece "$store/text" 0 $at && echo -n NEW && tail -c +$((at + 4)) "$store/text")
	ask 1 close f >/dev/null
	ask 1 open f rw "$a/rdwr" >/dev/null
	same "" "$(ask 1 map f $((12 * mib)))"
	same "$want" "$(ask 1 load f $at 100)"
	same "" "$(ask 1 store f $at NEW)"
	[ $way = nopassthrough ] || # there it is so after msync
		same "NEW${want:3}" "$(piece "$b/rdwr" $at 100)" "a store seen by another domain"
	same "${want:3}" "$(ask 1 load f $((at + 3)) 97)"
	ask 1 unmap f >/dev/null
	ask 1 close f >/dev/null
	ask 1 open f w "$a/shrink" >/dev/null
	same "" "$(ask 1 trunc f $((6 * mib)))" "truncate"
	ask 1 close f >/dev/null
	cmp "$b/shrink" <(piece "$store/text" 0 $((6 * mib)))
	truncate -s $((13 * mib)) "$a/grow"
	cmp "$b/grow" <(cat "$store/text" && head -c $mib /dev/zero)
	ask 1 open f w "$a/punch" >/dev/null
	same "" "$(ask 1 fallocate f 3 $mib 4096)" "punch a hole"
	ask 1 close f >/dev/null
	cmp "$b/punch" <(piece "$store/text" 0 $mib && head -c 4096 /dev/zero && tail -c +$((mib + 4097)) "$store/text")

	# Cut to nothing: nothing is fetched.
	echo -n cut >"$a/trunc"
	same cut "$(cat "$b/trunc")"
	truncate -s 0 "$a/cut"
	same 0 "$(stat -c %s "$b/cut")"

	# Names change while it is read.
	ask 1 open f r "$a/gone" >/dev/null
	same "${want:0:1}" "$(ask 1 read f $at 1)"
	rm "$b/gone"
	same "$(piece "$store/text" 100 100)" "$(ask 1 read f 100 100)" "read of a file that has no name any more"
	ask 1 close f >/dev/null
	ask 1 open f r "$a/moved" >/dev/null
	same "$want" "$(ask 1 read f $at 100)"
	mv "$b/moved" "$b/elsewhere"
	same "$(piece "$store/text" 100 100)" "$(ask 1 read f 100 100)" "read of a file that was renamed"
	ask 1 close f >/dev/null
	setfattr -n user.vidas.flush -v 1 "$a"
	for f in append wronly shrink grow trunc cut punch elsewhere; do cmp "$a/$f" "$store/$f"; done
	[ ! -e "$store/gone" ] && [ ! -e "$store/moved" ] || fail "removed names are still in the store"
	helper_end 1
	end
}

failures() {
	local errors=0 i
	begin "fault=rate:80%+errno:EIO+ops:get"
	for ((i = 0; i < 1000; i++)); do
		if cmp -s "$a/fails" "$store/text" 2>/dev/null; then break; fi
		[ -z "$(attr error "$a/fails")" ] || errors=1
	done
	cmp "$a/fails" "$store/text"
	same 1 $errors "errors in words"
	same "" "$(attr error "$a/fails")" "the error of a file that is here"
	end
}

# The store's file is replaced between two reads: one open never gives bytes of both.
versions() {
	begin ""
	helper 1
	ask 1 open f r "$a/changes" >/dev/null
	same "$(piece "$store/text" 0 100)" "$(ask 1 read f 0 100)"
	text $((10 * mib)) >"$store/other"
	cp "$store/other" "$store/changes.new"
	mv "$store/changes.new" "$store/changes"
	same "error EIO" "$(ask 1 read f $((8 * mib)) 100)" "a read of another version"
	cmp "$b/changes" "$store/other"
	same "error EIO" "$(ask 1 read f 0 100)" "a read of the version before"
	ask 1 close f >/dev/null
	cmp "$a/changes" "$store/other"
	helper_end 1
	end
}

# What was fetched before a kill is not fetched again; who reads waits.
kills() {
	local p n
	begin "stats=every:0s,fault=rate:0%+delay:100ms+ops:get"
	cmp "$a/killed" "$store/text" &
	p=$!
	wait_for 20 eval '[ "$(resident "$b/killed")" -gt 0 ]'
	vidasd_kill
	: >"$VIDAS_TMP/vidasd.log"
	vidasd_start --filters "stats=every:0s"
	n=$(resident "$b/killed")
	[ "$n" -gt 0 ] || fail "a kill lost what was fetched before it"
	wait $p || fail "who read while vidasd was killed got something else"
	cmp "$b/killed" "$store/text"

	# vidasfs: the next one goes on with what is open; one that nobody follows loses nothing but the mount.
	helper 1
	ask 1 open f r "$a/orphan" >/dev/null
	same "$(piece "$store/text" 0 10)" "$(ask 1 read f 0 10)"
	kill -KILL "$(domain_pid "$VIDAS_TMP/1")"
	same "$(piece "$store/text" $((8 * mib)) 10)" "$(ask 1 read f $((8 * mib)) 10)" "a read by the next vidasfs"
	helper_end 1
	domain_kill "$VIDAS_TMP/1"
	umount "$VIDAS_TMP/1"
	domain_mount 1 "$VIDAS_TMP/1"
	cmp "$a/orphan" "$store/text"
	cmp "$b/orphan" "$store/text"
	end
}

# A read that takes long ends when its process is told to.
interrupts() {
	local begin=$SECONDS
	begin "fault=rate:0%+delay:8s+ops:get"
	refuses 124 timeout 1 cat "$a/slow" >/dev/null
	refuses 137 timeout -s KILL 1 cat "$a/slow" >/dev/null
	[ $((SECONDS - begin)) -lt 7 ] || fail "it waited for the store"
	end
}

prefetch() {
	local i
	begin ""
	vidas prefetch "$a/dir"
	[ "$(vidas prefetch --help | head -c 6)" = usage: ]
	mv "$store/dir" "$store/away"
	for i in 1 2 3; do cmp "$b/dir/sub/$i" "$store/text"; done
	same small "$(cat "$b/dir/small")"
	mv "$store/away" "$store/dir"
	end
}

# A program is a file that is mapped and run.
programs() {
	begin "fault=rate:0%+delay:10ms+ops:get"
	same 42 "$("$a/bash" -c 'echo 42')"
	same 42 "$("$b/bash" -c 'echo 42')"
	cmp "$a/bash" "$store/bash"
	end
}

one_fetch
for way in passthrough nopassthrough; do every_way; done
way=passthrough
failures
versions
kills
interrupts
prefetch
programs
