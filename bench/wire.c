/* wire.c - what a login costs on the wire between reader and card: exchanges and bytes, from SELECT
 * to a finished handshake, PIN and (tls13) one ticket included, without HTTP; the first login, and
 * the second, which goes on from the session that the first one left in the card. The card is the
 * real card, issued by the real bank into a temporary folder, and torn out after each line; the
 * server is the bank's own TLS context. Not a measure of time: the numbers are the same on every
 * machine.
 *
 * Fails when a bar is missed, so that it can stand in a test. */
#include "bench/login.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#define APDUS_MAX    14u   /* tls13 with P-256, in all */
#define BYTES_MAX    2400u /* the same, both ways, with headers and status words */
#define OVERHEAD_MAX 120u  /* thousandths of the bare TLS bytes: 12 % */

/* The second login, with either key; SELECT and PIN count as well. */
static const struct {
    unsigned apdus, bytes;
} resumed_max[LINK_PROFILE_COUNT + 1] = {
    [LINK_PROFILE_TLS13] = {8, 1000},
    [LINK_PROFILE_ECDHE] = {6, 800},
    [LINK_PROFILE_RSA] = {6, 800},
};

static enum cw_err measure(struct login_scene *s, bool again, struct login_result *r,
                           struct say *why)
{
    struct reader *reader = NULL;
    enum cw_err err = reader_open(s->card, &reader, why);
    if (err == CW_OK)
        err = login_measure(s, reader, again, r, why);
    reader_free(&reader);
    return err;
}

/* Holds a result against the bars; says which one it misses. */
static bool holds(const struct login_result *r, const char *key, uint64_t bytes, uint64_t over)
{
    const char *profile = link_profile_name(r->profile);
    unsigned apdus_max = APDUS_MAX, bytes_max = BYTES_MAX;
    if (r->resumed) {
        apdus_max = resumed_max[r->profile].apdus;
        bytes_max = resumed_max[r->profile].bytes;
    } else if (over * 1000 > r->tls_bytes * OVERHEAD_MAX) {
        fprintf(stderr, "wire: %s with %s: more than 12 %% over bare TLS\n", profile, key);
        return false;
    } else if (r->profile != LINK_PROFILE_TLS13 || r->key != LINK_KEY_TLS_P256) {
        return true;
    }
    if (r->reader.apdus <= apdus_max && bytes <= bytes_max)
        return true;
    fprintf(stderr, "wire: %s with %s%s: more than %u APDUs or %u bytes\n", profile, key,
            r->resumed ? ", resumed" : "", apdus_max, bytes_max);
    return false;
}

/* Prints the line of a result; false when it misses a bar. */
static bool show(const struct login_result *r, bool json)
{
    uint64_t bytes = r->reader.bytes_to_card + r->reader.bytes_from_card;
    uint64_t over = bytes > r->tls_bytes ? bytes - r->tls_bytes : 0;
    const char *key = r->key == LINK_KEY_TLS_P256 ? "p256" : "rsa2048";
    if (json)
        printf("{\"profile\":\"%s\",\"key\":\"%s\",\"resumed\":%s,\"apdus\":%llu,"
               "\"bytes_to_card\":%llu,\"bytes_from_card\":%llu,\"tls_bytes\":%llu}\n",
               link_profile_name(r->profile), key, r->resumed ? "true" : "false",
               (unsigned long long)r->reader.apdus, (unsigned long long)r->reader.bytes_to_card,
               (unsigned long long)r->reader.bytes_from_card, (unsigned long long)r->tls_bytes);
    else
        printf("%-6s %-8s %-7s %5llu APDUs %6llu bytes through the reader, %6llu of TLS: %llu.%llu "
               "%% more\n",
               link_profile_name(r->profile), key, r->resumed ? "resumed" : "full",
               (unsigned long long)r->reader.apdus, (unsigned long long)bytes,
               (unsigned long long)r->tls_bytes,
               (unsigned long long)(over * 1000 / r->tls_bytes / 10),
               (unsigned long long)(over * 1000 / r->tls_bytes % 10));
    return holds(r, key, bytes, over);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    struct login_scene scene = {0};
    struct say why = {""};
    bool json = false, good = true;
    int c;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'j') {
            json = true;
        } else {
            fputs("Usage: wire [--json]\nBytes and exchanges of a login, for each profile and key. "
                  "Exit 1 when a bar is missed.\n",
                  c == 'h' ? stdout : stderr);
            return c == 'h' ? 0 : 2;
        }
    }
    (void)setenv("CARDWIRE_CARD_NOSYNC", "1", 1); /* nobody pulls this card's plug */
    enum cw_err err = login_scene(&scene, &why);
    for (int p = 1; err == CW_OK && p <= LINK_PROFILE_COUNT; p++)
        for (int k = LINK_KEY_TLS_P256; err == CW_OK && k <= LINK_KEY_TLS_RSA; k++)
            for (int again = 0; err == CW_OK && again < 2; again++) {
                struct login_result r = {.profile = (enum link_profile)p, .key = (enum link_key)k};
                err = measure(&scene, again == 1, &r, &why);
                if (err == CW_OK && !show(&r, json))
                    good = false;
            }
    login_strike(&scene);
    if (err != CW_OK)
        fprintf(stderr, "wire: %s\n", why.text);
    return err == CW_OK && good ? EXIT_SUCCESS : EXIT_FAILURE;
}
