#pragma once
/*
 * Fault injection: named places where a call may be made to fail, so that tests can walk every
 * error path. Armed by fault_arm() in unit tests or by HEADWATER_FAULT=site:nth[:repeat] in the
 * environment of the whole program (read once by fault_arm_from_env, called by app/main.c).
 * Unarmed, a site costs one relaxed load. Thread: any.
 */
#include <stdbool.h>
#include <stdint.h>

enum fault_site {
    FAULT_NONE,
    FAULT_ALLOC,  /* mem_try* */
    FAULT_READ,   /* file and socket reads */
    FAULT_WRITE,  /* file and socket writes */
    FAULT_ACCEPT, /* accept */
    FAULT_SYNC,   /* fdatasync, fsync */
    FAULT_SQL,    /* sqlite step */
    FAULT_SITES
};

/* The nth call (from 1) at the site fails, and the `repeat` calls after it. nth 0 disarms. */
void fault_arm(enum fault_site site, uint64_t nth, uint64_t repeat);
void fault_disarm(void);
/* Reads "alloc:3" or "write:1:100"; returns false when the text is not of that form. */
bool fault_arm_from_text(const char *text);
/* True when this call must fail. */
bool fault_hit(enum fault_site site);
/* Calls seen at the site since it was armed: lets a loop know that it has passed the last one. */
uint64_t fault_seen(enum fault_site site);
