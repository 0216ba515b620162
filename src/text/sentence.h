#pragma once
/*
 * Cuts prose into sentences: at . ! ? and their CJK forms followed by space or the end, at blank lines and at list
 * items; not after common abbreviations, initials, numbers or inside `code` and URLs. Pure. Thread: any.
 */
#include "base/span.h"

/* Next sentence (trimmed, never empty) cut off *rest; false at the end. */
bool sentence_next(struct span *rest, struct span *ret_sentence);
