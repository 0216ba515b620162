/* headwater serve: runs until SIGTERM or SIGINT, then drains. */
#include "app/cmd.h"
#include "app/options.h"
#include "app/runtime.h"
#include "base/log.h"

#include <signal.h>

int cmd_serve(const struct options *o, struct err *err)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL); /* before any thread is made, so that all inherit it */
    if (options_check(o, err) < 0)
        return EXIT_USAGE;
    struct runtime *r;
    struct runtime_options ro = {.options = o, .serve = true};
    if (runtime_start(&ro, &r, err) < 0)
        return EXIT_FAILED;
    int signal_number;
    do
        sigwait(&set, &signal_number);
    while (signal_number == SIGHUP); /* nothing to reload yet; must not kill */
    LOG_INFO("app", "draining", LOG_S("signal", signal_number == SIGINT ? "INT" : "TERM"));
    runtime_stop(r);
    return EXIT_OK;
}
