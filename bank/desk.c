#include "bank/desk.h"

#include "bank/issuer_channel.h"
#include "bank/issuer_keys.h"
#include "base/ct.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* Slices of one key: no honest card needs more, even one that draws a number a slice. */
#define SLICES_MAX  40000u
#define STATUS_CARD 0x80u /* SET STATUS P1: the card as a whole */

/* Finds the application and what the card says of itself; no channel outlives it. */
static enum cw_err look(struct desk *d, struct applet_info *out, struct say *why)
{
    channel_free(&d->channel);
    enum cw_err err = applet_select(d->reader, why);
    return err == CW_OK ? applet_info_get(d->reader, out, why) : err;
}

enum cw_err desk_open(struct bank *bank, const char *reader, struct desk **out, struct say *why)
{
    struct desk *d = calloc(1, sizeof *d);
    if (d == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    d->bank = bank;
    enum cw_err err = reader_open(reader, &d->reader, why);
    if (err == CW_OK)
        err = look(d, &d->info, why);
    if (err != CW_OK) {
        desk_free(&d);
        return err;
    }
    bank_serial_text(d->info.serial, d->serial);
    *out = d;
    return CW_OK;
}

void desk_free(struct desk **desk)
{
    struct desk *d = *desk;
    if (d == NULL)
        return;
    channel_free(&d->channel);
    reader_free(&d->reader);
    free(d);
    *desk = NULL;
}

static enum cw_err own_master(const struct desk *d, struct issuer_master *out, struct say *why)
{
    char path[BANK_PATH_MAX];
    enum cw_err err = bank_path(d->bank->dir, BANK_FILE_ISSUER, "", path, why);
    return err == CW_OK ? issuer_master_load(path, out, why) : err;
}

static enum cw_err own_keys(const struct desk *d, struct scp03_keys *out, struct say *why)
{
    struct issuer_master master;
    enum cw_err err = own_master(d, &master, why);
    if (err == CW_OK)
        err = issuer_keys_derive(&master, d->info.serial, out, why);
    ct_wipe(&master, sizeof master);
    return err;
}

enum cw_err desk_piv_key_get(const struct desk *d, uint8_t out[SCP03_KEY_LEN], struct say *why)
{
    struct issuer_master master;
    enum cw_err err = own_master(d, &master, why);
    if (err == CW_OK)
        err = issuer_piv_key_derive(&master, d->info.serial, out, why);
    ct_wipe(&master, sizeof master);
    return err;
}

enum cw_err desk_channel_open(struct desk *d, struct say *why)
{
    struct scp03_keys keys;
    channel_free(&d->channel);
    enum cw_err err = own_keys(d, &keys, why);
    if (err == CW_OK)
        err = channel_open(d->reader, &keys, DESK_KEYSET, SCP03_LEVEL_FULL, &d->channel, why);
    ct_wipe(&keys, sizeof keys);
    return err;
}

/* GlobalPlatform's well-known key, under which cards for development are delivered. */
static const struct issuer_master well_known = {{0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47,
                                                 0x48, 0x49, 0x4A, 0x4B, 0x4C, 0x4D, 0x4E, 0x4F}};

/* PUT KEY has wiped what was made under the maker's key (docs/card.md): what the card said before
 * holds no more. */
static enum cw_err look_again(struct desk *d, struct say *why)
{
    struct applet_info info;
    enum cw_err err = look(d, &info, why);
    if (err == CW_OK && memcmp(info.serial, d->info.serial, sizeof info.serial) != 0)
        err = say_fail(why, CW_ERR_FORMAT,
                       "the card says another serial than before it took the bank's keys, which "
                       "was %s; use another card",
                       d->serial);
    if (err == CW_OK)
        d->info = info;
    return err;
}

enum cw_err desk_take_over(struct desk *d, const char *initial_key, bool again, struct say *why)
{
    struct issuer_master initial = well_known;
    struct scp03_keys makers, own;
    enum cw_err err = CW_OK;
    channel_free(&d->channel);
    memset(&own, 0, sizeof own);
    if (initial_key != NULL)
        err = issuer_master_load(initial_key, &initial, why);
    memcpy(makers.enc, initial.key, sizeof makers.enc);
    memcpy(makers.mac, initial.key, sizeof makers.mac);
    memcpy(makers.dek, initial.key, sizeof makers.dek);
    if (err == CW_OK)
        err = own_keys(d, &own, why);
    if (err == CW_OK)
        err =
            channel_open(d->reader, &makers, DESK_MAKER_KEYSET, SCP03_LEVEL_FULL, &d->channel, why);
    if (err == CW_ERR_DENIED)
        say_fail(why, err,
                 "the card %s was delivered under another key than %s; name its maker's with "
                 "--initial-key",
                 d->serial, initial_key != NULL ? initial_key : "the well-known one");
    if (err == CW_OK)
        err = ledger_card_keys_give(d->bank->ledger, d->info.serial, again, why);
    if (err == CW_OK)
        err = channel_keys_put(d->channel, &makers, DESK_MAKER_KEYSET, DESK_KEYSET, &own, why);
    ct_wipe(&initial, sizeof initial);
    ct_wipe(&makers, sizeof makers);
    ct_wipe(&own, sizeof own);
    if (err == CW_OK)
        err = look_again(d, why);
    return err == CW_OK ? desk_channel_open(d, why) : err;
}

enum cw_err desk_command(struct desk *d, uint8_t cla, uint8_t ins, uint16_t p1p2,
                         const uint8_t *data, size_t nc, uint8_t *out, size_t cap, size_t *len,
                         const char *what, struct say *why)
{
    uint8_t none[1];
    size_t n = 0;
    uint16_t sw = 0;
    enum cw_err err =
        channel_command(d->channel, cla, ins, (uint8_t)(p1p2 >> 8), (uint8_t)p1p2, data, nc,
                        out != NULL ? out : none, out != NULL ? cap : 0, &n, &sw, why);
    if (err == CW_OK)
        err = applet_status(sw, what, why);
    if (err == CW_OK && len != NULL)
        *len = n;
    return err;
}

enum cw_err desk_object_get(struct desk *d, uint16_t object, uint8_t *out, size_t cap, size_t *len,
                            struct say *why)
{
    return desk_command(d, APDU_CLA_ISO, INS_GET_DATA, object, NULL, 0, out, cap, len,
                        "give out an object", why);
}

enum cw_err desk_object_put(struct desk *d, uint16_t object, const uint8_t *data, size_t len,
                            struct say *why)
{
    uint8_t back[CHANNEL_DATA_MAX];
    size_t back_len = 0;
    enum cw_err err = desk_command(d, APDU_CLA_ISO, INS_PUT_DATA, object, data, len, NULL, 0, NULL,
                                   "store an object", why);
    /* Of a list of payees that no answer can hold there is the card's authenticated 9000. */
    if (err != CW_OK || len + SCP03_OVERHEAD > d->info.response_max)
        return err;
    err = desk_object_get(d, object, back, sizeof back, &back_len, why);
    if (err == CW_OK && (back_len != len || memcmp(back, data, len) != 0))
        err = say_fail(why, CW_ERR_IO,
                       "the card does not give back what was written to it (object %04X); use "
                       "another card",
                       object);
    return err;
}

enum cw_err desk_object_remove(struct desk *d, uint16_t object, struct say *why)
{
    return desk_command(d, APDU_CLA_ISO, INS_PUT_DATA, object, NULL, 0, NULL, 0, NULL,
                        "give up an object", why);
}

enum cw_err desk_key_generate(struct desk *d, enum link_key slot, desk_progress *progress,
                              void *ctx, struct say *why)
{
    for (unsigned i = 0; i < SLICES_MAX; i++) {
        uint8_t answer[LINK_GENERATE_LEN];
        size_t n = 0;
        enum cw_err err = desk_command(d, APDU_CLA_ISO, INS_GENERATE_KEY,
                                       (uint16_t)(LINK_GENERATE_SLICE << 8 | slot), NULL, 0, answer,
                                       sizeof answer, &n, "make a key", why);
        if (err != CW_OK)
            return err;
        unsigned permille = n == sizeof answer ? (unsigned)(answer[1] << 8 | answer[2]) : UINT_MAX;
        if (permille > LINK_PERMILLE_MAX ||
            (answer[0] != LINK_GENERATE_DONE && answer[0] != LINK_GENERATE_WORKING))
            return say_fail(why, CW_ERR_FORMAT,
                            "the card says of its key what this program does not understand");
        if (progress != NULL)
            progress(ctx, permille);
        if (answer[0] == LINK_GENERATE_DONE)
            return CW_OK;
    }
    return say_fail(why, CW_ERR_FORMAT,
                    "the card works at its key without an end; use another card");
}

enum cw_err desk_request_get(struct desk *d, enum link_key slot, uint8_t *out, size_t cap,
                             size_t *len, struct say *why)
{
    return desk_command(d, APDU_CLA_PROPRIETARY, INS_REQUEST, (uint16_t)slot, NULL, 0, out, cap,
                        len, "make a certification request", why);
}

enum cw_err desk_pin_put(struct desk *d, enum link_pin pin, uint8_t tries, uint8_t flags,
                         const struct pin *digits, struct say *why)
{
    uint8_t data[2 + LINK_PIN_MAX];
    struct buf_writer w;
    buf_writer_init(&w, data, sizeof data);
    buf_put_u8(&w, tries);
    buf_put_u8(&w, flags);
    buf_put_bytes(&w, digits->digits, digits->len);
    enum cw_err err =
        desk_command(d, APDU_CLA_ISO, INS_PUT_DATA, (uint16_t)(LINK_DO_PIN | (unsigned)pin), data,
                     w.len, NULL, 0, NULL, "take its PIN", why);
    ct_wipe(data, sizeof data);
    return err;
}

enum cw_err desk_life_set(struct desk *d, enum link_life life, struct say *why)
{
    char what[48];
    snprintf(what, sizeof what, "become %s", link_life_name(life));
    return desk_command(d, APDU_CLA_PROPRIETARY, INS_SET_STATUS,
                        (uint16_t)(STATUS_CARD << 8 | life), NULL, 0, NULL, 0, NULL, what, why);
}
