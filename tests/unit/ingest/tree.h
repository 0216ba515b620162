#pragma once
/* A directory of files for one test, made below $TMPDIR and removed after. */
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct tree {
    char root[256];
};

static inline void tree_init(struct tree *t)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(t->root, sizeof t->root, "%s/ingest-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(t->root))
        abort();
}

static inline void tree_path(const struct tree *t, const char *path, char ret[4096])
{
    if ((size_t)snprintf(ret, 4096, "%s/%s", t->root, path) >= 4096)
        abort();
}

/* Makes the directories on the way. */
static inline void tree_put_bytes(const struct tree *t, const char *path, const void *ptr,
                                  size_t len)
{
    char full[4096];
    tree_path(t, path, full);
    for (char *p = full + strlen(t->root) + 1; (p = strchr(p, '/')); p++) {
        *p = '\0';
        mkdir(full, 0755);
        *p = '/';
    }
    FILE *f = fopen(full, "wb");
    if (!f || fwrite(ptr, 1, len, f) != len || fclose(f) != 0)
        abort();
}

static inline void tree_put(const struct tree *t, const char *path, const char *text)
{
    tree_put_bytes(t, path, text, strlen(text));
}

static inline int tree_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline void tree_done(struct tree *t)
{
    nftw(t->root, tree_remove, 32, FTW_DEPTH | FTW_PHYS);
}
