/* piv.c - the PIV application: its rows and SELECT (SP 800-73-4 part 2 §3). Its commands are in
 * piv_data.c, piv_pin.c, piv_keys.c and piv_admin.c. */
#include "card/state.h"

#include "base/ct.h"

/* The standard has no such commands; yubico-piv-tool sends these. */
#define INS_GET_METADATA 0xF7
#define INS_SET_ADMIN    0xFF

#define ACTIVE CARD_LIFE(LINK_LIFE_ACTIVE)
#define USABLE (CARD_LIFE(LINK_LIFE_BLANK) | CARD_LIFE(LINK_LIFE_PERSONALISED) | ACTIVE)
#define ADMIN  (CARD_NEEDS_CONTACT | CARD_NEEDS_PIV_ADMIN)
#define MAXC   CARD_COMMAND_DATA_MAX

/* clang-format off */
static const struct card_row rows[] = {
/*  CLA   INS               P1    P2    Nc        Ne life    needs                                  */
  { 0x00, INS_GET_DATA_BER, 0x3F, 0xFF, 3,  5,    0, USABLE, CARD_OBJECTS, piv_do_get_data },
  { 0x00, INS_VERIFY,       0xFF, 0xFF, 0,  MAXC, 0, ACTIVE, 0, piv_do_verify },
  { 0x00, INS_CHANGE_PIN,   0x00, 0xFF, 16, 16,   0, ACTIVE, 0, piv_do_change_pin },
  { 0x00, INS_RESET_PIN,    0x00, 0xFF, 16, 16,   0, ACTIVE, CARD_NEEDS_CONTACT, piv_do_reset_pin },
  { 0x00, INS_AUTHENTICATE, 0xFF, 0xFF, 2,  MAXC, 0, USABLE, 0, piv_do_authenticate },
  { 0x00, INS_GET_METADATA, 0x00, 0xFF, 0,  0,    0, USABLE, CARD_NEEDS_CONTACT, piv_do_get_metadata },

  /* card management, after the administration key was proved */
  { 0x00, INS_PUT_DATA_BER, 0x3F, 0xFF, 5,  MAXC, 0, USABLE, ADMIN | CARD_OBJECTS, piv_do_put_data },
  { 0x00, INS_GENERATE_KEY, 0x00, 0xFF, 5,  64,   0, USABLE, ADMIN, piv_do_generate },
  { 0x00, INS_SET_ADMIN,    0xFF, 0xFF, 3,  35,   0, USABLE, ADMIN, piv_do_set_admin },
};
/* clang-format on */

static void leave(struct card *card)
{
    ct_wipe(&card->piv, sizeof card->piv);
}

/* A SELECT of what is selected changes no security status (part 2 §3.1.1): nothing is reset here.
 */
static enum cw_err selected(struct card_call *call)
{
    /* Application Property Template (table 3): what follows the registered part of the AID, and who
     * registered it. */
    static const uint8_t apt[] = {0x61, 0x11, 0x4F, 0x06, 0x00, 0x00, 0x10, 0x00, 0x01, 0x00,
                                  0x79, 0x07, 0x4F, 0x05, 0xA0, 0x00, 0x00, 0x03, 0x08};
    if (call->cmd->p2 != 0x0C)
        buf_put_bytes(call->out, apt, sizeof apt);
    return CW_OK;
}

const struct card_app piv_app = {
    .aid = piv_aid,
    .aid_len = PIV_AID_LEN,
    .aid_min = 5, /* the registered part */
    .life = USABLE,
    .le_assumed = true, /* yubico-piv-tool never says it */
    .rows = rows,
    .row_count = sizeof rows / sizeof rows[0],
    .select = selected,
    .leave = leave,
};
