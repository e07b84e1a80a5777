#include "bank/commands.h"

#include <stdio.h>

enum cw_err commands_print_json(json_t *value, struct say *why)
{
    json_t *all = json_pack("{s:b}", "ok", 1);
    bool good = all != NULL && value != NULL && json_object_update(all, value) == 0 &&
                json_dumpf(all, stdout, JSON_COMPACT) == 0 && putchar('\n') != EOF;
    json_decref(all);
    json_decref(value);
    return good ? CW_OK : say_fail(why, CW_ERR_IO, "the answer could not be written");
}

const char *commands_money_text(int64_t amount, const char currency[4], char out[32])
{
    struct buf_writer w;
    buf_writer_init(&w, (uint8_t *)out, 31);
    order_amount_put(&w, amount, currency);
    out[w.bad ? 0 : w.len] = '\0';
    return w.bad ? "?" : out;
}

const char *commands_time_text(int64_t seconds, char out[32])
{
    struct buf_writer w;
    buf_writer_init(&w, (uint8_t *)out, 31);
    cal_put(&w, seconds);
    out[w.bad ? 0 : w.len] = '\0';
    return w.bad ? "?" : out;
}

void commands_list_add(struct commands_list *list, json_t *item)
{
    json_array_append_new(list->items, item);
}

enum cw_err commands_list_print(struct commands_list *list, const char *name, enum cw_err err,
                                struct say *why)
{
    if (list->items != NULL && err == CW_OK)
        return commands_print_json(json_pack("{s:o}", name, list->items), why);
    json_decref(list->items);
    return err;
}
