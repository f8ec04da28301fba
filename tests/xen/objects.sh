#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# libvidas in guests: the paper's Listings between two of them, over the ring, on granted memory.
# vidas-timeout: 180
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/guests.sh"
trap 'guests_logs' ERR
examples=$VIDAS_BUILD/examples

guests_start
# Listing 1: 3 MB and a bit from guest 1 to guest 2.
on 2 "$examples/paper_listing1 read dir/big 3000001 | sha256sum" >got &
reader=$!
on 1 "head -c 3000001 /dev/urandom >/tmp/big; $examples/paper_listing1 write $(id 2) dir/big </tmp/big && sha256sum </tmp/big" >sent
wait $reader || fail "the reader ended with status $?"
cmp sent got
guests_stop
