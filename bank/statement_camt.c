/* statement_camt.c - a statement as ISO 20022 camt.053.001.08 (BankToCustomerStatementV08), written
 * by libxml2. Elements stand in the order of the standard's sequences. */
#include "bank/statement.h"

#include <libxml/xmlwriter.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#define CAMT_NAMESPACE "urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"
#define TEXT_MAX       40u

struct camt {
    xmlTextWriterPtr w;
    const struct statement *s;
    bool bad;
};

static const xmlChar *x(const char *text)
{
    return (const xmlChar *)text;
}

static void begin(struct camt *c, const char *name)
{
    c->bad |= xmlTextWriterStartElement(c->w, x(name)) < 0;
}

static void end(struct camt *c)
{
    c->bad |= xmlTextWriterEndElement(c->w) < 0;
}

static void put(struct camt *c, const char *name, const char *text)
{
    c->bad |= xmlTextWriterWriteElement(c->w, x(name), x(text)) < 0;
}

/* <a><b>text</b></a> */
static void put_in(struct camt *c, const char *outer, const char *name, const char *text)
{
    begin(c, outer);
    put(c, name, text);
    end(c);
}

static void put_time(struct camt *c, const char *name, int64_t seconds)
{
    char text[TEXT_MAX] = "";
    struct buf_writer w;
    buf_writer_init(&w, (uint8_t *)text, sizeof text - 1);
    cal_put(&w, seconds);
    c->bad |= w.bad;
    put(c, name, text);
}

/* An amount has no sign; what it does to the account is said beside it. */
static void put_amount(struct camt *c, int64_t amount)
{
    char text[TEXT_MAX] = "";
    struct buf_writer w;
    buf_writer_init(&w, (uint8_t *)text, sizeof text - 1);
    order_amount_put(&w, amount < 0 ? -amount : amount, c->s->account.currency);
    c->bad |= w.bad;
    begin(c, "Amt");
    c->bad |= xmlTextWriterWriteAttribute(c->w, x("Ccy"), x(c->s->account.currency)) < 0;
    c->bad |= xmlTextWriterWriteString(c->w, x(text)) < 0;
    end(c);
    put(c, "CdtDbtInd", amount < 0 ? "DBIT" : "CRDT");
}

/* Our numbers have the shape of an IBAN and are none (ZZ is no country): another identification. */
static void put_account_id(struct camt *c, const char *number)
{
    begin(c, "Id");
    put_in(c, "Othr", "Id", number);
    end(c);
}

/* The same statement has the same name: 32 of the 35 characters that it may have. */
static void statement_id(const struct statement *s, char out[TEXT_MAX])
{
    uint8_t bytes[128], hash[SHA256_DIGEST_LENGTH];
    struct buf_writer w;
    buf_writer_init(&w, bytes, sizeof bytes);
    buf_put_str(&w, s->account.number);
    buf_put_u64(&w, (uint64_t)s->from);
    buf_put_u64(&w, (uint64_t)s->to);
    buf_put_u64(&w, (uint64_t)s->opening);
    buf_put_u64(&w, s->count);
    buf_put_u64(&w, s->count > 0 ? (uint64_t)s->list[s->count - 1].place.entry : 0);
    SHA256(bytes, w.len, hash);
    memset(out, 0, TEXT_MAX);
    buf_writer_init(&w, (uint8_t *)out, TEXT_MAX - 1);
    buf_put_hex(&w, hash, 16);
}

static void put_balance(struct camt *c, const char *code, int64_t amount, int64_t time)
{
    begin(c, "Bal");
    begin(c, "Tp");
    put_in(c, "CdOrPrtry", "Cd", code);
    end(c);
    put_amount(c, amount);
    begin(c, "Dt");
    put_time(c, "DtTm", time);
    end(c);
    end(c);
}

static void put_account(struct camt *c)
{
    const struct statement *s = c->s;
    begin(c, "Acct");
    put_account_id(c, s->account.number);
    put(c, "Ccy", s->account.currency);
    put_in(c, "Ownr", "Nm", s->account.name);
    begin(c, "Svcr");
    put_in(c, "FinInstnId", "Nm", s->bank);
    end(c);
    end(c);
}

/* Bank transaction codes of ISO 20022: payments, credit transfers issued and received, booked
 * within the bank; counter transactions, cash deposit. */
static void put_code(struct camt *c, const struct ledger_transaction *t)
{
    bool payment = strcmp(t->kind, "payment") == 0;
    begin(c, "BkTxCd");
    begin(c, "Domn");
    put(c, "Cd", "PMNT");
    begin(c, "Fmly");
    put(c, "Cd", !payment ? "CNTR" : t->amount < 0 ? "ICDT" : "RCDT");
    put(c, "SubFmlyCd", payment ? "BOOK" : "CDPT");
    end(c);
    end(c);
    end(c);
}

static void put_party(struct camt *c, const char *who, const char *account, const char *name,
                      const char *number)
{
    begin(c, who);
    put_in(c, "Pty", "Nm", name);
    end(c);
    begin(c, account);
    put_account_id(c, number);
    end(c);
}

static void put_details(struct camt *c, const struct ledger_transaction *t, const char *entry)
{
    const struct ledger_account *a = &c->s->account;
    char order[TEXT_MAX] = "";
    struct buf_writer w;
    bool out = t->amount < 0;
    buf_writer_init(&w, (uint8_t *)order, sizeof order - 1);
    buf_put_hex(&w, t->order, sizeof t->order);
    begin(c, "NtryDtls");
    begin(c, "TxDtls");
    begin(c, "Refs");
    put(c, "AcctSvcrRef", entry);
    if (t->has_order)
        put(c, "EndToEndId", order);
    end(c);
    put_amount(c, t->amount);
    begin(c, "RltdPties");
    put_party(c, "Dbtr", "DbtrAcct", out ? a->name : t->other_name,
              out ? a->number : t->other_account);
    put_party(c, "Cdtr", "CdtrAcct", out ? t->other_name : a->name,
              out ? t->other_account : a->number);
    end(c);
    if (t->reference[0] != '\0')
        put_in(c, "RmtInf", "Ustrd", t->reference);
    end(c);
    end(c);
}

static void put_entry(struct camt *c, const struct ledger_transaction *t)
{
    char entry[TEXT_MAX];
    snprintf(entry, sizeof entry, "%lld", (long long)t->place.entry);
    begin(c, "Ntry");
    put(c, "NtryRef", entry);
    put_amount(c, t->amount);
    put_in(c, "Sts", "Cd", "BOOK");
    begin(c, "BookgDt");
    put_time(c, "DtTm", t->time);
    end(c);
    begin(c, "ValDt");
    put_time(c, "DtTm", t->time);
    end(c);
    put(c, "AcctSvcrRef", entry);
    put_code(c, t);
    put_details(c, t, entry);
    end(c);
}

static void put_document(struct camt *c)
{
    const struct statement *s = c->s;
    char id[TEXT_MAX];
    statement_id(s, id);
    c->bad |= xmlTextWriterStartDocument(c->w, NULL, "UTF-8", NULL) < 0;
    c->bad |= xmlTextWriterStartElementNS(c->w, NULL, x("Document"), x(CAMT_NAMESPACE)) < 0;
    begin(c, "BkToCstmrStmt");
    begin(c, "GrpHdr");
    put(c, "MsgId", id);
    put_time(c, "CreDtTm", s->made);
    end(c);
    begin(c, "Stmt");
    put(c, "Id", id);
    put_time(c, "CreDtTm", s->made);
    begin(c, "FrToDt");
    put_time(c, "FrDtTm", s->from);
    put_time(c, "ToDtTm", s->to);
    end(c);
    put_account(c);
    put_balance(c, "OPBD", s->opening, s->from);
    put_balance(c, "CLBD", s->closing, s->to);
    for (size_t i = 0; i < s->count; i++)
        put_entry(c, &s->list[i]);
    c->bad |= xmlTextWriterEndDocument(c->w) < 0; /* and all elements that are open */
}

enum cw_err statement_camt(const struct statement *s, char **out, size_t *len)
{
    xmlBufferPtr buffer = xmlBufferCreate();
    struct camt c = {.s = s};
    char *text = NULL;
    if (buffer != NULL && (c.w = xmlNewTextWriterMemory(buffer, 0)) != NULL) {
        put_document(&c);
        xmlFreeTextWriter(c.w); /* flushes */
        size_t n = (size_t)xmlBufferLength(buffer);
        if (!c.bad && (text = malloc(n)) != NULL) {
            memcpy(text, xmlBufferContent(buffer), n);
            *out = text;
            *len = n;
        }
    }
    if (buffer != NULL)
        xmlBufferFree(buffer);
    return text != NULL ? CW_OK : CW_ERR_SPACE;
}
