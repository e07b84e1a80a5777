/* tcl.c - frames of ISO/IEC 14443-4 as bytes, and the times of its line. */
#include "proto/tcl.h"

#include "base/check.h"

#include <string.h>

#define PPS0_PLAIN 0x01u
#define PPS0_PPS1  0x11u

enum tcl_kind tcl_kind(uint8_t pcb)
{
    return (pcb & 0x80u) == 0 ? TCL_BLOCK_I : (pcb & 0x40u) == 0 ? TCL_BLOCK_R : TCL_BLOCK_S;
}

uint16_t tcl_crc_a(const uint8_t *bytes, size_t len)
{
    return check_crc16(0x6363, bytes, len);
}

size_t tcl_seal(uint8_t *bytes, size_t len)
{
    uint16_t crc = tcl_crc_a(bytes, len);
    bytes[len] = (uint8_t)crc;
    bytes[len + 1] = (uint8_t)(crc >> 8);
    return len + TCL_CRC_LEN;
}

bool tcl_intact(const uint8_t *bytes, size_t len)
{
    return len > TCL_CRC_LEN &&
           tcl_crc_a(bytes, len - TCL_CRC_LEN) == (uint16_t)(bytes[len - 2] | bytes[len - 1] << 8);
}

/* Reserved bits, and INF where there is none */
static bool well_formed(uint8_t pcb, const uint8_t *inf, size_t len)
{
    switch (tcl_kind(pcb)) {
    case TCL_BLOCK_I:
        return (pcb & 0xE2u) == TCL_I;
    case TCL_BLOCK_R:
        return (pcb & 0xE6u) == TCL_R_ACK && len == 0;
    case TCL_BLOCK_S:
        break;
    }
    switch (pcb & ~TCL_CID) {
    case TCL_DESELECT:
        return len == 0;
    case TCL_WTX: /* RFU values over 59 are read as 59: §7.3 */
        return len == 1 && (inf[0] & 0x3Fu) != 0;
    default:
        return (pcb & ~TCL_CID) == TCL_PARAMETERS;
    }
}

enum cw_err tcl_parse(const uint8_t *bytes, size_t len, struct tcl_block *out)
{
    struct tcl_block b = {0};
    size_t at = 1;
    if (!tcl_intact(bytes, len))
        return CW_ERR_IO;
    b.pcb = bytes[0];
    bool nad = tcl_kind(b.pcb) == TCL_BLOCK_I && (b.pcb & TCL_NAD) != 0;
    if (len > TCL_FRAME_MAX || len < tcl_overhead(b.pcb))
        return CW_ERR_FORMAT;
    if ((b.pcb & TCL_CID) != 0) {
        if ((bytes[at] & 0x30u) != 0 || (bytes[at] & 0x0Fu) > TCL_CID_MAX)
            return CW_ERR_FORMAT;
        b.power = bytes[at] >> 6;
        b.cid = bytes[at++] & 0x0F;
    }
    if (nad)
        b.nad = bytes[at++];
    b.inf = bytes + at;
    b.len = (uint16_t)(len - at - TCL_CRC_LEN);
    if (!well_formed(b.pcb, b.inf, b.len))
        return CW_ERR_FORMAT;
    *out = b;
    return CW_OK;
}

size_t tcl_overhead(uint8_t pcb)
{
    bool nad = tcl_kind(pcb) == TCL_BLOCK_I && (pcb & TCL_NAD) != 0;
    return 1u + ((pcb & TCL_CID) != 0 ? 1u : 0u) + (nad ? 1u : 0u) + TCL_CRC_LEN;
}

size_t tcl_write(const struct tcl_block *block, uint8_t *out)
{
    size_t at = 0;
    out[at++] = block->pcb;
    if ((block->pcb & TCL_CID) != 0)
        out[at++] = (uint8_t)(block->power << 6 | block->cid);
    if (tcl_kind(block->pcb) == TCL_BLOCK_I && (block->pcb & TCL_NAD) != 0)
        out[at++] = block->nad;
    if (block->len > 0)
        memmove(out + at, block->inf, block->len);
    return tcl_seal(out, at + block->len);
}

enum cw_err tcl_rats_parse(const uint8_t *bytes, size_t len, uint8_t *fsdi, uint8_t *cid)
{
    if (!tcl_intact(bytes, len))
        return CW_ERR_IO;
    if (len != TCL_RATS_LEN || bytes[0] != TCL_RATS || (bytes[1] & 0x0Fu) > TCL_CID_MAX)
        return CW_ERR_FORMAT;
    *fsdi = bytes[1] >> 4;
    *cid = bytes[1] & 0x0F;
    return CW_OK;
}

size_t tcl_rats_write(uint8_t fsdi, uint8_t cid, uint8_t *out)
{
    out[0] = TCL_RATS;
    out[1] = (uint8_t)(fsdi << 4 | cid);
    return tcl_seal(out, 2);
}

enum cw_err tcl_pps_parse(const uint8_t *bytes, size_t len, struct tcl_pps *out)
{
    if (!tcl_intact(bytes, len))
        return CW_ERR_IO;
    bool pps1 = len == TCL_PPS_MAX && bytes[1] == PPS0_PPS1;
    if ((bytes[0] & 0xF0u) != TCL_PPSS || (bytes[0] & 0x0Fu) > TCL_CID_MAX ||
        !(pps1 || (len == TCL_PPS_MAX - 1 && bytes[1] == PPS0_PLAIN)) ||
        (pps1 && (bytes[2] & 0xF0u) != 0))
        return CW_ERR_FORMAT;
    out->cid = bytes[0] & 0x0F;
    out->dsi = pps1 ? bytes[2] >> 2 : 0;
    out->dri = pps1 ? bytes[2] & 3u : 0;
    return CW_OK;
}

size_t tcl_pps_write(const struct tcl_pps *pps, uint8_t *out)
{
    out[0] = (uint8_t)(TCL_PPSS | pps->cid);
    out[1] = PPS0_PPS1;
    out[2] = (uint8_t)(pps->dsi << 2 | pps->dri);
    return tcl_seal(out, 3);
}

uint32_t tcl_fwt_fc(uint8_t fwi)
{
    return 4096u << (fwi < 15 ? fwi : 4);
}

uint32_t tcl_fwt_temp_fc(uint8_t fwi, uint8_t wtxm)
{
    uint32_t fwt = tcl_fwt_fc(fwi);
    uint32_t times = wtxm == 0 ? 1 : wtxm < TCL_WTXM_MAX ? wtxm : TCL_WTXM_MAX;
    return fwt > TCL_FWT_MAX_FC / times ? TCL_FWT_MAX_FC : fwt * times;
}

uint32_t tcl_sfgt_fc(uint8_t sfgi)
{
    return sfgi == 0 || sfgi > 14 ? TCL_FRAME_DELAY_FC : (4096u + 384u) << sfgi;
}

uint32_t tcl_frame_fc(size_t len, uint8_t rate)
{
    return ((uint32_t)len * 9u + 2u) * (128u >> rate);
}

uint32_t tcl_fc_us(uint32_t fc)
{
    return (uint32_t)(((uint64_t)fc * 100u + 1355u) / 1356u);
}
