#include "base/mem.h"

#include "base/bug.h"
#include "base/fault.h"

#include <stdlib.h>
#include <string.h>

void *mem_alloc(size_t size)
{
    void *p = calloc(1, size ? size : 1);
    if (!p)
        bug_abort(__FILE__, __LINE__, "out of memory");
    return p;
}

char *mem_strdup(const char *s)
{
    size_t n = strlen(s) + 1;
    char *p = mem_alloc(n);
    memcpy(p, s, n);
    return p;
}

void *mem_try(size_t size)
{
    if (fault_hit(FAULT_ALLOC))
        return NULL;
    return calloc(1, size ? size : 1);
}

void *mem_try_array(size_t count, size_t size)
{
    size_t total;
    if (!mul_size(count, size, &total))
        return NULL;
    return mem_try(total);
}

void *mem_try_realloc(void *ptr, size_t size)
{
    if (fault_hit(FAULT_ALLOC))
        return NULL;
    return realloc(ptr, size ? size : 1);
}

char *mem_try_strndup(const char *ptr, size_t len)
{
    size_t n;
    if (!add_size(len, 1, &n))
        return NULL;
    char *p = mem_try(n);
    if (p && len)
        memcpy(p, ptr, len);
    return p;
}

void mem_free(void *ptr)
{
    free(ptr);
}

void mem_freep(void *ptr_to_ptr)
{
    void **p = ptr_to_ptr;
    free(*p);
    *p = NULL;
}
