#pragma once
/* What the commands share. Thread: main. */
#include "app/cmd.h"
#include "app/options.h"
#include "app/terminal.h"

struct options;
/* SOURCE, the first operand, as a server needs it. */
struct source_operand {
    char *
        text; /* owned: an existing path made absolute, a URL without its credential, anything else as it is */
    char *location;     /* owned: how a server lists it, if that can be told here */
    char *token;        /* owned; of the URL, or the variable for its host; NULL = none */
    const char *branch; /* or NULL */
    bool is_remote;     /* a repository of another machine */
};
/* Variables' tokens go to a server on this machine only. -ERR_NO_MEMORY, -ERR_INVALID. source_operand_done in every case. */
int source_operand_read(const struct options *o, struct source_operand *ret,
                        struct err *err) MUST_CHECK;
void source_operand_done(struct source_operand *s);
/* "key":text and what goes with it. */
void put_source_operand(struct json_writer *w, const char *key, const struct source_operand *s);
/* The exit code for a result: 0 EXIT_OK, -ERR_CANCELLED EXIT_INTERRUPTED, else EXIT_FAILED. */
int exit_code_of(int result);
/* A parsed value as it was; NULL becomes null. Out of memory fails the writer's buffer. */
void put_json(struct json_writer *w, const json_t *value);
/* The keys "include" and "exclude" of a request, for the options that were given. */
void put_filters(struct json_writer *w, const struct options *o);
/* "src/a.c#L10-L20", or the path alone when there are no lines. */
void put_citation(struct buf *out, const char *path, int64_t start, int64_t end);
