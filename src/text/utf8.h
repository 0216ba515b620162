#pragma once
/*
 * UTF-8 (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF). Pure functions. Thread: any.
 */
#include "base/span.h"

/* Length of the valid sequence at the start of s (1..4), 0 when there is none. *ret_cp may be NULL. */
size_t utf8_decode(struct span s, uint32_t *ret_cp);
/* Writes 1..4 bytes; returns how many. cp must be a scalar value. */
size_t utf8_encode(uint32_t cp, char ret[4]);
bool utf8_is_valid(struct span s);
/* Largest n <= max such that the first n bytes of s end at a character border. */
size_t utf8_cut(struct span s, size_t max);
/* Simple case folding and diacritic removal for Latin, Greek, Cyrillic; other characters unchanged. */
uint32_t utf8_fold(uint32_t cp);
enum utf8_class {
    UTF8_SPACE,
    UTF8_PUNCT,
    UTF8_LETTER,
    UTF8_DIGIT,
    UTF8_IDEOGRAPH /* CJK, kana, hangul */
};
enum utf8_class utf8_classify(uint32_t cp);
