#pragma once
/*
 * Which files a request wants of a source: from what the protocols send to patterns for the walk, by way of one
 * canonical text. Equal wishes give equal texts, however they were written, so the text (and its hash) is part of the key
 * of an index. Pure. Thread: owner.
 *
 * Lists (DeepWiki's excluded_dirs, excluded_files, included_dirs, included_files): entries separated by line ends or, when
 * there is none, by commas; each is trimmed, percent-decoded and trimmed again; empty ones are dropped. "./" before and
 * "/" behind do not count.
 *   A directory "build" is any directory of that name, "src/build" the one there below the root of the repository.
 *   A file "a.py" is any file of that name, "src/a.py" the one there; among the included, one without a slash and without
 *   * ? [ is also the end of a name (".py", "_test.go").
 *   * ? [a-z] and ** are globs everywhere: "*.min.js", "docs/ ** / *.md" (without blanks).
 * Patterns (ours): one each, with the syntax of .gitignore, relative to the root; neither ! nor # is special.
 *
 * When anything is included, only that is read, and a directory that is included by name is read although .gitignore or
 * the built-in list leaves it out. What is excluded besides is left out; but among DeepWiki's lists inclusion switches
 * exclusion off (filter_set_text's include_only).
 */
#include "base/buf.h"
#include "base/err.h"

enum filter_kind {
    FILTER_EXCLUDED_DIR,
    FILTER_EXCLUDED_FILE,
    FILTER_INCLUDED_DIR,
    FILTER_INCLUDED_FILE
};

struct filter_set {
    struct filter_item *items; /* owned */
    size_t count, cap;
};

/*
 * -ERR_INVALID (an entry with a control character), -ERR_LIMIT (more than LIMIT_FILTERS_COUNT entries, or one longer than
 * LIMIT_IGNORE_PATTERN_BYTES), -ERR_NO_MEMORY.
 */
int filter_set_add_list(struct filter_set *s, enum filter_kind kind, struct span list,
                        struct err *err) MUST_CHECK;
int filter_set_add_pattern(struct filter_set *s, bool is_include, struct span pattern,
                           struct err *err) MUST_CHECK;
/* Appends the canonical text: lines "+pattern" and "-pattern", sorted, each once; nothing without filters. */
int filter_set_text(struct filter_set *s, bool include_only, struct buf *out,
                    struct err *err) MUST_CHECK;
void filter_set_done(struct filter_set *s);

/* Eight hexadecimal digits of a canonical text. */
void filter_text_hash(struct span text, char ret[9]);

/* A canonical text as ingest_options takes it; the lists are NULL where there is nothing. Zero is empty. */
struct filter_patterns {
    char **excludes, **includes; /* owned; NULL-terminated */
};
int filter_patterns_read(struct span text, struct filter_patterns *ret) MUST_CHECK;
void filter_patterns_done(struct filter_patterns *p);
