#include "base/bug.h"

#include <execinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void bug_abort(const char *file, int line, const char *what)
{
    void *frames[48];
    fprintf(stderr, "headwater: bug: %s at %s:%d\n", what, file, line);
    backtrace_symbols_fd(frames, backtrace(frames, 48), STDERR_FILENO);
    abort();
}
