#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""keys.py make DIR COUNT SEED   files whose names a store may stumble over: every legal byte, awkward names, COUNT random ones
keys.py compare DIR DIR       the same names, each file with the same bytes
keys.py names DIR             the paths of all files below, each ended by a NUL
A file's content is its path, so that a mix-up is seen."""
import os
import random
import sys
import unicodedata

AWKWARD = [
    b"..a", b"...", b".hidden", b" lead", b"trail ", b"trail.", b"a\nb", b"a\r\nb", b"%2F", b"%", b"%00", b"%zz", b"%2e%2e",
    b".%2e", b"a+b", b"a b", b"a%20b", b"a&b=c;d", b"?query", b"#fragment", b"'quoted'", b'"', b"<xml>", b"&amp;", b"]]>",
    b"\xff\xfe", b"\xc3", b"\xc3\x28", b"\xed\xa0\x80", b"\xef\xbf\xbe", b"\xef\xbf\xbf", b"\xe2\x80\x9b", b"\xe2\x80\x9b0A",
    b"\xe2\x80\x9b\xe2\x80\x9bFF", b"\xc0\xaf", b"\xf4\x90\x80\x80", b"\\", b"a\\b", b"*", b"~", b"-rf", b"$(id)", b"\x1b[0m",
    b"CON", b"index.html", b".vidas-conflict-1", b"x.vidas-conflict-20200101T000000Z", b".vidas-absent", b".vidas-put", b"vidas-pool",
    b"control", b"a:b", b"a|b", b"a@b", b"a,b", b"a*", b"s3:", b"nfs:", b"a" * 255,
    "é".encode(), unicodedata.normalize("NFD", "é").encode(), "\U0001f600".encode(), ("\u20ac" * 85).encode(),
    "\u202efdp.exe".encode(), "\u200b".encode(), "\ufeff".encode(), "\u0085".encode(), "\u2028".encode(),
]
RANGES = [(0x21, 0x7e), (0x21, 0x7e), (0x01, 0x1f), (0xa0, 0x17f), (0x400, 0x4ff), (0x4e00, 0x9fff), (0xe000, 0xf8ff), (0x10000, 0x10ffff)]


def random_name(rnd):
    name = b""
    for _ in range(rnd.choice([1, 3, 8, 20, 40, 60])):
        low, high = rnd.choice(RANGES)
        char = chr(rnd.randint(low, high)).encode()
        if char != b"/" and len(name) + len(char) <= 255:
            name += char
    return name if name not in (b"", b".", b"..") else b"x"


def paths(count, seed):
    rnd = random.Random(seed)
    for byte in range(1, 256):
        if byte not in b"/.":
            yield b"bytes/" + bytes([byte])
            yield b"bytes/in " + bytes([byte]) + b" it"
    for name in AWKWARD:
        yield b"awkward/" + name
        yield b"awkward dirs/" + name + b"/" + name
    dirs = [b""] + [random_name(rnd) + b".d/" for _ in range(20)]
    for _ in range(count):
        yield b"random/" + rnd.choice(dirs) + random_name(rnd)


def files(top):
    for directory, _, names in os.walk(top):
        for name in names:
            yield os.path.relpath(os.path.join(directory, name), top)


def content(path):
    with open(path, "rb") as file:
        return file.read()


def make(top, count, seed):
    done = set()
    for path in paths(int(count), int(seed)):
        whole = os.path.join(top, path)
        if path in done or len(path) > 900:
            continue
        os.makedirs(os.path.dirname(whole), exist_ok=True)
        with open(whole, "wb") as file:
            file.write(path)
        done.add(path)
    print(len(done), "keys")


def compare(one, other):
    here, there = set(files(one)), set(files(other))
    if here != there:
        sys.exit(f"only in {one}: {sorted(here - there)[:5]}; only in {other}: {sorted(there - here)[:5]}")
    for path in here:
        if content(os.path.join(one, path)) != content(os.path.join(other, path)):
            sys.exit(f"{path} differs")
    print(len(here), "keys are the same")


command, *rest = (os.fsencode(a) for a in sys.argv[1:])
if command == b"make":
    make(*rest)
elif command == b"compare":
    compare(*rest)
elif command == b"names":
    sys.stdout.buffer.write(b"".join(sorted(path + b"\0" for path in files(rest[0]))))
else:
    sys.exit(__doc__)
