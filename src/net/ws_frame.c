#include "net/ws_frame.h"

#include "base/limits.h"
#include "base/mem.h"
#include "net/server.h"

void ws_frame_header(struct buf *out, int opcode, size_t len)
{
    uint8_t h[WS_FRAME_HEADER_MAX] = {(uint8_t)(0x80 | opcode)};
    size_t n = 2;
    if (len < 126) {
        h[1] = (uint8_t)len;
    } else if (len < 65536) {
        h[1] = 126;
        h[2] = (uint8_t)(len >> 8);
        h[3] = (uint8_t)len;
        n = 4;
    } else {
        h[1] = 127;
        for (int i = 0; i < 8; i++)
            h[2 + i] = (uint8_t)((uint64_t)len >> (56 - 8 * i));
        n = 10;
    }
    buf_put(out, h, n);
}

/* ---- UTF-8 ---- */

static bool utf8_lead(struct ws_utf8 *u, uint8_t b)
{
    u->low = 0x80;
    u->high = 0xbf;
    if (b < 0x80) {
        u->need = 0;
    } else if (b >= 0xc2 && b <= 0xdf) {
        u->need = 1;
    } else if (b >= 0xe0 && b <= 0xef) {
        u->need = 2;
        if (b == 0xe0)
            u->low = 0xa0; /* overlong */
        if (b == 0xed)
            u->high = 0x9f; /* surrogates */
    } else if (b >= 0xf0 && b <= 0xf4) {
        u->need = 3;
        if (b == 0xf0)
            u->low = 0x90;
        if (b == 0xf4)
            u->high = 0x8f; /* past U+10FFFF */
    } else {
        return false;
    }
    return true;
}

bool ws_utf8_feed(struct ws_utf8 *u, const char *ptr, size_t len)
{
    size_t i = 0;
    while (i < len) {
        if (!u->need) {
            uint64_t word;
            while (len - i >= sizeof word) {
                memcpy(&word, ptr + i, sizeof word);
                if (word & 0x8080808080808080ull)
                    break;
                i += sizeof word;
            }
            if (i >= len)
                break;
            if (!utf8_lead(u, (uint8_t)ptr[i++]))
                return false;
            continue;
        }
        uint8_t b = (uint8_t)ptr[i++];
        if (b < u->low || b > u->high)
            return false;
        u->low = 0x80;
        u->high = 0xbf;
        u->need--;
    }
    return true;
}

/* ---- received frames ---- */

void ws_parser_init(struct ws_parser *p, size_t max_message)
{
    *p = (struct ws_parser){.max_message = max_message, .header_need = 2};
    buf_init(&p->message, max_message);
}

void ws_parser_done(struct ws_parser *p)
{
    buf_done(&p->message);
}

bool ws_parser_is_idle(const struct ws_parser *p)
{
    return !p->header_len && !p->in_payload && !p->in_message;
}

bool ws_is_code_valid(int code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

static struct ws_event failed(int code)
{
    return (struct ws_event){.kind = WS_EVENT_ERROR, .code = code};
}

/* XORs with the mask, beginning at position `at` of the payload; eight bytes at a time. */
static void unmask(char *ptr, size_t len, const uint8_t mask[4], uint64_t at)
{
    size_t i = 0;
    uint8_t turned[8];
    for (size_t k = 0; k < 8; k++)
        turned[k] = mask[(at + k) & 3];
    uint64_t wide, word;
    memcpy(&wide, turned, sizeof wide);
    for (; len - i >= sizeof word; i += sizeof word) {
        memcpy(&word, ptr + i, sizeof word);
        word ^= wide;
        memcpy(ptr + i, &word, sizeof word);
    }
    for (; i < len; i++)
        ptr[i] = (char)((uint8_t)ptr[i] ^ turned[i & 7]);
}

static bool is_control(const struct ws_parser *p)
{
    return p->opcode >= 8;
}

/* The first two bytes decide most; refused before the length and the mask are read. */
static int check_start(struct ws_parser *p)
{
    uint8_t a = p->header[0], b = p->header[1], len = b & 0x7f;
    p->opcode = a & 0x0f;
    p->is_last = a & 0x80;
    if ((a & 0x70) || !(b & 0x80))
        return 1002; /* reserved bits without an extension, or not masked */
    if ((p->opcode > 2 && p->opcode < 8) || p->opcode > 10)
        return 1002;
    if (is_control(p) &&
        (!p->is_last || len > LIMIT_WS_CONTROL || (p->opcode == WS_OP_CLOSE && len == 1)))
        return 1002;
    if (!is_control(p) && (p->opcode == WS_OP_CONTINUE) != p->in_message)
        return 1002; /* nothing to continue, or a new message inside another */
    p->header_need = (uint8_t)(len == 126 ? 8 : len == 127 ? 14 : 6);
    return 0;
}

static int begin_payload(struct ws_parser *p)
{
    uint8_t len = p->header[1] & 0x7f;
    p->left = len;
    if (len == 126) {
        p->left = (uint64_t)p->header[2] << 8 | p->header[3];
        if (p->left < 126)
            return 1002; /* RFC 6455 §5.2: the minimal number of bytes */
    } else if (len == 127) {
        p->left = 0;
        for (int i = 0; i < 8; i++)
            p->left = p->left << 8 | p->header[2 + i];
        if (p->left < 65536 || p->left >> 63)
            return 1002;
    }
    memcpy(p->mask, p->header + p->header_need - 4, 4);
    p->got = 0;
    p->in_payload = true;
    p->header_len = 0;
    p->header_need = 2;
    if (is_control(p)) {
        p->control_len = 0;
        return 0;
    }
    if (p->opcode != WS_OP_CONTINUE) {
        p->is_text = p->opcode == WS_OP_TEXT;
        p->utf8 = (struct ws_utf8){0};
        p->fragments = 0;
    }
    if (p->left > p->max_message - p->message.len || ++p->fragments > LIMIT_WS_FRAGMENTS_COUNT)
        return 1009;
    return 0;
}

static struct ws_event control_event(struct ws_parser *p)
{
    struct ws_event e = {.payload = span_of((const char *)p->control, p->control_len)};
    if (p->opcode != WS_OP_CLOSE) {
        e.kind = p->opcode == WS_OP_PING ? WS_EVENT_PING : WS_EVENT_PONG;
        return e;
    }
    e.kind = WS_EVENT_CLOSE;
    e.code = 1005;
    if (p->control_len) {
        e.code = p->control[0] << 8 | p->control[1];
        e.payload = span_skip(e.payload, 2);
        struct ws_utf8 u = {0};
        if (!ws_is_code_valid(e.code))
            return failed(1002);
        if (!ws_utf8_feed(&u, e.payload.ptr, e.payload.len) || u.need)
            return failed(1007);
    }
    return e;
}

/* The frame's last byte is here. `whole` is its payload when it never had to be stored. */
static struct ws_event end_frame(struct ws_parser *p, struct span whole)
{
    p->in_payload = false;
    if (is_control(p))
        return control_event(p);
    p->in_message = !p->is_last;
    if (p->in_message)
        return (struct ws_event){.is_frame_end = true};
    if (p->is_text && p->utf8.need)
        return failed(1007);
    return (struct ws_event){.kind = WS_EVENT_MESSAGE,
                             .is_text = p->is_text,
                             .payload = whole.ptr ? whole : buf_span(&p->message)};
}

static struct ws_event take_payload(struct ws_parser *p, char *in, size_t len, size_t *used)
{
    size_t n = len < p->left ? len : (size_t)p->left;
    bool is_whole = p->got == 0 && n == p->left && p->is_last && p->opcode != WS_OP_CONTINUE;
    struct span whole = SPAN_NULL;
    unmask(in, n, p->mask, p->got);
    p->got += n;
    p->left -= n;
    *used += n;
    if (is_control(p)) {
        memcpy(p->control + p->control_len, in, n);
        p->control_len = (uint8_t)(p->control_len + n);
    } else {
        if (p->is_text && !ws_utf8_feed(&p->utf8, in, n))
            return failed(1007);
        if (is_whole) {
            whole = span_of(in, n); /* no copy: the common case of a small message */
        } else {
            buf_put(&p->message, in, n);
            if (buf_failed(&p->message))
                return failed(1011);
        }
    }
    return p->left ? (struct ws_event){0} : end_frame(p, whole);
}

struct ws_event ws_parser_feed(struct ws_parser *p, char *in, size_t len, size_t *used)
{
    *used = 0;
    if (!p->in_message && !p->in_payload && p->message.ptr)
        buf_done(&p->message); /* the one handed out by the last call */
    while (*used < len) {
        struct ws_event e = {0};
        if (p->in_payload) {
            e = take_payload(p, in + *used, len - *used, used);
        } else {
            p->header[p->header_len++] = (uint8_t)in[(*used)++];
            int code = p->header_len == 2 ? check_start(p) : 0;
            if (!code && p->header_len == p->header_need) {
                code = begin_payload(p);
                if (!code && !p->left)
                    e = end_frame(p, SPAN_NULL);
            }
            if (code)
                return failed(code);
        }
        if (e.kind != WS_EVENT_NONE || e.is_frame_end)
            return e;
    }
    return (struct ws_event){0};
}

/* ---- borders between sent frames ---- */

struct cursor {
    const struct iovec *iov;
    int count, at;
    size_t offset; /* in iov[at] */
};

static bool cursor_skip(struct cursor *c, size_t n)
{
    while (n) {
        if (c->at >= c->count)
            return false;
        size_t here = c->iov[c->at].iov_len - c->offset;
        if (n < here) {
            c->offset += n;
            return true;
        }
        n -= here;
        c->at++;
        c->offset = 0;
    }
    return true;
}

static bool cursor_byte(struct cursor *c, uint8_t *ret)
{
    while (c->at < c->count && c->offset == c->iov[c->at].iov_len) {
        c->at++;
        c->offset = 0;
    }
    if (c->at >= c->count)
        return false;
    *ret = ((const uint8_t *)c->iov[c->at].iov_base)[c->offset];
    return cursor_skip(c, 1);
}

/* Length of the frame at the cursor, which moves past its header. */
static bool cursor_frame(struct cursor *c, size_t *ret_payload, size_t *ret_total)
{
    uint8_t a, b, v;
    if (!cursor_byte(c, &a) || !cursor_byte(c, &b))
        return false;
    size_t len = b & 0x7f, extra = len == 126 ? 2 : len == 127 ? 8 : 0;
    if (extra)
        len = 0;
    for (size_t i = 0; i < extra; i++) {
        if (!cursor_byte(c, &v))
            return false;
        len = len << 8 | v;
    }
    *ret_payload = len;
    return add_size(len, 2 + extra, ret_total);
}

size_t ws_border_after(const struct iovec *iov, int count, size_t left, size_t written)
{
    struct cursor c = {.iov = iov, .count = count};
    size_t at = left;
    if (!cursor_skip(&c, left))
        return WS_BORDER_BAD;
    while (at < written) {
        size_t payload, total;
        if (!cursor_frame(&c, &payload, &total) || !cursor_skip(&c, payload) ||
            !add_size(at, total, &at))
            return WS_BORDER_BAD;
    }
    return at - written;
}
