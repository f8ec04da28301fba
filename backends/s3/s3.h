/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * s3://BUCKET/PREFIX?...: what the parts of this plug-in share. From the bottom up:
 *
 *	config.c, encode.c, meta.c, xml.c, cred.c	no I/O but files (and imds.c)
 *	engine.c	threads that drive libcurl; a request belongs to them from submit to done
 *	request.c	one request: headers, where bytes come from and go to; sign.c its signature; hash.c, sum.c checksums
 *	run.c		sets of requests in parallel, tried again where that may help
 *	upload.c, bulk.c	many requests that are one thing to S3
 *	dirs.c, get.c, put.c, parts.c, copy.c, names.c, list.c	the calls of <vidas/backend.h>
 *	probe.c, keeper.c	what the server can do; left-over uploads, credentials in time
 *
 * Keys: those of backend.h are escaped (encode.c) and put behind the prefix; that is an object's
 * name. A directory is a marker object "name/", or just a prefix that objects have. Where both
 * "a" and "a/..." exist, "a" is a file.
 */
#ifndef VIDAS_S3_H
#define VIDAS_S3_H

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <vidas/backend.h>

#include "backends/digests.h"

#define S3_KEY_MAX    1024u			/* bytes of an object's name, as S3 has it */
#define S3_NAME_BYTES (S3_KEY_MAX + 2)		/* with a marker's '/' and the NUL */
#define S3_PATH_BYTES (3 * S3_NAME_BYTES + 300) /* percent-encoded, behind "/BUCKET/" */
#define S3_ANSWER_MAX (32u << 20)		/* bytes of an XML answer that are read */
#define S3_PARTS_MAX  10000u			/* of a multipart upload, as S3 has it */
#define S3_SUM_BYTES  45u			/* of a SHA-256 in base64, with the NUL */
#define S3_SIGNED_MAX 65536u /* bodies up to here are copied and their hash is signed */

/* Whose MD5 is compared with its ETag: hashing large ones costs a core as much as sending them. */
enum s3_verify { S3_VERIFY_NONE, S3_VERIFY_SINGLE, S3_VERIFY_ALL };

enum s3_auth { S3_AUTH_NONE, S3_AUTH_V2, S3_AUTH_V4 };

struct s3_config {
	char *bucket, *prefix; /* prefix: "" or ends in '/' */
	char *endpoint;	       /* "http://host:port", no '/' at its end */
	char *region, *cafile, *profile, *credentials;
	bool path_style, attrs, probe, sums;
	enum s3_auth auth;
	bool list_old; /* ListObjects as it was: stores with auth=v2 may know no other */
	enum s3_verify verify;
	uint64_t part_bytes;   /* whole MiB, as the blocks whose digests are remembered */
	uint64_t single_bytes; /* that one PUT or COPY may have */
	/* Where conditions do not hold when an upload is completed: larger puts go in parts, and the
	 * condition is looked at just before. */
	uint64_t atomic_bytes;
	unsigned parallel, threads, retries;
	unsigned connect_s, timeout_s;
};

/* -EINVAL, said in words. */
int vidas_s3_config_parse(const struct vidas_backend_host *host, const char *url,
			  struct s3_config *c);
void vidas_s3_config_clear(struct s3_config *c);

/* encode.c ------------------------------------------------------------------------------------- */

/*
 * Bytes that are no UTF-8 are escaped as rclone does it: U+201B and two hexadecimal digits; U+201B
 * itself is doubled. -EINVAL if it does not fit.
 */
int vidas_s3_name_escape(const char *key, char *out, size_t size);
int vidas_s3_name_unescape(const char *name, char *out, size_t size);
/* Percent-encodes; '/' stays if `path`. The length, or -EINVAL if it does not fit. */
int vidas_s3_percent_encode(const char *text, bool path, char *out, size_t size);
/* In place; "+" is a blank, as in encoding-type=url. -EINVAL: not encoded right. */
int vidas_s3_percent_decode(char *text);

/* Credentials (cred.c, imds.c). ---------------------------------------------------------------- */

struct s3_key {
	char id[256], secret[256], token[4096];
	int64_t expires_s; /* CLOCK_REALTIME; 0: never */
};
struct s3_cred;
struct s3_cred_source {
	const char *file;    /* read this one alone, or NULL */
	const char *profile; /* or NULL: $AWS_PROFILE, "default" */
};
/* Finds nothing yet. The strings of `source` must live as long. */
int vidas_s3_cred_open(const struct vidas_backend_host *host, const struct s3_cred_source *source,
		       struct s3_cred **out);
void vidas_s3_cred_close(struct s3_cred *c); /* wipes */
/* A copy, for the caller to wipe. May take the time of IMDS: at most 4 s. -EACCES there are none
 * (`why` says where was looked), -EPERM a file that others can read. */
int vidas_s3_cred_get(struct s3_cred *c, struct s3_key *out, char why[256]);
/* The server refused them as expired: find them anew. */
void vidas_s3_cred_expire(struct s3_cred *c, const char *id);
/* Seconds until they should be fetched anew; -1 never. */
int64_t vidas_s3_cred_due(struct s3_cred *c);
int vidas_s3_cred_file(const char *path, const char *profile, bool must, struct s3_key *out,
		       char why[256]);
int vidas_s3_imds_fetch(struct s3_key *out, char why[256]);

/* Requests (request.c). ------------------------------------------------------------------------ */

enum s3_method { S3_GET, S3_HEAD, S3_PUT, S3_POST, S3_DELETE };

/* A place in memory in pieces. */
struct s3_cursor {
	const struct iovec *iov;
	int left;
	size_t used;
};
void vidas_s3_cursor_skip(struct s3_cursor *c, uint64_t bytes);
/* Copies out and moves on: the one reading of bytes that others may change. */
void vidas_s3_cursor_read(struct s3_cursor *c, char *buf, size_t bytes);

struct s3_reply {
	long http;		      /* status; 0: none came */
	CURLcode curl;		      /* of the transfer */
	struct vidas_backend_stat st; /* from the headers; the type by mode */
	uint64_t length, from;	      /* Content-Length; where a range begins */
	uint64_t whole;		      /* size of the object, if a range says it */
	time_t date;		      /* the server's clock; 0 not told */
	unsigned retry_after_s;
	bool ranged;	   /* Content-Range came */
	bool foreign_hash; /* its ETag is no MD5, as of keys from a KMS */
	uint64_t received; /* bytes that went to the sink */
	uint8_t md5[16];   /* of the bytes that were sent or received, if asked for */
	size_t digests;	   /* how many of r->digest are there; set at the end */
	char *text;	   /* the answer, NUL-terminated, where it did not go to a sink */
	size_t text_bytes, text_room;
	struct curl_slist *keep;     /* headers to give again when metadata is replaced */
	char region[64];	     /* x-amz-bucket-region */
	char sum[64];		     /* x-amz-checksum-sha256 */
	char code[64], message[256]; /* of an S3 error */
	char curl_words[CURL_ERROR_SIZE];
};

struct s3_batch;

struct s3_request {
	/* What is asked; stays as it is when tried again. */
	struct vidas_backend *be;
	enum s3_method method;
	char name[S3_NAME_BYTES];	     /* object, "" the bucket */
	char query[3 * S3_NAME_BYTES + 256]; /* "a=b&c=d", sorted, encoded */
	struct curl_slist *headers;
	struct s3_cursor body; /* what is sent */
	uint64_t body_bytes;
	struct s3_cursor sink; /* where a 2xx answer goes; iov NULL: reply.text */
	uint64_t sink_bytes;   /* > 0: asked as a range from sink_offset */
	uint64_t sink_offset;
	bool hash; /* reply.md5 is wanted */
	XXH128_hash_t *
		digest; /* wanted of each block (VIDAS_DIGESTS_BLOCK) that is sent or comes; NULL no */
	bool sum; /* its SHA-256 is sent with the body, or compared with that of the object, see sum.c */
	bool keep;		 /* reply.keep is wanted */
	_Atomic uint64_t *moved; /* of the put that this is part of, or NULL */
	long accept;		 /* a status >= 300 that is no failure here: 404, 412, 416 */
	bool once;		 /* never tried again */
	bool long_wait;		 /* the server works before it answers (complete, copy) */

	int err; /* outcome, see run.c */
	struct s3_reply reply;

	/* Of the machinery. */
	struct s3_batch *batch;
	struct s3_request *next;
	struct s3_engine *engine;
	CURL *easy;
	struct curl_slist *sent_headers;
	void *md, *sum_md;	     /* EVP_MD_CTX */
	char sum_text[S3_SUM_BYTES]; /* what was sent or came; "" not known */
	uint64_t framed;	     /* bytes of a frame that were sent */
	XXH3_state_t *xxh;
	uint64_t digested, counted; /* counted: in *moved */
	struct s3_cursor at;
	uint64_t done_bytes;
	uint8_t *copy;	    /* of a small body */
	char key_used[256]; /* id of the credentials */
	unsigned tries;
	int64_t not_before_us;
	bool cancel, flying, skewed, renewed;
};

/* A new one on the heap; NULL no memory. The name is prefix + escaped key (+ "/"). */
struct s3_request *vidas_s3_request_new(struct vidas_backend *be, enum s3_method method,
					const char *name);
void vidas_s3_request_free(struct s3_request *r); /* NULL allowed */
int vidas_s3_request_header(struct s3_request *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Appends "NAME=encoded value" (call in the order of names). */
int vidas_s3_request_query(struct s3_request *r, const char *name, const char *value);
/* Makes ready to fly: an easy handle with all its options. -EACCES no credentials. */
int vidas_s3_request_arm(struct s3_request *r);
/* After the flight: takes the handle's results, gives the handle back. */
void vidas_s3_request_land(struct s3_request *r, CURLcode code);
void vidas_s3_reply_clear(struct s3_reply *reply);

/* For the signature (sign.c): path and Host as they are sent; a header line of this flight, whose
 * format has one %s. */
int vidas_s3_request_path(const struct s3_request *r, char *out, size_t size);
int vidas_s3_request_host(const struct s3_request *r, char *out, size_t size);
int vidas_s3_request_add(struct s3_request *r, const char *fmt, const char *value)
	__attribute__((format(printf, 2, 0)));
/* The value of a header of this flight; "" none. */
const char *vidas_s3_request_said(const struct s3_request *r, const char *name);
/* Fetches the keys and signs, unless auth=none. Makes r->copy of a small body. -EACCES no keys. */
int vidas_s3_sign(struct s3_request *r);

/* hash.c: reply.md5 and r->digest, from begin (or again, from the start) by feed to end. -ENOMEM. */
int vidas_s3_hash_begin(struct s3_request *r);
bool vidas_s3_hash_again(struct s3_request *r);
void vidas_s3_hash_feed(struct s3_request *r, const char *data, size_t size);
void vidas_s3_hash_end(struct s3_request *r);
void vidas_s3_hash_sum(struct s3_request *r); /* r->sum_text of all that was fed */

/* sum.c: is the body in a frame, with a checksum behind it? How long it is on the wire, its headers; what of
 * the frame is next (0: the body is). */
bool vidas_s3_sum_framed(const struct s3_request *r);
uint64_t vidas_s3_sum_wire_bytes(const struct s3_request *r);
int vidas_s3_sum_headers(struct s3_request *r);
size_t vidas_s3_sum_frame(struct s3_request *r, char *buf, size_t size);
void vidas_s3_sum_text(const unsigned char *sha256, char text[S3_SUM_BYTES]);
/* Has what was sent, or came, the checksum that the server says, if it says one of it? */
bool vidas_s3_sum_same(const struct s3_request *r);

/* Engine. -------------------------------------------------------------------------------------- */

/* Requests of one call; lives on its stack. */
struct s3_batch {
	pthread_mutex_t lock;
	pthread_cond_t landed;
	struct s3_request *done;
};

int vidas_s3_engines_open(struct vidas_backend *be);
void vidas_s3_engines_close(struct vidas_backend *be);
/* Hands an armed request over; it comes back on its batch's list. */
void vidas_s3_engine_submit(struct s3_request *r);
/* Asks for requests to come back soon (CURLE_ABORTED_BY_CALLBACK). */
void vidas_s3_engine_cancel(struct s3_request *r);
CURL *vidas_s3_easy_take(struct vidas_backend *be);
void vidas_s3_easy_give(struct vidas_backend *be, CURL *easy);

/* Run. ----------------------------------------------------------------------------------------- */

/*
 * Runs n requests, at most be->config.parallel at a time. Each has its outcome in ->err: 0 (2xx) or
 * what vidas_s3_error() says. With `all`, goes on after a failure; else the rest is called back
 * (-ECANCELED) and the first failure is returned. The words of the failure are left with the host.
 */
int vidas_s3_run_all(struct vidas_backend *be, struct s3_request **r, size_t n, bool all);
int vidas_s3_run(struct s3_request *r);
bool vidas_s3_may_pass(int err);
/* How long to wait after so many tries: jittered, at most 5 s. */
int64_t vidas_s3_pause_us(unsigned tries);
/* The errno of a reply; 0 for 2xx. */
int vidas_s3_error(const struct s3_request *r);
/* Says the words of a failed request; returns its err. */
int vidas_s3_say(const struct s3_request *r);

/* Metadata (meta.c). --------------------------------------------------------------------------- */

#define S3_MODE_DIR  UINT32_C(040000)
#define S3_MODE_FILE UINT32_C(0100000)
#define S3_MODE_LINK UINT32_C(0120000)

/* Adds x-amz-meta-{mode,uid,gid,mtime} of `st`, as s3fs writes them. */
int vidas_s3_meta_headers(struct s3_request *r, const struct vidas_backend_stat *st);
/* After the headers: what they say together. */
void vidas_s3_meta_finish(struct vidas_backend_stat *st);
/* One header line of an answer. */
void vidas_s3_meta_line(struct s3_request *r, char *name, char *value);
void vidas_s3_version_set(struct vidas_backend_version *v, const char *etag);
/* The ETag of a version, without quotes. */
void vidas_s3_version_text(const struct vidas_backend_version *v, char text[64]);
bool vidas_s3_version_same(const struct vidas_backend_version *a,
			   const struct vidas_backend_version *b);
time_t vidas_s3_time_parse(const char *iso); /* 2026-11-20T06:52:32.000Z; 0 if it is none */

/* Answers (xml.c). ----------------------------------------------------------------------------- */

struct s3_entry {
	char *name; /* decoded, not unescaped */
	char etag[64];
	uint64_t size;
	time_t modified;
	bool prefix;  /* a CommonPrefix */
	char *upload; /* of an upload in progress: its id */
};
struct s3_answer {
	char code[64], message[256], region[64]; /* <Error> */
	char etag[64], sum[64], upload_id[1024];
	bool truncated, encoded; /* encoded: names are percent-encoded */
	char *next;		 /* continuation token, or marker */
	char *next_upload;
	struct s3_entry *entry;
	size_t entries, room;
};
/* -EBADMSG it is not XML that S3 sends. Clear also after a failure. */
int vidas_s3_xml_parse(const char *text, size_t bytes, struct s3_answer *out);
/* Some servers repeat the prefix that was asked for with characters that XML cannot have, although the
 * names beside it are encoded. Puts '?' in their place, and says whether there were any. */
bool vidas_s3_xml_cleanse(char *text);
void vidas_s3_answer_clear(struct s3_answer *a);

/* The backend. --------------------------------------------------------------------------------- */

struct s3_dir;
struct s3_known;
struct s3_engine;

/* How the server wants an ETag in conditions of a PUT. */
enum s3_quoting { S3_NO_CONDITIONS, S3_UNQUOTED, S3_QUOTED };

struct vidas_backend {
	const struct vidas_backend_host *host;
	struct s3_config config;
	struct s3_cred *cred;
	struct s3_engine *engine; /* config.threads of them */
	_Atomic unsigned next_engine;
	_Atomic int64_t skew_s; /* the server's clock is ahead of ours by this */
	_Atomic int
		complete_conditions; /* do they hold in CompleteMultipartUpload? 0 unknown, -1 no */
	_Atomic bool closing;
	_Atomic int bulk; /* does it know DeleteObjects? 0 unknown, -1 no */
	enum s3_quoting conditions;
	bool etag_is_md5;
	bool sums;		    /* it knows x-amz-checksum-sha256, in trailers too */
	struct vidas_digests *sent; /* of large objects that were put or fetched */

	pthread_mutex_t easy_lock;
	CURL *easy[64];
	unsigned easies;

	pthread_mutex_t dirs_lock;
	struct s3_dir *dirs; /* that are known to exist */
	pthread_mutex_t known_lock;
	struct s3_known *known; /* metadata of objects that a listing showed */

	pthread_t keeper;
	bool keeper_runs;
	pthread_mutex_t keeper_lock;
	pthread_cond_t keeper_wake;
};

extern const struct vidas_backend_ops vidas_s3_ops;

__attribute__((format(printf, 3, 4))) void vidas_s3_log(struct vidas_backend *be, int level,
							const char *fmt, ...);
int64_t vidas_s3_now_us(void); /* monotonic */

/* The name of a key, of its marker if `dir`. -EINVAL said: it is too long for S3. */
int vidas_s3_name(struct vidas_backend *be, const char *key, bool dir, char name[S3_NAME_BYTES]);
/* A request on a key. */
int vidas_s3_request_key(struct vidas_backend *be, enum s3_method method, const char *key, bool dir,
			 struct s3_request **out);

/* dirs.c: what is at "KEY/"? */
enum s3_presence { S3_ABSENT, S3_PREFIX, S3_MARKER, S3_FILE };
int vidas_s3_dir_look(struct vidas_backend *be, const char *key, enum s3_presence *out);
/* Is there anything below but the marker? */
int vidas_s3_dir_empty(struct vidas_backend *be, const char *key, enum s3_presence *out,
		       bool *empty);
/* Makes what is missing above a key. -ENOTDIR a file is in the way. */
int vidas_s3_dir_parents(struct vidas_backend *be, const char *key);
/* Before the last thing in the directory above may go: gives that a marker. */
int vidas_s3_dir_keep(struct vidas_backend *be, const char *key);
int vidas_s3_dir_make(struct vidas_backend *be, const char *key,
		      const struct vidas_backend_stat *attrs);
void vidas_s3_dirs_forget(struct vidas_backend *be);

/* A file was put there: a hint, as all of this is, believed for a minute. */
void vidas_s3_dirs_note(struct vidas_backend *be, const char *key, enum s3_presence presence);
/* -EISDIR there is a directory at KEY, where a file is to be. */
int vidas_s3_dir_refuse(struct vidas_backend *be, const char *key);

/* copy.c */
int vidas_s3_rename(struct vidas_backend *be, const char *from, const char *to);
int vidas_s3_set_attrs(struct vidas_backend *be, const char *key,
		       const struct vidas_backend_stat *attrs);

/* A multipart upload (upload.c). */
struct s3_upload {
	struct vidas_backend *be;
	char name[S3_NAME_BYTES];
	char id[1024];
	unsigned parts; /* that are there */
	char *xml;	/* "<Part>..." */
	size_t used, room;
	void *md; /* EVP_MD_CTX, of the parts' MD5s: the ETag of the whole, as most servers have it */
};
/* Begins one for the object `name`; clear it in any case. `st` its attributes, `keep` more headers of
 * its metadata; both may be NULL. */
int vidas_s3_upload_begin(struct s3_upload *u, struct vidas_backend *be, const char *name,
			  const struct vidas_backend_stat *st, const struct curl_slist *keep);
void vidas_s3_upload_clear(struct s3_upload *u);
/* Requests of parts, numbered from 1: the bytes at a cursor; [offset, offset + bytes) of an object, whose
 * version is to be looked at afterwards: servers disagree about conditions of copies (radosgw 16
 * ignores them, Swift 2.30 compares with an ETag of its own). */
int vidas_s3_upload_part(struct s3_upload *u, unsigned number, const struct s3_cursor *at,
			 uint64_t bytes, struct s3_request **out);
int vidas_s3_upload_copy(struct s3_upload *u, unsigned number, const char *from, uint64_t offset,
			 uint64_t bytes, struct s3_request **out);
/* A part's request that is done, in the order of numbers. */
int vidas_s3_upload_take(struct s3_upload *u, struct s3_request *r);
/* `condition` "" none; `*now` has size 0 if the server does not say. `once`: what the caller has looked at
 * before may have changed when it would be tried again. */
int vidas_s3_upload_complete(struct s3_upload *u, const char *condition, bool once,
			     struct vidas_backend_version *now);
/* Gives up; leaves the words of the failure before as they are. What cannot be aborted now, the keeper
 * will find. */
void vidas_s3_upload_drop(struct s3_upload *u);
int vidas_s3_upload_abort(struct vidas_backend *be, const char *name, const char *id);

/* parts.c: `condition` "": those of `put` are looked at before the upload is completed. */
int vidas_s3_parts_put(struct vidas_backend *be, const char *key,
		       const struct vidas_backend_put *put, const char *condition,
		       struct vidas_backend_version *now);
/* Parts of a size that is a multiple of a block, and few enough of them. */
uint64_t vidas_s3_part_bytes(const struct vidas_backend *be, uint64_t size, uint64_t most);
uint64_t vidas_s3_iov_bytes(const struct iovec *iov, int iovcnt);
/* Do conditions hold when an upload is completed? Asked once (probe.c). */
bool vidas_s3_parts_conditional(struct vidas_backend *be);

/* bulk.c: deletes objects by their names; what is not there is no failure. */
int vidas_s3_delete_names(struct vidas_backend *be, char *const *name, size_t names);

ssize_t vidas_s3_get(struct vidas_backend *be, const char *key, uint64_t offset,
		     const struct iovec *iov, int iovcnt,
		     const struct vidas_backend_version *expect,
		     struct vidas_backend_version *seen);
int vidas_s3_put(struct vidas_backend *be, const char *key, const struct vidas_backend_put *put,
		 struct vidas_backend_version *now);
/* A request for a small object; `data` must live as long. */
int vidas_s3_small_new(struct vidas_backend *be, const char *name, const struct iovec *data,
		       const struct vidas_backend_stat *st, struct s3_request **out);
/* "If-Match: ..." or "If-None-Match: *" as the server wants it, "" none. */
void vidas_s3_condition(const struct vidas_backend *be, const struct vidas_backend_put *put,
			char line[96]);
/* The same by asking first; *there is what was found, type 0 nothing. */
int vidas_s3_check(struct vidas_backend *be, const char *key, const struct vidas_backend_put *put,
		   struct vidas_backend_stat *there);
/* Are the bytes that were sent or came those of the ETag? */
bool vidas_s3_md5_same(const struct s3_request *r);

int vidas_s3_stat(struct vidas_backend *be, const char *key, struct vidas_backend_stat *st);
/* HEAD of the object itself; -ENOENT also where there is a directory. `keep` (for the caller to free) or
 * NULL: headers that are to be given again. */
int vidas_s3_head(struct vidas_backend *be, const char *key, bool dir,
		  struct vidas_backend_stat *st, struct curl_slist **keep);
int vidas_s3_head_name(struct vidas_backend *be, const char *name, struct vidas_backend_stat *st,
		       struct curl_slist **keep);
/* What a reply to HEAD or GET says of the object. */
void vidas_s3_stat_of(const struct s3_request *r, struct vidas_backend_stat *st);
int vidas_s3_remove(struct vidas_backend *be, const char *key,
		    const struct vidas_backend_version *expect);
int vidas_s3_mkdir(struct vidas_backend *be, const char *key,
		   const struct vidas_backend_stat *attrs);
int vidas_s3_rmdir(struct vidas_backend *be, const char *key);
int vidas_s3_symlink(struct vidas_backend *be, const char *key, const char *target);
ssize_t vidas_s3_readlink(struct vidas_backend *be, const char *key, char *target, size_t size);

int vidas_s3_list(struct vidas_backend *be, const char *key,
		  int (*each)(void *arg, const char *name, const struct vidas_backend_stat *st),
		  void *arg);
/* One page of names from `prefix` on; *token (heap, NULL first and last) goes on. */
int vidas_s3_page(struct vidas_backend *be, const char *prefix, bool delimited, unsigned max,
		  char **token, struct s3_answer *out);
void vidas_s3_known_clear(struct vidas_backend *be);

/* Asks the server what it can do; takes at most about 10 s. */
void vidas_s3_probe(struct vidas_backend *be);
void vidas_s3_describe(struct vidas_backend *be,
		       void (*say)(void *arg, const char *what, const char *how), void *arg);
int vidas_s3_keeper_start(struct vidas_backend *be);
void vidas_s3_keeper_stop(struct vidas_backend *be);

#endif
