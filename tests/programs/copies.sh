#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A tree with all that trees can have goes to /vidas and back by rsync, cp and tar, and is moved about there, without a
# difference.
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
need rsync tar setfacl setfattr

source_tree() {
	local i
	mkdir -p "$src/dir/deep/er" "$src/empty" "$src/many"
	head -c 3000000 /dev/urandom >"$src/big"
	truncate -s 5M "$src/sparse"
	echo end >>"$src/sparse"
	for i in $(seq 300); do echo "$i" >"$src/many/f$i"; done
	echo text >"$src/dir/a"
	ln "$src/dir/a" "$src/dir/deep/hard"
	ln -s ../a "$src/dir/deep/soft"
	ln -s nowhere "$src/dangling"
	mkfifo "$src/fifo"
	: >"$src/dir/$(printf 'odd \t*?\\\n\303\244')"
	: >"$src/dir/$(printf 'n%.0s' $(seq 255))"
	echo x >"$src/dir/modes"
	chmod 4751 "$src/dir/modes"
	chown 1234:4321 "$src/dir/a"
	chmod 2775 "$src/dir/deep"
	chmod 1777 "$src/empty"
	chmod 0 "$src/many/f1"
	setfattr -n user.one -v "$(head -c 200 /dev/zero | tr '\0' x)" "$src/dir/a"
	setfattr -n user.dir -v 0x00ff00 "$src/dir"
	setfacl -m u:77:r,g:88:rw "$src/dir/modes"
	setfacl -m d:u:77:rwx "$src/dir/deep/er"
	find "$src" -depth -exec touch -h -d '2001-02-03 04:05:06.123456789' {} +
	touch -h -d '1999-12-31 23:59:59.5' "$src/dangling"
	touch -d '2010-10-10 10:10:10.987654321' "$src/dir" "$src/big"
}

# What a tree has, as text: two that are alike print the same.
tree() {
	(
		cd "$1"
		find . -mindepth 1 -printf '%p|%y|%m|%U:%G|%n|%l|%T@\n' | sort
		find . -type f -exec sha256sum {} + | sort -k2
		find . -print0 | sort -z | xargs -0 getfattr -h -d -m '^user' -e hex
		find . ! -type l -print0 | sort -z | xargs -0 getfacl -nps
	)
}
alike() { # DIR WHAT
	tree "$1" >"$VIDAS_TMP/there"
	diff "$VIDAS_TMP/list" "$VIDAS_TMP/there" >"$VIDAS_TMP/diff" || { head -n 30 "$VIDAS_TMP/diff"; fail "$2"; }
}

run_copies() {
	rsync -aHAXS --checksum "$src/" "$mnt/rsync"
	alike "$mnt/rsync" "rsync to /vidas"
	same "" "$(rsync -aHAXn --checksum --delete -i "$src/" "$mnt/rsync")" "rsync finds a difference"
	rsync -aHAX --checksum "$mnt/rsync/" "$VIDAS_TMP/back-$way"
	alike "$VIDAS_TMP/back-$way" "rsync from /vidas"
	cp -a "$src" "$mnt/cp"
	alike "$mnt/cp" "cp -a to /vidas"
	cp -a "$mnt/cp" "$mnt/cp2"
	alike "$mnt/cp2" "cp -a within /vidas"
	mkdir "$mnt/tar" "$VIDAS_TMP/untar-$way"
	tar -C "$src" -S --xattrs --xattrs-include='*' --acls -cf - . | tar -C "$mnt/tar" --xattrs --xattrs-include='*' --acls -xpf -
	alike "$mnt/tar" "tar to /vidas"
	tar -C "$mnt/tar" -S --xattrs --xattrs-include='*' --acls -cf "$mnt/archive.tar" .
	tar -C "$VIDAS_TMP/untar-$way" --xattrs --xattrs-include='*' --acls -xpf "$mnt/archive.tar"
	alike "$VIDAS_TMP/untar-$way" "tar from /vidas"

	mv "$mnt/cp2" "$mnt/moved"
	alike "$mnt/moved" "mv of a tree"
	mkdir "$mnt/into"
	mv "$mnt/moved" "$mnt/into/"
	alike "$mnt/into/moved" "mv into a directory"
	mv "$mnt/into/moved" "$VIDAS_TMP/moved-$way"
	alike "$VIDAS_TMP/moved-$way" "mv out of /vidas"
	mv "$VIDAS_TMP/moved-$way" "$mnt/home"
	alike "$mnt/home" "mv into /vidas"
	[ "$(stat -c %b "$mnt/cp/sparse")" -lt 2000 ] || fail "a sparse file became $(stat -c %b "$mnt/cp/sparse") blocks"
	rm -rf "$mnt"/*
	same "" "$(ls -A "$mnt")"
}

src=$VIDAS_TMP/src
source_tree
tree "$src" >"$VIDAS_TMP/list"
vidasd_options=(--pool-huge never)
both_ways run_copies
