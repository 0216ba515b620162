#pragma once
/*
 * The table of languages: how a file is recognised (extension, name, "#!" line) and how its text is cut.
 * Text that nothing recognises is "text". Pure. Thread: any.
 */
#include "ingest/ingest.h"

enum scanner {
    SCAN_NONE,
    SCAN_BRACE,    /* { } blocks */
    SCAN_INDENT,   /* Python: a block is what is indented more */
    SCAN_END,      /* keyword … end */
    SCAN_SHELL,    /* name() { … } */
    SCAN_SQL,      /* statements */
    SCAN_MARKDOWN, /* # headings and underlined ones */
    SCAN_RST,      /* underlined headings */
    SCAN_ASCIIDOC, /* = headings */
    SCAN_ORG,      /* * headings */
    SCAN_TEX,      /* \section{…} */
    SCAN_PARTS,    /* <script>, <style>, <template> of a page or component */
};

enum lex_flags {
    LEX_SLASH = 1 << 0,          /* // comment */
    LEX_HASH = 1 << 1,           /* # comment */
    LEX_DASH = 1 << 2,           /* -- comment */
    LEX_PERCENT = 1 << 3,        /* % comment */
    LEX_SEMI = 1 << 4,           /* ; comment */
    LEX_BLOCK = 1 << 5,          /* slash-star comment */
    LEX_NESTED = 1 << 6,         /* … which nests */
    LEX_CHAR = 1 << 7,           /* 'c' is one character */
    LEX_SQUOTE = 1 << 8,         /* 'string' */
    LEX_BACKTICK = 1 << 9,       /* `raw` */
    LEX_TEMPLATE = 1 << 10,      /* `text ${code}` */
    LEX_TRIPLE = 1 << 11,        /* """text""" */
    LEX_PREPROC = 1 << 12,       /* # directives, \ continues a line */
    LEX_REGEX = 1 << 13,         /* slash-delimited literals */
    LEX_RUST = 1 << 14,          /* r#"raw"#, 'lifetimes */
    LEX_CPP = 1 << 15,           /* R"x(raw)x" */
    LEX_NO_SEMI = 1 << 16,       /* a line end ends a statement too */
    LEX_AT_STRING = 1 << 17,     /* @"verbatim" */
    LEX_MULTI = 1 << 18,         /* quoted strings go on over line ends */
    LEX_HEREDOC = 1 << 19,       /* <<TAG … TAG */
    LEX_TRIPLE_SINGLE = 1 << 20, /* three single quotes … three */
    LEX_DOLLAR = 1 << 21,        /* "text ${code}" */
    LEX_PAREN_CODE = 1 << 22,    /* "text \(code)", #"raw"# */
};

struct language {
    const char *name;
    enum chunk_kind kind;
    enum scanner scanner;
    unsigned lex;          /* enum lex_flags */
    const char *ctags_ext; /* ending that makes ctags choose the right parser; NULL: not asked */
};

/* By path and, for names without a known ending, the first line. Never NULL. */
const struct language *language_of(struct span path, struct span text);
/* By name ("python"), or NULL. */
const struct language *language_named(struct span name);
/* Iterates over the table: NULL past its end. */
const struct language *language_at(size_t i);
