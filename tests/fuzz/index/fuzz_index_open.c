/*
 * Damaged segments: opening refuses them or every view and search stays inside the file. The first
 * byte says how: 0 the rest is the whole file; else a sound segment is changed by (u16 place, u8
 * value) triples, and for odd numbers all checksums are made right again, as someone who wants to
 * harm would.
 */
#include "base/bug.h"
#include "base/hash.h"
#include "index/index_priv.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define SEGMENT_MAX (64u << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t make_segment(uint8_t *ret)
{
    static const char text[] =
        "int alpha(int beta) { return beta; }\nvoid gamma(void) { alpha(1); }\nbeta alpha beta\n";
    char dir[] = "/tmp/headwater-fuzz-XXXXXX", path[64];
    BUG_ON(!mkdtemp(dir));
    snprintf(path, sizeof path, "%s/s", dir);
    struct index_build_options o = {.analyzer = ANALYZER_CODE, .revision = "r"};
    struct index_builder *b;
    BUG_ON(index_builder_new(path, &o, &b, NULL) < 0);
    for (char name[] = "a.c"; name[0] < 'f'; name[0]++) {
        struct index_chunk_in chunks[] = {
            {.start_line = 1,
             .end_line = 1,
             .start = 0,
             .len = 37,
             .symbol = SPAN_LIT("alpha"),
             .symbol_kind = SPAN_LIT("function")},
            {.start_line = 2, .end_line = 2, .start = 37, .len = 31, .symbol = SPAN_LIT("gamma")},
            {.start_line = 3, .end_line = 3, .start = 68, .len = sizeof text - 1 - 68},
        };
        struct index_file_in in = {.path = span_str(name),
                                   .text = span_of(text, sizeof text - 1),
                                   .chunks = chunks,
                                   .chunk_count = 3};
        BUG_ON(index_builder_add(b, &in, NULL) < 0);
    }
    BUG_ON(index_builder_finish(b, NULL) < 0);
    index_builder_free(b);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, ret, SEGMENT_MAX);
    BUG_ON(n <= 0);
    close(fd);
    unlink(path);
    rmdir(dir);
    return (size_t)n;
}

static void fix_checksums(uint8_t *bytes, size_t len)
{
    struct seg_header *h = (struct seg_header *)(void *)bytes;
    for (int i = 0; i < SEG_SECTIONS; i++) {
        struct seg_section_ref *s = &h->sections[i];
        if (s->offset <= len && s->len <= len - s->offset)
            s->crc = crc32c(0, bytes + s->offset, s->len);
    }
    h->crc = crc32c(0, h, offsetof(struct seg_header, crc));
}

static uint64_t touch(struct span s)
{
    return s.len ? hash_stable(s.ptr, s.len) : 0;
}

static void use(struct index *ix)
{
    struct index_hit hits[32];
    struct index_term_weight w[8];
    struct index_stats st;
    struct index_file_view f;
    struct index_chunk_view c;
    struct span q = SPAN_LIT("alpha beta gamma int void return");
    volatile uint64_t sum = 0;
    index_stats(ix, &st);
    sum += strlen(st.revision) + strlen(st.fingerprint);
    for (uint32_t i = 0; index_file(ix, i, &f); i++)
        sum += touch(f.path) + touch(f.language) + touch(f.text);
    for (uint32_t i = 0; index_chunk(ix, i, &c); i++)
        sum += touch(c.path) + touch(c.symbol) + touch(c.symbol_kind) + touch(c.text);
    (void)index_file_by_path(ix, SPAN_LIT("c.c"), &f);
    int n = index_search(ix, q, hits, 32);
    for (int i = 0; i < n; i++)
        (void)!index_explain(ix, q, hits[i].chunk, w, 8);
    (void)!index_search_exhaustive(ix, q, hits, 32);
    (void)!index_search_file(ix, q, 1, hits, 32);
    (void)index_idf(ix, SPAN_LIT("alpha"));
    (void)sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t sound[SEGMENT_MAX], bytes[SEGMENT_MAX];
    static size_t sound_len;
    if (!sound_len)
        sound_len = make_segment(sound);
    size_t len = 0;
    if (size == 0)
        return 0;
    if (data[0] == 0) {
        len = size - 1 < SEGMENT_MAX ? size - 1 : SEGMENT_MAX;
        memcpy(bytes, data + 1, len);
    } else {
        len = sound_len;
        memcpy(bytes, sound, len);
        /* most of the header page is unused: places past its fields fall into the sections */
        size_t skip = SEG_HEADER_BYTES - sizeof(struct seg_header), room = len - skip;
        for (size_t i = 1; i + 2 < size; i += 3) {
            size_t at = (data[i] | (size_t)data[i + 1] << 8) % room;
            bytes[at < sizeof(struct seg_header) ? at : at + skip] = data[i + 2];
        }
        if (data[0] & 1)
            fix_checksums(bytes, len);
    }
    char path[64];
    int fd = memfd_create("segment", MFD_CLOEXEC);
    BUG_ON(fd < 0 || write(fd, bytes, len) != (ssize_t)len);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct index *ix;
    struct err err;
    if (index_open(path, &ix, &err) == 0) {
        use(ix);
        index_unref(ix);
    }
    close(fd);
    return 0;
}
