#pragma once
/*
 * Hashes: hash_bytes for tables (keyed at start so that input cannot aim at collisions), crc32c for
 * stored bytes, SHA-256 for content identity (citations, files). Thread: any.
 */
#include "base/span.h"

#define SHA256_SIZE 32
#define SHA256_HEX 65 /* with NUL */

uint64_t hash_bytes(const void *ptr, size_t len);
/* The same on every machine and run: for what is stored on disk. */
uint64_t hash_stable(const void *ptr, size_t len);
uint32_t crc32c(uint32_t crc, const void *ptr, size_t len); /* start with 0 */
void sha256(const void *ptr, size_t len, uint8_t ret[SHA256_SIZE]);
void sha256_hex(const void *ptr, size_t len, char ret[SHA256_HEX]);
void hex_encode(const uint8_t *ptr, size_t len, char *ret /* 2*len+1 */);
/* Same time whatever the bytes: for secrets. */
bool equal_constant_time(struct span a, struct span b);
/* Unguessable lower-case id of `chars` characters (base 32, 5 bits each) and NUL. Aborts if the kernel has no entropy. */
void random_id(char *ret, size_t chars);
void random_bytes(void *ret, size_t len);
