#pragma once
/*
 * What opens a brace: the text between the end of the last statement and a '{', without comments and with
 * strings emptied, judged as a declaration of a function, a container, or nothing of interest. Pure. Thread: any.
 */
#include "ingest/language.h"

#define HEAD_BYTES 1024 /* longer headers are judged by their beginning */

enum head_place { HEAD_IN_FILE, HEAD_IN_TYPE /* class, object */ };

struct head {
    const char *kind;     /* static; NULL: not a symbol */
    char name[256];       /* NUL-terminated; "" with kind NULL */
    bool is_open;         /* members inside are of interest */
    bool is_type;         /* they are members of a class or an object */
    bool is_inline;       /* no block: a default value, a type; the head goes on behind its end */
    bool has_comma_items; /* an object literal: ',' ends a statement */
};

/* `first_string`: contents of the first string literal in it (suites and blocks are named by one). */
struct head head_judge(const struct language *lang, struct span text, struct span first_string,
                       enum head_place place, bool in_parens);
