#pragma once
/*
 * Memory. Two policies, visible at the call:
 *   mem_alloc()  small and fixed sizes; aborts when memory is gone (nothing sensible is left to do)
 *   mem_try()    any size that came from outside (network, file, model); NULL must be handled
 * mem_try and friends are fault-injection sites (base/fault.h). All memory is released with mem_free.
 * Thread: any.
 */
#include "base/attr.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroed memory; aborts on failure. */
void *mem_alloc(size_t size) MUST_CHECK;
char *mem_strdup(const char *s) MUST_CHECK;

/* Zeroed memory or NULL. */
void *mem_try(size_t size) MUST_CHECK;
/* Zeroed array of count items, NULL also on overflow. */
void *mem_try_array(size_t count, size_t size) MUST_CHECK;
/* Grows or shrinks; the old block stays valid when NULL is returned. New bytes are not zeroed. */
void *mem_try_realloc(void *ptr, size_t size) MUST_CHECK;
/* NUL-terminated copy of len bytes, or NULL. */
char *mem_try_strndup(const char *ptr, size_t len) MUST_CHECK;

/* free(NULL) is fine. */
void mem_free(void *ptr);
void mem_freep(void *ptr_to_ptr); /* for CLEANUP(mem_freep) on pointer locals */

/* Overflow-checked size arithmetic: false when the result does not fit. */
static inline bool add_size(size_t a, size_t b, size_t *ret)
{
    return !__builtin_add_overflow(a, b, ret);
}
static inline bool mul_size(size_t a, size_t b, size_t *ret)
{
    return !__builtin_mul_overflow(a, b, ret);
}

/* Moves a pointer out of its holder, which becomes NULL. */
#define take_ptr(p)                 \
    __extension__({                 \
        __typeof__(p) taken_ = (p); \
        (p) = NULL;                 \
        taken_;                     \
    })
