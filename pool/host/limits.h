/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What one domain can make vidasd spend: every cap in one place. Reaching one is refused with the
 * errno named here and a line in the log; nothing is cut silently.
 */
#ifndef VIDAS_HOST_LIMITS_H
#define VIDAS_HOST_LIMITS_H

#include <stdint.h>

/* Connections of a domain, each a thread of vidasd (-EUSERS), and sessions of a domain (-EUSERS).
 * A few lanes beyond the cap are let in for as long as it takes to tell them so; more are closed
 * without a word. */
#define HOST_LANES_PER_DOMAIN	 64u
#define HOST_LANES_TO_REFUSE	 8u
#define HOST_SESSIONS_PER_DOMAIN 32u

/* Domains that can be added (-EUSERS). */
#define HOST_DOMAINS 1024u

/* Containers of which a domain is the initiator (-ENOSPC); the host itself (domain 0) may have
 * more. A session may attach as many as this at once (-EUSERS). */
#define HOST_CONTAINERS_PER_DOMAIN 64u
#define HOST_CONTAINERS_OF_HOST	   4096u
#define HOST_ATTACHED_PER_SESSION  4096u

/* Objects that a session has joined (-EUSERS), and objects of a container, joined or not: each is
 * some memory of vidasd and some pages of the pool (-ENOSPC). */
#define HOST_OBJECTS_PER_SESSION   4096u
#define HOST_OBJECTS_PER_CONTAINER 65536u

/* Recalls that vidasd waits for in one session (later ones wait for the lease to run out). */
#define HOST_RECALLS_PER_SESSION 256u

/* Waits for locks of a session among which deadlocks are looked for (-EUSERS), and how far one search
 * goes: no search may hold up others for long. Who waits beyond that just waits. */
#define HOST_WAITS_PER_SESSION 256u
#define HOST_WAIT_STEPS	       1000000u

/* Who connects says HELLO within this time, and takes a reply within this time, or is cut off. */
#define HOST_HELLO_US (INT64_C(5) * 1000 * 1000)
#define HOST_SEND_US  (INT64_C(10) * 1000 * 1000)

/* After a restart: the time in which the clients of the vidasd before name again what they had.
 * Until then nobody is taken for dead. */
#define HOST_GRACE_US (INT64_C(3) * 1000 * 1000)

/* How often the main thread looks for clients that died while a request of theirs is carried out,
 * and how long a waiting request sleeps before it looks whether there is still someone to answer. */
#define HOST_TICK_US (INT64_C(250) * 1000)

/* Containers that are pushed at once without being asked for, a thread each and its workers; others
 * wait for their turn. At a stop: how long they all have to get done. */
#define HOST_PASSES	  16u
#define HOST_PUSH_STOP_US (INT64_C(30) * 1000 * 1000)

/* At a stop: the time for requests under way to end. */
#define HOST_STOP_US (INT64_C(10) * 1000 * 1000)

/* For how long a status looks at what is not pushed, all containers together. */
#define HOST_SURVEY_US (300 * 1000)

#endif
