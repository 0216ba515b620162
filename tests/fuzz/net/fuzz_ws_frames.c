/*
 * WebSocket frames from hostile bytes, cut into pieces by a seed (the first byte): the same events
 * either way. The border tracker gets the same bytes.
 */
#include "base/bug.h"
#include "base/hash.h"
#include "base/mem.h"
#include "net/ws_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_MESSAGE 4096

static uint64_t mix(uint64_t h, const struct ws_event *e)
{
    if (e->kind == WS_EVENT_NONE)
        return h;
    h = h * 31 + (uint64_t)e->kind;
    h = h * 31 + (uint64_t)e->code;
    h = h * 31 + e->is_text;
    if (e->kind != WS_EVENT_ERROR && e->payload.len)
        h = h * 31 + hash_bytes(e->payload.ptr, e->payload.len);
    return h;
}

static void check(const struct ws_event *e)
{
    BUG_ON(e->payload.len > MAX_MESSAGE);
    BUG_ON(e->kind == WS_EVENT_CLOSE && e->code != 1005 && !ws_is_code_valid(e->code));
    BUG_ON(e->kind == WS_EVENT_ERROR && e->code != 1002 && e->code != 1007 && e->code != 1009);
    struct ws_utf8 u = {0};
    if (e->kind == WS_EVENT_MESSAGE && e->is_text)
        BUG_ON(!ws_utf8_feed(&u, e->payload.ptr, e->payload.len) || u.need);
}

static uint64_t run(const uint8_t *data, size_t size, uint32_t seed)
{
    struct ws_parser p;
    uint64_t h = 0;
    struct ws_event e = {0};
    ws_parser_init(&p, MAX_MESSAGE);
    for (size_t at = 0; at < size && e.kind != WS_EVENT_ERROR;) {
        seed = seed * 1664525 + 1013904223;
        size_t n = seed ? 1 + (seed >> 24) % 29 : size - at, used = 0;
        if (n > size - at)
            n = size - at;
        char *piece = mem_alloc(n);
        memcpy(piece, data + at, n);
        for (size_t i = 0; i < n && e.kind != WS_EVENT_ERROR; i += used) {
            e = ws_parser_feed(&p, piece + i, n - i, &used);
            BUG_ON(!used || used > n - i);
            check(&e);
            h = mix(h, &e);
        }
        mem_free(piece);
        at += n;
    }
    ws_parser_done(&p);
    return h;
}

static void borders(const uint8_t *data, size_t size)
{
    struct iovec iov[3];
    size_t third = size / 3;
    for (size_t i = 0; i < 3; i++)
        iov[i] =
            (struct iovec){(void *)(uintptr_t)(data + i * third), i < 2 ? third : size - 2 * third};
    size_t left = ws_border_after(iov, 3, data[0], size / 2 + 1);
    BUG_ON(left != WS_BORDER_BAD && left > size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    BUG_ON(run(data + 1, size - 1, 0) != run(data + 1, size - 1, data[0] + 1u));
    borders(data, size);
    return 0;
}
