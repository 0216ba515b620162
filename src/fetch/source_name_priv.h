#pragma once
/* source_name.c and source_host.c: what a path means on each host. */
#include "fetch/source_name.h"

/* The kind that the host's name tells; *ret_is_known when there is no doubt (github.com itself). */
enum host_kind host_guess(struct span host, bool *ret_is_known);
/* From a `type`; false when it names no kind of host ("local", "git", anything else). */
bool host_kind_read(struct span type, enum host_kind *ret);
/*
 * Cuts the path (decoded, no slash at either end) to the repository, and takes the branch of a web page's address. -ERR_INVALID when
 * the path names none.
 */
int host_path(struct source_name *n, struct span query, struct err *err) MUST_CHECK;
/* Where "owner/repo" is for a kind, or NULL. */
const char *host_of_kind(enum host_kind k);
