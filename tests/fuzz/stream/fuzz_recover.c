/*
 * Recovery of an arbitrary journal file. The first byte chooses: whether the lengths and checks of records are made right first,
 * so that the fuzzer gets past them. Whatever the file holds, the hub opens, and what it stored reads back.
 */
#include "base/bug.h"
#include "base/hash.h"
#include "base/log.h"
#include "stream/stream_priv.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FILE_MAX 65536u

/* Cuts the bytes into bodies (first byte: length) and gives each a right header. */
static size_t make_right(const uint8_t *data, size_t size, char *to)
{
    size_t len = 0;
    while (size > 1) {
        size_t n = data[0] < size - 1 ? data[0] : size - 1;
        uint32_t word = (uint32_t)n | (((uint32_t)n ^ 0xa5u) & 0xffu) << 24;
        uint32_t crc = crc32c(word, data + 1, n);
        if (len + n + 8 > FILE_MAX)
            break;
        for (int i = 0; i < 4; i++) {
            to[len + (size_t)i] = (char)(word >> (8 * i));
            to[len + 4 + (size_t)i] = (char)(crc >> (8 * i));
        }
        memcpy(to + len + 8, data + 1, n);
        len += n + 8;
        data += n + 1;
        size -= n + 1;
    }
    return len;
}

static int count_event(void *ctx, const struct stream_event *e)
{
    uint64_t *next = ctx;
    BUG_ON(e->seq != (*next)++);
    return 0;
}

static void read_back(struct hub *h, const char *id, const char *tenant)
{
    struct store_stream row;
    struct err err;
    if (store_stream_get(h->store, tenant, id, &row, &err) < 0)
        return;
    BUG_ON(!row.is_closed);
    struct stream *s = stream_new(h, row.id, row.tenant, row.kind, true);
    s->last_seq = s->committed_seq = row.last_seq;
    s->is_closed = s->is_stored = true;
    uint64_t next = 1;
    BUG_ON(stream_read(s, 0, true, count_event, &next, &err) < 0 || next != row.last_seq + 1);
    stream_unref(s);
}

static void read_all_back(struct hub *h, struct span records)
{
    struct record r;
    struct record_open o;
    while (record_next(&records, &r) == RECORD_OK) {
        if (r.type != RECORD_OPEN || !record_open_parse(r.payload, &o) ||
            o.id.len >= STORE_ID_MAX || o.tenant.len >= STORE_ID_MAX)
            continue;
        char id[STORE_ID_MAX], tenant[STORE_ID_MAX];
        snprintf(id, sizeof id, "%.*s", (int)o.id.len, o.id.ptr);
        snprintf(tenant, sizeof tenant, "%.*s", (int)o.tenant.len,
                 o.tenant.ptr ? o.tenant.ptr : "");
        read_back(h, id, tenant);
    }
}

static void remove_all(const char *dir)
{
    static const char *const names[] = {"00000001.log", "00000001.log.damaged", "00000002.log"};
    char path[128];
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char file[FILE_MAX + JOURNAL_HEADER_BYTES]; /* single-threaded by libFuzzer's contract */
    if (size < 1 || size > FILE_MAX)
        return 0;
    BUG_ON(log_start(&(struct log_options){.level = LOG_LEVEL_OFF}, NULL) < 0);
    memcpy(file, JOURNAL_MAGIC "\1\0\0\0\0\0\0\0", JOURNAL_HEADER_BYTES);
    size_t len = size - 1;
    if (data[0] & 1)
        len = make_right(data + 1, len, file + JOURNAL_HEADER_BYTES);
    else if (len)
        memcpy(file + JOURNAL_HEADER_BYTES, data + 1, len);
    len += JOURNAL_HEADER_BYTES;
    char dir[] = "/tmp/hw-fuzz-XXXXXX", path[64];
    BUG_ON(!mkdtemp(dir));
    snprintf(path, sizeof path, "%s/00000001.log", dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    BUG_ON(fd < 0 || write(fd, file, len) != (ssize_t)len);
    close(fd);
    struct err err;
    struct store *store;
    struct worker_pool *workers;
    struct hub *h;
    BUG_ON(store_open_memory(&store, &err) < 0 || worker_pool_new(1, 1, &workers, &err) < 0);
    BUG_ON(hub_open(&(struct hub_options){dir, 0, 0}, store, workers, &h, &err) < 0);
    while (atomic_load(&h->recovering))
        sched_yield();
    read_all_back(h, span_of(file + JOURNAL_HEADER_BYTES, len - JOURNAL_HEADER_BYTES));
    hub_close(h);
    worker_pool_free(workers);
    store_close(store);
    remove_all(dir);
    log_stop();
    return 0;
}
