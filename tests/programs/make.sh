#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# make -j of a C project: one domain has the sources, the other makes the objects, and make is never misled about what is
# newer; what one built the other runs.
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
need make cc

project() {
	local i
	mkdir "$a/src"
	for i in $(seq 30); do
		printf '#include "all.h"\nint part%d(void)\n{\n\treturn %d + SCALE;\n}\n' "$i" "$i" >"$a/src/part$i.c"
	done
	{
		echo '#define SCALE 0'
		for i in $(seq 30); do echo "int part$i(void);"; done
	} >"$a/src/all.h"
	{
		printf '#include "all.h"\n#include <stdio.h>\nint main(void)\n{\n\tint sum = 0;\n\n'
		for i in $(seq 30); do printf '\tsum += part%d();\n' "$i"; done
		printf '\tprintf("%%d\\n", sum);\n\treturn 0;\n}\n'
	} >"$a/src/main.c"
	# shellcheck disable=SC2016 # make's variables
	printf '%s\n' 'objects := $(notdir $(patsubst %.c,%.o,$(wildcard $(SRC)/*.c)))' 'VPATH = $(SRC)' \
		'prog: libparts.a main.o; $(CC) -o $@ main.o -L. -lparts' \
		'libparts.a: $(filter-out main.o,$(objects)); $(AR) rcs $@ $^' \
		'%.o: %.c; @echo CC $@; $(CC) -O1 -I$(SRC) -MMD -c -o $@ $<' '-include *.d' >"$a/src/Makefile"
}

build() { (cd "$1" && make -j4 -f "$2/Makefile" "SRC=$2") >"$VIDAS_TMP/make.log" 2>&1 || { cat "$VIDAS_TMP/make.log"; fail "make"; }; }

two_domains
# Both have the same path to it, so that one's dependency files serve the other.
mkdir "$VIDAS_TMP/v"
in_domain() { # ID COMMAND...
	# shellcheck disable=SC2016 # for the inner shell
	unshare --mount --propagation private bash -c 'mount --bind "$0" "$1" && shift 1 && cd / && "$@"' "$VIDAS_TMP/$1/shared" "$VIDAS_TMP/v" "${@:2}"
}
export -f build fail
export VIDAS_TMP
project
mkdir "$b/obj"
v=$VIDAS_TMP/v
in_domain 2 build "$v/obj" "$v/src"
same 31 "$(grep -c '^CC ' "$VIDAS_TMP/make.log")"
same 465 "$(in_domain 1 "$v/obj/prog")"

in_domain 1 build "$v/obj" "$v/src"
same 0 "$(grep -c '^CC ' "$VIDAS_TMP/make.log" || true)" "compiled again without a change"

sed -i 's/return 7 /return 107 /' "$a/src/part7.c"
in_domain 2 build "$v/obj" "$v/src"
same "CC part7.o" "$(grep '^CC ' "$VIDAS_TMP/make.log")"
same 565 "$(in_domain 1 "$v/obj/prog")" "a program that was rebuilt"

sed -i 's/SCALE 0/SCALE 2/' "$b/src/all.h"
in_domain 1 build "$v/obj" "$v/src"
same 31 "$(grep -c '^CC ' "$VIDAS_TMP/make.log")" "after a change in what all include"
same 625 "$(in_domain 2 "$v/obj/prog")"

# Two builds at once out of one source tree.
mkdir "$a/o1" "$a/o2"
in_domain 1 bash -c "VIDAS_TMP=$VIDAS_TMP/b1 && mkdir \$VIDAS_TMP && build $v/o1 $v/src" &
one=$!
in_domain 2 bash -c "VIDAS_TMP=$VIDAS_TMP/b2 && mkdir \$VIDAS_TMP && build $v/o2 $v/src"
wait $one || fail "the other build"
same "625 625" "$("$b/o1/prog") $("$a/o2/prog")"
