#pragma once
/* Traces of providers' streams (traces/<format>/<name>.txt) and their replay. See traces/README.md for the files' form. */
#include "providers/wire.h"

struct trace {
    const struct wire_format *format;
    char name[128];    /* "openai/basic" */
    struct buf body;   /* the bytes */
    struct buf expect; /* the events, one a line */
};

/* All traces, in the order of their names; aborts on files that are no traces. */
struct trace *traces_load(const char *folder, size_t *ret_count);
void traces_free(struct trace *traces, size_t count);

/* One message of a binary event stream, appended. header is the name of the header that carries `name`. */
void trace_put_frame(struct buf *out, const char *type, const char *header, struct span name,
                     struct span payload);

struct replay {
    struct buf out; /* events, one a line; pieces of text joined; last line "end …" */
    bool has_finish, has_error;
    int result;
};
/* Feeds bytes in pieces of `first`, then `step` bytes. */
struct replay trace_replay(const struct wire_format *format, struct span bytes, size_t first,
                           size_t step);
void replay_done(struct replay *r);
