#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Listing directories, also while they change; inotify (tests/posix/cases/dirs.c).
# vidas-presets: release asan
# vidas-timeout: 300
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
. "$VIDAS_SRC/tests/lib/posix.sh"
everywhere dirs
everywhere_end
