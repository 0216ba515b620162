/*
 * Writes the terms of a segment: whoever has postings in term order, and per term in file order,
 * hands them in here (spilled runs when it is built, other segments when they are merged).
 */
#include "index/build_priv.h"

#include "base/mem.h"

#include <errno.h>

static void list_put(struct terms *t, uint32_t v)
{
    uint8_t bytes[5];
    size_t n = seg_put_varint(bytes, v);
    void *at = pool_add(&t->list, n);
    if (at)
        memcpy(at, bytes, n);
    else
        t->error = ENOMEM;
}

static void put_term(struct terms *t, struct seg_term *term)
{
    uint64_t string = t->sections[SEG_TERM_STRINGS].len;
    if (string > UINT32_MAX || t->entries_count > UINT32_MAX)
        t->error = EFBIG;
    term->string_offset = (uint32_t)string;
}

void terms_begin(struct terms *t, struct span name)
{
    t->term = (struct seg_term){.list_offset = t->sections[SEG_LISTS].len,
                                .first_entry = (uint32_t)t->entries_count};
    put_term(t, &t->term);
    section_put(&t->sections[SEG_TERM_STRINGS], name.ptr, name.len);
}

void terms_file(struct terms *t, uint32_t count)
{
    t->list.len = 0;
    list_put(t, count);
}

float terms_chunk(struct terms *t, uint32_t file, uint32_t chunk, uint32_t delta, uint32_t tf)
{
    list_put(t, delta);
    list_put(t, tf);
    uint32_t length = t->lengths[t->first_chunk[file] + chunk];
    return seg_tf_part((float)tf, seg_norm(length, t->average));
}

/* An entry, and a list unless the entry holds its one chunk. */
void terms_end_file(struct terms *t, uint32_t file, uint32_t file_tf, uint32_t count,
                    uint32_t chunk, uint32_t tf, float best)
{
    struct section *lists = &t->sections[SEG_LISTS];
    uint64_t at = lists->len - t->term.list_offset;
    struct seg_entry e = {.file = file,
                          .where = (uint32_t)at,
                          .file_tf = (uint16_t)(file_tf > UINT16_MAX ? UINT16_MAX : file_tf),
                          .bound = seg_bound(best)};
    if (count == 1 && chunk <= SEG_INLINE_CHUNK_MAX && tf <= SEG_INLINE_TF_MAX)
        e.where = SEG_INLINE | chunk << 16 | tf;
    else if (at >= SEG_INLINE)
        t->error = EFBIG;
    else
        section_put(lists, t->list.ptr, t->list.len);
    section_put(&t->sections[SEG_ENTRIES], &e, sizeof e);
    t->entries_count++;
    t->term.chunk_count += count;
}

void terms_end(struct terms *t)
{
    section_put(&t->sections[SEG_TERMS], &t->term, sizeof t->term);
}

int terms_done(struct terms *t)
{
    struct seg_term end = {.list_offset = t->sections[SEG_LISTS].len,
                           .first_entry = (uint32_t)t->entries_count};
    put_term(t, &end);
    section_put(&t->sections[SEG_TERMS], &end, sizeof end);
    mem_free(t->list.ptr);
    t->list = (struct pool){0};
    return -t->error;
}
