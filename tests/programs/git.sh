#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# git between two domains: a repository of thousands of files is cloned, checked out, committed to, repacked and merged
# by both, each at once finding what the other has done.
# vidas-timeout: 300
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
need git
export HOME=$VIDAS_TMP GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@t GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@t
git config --global --add safe.directory '*'
git config --global init.defaultBranch main
git config --global gc.autoDetach false

files=2000
origin() {
	local i
	git init -q "$VIDAS_TMP/origin"
	cd "$VIDAS_TMP/origin"
	for i in $(seq $files); do
		[ $((i % 50)) != 1 ] || mkdir d$((i / 50))
		seq "$i" $((i + 40)) >d$(((i - 1) / 50))/f"$i"
	done
	chmod +x d0/f1
	ln -s ../d1/f60 d0/link
	git add .
	git commit -qm first
	git checkout -qb other
	git mv d3 moved
	sed -i s/1/one/ d*/f*7
	git commit -qam second
	git checkout -q main
	cd /
}

# What a work tree has: names, modes, contents.
tree() { (cd "$1" && find . -path ./.git -prune -o -printf '%p %y %m %l\n' -o -type f | sort && git ls-files -z | grep -zv link$ | xargs -0 cat | sha256sum); }

two_domains
origin
git clone -q "$VIDAS_TMP/origin" "$a/repo"
same "" "$(git -C "$b/repo" status --porcelain)" "status in the other domain"
same "$(tree "$VIDAS_TMP/origin")" "$(tree "$b/repo")"

# One checks out, the other sees all of it; and back.
git -C "$b/repo" checkout -q other
same "" "$(git -C "$a/repo" status --porcelain)"
git -C "$VIDAS_TMP/origin" checkout -q other
same "$(tree "$VIDAS_TMP/origin")" "$(tree "$a/repo")"
git -C "$a/repo" checkout -q main

# Commits by turns into one repository; refs and the index are replaced by rename, packs are mapped.
for i in 1 2 3 4 5; do
	for d in "$a" "$b"; do
		echo "$d $i" >>"$d/repo/d0/f$i"
		git -C "$d/repo" commit -qam "$d $i"
	done
done
same 10 "$(git -C "$a/repo" rev-list --count origin/main..main)"
git -C "$b/repo" gc -q
same 10 "$(git -C "$a/repo" rev-list --count origin/main..main)" "after gc in the other domain"
git -C "$a/repo" fsck --full --strict 2>&1 | refuses any grep -v '^\(Checking\|dangling\|notice\)'

# Both at once, each in a clone of its own that shares objects with the first by hard links; then push and merge.
for d in "$a" "$b"; do
	(
		git clone -q "$d/repo" "$d/clone${d//[^12]/}x"
		cd "$d/clone${d//[^12]/}x"
		git checkout -qb "by${d//[^12]/}x" origin/other
		for i in $(seq 20); do
			echo "$i" >"new$i-${d//[^12]/}"
			git add .
			git commit -qm "$i"
		done
		git gc -q
		git push -q origin HEAD
	) &
	pids+=" $!"
done
for p in $pids; do wait "$p" || fail "a domain's work broke"; done
cd "$b/repo"
for name in $(git branch --list 'by*' --format='%(refname:short)'); do git merge -q -m merged "$name"; done
same "" "$(git -C "$a/repo" status --porcelain)"
same 40 "$(ls "$a/repo" | grep -c ^new)"
git -C "$a/repo" gc -q --prune=now
git fsck --full --strict 2>&1 | refuses any grep -v '^\(Checking\|dangling\|notice\)'
cd /

# A tree of thousands of files goes away, here and there.
rm -rf "$a/repo"
refuses any test -e "$b/repo"
