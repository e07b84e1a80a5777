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

#include <stdio.h>
#include <string.h>

#define RATIO_MAX 1250u /* thousandths */

static bool show(const struct slow_speed *speed, const struct login_result *r,
                 const struct slow_times *t, bool json)
{
    uint64_t apdu_bytes = r->reader.bytes_to_card + r->reader.bytes_from_card;
    uint64_t us = (t->ns - t->activation) / 1000;
    uint64_t least_us = r->tls_bytes * t->byte_ps / 1000000;
    uint64_t apdu_us = apdu_bytes * t->byte_ps / 1000000;
    uint64_t ratio = us * 1000 / least_us, over_apdu = us * 1000 / apdu_us;
    const char *key = login_key_name(r->key);
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

struct bench {
    const struct slow_speed *speed;
    bool json, good;
};

static enum cw_err one(void *ctx, struct login_scene *s, bool again, struct login_result *r,
                       struct say *why)
{
    struct bench *b = ctx;
    struct reader *reader = NULL;
    const struct slow_times *times = NULL;
    bool tcl = strcmp(b->speed->link, "tcl") == 0;
    char uri[sizeof s->dir + 40];
    snprintf(uri, sizeof uri, "inproc%s:%s/card", tcl ? "-contactless" : "", s->dir);
    enum cw_err err = reader_open(uri, &reader, why);
    if (err == CW_OK)
        err = (tcl ? slow_tcl_open : slow_t1_open)(reader, b->speed->speed, &reader, &times, why);
    if (err != CW_OK)
        return err;
    err = login_measure(s, reader, again, r, why);
    if (err == CW_OK && !show(b->speed, r, times, b->json))
        b->good = false;
    reader_free(&reader);
    return err;
}

int main(int argc, char **argv)
{
    struct login_scene scene = {0};
    struct say why = {""};
    struct bench b = {.good = true};
    int code = login_options(argc, argv,
                             "Usage: line [--json]\nTime of a login on slow lines, for each "
                             "profile, key and speed. Exit 1 when a bar is missed.\n",
                             &b.json);
    if (code >= 0)
        return code;
    enum cw_err err = login_scene(&scene, NULL, &why);
    for (size_t i = 0; err == CW_OK && i < SLOW_SPEEDS; i++) {
        b.speed = &slow_speeds[i];
        err = login_each(&scene, one, &b, &why);
    }
    return login_end(&scene, "line", err, b.good, &why);
}
