#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Files between two domains and a directory of the host.
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
. "$VIDAS_SRC/tests/lib/stores.sh"
. "$VIDAS_SRC/tests/lib/e2e.sh"
store_begin file
e2e_path
