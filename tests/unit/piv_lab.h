/* piv_lab.h - the PIV application of a card on the table: its issuer, and what a client sends. */
#ifndef CARDWIRE_TESTS_UNIT_PIV_LAB_H
#define CARDWIRE_TESTS_UNIT_PIV_LAB_H

#include "card/piv.h"
#include "card_lab.h"

#define PIV_LAB_PIN "577215"
#define PIV_LAB_PUK "69314718"

/* Object tags, by their last byte */
#define PIV_LAB_CHUID   0x02
#define PIV_LAB_CERT_9A 0x05
#define PIV_LAB_PRINTED 0x09

/* An active card with PIN, PUK and administration key of this algorithm; PIV is selected. */
void piv_lab_init(struct lab *lab, uint8_t algorithm);
/* PIN, PUK and that key, through the issuer's channel; the card is blank or active. */
void piv_lab_issue(struct lab *lab, uint8_t algorithm);
/* The key that a card of the lab has for this algorithm. */
const uint8_t *piv_lab_key(uint8_t algorithm, size_t *len);
/* Power off and on; the card is then in this reader, and PIV is selected. */
void piv_lab_power(struct lab *lab, bool contactless);

uint16_t piv_lab_select(struct lab *lab);
/* One command of class 00, answers up to 256 bytes; longer data goes as a chain. */
uint16_t piv_lab_apdu(struct lab *lab, uint8_t ins, uint8_t p1, uint8_t p2, const void *data,
                      size_t nc, uint8_t *out, size_t *len);
uint16_t piv_lab_verify(struct lab *lab, const char *pin);
/* CHANGE REFERENCE DATA or RESET RETRY COUNTER */
uint16_t piv_lab_two(struct lab *lab, uint8_t ins, uint8_t ref, const char *first,
                     const char *second);
/* VERIFY without a PIN: 9000 or 63Cx */
uint16_t piv_lab_status(struct lab *lab);

/* GET DATA of 5FC1xx; the whole of it, by GET RESPONSE. */
uint16_t piv_lab_get(struct lab *lab, uint8_t object, uint8_t *out, size_t cap, size_t *len);
/* PUT DATA of 5FC1xx: 53 { value } */
uint16_t piv_lab_put(struct lab *lab, uint8_t object, const void *value, size_t len);

/* One block under the administration key, as OpenSSL does it. */
void piv_lab_crypt(uint8_t algorithm, const uint8_t *key, bool encrypt, const uint8_t *in,
                   uint8_t *out);
/* Bytes of a block */
size_t piv_lab_block(uint8_t algorithm);
/* Mutual authentication with the lab's key; the status word that ends it. */
uint16_t piv_lab_admin(struct lab *lab, uint8_t algorithm);

/* GENERATE ASYMMETRIC KEY PAIR; the public key in *key, to be freed. */
uint16_t piv_lab_generate(struct lab *lab, uint8_t ref, uint8_t algorithm, EVP_PKEY **key);
/* GENERAL AUTHENTICATE: 7C { 82, tag data }; the response in out. */
uint16_t piv_lab_use(struct lab *lab, uint8_t ref, uint8_t algorithm, uint8_t tag, const void *data,
                     size_t n, uint8_t *out, size_t *len);

#endif
