#include "base/cal.h"

#define DAY INT64_C(86400)

/* Days since 1970-01-01 of a civil date; March-based year, as in Howard Hinnant's public-domain
 * "chrono-compatible low-level date algorithms". */
static int64_t days_from_civil(int64_t y, int m, int d)
{
    y -= m <= 2;
    int64_t era = y / 400;
    int64_t yoe = y - era * 400;
    int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + doe - 719468;
}

static int month_days(int year, int month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

enum cw_err cal_from_unix(int64_t seconds, struct cal_time *out)
{
    if (seconds < 0 || seconds > CAL_MAX)
        return CW_ERR_ARG;
    int64_t z = seconds / DAY + 719468;
    int64_t rest = seconds % DAY;
    int64_t era = z / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    int month = (int)(mp < 10 ? mp + 3 : mp - 9);
    *out = (struct cal_time){
        .year = (int)(yoe + era * 400 + (month <= 2)),
        .month = month,
        .day = (int)(doy - (153 * mp + 2) / 5 + 1),
        .hour = (int)(rest / 3600),
        .minute = (int)(rest / 60 % 60),
        .second = (int)(rest % 60),
    };
    return CW_OK;
}

enum cw_err cal_to_unix(const struct cal_time *t, int64_t *out)
{
    if (t->year < 1970 || t->year > 9999 || t->month < 1 || t->month > 12 || t->day < 1 ||
        t->day > month_days(t->year, t->month) || t->hour < 0 || t->hour > 23 || t->minute < 0 ||
        t->minute > 59 || t->second < 0 || t->second > 59)
        return CW_ERR_FORMAT;
    *out = days_from_civil(t->year, t->month, t->day) * DAY + t->hour * 3600 + t->minute * 60 +
           t->second;
    return CW_OK;
}

static void put_padded(struct buf_writer *w, int value, int width)
{
    int scale = 1;
    for (int i = 1; i < width; i++)
        scale *= 10;
    for (; scale > 0; scale /= 10)
        buf_put_u8(w, (uint8_t)('0' + value / scale % 10));
}

void cal_put(struct buf_writer *w, int64_t seconds)
{
    struct cal_time t;
    if (cal_from_unix(seconds, &t) != CW_OK) {
        w->bad = true;
        return;
    }
    put_padded(w, t.year, 4);
    buf_put_u8(w, '-');
    put_padded(w, t.month, 2);
    buf_put_u8(w, '-');
    put_padded(w, t.day, 2);
    buf_put_u8(w, 'T');
    put_padded(w, t.hour, 2);
    buf_put_u8(w, ':');
    put_padded(w, t.minute, 2);
    buf_put_u8(w, ':');
    put_padded(w, t.second, 2);
    buf_put_u8(w, 'Z');
}

static int get_number(struct buf_reader *r, int width, char after)
{
    int v = 0;
    for (int i = 0; i < width; i++) {
        uint8_t c = buf_get_u8(r);
        if (c < '0' || c > '9') {
            r->bad = true;
            return 0;
        }
        v = v * 10 + (c - '0');
    }
    if (buf_get_u8(r) != (uint8_t)after)
        r->bad = true;
    return v;
}

enum cw_err cal_parse(const char *text, size_t len, int64_t *out)
{
    struct buf_reader r;
    struct cal_time t;
    buf_reader_init(&r, (const uint8_t *)text, len);
    t.year = get_number(&r, 4, '-');
    t.month = get_number(&r, 2, '-');
    t.day = get_number(&r, 2, 'T');
    t.hour = get_number(&r, 2, ':');
    t.minute = get_number(&r, 2, ':');
    t.second = get_number(&r, 2, 'Z');
    if (r.bad || r.left != 0)
        return CW_ERR_FORMAT;
    return cal_to_unix(&t, out);
}
