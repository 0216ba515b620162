/* headwater serve: starts everything, waits for SIGTERM or SIGINT, drains. */
#include "app/cmd_util.h"
#include "app/options.h"
#include "app/runtime.h"
#include "base/log.h"

#include <signal.h>

int cmd_serve(const struct options *o, struct err *err)
{
    int r = options_check(o, err);
    if (r < 0)
        return EXIT_USAGE;
    /* Blocked before any thread starts: all inherit it, and only sigwait below takes them. */
    sigset_t ends, old;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &ends, &old);
    struct runtime *runtime = NULL;
    struct runtime_options ro = {.options = o, .serve = true};
    r = runtime_start(&ro, &runtime, err);
    if (r == 0) {
        int number = 0;
        do {
            if (sigwait(&ends, &number) != 0)
                number = SIGTERM;
        } while (number == SIGHUP); /* nothing to read again yet, but it must not kill a server */
        LOG_INFO("app", "draining", LOG_S("signal", number == SIGINT ? "SIGINT" : "SIGTERM"));
        /* A second signal ends the process at once, by its default action. */
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        runtime_stop(runtime);
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return exit_code_of(r);
}
