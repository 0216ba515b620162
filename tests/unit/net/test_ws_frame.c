/* Promises of the WebSocket codec. */
#include "../cm.h"
#include "base/fault.h"
#include "base/limits.h"
#include "base/mem.h"
#include "net/server.h"
#include "net/ws_frame.h"

#include <stdio.h>
#include <stdlib.h>

#define MAX_MESSAGE 1000

/* A client frame: first byte, payload; the mask differs a frame. */
static void put_frame(struct buf *b, int first, const void *ptr, size_t len)
{
    uint8_t mask[4] = {(uint8_t)rand(), (uint8_t)rand(), (uint8_t)rand(), (uint8_t)rand()};
    struct buf h = BUF_INIT(32);
    ws_frame_header(&h, 1, len);
    h.ptr[0] = (char)first;
    h.ptr[1] = (char)(h.ptr[1] | (char)0x80);
    buf_put(b, h.ptr, h.len);
    buf_put(b, mask, 4);
    for (size_t i = 0; i < len; i++)
        buf_putc(b, (char)(((const uint8_t *)ptr)[i] ^ mask[i % 4]));
    buf_done(&h);
}

/* What a parser told, as text: "T:hello" "B:…" "<p" ping ">p" pong "C1000:reason" "E1002". */
static void tell(struct buf *out, const struct ws_event *e)
{
    switch (e->kind) {
    case WS_EVENT_MESSAGE:
        buf_puts(out, e->is_text ? "T:" : "B:");
        break;
    case WS_EVENT_PING:
        buf_puts(out, "<");
        break;
    case WS_EVENT_PONG:
        buf_puts(out, ">");
        break;
    case WS_EVENT_CLOSE:
        buf_printf(out, "C%d:", e->code);
        break;
    case WS_EVENT_ERROR:
        buf_printf(out, "E%d", e->code);
        break;
    case WS_EVENT_NONE:
        return;
    }
    buf_put_span(out, e->payload);
    buf_putc(out, ' ');
}

static void run(const struct buf *in, size_t step, size_t max, struct buf *out)
{
    struct ws_parser p;
    size_t at = 0;
    ws_parser_init(&p, max);
    while (at < in->len) {
        size_t n = step ? step : 1 + (size_t)rand() % 30, used = 0;
        if (n > in->len - at)
            n = in->len - at;
        char *piece = mem_alloc(n); /* exact, so that a sanitizer sees one byte too far */
        memcpy(piece, in->ptr + at, n);
        struct ws_event e = {0};
        for (size_t i = 0; i < n && e.kind != WS_EVENT_ERROR; i += used) {
            e = ws_parser_feed(&p, piece + i, n - i, &used);
            tell(out, &e);
        }
        mem_free(piece);
        if (e.kind == WS_EVENT_ERROR)
            break;
        at += n;
    }
    ws_parser_done(&p);
}

/* Runs it in pieces of many sizes: the same story each time. */
static void expect(struct buf *in, const char *story)
{
    static const size_t steps[] = {1 << 20, 0, 0, 1, 2, 3, 5, 8};
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct buf out = BUF_INIT(1 << 24);
        run(in, steps[i], MAX_MESSAGE, &out);
        if (strcmp(buf_str(&out), story) != 0)
            fail_msg("pieces of %zu: '%s', not '%s'", steps[i], buf_str(&out), story);
        buf_done(&out);
    }
    buf_clear(in);
}

static void expect_bytes(const void *ptr, size_t len, const char *story)
{
    struct buf b = BUF_INIT(1 << 20);
    buf_put(&b, ptr, len);
    expect(&b, story);
    buf_done(&b);
}
#define BYTES(text, story) expect_bytes(text, sizeof(text) - 1, story)

static void messages_come_whole(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(1 << 20);
    put_frame(&b, 0x81, "hello", 5);
    put_frame(&b, 0x82, "\xff\xfe", 2);
    put_frame(&b, 0x81, "", 0);
    expect(&b, "T:hello B:\xff\xfe T: ");
    put_frame(&b, 0x01, "a", 1);
    put_frame(&b, 0x89, "ping", 4);
    put_frame(&b, 0x00, "", 0);
    put_frame(&b, 0x8a, "", 0);
    put_frame(&b, 0x80, "b", 1);
    put_frame(&b, 0x81, "next", 4);
    put_frame(&b, 0x88,
              "\x03\xe8"
              "bye",
              5);
    expect(&b, "<ping > T:ab T:next C1000:bye ");
    put_frame(&b, 0x88, "", 0);
    expect(&b, "C1005: ");
    char big[MAX_MESSAGE + 1], story[MAX_MESSAGE + 10] = "T:";
    memset(big, 'x', sizeof big);
    put_frame(&b, 0x81, big, MAX_MESSAGE);
    memset(story + 2, 'x', MAX_MESSAGE);
    story[MAX_MESSAGE + 2] = ' ';
    story[MAX_MESSAGE + 3] = 0;
    expect(&b, story);
    buf_done(&b);
}

static void protocol_faults_are_1002(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(1 << 20);
    BYTES("\x81\x05hello", "E1002 "); /* not masked */
    static const int reserved[] = {0xc1, 0xa1, 0x91, 0x83, 0x84, 0x85, 0x86,
                                   0x87, 0x8b, 0x8c, 0x8d, 0x8e, 0x8f};
    for (size_t i = 0; i < ARRAY_LEN(reserved); i++) {
        put_frame(&b, reserved[i], "", 0);
        expect(&b, "E1002 ");
    }
    put_frame(&b, 0x80, "x", 1); /* nothing to continue */
    expect(&b, "E1002 ");
    put_frame(&b, 0x01, "a", 1);
    put_frame(&b, 0x81, "b", 1); /* a message inside another */
    expect(&b, "E1002 ");
    put_frame(&b, 0x01, "a", 1);
    put_frame(&b, 0x02, "b", 1);
    expect(&b, "E1002 ");
    put_frame(&b, 0x09, "", 0); /* control frames are whole */
    expect(&b, "E1002 ");
    put_frame(&b, 0x08, "", 0);
    expect(&b, "E1002 ");
    char big[200] = {0};
    put_frame(&b, 0x89, big, 125);
    put_frame(&b, 0x89, big, 126); /* and short */
    struct buf story = BUF_INIT(1000);
    buf_putc(&story, '<');
    buf_put(&story, big, 125);
    buf_puts(&story, " E1002 ");
    struct buf out = BUF_INIT(10000);
    run(&b, 7, MAX_MESSAGE, &out);
    assert_true(span_eq(buf_span(&out), buf_span(&story)));
    buf_done(&out);
    buf_done(&story);
    buf_clear(&b);
    /* lengths not in the fewest bytes, or past 2^63 */
    BYTES("\x82\xfe\x00\x7d", ""); /* the mask is still missing */
    BYTES("\x82\xfe\x00\x7d\x01\x02\x03\x04", "E1002 ");
    BYTES("\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff\x01\x02\x03\x04", "E1002 ");
    BYTES("\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00\x01\x02\x03\x04", "E1002 ");
    buf_done(&b);
}

static void close_payloads_are_checked(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(1 << 20);
    put_frame(&b, 0x88, "\x03", 1);
    expect(&b, "E1002 ");
    static const struct {
        int code;
        bool ok;
    } codes[] = {{0, false},    {999, false},  {1000, true},  {1001, true},  {1002, true},
                 {1003, true},  {1004, false}, {1005, false}, {1006, false}, {1007, true},
                 {1011, true},  {1014, true},  {1015, false}, {1016, false}, {1100, false},
                 {2000, false}, {2999, false}, {3000, true},  {4999, true},  {5000, false},
                 {65535, false}};
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        char payload[2] = {(char)(codes[i].code >> 8), (char)codes[i].code}, story[32];
        put_frame(&b, 0x88, payload, 2);
        snprintf(story, sizeof story, codes[i].ok ? "C%d: " : "E1002 ", codes[i].code);
        expect(&b, story);
        assert_int_equal(ws_is_code_valid(codes[i].code), codes[i].ok);
    }
    put_frame(&b, 0x88, "\x03\xe8\xff", 3);
    expect(&b, "E1007 ");
    put_frame(&b, 0x88, "\x03\xe8\xc3", 3); /* ends inside a character */
    expect(&b, "E1007 ");
    buf_done(&b);
}

static void text_must_be_utf8(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ok;
    } rows[] = {
        {"\xc3\xa4", true},
        {"\xe2\x82\xac", true},
        {"\xf0\x9f\x98\x80", true},
        {"\xf4\x8f\xbf\xbf", true},
        {"\xed\x9f\xbf", true},
        {"\xee\x80\x80", true},
        {"\xc0\x80", false},
        {"\xc1\xbf", false},
        {"\xe0\x9f\xbf", false},
        {"\xf0\x8f\xbf\xbf", false},
        {"\xed\xa0\x80", false},
        {"\xf4\x90\x80\x80", false},
        {"\xf5\x80\x80\x80", false},
        {"\xff", false},
        {"\x80", false},
        {"\xc3", false},
        {"\xe2\x82", false},
        {"\xc3(", false},
        {"12345678\xc3\xa4"
         "12345678",
         true},
        {"1234567812345678\xff", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b = BUF_INIT(1000), story = BUF_INIT(1000);
        size_t n = strlen(rows[i].text);
        buf_printf(&story, rows[i].ok ? "T:%s " : "E1007 ", rows[i].text);
        put_frame(&b, 0x81, rows[i].text, n);
        expect(&b, story.ptr);
        put_frame(&b, 0x01, rows[i].text, 1); /* a character may be cut by a fragment's end */
        put_frame(&b, 0x80, rows[i].text + 1, n - 1);
        expect(&b, story.ptr);
        put_frame(&b, 0x82, rows[i].text, n);
        story.ptr[0] = 'B';
        if (rows[i].ok)
            expect(&b, story.ptr);
        buf_done(&b);
        buf_done(&story);
    }
}

static void bad_text_fails_before_the_frame_ends(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(1000), out = BUF_INIT(1000);
    put_frame(&b, 0x01, "ok\xff more to come", 16);
    b.len -= 5;
    run(&b, 0, MAX_MESSAGE, &out);
    assert_string_equal(buf_str(&out), "E1007 ");
    buf_done(&b);
    buf_done(&out);
}

static void too_big_is_1009_at_the_header(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(1 << 20);
    char big[MAX_MESSAGE + 1];
    memset(big, 'x', sizeof big);
    put_frame(&b, 0x81, big, MAX_MESSAGE + 1);
    b.len = 8; /* the payload need not have come */
    expect(&b, "E1009 ");
    put_frame(&b, 0x01, big, MAX_MESSAGE);
    put_frame(&b, 0x80, big, 1);
    expect(&b, "E1009 ");
    BYTES("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x01\x02\x03\x04", "E1009 ");
    struct buf out = BUF_INIT(1000);
    put_frame(&b, 0x02, "", 0);
    for (int i = 0; i < LIMIT_WS_FRAGMENTS_COUNT; i++)
        put_frame(&b, 0x00, "", 0);
    run(&b, 4096, MAX_MESSAGE, &out);
    assert_string_equal(buf_str(&out), "E1009 ");
    buf_done(&out);
    buf_done(&b);
}

static void a_parser_is_idle_only_between_messages(void **state)
{
    (void)state;
    struct ws_parser p;
    struct buf b = BUF_INIT(1000);
    size_t used, borders = 0;
    put_frame(&b, 0x01, "ab", 2);
    put_frame(&b, 0x89, "x", 1);
    put_frame(&b, 0x80, "cd", 2);
    put_frame(&b, 0x81, "e", 1);
    ws_parser_init(&p, 100);
    assert_true(ws_parser_is_idle(&p));
    for (size_t i = 0; i < b.len; i++) {
        (void)ws_parser_feed(&p, b.ptr + i, 1, &used);
        borders += ws_parser_is_idle(&p);
    }
    assert_int_equal(borders, 2);
    ws_parser_done(&p);
    buf_done(&b);
}

static void no_memory_closes_with_1011(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(1000), out = BUF_INIT(1000);
    buf_reserve(&out, 100);
    put_frame(&b, 0x01, "ab", 2);
    put_frame(&b, 0x80, "cd", 2);
    struct ws_parser p;
    size_t used;
    ws_parser_init(&p, 100);
    fault_arm(FAULT_ALLOC, 1, 0);
    struct ws_event e = ws_parser_feed(&p, b.ptr, b.len, &used);
    fault_disarm();
    tell(&out, &e);
    assert_string_equal(buf_str(&out), "E1011 ");
    ws_parser_done(&p);
    buf_done(&b);
    buf_done(&out);
}

static void frame_headers_have_the_fewest_bytes(void **state)
{
    (void)state;
    static const struct {
        size_t len;
        const char *bytes;
        size_t count;
    } rows[] = {
        {0, "\x81\x00", 2},
        {125, "\x81\x7d", 2},
        {126, "\x81\x7e\x00\x7e", 4},
        {65535, "\x81\x7e\xff\xff", 4},
        {65536, "\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b = BUF_INIT(100);
        ws_frame_header(&b, WS_OP_TEXT, rows[i].len);
        assert_int_equal(b.len, rows[i].count);
        assert_memory_equal(b.ptr, rows[i].bytes, b.len);
        buf_done(&b);
    }
}

static void borders_between_sent_frames_are_found(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(1 << 20);
    static char block[70000];
    static const size_t sizes[] = {0, 5, 125, 126, 300, 65535, 65536, 1};
    size_t borders[ARRAY_LEN(sizes) + 1] = {0};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        ws_frame_header(&b, WS_OP_TEXT, sizes[i]);
        buf_put(&b, block, sizes[i]);
        borders[i + 1] = b.len;
    }
    for (int round = 0; round < 3000; round++) {
        /* Begin anywhere, cut into pieces anywhere, ask about anywhere. */
        size_t begin = (size_t)rand() % b.len, rest = b.len - begin, left = 0, want = 0;
        struct iovec iov[8];
        int n = 0;
        for (size_t at = begin; at < b.len; n++) {
            size_t len = n == 7 ? b.len - at : 1 + (size_t)rand() % 40000;
            if (len > b.len - at)
                len = b.len - at;
            iov[n] = (struct iovec){b.ptr + at, len};
            at += len;
        }
        size_t written = 1 + (size_t)rand() % rest;
        for (size_t i = ARRAY_LEN(borders); i-- > 0;) {
            if (borders[i] >= begin)
                left = borders[i] - begin;
            if (borders[i] >= begin + written)
                want = borders[i] - begin - written;
        }
        if (left >= written)
            want = left - written;
        size_t got = left >= written ? left - written : ws_border_after(iov, n, left, written);
        assert_int_equal(got, want);
    }
    struct iovec half = {b.ptr + borders[1], 4}; /* ends inside a frame */
    assert_true(ws_border_after(&half, 1, 0, 3) == WS_BORDER_BAD);
    assert_true(ws_border_after(&half, 1, 5, 4) == WS_BORDER_BAD);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_come_whole),
        cmocka_unit_test(protocol_faults_are_1002),
        cmocka_unit_test(close_payloads_are_checked),
        cmocka_unit_test(text_must_be_utf8),
        cmocka_unit_test(bad_text_fails_before_the_frame_ends),
        cmocka_unit_test(too_big_is_1009_at_the_header),
        cmocka_unit_test(a_parser_is_idle_only_between_messages),
        cmocka_unit_test(no_memory_closes_with_1011),
        cmocka_unit_test(frame_headers_have_the_fewest_bytes),
        cmocka_unit_test(borders_between_sent_frames_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
