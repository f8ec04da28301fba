#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# vidas-presets: none
# vidas-timeout: 900
# The project builds with the distribution's libfuse, here perhaps one without passthrough.
. "$VIDAS_SRC/tests/lib/test.sh"
pkg-config --exists fuse3 || skip "no libfuse3-dev: scripts/install-deps fuse-system"
cd "$VIDAS_SRC"
cmake --preset system-fuse
cmake --build --preset system-fuse
