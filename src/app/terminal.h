#pragma once
/*
 * What commands show people: progress on standard error, text of others on standard output. Text that came
 * from a source or a model may hold control characters, which a terminal would obey: they are replaced.
 * Thread: main.
 */
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"

#define TERMINAL_LINE_MAX 512

struct terminal {
    bool out_is_tty, err_is_tty;
    bool is_quiet; /* no progress */
    bool has_line; /* a progress line stands on the terminal */
    unsigned columns;
    char shown[TERMINAL_LINE_MAX]; /* the last progress text, so that a repetition is not printed */
};

void terminal_init(struct terminal *t, bool is_quiet);
/* From a status event {"stage","progress","message"}; progress (0..1) may be absent. */
void terminal_progress(struct terminal *t, const json_t *status);
/* Removes the progress line, before anything else is printed. */
void terminal_clear(struct terminal *t);
/* Text to standard output, now. -ERR_IO when nobody takes it. */
int terminal_write(struct terminal *t, struct span text, struct err *err) MUST_CHECK;
/* The same with control characters replaced when standard output is a terminal. */
int terminal_write_foreign(struct terminal *t, struct span text, struct err *err) MUST_CHECK;
/* Control characters but \n and \t become '?'. */
void put_visible(struct buf *out, struct span text);
/* "1.2 MB" for people */
void put_bytes_for_people(struct buf *out, uint64_t bytes);
