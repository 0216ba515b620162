#pragma once
/*
 * Comments, strings, regular expressions, here-documents and directives of many languages: what a scanner that
 * counts braces has to step over. One pass over a text costs time proportional to it, whatever it holds: searches
 * for an end that is not there are paid from a budget, and not begun when it is spent. Pure. Thread: owner.
 */
#include "ingest/language.h"

#define LEX_TAG_BYTES 64

enum lex_kind { LEX_NONE, LEX_COMMENT, LEX_STRING, LEX_DIRECTIVE };

struct lex {
    const struct language *lang;
    const char *p;
    size_t n;
    char last;               /* the last significant character before, set by the caller */
    size_t wasted;           /* bytes searched in vain */
    char tag[LEX_TAG_BYTES]; /* of the here-document that begins after this line */
    size_t tag_len;
};

/*
 * Where what begins at i and is to be stepped over ends: i when nothing does. For a here-document that is the
 * end of its "<<TAG"; its text is stepped over from the line end, so ask at '\n' too when tag_len is set.
 */
size_t lex_skip(struct lex *l, size_t i, enum lex_kind *ret_kind);
/* The end of the line (its '\n', or the end of the text). */
size_t lex_line_end(const struct lex *l, size_t i);
/* Only blanks before i on its line? */
bool lex_is_line_start(const struct lex *l, size_t i);

/* How a line begins: the greater, the less one cuts there. */
enum lex_inside { LEX_AT_BORDER, LEX_IN_STATEMENT, LEX_IN_PARENS, LEX_IN_TEXT };
/* How each line of the text begins, for the first `count` lines. */
void lex_lines(const struct language *lang, struct span text, uint8_t *ret, size_t stride,
               size_t count);
