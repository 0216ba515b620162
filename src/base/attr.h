#pragma once
/*
 * Compiler attributes under names that read well. The only place that spells __attribute__.
 * Names that overrun buffers (strcpy, sprintf, strtok, atoi, alloca …) are refused by tests/lint.
 */
#include <stddef.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define NONNULL __attribute__((nonnull))
#define UNUSED __attribute__((unused))
#define NORETURN __attribute__((noreturn))
#define CLEANUP(fn) __attribute__((cleanup(fn)))
/* For a result that really does not matter; say why beside it. gcc takes no (void) for MUST_CHECK. */
#define IGNORE(call) \
    do {             \
        if (call) {  \
        }            \
    } while (0)
/* A helper that must become part of its caller, to be compiled for the caller's processor. */
#define ALWAYS_INLINE inline __attribute__((always_inline))
/* Code for processors that have more than all of their kind: called where the processor was asked. */
#define TARGET(features) __attribute__((target(features)))
/* typedef float name VECTOR_OF(16): arithmetic on so many bytes at once. */
#define VECTOR_OF(bytes) __attribute__((vector_size(bytes)))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
