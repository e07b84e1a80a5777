#include "bank/journal.h"

#include "bank/ca.h"
#include "receipt/cert.h"
#include "receipt/verify.h"

#include <openssl/err.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

struct journal {
    EVP_PKEY *key;
    X509 *certificate, *root;
    uint8_t der[RECEIPT_CERT_MAX]; /* of the certificate */
    size_t der_len;
    uint8_t sha256[LEDGER_HASH_LEN];  /* of that */
    uint8_t issuer[RECEIPT_CERT_MAX]; /* of the CA that issues cards */
    size_t issuer_len;                /* 0: the root does */
};

static enum cw_err check_certificate(const struct bank *b, X509 *cert, X509 *root, struct say *why)
{
    if (cert_is_by(cert, NULL, root, ledger_now(b->ledger)) && cert_is_journal(cert, b->name))
        return CW_OK;
    return say_fail(why, CW_ERR_FORMAT,
                    BANK_FILE_JOURNAL ".pem is not a certificate for this bank's journal, by "
                                      "its " BANK_FILE_CARD_ROOT ", and valid now; restore it "
                                      "from a copy");
}

static enum cw_err load_issuer(const struct bank *b, struct journal *j, struct say *why)
{
    X509 *cert = NULL;
    unsigned char *at = j->issuer;
    if (strcmp(b->card_issuer, BANK_FILE_CARD_ROOT) == 0)
        return CW_OK;
    enum cw_err err = bank_certificate_load(b, b->card_issuer, &cert, why);
    int n = err == CW_OK ? i2d_X509(cert, NULL) : 0;
    if (err == CW_OK && (n <= 0 || (size_t)n > sizeof j->issuer || i2d_X509(cert, &at) != n))
        err = ca_fail(why, BANK_FILE_CARD_ISSUER ".pem");
    if (err == CW_OK)
        j->issuer_len = (size_t)n;
    X509_free(cert);
    return err;
}

enum cw_err journal_open(struct bank *b, struct journal **out, struct say *why)
{
    struct journal *j = calloc(1, sizeof *j);
    if (j == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    unsigned char *at = j->der;
    int n = 0;
    enum cw_err err = bank_journal_make(b, why);
    if (err == CW_OK)
        err = bank_pair_load(b, BANK_FILE_JOURNAL, &j->certificate, &j->key, why);
    if (err == CW_OK)
        err = bank_certificate_load(b, BANK_FILE_CARD_ROOT, &j->root, why);
    if (err == CW_OK)
        err = check_certificate(b, j->certificate, j->root, why);
    if (err == CW_OK)
        err = load_issuer(b, j, why);
    if (err == CW_OK) {
        n = i2d_X509(j->certificate, NULL);
        if (n <= 0 || (size_t)n > sizeof j->der || i2d_X509(j->certificate, &at) != n)
            err = ca_fail(why, BANK_FILE_JOURNAL ".pem");
    }
    if (err != CW_OK) {
        journal_free(&j);
        return err;
    }
    j->der_len = (size_t)n;
    SHA256(j->der, j->der_len, j->sha256);
    *out = j;
    return CW_OK;
}

void journal_free(struct journal **journal)
{
    struct journal *j = *journal;
    if (j == NULL)
        return;
    EVP_PKEY_free(j->key);
    X509_free(j->certificate);
    X509_free(j->root);
    free(j);
    *journal = NULL;
}

/* ---- heads ---- */

struct signing {
    struct bank *bank;
    const struct journal *journal;
    int64_t entry; /* for the receipt of which */
};

/* In one transaction of its own: it cannot be begun while another is open here, whose entries may
 * yet be taken back. */
static enum cw_err sign_head(void *ctx, struct say *why)
{
    const int64_t block = RECEIPT_ENTRIES_MAX + 1;
    const struct signing *s = ctx;
    const struct journal *j = s->journal;
    struct ledger_head kept;
    struct head h = {.time = ledger_now(s->bank->ledger)};
    struct buf_writer w;
    memset(&kept, 0, sizeof kept);
    memcpy(h.bank, s->bank->name, sizeof h.bank);
    memcpy(h.certificate, j->sha256, sizeof h.certificate);
    int64_t last = (s->entry + block - 1) / block * block;
    enum cw_err err = ledger_chain_get(s->bank->ledger, last, &h.entry, h.hash, why);
    if (err != CW_OK)
        return err;
    buf_writer_init(&w, kept.text, sizeof kept.text);
    if ((err = head_write(&h, &w)) != CW_OK)
        return say_fail(why, err, "a head cannot be written for a bank of this name");
    kept.text_len = w.len;
    err = signature_make_low(j->key, kept.text, kept.text_len, kept.signature, &kept.signature_len,
                             why);
    if (err != CW_OK)
        return err;
    kept.entry = h.entry;
    memcpy(kept.signer, j->sha256, sizeof kept.signer);
    memcpy(kept.certificate, j->der, j->der_len);
    kept.certificate_len = j->der_len;
    return ledger_head_add(s->bank->ledger, &kept, why);
}

/* The nearest head from the entry on, which is there or is signed now. */
static enum cw_err find_head(struct bank *b, const struct journal *j, int64_t entry,
                             struct ledger_head *out, struct say *why)
{
    struct signing s = {b, j, entry};
    const int64_t last = entry + (int64_t)RECEIPT_ENTRIES_MAX;
    enum cw_err err = ledger_head_find(b->ledger, entry, last, out, why);
    if (err != CW_ERR_NOT_FOUND)
        return err;
    err = ledger_together(b->ledger, sign_head, &s, why);
    return err == CW_OK ? ledger_head_find(b->ledger, entry, last, out, why) : err;
}

/* ---- receipts ---- */

/* The parts that stand in the ledger. */
static enum cw_err gather(struct bank *b, const struct journal *j, const struct ledger_payment *p,
                          struct receipt *r, struct say *why)
{
    struct ledger_certificate cert;
    struct ledger_head head;
    enum cw_err err = ledger_certificate_find(b->ledger, p->certificate, &cert, why);
    if (err == CW_OK)
        err = find_head(b, j, p->id, &head, why);
    if (err == CW_OK)
        err = ledger_proof_get(b->ledger, p->id, head.entry, &r->proof, why);
    if (err != CW_OK)
        return err;
    memcpy(r->text, p->text, r->text_len = p->text_len);
    memcpy(r->signature, p->signature, r->signature_len = p->signature_len);
    memcpy(r->certificate, cert.der, r->certificate_len = cert.der_len);
    memcpy(r->issuer, j->issuer, r->issuer_len = j->issuer_len);
    memcpy(r->proof.head, head.text, r->proof.head_len = head.text_len);
    memcpy(r->proof.signature, head.signature, r->proof.signature_len = head.signature_len);
    memcpy(r->proof.certificate, head.certificate, r->proof.certificate_len = head.certificate_len);
    return CW_OK;
}

enum cw_err journal_receipt(struct bank *b, const struct journal *j, const struct ledger_payment *p,
                            uint8_t **out, size_t *len, struct say *why)
{
    struct receipt_facts facts;
    struct receipt *r = calloc(1, sizeof *r);
    if (r == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    enum cw_err err = gather(b, j, p, r, why);
    if (err == CW_OK)
        err = receipt_verify(r, j->root, &facts, why);
    if (err == CW_OK)
        err = receipt_write(r, out, len, why);
    free(r);
    return err;
}

/* ---- audit ---- */

struct head_audit {
    struct bank *bank;
    X509 *root, *signer; /* signer: of the head before, found good */
    uint8_t sha256[LEDGER_HASH_LEN];
    int64_t count;
};

/* Most heads have the signer of the one before. */
static bool take_signer(struct head_audit *a, const struct ledger_head *h, int64_t time)
{
    const unsigned char *at = h->certificate;
    uint8_t sha256[LEDGER_HASH_LEN];
    SHA256(h->certificate, h->certificate_len, sha256);
    if (memcmp(sha256, h->signer, sizeof sha256) != 0)
        return false;
    if (a->signer != NULL && memcmp(a->sha256, sha256, sizeof sha256) == 0)
        return true;
    X509_free(a->signer);
    a->signer = d2i_X509(NULL, &at, (long)h->certificate_len);
    memcpy(a->sha256, sha256, sizeof sha256);
    ERR_clear_error();
    return a->signer != NULL && at == h->certificate + h->certificate_len &&
           cert_is_journal(a->signer, a->bank->name) && cert_is_by(a->signer, NULL, a->root, time);
}

static enum cw_err check_head(void *ctx, const struct ledger_head *kept, const uint8_t *hash,
                              struct say *why)
{
    struct head_audit *a = ctx;
    struct head h;
    const char *wrong = NULL;
    if (head_parse(kept->text, kept->text_len, &h) != CW_OK || h.entry != kept->entry ||
        strcmp(h.bank, a->bank->name) != 0 ||
        memcmp(h.certificate, kept->signer, sizeof h.certificate) != 0)
        wrong = "its text is not one of this bank, for that entry";
    else if (hash == NULL || memcmp(hash, h.hash, sizeof h.hash) != 0)
        wrong = "it has another hash than the chain: one of them was written anew";
    else if (!take_signer(a, kept, h.time))
        wrong = "its certificate is not one for the journal, by the bank's root";
    else if (!signature_good_low(X509_get0_pubkey(a->signer), kept->text, kept->text_len,
                                 kept->signature, kept->signature_len))
        wrong = "the signature does not fit";
    a->count++;
    return wrong == NULL ? CW_OK
                         : say_fail(why, CW_ERR_FORMAT, "the head of entry %lld: %s",
                                    (long long)kept->entry, wrong);
}

static enum cw_err check_file(struct bank *b, X509 *root, struct say *why)
{
    X509 *cert = NULL;
    bool there = false;
    enum cw_err err = bank_file_there(b, BANK_FILE_JOURNAL, ".pem", &there, why);
    if (err != CW_OK || !there)
        return err;
    err = bank_certificate_load(b, BANK_FILE_JOURNAL, &cert, why);
    if (err == CW_OK)
        err = check_certificate(b, cert, root, why);
    X509_free(cert);
    return err;
}

enum cw_err journal_audit(struct bank *b, X509 *card_root, int64_t *heads, struct say *why)
{
    struct head_audit a = {.bank = b, .root = card_root};
    enum cw_err err = check_file(b, card_root, why);
    if (err == CW_OK)
        err = ledger_head_each(b->ledger, check_head, &a, why);
    X509_free(a.signer);
    if (err == CW_OK)
        *heads = a.count;
    return err;
}
