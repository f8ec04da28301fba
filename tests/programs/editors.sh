#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Editors and their like: a file is replaced by rename, or in place; whoever looks, in any domain, sees the old or the new,
# never a part.
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
need vi sed python3 patch

two_domains
seq 1000 >"$a/text"

# vim: in place, with a backup by renaming, with a swap file that the other domain's vim finds.
for how in no yes auto; do
	vi -Nu NONE -es -c "set backupcopy=$how writebackup" -c "%s/^5\$/five-$how/" -c 'normal! Gosix' -c "wq" "$b/text" </dev/null ||
		fail "vi with backupcopy=$how"
	same "five-$how" "$(sed -n 5p "$a/text")"
	sed -i "s/five-$how/5/; /^six\$/d" "$a/text"
	same "$(seq 1000 | cksum)" "$(cksum <"$b/text")"
done
same "text" "$(ls -A "$a")" "what the editors left"

# Replaced over and over in one domain, read in the other: every look finds a whole file.
printf '%s\n' "$(seq 500)" "end 0" >"$a/page"
(
	for i in $(seq 150); do sed -i "s/^end .*/end $i/" "$a/page" || exit 1; done
	: >"$a/done"
) &
editor=$!
last=0 looks=0
until [ -e "$b/done" ]; do
	line=$(tail -n 1 "$b/page") || fail "the file was not there"
	[[ $line == "end "* ]] || fail "a part of a file: '$line'"
	[ "${line#end }" -ge "$last" ] || fail "older than before: '$line' after $last"
	last=${line#end } looks=$((looks + 1))
done
wait $editor || fail "the editor"
same "end 150" "$(tail -n 1 "$b/page")"
[ $looks -gt 3 ] || fail "only $looks looks"

# A counter in a file, guarded by flock, by a directory, and by a file made exclusively: none is lost.
guarded() { # DIR WHO
	local i how
	for how in flock mkdir excl; do
		for i in $(seq 40); do
			case $how in
			flock) flock "$1/lock" bash -c 'echo $(($(cat "$0") + 1)) >"$0.new-$1" && mv "$0.new-$1" "$0"' "$1/count-flock" "$2" ;;
			mkdir)
				until mkdir "$1/lock.d" 2>/dev/null; do :; done
				echo $(($(cat "$1/count-mkdir") + 1)) >"$1/count-mkdir"
				rmdir "$1/lock.d" ;;
			excl)
				until (set -C; : >"$1/lock.x") 2>/dev/null; do :; done
				sed -i "s/.*/$(($(cat "$1/count-excl") + 1))/" "$1/count-excl"
				rm "$1/lock.x" ;;
			esac
		done
	done
}
for how in flock mkdir excl; do echo 0 >"$a/count-$how"; done
guarded "$a" 1 &
one=$!
guarded "$b" 2
wait $one || fail "the one in domain 1"
for how in flock mkdir excl; do same 80 "$(cat "$a/count-$how")" "counted under $how"; done

# patch, and a program that replaces as most libraries do: write beside, fsync, rename, fsync of the directory.
cp "$a/page" "$VIDAS_TMP/old"
sed 's/^250$/two hundred and fifty/' "$VIDAS_TMP/old" >"$VIDAS_TMP/new"
diff -u "$VIDAS_TMP/old" "$VIDAS_TMP/new" >"$a/change" || true
patch -s "$b/page" "$a/change"
cmp "$VIDAS_TMP/new" "$a/page"
python3 - "$a" "$b" <<'PYTHON'
import json, os, sys
a, b = sys.argv[1:]
for i in range(200):
    here, there = (a, b) if i % 2 else (b, a)
    with open(here + "/state.tmp", "w") as f:
        json.dump({"n": i, "pad": "x" * (i * 40)}, f)
        f.flush()
        os.fsync(f.fileno())
    os.replace(here + "/state.tmp", here + "/state.json")
    d = os.open(here, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(d)
    os.close(d)
    with open(there + "/state.json") as f:
        assert json.load(f)["n"] == i
    assert os.listdir(there).count("state.tmp") == 0
PYTHON
