#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# vidas-timeout: 300
# The benchmarks run: every row there is has a value, whatever it is.
. "$VIDAS_SRC/tests/lib/test.sh"
need unshare mountpoint
[ -c /dev/fuse ] || skip "no /dev/fuse"
[ -x "$VIDAS_SRC/build-deps/fuse3/libexec/passthrough_ll" ] ||
	"$VIDAS_SRC/scripts/build-fuse" "$VIDAS_SRC/build-deps/fuse3" || skip "no passthrough_ll to compare with"
"$VIDAS_SRC/bench/run" --build "$VIDAS_BUILD" --quick --csv "$VIDAS_TMP/rows.csv" data metadata cold
python3 - "$VIDAS_TMP/rows.csv" <<'PY'
import csv, sys
rows = list(csv.DictReader(open(sys.argv[1])))
# Without passthrough some kernels have no shared mmap; every judged row must have been measured.
missing = [r["name"] for r in rows if not r["value"] and not ("mmap" in r["name"] and "nopassthrough" in r["name"])]
assert not missing, f"not measured: {missing}"
assert {r["group"] for r in rows} == {"files", "objects", "messages", "trees", "cold"}, rows
messages = [r for r in rows if r["group"] == "messages"]
asked = [r["name"] for r in messages if r["name"].endswith("alone") and float(r["value"]) > 0]
assert not asked, f"vidasd was asked for {asked}"
many = [r["name"] for r in messages if r["goal"] and r["verdict"] != "ok"]
assert not many, f"too many messages: {many}"
judged = [r for r in rows if r["goal"]]
assert len(judged) >= 50, f"only {len(judged)} rows with a goal"
assert all(r["verdict"] in ("ok", "SHORT") for r in judged)
PY
refuses 2 "$VIDAS_SRC/bench/run" nonsense
refuses 2 "$VIDAS_SRC/bench/run" --csv
refuses 2 "$VIDAS_BUILD/bench/data" --direct /tmp
refuses 1 "$VIDAS_BUILD/bench/data" --direct /nonexistent --mount x=/tmp
refuses 1 "$VIDAS_BUILD/bench/data" --direct "$VIDAS_TMP" --mount "other=/proc" --quick
refuses 1 "$VIDAS_BUILD/bench/api" --socket "$VIDAS_TMP/none" --peer-socket "$VIDAS_TMP/none"
