/* card.c - power up, reset, power down: what the card's life in the reader's field begins and ends
 * with. */
#include "card/state.h"

#include "base/ct.h"
#include "card/pool.h"

#include <psa/crypto.h>

static struct card the_card;
static bool in_use;

/* Memory in which nothing was ever written is that of a new card. Being blank is written down,
 * last, so that a memory that has lost its state is not taken for a new one. */
static enum cw_err first_power(struct card *card)
{
    const uint8_t life = LINK_LIFE_BLANK;
    size_t len = 0;
    bool begun = card->nvm.count == 1 && nvm_size(&card->nvm, NVM_KEYSET, &len) == CW_OK;
    if (card->nvm.count != 0 && !begun)
        return CW_OK;
    enum cw_err err = secure_begin(card);
    return err == CW_OK ? nvm_write(&card->nvm, NVM_LIFE, &life, 1) : err;
}

/* Starts everything volatile from nothing. */
static enum cw_err start(struct card *card)
{
    const struct card_port *port = card->port;
    ct_wipe(card, sizeof *card);
    card->port = port;
    pool_begin();
    its_attach(card);
    enum cw_err err = nvm_mount(&card->nvm, &port->flash);
    if (err == CW_OK)
        err = first_power(card);
    if (err == CW_OK && psa_crypto_init() != PSA_SUCCESS)
        err = CW_ERR_CRYPTO;
    /* The power may have failed while a terminated card was being wiped. */
    if (err == CW_OK)
        err = life_settle(card);
    if (err == CW_OK)
        session_power_up(card);
    return err;
}

static void stop(struct card *card)
{
    line_drop(&card->line);
    mbedtls_psa_crypto_free();
    pool_end();
    its_attach(NULL);
}

enum cw_err card_power_up(const struct card_port *port, struct card **out)
{
    if (in_use)
        return CW_ERR_BUSY;
    the_card.port = port;
    enum cw_err err = start(&the_card);
    if (err != CW_OK) {
        stop(&the_card);
        return err;
    }
    in_use = true;
    *out = &the_card;
    return CW_OK;
}

enum cw_err card_reset(struct card *card)
{
    stop(card);
    return start(card);
}

void card_power_down(struct card **card)
{
    if (*card == NULL)
        return;
    stop(*card);
    ct_wipe(*card, sizeof **card);
    in_use = false;
    *card = NULL;
}

/* Both are accepted by OpenSC and by EMV terminals. Contact (ISO/IEC 7816-3:2006 §8): direct
 * convention, T=1 alone, which yubico-piv-tool insists on; TA1 = 97, so that a PPS may go up to
 * 64/512 of the clock; TB1 = 00 for EMV; TC1 = FF, characters of 11 etu; IFSC 254, BWI 4, CWI 5,
 * LRC. Historical bytes (ISO/IEC 7816-4:2020 §12.1.1): card capabilities, selection by full name,
 * command chaining, extended Lc and Le. Contactless: what PC/SC makes of an ISO/IEC 14443-4 card
 * with one historical byte, 80 (PC/SC part 3 §3.1.3.2.3.1). */
static const uint8_t atr_contact[] = {0x3B, 0xF5, CARD_T1_TA1, 0x00, 0xFF, 0x81, 0x31, CARD_T1_IFSC,
                                      0x45, 0x80, 0x73,        0x80, 0x01, 0xC0, 0x24};
/* FSC 256; 106 to 848 kbit/s, each way; FWI 8 (77 ms), no SFGT; CID; the historical bytes of the
 * ATR */
static const uint8_t ats[] = {0x06, 0x78, 0x77, 0x80, 0x02, 0x80};
/* What PC/SC makes of it: ats_atr of proto/ats.h */
static const uint8_t atr_contactless[] = {0x3B, 0x81, 0x80, 0x01, 0x80, 0x80};

const uint8_t *card_atr(const struct card *card, size_t *len)
{
    if (card->port->contactless) {
        *len = sizeof atr_contactless;
        return atr_contactless;
    }
    *len = sizeof atr_contact;
    return atr_contact;
}

const uint8_t *card_ats(size_t *len)
{
    *len = sizeof ats;
    return ats;
}
