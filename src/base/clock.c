#include "base/clock.h"

#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

static _Atomic int64_t shift_mono_ms, shift_wall_ms;

static uint64_t read_ns(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t clock_ns(void)
{
    int64_t shift = atomic_load_explicit(&shift_mono_ms, memory_order_relaxed);
    return read_ns(CLOCK_MONOTONIC) + (uint64_t)(shift * 1000000);
}

uint64_t clock_ms(void)
{
    return clock_ns() / 1000000u;
}

int64_t clock_wall_ms(void)
{
    return (int64_t)(read_ns(CLOCK_REALTIME) / 1000000u) +
           atomic_load_explicit(&shift_wall_ms, memory_order_relaxed);
}

uint64_t clock_cpu_ns(void)
{
    return read_ns(CLOCK_THREAD_CPUTIME_ID);
}

void clock_iso(int64_t wall_ms, char *ret, size_t size)
{
    time_t sec = (time_t)(wall_ms / 1000);
    struct tm tm;
    gmtime_r(&sec, &tm);
    size_t n = strftime(ret, size, "%Y-%m-%dT%H:%M:%S", &tm);
    if (n && n < size)
        snprintf(ret + n, size - n, ".%03dZ", (int)(wall_ms % 1000));
}

void clock_pause_ms(unsigned ms)
{
    struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

void clock_test_shift_ms(int64_t monotonic, int64_t wall)
{
    atomic_store(&shift_mono_ms, monotonic);
    atomic_store(&shift_wall_ms, wall);
}
