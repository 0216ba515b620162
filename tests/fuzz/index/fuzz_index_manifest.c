/*
 * A manifest and its segments, one of them damaged: opening refuses, or leaves parts out, or every
 * view, search, update and merge stays inside the files. The first byte says which file (0 the
 * manifest, else a segment) and, with its top bit, that all checksums are made right again; then
 * (u16 place, u8 value) triples. A first byte of 0x7f: the rest is the manifest.
 */
#include "base/bug.h"
#include "base/hash.h"
#include "base/mem.h"
#include "index/index_priv.h"
#include "index/update.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES 4
#define BYTES_MAX (16u << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
    char dir[64], manifest[96];
    char names[FILES][160];
    uint8_t bytes[FILES][BYTES_MAX];
    size_t len[FILES];
} sound;

static void empty_dir(void)
{
    char path[400];
    DIR *d = opendir(sound.dir);
    BUG_ON(!d);
    const struct dirent *e;
    while ((e = readdir(d))) {
        snprintf(path, sizeof path, "%s/%s", sound.dir, e->d_name);
        unlink(path);
    }
    closedir(d);
}

static void remove_dir(void)
{
    empty_dir();
    rmdir(sound.dir);
}

/* Up to eight files, one bit each in `there`; some change from round to round. */
static struct index *update(struct index *old, unsigned there, unsigned round)
{
    struct index_update_options o = {
        .manifest = sound.manifest, .analyzer = ANALYZER_CODE, .recipe = "r"};
    struct index_update *u;
    struct index *next = NULL;
    struct err err;
    if (index_update_new(&o, old, &u, &err) < 0)
        return NULL;
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < 8; i++) {
        char name[] = "a.c", text[80];
        name[0] = (char)('a' + i);
        snprintf(text, sizeof text, "int alpha%u(int beta)\nvoid gamma(int delta%u)\n", i, round);
        struct index_chunk_in chunks[] = {
            {.start_line = 1, .end_line = 1, .len = 22, .symbol = SPAN_LIT("alpha")},
            {.start_line = 2, .end_line = 2, .start = 22, .len = strlen(text) - 22}};
        struct index_file_in in = {.path = span_str(name),
                                   .text = span_str(text),
                                   .stamp = 1 + (i > 2 && i % 3 == round % 3 ? round : 0),
                                   .chunks = chunks,
                                   .chunk_count = 2};
        if (there >> i & 1 && !index_update_keep(u, in.path, in.stamp))
            rc = index_update_add(u, &in, &err);
    }
    if (rc == 0)
        rc = index_update_seal(u, &err);
    struct index_publish how = {
        .current = old, .revision = "r", .fingerprint = "f", .is_last = true};
    if (rc == 0)
        rc = index_update_publish(u, &how, &next, &err);
    index_update_free(u);
    return rc == 0 ? next : NULL;
}

static size_t read_file(const char *path, uint8_t *ret)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, ret, BYTES_MAX);
    BUG_ON(fd < 0 || n <= 0 || n == BYTES_MAX);
    close(fd);
    return (size_t)n;
}

static void write_file(const char *path, const uint8_t *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    BUG_ON(fd < 0 || write(fd, bytes, len) != (ssize_t)len);
    close(fd);
}

static void make_sound(void)
{
    snprintf(sound.dir, sizeof sound.dir, "/tmp/headwater-fuzz-XXXXXX");
    BUG_ON(!mkdtemp(sound.dir));
    atexit(remove_dir);
    snprintf(sound.manifest, sizeof sound.manifest, "%s/s%s", sound.dir, INDEX_MANIFEST_SUFFIX);
    struct index *a = update(NULL, 0xff, 1), *b = update(a, 0xfe, 2), *c = update(b, 0xee, 3);
    BUG_ON(!c || c->parts_count != FILES - 1);
    memcpy(sound.names[0], sound.manifest, sizeof sound.manifest);
    for (unsigned i = 1; i < FILES; i++)
        snprintf(sound.names[i], sizeof sound.names[i], "%s/%s", sound.dir, c->parts[i - 1].name);
    for (unsigned i = 0; i < FILES; i++)
        sound.len[i] = read_file(sound.names[i], sound.bytes[i]);
    index_unref(a);
    index_unref(b);
    index_unref(c);
}

static void fix_segment(uint8_t *bytes, size_t len)
{
    struct seg_header *h = (struct seg_header *)(void *)bytes;
    for (int i = 0; i < SEG_SECTIONS; i++) {
        struct seg_section_ref *s = &h->sections[i];
        if (s->offset <= len && s->len <= len - s->offset)
            s->crc = crc32c(0, bytes + s->offset, s->len);
    }
    h->crc = crc32c(0, h, offsetof(struct seg_header, crc));
}

static void fix_manifest(uint8_t *bytes, size_t len)
{
    struct man_header *h = (struct man_header *)(void *)bytes;
    if (len < sizeof *h)
        return;
    h->body_crc = crc32c(0, h + 1, len - sizeof *h);
    h->crc = crc32c(0, h, offsetof(struct man_header, crc));
}

static void use(struct index *ix)
{
    struct index_hit hits[32];
    struct index_term_weight w[8];
    struct index_stats st;
    struct index_file_view f, g;
    struct index_chunk_view c;
    struct span q = SPAN_LIT("alpha1 beta gamma int delta2 void");
    volatile uint64_t sum = 0;
    index_stats(ix, &st);
    sum += strlen(st.revision) + strlen(st.fingerprint) + strlen(st.damage);
    for (uint32_t i = 0; index_file(ix, i, &f); i++) {
        (void)index_file_by_path(ix, f.path, &g);
        sum += f.text.len ? hash_stable(f.text.ptr, f.text.len) : 0;
    }
    for (uint32_t i = 0; index_chunk(ix, i, &c); i++)
        sum += c.text.len ? hash_stable(c.text.ptr, c.text.len) : 0;
    int n = index_search(ix, q, hits, 32);
    for (int i = 0; i < n; i++)
        (void)!index_explain(ix, q, hits[i].chunk, w, 8);
    (void)!index_search_exhaustive(ix, q, hits, 32);
    (void)!index_search_file(ix, q, 1, hits, 32);
    (void)index_idf(ix, SPAN_LIT("alpha"));
    (void)sum;
}

static void change(struct index *ix)
{
    struct index_merge *m = NULL;
    struct index *next = NULL;
    struct err err;
    if (index_merge_all(sound.manifest, ix, &m, &err) == 0 &&
        index_merge_publish(m, ix, &next, &err) == 0)
        use(next);
    index_merge_free(m);
    struct index *last = update(next ? next : ix, 0x7f, 4);
    if (last)
        use(last);
    index_unref(last);
    index_unref(next);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t bytes[BYTES_MAX];
    if (!sound.len[0])
        make_sound();
    if (size == 0)
        return 0;
    unsigned which = data[0] == 0x7f ? 0 : (data[0] & 0x7f) % FILES;
    size_t len = sound.len[which];
    memcpy(bytes, sound.bytes[which], len);
    if (data[0] == 0x7f) {
        len = size - 1 < BYTES_MAX ? size - 1 : BYTES_MAX - 1;
        memcpy(bytes, data + 1, len);
    }
    size_t skip = which ? SEG_HEADER_BYTES - sizeof(struct seg_header) : 0;
    size_t head = which ? sizeof(struct seg_header) : 0;
    for (size_t i = 1; data[0] != 0x7f && i + 2 < size; i += 3) {
        size_t at = (data[i] | (size_t)data[i + 1] << 8) % (len - skip);
        bytes[at < head ? at : at + skip] = data[i + 2];
    }
    if (data[0] & 0x80) {
        if (which)
            fix_segment(bytes, len);
        else
            fix_manifest(bytes, len);
    }
    empty_dir();
    for (unsigned i = 0; i < FILES; i++)
        write_file(sound.names[i], i == which ? bytes : sound.bytes[i],
                   i == which ? len : sound.len[i]);
    if (which && data[0] & 0x80) { /* the manifest names the header's checksum */
        struct man_header *h = (struct man_header *)(void *)bytes;
        uint32_t crc = ((struct seg_header *)(void *)bytes)->crc;
        memcpy(bytes, sound.bytes[0], sound.len[0]);
        ((struct man_part *)(void *)(h + 1))[which - 1].segment_crc = crc;
        fix_manifest(bytes, sound.len[0]);
        write_file(sound.manifest, bytes, sound.len[0]);
    }
    struct index *ix;
    struct err err;
    (void)!index_manifest_names(sound.manifest, span_str(sound.names[1]));
    if (index_open(sound.manifest, &ix, &err) == 0) {
        use(ix);
        change(ix);
        index_unref(ix);
    }
    return 0;
}
