#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The statements of docs/consistency.md on strict consistency, where one or all domains are without passthrough.
# vidas-presets: release asan
# vidas-timeout: 240
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
. "$VIDAS_SRC/tests/lib/litmus.sh"

three_domains nopassthrough "" nopassthrough
chmod 755 "$VIDAS_TMP"
litmus_run strict-not 10
vidasd_stop
