#include "make_tree.h"

#include "base/hash.h"
#include "make_index.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define RECIPE "test 1"
#define WORDS 300u

struct content {
    char text[8192];
    size_t len;
    struct index_chunk_in chunks[TREE_CHUNKS_MAX];
    char symbols[TREE_CHUNKS_MAX][24];
    size_t count;
};

/* Prose in other languages and scripts: some files begin with it, some questions hold it. */
static const char *const prose[] = {
    "Die Verbindungen werden nicht geschlossen, wenn der Server noch liest. ",
    "Las conexiones no se cierran cuando el servidor todavía lee los eventos. ",
    "การเชื่อมต่อของเซิร์ฟเวอร์ ",
};

static void put_word(uint64_t *seed, char *ret, size_t size)
{
    uint64_t r = made_random(seed) % WORDS, s = made_random(seed) % WORDS;
    snprintf(ret, size, "w%cq%u", (char)('a' + (r * s) % 7), (unsigned)(r * s / WORDS));
}

void tree_query(uint64_t *seed, unsigned terms, char *ret, size_t size)
{
    size_t n = 0;
    uint64_t which = made_random(seed) % 8;
    if (which < ARRAY_LEN(prose) && strlen(prose[which]) < size)
        n = (size_t)snprintf(ret, size, "%s", prose[which]);
    for (unsigned i = 0; i < terms && n + 24 < size; i++) {
        put_word(seed, ret + n, 20);
        n += strlen(ret + n);
        ret[n++] = ' ';
    }
    ret[n] = 0;
}

static void path_of(size_t file, char ret[48])
{
    snprintf(ret, 48, "dir%zu/w%cq%04zu.c", file / 97, (char)('a' + file % 97 / 20), file);
}

static void make_content(uint64_t seed, struct content *ret)
{
    ret->len = ret->count = 0;
    uint64_t which = made_random(&seed) % 12;
    unsigned chunks = (unsigned)(made_random(&seed) % TREE_CHUNKS_MAX); /* some have none */
    for (unsigned c = 0; c < chunks; c++) {
        size_t start = ret->len;
        if (c == 0 && which < ARRAY_LEN(prose))
            ret->len += (size_t)snprintf(ret->text, sizeof ret->text, "%s", prose[which]);
        unsigned words = 1 + (unsigned)(made_random(&seed) % 60);
        for (unsigned w = 0; w < words; w++) {
            put_word(&seed, ret->text + ret->len, 20);
            ret->len += strlen(ret->text + ret->len);
            ret->text[ret->len++] = w % 7 == 6 ? '\n' : ' ';
        }
        ret->symbols[c][0] = 0;
        if (made_random(&seed) % 2)
            put_word(&seed, ret->symbols[c], sizeof ret->symbols[c]);
        ret->chunks[ret->count++] = (struct index_chunk_in){.start_line = c + 1,
                                                            .end_line = c + 1,
                                                            .start = start,
                                                            .len = ret->len - start,
                                                            .symbol = span_str(ret->symbols[c]),
                                                            .symbol_kind = SPAN_LIT("function"),
                                                            .kind = which < ARRAY_LEN(prose)};
    }
}

static void make_file(const struct tree *t, size_t i, char path[48], struct content *c,
                      struct index_file_in *ret)
{
    const struct tree_file *f = &t->files[i];
    path_of(i, path);
    make_content(f->content, c);
    *ret = (struct index_file_in){.path = span_str(path),
                                  .language = i % 3 ? SPAN_LIT("c") : SPAN_LIT("python"),
                                  .text = span_of(c->text, c->len),
                                  .size = c->len,
                                  .mtime_ns = f->mtime_ns,
                                  .stamp = f->stamp,
                                  .is_test = i % 5 == 0,
                                  .chunks = c->chunks,
                                  .chunk_count = c->count};
    uint8_t hash[SHA256_SIZE];
    sha256(&f->content, sizeof f->content, hash);
    memcpy(ret->hash, hash, sizeof ret->hash);
}

static void write_anew(struct tree *t, size_t i, uint64_t content)
{
    t->files[i] = (struct tree_file){true, content, ++t->clock, (int64_t)t->clock};
}

void tree_init(struct tree *t, unsigned files, uint64_t seed)
{
    memset(t, 0, sizeof *t);
    t->seed = seed;
    snprintf(t->dir, sizeof t->dir, "/tmp/headwater-test-XXXXXX");
    if (!mkdtemp(t->dir))
        abort();
    snprintf(t->manifest, sizeof t->manifest, "%s/source%s", t->dir, INDEX_MANIFEST_SUFFIX);
    snprintf(t->full, sizeof t->full, "%s/full", t->dir);
    while (tree_count(t) < files)
        write_anew(t, made_random(&t->seed) % TREE_FILES_MAX, made_random(&t->seed));
}

void tree_done(struct tree *t)
{
    char path[512];
    DIR *d = opendir(t->dir);
    const struct dirent *e;
    while (d && (e = readdir(d))) {
        snprintf(path, sizeof path, "%s/%s", t->dir, e->d_name);
        unlink(path);
    }
    if (d)
        closedir(d);
    if (rmdir(t->dir) < 0)
        abort();
}

unsigned tree_count(const struct tree *t)
{
    unsigned n = 0;
    for (size_t i = 0; i < TREE_FILES_MAX; i++)
        n += t->files[i].is_there;
    return n;
}

/* A file that is there, or is not. */
static size_t pick(struct tree *t, bool is_there)
{
    for (unsigned tries = 0; tries < 10000; tries++) {
        size_t i = made_random(&t->seed) % TREE_FILES_MAX;
        if (t->files[i].is_there == is_there)
            return i;
    }
    abort();
}

void tree_edit(struct tree *t)
{
    unsigned n = tree_count(t), what = (unsigned)(made_random(&t->seed) % 10);
    if (n < 10 || (what < 2 && n < TREE_FILES_MAX - 10)) {
        write_anew(t, pick(t, false), made_random(&t->seed));
    } else if (what < 6) {
        write_anew(t, pick(t, true), made_random(&t->seed));
    } else if (what < 8) {
        t->files[pick(t, true)].is_there = false;
    } else if (what < 9 && n < TREE_FILES_MAX - 10) {
        size_t from = pick(t, true);
        write_anew(t, pick(t, false), t->files[from].content);
        t->files[from].is_there = false;
    } else {
        size_t i = pick(t, true);
        write_anew(t, i, t->files[i].content);
    }
}

int tree_build(const struct tree *t, struct err *err)
{
    struct index_build_options o = {.analyzer = ANALYZER_CODE};
    struct index_builder *b;
    struct index_file_in in;
    static struct content c;
    char path[48];
    int rc = index_builder_new(t->full, &o, &b, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; rc == 0 && i < TREE_FILES_MAX; i++) {
        if (!t->files[i].is_there)
            continue;
        make_file(t, i, path, &c, &in);
        rc = index_builder_add(b, &in, err);
    }
    if (rc == 0)
        rc = index_builder_finish(b, err);
    index_builder_free(b);
    return rc;
}

static int publish(struct tree_update *tu, struct index_update *u, const char *fingerprint,
                   bool is_last, struct err *err)
{
    struct index *next = NULL;
    int rc = index_update_seal(u, err);
    if (rc < 0)
        return rc;
    if (tu->before_publish)
        tu->before_publish(tu);
    struct index_publish how = {.current = tu->current,
                                .revision = "0123abcd",
                                .fingerprint = is_last ? fingerprint : "",
                                .is_last = is_last};
    rc = index_update_publish(u, &how, &next, err);
    if (rc < 0)
        return rc;
    index_unref(tu->current);
    tu->current = next;
    return 0;
}

static int put(struct tree_update *tu, struct index_update *u, size_t i, struct err *err)
{
    static struct content c;
    struct index_file_in in;
    char path[48];
    make_file(tu->tree, i, path, &c, &in);
    if (index_update_keep(u, in.path, in.stamp) ||
        index_update_keep_text(u, in.path, in.hash, in.stamp, in.mtime_ns))
        return 0;
    int rc = 0;
    if (index_update_knows(u, in.hash, in.language)) {
        in.chunks = NULL;
        in.chunk_count = 0;
        rc = index_update_copy(u, &in, err);
    } else {
        rc = index_update_add(u, &in, err);
    }
    if (rc == 0 && index_update_is_due(u)) {
        rc = publish(tu, u, "", false, err);
        tu->checkpoints++;
    }
    return rc;
}

int tree_update(struct tree_update *tu, const char *fingerprint, struct err *err)
{
    struct index_update_options o = {.manifest = tu->tree->manifest,
                                     .analyzer = ANALYZER_CODE,
                                     .recipe = RECIPE,
                                     .checkpoint_bytes = tu->checkpoint_bytes};
    struct index_update *u;
    tu->checkpoints = 0;
    int rc = index_update_new(&o, tu->current, &u, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; rc == 0 && i < TREE_FILES_MAX; i++)
        if (tu->tree->files[i].is_there)
            rc = put(tu, u, i, err);
    if (rc == 0)
        rc = publish(tu, u, fingerprint, true, err);
    index_update_changes(u, &tu->changes);
    index_update_free(u);
    return rc;
}
