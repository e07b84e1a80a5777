/* card_lab.c - see card_lab.h. */
#include "card_lab.h"

#include "unit.h"

#include "card/nvm.h"
#include "proto/ber.h"

#include <openssl/x509v3.h>
#include <string.h>
#include <sys/random.h>

/* --- flash ---------------------------------------------------------------------------------------
 */

/* How many of `len` bytes the power lasts for. */
static uint32_t lasts(struct lab_flash *f, uint32_t len)
{
    if (f->cut_at == 0) {
        f->dead = true;
        return f->cut == LAB_CUT_BEFORE ? 0 : f->cut == LAB_CUT_BYTE ? 1 : len / 2;
    }
    if (f->cut_at > 0)
        f->cut_at--;
    if (f->budget < 0)
        return len;
    uint32_t n = (long)len < f->budget ? len : (uint32_t)f->budget;
    f->budget -= n;
    if (n < len)
        f->dead = true;
    return n;
}

static enum cw_err flash_read(void *ctx, uint32_t offset, void *data, uint32_t len)
{
    struct lab_flash *f = ctx;
    if (f->dead || (f->fail_read >= 0 && f->fail_read-- == 0))
        return CW_ERR_IO;
    assert_true(offset <= sizeof f->bytes && len <= sizeof f->bytes - offset);
    memcpy(data, f->bytes + offset, len);
    return CW_OK;
}

static enum cw_err flash_program(void *ctx, uint32_t offset, const void *data, uint32_t len)
{
    struct lab_flash *f = ctx;
    const uint8_t *p = data;
    if (f->dead)
        return CW_ERR_IO;
    assert_true(offset <= sizeof f->bytes && len <= sizeof f->bytes - offset);
    uint32_t n = lasts(f, len);
    f->operations++;
    f->programmed += n;
    for (uint32_t i = 0; i < n; i++) {
        /* What is programmed over something else than blank would be a defect of the store. */
        assert_int_equal(f->bytes[offset + i], 0xFF);
        f->bytes[offset + i] &= p[i];
    }
    return n == len ? CW_OK : CW_ERR_IO;
}

static enum cw_err flash_erase(void *ctx, uint32_t page)
{
    struct lab_flash *f = ctx;
    if (f->dead)
        return CW_ERR_IO;
    assert_true(page < LAB_PAGES);
    uint32_t n = lasts(f, LAB_PAGE);
    f->operations++;
    memset(f->bytes + page * LAB_PAGE, 0xFF, n);
    return n == LAB_PAGE ? CW_OK : CW_ERR_IO;
}

void lab_flash_init(struct lab_flash *flash)
{
    memset(flash, 0, sizeof *flash);
    memset(flash->bytes, 0xFF, sizeof flash->bytes);
    flash->budget = -1;
    flash->cut_at = -1;
    flash->fail_read = -1;
}

struct card_flash lab_flash_ops(struct lab_flash *flash)
{
    return (struct card_flash){
        .ctx = flash,
        .page_size = LAB_PAGE,
        .page_count = LAB_PAGES,
        .read = flash_read,
        .program = flash_program,
        .erase = flash_erase,
    };
}

/* --- card
 * ----------------------------------------------------------------------------------------- */

static enum cw_err port_random(void *ctx, uint8_t *buf, size_t len)
{
    struct lab *lab = ctx;
    if (lab->random_fails)
        return CW_ERR_IO;
    return getrandom(buf, len, 0) == (ssize_t)len ? CW_OK : CW_ERR_IO;
}

static void init(struct lab *lab, bool contactless)
{
    memset(lab, 0, sizeof *lab);
    lab_flash_init(&lab->flash);
    lab->port = (struct card_port){
        .ctx = lab,
        .random = port_random,
        .flash = lab_flash_ops(&lab->flash),
        .unique_id = {0xC0, 0xFF, 0xEE, 0, 0, 0, 0, 1},
        .initial_key = {0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4A, 0x4B,
                        0x4C, 0x4D, 0x4E, 0x4F},
        .contactless = contactless,
    };
    memcpy(lab->keys.enc, lab->port.initial_key, sizeof lab->keys.enc);
    memcpy(lab->keys.mac, lab->port.initial_key, sizeof lab->keys.mac);
    memcpy(lab->keys.dek, lab->port.initial_key, sizeof lab->keys.dek);
    assert_int_equal(card_power_up(&lab->port, &lab->card), CW_OK);
    assert_int_equal(lab_select(lab), SW_OK);
}

void lab_init(struct lab *lab)
{
    init(lab, false);
}

void lab_init_contactless(struct lab *lab)
{
    init(lab, true);
}

void lab_free(struct lab *lab)
{
    card_power_down(&lab->card);
    EVP_PKEY_free(lab->update_key);
    lab->update_key = NULL;
}

bool lab_power_cycle(struct lab *lab)
{
    card_power_down(&lab->card);
    lab->flash.dead = false;
    lab->flash.budget = -1;
    lab->flash.cut_at = -1;
    lab->flash.fail_read = -1;
    return card_power_up(&lab->port, &lab->card) == CW_OK && lab_select(lab) == SW_OK;
}

uint16_t lab_apdu(struct lab *lab, uint8_t cla, uint8_t ins, uint8_t p1, uint8_t p2,
                  const void *data, size_t nc, size_t ne, uint8_t *out, size_t *len)
{
    uint8_t command[CARD_COMMAND_MAX];
    size_t n = 0;
    struct apdu_command cmd = {cla, ins, p1, p2, data, nc, ne, false};
    assert_int_equal(apdu_write(&cmd, command, sizeof command, &n), CW_OK);
    /* As a chip does: into the card's own memory. Readers have buffers of their own. */
    size_t cap = 0;
    uint8_t *space = card_command_space(lab->card, &cap);
    memcpy(space, command, n < cap ? n : cap);
    const uint8_t *response = card_process_here(lab->card, n, &n);
    assert_true(n >= 2 && n - 2 <= ne);
    if (out != NULL)
        memcpy(out, response, n - 2);
    if (len != NULL)
        *len = n - 2;
    return (uint16_t)(response[n - 2] << 8 | response[n - 1]);
}

uint16_t lab_select(struct lab *lab)
{
    return lab_apdu(lab, 0x00, INS_SELECT, 0x04, 0x0C, LINK_AID, LINK_AID_LEN, 0, NULL, NULL);
}

static void info_find(struct lab *lab, uint16_t tag, uint8_t out[CARD_RESPONSE_MAX],
                      struct ber_object *o)
{
    size_t n = 0;
    assert_int_equal(lab_apdu(lab, 0x80, INS_INFO, LINK_INFO_CARD, 0, NULL, 0, 256, out, &n),
                     SW_OK);
    assert_int_equal(ber_find(out, n, tag, o), CW_OK);
    assert_true(o->len > 0);
}

uint64_t lab_info(struct lab *lab, uint16_t tag)
{
    uint8_t out[CARD_RESPONSE_MAX];
    struct ber_object o;
    uint64_t v = 0;
    info_find(lab, tag, out, &o);
    for (size_t i = 0; i < o.len; i++)
        v = v << 8 | o.value[i];
    return v;
}

uint8_t lab_info_first(struct lab *lab, uint16_t tag)
{
    uint8_t out[CARD_RESPONSE_MAX];
    struct ber_object o;
    info_find(lab, tag, out, &o);
    return o.value[0];
}

uint16_t lab_verify(struct lab *lab, uint8_t use, const char *pin)
{
    return lab_apdu(lab, 0x00, INS_VERIFY, 0x00, use, pin, strlen(pin), 0, NULL, NULL);
}

/* --- issuer and servers
 * ----------------------------------------------------------------------------- */

static void add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(e);
    assert_int_equal(X509_add_ext(x, e, -1), 1);
    X509_EXTENSION_free(e);
}

static X509 *certificate_new(const char *cn, EVP_PKEY *key, const struct lab_identity *ca,
                             int64_t from, int64_t to)
{
    static long serial = 1000;
    X509 *x = X509_new();
    X509_NAME *name = X509_NAME_new();
    assert_true(X509_set_version(x, 2) && ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial));
    assert_true(
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)cn, -1, -1, 0));
    assert_true(X509_set_subject_name(x, name));
    assert_true(
        X509_set_issuer_name(x, ca != NULL ? X509_get_subject_name(ca->certificate) : name));
    assert_non_null(ASN1_TIME_set(X509_getm_notBefore(x), from));
    assert_non_null(ASN1_TIME_set(X509_getm_notAfter(x), to));
    assert_true(X509_set_pubkey(x, key));
    X509_NAME_free(name);
    return x;
}

struct lab_identity lab_ca_new(const char *name)
{
    struct lab_identity id = {.key = EVP_EC_gen("P-256")};
    id.certificate = certificate_new(name, id.key, NULL, LAB_TIME - 86400, LAB_TIME + 86400 * 3650);
    add_extension(id.certificate, id.certificate, NID_basic_constraints, "critical,CA:TRUE");
    add_extension(id.certificate, id.certificate, NID_key_usage, "critical,keyCertSign,cRLSign");
    assert_true(X509_sign(id.certificate, id.key, EVP_sha256()) > 0);
    return id;
}

struct lab_identity lab_server_new(const struct lab_identity *ca,
                                   const struct lab_server_spec *spec)
{
    char san[96];
    char usage[64];
    struct lab_identity id = {.key = spec->rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256")};
    const char *host = spec->host != NULL ? spec->host : LAB_HOST;
    int64_t end = spec->expired ? LAB_TIME - 60 : LAB_TIME + 86400 * 90;
    id.certificate =
        certificate_new(spec->name_in_cn ? host : "server", id.key, ca, LAB_TIME - 86400, end);
    snprintf(san, sizeof san, "DNS:%s", host);
    if (!spec->name_in_cn)
        add_extension(id.certificate, ca->certificate, NID_subject_alt_name, san);
    if (spec->ca)
        add_extension(id.certificate, ca->certificate, NID_basic_constraints, "critical,CA:TRUE");
    if (!spec->no_server_auth)
        add_extension(id.certificate, ca->certificate, NID_ext_key_usage,
                      spec->client_auth ? "clientAuth"
                      : spec->any_usage ? "anyExtendedKeyUsage"
                                        : "serverAuth");
    snprintf(usage, sizeof usage, "critical,%s%s",
             spec->rsa && !spec->signing ? "keyEncipherment" : "digitalSignature",
             spec->ca || spec->signs ? ",keyCertSign" : "");
    if (!spec->no_usage)
        add_extension(id.certificate, ca->certificate, NID_key_usage, usage);
    assert_true(X509_sign(id.certificate, ca->key, EVP_sha256()) > 0);
    if (spec->wrong_usage) {
        /* OpenSSL would not use such a certificate. It reads the usage once and keeps it: what is
         * changed after that, only the card sees. */
        assert_true(X509_check_purpose(id.certificate, -1, 0));
        int at = X509_get_ext_by_NID(id.certificate, NID_key_usage, -1);
        X509_EXTENSION_free(X509_delete_ext(id.certificate, at));
        add_extension(id.certificate, ca->certificate, NID_key_usage, "critical,keyAgreement");
        assert_true(X509_sign(id.certificate, ca->key, EVP_sha256()) > 0);
    }
    return id;
}

void lab_identity_free(struct lab_identity *id)
{
    EVP_PKEY_free(id->key);
    X509_free(id->certificate);
}

static void put_object(struct lab *lab, uint16_t object, const void *data, size_t len)
{
    assert_int_equal(lab_put(lab, object, data, len), SW_OK);
}

static void put_certificate(struct lab *lab, uint16_t object, X509 *x)
{
    uint8_t *der = NULL;
    int n = i2d_X509(x, &der);
    assert_true(n > 0);
    put_object(lab, object, der, (size_t)n);
    OPENSSL_free(der);
}

X509 *lab_card_certificate(const uint8_t *request, size_t len, uint8_t slot,
                           const struct lab_identity *card_ca)
{
    X509_REQ *req = d2i_X509_REQ(NULL, &request, (long)len);
    assert_non_null(req);
    EVP_PKEY *key = X509_REQ_get0_pubkey(req);
    assert_int_equal(X509_REQ_verify(req, key), 1);
    X509 *x = certificate_new("c0ffee0000000001", key, card_ca, LAB_TIME - 86400,
                              LAB_TIME + 86400 * 1000);
    bool tls = slot == LINK_KEY_TLS_P256 || slot == LINK_KEY_TLS_RSA;
    add_extension(x, card_ca->certificate, NID_key_usage, "critical,digitalSignature");
    add_extension(x, card_ca->certificate, NID_ext_key_usage,
                  tls ? "clientAuth" : "emailProtection");
    assert_true(X509_sign(x, card_ca->key, EVP_sha256()) > 0);
    X509_REQ_free(req);
    return x;
}

/* Key in the card, request by the card, certificate by the issuer. */
static void certify(struct lab *lab, uint8_t slot, const struct lab_identity *card_ca)
{
    uint8_t der[CARD_RESPONSE_MAX];
    size_t len = 0;
    assert_int_equal(lab_secure(lab, 0x00, INS_GENERATE_KEY, 0, slot, NULL, 0, 0, NULL, NULL),
                     SW_OK);
    assert_int_equal(lab_secure(lab, 0x80, INS_REQUEST, 0, slot, NULL, 0, 1024, der, &len), SW_OK);
    X509 *x = lab_card_certificate(der, len, slot, card_ca);
    put_certificate(lab, LINK_DO_CERT | slot, x);
    X509_free(x);
}

void lab_personalise_only(struct lab *lab, uint8_t slots, const struct lab_identity *card_ca,
                          const struct lab_identity *root, uint8_t profiles)
{
    uint8_t name[64];
    uint8_t time[8];
    struct buf_writer w;
    assert_true(lab_channel_open(lab));
    if (!lab->maker_keys)
        assert_int_equal(lab_put_keys(lab), SW_OK);
    for (uint8_t slot = 1; slot <= LINK_KEY_COUNT; slot++)
        if (slots & 1u << (slot - 1))
            certify(lab, slot, card_ca);
    put_certificate(lab, LINK_DO_ROOT, root->certificate);
    buf_writer_init(&w, name, sizeof name);
    buf_put_u8(&w, LINK_TAG_NAME);
    buf_put_u8(&w, sizeof LAB_HOST - 1);
    buf_put_str(&w, LAB_HOST);
    buf_put_u8(&w, LINK_TAG_NAME_PROFILES);
    buf_put_u8(&w, 1);
    buf_put_u8(&w, profiles);
    put_object(lab, LINK_DO_NAME, name, w.len);
    buf_writer_init(&w, time, sizeof time);
    buf_put_u64(&w, LAB_TIME);
    put_object(lab, LINK_DO_TIME, time, sizeof time);
    const struct policy policy = lab_policy();
    assert_int_equal(lab_put_policy(lab, &policy), SW_OK);
    assert_int_equal(lab_put_pin(lab, LINK_PIN_HOLDER, 0, LAB_PIN), SW_OK);
    assert_int_equal(lab_put_pin(lab, LINK_PIN_PUK, 0, LAB_PUK), SW_OK);
    assert_int_equal(lab_put_update_key(lab), SW_OK);
}

void lab_personalise(struct lab *lab, uint8_t slots, const struct lab_identity *card_ca,
                     const struct lab_identity *root, uint8_t profiles)
{
    lab_personalise_only(lab, slots, card_ca, root, profiles);
    assert_int_equal(lab_set_status(lab, LINK_LIFE_PERSONALISED), SW_OK);
    assert_int_equal(lab_set_status(lab, LINK_LIFE_ACTIVE), SW_OK);
}

void lab_forget(struct lab *lab, uint16_t value)
{
    struct nvm nvm;
    card_power_down(&lab->card);
    assert_int_equal(nvm_mount(&nvm, &lab->port.flash), CW_OK);
    assert_int_equal(nvm_remove(&nvm, value), CW_OK);
    assert_true(lab_power_cycle(lab));
}

SSL_CTX *lab_server_context(const struct lab_identity *server, const struct lab_identity *card_ca)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    assert_true(SSL_CTX_use_certificate(ctx, server->certificate));
    assert_true(SSL_CTX_use_PrivateKey(ctx, server->key));
    assert_true(SSL_CTX_set_cipher_list(ctx, "ECDHE-ECDSA-AES128-GCM-SHA256:AES128-GCM-SHA256"));
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(ctx, 1);
    SSL_CTX_set_session_id_context(ctx, (const uint8_t *)"lab", 3);
    if (card_ca != NULL) {
        X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), card_ca->certificate);
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    }
    /* Certificates of the lab are dated around LAB_TIME. */
    X509_VERIFY_PARAM_set_time(SSL_CTX_get0_param(ctx), LAB_TIME);
    return ctx;
}

/* --- a line
 * ------------------------------------------------------------------------------------------ */

/* One command of the line: bytes to the net go into the server's BIO. Returns how much was taken.
 */
static size_t line_apdu(struct lab *lab, struct lab_line *line, uint8_t ins, uint8_t p1, uint8_t p2,
                        const uint8_t *data, size_t nc)
{
    uint8_t out[CARD_RESPONSE_MAX];
    size_t n = 0;
    uint16_t sw =
        lab_apdu(lab, 0x80, ins, p1, p2, data, nc, line->room > 0 ? line->room : 256, out, &n);
    line->sw = sw;
    line->apdus++;
    assert_true(line->apdus < 20000); /* whatever happens, it ends */
    line->to_card += 5 + nc + (nc > 0);
    line->from_card += n + 2;
    if (sw != SW_OK) {
        line->state = LINK_STATE_ERROR;
        return nc;
    }
    assert_true(n >= 1);
    line->state = out[0];
    size_t skip = 1;
    size_t taken = nc;
    if (line->state & LINK_STATE_PARTIAL) {
        taken = (size_t)(out[1] << 8 | out[2]);
        skip = 3;
        assert_true(taken < nc);
    }
    line->tls += n - skip;
    if (n > skip)
        assert_int_equal(BIO_write(SSL_get_rbio(line->ssl), out + skip, (int)(n - skip)), n - skip);
    return taken;
}

/* Follows the records of the server's stream, and flips the bit where one is to be flipped. */
static void pass_byte(struct lab_line *line, size_t offset, uint8_t *byte)
{
    size_t at = line->record_at++;
    if (at == 3)
        line->record_left = (size_t)*byte << 8;
    if (at == 4)
        line->record_left |= *byte;
    if (at > 4)
        line->record_left--;
    if (at >= 4 && line->record_left == 0)
        line->record_at = 0;
    if (offset == line->flip) {
        *byte ^= 1;
        line->flip_harmless = at == 1 || at == 2;
        line->open_at_flip = line->state & LINK_STATE_OPEN;
    }
}

void lab_line_pump(struct lab *lab, struct lab_line *line)
{
    uint8_t net[255];
    size_t have = 0;
    for (;;) {
        if (SSL_in_init(line->ssl))
            (void)SSL_do_handshake(line->ssl);
        if (line->state & (LINK_STATE_OUT | LINK_STATE_AGAIN)) {
            (void)line_apdu(lab, line, INS_STEP, 0, 0, NULL, 0);
            continue;
        }
        if (line->state & (LINK_STATE_ERROR | LINK_STATE_CLOSED | LINK_STATE_DATA))
            break;
        int n = BIO_read(SSL_get_wbio(line->ssl), net + have, (int)(line->chunk - have));
        for (int i = 0; i < n; i++)
            pass_byte(line, line->sent + (size_t)i, &net[have + (size_t)i]);
        if (n > 0) {
            line->sent += (size_t)n;
            line->tls += (size_t)n;
            have += (size_t)n;
        }
        if (have == 0)
            break;
        size_t taken = line_apdu(lab, line, INS_STEP, 0, 0, net, have);
        memmove(net, net + taken, have - taken);
        have -= taken;
    }
}

void lab_line_begin(struct lab *lab, SSL_CTX *ctx, enum link_profile profile, enum link_key key,
                    struct lab_line *line)
{
    line->ssl = SSL_new(ctx);
    SSL_set_bio(line->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_accept_state(line->ssl);
    if (line->chunk == 0) {
        line->chunk = 255;
        line->flip = SIZE_MAX;
    }
    unsigned how = (unsigned)profile | (line->resume ? 0 : LINK_OPEN_FULL);
    (void)line_apdu(lab, line, INS_OPEN, (uint8_t)how, (uint8_t)key, NULL, 0);
    line->hello = line->tls;
    if (line->sw == SW_OK)
        lab_line_pump(lab, line);
}

void lab_line_open(struct lab *lab, SSL_CTX *ctx, enum link_profile profile, enum link_key key,
                   struct lab_line *line)
{
    assert_int_equal(lab_select(lab), SW_OK);
    assert_int_equal(lab_verify(lab, LINK_PIN_LINE, LAB_PIN), SW_OK);
    line->apdus = 2;
    line->to_card = 5 + LINK_AID_LEN + 5 + sizeof LAB_PIN - 1;
    line->from_card = 4;
    lab_line_begin(lab, ctx, profile, key, line);
}

void lab_line_free(struct lab_line *line)
{
    SSL_free(line->ssl);
    line->ssl = NULL;
}

enum link_reason lab_reason(struct lab *lab)
{
    uint8_t out[256];
    size_t n = 0;
    assert_int_equal(lab_apdu(lab, 0x80, INS_INFO, LINK_INFO_SESSION, 0, NULL, 0, 256, out, &n),
                     SW_OK);
    /* state, profile, reason: three objects of three bytes each */
    assert_true(n >= 9 && out[6] == LINK_TAG_REASON);
    return (enum link_reason)out[8];
}
