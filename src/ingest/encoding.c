#include "ingest/encoding.h"

#define REASON_MEMORY "not enough memory to decode it"

static const char replacement[] = "\xef\xbf\xbd";

/* Length of the valid sequence at s (RFC 3629), 0 when there is none. */
static size_t sequence(const uint8_t *p, size_t n)
{
    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    size_t len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (n < len)
        return 0;
    uint8_t low = 0x80, high = 0xbf; /* bounds of the second byte */
    if (p[0] == 0xe0)
        low = 0xa0;
    else if (p[0] == 0xed)
        high = 0x9f;
    else if (p[0] == 0xf0)
        low = 0x90;
    else if (p[0] == 0xf4)
        high = 0x8f;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

/* Bytes at the start of s that are valid UTF-8. */
static size_t valid_prefix(struct span s)
{
    const uint8_t *p = (const uint8_t *)s.ptr;
    size_t i = 0;
    while (i < s.len) {
        uint64_t eight;
        while (s.len - i >= 8) {
            memcpy(&eight, p + i, 8);
            if (eight & 0x8080808080808080u)
                break;
            i += 8;
        }
        if (i == s.len)
            break;
        size_t n = sequence(p + i, s.len - i);
        if (!n)
            return i;
        i += n;
    }
    return i;
}

bool encoding_is_utf8(struct span s)
{
    return valid_prefix(s) == s.len;
}

void encoding_put_lossy(struct buf *out, struct span s)
{
    while (s.len) {
        size_t n = valid_prefix(s);
        buf_put(out, s.ptr, n);
        s = span_skip(s, n);
        if (s.len) {
            buf_puts(out, replacement);
            s = span_skip(s, 1);
        }
    }
}

size_t encoding_cut(struct span s, size_t max)
{
    if (max >= s.len)
        return s.len;
    while (max > 0 && ((uint8_t)s.ptr[max] & 0xc0) == 0x80)
        max--;
    return max;
}

static void put_code_point(struct buf *out, uint32_t cp)
{
    char c[4];
    if (cp < 0x80) {
        buf_putc(out, (char)cp);
    } else if (cp < 0x800) {
        c[0] = (char)(0xc0 | (cp >> 6));
        c[1] = (char)(0x80 | (cp & 0x3f));
        buf_put(out, c, 2);
    } else if (cp < 0x10000) {
        c[0] = (char)(0xe0 | (cp >> 12));
        c[1] = (char)(0x80 | ((cp >> 6) & 0x3f));
        c[2] = (char)(0x80 | (cp & 0x3f));
        buf_put(out, c, 3);
    } else {
        c[0] = (char)(0xf0 | (cp >> 18));
        c[1] = (char)(0x80 | ((cp >> 12) & 0x3f));
        c[2] = (char)(0x80 | ((cp >> 6) & 0x3f));
        c[3] = (char)(0x80 | (cp & 0x3f));
        buf_put(out, c, 4);
    }
}

static uint32_t unit16(const uint8_t *p, bool big)
{
    return big ? (uint32_t)p[0] << 8 | p[1] : (uint32_t)p[1] << 8 | p[0];
}

static const char *decode_utf16(struct span s, bool big, struct buf *out)
{
    const uint8_t *p = (const uint8_t *)s.ptr;
    for (size_t i = 0; i + 1 < s.len; i += 2) {
        uint32_t cp = unit16(p + i, big);
        if (cp == 0)
            return "binary";
        if (cp >= 0xd800 && cp < 0xdc00 && i + 3 < s.len) {
            uint32_t low = unit16(p + i + 2, big);
            if (low >= 0xdc00 && low < 0xe000) {
                cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
                i += 2;
            }
        }
        put_code_point(out, cp >= 0xd800 && cp < 0xe000 ? 0xfffd : cp);
    }
    return NULL;
}

/* 0x80..0x9f; 0 where Windows-1252 has no character. */
static const uint16_t windows_1252[32] = {
    0x20ac, 0,      0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160,
    0x2039, 0x0152, 0,      0x017d, 0,      0,      0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
    0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0,      0x017e, 0x0178,
};

static void decode_1252(struct span s, struct buf *out)
{
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = (uint8_t)s.ptr[i];
        if (c < 0x80 || c >= 0xa0)
            put_code_point(out, c);
        else
            put_code_point(out, windows_1252[c - 0x80] ? windows_1252[c - 0x80] : 0xfffd);
    }
}

struct census {
    size_t control, high, undefined_1252; /* bytes */
    size_t good, bad;                     /* multi-byte sequences; bytes that start none */
};

static struct census take_census(struct span s)
{
    struct census c = {0};
    const uint8_t *p = (const uint8_t *)s.ptr;
    for (size_t i = 0; i < s.len; i++) {
        if (p[i] < 0x20)
            c.control += !(p[i] >= '\a' && p[i] <= '\r') && p[i] != 0x1b;
        else if (p[i] == 0x7f)
            c.control++;
        else if (p[i] >= 0x80) {
            c.high++;
            c.undefined_1252 += p[i] < 0xa0 && !windows_1252[p[i] - 0x80];
        }
    }
    for (size_t i = 0; i < s.len;) {
        size_t n = sequence(p + i, s.len - i);
        c.good += n > 1;
        c.bad += n == 0;
        i += n ? n : 1;
    }
    return c;
}

static const char *decode_eight_bit(struct span s, struct buf *out)
{
    struct census c = take_census(s);
    if (c.control * 50 > s.len)
        return "binary";
    if (c.good > 9 * c.bad)
        encoding_put_lossy(out, s);
    else if (c.undefined_1252 == 0 && c.high * 10 <= s.len * 3)
        decode_1252(s, out);
    else
        return "in a text encoding that is not recognised; convert it to UTF-8";
    return NULL;
}

static bool has_magic(struct span s)
{
    static const struct span magic[] = {
        SPAN_INIT("%PDF-"),
        SPAN_INIT("\x7f"
                  "ELF"),
        SPAN_INIT("PK\x03\x04"),
        SPAN_INIT("\x89PNG"),
        SPAN_INIT("GIF87a"),
        SPAN_INIT("GIF89a"),
        SPAN_INIT("\xff\xd8\xff"),
        SPAN_INIT("\x1f\x8b"),
        SPAN_INIT("BZh9"),
        SPAN_INIT("\xfd"
                  "7zXZ"),
        SPAN_INIT("\x28\xb5\x2f\xfd"),
        SPAN_INIT("!<arch>\n"),
        SPAN_INIT("%!PS-Adobe"),
        SPAN_INIT("\xca\xfe\xba\xbe"),
        SPAN_INIT("7z\xbc\xaf"),
        SPAN_INIT("{\\rtf1"),
    };
    for (size_t i = 0; i < ARRAY_LEN(magic); i++)
        if (span_starts(s, magic[i]))
            return true;
    return false;
}

const char *encoding_decode(struct span bytes, struct buf *out, struct span *ret)
{
    const char *reason = NULL;
    buf_clear(out);
    if (span_starts(bytes, SPAN_LIT("\xff\xfe\0\0")) ||
        span_starts(bytes, SPAN_LIT("\0\0\xfe\xff")))
        return "UTF-32 text, which is not read; convert it to UTF-8";
    if (span_starts(bytes, SPAN_LIT("\xff\xfe")) || span_starts(bytes, SPAN_LIT("\xfe\xff"))) {
        reason = decode_utf16(span_skip(bytes, 2), bytes.ptr[0] == '\xfe', out);
    } else if (has_magic(bytes) || (bytes.len && memchr(bytes.ptr, 0, bytes.len))) {
        return "binary";
    } else {
        if (span_starts(bytes, SPAN_LIT("\xef\xbb\xbf")))
            bytes = span_skip(bytes, 3);
        if (encoding_is_utf8(bytes)) {
            *ret = bytes;
            return NULL;
        }
        reason = decode_eight_bit(bytes, out);
    }
    if (reason)
        return reason;
    if (buf_failed(out))
        return REASON_MEMORY;
    *ret = buf_span(out);
    return NULL;
}
