#pragma once
/*
 * Answers made inside the server, for benchmarks and for tests that need a slow one: provider `bench` (serve --bench-source), whose
 * model is COUNT:BYTES:RATE: that many tokens of that size, that many a second (0 = at once). Needs no source. Token n is "n "
 * padded with letters, so a reader can check what it got. One thread paces all of them. Thread of the functions: any.
 */
#include "engine/engine.h"

struct bench_source;
int bench_source_new(struct bench_source **ret, struct err *err) MUST_CHECK;
/* Ends what still runs as "cancelled". */
void bench_source_free(struct bench_source *b);
/* Begins an answer on the stream (takes a reference of its own) and closes it when done or stopped. `ended` is called at the end. */
int bench_source_add(struct bench_source *b, struct stream *s, struct span model,
                     void (*ended)(void *ctx), void *ctx, struct err *err) MUST_CHECK;
