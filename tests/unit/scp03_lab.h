/* scp03_lab.h - two ends of a secure channel on a table, for unit tests. For one test program each,
 * which includes unit.h first. */
#ifndef CARDWIRE_TESTS_UNIT_SCP03_LAB_H
#define CARDWIRE_TESTS_UNIT_SCP03_LAB_H

#include "bank/scp03_openssl.h"
#include "card/scp03_mbedtls.h"
#include "proto/scp03.h"
#include "tests/unit/card_lab.h"

#include <stdio.h>
#include <string.h>

#define MOST 2048u /* bytes of data of a command */

static const struct scp03_crypto *const engines[] = {&scp03_openssl, &scp03_mbedtls};
#define ENGINES (sizeof engines / sizeof *engines)

static const uint8_t levels[] = {0x00, 0x01, 0x03, 0x11, 0x13, 0x33};
#define LEVELS (sizeof levels)

/* A card has power: PSA needs its random numbers, its store and its heap. */
static inline int power_up(void **state)
{
    static struct lab lab;
    lab_init(&lab);
    *state = &lab;
    return 0;
}

static inline int power_down(void **state)
{
    lab_free(*state);
    return 0;
}

static inline size_t bytes_of(const char *hex, uint8_t *out)
{
    size_t n = 0;
    for (unsigned v; sscanf(hex + 2 * n, "%2x", &v) == 1; n++)
        out[n] = (uint8_t)v;
    assert_int_equal(hex[2 * n], '\0');
    return n;
}

static inline void assert_hex(const uint8_t *bytes, size_t len, const char *hex)
{
    uint8_t expected[256];
    assert_int_equal(len, bytes_of(hex, expected));
    assert_memory_equal(bytes, expected, len);
}

static inline struct scp03_keys test_keys(void)
{
    struct scp03_keys k;
    for (size_t i = 0; i < SCP03_KEY_LEN; i++) {
        k.enc[i] = (uint8_t)i;
        k.mac[i] = (uint8_t)(0x10 + i);
        k.dek[i] = (uint8_t)(0x20 + i);
    }
    return k;
}

/* A pair of ends with fixed challenges, both open. */
struct pair {
    struct scp03 host, card;
};

/* What crosses the reader is noted in `note`, if it is given. */
static inline struct pair pair_open(const struct scp03_crypto *host,
                                    const struct scp03_crypto *card, uint8_t level,
                                    struct buf_writer *note)
{
    struct pair p = {0};
    struct scp03_keys keys = test_keys();
    struct scp03_update u = {.version = 0x30, .i = SCP03_I_FULL};
    uint8_t challenge[8], bytes[SCP03_UPDATE_MAX], data[SCP03_AUTHENTICATE_LEN];
    struct apdu_command cmd;
    struct buf_writer w;
    for (size_t i = 0; i < 8; i++) {
        challenge[i] = (uint8_t)(0xA0 + i);
        u.challenge[i] = (uint8_t)(0xC0 + i);
    }
    for (size_t i = 0; i < sizeof u.diversification; i++)
        u.diversification[i] = (uint8_t)i;
    assert_int_equal(scp03_card_begin(&p.card, card, &keys, challenge, &u), CW_OK);
    buf_writer_init(&w, bytes, sizeof bytes);
    scp03_update_write(&u, &w);
    assert_int_equal(w.len, 29);
    assert_int_equal(scp03_update_parse(bytes, w.len, &u), CW_OK);
    assert_int_equal(scp03_host_begin(&p.host, host, &keys, challenge, &u), CW_OK);
    assert_int_equal(scp03_host_authenticate(&p.host, level, data, &cmd), CW_OK);
    assert_int_equal(scp03_card_authenticate(&p.card, &cmd, 0), CW_OK);
    if (note != NULL) {
        buf_put_bytes(note, bytes, w.len);
        buf_put_bytes(note, data, sizeof data);
    }
    return p;
}

#define SCP03_TEST(name) cmocka_unit_test_setup_teardown(name, power_up, power_down)

#endif
