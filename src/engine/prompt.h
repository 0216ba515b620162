#pragma once
/*
 * Builds the prompt that a model gets: one text, in the shape that the DeepWiki backends send (system prompt,
 * conversation, current file, context or a note, query), within a token budget. Deterministic. Thread: any.
 *
 * Budget: the system prompt and the query always stay whole. Of what is left the current file may take a third (cut at
 * a line), the latest turns of the conversation a third, and passages, best first, the rest. A passage fits whole or is left out.
 * Token counts are estimates (text/tokens.h).
 *
 * A passage is preceded by a line that gives its lines ("Lines 10-20 (symbol):"), so that a model can cite it.
 */
#include "base/buf.h"
#include "base/err.h"
#include "providers/chat.h"

enum prompt_note {
    PROMPT_NOTE_NONE, /* context is given when there is any; without, as NO_RETRIEVAL */
    PROMPT_NOTE_NO_RETRIEVAL,
    PROMPT_NOTE_TOO_LARGE, /* second attempt without context, after the model refused the length */
};

struct prompt_input {
    struct span question;
    const struct chat_turn *turns; /* user, assistant, … as research_read pairs them */
    size_t turn_count;
    const struct chat_passage *passages; /* best first */
    size_t passage_count;
    struct span file_path, file_text; /* the file the question is about; both may be empty */
    struct span repo_url;
    const char *repo_type; /* "github", "local", …; NULL = not said */
    const char *language;  /* code; NULL, "" or unknown = English */
    unsigned research_round;
    const char *suffix;    /* after everything: what switches a model's thinking off; or NULL */
    size_t token_budget;   /* 0 = 24000 */
    enum prompt_note note; /* NO_RETRIEVAL and TOO_LARGE leave all passages out */
};

struct prompt {
    struct buf text;
    uint32_t *passages; /* owned; indexes of those that fitted, in the order of the text */
    size_t passage_count;
    size_t turn_count; /* turns that fitted (the latest) */
    size_t tokens;     /* estimate of the whole */
    bool is_file_cut;
};

/* 0; -ERR_TOO_LARGE past LIMIT_PROMPT_BYTES; -ERR_NO_MEMORY. */
int prompt_build(const struct prompt_input *in, struct prompt *ret, struct err *err) MUST_CHECK;
void prompt_done(struct prompt *p);

/* "Japanese (日本語)" for "ja"; "English" for what is not known. */
const char *prompt_language_name(const char *code);
/* Text after the last '/'; empty when the URL ends with one. */
struct span prompt_repo_name(struct span repo_url);
/* The system prompt alone (engine/prompt_text.c has the words). */
void prompt_put_system(struct buf *out, const struct prompt_input *in);
