#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""imds.py PORTFILE LOG: an instance metadata service, version 2 only. Its keys are good for 301 s, one more than
what counts as due, so that each renewal is seen: the key's id counts them."""
import datetime
import http.server
import json
import os
import sys

ROLE = "/latest/meta-data/iam/security-credentials/"
count = 0


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self):
        if self.path != "/latest/api/token" or not self.headers["X-aws-ec2-metadata-token-ttl-seconds"]:
            return self.answer(400, b"")
        print("token", file=LOG, flush=True)
        self.answer(200, b"AToken==")

    def do_GET(self):
        global count
        if self.headers["X-aws-ec2-metadata-token"] != "AToken==":
            return self.answer(401, b"")
        if self.path == ROLE:
            return self.answer(200, b"the-role")
        if self.path != ROLE + "the-role":
            return self.answer(404, b"")
        count += 1
        end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=301)
        self.answer(200, json.dumps({
            "Code": "Success", "AccessKeyId": f"ImdsKey{count}", "SecretAccessKey": "TheSecretItself",
            "Token": "TheTokenItself" + "x" * 1500, "Expiration": end.strftime("%Y-%m-%dT%H:%M:%SZ")}).encode())

    def log_message(self, *args):
        pass


LOG = open(sys.argv[2], "a")
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
with open(sys.argv[1] + ".new", "w") as f:
    f.write(str(server.server_port))
os.rename(sys.argv[1] + ".new", sys.argv[1])
server.serve_forever()
