#pragma once
/* What the commands share. Thread: main. */
#include "app/cmd.h"
#include "app/options.h"
#include "app/terminal.h"

/* SOURCE as a server needs it: an existing path made absolute, anything else as it is. Owned; NULL = no memory. */
char *source_operand(const char *word) MUST_CHECK;
/* The exit code for a result: 0 EXIT_OK, -ERR_CANCELLED EXIT_INTERRUPTED, else EXIT_FAILED. */
int exit_code_of(int result);
/* A parsed value as it was; NULL becomes null. Out of memory fails the writer's buffer. */
void put_json(struct json_writer *w, const json_t *value);
/* The keys "include" and "exclude" of a request, for the options that were given. */
void put_filters(struct json_writer *w, const struct options *o);
/* "src/a.c#L10-L20", or the path alone when there are no lines. */
void put_citation(struct buf *out, const char *path, int64_t start, int64_t end);
