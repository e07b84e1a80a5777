/* chip.c - what the firmware needs of its chip: flash, RAM that is taken for good, the deepest heap
 * and stack, and the time counted by the chip, of each login (profile, key, full and resumed).
 * Takes a chip with a blank card at READER, which it issues; scripts/chip --icount 0 makes its
 * ticks instructions.
 *
 * Fails when flash or RAM are beyond the budget, so that it can stand in a test. */
#include "bench/login.h"

#include "base/buf.h"
#include "proto/ber.h"

#include <stdio.h>
#include <string.h>

#define FLASH_MAX (128u * 1024u)
#define RAM_MAX   (32u * 1024u)

struct use {
    uint32_t flash, fixed, heap, pool, stack;
    uint64_t ticks;
    uint32_t ticks_s;
};

static enum cw_err ask(struct reader *r, const uint8_t *command, size_t len, uint8_t *out,
                       size_t cap, size_t *got, struct say *why)
{
    enum cw_err err = reader_transceive(r, command, len, out, cap, got, why);
    if (err == CW_OK && (*got < 2 || out[*got - 2] != 0x90))
        err = say_fail(why, CW_ERR_UNSUPPORTED, "this card does not tell what it uses of a chip");
    return err;
}

/* docs/firmware.md; the heap by INFO, its pool is part of what is taken for good. */
static enum cw_err use_of(struct reader *r, struct use *u, struct say *why)
{
    static const uint8_t stats[] = {0x80, 0xFE, 0x00, 0x00, 0x00};
    static const uint8_t info[] = {0x80, INS_INFO, 0x00, 0x00, 0x00};
    uint8_t out[300];
    struct ber_object o;
    struct buf_reader b;
    size_t n = 0;
    enum cw_err err = ask(r, stats, sizeof stats, out, sizeof out, &n, why);
    if (err != CW_OK)
        return err;
    buf_reader_init(&b, out, n - 2);
    while (ber_next(&b, &o)) {
        struct buf_reader v;
        buf_reader_init(&v, o.value, o.len);
        uint32_t first = buf_get_u32(&v);
        if (o.tag == 0x81)
            u->flash = first;
        else if (o.tag == 0x82)
            u->fixed = first;
        else if (o.tag == 0x83)
            u->stack = first;
        else if (o.tag == 0x84) {
            u->ticks_s = first;
            u->ticks = buf_get_u64(&v);
        }
    }
    err = ask(r, info, sizeof info, out, sizeof out, &n, why);
    if (err != CW_OK)
        return err;
    if (ber_find(out, n - 2, LINK_TAG_HEAP, &o) != CW_OK)
        return say_fail(why, CW_ERR_FORMAT, "the card's INFO has no heap");
    buf_reader_init(&b, o.value, o.len);
    u->heap = buf_get_u32(&b);
    u->pool = buf_get_u32(&b);
    return CW_OK;
}

static enum cw_err one(void *ctx, struct login_scene *s, bool again, struct login_result *r,
                       struct say *why)
{
    bool *good = ctx;
    struct reader *reader = NULL;
    struct use u = {0};
    enum cw_err err = reader_open(s->card, &reader, why);
    if (err == CW_OK)
        err = login_measure(s, reader, again, r, why);
    if (err == CW_OK)
        err = use_of(reader, &u, why);
    reader_free(&reader);
    if (err != CW_OK)
        return err;
    uint32_t ram = u.fixed - u.pool + u.heap + u.stack;
    printf("{\"profile\":\"%s\",\"key\":\"%s\",\"login\":\"%s\",\"flash\":%u,\"static\":%u,"
           "\"heap\":%u,\"stack\":%u,\"ram\":%u,\"ticks\":%llu,\"ticks_s\":%u}\n",
           link_profile_name(r->profile), r->key == LINK_KEY_TLS_P256 ? "p256" : "rsa2048",
           r->resumed ? "resumed" : "full", u.flash, u.fixed - u.pool, u.heap, u.stack, ram,
           (unsigned long long)u.ticks, u.ticks_s);
    *good = *good && u.flash <= FLASH_MAX && ram <= RAM_MAX;
    return CW_OK;
}

int main(int argc, char **argv)
{
    struct login_scene scene = {0};
    struct say why = {""};
    bool good = true;
    if (argc != 2 || argv[1][0] == '-') {
        fputs("Usage: chip READER\nFlash, RAM and time of a chip with a blank card, a login a "
              "line, in "
              "JSON. Exit 1 when\nthe budget (128 KB, 32 KB) is not held.\n",
              stderr);
        return 2;
    }
    enum cw_err err = login_scene(&scene, argv[1], &why);
    if (err == CW_OK)
        err = login_each(&scene, one, &good, &why);
    return login_end(&scene, "chip", err, good, &why);
}
