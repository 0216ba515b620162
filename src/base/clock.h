#pragma once
/*
 * Time. Monotonic for durations and deadlines; wall clock only for what people and records see.
 * Tests may add an offset to either clock (clock_test_shift_*), e.g. to jump a day. Thread: any.
 */
#include <stddef.h>
#include <stdint.h>

uint64_t clock_ns(void);     /* monotonic */
uint64_t clock_ms(void);     /* monotonic */
int64_t clock_wall_ms(void); /* Unix time */
uint64_t clock_cpu_ns(void); /* CPU time of this thread */
/* "2026-11-21T01:02:03.456Z" into at least 32 bytes. */
void clock_iso(int64_t wall_ms, char *ret, size_t size);

/* Sleeps: workers only, and only to poll for something that has no event. */
void clock_pause_ms(unsigned ms);

void clock_test_shift_ms(int64_t monotonic, int64_t wall);
