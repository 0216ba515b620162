#pragma once
/* The composition root as an object: store, streams, loops, engine, listeners. */
#include "base/err.h"
#include <stdbool.h>

struct options;
struct runtime;
struct runtime_options {
    const struct options *options;
    bool serve; /* false: only the socket file, for a command's own use */
};
/* Ready when it returns. */
int runtime_start(const struct runtime_options *o, struct runtime **ret,
                  struct err *err) MUST_CHECK;
void runtime_stop(struct runtime *r); /* drains, at most drain-timeout */
const char *runtime_socket(const struct runtime *r);
