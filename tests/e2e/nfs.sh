#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# vidas-net: own
# vidas-needs: nfs
# Files between two domains and a real NFS server, versions 4 and 3; its other client is libnfs-utils.
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
. "$VIDAS_SRC/tests/lib/stores.sh"
. "$VIDAS_SRC/tests/lib/e2e.sh"
export GANESHA_SECURE=true # as most servers are
for version in 4 3; do
	store_begin nfs$version
	e2e_path
	store_end
done
