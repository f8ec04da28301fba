#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Times, owners, suid and sgid bits, statx (tests/posix/cases/attr.c).
# vidas-presets: release asan
# vidas-timeout: 300
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
. "$VIDAS_SRC/tests/lib/posix.sh"
everywhere attr

# The time of birth is the pool's file's, where the kernel asks for it.
if [ "$(printf '%s\n' 6.6 "$(uname -r)" | sort -V | head -n 1)" = 6.6 ]; then
	echo x >"$a/born"
	birth=$(stat -c %w "$run/pool/containers/shared/tree/born")
	for m in "$a" "$b" "$na"; do same "$birth" "$(stat -c %w "$m/born")" "birth"; done
	stat "$VIDAS_TMP/1" >/dev/null
fi
everywhere_end
