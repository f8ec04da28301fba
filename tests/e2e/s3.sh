#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# vidas-net: own
# vidas-needs: s3
# vidas-timeout: 240
# Files between two domains and a real S3 server; its other client is s3cmd.
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
. "$VIDAS_SRC/tests/lib/stores.sh"
. "$VIDAS_SRC/tests/lib/e2e.sh"
store_begin radosgw atomic=10
e2e_path

# A large file, changed on both sides: its parts are sent, and not completed over what the other client has put.
e2e_begin
head -c 20000003 /dev/urandom >"$a/large"
flush "$a/large"
echo theirs | store put large
echo "and ours" >>"$a/large"
flush "$a/large" || true
same "$(checksum <"$a/large")" "$(store cat large | checksum)" "the name itself has what was pushed"
same theirs "$(cat "$b/"large.vidas-conflict-*)" "what the other client put"
e2e_end
