# SPDX-License-Identifier: LGPL-2.1-or-later
# sources PATTERN...: the project's own files (in git, or new and not ignored; in a tarball all) that match, one a line.
sources() {
	cd "$VIDAS_SRC" || return
	if git -c safe.directory='*' rev-parse --git-dir >/dev/null 2>&1; then
		git -c safe.directory='*' ls-files --cached --others --exclude-standard -- "$@"
	else
		local p
		for p; do find . -path ./build -prune -o -path ./build-deps -prune -o -type f -name "$p" -print; done |
			sed 's|^\./||'
	fi | sort -u | while IFS= read -r f; do [ ! -f "$f" ] || echo "$f"; done
}
