#pragma once
/* A source that changes at random, and indexes of it: made anew, or updated. */
#include "index/update.h"

#define TREE_FILES_MAX 600
#define TREE_CHUNKS_MAX 6

struct tree_file {
    bool is_there;
    uint64_t content; /* what text and chunks are made of; equal = equal */
    uint64_t stamp;
    int64_t mtime_ns;
};

struct tree {
    char dir[64], manifest[96], full[96];
    uint64_t seed, clock;
    struct tree_file files[TREE_FILES_MAX]; /* in path order */
};

void tree_init(struct tree *t, unsigned files, uint64_t seed);
void tree_done(struct tree *t); /* removes the directory and what is in it */
/* One edit: add, change, remove, rename or touch. */
void tree_edit(struct tree *t);
/* Everything new: a segment at t->full. */
int tree_build(const struct tree *t, struct err *err);
/* Adds, keeps, copies as an indexer would; publishes checkpoints where they are due, and the end. */
struct tree_update {
    struct index *current; /* ref; replaced by what is published */
    uint64_t checkpoint_bytes;
    struct index_changes changes; /* of the last update */
    unsigned checkpoints;         /* of the last update */
    /* Called before each publish, when set: may merge and replace `current`. */
    void (*before_publish)(struct tree_update *u);
    struct tree *tree;
};
int tree_update(struct tree_update *u, const char *fingerprint, struct err *err);
/* A question of `terms` words that files may have. */
void tree_query(uint64_t *seed, unsigned terms, char *ret, size_t size);
unsigned tree_count(const struct tree *t);
