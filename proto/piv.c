#include "proto/piv.h"

#include "proto/ber.h"

#include <string.h>

const uint8_t piv_aid[PIV_AID_LEN] = {0xA0, 0x00, 0x00, 0x03, 0x08, 0x00,
                                      0x00, 0x10, 0x00, 0x01, 0x00};

uint8_t piv_certificate_of(uint8_t ref)
{
    switch (ref) {
    case PIV_REF_AUTH:
        return PIV_OBJECT_AUTH;
    case PIV_REF_SIGNATURE:
        return PIV_OBJECT_SIGNATURE;
    case PIV_REF_MANAGEMENT:
        return PIV_OBJECT_MANAGEMENT;
    case PIV_REF_CARD:
        return PIV_OBJECT_CARD;
    default:
        return 0;
    }
}

void piv_chuid_put(struct buf_writer *w, const uint8_t serial[PIV_SERIAL_LEN], const char *expiry)
{
    static const uint8_t fasc_n[] = {0xD4, 0xE7, 0x39, 0xDA, 0x73, 0x9C, 0xED, 0x39, 0xCE,
                                     0x73, 0x9D, 0x83, 0x68, 0x58, 0x21, 0x08, 0x42, 0x10,
                                     0x84, 0x21, 0xC8, 0x42, 0x10, 0xC3, 0xEB};
    uint8_t guid[16] = {[6] = 0x80, [8] = 0x80};
    memcpy(guid, serial, 6);
    memcpy(guid + 14, serial + 6, 2);
    ber_put_header(w, PIV_TAG_DATA, 2 + sizeof fasc_n + 2 + sizeof guid + 2 + 8 + 2 + 2);
    ber_put(w, 0x30, fasc_n, sizeof fasc_n);
    ber_put(w, 0x34, guid, sizeof guid);
    ber_put(w, 0x35, expiry, 8);
    ber_put_header(w, 0x3E, 0);
    ber_put_header(w, 0xFE, 0);
}

void piv_ccc_put(struct buf_writer *w, const uint8_t serial[PIV_SERIAL_LEN])
{
    static const uint8_t scheme[] = {0xA0, 0x00, 0x00, 0x01, 0x16, 0xFF, 0x02};
    static const uint8_t rest[] = {0xF1, 0x01, 0x21, 0xF2, 0x01, 0x21, 0xF3, 0x00, 0xF4, 0x01,
                                   0x00, 0xF5, 0x01, 0x10, 0xF6, 0x00, 0xF7, 0x00, 0xFA, 0x00,
                                   0xFB, 0x00, 0xFC, 0x00, 0xFD, 0x00, 0xFE, 0x00};
    uint8_t id[14] = {0};
    memcpy(id, serial, PIV_SERIAL_LEN);
    ber_put_header(w, PIV_TAG_DATA, 2 + sizeof scheme + sizeof id + sizeof rest);
    ber_put_header(w, 0xF0, sizeof scheme + sizeof id);
    buf_put_bytes(w, scheme, sizeof scheme);
    buf_put_bytes(w, id, sizeof id);
    buf_put_bytes(w, rest, sizeof rest);
}

void piv_key_history_put(struct buf_writer *w)
{
    static const uint8_t history[] = {PIV_TAG_DATA, 0x08, 0xC1, 0x01, 0x00,
                                      0xC2,         0x01, 0x00, 0xFE, 0x00};
    buf_put_bytes(w, history, sizeof history);
}

void piv_discovery_put(struct buf_writer *w)
{
    ber_put_header(w, PIV_TAG_DISCOVERY, 2 + PIV_AID_LEN + 5);
    ber_put(w, 0x4F, piv_aid, PIV_AID_LEN);
    buf_put_u8(w, 0x5F);
    buf_put_u8(w, 0x2F);
    buf_put_u8(w, 2);
    buf_put_u16(w, 0x4000);
}
