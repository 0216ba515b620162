#include "text/utf8.h"

#include "text/utf8_fold_priv.h"

size_t utf8_decode(struct span s, uint32_t *ret_cp)
{
    if (s.len == 0)
        return 0;
    const unsigned char *p = (const unsigned char *)s.ptr;
    uint32_t cp = p[0];
    size_t n = 1;
    if (cp >= 0x80) {
        static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
        if (cp >= 0xc2 && cp < 0xe0)
            n = 2, cp &= 0x1f;
        else if (cp >= 0xe0 && cp < 0xf0)
            n = 3, cp &= 0x0f;
        else if (cp >= 0xf0 && cp < 0xf5)
            n = 4, cp &= 0x07;
        else
            return 0;
        if (s.len < n)
            return 0;
        for (size_t i = 1; i < n; i++) {
            if ((p[i] & 0xc0) != 0x80)
                return 0;
            cp = cp << 6 | (p[i] & 0x3f);
        }
        if (cp < least[n] || cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000))
            return 0;
    }
    if (ret_cp)
        *ret_cp = cp;
    return n;
}

size_t utf8_encode(uint32_t cp, char ret[4])
{
    if (cp < 0x80) {
        ret[0] = (char)cp;
        return 1;
    }
    size_t n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, cp >>= 6)
        ret[i] = (char)(0x80 | (cp & 0x3f));
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    ret[0] = (char)(lead[n] | cp);
    return n;
}

bool utf8_is_valid(struct span s)
{
    size_t i = 0;
    while (i < s.len) {
        if (s.len - i >= 8) { /* eight ASCII bytes at a time */
            uint64_t v;
            memcpy(&v, s.ptr + i, 8);
            if (!(v & 0x8080808080808080u)) {
                i += 8;
                continue;
            }
        }
        size_t n = utf8_decode(span_skip(s, i), NULL);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

size_t utf8_cut(struct span s, size_t max)
{
    if (max >= s.len)
        return s.len;
    /*
     * Back over continuation bytes, but not further than one sequence: broken input stays cut at
     * max.
     */
    for (size_t back = 0; back < 4 && back <= max; back++) {
        if (((unsigned char)s.ptr[max - back] & 0xc0) != 0x80)
            return max - back;
    }
    return max;
}

uint32_t utf8_fold(uint32_t cp)
{
    if (cp < 0x80)
        return cp >= 'A' && cp <= 'Z' ? cp + 32 : cp;
    if (cp >= FOLD_LOW_FIRST && cp < FOLD_LOW_END)
        return fold_low[cp - FOLD_LOW_FIRST];
    if (cp >= FOLD_HIGH_FIRST && cp < FOLD_HIGH_END)
        return fold_high[cp - FOLD_HIGH_FIRST];
    if (cp >= 0xff21 && cp <= 0xff3a) /* full-width capitals */
        return cp - 0xff21 + 'a';
    if ((cp >= 0xff41 && cp <= 0xff5a) || (cp >= 0xff10 && cp <= 0xff19))
        return cp - 0xfee0;
    return cp;
}

struct class_range {
    uint32_t first, last;
    enum utf8_class class;
};

/* Everything beyond ASCII that is not listed is a letter. Sorted. */
static const struct class_range class_ranges[] = {
    {0x80, 0x84, UTF8_PUNCT},           {0x85, 0x85, UTF8_SPACE},
    {0x86, 0x9f, UTF8_PUNCT},           {0xa0, 0xa0, UTF8_SPACE},
    {0xa1, 0xa9, UTF8_PUNCT},           {0xab, 0xb4, UTF8_PUNCT},
    {0xb6, 0xb9, UTF8_PUNCT},           {0xbb, 0xbf, UTF8_PUNCT},
    {0xd7, 0xd7, UTF8_PUNCT},           {0xf7, 0xf7, UTF8_PUNCT},
    {0x2c2, 0x2c5, UTF8_PUNCT},         {0x37e, 0x37e, UTF8_PUNCT},
    {0x387, 0x387, UTF8_PUNCT},         {0x55a, 0x55f, UTF8_PUNCT},
    {0x589, 0x58a, UTF8_PUNCT},         {0x5be, 0x5be, UTF8_PUNCT},
    {0x5c0, 0x5c0, UTF8_PUNCT},         {0x5c3, 0x5c3, UTF8_PUNCT},
    {0x5f3, 0x5f4, UTF8_PUNCT},         {0x606, 0x60f, UTF8_PUNCT},
    {0x61b, 0x61f, UTF8_PUNCT},         {0x660, 0x669, UTF8_DIGIT},
    {0x66a, 0x66d, UTF8_PUNCT},         {0x6d4, 0x6d4, UTF8_PUNCT},
    {0x6f0, 0x6f9, UTF8_DIGIT},         {0x964, 0x965, UTF8_PUNCT},
    {0x966, 0x96f, UTF8_DIGIT},         {0x970, 0x970, UTF8_PUNCT},
    {0x9e6, 0x9ef, UTF8_DIGIT},         {0xe3f, 0xe3f, UTF8_PUNCT},
    {0xe4f, 0xe4f, UTF8_PUNCT},         {0xe50, 0xe59, UTF8_DIGIT},
    {0x1100, 0x11ff, UTF8_IDEOGRAPH},   {0x1680, 0x1680, UTF8_SPACE},
    {0x2000, 0x200b, UTF8_SPACE},       {0x200c, 0x2027, UTF8_PUNCT},
    {0x2028, 0x2029, UTF8_SPACE},       {0x202a, 0x202e, UTF8_PUNCT},
    {0x202f, 0x202f, UTF8_SPACE},       {0x2030, 0x205e, UTF8_PUNCT},
    {0x205f, 0x205f, UTF8_SPACE},       {0x2060, 0x2070, UTF8_PUNCT},
    {0x2074, 0x207e, UTF8_PUNCT},       {0x2080, 0x208e, UTF8_PUNCT},
    {0x20a0, 0x20cf, UTF8_PUNCT},       {0x2190, 0x2bff, UTF8_PUNCT},
    {0x2e00, 0x2e7f, UTF8_PUNCT},       {0x2e80, 0x2fdf, UTF8_IDEOGRAPH},
    {0x2ff0, 0x2fff, UTF8_PUNCT},       {0x3000, 0x3000, UTF8_SPACE},
    {0x3001, 0x3004, UTF8_PUNCT},       {0x3005, 0x3007, UTF8_IDEOGRAPH},
    {0x3008, 0x3020, UTF8_PUNCT},       {0x3021, 0x302f, UTF8_IDEOGRAPH},
    {0x3030, 0x3030, UTF8_PUNCT},       {0x3031, 0x303c, UTF8_IDEOGRAPH},
    {0x303d, 0x303f, UTF8_PUNCT},       {0x3040, 0x309f, UTF8_IDEOGRAPH},
    {0x30a0, 0x30a0, UTF8_PUNCT},       {0x30a1, 0x30fa, UTF8_IDEOGRAPH},
    {0x30fb, 0x30fb, UTF8_PUNCT},       {0x30fc, 0x31ff, UTF8_IDEOGRAPH},
    {0x3200, 0x33ff, UTF8_PUNCT},       {0x3400, 0x4dbf, UTF8_IDEOGRAPH},
    {0x4dc0, 0x4dff, UTF8_PUNCT},       {0x4e00, 0x9fff, UTF8_IDEOGRAPH},
    {0xa960, 0xa97f, UTF8_IDEOGRAPH},   {0xac00, 0xd7ff, UTF8_IDEOGRAPH},
    {0xd800, 0xf8ff, UTF8_PUNCT},       {0xf900, 0xfaff, UTF8_IDEOGRAPH},
    {0xfe10, 0xfe1f, UTF8_PUNCT},       {0xfe30, 0xfe6f, UTF8_PUNCT},
    {0xfeff, 0xfeff, UTF8_PUNCT},       {0xff00, 0xff0f, UTF8_PUNCT},
    {0xff10, 0xff19, UTF8_DIGIT},       {0xff1a, 0xff20, UTF8_PUNCT},
    {0xff3b, 0xff40, UTF8_PUNCT},       {0xff5b, 0xff65, UTF8_PUNCT},
    {0xff66, 0xffdc, UTF8_IDEOGRAPH},   {0xffe0, 0xffff, UTF8_PUNCT},
    {0x1d000, 0x1d3ff, UTF8_PUNCT},     {0x1f000, 0x1fbff, UTF8_PUNCT},
    {0x20000, 0x3ffff, UTF8_IDEOGRAPH}, {0xe0000, 0x10ffff, UTF8_PUNCT},
};

static enum utf8_class classify_ascii(uint32_t cp)
{
    if ((cp | 32) >= 'a' && (cp | 32) <= 'z')
        return UTF8_LETTER;
    if (cp >= '0' && cp <= '9')
        return UTF8_DIGIT;
    return cp <= ' ' ? UTF8_SPACE : UTF8_PUNCT;
}

enum utf8_class utf8_classify(uint32_t cp)
{
    if (cp < 0x80)
        return classify_ascii(cp);
    size_t lo = 0, hi = ARRAY_LEN(class_ranges);
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (cp > class_ranges[mid].last)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo < ARRAY_LEN(class_ranges) && cp >= class_ranges[lo].first)
        return class_ranges[lo].class;
    return UTF8_LETTER;
}
