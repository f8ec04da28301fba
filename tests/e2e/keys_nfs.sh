#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# vidas-net: own
# vidas-needs: nfs
# vidas-timeout: 600
# Names of all kinds, through the mount, on a real NFS server and back.
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
. "$VIDAS_SRC/tests/lib/stores.sh"
. "$VIDAS_SRC/tests/lib/e2e.sh"
beside() { "$VIDAS_SRC/tests/lib/keys.py" compare "$a" "$store_dir/export"; }

store_begin nfs4
e2e_keys
# The one kind of names that are not the user's.
echo mine >"$a/.vidas-put-0123456789abcdef"
refused "$a/.vidas-put-0123456789abcdef" "unfinished"
same "" "$(find "$store_dir/export" -name '.vidas-put-*')" "what is left in the server"
e2e_end
