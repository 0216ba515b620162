#pragma once
/*
 * The parts of the local provider. One request at a time per struct local; nothing is shared between requests.
 *
 *   local_words.c     question → kind of question, terms
 *   local_blocks.c    passages → units (sentences, comment sentences, code lines, commands) with their lines
 *   local_rank.c      weights of terms, scores of units and passages
 *   local_lead.c      which passage opens an answer, which sentence may
 *   local_excerpt.c   the lines of a passage that matter
 *   local_compose.c   a plain answer; local_research.c the rounds of a research
 *   local_out.c       pieces to the sink; local_lang.c the fixed texts
 *
 * Order never depends on addresses or hashes: ties go to the better passage, then to the earlier line.
 */
#include "base/limits.h"
#include "providers/chat.h"
#include "text/analyze.h"

/* ---- question ---- */

enum question_kind {
    QUESTION_OTHER,
    QUESTION_WHERE,
    QUESTION_HOW,
    QUESTION_WHAT,
    QUESTION_WHICH, /* also "list the …" */
    QUESTION_WHY,
    QUESTION_WHEN,
    QUESTION_STEPS,    /* how to build, run, install, configure */
    QUESTION_OVERVIEW, /* what is this project */
};

struct term {
    char text[ANALYZER_TERM_MAX];
    uint8_t len;
    bool is_generic; /* says little about the subject: "work", "file" */
    float weight;    /* by rarity in the passages; 0 when it does not occur */
};

struct words {
    struct term items[LIMIT_LOCAL_TERMS_COUNT];
    size_t count;
    enum question_kind kind;
    bool is_about_tests;
};

void words_read(struct words *w, struct span question);
/* Bit of the term, or 0. */
uint64_t words_find(const struct words *w, struct span term);
/* Bits of the terms that occur in a text. */
uint64_t words_mask(const struct words *w, struct span text);
/* Whole words of the question that carry its meaning, cut off *rest one by one. */
bool words_next_shown(struct span *rest, struct span *ret_word);

/* ---- passages cut up ---- */

enum unit_kind {
    UNIT_SENTENCE, /* of prose */
    UNIT_COMMENT,  /* a sentence of a comment */
    UNIT_COMMAND,  /* a fenced block of prose */
    UNIT_CODE,     /* one line of program text */
};

struct unit {
    struct span text;    /* markers stripped; may hold line breaks */
    struct span heading; /* above it: of a section, or what a directive documents */
    uint32_t passage, start_line, end_line;
    enum unit_kind kind;
    uint64_t mask;      /* question terms in it */
    uint64_t near_mask; /* terms of the heading above it */
    float score;
    bool is_item;    /* of a list */
    bool is_leading; /* first sentence of its block */
    bool is_leaning; /* begins with "It", "Each", …: not to be read without what stands before */
    bool is_boilerplate; /* licence, badge, table rule */
    bool is_used;
};

struct part { /* what is known of one passage */
    const struct chat_passage *in;
    size_t first_unit, unit_count;
    uint64_t mask, symbol_mask, path_mask;
    float score;
    uint32_t definition_line; /* line that names the symbol, 0 when unknown */
    bool is_type;             /* defines a class, a struct, … */
    bool is_function;         /* defines a function or a method; not a constructor */
    bool is_constructor;
    bool is_stand_in; /* a mock, fake, simulated … that the question does not ask for */
    bool is_prose;
    bool is_readme;
    bool is_used; /* cited already, now or in the history */
};

struct range {
    struct span path;
    uint32_t start, end;
};

struct local {
    const struct chat_request *request;
    const struct local_texts *texts;
    struct words words;
    struct part *parts; /* owned */
    size_t part_count;
    uint32_t *order;    /* owned; parts by descending score */
    struct unit *units; /* owned */
    size_t unit_count, unit_cap;
    char *clean; /* owned; comment text without its markers, as long as all passages at most */
    size_t clean_len, clean_cap;
    struct range *cited; /* owned; citations of the history */
    size_t cited_count, cited_cap;
    struct local_out *out;
    struct span called; /* a call of this is worth showing; may be empty */
    float total;        /* weight of all terms that occur; 0 when none does */
    bool is_in_list;    /* the last point was a list item: a paragraph needs a blank line first */
    bool is_guarded;    /* rounds before the last must not hold words that end a research */
};

/* 0 or -ERR_NO_MEMORY. */
int blocks_cut(struct local *l) MUST_CHECK;
void rank_all(struct local *l);
/* Does the question name this file? */
bool is_path_asked(const struct local *l, struct span path);
/* Best unused unit of these kinds (bits 1 << UNIT_x) in a part that says something of the question; NULL when none. */
struct unit *rank_best_unit(struct local *l, const struct part *part, unsigned kinds, float least);

bool language_is_prose(struct span language, struct span path);
/* Name for a fence: "python", "c", "" … */
struct span language_for_fence(const struct chat_passage *p);

/* The last part of a qualified name: what its own line is written with. */
struct span last_name(struct span symbol);
/* Does `name` stand in `text` between borders of words? */
bool has_name(struct span text, struct span name);

/* ---- what opens an answer ---- */

/* Does the text begin with a word that points back: "It", "Each", "These", "Otherwise"? */
bool is_leaning(struct span text);
bool begins_small(struct span text);
/* Sets is_type, is_function, is_constructor and is_stand_in; definition_line is known. */
void lead_classify(const struct local *l, struct part *part);
/* Is the question after the code that does something? */
bool wants_code(const struct local *l);
/* The top of a file, without a function: a comment, imports, perhaps a type. */
bool is_file_top(const struct part *part);
/* The best function of the leading part's file where that part does not show how; else the part itself. */
struct part *lead_choose(struct local *l, struct part *first);
/* The first sentence of what a file says of itself; NULL when it says nothing or it cannot stand alone. */
struct unit *file_purpose(struct local *l, const struct part *top);
/* The sentence that this one leans on, or itself; NULL when that one is missing. */
struct unit *sentence_start(const struct local *l, struct unit *u);
/* First part that calls the part's function, of another file if there is one; no test. NULL when none does. */
struct part *lead_caller(struct local *l, const struct part *part);

/* ---- excerpt ---- */

struct excerpt {
    uint32_t start_line, end_line; /* inclusive; 0 when there is nothing to show */
};
/* The whole function that the part is about, or nothing when it is longer than max_lines. */
struct excerpt excerpt_function(const struct local *l, const struct part *part, unsigned max_lines);
struct excerpt excerpt_choose(const struct local *l, const struct part *part, unsigned max_lines);

/* ---- output ---- */

struct local_out {
    const struct chat_sink *sink;
    const _Atomic bool *cancel;
    int failed; /* sticky: the code that ended the answer */
    size_t tokens;
    char line_end; /* last byte sent */
    uint32_t pieces;
};

/* Sends text in pieces of a few words. Inline code and citations are not cut. */
void out_text(struct local_out *o, struct span text);
void out_str(struct local_out *o, const char *text);
/* As one piece, so that no cut can leave the inside behind. */
void out_whole(struct local_out *o, struct span text);
/* White space runs as one space. */
void out_joined(struct local_out *o, struct span text);
/* `text` in backticks, as one piece. */
void out_code(struct local_out *o, struct span text);
void out_citation(struct local_out *o, struct span path, uint32_t start, uint32_t end);
/* A template: %S symbol, %L location (part's path and lines), %N source name. */
void out_template(struct local_out *o, const char *text, const struct part *part, struct span name);
/* Lines start..end of a part in a fence, one piece. */
void out_excerpt(struct local_out *o, const struct part *part, struct excerpt e);
void out_fence(struct local_out *o, struct span language, struct span body);

/* ---- fixed texts ---- */

struct local_texts {
    const char *code;
    const char *lead_where;   /* %S %L */
    const char *lead_code;    /* %S %L */
    const char *lead_defined; /* %S %L */
    const char *lead_closest; /* %S %L */
    const char *lead_place;   /* %L */
    const char *commands;     /* %L, ends with a colon */
    const char *more;
    const char *related;
    const char *no_model;
    const char *nothing;      /* %N */
    const char *nothing_here; /* without a source name */
    const char *looked_for;   /* ends with a colon */
    const char *try_title;    /* ends with a colon */
    const char *try_name;
    const char *try_index;
    const char *try_language;
    const char *plan; /* ends with a colon */
    const char *findings;
    const char *next; /* ends with a colon */
    const char *next_none;
    const char *nothing_new;
    const char *synthesis; /* ends with a colon */
    const char *by_file;
};
/* Never NULL: English for unknown codes. */
const struct local_texts *local_texts(const char *code);
size_t local_texts_count(void);
const struct local_texts *local_texts_at(size_t i);

/* ---- answers ---- */

bool compose_is_safe(const struct local *l, struct span text);
void compose_plain(struct local *l);
void compose_nothing(struct local *l);
void compose_no_model(struct local *l);
/* The part's own answer in a paragraph; false when it had nothing. */
void compose_lead(struct local *l, struct part *part);
/* One list item about the part; false when nothing could be said. */
bool compose_point(struct local *l, struct part *part, bool with_code);
/* Parts not used yet; `with_lines` false writes paths and symbols only. */
void compose_related(struct local *l, const char *title, size_t max, bool with_lines);
/* 0 or -ERR_NO_MEMORY. */
int research_answer(struct local *l) MUST_CHECK;
