#include "proto/apdu.h"

enum cw_err apdu_parse(const uint8_t *bytes, size_t len, struct apdu_command *out)
{
    struct apdu_command c = {0};
    struct buf_reader r;
    buf_reader_init(&r, bytes, len);
    c.cla = buf_get_u8(&r);
    c.ins = buf_get_u8(&r);
    c.p1 = buf_get_u8(&r);
    c.p2 = buf_get_u8(&r);
    if (r.bad)
        return CW_ERR_LENGTH;
    if (r.left == 0) { /* case 1 */
        *out = c;
        return CW_OK;
    }
    size_t first = buf_get_u8(&r);
    if (r.left == 0) { /* case 2, short */
        c.ne = first == 0 ? APDU_SHORT_NE_MAX : first;
        *out = c;
        return CW_OK;
    }
    if (first == 0) { /* extended: two bytes of Lc or of Le follow */
        c.extended = true;
        size_t second = buf_get_u16(&r);
        if (r.bad)
            return CW_ERR_LENGTH;
        if (r.left == 0) { /* case 2, extended */
            c.ne = second == 0 ? 65536u : second;
            *out = c;
            return CW_OK;
        }
        c.nc = second;
    } else {
        c.nc = first;
    }
    c.data = buf_get_bytes(&r, c.nc);
    if (r.bad || c.nc == 0)
        return CW_ERR_LENGTH;
    if (r.left != 0) { /* case 4 */
        size_t le = c.extended ? buf_get_u16(&r) : buf_get_u8(&r);
        c.ne = le != 0 ? le : c.extended ? 65536u : APDU_SHORT_NE_MAX;
    }
    if (r.bad || r.left != 0)
        return CW_ERR_LENGTH;
    *out = c;
    return CW_OK;
}

enum cw_err apdu_write(const struct apdu_command *cmd, uint8_t *out, size_t cap, size_t *len)
{
    if (cmd->nc > 65535u || cmd->ne > 65536u || (cmd->nc > 0 && cmd->data == NULL))
        return CW_ERR_ARG;
    bool extended = cmd->nc > APDU_SHORT_NC_MAX || cmd->ne > APDU_SHORT_NE_MAX;
    struct buf_writer w;
    buf_writer_init(&w, out, cap);
    buf_put_u8(&w, cmd->cla);
    buf_put_u8(&w, cmd->ins);
    buf_put_u8(&w, cmd->p1);
    buf_put_u8(&w, cmd->p2);
    if (extended)
        buf_put_u8(&w, 0);
    if (cmd->nc > 0) {
        if (extended)
            buf_put_u16(&w, (uint16_t)cmd->nc);
        else
            buf_put_u8(&w, (uint8_t)cmd->nc);
        buf_put_bytes(&w, cmd->data, cmd->nc);
    }
    if (cmd->ne > 0) {
        if (extended)
            buf_put_u16(&w, (uint16_t)cmd->ne); /* 65536 is written as 0000 */
        else
            buf_put_u8(&w, (uint8_t)cmd->ne); /* 256 is written as 00 */
    }
    if (w.bad)
        return CW_ERR_SPACE;
    *len = w.len;
    return CW_OK;
}
