#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# stress-ng's stressors of file systems, all at once in two domains.
# vidas-timeout: 300
exec bash "$VIDAS_SRC/tests/posix/run-stress-ng" -s -t 8 access copy-file dentry dir dirdeep fallocate fcntl filename flock fpunch \
	getdent hdd link lockf lockofd mmap msync open rename seek symlink utime xattr
