/* line.c - how long a login takes on a slow line between reader and card: SELECT, PIN and
 * handshake, the first and the resumed one, at each speed; against the least that its bytes could
 * take. The card and the bank are the real ones, the link's two ends too; time is counted, not
 * waited for (slow.h), so the numbers are the same on every machine. What the card computes takes
 * no time here.
 *
 * There are two minima. Of TLS alone: as if SELECT, PIN and headers were free. Of the APDUs: all
 * bytes that commands and responses have, each at the least time of a byte at that speed, without
 * blocks and turns of the line; the bar is over this one.
 *
 * Fails when a login takes more than 1.25 times its minimum, so that it can stand in a test. */
#include "bench/login.h"
#include "bench/slow.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#define RATIO_MAX 1250u /* thousandths */

struct speed {
    const char *link;
    unsigned rate; /* bits per second, as the standards name it */
    uint8_t di;    /* T=1: over 512 cycles; 0: the default */
};

static const struct speed speeds[] = {
    {"t1", 9600, 0}, {"t1", 55800, 8}, {"t1", 111600, 16}, {"t1", 223200, 32}, {"t1", 446400, 64}};

static enum cw_err measure(struct login_scene *scene, const struct speed *speed, bool again,
                           struct login_result *r, struct slow_times *times, struct say *why)
{
    struct reader *reader = NULL;
    const struct slow_times *seen;
    enum cw_err err = reader_open(scene->card, &reader, why);
    if (err == CW_OK)
        err = slow_t1_open(reader, speed->di, &reader, &seen, why);
    if (err != CW_OK)
        return err;
    err = login_measure(scene, reader, again, r, why);
    *times = *seen;
    reader_free(&reader);
    return err;
}

static bool show(const struct speed *speed, const struct login_result *r,
                 const struct slow_times *t, bool json)
{
    uint64_t apdu_bytes = r->reader.bytes_to_card + r->reader.bytes_from_card;
    uint64_t us = (t->ns - t->activation) / 1000;
    uint64_t least_us = r->tls_bytes * t->byte_ps / 1000000;
    uint64_t apdu_us = apdu_bytes * t->byte_ps / 1000000;
    uint64_t ratio = us * 1000 / least_us, over_apdu = us * 1000 / apdu_us;
    const char *key = r->key == LINK_KEY_TLS_P256 ? "p256" : "rsa2048";
    const char *profile = link_profile_name(r->profile);
    printf(json ? "{\"link\":\"%s\",\"rate\":%u,\"profile\":\"%s\",\"key\":\"%s\",\"login\":\"%s\","
                  "\"apdus\":%llu,\"blocks\":%u,\"tls_bytes\":%llu,\"apdu_bytes\":%llu,"
                  "\"line_bytes\":%u,\"ms\":%.1f,\"minimum_ms\":%.1f,\"ratio\":%.3f,"
                  "\"ratio_apdu\":%.3f,\"activation_ms\":%.1f}\n"
                : "%-3s %6u  %-5s %-7s %-7s %2llu APDUs %3u blocks %5llu %5llu %5u bytes %8.1f ms, "
                  "at least %8.1f: %.3f (%.3f); activation %.1f ms\n",
           speed->link, speed->rate, profile, key, r->resumed ? "resumed" : "full",
           (unsigned long long)r->reader.apdus, t->blocks, (unsigned long long)r->tls_bytes,
           (unsigned long long)apdu_bytes, t->bytes, (double)us / 1000, (double)least_us / 1000,
           (double)ratio / 1000, (double)over_apdu / 1000, (double)t->activation / 1e6);
    if (over_apdu <= RATIO_MAX)
        return true;
    fprintf(stderr, "line: %s at %u, %s with %s: more than 1.25 times the minimum\n", speed->link,
            speed->rate, profile, key);
    return false;
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
            fputs("Usage: line [--json]\nTime of a login on slow lines, for each profile, key and "
                  "speed. Exit 1 when a bar is missed.\n",
                  c == 'h' ? stdout : stderr);
            return c == 'h' ? 0 : 2;
        }
    }
    (void)setenv("CARDWIRE_CARD_NOSYNC", "1", 1); /* nobody pulls this card's plug */
    enum cw_err err = login_scene(&scene, &why);
    for (size_t s = 0; err == CW_OK && s < sizeof speeds / sizeof *speeds; s++)
        for (int p = 1; err == CW_OK && p <= LINK_PROFILE_COUNT; p++)
            for (int k = LINK_KEY_TLS_P256; err == CW_OK && k <= LINK_KEY_TLS_RSA; k++)
                for (int again = 0; err == CW_OK && again < 2; again++) {
                    struct login_result r = {.profile = (enum link_profile)p,
                                             .key = (enum link_key)k};
                    struct slow_times times;
                    err = measure(&scene, &speeds[s], again == 1, &r, &times, &why);
                    if (err == CW_OK && !show(&speeds[s], &r, &times, json))
                        good = false;
                }
    login_strike(&scene);
    if (err != CW_OK)
        fprintf(stderr, "line: %s\n", why.text);
    return err == CW_OK && good ? EXIT_SUCCESS : EXIT_FAILURE;
}
