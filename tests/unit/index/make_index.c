#include "make_index.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define WORDS 300u

uint64_t made_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return *seed >> 33;
}

/* Few words are common and most are rare, as in texts. */
static void put_word(uint64_t *seed, char *ret, size_t size)
{
    uint64_t r = made_random(seed) % WORDS, s = made_random(seed) % WORDS;
    snprintf(ret, size, "w%cq%u", (char)('a' + (r * s) % 7), (unsigned)(r * s / WORDS));
}

void made_query(uint64_t *seed, unsigned terms, char *ret, size_t size)
{
    size_t n = 0;
    for (unsigned i = 0; i < terms && n + 24 < size; i++) {
        put_word(seed, ret + n, 20);
        n += strlen(ret + n);
        ret[n++] = ' ';
    }
    ret[n] = 0;
}

void made_init(struct made *m, unsigned files, uint64_t seed)
{
    memset(m, 0, sizeof *m);
    m->files = files;
    m->seed = seed;
    snprintf(m->dir, sizeof m->dir, "/tmp/headwater-test-XXXXXX");
    if (!mkdtemp(m->dir))
        abort();
    snprintf(m->path, sizeof m->path, "%s/segment", m->dir);
    for (unsigned f = 0; f < files; f++) {
        unsigned chunks = (unsigned)(made_random(&seed) % 6); /* some files have none */
        for (unsigned c = 0; c < chunks && m->chunks < MADE_CHUNKS_MAX; c++) {
            uint32_t i = m->chunks++;
            m->chunk_file[i] = f;
            unsigned words = 1 + (unsigned)(made_random(&seed) % 60);
            m->texts[i] = calloc(words, 24);
            for (unsigned w = 0; w < words; w++) {
                char *end = m->texts[i] + strlen(m->texts[i]);
                put_word(&seed, end, 20);
                end[strlen(end)] = w % 7 == 6 ? '\n' : ' '; /* calloc left the NUL behind it */
            }
            if (made_random(&seed) % 2)
                put_word(&seed, m->symbols[i], sizeof m->symbols[i]);
            snprintf(m->paths[i], sizeof m->paths[i], "dir%u/wbq%u.c", f % 3, f);
        }
    }
}

void made_done(struct made *m)
{
    for (uint32_t i = 0; i < m->chunks; i++)
        free(m->texts[i]);
    unlink(m->path);
    if (rmdir(m->dir) < 0)
        abort(); /* something was left behind */
}

static int add_file(const struct made *m, struct index_builder *b, unsigned f, uint32_t *chunk,
                    struct err *err)
{
    struct index_chunk_in chunks[8];
    char text[16384] = "", path[48];
    size_t n = 0, len = 0;
    for (; *chunk < m->chunks && m->chunk_file[*chunk] == f; (*chunk)++, n++) {
        size_t size = strlen(m->texts[*chunk]);
        chunks[n] = (struct index_chunk_in){.start_line = (uint32_t)n + 1,
                                            .end_line = (uint32_t)n + 1,
                                            .start = len,
                                            .len = size,
                                            .symbol = span_str(m->symbols[*chunk]),
                                            .symbol_kind = SPAN_LIT("function")};
        memcpy(text + len, m->texts[*chunk], size);
        len += size;
    }
    snprintf(path, sizeof path, "dir%u/wbq%u.c", f % 3, f);
    struct index_file_in in = {.path = span_str(path),
                               .language = SPAN_LIT("c"),
                               .text = span_of(text, len),
                               .size = len,
                               .mtime_ns = f,
                               .is_test = f % 5 == 0,
                               .chunks = chunks,
                               .chunk_count = n};
    return index_builder_add(b, &in, err);
}

int made_build(const struct made *m, const char *path, size_t memory_bytes, struct err *err)
{
    struct index_build_options o = {ANALYZER_CODE, memory_bytes, "0123abcd", "f00d"};
    struct index_builder *b;
    int rc = index_builder_new(path, &o, &b, err);
    if (rc < 0)
        return rc;
    uint32_t chunk = 0;
    for (unsigned f = 0; rc == 0 && f < m->files; f++)
        rc = add_file(m, b, f, &chunk, err);
    if (rc == 0)
        rc = index_builder_finish(b, err);
    index_builder_free(b);
    return rc;
}

unsigned char *read_whole(const char *path, size_t *ret_len)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        abort();
    fseek(f, 0, SEEK_END);
    long size = ftell(f);
    rewind(f);
    unsigned char *p = malloc((size_t)size);
    *ret_len = fread(p, 1, (size_t)size, f);
    fclose(f);
    return p;
}

void write_whole(const char *path, const void *bytes, size_t len)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, len, f) != len)
        abort();
    fclose(f);
}
