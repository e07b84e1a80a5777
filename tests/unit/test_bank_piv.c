/* test_bank_piv.c - a card becomes a PIV card in the bank's reader: the real card, in this process;
 * a card or a wire that lies; and what a try that is cut short at any exchange leaves behind. */
#include "tests/unit/bank_lab.h"

#include "bank/issue.h"
#include "bank/manage.h"
#include "proto/ber.h"
#include "proto/piv.h"
#include "reader/backend.h"

#include <openssl/ec.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

static const uint8_t refs[] = {PIV_REF_AUTH, PIV_REF_SIGNATURE, PIV_REF_MANAGEMENT, PIV_REF_CARD};
#define KEYS (sizeof refs)

struct fixture {
    struct bank_lab *lab;
    char reader[600];
};

static struct say why;

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->lab = lab_new();
    snprintf(f->reader, sizeof f->reader, "inproc:%s/card", f->lab->dir);
    setenv("CARDWIRE_CARD_NOSYNC", "1", 1);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    lab_free(&f->lab);
    free(f);
    return 0;
}

static struct issue_options options(const struct fixture *f, bool piv)
{
    struct issue_options o = {.customer = f->lab->ada,
                              .reader = f->reader,
                              .p256 = true,
                              .piv = piv,
                              .days = 365,
                              .time = -1};
    terms_default(&o.policy);
    return o;
}

static const struct piv_options plain = {.days = 365};

static struct issue_result issue(struct fixture *f, bool piv)
{
    struct issue_result result;
    struct issue_options o = options(f, piv);
    lab_ok(issue_card(f->lab->bank, &o, &result, &why), &why);
    return result;
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, 0600), 0);
}

/* ---- a client of the card ---- */

static struct reader *open_piv(struct fixture *f)
{
    struct reader *r = NULL;
    uint8_t answer[256];
    size_t len = 0;
    uint16_t sw = 0;
    lab_ok(reader_open(f->reader, &r, &why), &why);
    lab_ok(applet_command(r, 0, INS_SELECT, 4, 0, piv_aid, PIV_AID_LEN, 256, answer, sizeof answer,
                          &len, &sw, &why),
           &why);
    assert_int_equal(sw, SW_OK);
    return r;
}

static uint16_t get(struct reader *r, uint8_t object, uint8_t *out, size_t cap, size_t *len)
{
    const uint8_t list[] = {PIV_TAG_LIST, 3, 0x5F, 0xC1, object};
    uint16_t sw = 0;
    lab_ok(applet_command(r, 0, INS_GET_DATA_BER, 0x3F, 0xFF, list, sizeof list, 256, out, cap, len,
                          &sw, &why),
           &why);
    return sw;
}

static uint16_t verify(struct reader *r, const char *digits)
{
    uint8_t data[8], answer[8];
    size_t len = 0;
    uint16_t sw = 0;
    memset(data, 0xFF, sizeof data);
    memcpy(data, digits, strlen(digits));
    lab_ok(applet_command(r, 0, INS_VERIFY, 0, PIV_REF_PIN, data, sizeof data, 0, answer,
                          sizeof answer, &len, &sw, &why),
           &why);
    return sw;
}

static X509 *certificate(struct reader *r, uint8_t ref)
{
    uint8_t value[2100];
    size_t len = 0;
    struct ber_object data, cert, info, check;
    assert_int_equal(get(r, piv_certificate_of(ref), value, sizeof value, &len), SW_OK);
    assert_int_equal(ber_find(value, len, PIV_TAG_DATA, &data), CW_OK);
    assert_int_equal(ber_find(data.value, data.len, 0x70, &cert), CW_OK);
    assert_int_equal(ber_find(data.value, data.len, 0x71, &info), CW_OK);
    assert_int_equal(info.len, 1);
    assert_int_equal(info.value[0], 0);
    assert_int_equal(ber_find(data.value, data.len, 0xFE, &check), CW_OK);
    assert_int_equal(check.len, 0);
    const unsigned char *at = cert.value;
    X509 *x = d2i_X509(NULL, &at, (long)cert.len);
    assert_non_null(x);
    assert_ptr_equal(at, cert.value + cert.len);
    return x;
}

/* The key behind a P-256 certificate signs, and that is what the certificate says. */
static void assert_signs(struct reader *r, uint8_t ref, X509 *cert)
{
    uint8_t data[64], answer[256];
    uint8_t hash[32] = {1, 2, 3};
    struct buf_writer w;
    struct ber_object outer, signature;
    size_t len = 0;
    uint16_t sw = 0;
    buf_writer_init(&w, data, sizeof data);
    ber_put_header(&w, PIV_TAG_AUTH, 2 + 2 + sizeof hash);
    ber_put_header(&w, PIV_TAG_RESPONSE, 0);
    ber_put(&w, PIV_TAG_CHALLENGE, hash, sizeof hash);
    lab_ok(applet_command(r, 0, INS_AUTHENTICATE, PIV_ALG_P256, ref, data, w.len, 256, answer,
                          sizeof answer, &len, &sw, &why),
           &why);
    assert_int_equal(sw, SW_OK);
    assert_int_equal(ber_find(answer, len, PIV_TAG_AUTH, &outer), CW_OK);
    assert_int_equal(ber_find(outer.value, outer.len, PIV_TAG_RESPONSE, &signature), CW_OK);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(X509_get0_pubkey(cert), NULL);
    assert_int_equal(EVP_PKEY_verify_init(ctx), 1);
    assert_int_equal(EVP_PKEY_verify(ctx, signature.value, signature.len, hash, sizeof hash), 1);
    hash[0] ^= 1;
    assert_int_equal(EVP_PKEY_verify(ctx, signature.value, signature.len, hash, sizeof hash), 0);
    EVP_PKEY_CTX_free(ctx);
}

static void read_numbers(const char *path, char pin[16], char puk[16])
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "card %*s PIV PIN %15s PIV PUK %15s", pin, puk), 2);
    fclose(file);
}

static size_t recorded(struct fixture *f, const uint8_t *serial, struct ledger_certificate *out)
{
    size_t count = 0;
    lab_ok(
        ledger_certificates_get(f->lab->bank->ledger, serial, LEDGER_CERT_PIV, out, &count, &why),
        &why);
    return count;
}

/* Card and ledger hold the same four, the numbers of the mailer open the card. */
static void assert_given(struct fixture *f, const uint8_t *serial, const char *mailer)
{
    struct reader *r = open_piv(f);
    struct ledger_certificate *certs = calloc(LEDGER_CERTS_PER_CARD, sizeof *certs);
    char pin[16], puk[16];
    assert_non_null(certs);
    assert_int_equal(recorded(f, serial, certs), KEYS);
    for (size_t i = 0; i < KEYS; i++) {
        uint8_t der[LEDGER_CERT_MAX], *at = der;
        X509 *cert = certificate(r, refs[i]);
        assert_int_equal(certs[i].slot, refs[i]);
        assert_int_equal(i2d_X509(cert, &at), (int)certs[i].der_len);
        assert_memory_equal(der, certs[i].der, certs[i].der_len);
        X509_free(cert);
    }
    read_numbers(mailer, pin, puk);
    assert_int_equal(strlen(pin), 6);
    assert_int_equal(strlen(puk), 8);
    assert_int_equal(verify(r, pin), SW_OK);
    reader_free(&r);
    free(certs);
}

/* ---- what is made ---- */

static bool chains(struct fixture *f, const char *stem, X509 *leaf, int purpose)
{
    X509 *root = NULL;
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    lab_ok(bank_certificate_load(f->lab->bank, stem, &root, &why), &why);
    X509_STORE_add_cert(store, root);
    X509_STORE_set_flags(store, X509_V_FLAG_X509_STRICT);
    X509_STORE_CTX_init(ctx, store, leaf, NULL);
    X509_STORE_CTX_set_purpose(ctx, purpose);
    bool good = X509_verify_cert(ctx) == 1;
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    X509_free(root);
    return good;
}

static void assert_usages(struct fixture *f, struct reader *r, const uint8_t *serial, bool rsa)
{
    static const struct {
        uint32_t usage, extended; /* extended 0: none that OpenSSL has a bit for */
        int purpose, other;
    } want[KEYS] = {
        {KU_DIGITAL_SIGNATURE, XKU_SSL_CLIENT, X509_PURPOSE_SSL_CLIENT, X509_PURPOSE_SMIME_SIGN},
        {KU_DIGITAL_SIGNATURE | KU_NON_REPUDIATION, XKU_SMIME, X509_PURPOSE_SMIME_SIGN,
         X509_PURPOSE_SSL_CLIENT},
        {0, XKU_SMIME, -1, X509_PURPOSE_SSL_CLIENT},
        {KU_DIGITAL_SIGNATURE, 0, -1, X509_PURPOSE_SSL_CLIENT},
    };
    char text[2 * ORDER_SERIAL_LEN + 1];
    bank_serial_text(serial, text);
    for (size_t i = 0; i < KEYS; i++) {
        char cn[64];
        X509 *cert = certificate(r, refs[i]);
        uint32_t agree = rsa ? KU_KEY_ENCIPHERMENT : KU_KEY_AGREEMENT;
        assert_int_equal(X509_get_key_usage(cert), want[i].usage != 0 ? want[i].usage : agree);
        assert_int_equal(X509_get_extended_key_usage(cert), want[i].extended);
        assert_int_equal(X509_get_ext_by_NID(cert, NID_certificate_policies, -1), -1);
        assert_true(X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, cn,
                                              sizeof cn) > 0);
        assert_string_equal(cn, text);
        assert_true(chains(f, BANK_FILE_PIV_ROOT, cert,
                           want[i].purpose >= 0 ? want[i].purpose : X509_PURPOSE_ANY));
        assert_false(chains(f, BANK_FILE_PIV_ROOT, cert, want[i].other));
        /* What a receipt is checked against, for any purpose, knows nothing of them. */
        assert_false(chains(f, BANK_FILE_CARD_ROOT, cert, X509_PURPOSE_ANY));
        X509_free(cert);
    }
}

/* The end of the certificates is the card's too. */
static void assert_objects(struct reader *r, const uint8_t *serial)
{
    uint8_t value[300], expected[300];
    struct buf_writer w;
    struct ber_object data, expiry;
    char end[16];
    struct tm tm;
    size_t len = 0;
    X509 *cert = certificate(r, PIV_REF_AUTH);
    assert_int_equal(ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm), 1);
    X509_free(cert);
    assert_int_equal(strftime(end, sizeof end, "%Y%m%d", &tm), 8);
    assert_int_equal(get(r, PIV_OBJECT_CHUID, value, sizeof value, &len), SW_OK);
    assert_int_equal(ber_find(value, len, PIV_TAG_DATA, &data), CW_OK);
    assert_int_equal(ber_find(data.value, data.len, 0x35, &expiry), CW_OK);
    assert_int_equal(expiry.len, 8);
    assert_memory_equal(expiry.value, end, 8);
    buf_writer_init(&w, expected, sizeof expected);
    piv_ccc_put(&w, serial);
    assert_int_equal(get(r, PIV_OBJECT_CCC, value, sizeof value, &len), SW_OK);
    assert_int_equal(len, w.len);
    assert_memory_equal(value, expected, len);
}

static void test_issued_with_it(void **state)
{
    struct fixture *f = *state;
    char pin[16], puk[16];
    const struct issue_result result = issue(f, true);
    struct stat st;
    assert_int_equal(result.status, LEDGER_CARD_ACTIVE);
    assert_int_equal(stat(result.piv_mailer, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_string_not_equal(result.mailer, result.piv_mailer);
    assert_given(f, result.serial, result.piv_mailer);
    struct reader *r = open_piv(f);
    assert_usages(f, r, result.serial, false);
    assert_objects(r, result.serial);
    X509 *card = certificate(r, PIV_REF_CARD), *auth = certificate(r, PIV_REF_AUTH);
    assert_signs(r, PIV_REF_CARD, card); /* without the PIN */
    read_numbers(result.piv_mailer, pin, puk);
    assert_int_equal(verify(r, pin), SW_OK);
    assert_signs(r, PIV_REF_AUTH, auth);
    X509_free(card);
    X509_free(auth);
    reader_free(&r);
}

/* Its PIN is not the link application's, and the other way round. */
static void test_the_numbers_are_apart(void **state)
{
    struct fixture *f = *state;
    char pin[600], piv_pin[600], piv_puk[600];
    struct issue_result result;
    struct issue_options o = options(f, true);
    snprintf(pin, sizeof pin, "%s/pin", f->lab->dir);
    snprintf(piv_pin, sizeof piv_pin, "%s/piv-pin", f->lab->dir);
    snprintf(piv_puk, sizeof piv_puk, "%s/piv-puk", f->lab->dir);
    write_file(pin, "739152\n");
    write_file(piv_pin, "31415926\n");
    write_file(piv_puk, "27182818\n");
    o.pin_file = pin;
    o.piv_pin_file = piv_pin;
    o.piv_puk_file = piv_puk;
    lab_ok(issue_card(f->lab->bank, &o, &result, &why), &why);
    assert_string_equal(result.piv_mailer, "");
    struct reader *r = open_piv(f);
    assert_int_equal(verify(r, "739152"), SW_PIN_TRIES | 2);
    assert_int_equal(verify(r, "31415926"), SW_OK);
    lab_ok(applet_select(r, &why), &why);
    assert_int_equal(applet_verify(r, LINK_PIN_LINE, (const uint8_t *)"31415926", 8, NULL, &why),
                     CW_ERR_AUTH);
    lab_ok(applet_verify(r, LINK_PIN_LINE, (const uint8_t *)"739152", 6, NULL, &why), &why);
    reader_free(&r);
}

/* Numbers that PIV does not take are refused before anything is written. */
static void test_bad_numbers(void **state)
{
    static const char *const pins[] = {"27153\n", "271530918\n", "123456\n", "777777\n"};
    static const char *const puks[] = {"2718281\n", "271828182\n"};
    struct fixture *f = *state;
    char path[600];
    struct issue_result result;
    struct applet_info info;
    struct reader *r = NULL;
    struct issue_options o = options(f, true);
    snprintf(path, sizeof path, "%s/number", f->lab->dir);
    o.piv_pin_file = path;
    for (size_t i = 0; i < sizeof pins / sizeof pins[0]; i++) {
        write_file(path, pins[i]);
        assert_int_equal(issue_card(f->lab->bank, &o, &result, &why), CW_ERR_FORMAT);
    }
    o.piv_pin_file = NULL;
    o.piv_puk_file = path;
    for (size_t i = 0; i < sizeof puks / sizeof puks[0]; i++) {
        write_file(path, puks[i]);
        assert_int_equal(issue_card(f->lab->bank, &o, &result, &why), CW_ERR_FORMAT);
    }
    lab_ok(reader_open(f->reader, &r, &why), &why);
    lab_ok(applet_select(r, &why), &why);
    lab_ok(applet_info_get(r, &info, &why), &why);
    assert_int_equal(info.life, LINK_LIFE_BLANK);
    assert_int_equal(info.keys, 0);
    reader_free(&r);
}

/* Later, to a card that is out: nothing else of it changes, and once is enough. */
static void test_given_later(void **state)
{
    struct fixture *f = *state;
    struct manage_result given;
    struct ledger_card card;
    const struct piv_options rsa = {.rsa = true, .days = 365};
    const struct issue_result result = issue(f, false);
    struct ledger_certificate *before = calloc(2, sizeof *before);
    struct ledger_certificate *after = calloc(LEDGER_CERTS_PER_CARD, sizeof *after);
    size_t count = 0;
    assert_string_equal(result.piv_mailer, "");
    struct reader *r = open_piv(f);
    uint8_t value[16];
    assert_int_equal(get(r, PIV_OBJECT_AUTH, value, sizeof value, &count), SW_NOT_FOUND);
    reader_free(&r);
    lab_ok(ledger_certificates_get(f->lab->bank->ledger, result.serial, LEDGER_CERT_TLS, before,
                                   &count, &why),
           &why);
    lab_ok(ledger_card_block(f->lab->bank->ledger, result.serial, true, &why), &why);
    lab_ok(manage_piv_give(f->lab->bank, f->reader, &rsa, &given, &why), &why);
    assert_memory_equal(given.serial, result.serial, sizeof given.serial);
    assert_given(f, given.serial, given.mailer);
    r = open_piv(f);
    assert_usages(f, r, given.serial, true);
    reader_free(&r);
    lab_ok(ledger_card_get(f->lab->bank->ledger, result.serial, &card, &why), &why);
    assert_int_equal(card.status, LEDGER_CARD_BLOCKED);
    lab_ok(ledger_certificates_get(f->lab->bank->ledger, result.serial, LEDGER_CERT_TLS, after,
                                   &count, &why),
           &why);
    assert_int_equal(count, 1);
    assert_memory_equal(before->der, after->der, before->der_len);
    assert_int_equal(access(result.mailer, F_OK), 0);
    assert_int_equal(manage_piv_give(f->lab->bank, f->reader, &rsa, &given, &why), CW_ERR_STATE);
    assert_non_null(strstr(why.text, "already"));
    free(before);
    free(after);
}

static void test_not_to_a_dead_card(void **state)
{
    struct fixture *f = *state;
    struct manage_result given;
    (void)issue(f, false);
    lab_ok(manage_life_set(f->lab->bank, f->reader, MANAGE_LOCK, NULL, &given, &why), &why);
    assert_int_equal(manage_piv_give(f->lab->bank, f->reader, &plain, &given, &why), CW_ERR_STATE);
    lab_ok(manage_life_set(f->lab->bank, f->reader, MANAGE_TERMINATE, NULL, &given, &why), &why);
    assert_int_equal(manage_piv_give(f->lab->bank, f->reader, &plain, &given, &why), CW_ERR_STATE);
    assert_int_equal(ledger_piv_put(f->lab->bank->ledger, given.serial, NULL, 0, &why),
                     CW_ERR_STATE);
}

/* ---- a wire that lies ---- */

struct wire {
    struct reader *card;
    bool on;                  /* does what follows */
    unsigned exchanges, gone; /* torn out at the exchange of that number, from 1; 0: never */
    uint8_t ins, p2;          /* whose answer is changed; ins 0: none */
    size_t at;                /* which byte of it */
    unsigned skip;            /* so many of those are left alone first */
};

static enum cw_err wire_transceive(void *self, const uint8_t *command, size_t len,
                                   uint8_t *response, size_t cap, size_t *response_len,
                                   struct say *say)
{
    struct wire *w = self;
    if (w->on && ++w->exchanges == w->gone)
        return say_fail(say, CW_ERR_GONE, "the card was removed");
    enum cw_err err = reader_transceive(w->card, command, len, response, cap, response_len, say);
    bool meant =
        w->on && w->ins != 0 && command[1] == w->ins && command[3] == w->p2 && *response_len > 2;
    if (err == CW_OK && meant && w->skip-- == 0) {
        assert_true(w->at < *response_len - 2);
        response[w->at] ^= 0x01;
        w->ins = 0;
    }
    return err;
}

static enum cw_err wire_reset(void *self, struct say *say)
{
    struct wire *w = self;
    return reader_reset(w->card, say);
}

static void wire_free(void *self)
{
    struct wire *w = self;
    reader_free(&w->card);
}

/* The bank's desk with the wire between it and the card, its channel open. */
static struct desk *desk_behind(struct fixture *f, struct wire *wire)
{
    static const struct reader_ops ops = {wire_transceive, wire_reset, wire_free};
    struct desk *d = NULL;
    lab_ok(desk_open(f->lab->bank, f->reader, &d, &why), &why);
    wire->card = d->reader;
    const struct reader_backend backend = {.ops = &ops, .self = wire, .name = "wire"};
    assert_int_equal(reader_new(&backend, &d->reader), CW_OK);
    lab_ok(desk_channel_open(d, &why), &why);
    wire->on = true; /* from here on */
    return d;
}

static enum cw_err give_behind(struct fixture *f, struct wire *wire)
{
    struct mailer m;
    lab_ok(piv_prepare(f->lab->bank, &plain, &m, &why), &why);
    struct desk *d = desk_behind(f, wire);
    enum cw_err err = piv_give(d, &plain, &m, &why);
    mailer_wipe(&m);
    desk_free(&d);
    return err;
}

/* An answer that was changed is found out; what it says before the ledger knows of it is in no
 * certificate. */
static void test_changed_answers(void **state)
{
    static const struct {
        uint8_t ins, p2;
        size_t at;
        unsigned skip;
        enum cw_err err;
        bool certified;
    } lies[] = {
        {INS_AUTHENTICATE, PIV_REF_ADMIN, 0, 0, CW_ERR_FORMAT, false}, /* no template */
        {INS_AUTHENTICATE, PIV_REF_ADMIN, 1, 0, CW_ERR_FORMAT, false}, /* its length */
        {INS_AUTHENTICATE, PIV_REF_ADMIN, 2, 0, CW_ERR_FORMAT, false}, /* another tag in it */
        {INS_AUTHENTICATE, PIV_REF_ADMIN, 3, 0, CW_ERR_FORMAT, false},
        {INS_AUTHENTICATE, PIV_REF_ADMIN, 9, 0, CW_ERR_DENIED, false}, /* the witness */
        {INS_AUTHENTICATE, PIV_REF_ADMIN, 9, 1, CW_ERR_DENIED, false}, /* the card's proof */
        {INS_GENERATE_KEY, PIV_REF_AUTH, 0, 0, CW_ERR_FORMAT, false},
        {INS_GENERATE_KEY, PIV_REF_SIGNATURE, 2, 0, CW_ERR_FORMAT, false},
        {INS_GENERATE_KEY, PIV_REF_MANAGEMENT, 5, 0, CW_ERR_FORMAT, false}, /* 05: no point */
        {INS_GENERATE_KEY, PIV_REF_CARD, 20, 0, CW_ERR_FORMAT, false},      /* off the curve */
        {INS_GET_DATA_BER, 0xFF, 4, 0, CW_ERR_IO, true},                    /* CHUID */
        {INS_GET_DATA_BER, 0xFF, 9, 1, CW_ERR_IO, true},                    /* CCC */
        {INS_GET_DATA_BER, 0xFF, 4, 2, CW_ERR_IO, true},                    /* key history */
        {INS_GET_DATA_BER, 0xFF, 4, 3, CW_ERR_IO, true},                    /* discovery */
        {INS_GET_DATA_BER, 0xFF, 99, 4, CW_ERR_IO, true},                   /* a certificate */
    };
    struct fixture *f = *state;
    const struct issue_result result = issue(f, false);
    struct ledger_certificate *certs = calloc(LEDGER_CERTS_PER_CARD, sizeof *certs);
    struct manage_result given;
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        struct wire wire = {
            .ins = lies[i].ins, .p2 = lies[i].p2, .at = lies[i].at, .skip = lies[i].skip};
        enum cw_err err = give_behind(f, &wire);
        if (err != lies[i].err)
            fail_msg("lie %zu: %s: %s", i, cw_err_name(err), why.text);
        assert_int_equal(wire.ins, 0); /* it was told */
        assert_int_equal(recorded(f, result.serial, certs), lies[i].certified ? KEYS : 0);
    }
    lab_ok(manage_piv_give(f->lab->bank, f->reader, &plain, &given, &why), &why);
    assert_given(f, given.serial, given.mailer);
    free(certs);
}

/* ---- cut short ---- */

static void assert_link_is_as_it_was(struct fixture *f, const struct issue_result *issued)
{
    struct reader *r = NULL;
    struct applet_info info;
    char pin[16];
    FILE *file = fopen(issued->mailer, "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "card %*s PIN %15s", pin), 1);
    fclose(file);
    lab_ok(reader_open(f->reader, &r, &why), &why);
    lab_ok(applet_select(r, &why), &why);
    lab_ok(applet_info_get(r, &info, &why), &why);
    assert_int_equal(info.life, LINK_LIFE_ACTIVE);
    assert_int_equal(info.keys, issued->keys);
    assert_int_equal(info.certificates, issued->keys);
    lab_ok(applet_verify(r, LINK_PIN_LINE, (const uint8_t *)pin, strlen(pin), NULL, &why), &why);
    reader_free(&r);
}

/* The card torn out at every exchange: the link application is what it was, and the same command
 * completes it, or says that it is complete when it is. */
static void test_torn_out_at_every_exchange(void **state)
{
    struct fixture *f = *state;
    struct manage_result given;
    unsigned n = 1, whole = 0;
    for (;; n++) {
        struct wire wire = {.gone = n};
        char path[BANK_PATH_MAX], serial[2 * ORDER_SERIAL_LEN + 1];
        snprintf(f->reader, sizeof f->reader, "inproc:%s/card%u", f->lab->dir, n);
        const struct issue_result result = issue(f, false);
        enum cw_err err = give_behind(f, &wire);
        if (err == CW_OK)
            break;
        assert_int_equal(err, CW_ERR_GONE);
        assert_link_is_as_it_was(f, &result);
        err = manage_piv_give(f->lab->bank, f->reader, &plain, &given, &why);
        whole += err == CW_ERR_STATE;
        if (err != CW_OK && err != CW_ERR_STATE)
            fail_msg("cut at exchange %u: %s: %s", n, cw_err_name(err), why.text);
        bank_serial_text(result.serial, serial);
        lab_ok(mailer_find(f->lab->bank, serial, true, path, &why), &why);
        assert_given(f, result.serial, path);
        assert_link_is_as_it_was(f, &result);
    }
    assert_true(n > 30);
    assert_in_range(whole, 1, 6); /* after the last certificate: reading it, and the way back */
}

/* What a try with it has left on a blank card is no part of a card without it. */
static void test_issued_without_it_after_all(void **state)
{
    struct fixture *f = *state;
    struct desk *d = NULL;
    struct mailer m;
    char path[BANK_PATH_MAX];
    uint8_t value[2100];
    size_t len = 0;
    struct ledger_certificate *certs = calloc(LEDGER_CERTS_PER_CARD, sizeof *certs);
    lab_ok(piv_prepare(f->lab->bank, &plain, &m, &why), &why);
    lab_ok(desk_open(f->lab->bank, f->reader, &d, &why), &why);
    lab_ok(desk_take_over(d, NULL, false, &why), &why);
    lab_ok(
        ledger_card_begin(f->lab->bank->ledger, d->info.serial, f->lab->ada, NULL, 0, NULL, &why),
        &why);
    lab_ok(piv_give(d, &plain, &m, &why), &why);
    desk_free(&d);
    mailer_wipe(&m);
    memcpy(path, m.path, sizeof path);
    assert_int_equal(access(path, F_OK), 0);
    const struct issue_result result = issue(f, false);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(recorded(f, result.serial, certs), 0);
    struct reader *r = open_piv(f);
    for (size_t i = 0; i < KEYS; i++)
        assert_int_equal(get(r, piv_certificate_of(refs[i]), value, sizeof value, &len),
                         SW_NOT_FOUND);
    reader_free(&r);
    free(certs);
}

static void call_issuing(struct fixture *f)
{
    assert_true(lab_raw(f->lab->dir, "UPDATE card SET status = 'issuing'"));
}

/* Cut after the card was complete: it keeps what it has, and a card that has none gets it. */
static void test_issuance_goes_on(void **state)
{
    struct fixture *f = *state;
    char pin[16], puk[16], again[16];
    const struct issue_result first = issue(f, true);
    read_numbers(first.piv_mailer, pin, puk);
    call_issuing(f);
    struct issue_result result = issue(f, true);
    assert_true(result.resumed);
    assert_string_equal(result.piv_mailer, first.piv_mailer);
    read_numbers(result.piv_mailer, again, puk);
    assert_string_equal(again, pin);
    assert_given(f, result.serial, result.piv_mailer);
    snprintf(f->reader, sizeof f->reader, "inproc:%s/other", f->lab->dir);
    (void)issue(f, false);
    call_issuing(f);
    result = issue(f, true);
    assert_true(result.resumed);
    assert_given(f, result.serial, result.piv_mailer);
}

/* ---- the root ---- */

static void test_root(void **state)
{
    struct fixture *f = *state;
    char key[BANK_PATH_MAX], cert[BANK_PATH_MAX];
    struct manage_result given;
    X509 *root = NULL;
    EVP_PKEY *half = NULL;
    (void)issue(f, false);
    lab_ok(bank_path(f->lab->dir, BANK_FILE_PIV_ROOT, ".key", key, &why), &why);
    lab_ok(bank_path(f->lab->dir, BANK_FILE_PIV_ROOT, ".pem", cert, &why), &why);
    assert_int_not_equal(access(key, F_OK), 0); /* only when it is needed */
    lab_ok(bank_piv_root_make(f->lab->bank, &why), &why);
    /* cut short between its two files: the key stays */
    assert_int_equal(unlink(cert), 0);
    lab_ok(bank_key_load(f->lab->bank, BANK_FILE_PIV_ROOT, &half, &why), &why);
    lab_ok(bank_piv_root_make(f->lab->bank, &why), &why);
    lab_ok(bank_certificate_load(f->lab->bank, BANK_FILE_PIV_ROOT, &root, &why), &why);
    assert_int_equal(X509_verify(root, half), 1);
    lab_ok(bank_piv_root_make(f->lab->bank, &why), &why); /* there already */
    lab_ok(manage_piv_give(f->lab->bank, f->reader, &plain, &given, &why), &why);
    /* lost: never made anew */
    assert_int_equal(unlink(cert), 0);
    assert_int_equal(bank_piv_root_make(f->lab->bank, &why), CW_ERR_STATE);
    assert_non_null(strstr(why.text, "piv-root.pem"));
    assert_int_equal(unlink(key), 0);
    assert_int_equal(bank_piv_root_make(f->lab->bank, &why), CW_ERR_STATE);
    X509_free(root);
    EVP_PKEY_free(half);
}

/* ---- public keys ---- */

static size_t put_p256(uint8_t *out, size_t cap)
{
    uint8_t point[PIV_POINT_LEN];
    size_t len = 0;
    struct buf_writer w;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    assert_int_equal(EVP_PKEY_get_octet_string_param(key, "pub", point, sizeof point, &len), 1);
    assert_int_equal(len, sizeof point);
    EVP_PKEY_free(key);
    buf_writer_init(&w, out, cap);
    ber_put_header(&w, PIV_TAG_PUBLIC, 2 + sizeof point);
    ber_put(&w, PIV_TAG_PUBLIC_KEY, point, sizeof point);
    assert_false(w.bad);
    return w.len;
}

static size_t put_rsa(uint8_t *out, size_t cap, int bits, const char *exponent)
{
    uint8_t n[512];
    struct buf_writer w;
    BIGNUM *modulus = NULL;
    EVP_PKEY *key = EVP_RSA_gen((unsigned)bits);
    assert_int_equal(EVP_PKEY_get_bn_param(key, "n", &modulus), 1);
    int len = BN_bn2bin(modulus, n);
    BN_free(modulus);
    EVP_PKEY_free(key);
    buf_writer_init(&w, out, cap);
    ber_put_header(&w, PIV_TAG_PUBLIC, 4 + (size_t)len + 2 + 3);
    ber_put(&w, PIV_TAG_MODULUS, n, (size_t)len);
    ber_put(&w, PIV_TAG_EXPONENT, exponent, 3);
    assert_false(w.bad);
    return w.len;
}

static enum cw_err read_key(const uint8_t *answer, size_t len, bool rsa)
{
    /* exactly so long, for the sanitizers */
    uint8_t *copy = malloc(len + (len == 0));
    EVP_PKEY *key = NULL;
    assert_non_null(copy);
    if (len > 0)
        memcpy(copy, answer, len);
    enum cw_err err = piv_public_key_read(copy, len, rsa, &key, &why);
    assert_true((err == CW_OK) == (key != NULL));
    EVP_PKEY_free(key);
    free(copy);
    return err;
}

static void test_public_keys(void **state)
{
    uint8_t p256[128], rsa[600], other[600];
    size_t p256_len = put_p256(p256, sizeof p256);
    size_t rsa_len = put_rsa(rsa, sizeof rsa, 2048, "\x01\x00\x01");
    (void)state;
    assert_int_equal(read_key(p256, p256_len, false), CW_OK);
    assert_int_equal(read_key(rsa, rsa_len, true), CW_OK);
    /* of the other kind, cut short anywhere, with something behind */
    assert_int_equal(read_key(p256, p256_len, true), CW_ERR_FORMAT);
    assert_int_equal(read_key(rsa, rsa_len, false), CW_ERR_FORMAT);
    for (size_t n = 0; n < p256_len; n++)
        assert_int_equal(read_key(p256, n, false), CW_ERR_FORMAT);
    for (size_t n = 0; n < rsa_len; n++)
        assert_int_equal(read_key(rsa, n, true), CW_ERR_FORMAT);
    assert_int_equal(read_key(p256, p256_len + 1, false), CW_ERR_FORMAT);
    assert_int_equal(read_key(rsa, rsa_len + 1, true), CW_ERR_FORMAT);
    /* each bit of what stands before the numbers, and of the exponent */
    for (size_t bit = 0; bit < 8 * 6; bit++) {
        p256[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(read_key(p256, p256_len, false), CW_ERR_FORMAT);
        p256[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t bit = 0; bit < 8 * rsa_len; bit++) {
        if (bit == 8 * 9)
            bit = 8 * (rsa_len - 5);
        rsa[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(read_key(rsa, rsa_len, true), CW_ERR_FORMAT);
        rsa[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    /* another size; a modulus that is even, or too small for its bytes */
    size_t len = put_rsa(other, sizeof other, 3072, "\x01\x00\x01");
    assert_int_equal(read_key(other, len, true), CW_ERR_FORMAT);
    rsa[rsa_len - 6] ^= 1;
    assert_int_equal(read_key(rsa, rsa_len, true), CW_ERR_FORMAT);
    rsa[rsa_len - 6] ^= 1;
    rsa[9] &= 0x7F;
    assert_int_equal(read_key(rsa, rsa_len, true), CW_ERR_FORMAT);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_issued_with_it, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_numbers_are_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_given_later, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_to_a_dead_card, setup, teardown),
        cmocka_unit_test_setup_teardown(test_changed_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_torn_out_at_every_exchange, setup, teardown),
        cmocka_unit_test_setup_teardown(test_issued_without_it_after_all, setup, teardown),
        cmocka_unit_test_setup_teardown(test_issuance_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(test_root, setup, teardown),
        cmocka_unit_test(test_public_keys),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
