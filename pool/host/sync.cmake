# SPDX-License-Identifier: LGPL-2.1-or-later
# What moves between a container's tree and the store; linked: vidas_backend vidas_wire vidas_base vidas::uthash.
set(VIDAS_HOST_SYNC_SOURCES
  map.c sync.c sync_tree.c sync_known.c sync_state.c
  sync_import.c sync_fetch.c sync_update.c sync_renew.c
  sync_push.c sync_put.c sync_conflict.c sync_remove.c sync_flush.c)
