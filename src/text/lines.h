#pragma once
/*
 * Line numbers over a text: lines count from 1, end with '\n' (a last line without one counts too).
 * Pure. Thread: any.
 */
#include "base/span.h"

uint32_t lines_count(struct span text);
/* Bytes of lines first..last (inclusive, with their newlines), empty when out of range or first > last. */
struct span lines_slice(struct span text, uint32_t first, uint32_t last);
/* Line number (from 1) of a byte offset. */
uint32_t lines_at(struct span text, size_t offset);
