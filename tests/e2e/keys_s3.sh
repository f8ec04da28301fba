#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# vidas-net: own
# vidas-needs: s3
# vidas-timeout: 600
# Names of all kinds, through the mount, on a real S3 server and back.
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
. "$VIDAS_SRC/tests/lib/stores.sh"
. "$VIDAS_SRC/tests/lib/e2e.sh"

# A name that is UTF-8 is the object's own; others are escaped as rclone does.
beside() {
	"$VIDAS_SRC/tests/lib/keys.py" names "$a" >"$VIDAS_TMP/here"
	"$VIDAS_SRC/tests/servers/s3client" "$store_dir/env" names vidastest files/ >"$VIDAS_TMP/there"
	python3 - "$VIDAS_TMP/here" "$VIDAS_TMP/there" <<-'PY'
	import sys
	here, there = (open(f, "rb").read().split(b"\0")[:-1] for f in sys.argv[1:])
	there = {name[len(b"files/"):] for name in there if not name.endswith(b"/")}
	assert len(here) == len(there), (len(here), len(there))
	def plain(name):
	    try:
	        return not set(name.decode()) & {"\u201b", "\ufffe", "\uffff"}
	    except UnicodeDecodeError:
	        return False
	lost = [name for name in here if plain(name) and name not in there]
	assert not lost, lost[:5]
	assert sum(not plain(name) for name in here) > 100
	PY
}

store_begin radosgw
e2e_keys
# S3 has 1024 bytes for a key: with its directories, and with what has to be escaped.
deep=$a/$(printf 'd%.0s' {1..250})
deep=$deep/$(printf 'e%.0s' {1..250})/$(printf 'f%.0s' {1..250})/$(printf 'g%.0s' {1..250})
mkdir -p "$deep"
echo "deep down" >"$deep/file-of-some-length"
refused "$deep/file-of-some-length" "1024"
name=$(printf '\377%.0s' {1..255})
echo "many escapes" >"$a/$name"
refused "$a/$name" "1024"
e2e_end
