#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Who may do what: other users are held to modes, ACLs and sticky bits, and own what they make.
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
need setpriv setfacl

run_permissions() {
	local u=12345
	cd "$mnt"
	chmod 1777 .
	umask 022
	echo secret >root-only
	chmod 600 root-only
	refuses 1 as_user $u cat root-only 2>/dev/null
	refuses 1 as_user $u rm -f root-only 2>/dev/null
	refuses 1 as_user $u chmod 644 root-only 2>/dev/null
	refuses 1 as_user $u setfattr -n user.x -v 1 root-only 2>/dev/null

	as_user $u touch mine
	same "644 $u $u" "$(stat -c '%a %u %g' mine)" "what a user makes"
	as_user $u mkdir -m 700 dir
	same "700 $u $u" "$(stat -c '%a %u %g' dir)"
	as_user $u ln -s x link
	same "$u $u" "$(stat -c '%u %g' link)"
	as_user $u mkfifo -m 640 dir/fifo
	same "640 $u $u" "$(stat -c '%a %u %g' dir/fifo)"
	refuses 1 as_user 23456 rm -f mine 2>/dev/null # the sticky bit
	refuses any as_user 23456 ls dir 2>/dev/null
	as_user $u chmod 600 mine
	refuses 1 as_user $u chown 0 mine 2>/dev/null
	(umask 077 && as_user $u touch private)
	same 600 "$(stat -c %a private)" "umask"

	# sgid directories give their group.
	mkdir shared
	chgrp 777 shared
	chmod 2777 shared
	as_user $u touch shared/f
	as_user $u mkdir shared/d
	same 777 "$(stat -c %g shared/f)" "group in an sgid directory"
	same "2755 777" "$(stat -c '%a %g' shared/d)"

	# ACLs, if the pool has them.
	if setfacl -m u:$u:rw root-only 2>/dev/null; then
		same secret "$(as_user $u cat root-only)" "a user whom an ACL lets in"
		refuses 1 as_user 23456 cat root-only 2>/dev/null
		mkdir acl
		setfacl -d -m u:$u:rwx,o::- acl
		umask 022
		touch acl/f
		same "user:$u:rwx" "$(getfacl -c acl/f 2>/dev/null | grep -o "user:$u:rwx")" "default ACL"
		setfacl -b root-only
		refuses 1 as_user $u cat root-only 2>/dev/null
	fi
	cd /
}

both_ways run_permissions
