#pragma once
/*
 * BUG_ON(cond): our own mistakes, checked in release too; prints where and a back-trace to stderr,
 * then aborts. Never for input, peers, disk or upstreams: those are errors (base/err.h).
 */
#include "base/attr.h"

void bug_abort(const char *file, int line, const char *what) NORETURN;

#define BUG_ON(cond)                              \
    do {                                          \
        if (UNLIKELY(cond))                       \
            bug_abort(__FILE__, __LINE__, #cond); \
    } while (0)
