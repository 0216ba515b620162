#pragma once
/*
 * Reads the messages of a chat request: plain chat or a round of a research, what is asked, and which earlier turns
 * count (protocols: DeepWiki chat, "History, deep research"). Pure but for the memory it returns. Thread: any.
 *
 * Where we differ from the original, on purpose:
 *   - system messages are skipped, so a leading one does not destroy the history;
 *   - a continue turn is a message that says to continue the research and nothing else, so a topic may contain
 *     the words "continue" and "research";
 *   - of several user messages the topic is the first one that carries the tag, if any does.
 */
#include "base/err.h"
#include "providers/chat.h"

#define RESEARCH_TAG "[DEEP RESEARCH]"

struct research {
    bool is_active;   /* some message carries the tag */
    bool is_continue; /* the last message only says to go on */
    unsigned round;   /* 0 = plain chat; else assistant messages + 1 */
    struct span
        question; /* to search and to answer: the topic in a continue turn; without the tag, trimmed */
    struct chat_turn *
        turns; /* owned; user, assistant, user, assistant, … before the last message; texts as sent, borrowed */
    size_t turn_count; /* even */
    char *text;        /* owned; what `question` may point into */
};

/*
 * 0; -ERR_INVALID: no messages, or the last is not the user's; -ERR_LIMIT: more than LIMIT_MESSAGES_COUNT;
 * -ERR_NO_MEMORY. *ret borrows from the messages. On failure nothing is to be released.
 */
int research_read(const struct chat_turn *messages, size_t count, struct research *ret,
                  struct err *err) MUST_CHECK;
void research_done(struct research *r);
