#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# vidas-net: own
# vidas-needs: nfs
# vidas-timeout: 600
# A real NFS server that dies in the middle of puts and gets, falls silent, is slow, or fails: seen from the mount.
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
. "$VIDAS_SRC/tests/lib/stores.sh"
. "$VIDAS_SRC/tests/lib/e2e.sh"
. "$VIDAS_SRC/tests/lib/trouble.sh"
store_begin nfs4 "timeout=4"
e2e_trouble
