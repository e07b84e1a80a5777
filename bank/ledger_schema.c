/* ledger_schema.c - the tables of the SQLite ledger. docs/bank.md explains them. A new ledger goes
 * the same way as one that was made by an older program: through every step. What a release has
 * written is never edited; a change is a new step, and a new LEDGER_SCHEMA. */
#include "bank/ledger_db.h"

static const char step_1[] =
    "CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE customer ("
    "  id INTEGER PRIMARY KEY, name TEXT NOT NULL, since INTEGER NOT NULL) STRICT;"
    /* A customer's account never goes below zero; the bank's own (customer NULL) may. */
    "CREATE TABLE account ("
    "  id INTEGER PRIMARY KEY, number TEXT NOT NULL UNIQUE,"
    "  customer INTEGER REFERENCES customer (id), currency TEXT NOT NULL,"
    "  balance INTEGER NOT NULL DEFAULT 0, since INTEGER NOT NULL,"
    "  CHECK (length(currency) = 3), CHECK (customer IS NULL OR balance >= 0)) STRICT;"
    "CREATE INDEX account_customer ON account (customer);"
    "CREATE UNIQUE INDEX account_cash ON account (currency) WHERE customer IS NULL;"
    "CREATE TABLE journal ("
    "  id INTEGER PRIMARY KEY, time INTEGER NOT NULL,"
    "  kind TEXT NOT NULL CHECK (kind IN ('deposit', 'payment')),"
    "  reference TEXT NOT NULL) STRICT;"
    "CREATE TABLE posting ("
    "  journal INTEGER NOT NULL REFERENCES journal (id), line INTEGER NOT NULL,"
    "  account INTEGER NOT NULL REFERENCES account (id),"
    "  amount INTEGER NOT NULL CHECK (amount <> 0), balance INTEGER NOT NULL,"
    "  PRIMARY KEY (journal, line)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX posting_account ON posting (account, journal);"
    "CREATE TABLE card ("
    "  serial BLOB PRIMARY KEY CHECK (length(serial) = 8),"
    "  customer INTEGER NOT NULL REFERENCES customer (id),"
    "  status TEXT NOT NULL CHECK (status IN ('issuing', 'active', 'blocked')),"
    "  since INTEGER NOT NULL) STRICT;"
    "CREATE TABLE certificate ("
    "  sha256 BLOB PRIMARY KEY CHECK (length(sha256) = 32),"
    "  card BLOB NOT NULL REFERENCES card (serial),"
    "  kind TEXT NOT NULL CHECK (kind IN ('tls', 'order')),"
    "  slot INTEGER NOT NULL, der BLOB NOT NULL, UNIQUE (card, slot)) STRICT;"
    "CREATE TABLE payment ("
    "  journal INTEGER PRIMARY KEY REFERENCES journal (id),"
    "  order_id BLOB NOT NULL UNIQUE CHECK (length(order_id) = 16),"
    "  request BLOB NOT NULL CHECK (length(request) = 32),"
    "  customer INTEGER NOT NULL REFERENCES customer (id),"
    "  card BLOB NOT NULL REFERENCES card (serial), counter INTEGER NOT NULL,"
    "  certificate BLOB NOT NULL REFERENCES certificate (sha256),"
    "  text BLOB NOT NULL, signature BLOB NOT NULL, reply TEXT NOT NULL,"
    "  UNIQUE (card, counter)) STRICT;"
    /* What was booked stays booked. */
    "CREATE TRIGGER journal_update BEFORE UPDATE ON journal"
    "  BEGIN SELECT RAISE (ABORT, 'the journal is append-only'); END;"
    "CREATE TRIGGER journal_delete BEFORE DELETE ON journal"
    "  BEGIN SELECT RAISE (ABORT, 'the journal is append-only'); END;"
    "CREATE TRIGGER posting_update BEFORE UPDATE ON posting"
    "  BEGIN SELECT RAISE (ABORT, 'postings are append-only'); END;"
    "CREATE TRIGGER posting_delete BEFORE DELETE ON posting"
    "  BEGIN SELECT RAISE (ABORT, 'postings are append-only'); END;"
    "CREATE TRIGGER payment_update BEFORE UPDATE ON payment"
    "  BEGIN SELECT RAISE (ABORT, 'payments are append-only'); END;"
    "CREATE TRIGGER payment_delete BEFORE DELETE ON payment"
    "  BEGIN SELECT RAISE (ABORT, 'payments are append-only'); END;";

/* Cards that the bank manages: a key set, a policy, signed updates and a list of payees each; cards
 * that are personalised and not active yet, and dead ones; certificates of the PIV application.
 * SQLite cannot change a CHECK: the tables are made anew (https://sqlite.org/lang_altertable.html,
 * section 7). */
static const char step_2[] =
    "CREATE TABLE card_2 ("
    "  serial BLOB PRIMARY KEY CHECK (length(serial) = 8),"
    "  customer INTEGER NOT NULL REFERENCES customer (id),"
    "  status TEXT NOT NULL CHECK ("
    "    status IN ('issuing', 'personalised', 'active', 'blocked', 'terminated')),"
    "  since INTEGER NOT NULL) STRICT;"
    "INSERT INTO card_2 SELECT serial, customer, status, since FROM card;"
    "DROP TABLE card;"
    "ALTER TABLE card_2 RENAME TO card;"
    "CREATE TABLE certificate_2 ("
    "  sha256 BLOB PRIMARY KEY CHECK (length(sha256) = 32),"
    "  card BLOB NOT NULL REFERENCES card (serial),"
    "  kind TEXT NOT NULL CHECK (kind IN ('tls', 'order', 'piv')),"
    "  slot INTEGER NOT NULL, der BLOB NOT NULL, UNIQUE (card, slot)) STRICT;"
    "INSERT INTO certificate_2 SELECT sha256, card, kind, slot, der FROM certificate;"
    "DROP TABLE certificate;"
    "ALTER TABLE certificate_2 RENAME TO certificate;"
    /* Which root and certificates the server has, and which it will have (bank/bank.h). */
    "INSERT INTO setting VALUES ('server', '1'), ('server-next', '0');"
    /* A card of the time before has no row here, and takes no updates. */
    "CREATE TABLE management ("
    "  card BLOB PRIMARY KEY REFERENCES card (serial),"
    "  keyset INTEGER NOT NULL CHECK (keyset BETWEEN 1 AND 127), policy BLOB NOT NULL,"
    "  applied INTEGER NOT NULL DEFAULT 0) STRICT;"
    "CREATE TABLE card_update ("
    "  card BLOB NOT NULL REFERENCES management (card),"
    "  sequence INTEGER NOT NULL CHECK (sequence BETWEEN 1 AND 4294967295),"
    "  message BLOB NOT NULL CHECK (length(message) BETWEEN 1 AND 2048),"
    "  made INTEGER NOT NULL, fetched INTEGER, PRIMARY KEY (card, sequence))"
    "  STRICT, WITHOUT ROWID;"
    "CREATE TABLE payee ("
    "  id INTEGER PRIMARY KEY, card BLOB NOT NULL REFERENCES management (card),"
    "  account TEXT NOT NULL REFERENCES account (number), name TEXT NOT NULL,"
    "  added INTEGER NOT NULL, confirmed TEXT NOT NULL, removed INTEGER) STRICT;"
    "CREATE UNIQUE INDEX payee_listed ON payee (card, account) WHERE removed IS NULL;"
    /* What was signed, and who was put on a list by whose word, stays. Until the card is issued
     * nothing of it was. */
    "CREATE TRIGGER card_update_update BEFORE UPDATE ON card_update"
    "  WHEN OLD.fetched IS NOT NULL OR NEW.card <> OLD.card OR NEW.sequence <> OLD.sequence"
    "    OR NEW.message <> OLD.message OR NEW.made <> OLD.made"
    "  BEGIN SELECT RAISE (ABORT, 'updates of cards are append-only'); END;"
    "CREATE TRIGGER card_update_delete BEFORE DELETE ON card_update"
    "  WHEN (SELECT status FROM card WHERE serial = OLD.card) IS NOT 'issuing'"
    "  BEGIN SELECT RAISE (ABORT, 'updates of cards are append-only'); END;"
    "CREATE TRIGGER payee_update BEFORE UPDATE ON payee"
    "  WHEN OLD.removed IS NOT NULL OR NEW.id <> OLD.id OR NEW.card <> OLD.card"
    "    OR NEW.account <> OLD.account OR NEW.name <> OLD.name OR NEW.added <> OLD.added"
    "    OR NEW.confirmed <> OLD.confirmed"
    "  BEGIN SELECT RAISE (ABORT, 'lists of payees are append-only'); END;"
    "CREATE TRIGGER payee_delete BEFORE DELETE ON payee"
    "  WHEN (SELECT status FROM card WHERE serial = OLD.card) IS NOT 'issuing'"
    "  BEGIN SELECT RAISE (ABORT, 'lists of payees are append-only'); END;"
    "CREATE TRIGGER management_update BEFORE UPDATE ON management"
    "  WHEN NEW.applied < OLD.applied"
    "  BEGIN SELECT RAISE (ABORT, 'a card does not go back'); END;";

/* Serials for which keys were given out: from before PUT KEY on, so also of cards that never came
 * to be issued. Those of the time before are known as far as they came into the books. */
static const char step_3[] =
    "CREATE TABLE card_keys ("
    "  serial BLOB PRIMARY KEY CHECK (length(serial) = 8), given INTEGER NOT NULL)"
    "  STRICT, WITHOUT ROWID;"
    "INSERT INTO card_keys SELECT serial, since FROM card JOIN management ON card = serial;"
    "CREATE TRIGGER card_keys_update BEFORE UPDATE ON card_keys"
    "  BEGIN SELECT RAISE (ABORT, 'keys that were given stay given'); END;"
    "CREATE TRIGGER card_keys_delete BEFORE DELETE ON card_keys"
    "  BEGIN SELECT RAISE (ABORT, 'keys that were given stay given'); END;";

/* The hash of each entry over all that belongs to it and over the hash of the one before
 * (ledger_chain.c). Entries of the time before get theirs when the ledger comes to this step. */
static const char step_4[] =
    "CREATE TABLE chain ("
    "  journal INTEGER PRIMARY KEY REFERENCES journal (id),"
    "  salt BLOB NOT NULL CHECK (length(salt) = 16),"
    "  hash BLOB NOT NULL CHECK (length(hash) = 32)) STRICT;"
    /* An older program that still has the file open books without hashes: once, and no more. */
    "CREATE TRIGGER journal_chained BEFORE INSERT ON journal"
    "  WHEN (SELECT max(id) FROM journal) IS NOT (SELECT max(journal) FROM chain)"
    "  BEGIN SELECT RAISE (ABORT, 'the last entry has no hash; is an older cardwired at work?'); "
    "END;"
    "CREATE TRIGGER chain_update BEFORE UPDATE ON chain"
    "  BEGIN SELECT RAISE (ABORT, 'the chain is append-only'); END;"
    "CREATE TRIGGER chain_delete BEFORE DELETE ON chain"
    "  BEGIN SELECT RAISE (ABORT, 'the chain is append-only'); END;";

/* What an account is, and what of its balance may not be spent: held for orders that wait, and the
 * floor below which no order takes it. A frozen one neither pays nor is paid. */
static const char step_5[] =
    "ALTER TABLE account ADD COLUMN kind TEXT NOT NULL DEFAULT 'liability'"
    "  CHECK (kind IN ('asset', 'liability'));"
    "UPDATE account SET kind = 'asset' WHERE customer IS NULL;"
    "ALTER TABLE account ADD COLUMN held INTEGER NOT NULL DEFAULT 0 CHECK (held >= 0);"
    "ALTER TABLE account ADD COLUMN floor INTEGER NOT NULL DEFAULT 0 CHECK (floor >= 0);"
    "ALTER TABLE account ADD COLUMN frozen INTEGER NOT NULL DEFAULT 0 CHECK (frozen IN (0, 1));";

/* Heads of the journal that the bank has signed, and the certificates of the keys that it did it
 * with: a receipt that was given out stays what it is. */
static const char step_6[] =
    "CREATE TABLE head_signer ("
    "  sha256 BLOB PRIMARY KEY CHECK (length(sha256) = 32), der BLOB NOT NULL) STRICT;"
    "CREATE TABLE head ("
    "  journal INTEGER PRIMARY KEY REFERENCES journal (id),"
    "  text BLOB NOT NULL, signature BLOB NOT NULL,"
    "  signer BLOB NOT NULL REFERENCES head_signer (sha256)) STRICT;"
    "CREATE TRIGGER head_signer_update BEFORE UPDATE ON head_signer"
    "  BEGIN SELECT RAISE (ABORT, 'heads of the journal are append-only'); END;"
    "CREATE TRIGGER head_signer_delete BEFORE DELETE ON head_signer"
    "  BEGIN SELECT RAISE (ABORT, 'heads of the journal are append-only'); END;"
    "CREATE TRIGGER head_update BEFORE UPDATE ON head"
    "  BEGIN SELECT RAISE (ABORT, 'heads of the journal are append-only'); END;"
    "CREATE TRIGGER head_delete BEFORE DELETE ON head"
    "  BEGIN SELECT RAISE (ABORT, 'heads of the journal are append-only'); END;";

/* Certificates that were renewed stay, because orders were signed by them; and what is revoked, or
 * held (6) while its card is blocked (ledger_revoke.h). When a card of the time before was, nobody
 * knows: not before it was issued. A certificate's number is its bytes 16 to 24 in all that the
 * bank's CA ever made: two lengths of four bytes, the version, and a number of nine (bank/ca.c). */
static const char step_7[] =
    "CREATE TABLE certificate_7 ("
    "  sha256 BLOB PRIMARY KEY CHECK (length(sha256) = 32),"
    "  card BLOB NOT NULL REFERENCES card (serial),"
    "  kind TEXT NOT NULL CHECK (kind IN ('tls', 'order', 'piv')),"
    "  slot INTEGER NOT NULL, der BLOB NOT NULL, replaced INTEGER) STRICT;"
    "INSERT INTO certificate_7 SELECT sha256, card, kind, slot, der, NULL FROM certificate;"
    "DROP TABLE certificate;"
    "ALTER TABLE certificate_7 RENAME TO certificate;"
    "CREATE INDEX certificate_card ON certificate (card, slot);"
    "CREATE UNIQUE INDEX certificate_now ON certificate (card, slot) WHERE replaced IS NULL;"
    "CREATE INDEX certificate_number ON certificate (substr(der, 16, 9));"
    "CREATE TABLE revocation ("
    "  card BLOB PRIMARY KEY REFERENCES card (serial),"
    "  reason INTEGER NOT NULL CHECK (reason IN (0, 1, 3, 4, 5, 6, 9)),"
    "  time INTEGER NOT NULL) STRICT;"
    "INSERT INTO revocation SELECT serial, CASE status WHEN 'blocked' THEN 6 ELSE 5 END, since"
    "  FROM card WHERE status IN ('blocked', 'terminated');"
    "CREATE TRIGGER revocation_update BEFORE UPDATE ON revocation"
    "  WHEN OLD.reason <> 6 OR NEW.card <> OLD.card"
    "  BEGIN SELECT RAISE (ABORT, 'what is revoked stays revoked'); END;"
    "CREATE TRIGGER revocation_delete BEFORE DELETE ON revocation WHEN OLD.reason <> 6"
    "  BEGIN SELECT RAISE (ABORT, 'what is revoked stays revoked'); END;"
    "INSERT INTO setting VALUES ('crl-number', '0');";

/* What holders ask of their cards' lists of payees, and what happened to them besides money, which
 * the journal tells. */
static const char step_8[] =
    "CREATE TABLE payee_request ("
    "  id INTEGER PRIMARY KEY, card BLOB NOT NULL REFERENCES management (card),"
    "  action TEXT NOT NULL CHECK (action IN ('add', 'remove')),"
    "  account TEXT NOT NULL, name TEXT NOT NULL, asked INTEGER NOT NULL,"
    "  status TEXT NOT NULL CHECK (status IN ('open', 'confirmed', 'refused')),"
    "  decided INTEGER NOT NULL, words TEXT NOT NULL) STRICT;"
    "CREATE UNIQUE INDEX payee_request_open ON payee_request (card, action, account)"
    "  WHERE status = 'open';"
    "CREATE INDEX payee_request_card ON payee_request (card, id);"
    "CREATE TRIGGER payee_request_update BEFORE UPDATE ON payee_request"
    "  WHEN OLD.status <> 'open' OR NEW.id <> OLD.id OR NEW.card <> OLD.card"
    "    OR NEW.action <> OLD.action OR NEW.account <> OLD.account OR NEW.name <> OLD.name"
    "    OR NEW.asked <> OLD.asked"
    "  BEGIN SELECT RAISE (ABORT, 'requests are append-only'); END;"
    "CREATE TRIGGER payee_request_delete BEFORE DELETE ON payee_request"
    "  BEGIN SELECT RAISE (ABORT, 'requests are append-only'); END;"
    "CREATE TABLE event ("
    "  id INTEGER PRIMARY KEY, customer INTEGER NOT NULL REFERENCES customer (id),"
    "  time INTEGER NOT NULL, kind TEXT NOT NULL, card BLOB NOT NULL,"
    "  account TEXT NOT NULL, name TEXT NOT NULL, words TEXT NOT NULL) STRICT;"
    "CREATE INDEX event_customer ON event (customer, id);"
    "CREATE TRIGGER event_update BEFORE UPDATE ON event"
    "  BEGIN SELECT RAISE (ABORT, 'events are append-only'); END;"
    "CREATE TRIGGER event_delete BEFORE DELETE ON event"
    "  BEGIN SELECT RAISE (ABORT, 'events are append-only'); END;";

/* What the bank does without a card's order: entries of more kinds, each with who did it and on
 * what grounds; holds; and manual bookings that wait for a second person. */
static const char step_9[] =
    "CREATE TABLE journal_2 ("
    "  id INTEGER PRIMARY KEY, time INTEGER NOT NULL,"
    "  kind TEXT NOT NULL CHECK (kind IN ('deposit', 'payment', 'hold', 'capture', 'release',"
    "    'posting', 'reversal', 'admin')),"
    "  reference TEXT NOT NULL) STRICT;"
    "INSERT INTO journal_2 SELECT id, time, kind, reference FROM journal;"
    "DROP TABLE journal;"
    "ALTER TABLE journal_2 RENAME TO journal;"
    "CREATE TRIGGER journal_update BEFORE UPDATE ON journal"
    "  BEGIN SELECT RAISE (ABORT, 'the journal is append-only'); END;"
    "CREATE TRIGGER journal_delete BEFORE DELETE ON journal"
    "  BEGIN SELECT RAISE (ABORT, 'the journal is append-only'); END;"
    "CREATE TRIGGER journal_chained BEFORE INSERT ON journal"
    "  WHEN (SELECT max(id) FROM journal) IS NOT (SELECT max(journal) FROM chain)"
    "  BEGIN SELECT RAISE (ABORT, 'the last entry has no hash; is an older cardwired at work?'); "
    "END;"
    "CREATE TABLE admin_log ("
    "  journal INTEGER PRIMARY KEY REFERENCES journal (id),"
    "  who TEXT NOT NULL CHECK (who <> ''), approver TEXT NOT NULL CHECK (approver <> who),"
    "  what TEXT NOT NULL, subject TEXT NOT NULL, key TEXT UNIQUE,"
    "  refers INTEGER REFERENCES journal (id)) STRICT;"
    "CREATE INDEX admin_log_refers ON admin_log (refers) WHERE refers IS NOT NULL;"
    "CREATE TRIGGER admin_log_update BEFORE UPDATE ON admin_log"
    "  BEGIN SELECT RAISE (ABORT, 'the log is append-only'); END;"
    "CREATE TRIGGER admin_log_delete BEFORE DELETE ON admin_log"
    "  BEGIN SELECT RAISE (ABORT, 'the log is append-only'); END;"
    "CREATE TABLE hold ("
    "  journal INTEGER PRIMARY KEY REFERENCES journal (id),"
    "  account INTEGER NOT NULL REFERENCES account (id),"
    "  payee INTEGER NOT NULL REFERENCES account (id) CHECK (payee <> account),"
    "  amount INTEGER NOT NULL CHECK (amount > 0),"
    "  captured INTEGER NOT NULL DEFAULT 0 CHECK (captured BETWEEN 0 AND amount),"
    "  expiry INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'open'"
    "    CHECK (state IN ('open', 'captured', 'voided', 'expired'))) STRICT;"
    "CREATE INDEX hold_open ON hold (expiry) WHERE state = 'open';"
    "CREATE TRIGGER hold_update BEFORE UPDATE ON hold"
    "  WHEN OLD.state <> 'open' OR NEW.journal <> OLD.journal OR NEW.account <> OLD.account"
    "    OR NEW.payee <> OLD.payee OR NEW.amount <> OLD.amount OR NEW.expiry <> OLD.expiry"
    "    OR NEW.captured < OLD.captured"
    "  BEGIN SELECT RAISE (ABORT, 'a hold that was released stays released'); END;"
    "CREATE TRIGGER hold_delete BEFORE DELETE ON hold"
    "  BEGIN SELECT RAISE (ABORT, 'holds are append-only'); END;"
    "CREATE TABLE proposal ("
    "  journal INTEGER PRIMARY KEY REFERENCES journal (id),"
    "  payer INTEGER NOT NULL REFERENCES account (id),"
    "  payee INTEGER NOT NULL REFERENCES account (id) CHECK (payee <> payer),"
    "  amount INTEGER NOT NULL CHECK (amount > 0), reference TEXT NOT NULL,"
    "  reverses INTEGER REFERENCES journal (id),"
    "  expiry INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'pending'"
    "    CHECK (state IN ('pending', 'approved', 'rejected', 'expired'))) STRICT;"
    "CREATE INDEX proposal_pending ON proposal (expiry) WHERE state = 'pending';"
    "CREATE TRIGGER proposal_update BEFORE UPDATE ON proposal"
    "  WHEN OLD.state <> 'pending' OR NEW.journal <> OLD.journal OR NEW.payer <> OLD.payer"
    "    OR NEW.payee <> OLD.payee OR NEW.amount <> OLD.amount"
    "    OR NEW.reference <> OLD.reference OR NEW.reverses IS NOT OLD.reverses"
    "    OR NEW.expiry <> OLD.expiry"
    "  BEGIN SELECT RAISE (ABORT, 'what was decided stays decided'); END;"
    "CREATE TRIGGER proposal_delete BEFORE DELETE ON proposal"
    "  BEGIN SELECT RAISE (ABORT, 'proposals are append-only'); END;";

const char *const db_steps[LEDGER_SCHEMA] = {step_1, step_2, step_3, step_4, step_5,
                                             step_6, step_7, step_8, step_9};
