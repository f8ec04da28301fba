#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# xattr-schema.md is the contract: each row of its table keeps what its kind promises, for getfattr and setfattr and for
# the `vidas` command, the examples in it do what they say, and nothing copies or waits for what is not listed.
# vidas-presets: release asan
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
need setfattr getfattr rsync tar

schema=$VIDAS_SRC/xattr-schema.md
# NAME KIND FIRST-VALUE of each row
rows() {
	awk -F'|' '/^\| attribute/ { on = 1; next } on && !/^\|/ { exit } on && /^\| `/ {
		gsub(/[ `]/, "", $2); gsub(/ /, "", $3); v = $4; sub(/^[^`]*`?/, "", v); sub(/`.*/, "", v)
		if ($4 !~ /^ `/) v = $4 ~ /time/ ? "77s" : ""
		print $2, $3, v }' "$schema"
}
[ "$(rows | wc -l)" -gt 15 ] || fail "the table was not found"

get() { timeout 10 getfattr --absolute-names --only-values -n "user.vidas.$1" "$2"; }
set_() { timeout 10 setfattr -n "user.vidas.$1" -v "$2" "$3"; }
reset() { setfattr -x "user.vidas.$1" "$2"; }
says() { # ERROR COMMAND...: it fails with that
	local want=$1
	shift
	if "$@" >"$VIDAS_TMP/out" 2>"$VIDAS_TMP/err"; then fail "'$*' should have failed with '$want'"; fi
	grep -q "$want" "$VIDAS_TMP/err" || fail "'$*' should have failed with '$want': $(cat "$VIDAS_TMP/err")"
}
listed() { getfattr --absolute-names -m . "$1" | sed -n 's/^user\.vidas\.//p' | sort | xargs; }

vidasd_start
domain_add 1
domain_add 2
mkdir "$VIDAS_TMP/store"
admin container create demo --domains 1,2 --root "file://$VIDAS_TMP/store" >/dev/null
domain_mount 1 "$VIDAS_TMP/mnt"
cd "$VIDAS_TMP/mnt/demo"
mkdir dir
printf hello >dir/file
set_ flush 1 .

# By kind, whatever the row.
mkdir kinds
printf hello >kinds/file
while read -r name kind value; do
	case $kind in
	policy)
		was=$(get "$name" kinds/file)
		set_ "$name" "$value" kinds
		same "$value" "$(get "$name" kinds/file)" "$name, inherited"
		same "$name" "$(listed kinds)" "listed of the directory"
		same "" "$(listed kinds/file)" "listed of the file"
		same "$value" "$(vidas policy get kinds/file | awk -v n="$name" '$1 == n { print $2 }')" "$name, by the command"
		says "Invalid argument" set_ "$name" nonsense kinds
		refuses any vidas policy set "$name=nonsense" kinds 2>/dev/null
		vidas policy reset "$name" kinds
		same "$was" "$(get "$name" kinds/file)" "$name, after a reset"
		says "No such attribute" reset "$name" kinds
		vidas policy set "$name=$value" kinds/file
		same "$name" "$(listed kinds/file)" "listed of the file that it was set on"
		reset "$name" kinds/file ;;
	info)
		if v=$(get "$name" kinds/file 2>"$VIDAS_TMP/err"); then
			same "$v" "$(vidas stat kinds/file | sed -n "s/^ *$name  *//p")" "$name, by vidas stat"
		else
			grep -q 'No such attribute' "$VIDAS_TMP/err" || fail "$name: $(cat "$VIDAS_TMP/err")"
		fi
		says "Operation not permitted" set_ "$name" x kinds/file
		says "Operation not permitted" reset "$name" kinds/file ;;
	action)
		says "No such attribute" get "$name" kinds/file
		says "Invalid argument" set_ "$name" nonsense kinds/file
		says "No such attribute" reset "$name" kinds/file ;;
	message) says "No such attribute" reset "$name" kinds/file ;;
	container)
		says "No such attribute" get "$name" kinds
		same "$(get "$name" .)" "$(vidas stat . | sed -n "s/^ *$name  *//p")" "$name, by vidas stat" ;;
	*) fail "row $name is of no known kind: $kind" ;;
	esac
done < <(rows)
rm -r kinds
same "" "$(listed dir/file)$(listed dir)$(listed .)" "listed where nothing is set"

# The examples.
sed -n '/^```examples$/,/^```$/p' "$schema" | sed -e '1d;$d' -e "s|/store|$VIDAS_TMP/store|g; s|/vidas/|$VIDAS_TMP/mnt/|g" >"$VIDAS_TMP/examples"
[ "$(wc -l <"$VIDAS_TMP/examples")" -gt 30 ] || fail "there are no examples"
for name in $(rows | awk '{ print $1 }'); do
	grep -qE "^(get|set|.*get) $name " "$VIDAS_TMP/examples" || fail "the row $name has no example"
done
set() { set_ "$@"; }
while IFS= read -r line; do
	command=${line%% =>*}
	want=
	[ "$command" = "$line" ] || want=${line#* =>}
	want=${want# }
	got=$(eval "$command" 2>&1) || got=${got##*: }
	case $got in
	"$want") ;;
	*) fail "$line: '$got'" ;;
	esac
done <"$VIDAS_TMP/examples"
unset -f set

# Copies take along what is listed: the policies that were set, and nothing that is told, done, or waited for.
set_ write_deadline 45s dir/file
setfattr -n user.mine -v own dir/file
same "consistency synchronized write_deadline" "$(listed dir/file)" "what was set"
timeout 20 cp -a dir copied
timeout 20 rsync -aX dir/ synced
mkdir tarred
timeout 20 tar --xattrs --xattrs-include='*' -C dir -cf - . | timeout 20 tar --xattrs --xattrs-include='*' -C tarred -xf -
for to in copied synced tarred; do
	same "$(listed dir/file)" "$(listed $to/file)" "what $to has"
	same 45s "$(get write_deadline $to/file)"
	same own "$(getfattr --only-values -n user.mine $to/file)"
	same "$(cat dir/file)" "$(cat $to/file)"
done
timeout 10 getfattr -R -d -m - . >/dev/null
cd /
domain_umount "$VIDAS_TMP/mnt"
vidasd_stop
