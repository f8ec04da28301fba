#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# vidas-net: own
# vidas-needs: s3
# vidas-timeout: 600
# A real S3 server that dies in the middle of puts and gets, falls silent, is slow, or fails: seen from the mount.
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
. "$VIDAS_SRC/tests/lib/stores.sh"
. "$VIDAS_SRC/tests/lib/e2e.sh"
. "$VIDAS_SRC/tests/lib/trouble.sh"
store_begin radosgw "connect=2&timeout=4&retries=1"
e2e_trouble
