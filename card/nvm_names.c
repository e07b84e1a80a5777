/* nvm_names.c - see nvm_names.h. One row for each enumerator of enum card_value (card/state.h). */
#include "card/nvm_names.h"

#include "card/state.h"

static const struct {
    uint16_t base;
    uint16_t first, last; /* what is added to base */
    const char *name;
    enum nvm_shows shows;
} rows[] = {
    {NVM_LIFE, 0, 0, "life", NVM_SHOWS_LIFE},
    {NVM_COUNTER, 0, 0, "order-counter", NVM_SHOWS_COUNTER},
    {NVM_SEQUENCE, 0, 0, "update-sequence", NVM_SHOWS_COUNTER},
    {NVM_KEYSET, 0, 0, "issuer-keys", NVM_SHOWS_NOTHING},
    {NVM_TRIES, 0, LINK_PIN_COUNT - 1, "pin-tries", NVM_SHOWS_TRIES},
    {NVM_CERT, 1, LINK_KEY_COUNT, "certificate", NVM_SHOWS_CERTIFICATE},
    {NVM_ROOT, 0, LINK_ROOT_MAX - 1, "root", NVM_SHOWS_CERTIFICATE},
    {NVM_NAME, 0, LINK_NAME_MAX - 1, "server", NVM_SHOWS_SERVER},
    {NVM_PIN, 0, LINK_PIN_COUNT - 1, "pin", NVM_SHOWS_NOTHING},
    {NVM_TIME, 0, 0, "time", NVM_SHOWS_TIME},
    {NVM_POLICY, 0, 0, "policy", NVM_SHOWS_NOTHING},
    {NVM_ISSUER, 0, 0, "update-key", NVM_SHOWS_NOTHING},
    {NVM_SESSION, 0, LINK_NAME_MAX - 1, "session", NVM_SHOWS_NOTHING},
    {NVM_PAYEES, 0, 0, "payees", NVM_SHOWS_NOTHING},
    {NVM_ADMIN, 0, 0, "piv-admin-key", NVM_SHOWS_NOTHING},
    {NVM_PIV_KEY, 0x9A, 0x9E, "piv-key", NVM_SHOWS_NOTHING},
    {NVM_PIV_OBJECT, 0, 0xFF, "piv-object", NVM_SHOWS_NOTHING},
    {NVM_PSA, 1, LINK_KEY_COUNT, "private-key", NVM_SHOWS_NOTHING},
};

bool nvm_name_find(uint16_t key, struct nvm_name *out)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (key < rows[i].base + rows[i].first || key > rows[i].base + rows[i].last)
            continue;
        *out = (struct nvm_name){.name = rows[i].name,
                                 .numbered = rows[i].last > 0,
                                 .index = (uint16_t)(key - rows[i].base),
                                 .shows = rows[i].shows};
        return true;
    }
    return false;
}
