# SPDX-License-Identifier: LGPL-2.1-or-later
# Sourced after domains.sh: three domains on one container, for the litmus tests of docs/consistency.md.
#   three_domains OPT1 OPT2 OPT3   mounts them at $VIDAS_TMP/1 ... /3 with these options each; $d is the list of the
#                                  container's directories
#   litmus_run MODE SECONDS        all tests of the mode, with two domains and with three, in fresh directories
three_domains() {
	local i options=("$@")
	vidasd_start
	for i in 1 2 3; do domain_add $i; done
	for i in 1 2 3; do domain_mount $i "$VIDAS_TMP/$i" "${options[i - 1]}"; done
	mkdir "$VIDAS_TMP/1/shared"
	setfattr -n user.vidas.domains -v 2,3 "$VIDAS_TMP/1/shared"
	for i in 2 3; do wait_for 2 test -d "$VIDAS_TMP/$i/shared"; done
	d=("$VIDAS_TMP"/{1,2,3}/shared)
}

# litmus_in NAME MODE SECONDS DIR...
litmus_in() {
	local name=$1 mode=$2 seconds=$3 dirs=()
	shift 3
	mkdir "$1/$name"
	chmod 777 "$1/$name"
	while [ $# -gt 0 ]; do dirs+=("$1/$name"); shift; done
	litmus "$mode" "$seconds" "${dirs[@]}"
}

litmus_run() {
	litmus_in two "$1" "$2" "${d[0]}" "${d[1]}"
	litmus_in others "$1" "$2" "${d[2]}" "${d[1]}"
	litmus_in three "$1" "$2" "${d[@]}"
}
