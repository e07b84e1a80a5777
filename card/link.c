/* link.c - the `link` application: its rows, and SELECT. Its commands are in the files that the
 * rows name their handlers after: pin_commands.c, objects.c, info.c, life.c, keys.c, secure.c,
 * issuer.c, line_commands.c, order.c. */
#include "card/state.h"

#define NEW    (CARD_LIFE(LINK_LIFE_BLANK) | CARD_LIFE(LINK_LIFE_PERSONALISED))
#define ACTIVE CARD_LIFE(LINK_LIFE_ACTIVE)
#define LOCKED CARD_LIFE(LINK_LIFE_LOCKED)
#define LIVING (NEW | ACTIVE | LOCKED)
#define ANY    (LIVING | CARD_LIFE(LINK_LIFE_TERMINATED))
#define MAXC   CARD_COMMAND_DATA_MAX
#define ISSUER CARD_NEEDS_ISSUER
#define FLOW   CARD_FLOW

/* clang-format off */
static const struct card_row rows[] = {
/*  CLA   INS                P1    P2    Nc        Ne  life          needs                        */
  { 0x00, INS_GET_DATA,      0xFF, 0xFF, 0,  0,    1,  LIVING,       0, card_do_get_data },
  { 0x80, INS_INFO,          0x02, 0xFF, 0,  0,    1,  ANY,          0, card_do_info },
  { 0x00, INS_GET_CHALLENGE, 0x00, 0x00, 0,  0,    8,  ACTIVE,       0, card_do_challenge },

  /* the holder */
  { 0x00, INS_VERIFY,        0x00, 0xFF, 0,  MAXC, 0,  ACTIVE,       0, card_do_verify },
  { 0x00, INS_CHANGE_PIN,    0x00, 0xFF, 2,  MAXC, 0,  ACTIVE,       0, card_do_change_pin },
  { 0x00, INS_RESET_PIN,     0x00, 0xFF, 2,  MAXC, 0,  ACTIVE,       0, card_do_reset_pin },

  /* the issuer, through its secure channel */
  { 0x80, SCP03_INS_INITIALIZE_UPDATE, 0xFF, 0x00, 8, 8, 1, LIVING, CARD_CLEAR,
    card_do_initialize_update },
  { 0x80, SCP03_INS_EXTERNAL_AUTHENTICATE, 0xFF, 0x00, 16, 16, 0, LIVING, CARD_SECURE,
    card_do_external_authenticate },
  { 0x80, SCP03_INS_PUT_KEY, 0xFF, 0xFF, 1,  MAXC, 1,  LIVING,       ISSUER, card_do_put_key },
  { 0x80, INS_SET_STATUS,    0x80, 0xFF, 0,  0,    0,  LIVING,       ISSUER, card_do_set_status },
  { 0x00, INS_GENERATE_KEY,  0x01, 0xFF, 0,  0,    0,  NEW | ACTIVE, ISSUER, card_do_generate },
  { 0x80, INS_REQUEST,       0x00, 0xFF, 0,  0,    1,  NEW | ACTIVE, ISSUER, card_do_request },
  { 0x00, INS_PUT_DATA,      0xFF, 0xFF, 0,  MAXC, 0,  NEW | ACTIVE, ISSUER, card_do_put_data },
  /* and by its signed messages */
  { 0x80, INS_APPLY,         0x00, 0x00, 1,  MAXC, 0,  ACTIVE,       0, card_do_apply },

  /* the line */
  { 0x80, INS_OPEN, LINK_OPEN_FULL | LINK_PROFILE_COUNT, 0x02, 0, LINK_HOST_MAX, 4, ACTIVE,
    CARD_NEEDS_PIN_LINE | FLOW, card_do_open },
  { 0x80, INS_STEP,          0x01, 0x00, 0,  MAXC, 4,  ACTIVE,       CARD_NEEDS_LINE | FLOW,
    card_do_step },
  { 0x80, INS_WRITE,         0x00, 0x00, 1,  LINK_WRITE_MAX, 4,  ACTIVE,       CARD_NEEDS_OPEN | FLOW,
    card_do_write },
  { 0x80, INS_READ,          0x00, 0x00, 0,  0,    4,  ACTIVE,       CARD_NEEDS_LINE | FLOW,
    card_do_read },
  { 0x80, INS_CLOSE,         0x00, 0x00, 0,  0,    4,  ACTIVE,       CARD_NEEDS_LINE | FLOW,
    card_do_close },
  { 0x80, INS_SIGN_ORDER,    0x00, 0x04, 1,  MAXC, 1,  ACTIVE,
    CARD_NEEDS_ORDER_INTERFACE | CARD_NEEDS_OPEN, card_do_sign_order },
};
/* clang-format on */

/* A new start: the line, every PIN given and a key that is being made are gone. */
static void leave(struct card *card)
{
    line_drop(&card->line);
    secure_drop(card);
    key_unfinished_drop(card);
    hard_clear(&card->pin_line);
    hard_clear(&card->pin_order);
    card->challenged = false;
    card->refused = LINK_REFUSAL_NONE;
}

static enum cw_err selected(struct card_call *call)
{
    leave(call->card);
    if (call->cmd->p2 == 0x0C)
        return CW_OK;
    /* clang-format off */
    const uint8_t fci[] = {0x6F, 0x0D, 0x84, LINK_AID_LEN, 0xF0, 0x43, 0x57, 0x4C, 0x01,
                           0xA5, 0x04, 0x88, 0x02, LINK_VERSION_MAJOR, LINK_VERSION_MINOR};
    /* clang-format on */
    buf_put_bytes(call->out, fci, sizeof fci);
    return CW_OK;
}

const struct card_app link_app = {
    .aid = (const uint8_t *)LINK_AID,
    .aid_len = LINK_AID_LEN,
    .aid_min = LINK_AID_LEN,
    .life = ANY,
    .rows = rows,
    .row_count = sizeof rows / sizeof rows[0],
    .select = selected,
    .leave = leave,
};
