#pragma once
/*
 * Token counts for budgets and estimates, without a downloaded vocabulary: an estimate that follows how
 * byte-pair encoders cut (words, word pieces, digits, punctuation, CJK characters). Pure. Thread: any.
 * Measured against cl100k-style counts it errs within about 10 % on English prose and code; callers that need
 * the exact number take it from the provider.
 */
#include "base/span.h"

size_t tokens_estimate(struct span text);
/* Longest prefix, at a character border, that is estimated at no more than max tokens. */
struct span tokens_cut(struct span text, size_t max);
