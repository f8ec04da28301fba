#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""fake.py PORTFILE: the least of an S3 server, with a fault for each bucket's name. It checks no signatures: real
servers do that in s3.sh."""
import base64
import email.utils
import hashlib
import http.server
import os
import sys
import time
import urllib.parse

objects = {}
etags = {}  # of those that came in parts
seen = {}
first = {}
aborted = []
LEFTOVERS = b"""<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>
<Upload><Key>p/old</Key><UploadId>OLD</UploadId><Initiated>2020-01-01T00:00:00.000Z</Initiated></Upload>
<Upload><Key>p/young</Key><UploadId>YOUNG</UploadId><Initiated>%s</Initiated></Upload>
</ListMultipartUploadsResult>"""
AHEAD = 3600  # of the clock of bucket "skewed"
BOMB = b'<!DOCTYPE l [<!ENTITY a "aaaaaaaaaaaaaaaa">]><ListBucketResult><Prefix>&a;&a;</Prefix></ListBucketResult>'


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def date_time_string(self, timestamp=None):
        return email.utils.formatdate(time.time() + (AHEAD if "/skewed" in self.path else 0), usegmt=True)

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status, code, more=""):
        self.answer(status, f"<Error><Code>{code}</Code><Message>so it is</Message>{more}</Error>".encode())

    def fault(self, bucket, query):
        n = seen[bucket] = seen.get(bucket, 0) + 1
        if bucket == "slowdown" and n % 3:
            self.refuse(503, "SlowDown")
        elif bucket == "broken":
            self.refuse(500, "InternalError")
        elif bucket == "denied" and self.command == "PUT":
            self.refuse(403, "AccessDenied")
        elif bucket == "wrongkey":
            self.refuse(403, "SignatureDoesNotMatch")
        elif bucket == "region":
            self.refuse(400, "AuthorizationHeaderMalformed", "<Region>eu-west-7</Region>")
        elif bucket == "nobucket":
            self.refuse(404, "NoSuchBucket")
        elif bucket == "skewed" and abs(self.sent_at() - time.time() - AHEAD) > 900:
            self.refuse(403, "RequestTimeTooSkewed")
        elif bucket == "token" and not (self.headers["x-amz-security-token"] or "").startswith("TheTokenItself"):
            self.refuse(403, "AccessDenied")
        elif bucket == "expired" and self.key_id() == first.setdefault(bucket, self.key_id()):
            self.refuse(400, "ExpiredToken")
        elif bucket == "nobulk" and query.startswith("delete"):
            self.refuse(501, "NotImplemented")
        elif bucket == "leftovers" and query.startswith("max-uploads"):
            self.answer(200, LEFTOVERS % time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()).encode())
        elif bucket == "leftovers" and "uploadId" in query:
            aborted.append(query)
            self.answer(204)
        elif bucket == "leftovers" and self.path.endswith("/aborted"):
            self.answer(200, " ".join(aborted).encode(), ETag='"a"')
        elif bucket == "again" and query:
            self.answer(200, b"<R><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken></R>")
        elif bucket == "bomb" and query:
            self.answer(200, BOMB)
        elif bucket == "stalled":
            time.sleep(60)
            self.close_connection = True
        else:
            return False
        return True

    def key_id(self):
        return (self.headers["Authorization"] or "").partition("Credential=")[2].partition("/")[0]

    def sent_at(self):
        import calendar
        return calendar.timegm(time.strptime(self.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ"))

    def listing(self, bucket, prefix):
        names = sorted(n.partition("/")[2] for n in objects if n.startswith(bucket + "/" + prefix))
        return ("<ListBucketResult><IsTruncated>false</IsTruncated>%s</ListBucketResult>" % "".join(
            f"<Contents><Key>{n}</Key><Size>1</Size></Contents>" for n in names)).encode()

    def complete(self, name, parts):
        md5s = b"".join(hashlib.md5(parts[n]).digest() for n in sorted(parts))
        objects[name] = b"".join(parts[n] for n in sorted(parts))
        etags[name] = "%s-%u" % (hashlib.md5(md5s).hexdigest(), len(parts))

    def upload(self, name, query, data):
        if self.command == "PUT":
            objects.setdefault(query["uploadId"], {})[int(query["partNumber"])] = data
            if name.startswith("meanwhile/p/file") and query["partNumber"] == "2":
                objects[name] = b"of another, %d" % len(objects.get(name, b""))
            return self.answer(200, ETag='"%s"' % hashlib.md5(data).hexdigest())
        if self.command == "POST" and "uploadId" in query:
            if query["uploadId"] not in objects:
                return self.refuse(404, "NoSuchUpload")
            if name.startswith(("sums/", "sumsdamaged/")) and data.count(b"<ChecksumSHA256>") != len(objects[query["uploadId"]]):
                return self.refuse(400, "InvalidPart")
            self.complete(name, objects.pop(query["uploadId"]))
            if name.startswith("unanswered/p/file"):
                self.close_connection = True
                return
            return self.answer(200, b"<R><ETag>%s</ETag></R>" % etags[name].encode())
        if self.command == "POST" and name.startswith(("sums/", "sumsdamaged/")) and self.headers["x-amz-checksum-algorithm"] != "SHA256":
            return self.refuse(400, "InvalidRequest")
        if self.command == "POST":
            return self.answer(200, b"<R><UploadId>upload of %s</UploadId></R>" % name.encode())
        self.answer(204)

    def etag(self, name):
        return etags.get(name) or hashlib.md5(objects[name]).hexdigest()

    # Of PUT alone, as radosgw has it.
    def condition_fails(self, name):
        if self.command != "PUT" or not name.startswith(("meanwhile/", "unanswered/")):
            return False
        match = self.headers["If-Match"]
        if self.headers["If-None-Match"] == "*" and name in objects:
            return True
        return match is not None and (name not in objects or match.strip('"') != self.etag(name))

    # Bucket "sums" knows checksums, "sumsdamaged" and has a bad line at first, "sumsold" knows no trailers: they become bytes.
    # Who sends a wrong one, or none where one is due, is refused. None: refused.
    def checked(self, bucket, data):
        wanted = self.headers["x-amz-checksum-sha256"]
        if self.headers["x-amz-trailer"] and bucket != "sumsold":
            front, _, rest = data.partition(b"\r\n")
            size = int(front, 16)
            data, tail = rest[:size], rest[size:]
            name, _, wanted = tail.decode().strip("\r\n").removeprefix("0\r\n").partition(":")
            if (name != self.headers["x-amz-trailer"] or size != int(self.headers["x-amz-decoded-content-length"])
                    or self.headers["x-amz-content-sha256"] != "STREAMING-UNSIGNED-PAYLOAD-TRAILER"):
                return self.refuse(400, "InvalidRequest")
            if bucket == "sumsdamaged" and size > 100000 and seen[bucket] % 2:
                data = data[:-1] + b"?"
        elif "partNumber" in self.path and not wanted and bucket != "sumsold":
            return self.refuse(400, "InvalidRequest")
        if wanted and base64.b64encode(hashlib.sha256(data).digest()).decode() != wanted:
            return self.refuse(400, "BadDigest")
        return data

    def body(self, size, pause):
        parts = []
        while size > 0:
            parts.append(self.rfile.read(min(size, 1 << 20)))
            size -= len(parts[-1]) or size
            time.sleep(pause)
        return b"".join(parts)

    def handle_one(self):
        url = urllib.parse.urlsplit(self.path)
        bucket, _, key = url.path.lstrip("/").partition("/")
        data = self.body(int(self.headers["Content-Length"] or 0), 0.1 if bucket == "slow" else 0)
        if self.fault(bucket, url.query):
            return
        if bucket.startswith("sums") and self.command == "PUT":
            data = self.checked(bucket, data)
            if data is None:
                return
        if "uploads=" in url.query or "uploadId=" in url.query:
            return self.upload(bucket + "/" + key, dict(urllib.parse.parse_qsl(url.query)), data)
        if url.query:
            return self.answer(200, self.listing(bucket, urllib.parse.parse_qs(url.query).get("prefix", [""])[0]))
        name = bucket + "/" + key
        source = self.headers["x-amz-copy-source"]
        if self.condition_fails(name):
            return self.refuse(412, "PreconditionFailed")
        if self.command == "PUT" and source:
            objects[name] = data = objects[source.lstrip("/")]
            return self.answer(200, b"<CopyObjectResult><ETag>e</ETag></CopyObjectResult>")
        if self.command == "PUT":
            objects[name] = data
            etags.pop(name, None)
            return self.answer(200, ETag='"%s"' % hashlib.md5(data).hexdigest())
        if self.command == "DELETE":
            objects.pop(name, None)
            return self.answer(204)
        if bucket in ("damaged", "cut"):
            objects.setdefault(name, b"x" * 100)
        if name not in objects:
            return self.refuse(404, "NoSuchKey")
        data = objects[name]
        etag = '"%s"' % self.etag(name)
        if bucket == "damaged":
            data = data[:-1] + b"?"
        if bucket == "cut":
            self.close_connection = True
            return self.answer(200, data[:10], ETag=etag, Content_Length="100")
        wanted = (self.headers["Range"] or "").partition("=")[2].partition("-")
        if not wanted[0] or bucket == "damaged":
            return self.answer(200, data, ETag=etag)
        begin, end = int(wanted[0]), min(int(wanted[2]) + 1, len(data))
        sums = {}
        if bucket.startswith("sums") and end - begin == len(data) and self.headers["x-amz-checksum-mode"] == "ENABLED":
            etag = '"of-another-kind"' if key.endswith("spoilt") else etag
            sums = {"x_amz_checksum_sha256": base64.b64encode(hashlib.sha256(data).digest()).decode()}
            data = data[:-1] + b"?" if key.endswith("spoilt") else data
        if begin >= len(data):
            return self.refuse(416, "InvalidRange")
        if bucket == "slow":
            time.sleep((end - begin) / 5e6)
        self.answer(206, data[begin:end], ETag=etag, Content_Range=f"bytes {begin}-{end - 1}/{len(data)}", **sums)

    do_GET = do_HEAD = do_PUT = do_DELETE = do_POST = handle_one

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
with open(sys.argv[1] + ".new", "w") as f:
    f.write(str(server.server_port))
os.rename(sys.argv[1] + ".new", sys.argv[1])
server.serve_forever()
