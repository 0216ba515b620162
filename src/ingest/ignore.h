#pragma once
/*
 * Ignore rules with the syntax and meaning of gitignore(5): negation, directories only, anchoring, **, classes,
 * escapes, trailing spaces. One list holds the patterns of one file; paths given to it are relative to that
 * file's directory. Matching costs at most O(pattern × path), whatever the pattern. Thread: owner.
 */
#include "base/err.h"
#include "base/span.h"

struct ignore_pattern;

struct ignore_list {
    struct ignore_pattern *items; /* owned */
    size_t count, cap;
};

enum ignore_verdict { IGNORE_UNDECIDED, IGNORE_EXCLUDED, IGNORE_INCLUDED /* by a ! pattern */ };

/* Appends the patterns of a whole ignore file. 0 or -ERR_NO_MEMORY; patterns past the limits are left out. */
int ignore_add_text(struct ignore_list *l, struct span text) MUST_CHECK;
/* Appends one line. */
int ignore_add_line(struct ignore_list *l, struct span line) MUST_CHECK;
void ignore_done(struct ignore_list *l);

/* The last pattern that matches decides. Parents are not looked at: the walker never enters an excluded directory. */
enum ignore_verdict ignore_match(const struct ignore_list *l, struct span path, bool is_dir);
