# SPDX-License-Identifier: LGPL-2.1-or-later
# Sourced after test.sh, domains.sh and stores.sh by tests/e2e/: the whole path, from a program in a domain to the bytes in
# a real store and back.
#   e2e_begin [VIDASD OPTION...]   a vidasd, domains 1 and 2, the container "data" with $root behind it: $a, $b
#   e2e_end
#   e2e_path             what two domains and a client of the store see of each other
e2e_begin() {
	vidasd_start "$@"
	domain_add 1
	domain_add 2
	admin container create data --root "$root" --domains 1,2
	a=$VIDAS_TMP/1 b=$VIDAS_TMP/2
	domain_mount 1 "$a"
	domain_mount 2 "$b"
	a=$a/data b=$b/data
}

e2e_end() {
	domain_umount "$VIDAS_TMP/1"
	domain_umount "$VIDAS_TMP/2"
	vidasd_stop
	umount "$run/pool"
	rm -r "$run"
}

flush() { setfattr -n user.vidas.flush -v 1 "$1"; }
update() { setfattr -n user.vidas.update -v 1 "$1"; }
attribute() { getfattr --absolute-names --only-values -n "user.vidas.$1" "$2"; }
has_bytes() { [ "$(stat -c %s "$1")" = "$2" ]; }
checksum() { sha256sum | cut -d' ' -f1; }

# One domain writes, the other reads at once, the store has it under its own name by flush, fsync and close.
path_out() {
	mkdir "$a/run 1"
	head -c 20000003 /dev/urandom >"$a/run 1/field.dat"
	cmp "$a/run 1/field.dat" "$b/run 1/field.dat"
	mv "$a/run 1" "$a/run1"
	cmp "$a/run1/field.dat" "$b/run1/field.dat"
	echo "small" >"$b/run1/note.txt"
	same small "$(cat "$a/run1/note.txt")"
	: >"$a/empty"
	flush "$b"
	same "$(checksum <"$a/run1/field.dat")" "$(store cat run1/field.dat | checksum)" "what a flush left in the store"
	same small "$(store cat run1/note.txt)"
	same "empty run1/field.dat run1/note.txt" "$(store names | xargs)" "names in the store"
	echo "synced" >"$a/run1/synced"
	sync "$a/run1/synced"
	same synced "$(store cat run1/synced)" "what fsync left in the store"
	setfattr -n user.vidas.write_policy -v through "$a/run1"
	echo "closed" >"$b/run1/closed"
	same closed "$(store cat run1/closed)" "what close left in the store under write_policy=through"
	same clean "$(attribute state "$a/run1/closed")"
	setfattr -n user.vidas.write_policy -v async "$a/run1"
	setfattr -n user.vidas.write_deadline -v 1s "$a/run1"
	echo "by itself" >"$b/run1/later"
	wait_for 20 store cat run1/later
	same "by itself" "$(store cat run1/later)" "what write_policy=async left in the store"
}

# What a client of the store does is seen by update, under eager by opening.
path_in() {
	echo "changed there" | store put run1/note.txt
	echo "new there" | store put run1/new.txt
	same small "$(cat "$a/run1/note.txt")" "before an update"
	update "$a"
	same "changed there" "$(cat "$b/run1/note.txt")" "after an update"
	same "new there" "$(cat "$a/run1/new.txt")"
	store remove run1/new.txt
	update "$a/run1"
	[ ! -e "$b/run1/new.txt" ] || fail "it is gone in the store, and still here after an update"
	setfattr -n user.vidas.update_policy -v eager "$a/run1"
	echo "changed again" | store put run1/note.txt
	wait_for 10 grep -q again "$b/run1/note.txt"
	# Without anybody opening it: within the interval.
	setfattr -n user.vidas.update_interval -v 2s "$a/run1"
	echo "changed for the third time, and longer" | store put run1/note.txt
	wait_for 20 has_bytes "$b/run1/note.txt" 39
	head -c 9000001 /dev/urandom >"$VIDAS_TMP/there"
	store put run1/field.dat <"$VIDAS_TMP/there"
	update "$b/run1/field.dat"
	cmp "$VIDAS_TMP/there" "$a/run1/field.dat"
}

# Changed on both sides: both are kept, here and there.
path_conflict() {
	echo "ours" >"$a/empty"
	echo "theirs" | store put empty
	refuses any update "$a/empty" 2>/dev/null
	flush "$a/empty" || true
	same ours "$(store cat empty)" "the name itself has what was pushed"
	same conflict "$(attribute state "$b/empty")"
	local kept
	kept=$(cd "$b" && ls -d empty.vidas-conflict-*)
	same theirs "$(cat "$b/$kept")"
	same theirs "$(store cat "$kept")"
	rm "$a/$kept"
	flush "$a"
	echo "settled" >"$a/empty"
	flush "$a/empty"
	same clean "$(attribute state "$b/empty")"
}

# Names, kinds, modes and times, told apart by the store alone: a second container on the same root.
path_names() {
	mkdir -m 750 "$a/dir" "$a/dir/sub" "$a/gone"
	echo 1 >"$a/dir/sub/one"
	echo 2 >"$a/dir/two"
	echo 3 >"$a/gone/three"
	ln -s sub/one "$a/dir/link"
	ln -s /nowhere "$a/dir/dangling"
	chmod 640 "$a/dir/two"
	chmod 755 "$a/dir/sub/one"
	touch -d '2001-02-03 04:05:06.123456789Z' "$a/dir/two"
	flush "$a"
	mv "$a/dir/two" "$a/dir/sub/deux"
	mv "$a/dir" "$a/moved"
	rm -r "$a/gone"
	chmod 600 "$a/empty"
	flush "$a"
	same "moved/dangling moved/link moved/sub/deux moved/sub/one" "$(store names | grep ^moved | xargs)"
	! store names | grep -q '^dir\|^gone' || fail "old names are still in the store: $(store names | xargs)"
	admin container create again --root "$root" --domains 1
	local again=$VIDAS_TMP/1/again
	wait_for 5 test -d "$again"
	same "$(cd "$a" && find . | sort)" "$(cd "$again" && find . | sort)" "names as the store has them"
	same "$(readlink "$a/moved/link") $(readlink "$a/moved/dangling")" "$(readlink "$again/moved/link") $(readlink "$again/moved/dangling")"
	same "$(stat -c '%n %a %.9Y' "$a"/moved/sub/* "$a/empty" | sed "s|$a/||")" \
		"$(stat -c '%n %a %.9Y' "$again"/moved/sub/* "$again/empty" | sed "s|$again/||")" "modes and times"
	same "640 981173106.123456789" "$(stat -c '%a %.9Y' "$again/moved/sub/deux")"
	diff -r --no-dereference "$a" "$again"
}

e2e_path() {
	e2e_begin
	path_out
	path_in
	path_conflict
	path_names
	e2e_end
}

# Every legal name, and 10,000 random ones ($KEYS): written through the mount, seen beside VIDAS (`beside`, a function of
# the test's), and read by another domain through a container that knows only the store.
e2e_keys() {
	local keys=$VIDAS_SRC/tests/lib/keys.py again
	e2e_begin
	"$keys" make "$a" "${KEYS:-10000}" 1
	flush "$a"
	beside
	admin container create again --root "$root" --domains 2
	again=$VIDAS_TMP/2/again
	wait_for 5 test -d "$again"
	"$keys" compare "$a" "$again"
}

# refused FILE WORDS: a flush of it fails, says why, and nothing is lost; a flush of all goes on with the rest
refused() {
	local was
	was=$(checksum <"$1")
	refuses any flush "$1" 2>/dev/null
	grep -q "$2" <<<"$(attribute error "$1")" || fail "no '$2' in the error: $(attribute error "$1")"
	same dirty "$(attribute state "$1")"
	echo "beside it" >"$a/beside"
	refuses any flush "$a" 2>/dev/null
	same "beside it" "$(store cat beside)"
	same "$was" "$(checksum <"$1")"
	rm "$1" "$a/beside"
	flush "$a"
}
