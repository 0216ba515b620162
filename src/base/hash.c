#include "base/hash.h"

#include "base/bug.h"

#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/random.h>

static uint64_t load64(const unsigned char *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

/* Multiply-and-fold, the core of wyhash-style hashes: 128-bit product, halves xored. */
static uint64_t fold(uint64_t a, uint64_t b)
{
    __uint128_t m = (__uint128_t)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static uint64_t hash_seeded(const void *ptr, size_t len, uint64_t seed)
{
    const uint64_t k0 = 0x9e3779b97f4a7c15u, k1 = 0xbf58476d1ce4e5b9u;
    const unsigned char *p = ptr;
    uint64_t h = seed ^ fold((uint64_t)len ^ k0, k1);
    while (len >= 16) {
        h = fold(load64(p) ^ k0 ^ h, load64(p + 8) ^ k1);
        p += 16;
        len -= 16;
    }
    unsigned char tail[16] = {0};
    if (len)
        memcpy(tail, p, len);
    h = fold(load64(tail) ^ k0 ^ h, load64(tail + 8) ^ k1);
    return fold(h ^ k0, k1);
}

uint64_t hash_stable(const void *ptr, size_t len)
{
    return hash_seeded(ptr, len, 0x5851f42d4c957f2du);
}

uint64_t hash_bytes(const void *ptr, size_t len)
{
    static _Atomic uint64_t seed;
    uint64_t s = atomic_load_explicit(&seed, memory_order_relaxed);
    if (!s) {
        uint64_t fresh, expected = 0;
        random_bytes(&fresh, sizeof fresh);
        fresh |= 1;
        atomic_compare_exchange_strong(&seed, &expected, fresh);
        s = atomic_load(&seed);
    }
    return hash_seeded(ptr, len, s);
}

static uint32_t crc_bytewise(uint32_t crc, const unsigned char *p, size_t len)
{
    while (len--) {
        crc ^= *p++;
        for (int k = 0; k < 8; k++)
            crc = (crc >> 1) ^ (0x82f63b78u & (0u - (crc & 1)));
    }
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc_sse42(uint32_t crc, const unsigned char *p,
                                                            size_t len)
{
    uint64_t c = crc;
    while (len >= 8) {
        c = __builtin_ia32_crc32di(c, load64(p));
        p += 8;
        len -= 8;
    }
    while (len--)
        c = __builtin_ia32_crc32qi((uint32_t)c, *p++);
    return (uint32_t)c;
}
#endif

uint32_t crc32c(uint32_t crc, const void *ptr, size_t len)
{
    crc = ~crc;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return ~crc_sse42(crc, ptr, len);
#endif
    return ~crc_bytewise(crc, ptr, len);
}

void sha256(const void *ptr, size_t len, uint8_t ret[SHA256_SIZE])
{
    unsigned int n = SHA256_SIZE;
    BUG_ON(!EVP_Digest(ptr ? ptr : "", len, ret, &n, EVP_sha256(), NULL));
}

void hex_encode(const uint8_t *ptr, size_t len, char *ret)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        ret[2 * i] = digits[ptr[i] >> 4];
        ret[2 * i + 1] = digits[ptr[i] & 15];
    }
    ret[2 * len] = 0;
}

void sha256_hex(const void *ptr, size_t len, char ret[SHA256_HEX])
{
    uint8_t raw[SHA256_SIZE];
    sha256(ptr, len, raw);
    hex_encode(raw, sizeof raw, ret);
}

bool equal_constant_time(struct span a, struct span b)
{
    unsigned diff = a.len != b.len;
    for (size_t i = 0; i < a.len; i++)
        diff |= (unsigned)(unsigned char)(a.ptr[i] ^ (b.len ? b.ptr[i % b.len] : 0));
    return diff == 0;
}

void random_bytes(void *ret, size_t len)
{
    char *p = ret;
    while (len) {
        ssize_t n = getrandom(p, len, 0);
        BUG_ON(n <= 0);
        p += n;
        len -= (size_t)n;
    }
}

void random_id(char *ret, size_t chars)
{
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
    uint8_t raw[64];
    BUG_ON(chars > sizeof raw);
    random_bytes(raw, chars);
    for (size_t i = 0; i < chars; i++)
        ret[i] = alphabet[raw[i] & 31];
    ret[chars] = 0;
}
