/* cal.h - civil time in UTC from seconds since 1970 and back, without the C library's time zone
 * machinery, so that the card can use it. Proleptic Gregorian calendar, years 1970 to 9999. */
#ifndef CARDWIRE_BASE_CAL_H
#define CARDWIRE_BASE_CAL_H

#include "base/buf.h"
#include "base/err.h"

/* 9999-12-31T23:59:59Z, the last second that RFC 5280 §4.1.2.5.2 can express. */
#define CAL_MAX INT64_C(253402300799)

struct cal_time {
    int year, month, day; /* 1970..9999, 1..12, 1..31 */
    int hour, minute, second;
};

/* CW_ERR_ARG outside 0..CAL_MAX. */
CW_MUST_USE enum cw_err cal_from_unix(int64_t seconds, struct cal_time *out);
/* CW_ERR_FORMAT when a field is out of range (second 60 too: certificates may not carry it). */
CW_MUST_USE enum cw_err cal_to_unix(const struct cal_time *t, int64_t *out);
/* Writes 2026-11-24T10:00:00Z (20 bytes); a time out of range turns the writer bad. */
void cal_put(struct buf_writer *w, int64_t seconds);
/* Reads exactly that form. */
CW_MUST_USE enum cw_err cal_parse(const char *text, size_t len, int64_t *out);

#endif
