/* ISO/IEC 14443-4 (proto/ats.h, proto/tcl.h) against known frames, and its rules, each by the
 * frames that it is about. */
#include "tests/unit/unit.h"

#include "proto/tcl_card.h"
#include "proto/tcl_reader.h"

#include <string.h>

static const uint8_t ats_ours[] = {0x06, 0x78, 0x77, 0x80, 0x02, 0x80};
static uint8_t buffer[600];
static struct tcl_card card;
static struct tcl_reader reader;

/* A frame made of a text of hexadecimal digits; CRC_A is put behind it. */
static size_t frame_of(const char *hex, uint8_t *out)
{
    size_t n = 0;
    for (; hex[0] != 0; hex += 2) {
        unsigned v = 0;
        for (int i = 0; i < 2; i++)
            v = v << 4 | (unsigned)(hex[i] <= '9' ? hex[i] - '0' : hex[i] - 'A' + 10);
        out[n++] = (uint8_t)v;
    }
    return tcl_seal(out, n);
}

static void assert_frame(const uint8_t *frame, size_t len, const char *hex)
{
    uint8_t expected[TCL_FRAME_MAX];
    size_t n = frame_of(hex, expected);
    assert_int_equal(len, n);
    assert_memory_equal(frame, expected, n);
}

static void card_gets(const char *hex, enum tcl_do what, const char *answer)
{
    uint8_t bytes[TCL_FRAME_MAX];
    size_t n = frame_of(hex, bytes);
    assert_int_equal(tcl_card_frame(&card, bytes, n, true), what);
    if (answer != NULL)
        assert_frame(card.out, card.out_len, answer);
}

static void card_select(const char *rats)
{
    assert_int_equal(tcl_card_start(&card, ats_ours, sizeof ats_ours, buffer, sizeof buffer),
                     CW_OK);
    card_gets(rats, TCL_SEND, "067877800280");
}

static void reader_gets(const char *hex, enum tcl_reader_do what, const char *next)
{
    uint8_t bytes[TCL_FRAME_MAX];
    size_t n = frame_of(hex, bytes);
    assert_int_equal(tcl_reader_frame(&reader, bytes, n, true), what);
    if (next != NULL)
        assert_frame(reader.out, reader.out_len, next);
}

static void reader_select(void)
{
    struct tcl_reader_params p = {.no_cid = true};
    tcl_reader_start(&reader, &p);
    assert_int_equal(tcl_reader_activate(&reader), TCLR_SEND);
    assert_frame(reader.out, reader.out_len, "E000");
    reader_gets("027000", TCLR_SEND, "E000"); /* TL says less than there is */
    reader_gets("0270", TCLR_SEND, "E000");   /* T0 names more than there is */
    reader_gets("0200", TCLR_DONE, NULL);     /* FSC 16 */
}

static void test_crc_a(void **state)
{
    (void)state;
    static const uint8_t known[][5] = {{2, 0xE0, 0x50, 0xBC, 0xA5},
                                       {2, 0xE0, 0x80, 0x31, 0x73},
                                       {2, 0x50, 0x00, 0x57, 0xCD},
                                       {1, 0xC2, 0xE0, 0xB4}};
    for (size_t i = 0; i < 4; i++)
        assert_true(tcl_intact(known[i] + 1, known[i][0] + 2u));
    assert_int_equal(tcl_crc_a((const uint8_t *)"\0\0", 2), 0x1EA0); /* ISO/IEC 14443-3 annex B */
    assert_int_equal(tcl_crc_a((const uint8_t *)"\x12\x34", 2), 0xCF26);
}

static void test_ats(void **state)
{
    (void)state;
    struct ats a;
    struct ats_meaning m;
    uint8_t out[ATS_MAX];
    size_t len;
    static const uint8_t atr[] = {0x3B, 0x81, 0x80, 0x01, 0x80, 0x80};
    assert_int_equal(ats_parse(ats_ours, sizeof ats_ours, &a), CW_OK);
    ats_read(&a, &m);
    assert_true(m.fsc == 256 && m.ds == 7 && m.dr == 7 && !m.same && m.fwi == 8 && m.sfgi == 0);
    assert_true(m.cid && !m.nad);
    assert_int_equal(ats_build(&a, out, sizeof out, &len), CW_OK);
    assert_memory_equal(out, ats_ours, sizeof ats_ours);
    assert_int_equal(ats_atr(&a, out, &len), CW_OK);
    assert_int_equal(len, sizeof atr);
    assert_memory_equal(out, atr, len);
    assert_int_equal(ats_parse((const uint8_t *)"\x01", 1, &a), CW_OK);
    ats_read(&a, &m);
    assert_true(m.fsc == 32 && m.fwi == 4 && m.cid && !m.nad && m.ds == 0);
    assert_int_equal(ats_parse((const uint8_t *)"\x04\x3C\x0F\xFF", 4, &a), CW_OK);
    ats_read(&a, &m); /* FSCI 12, TA with b4, FWI and SFGI 15 */
    assert_true(m.fsc == 256 && m.dr == 0 && m.fwi == 4 && m.sfgi == 0);
    assert_int_equal(ats_parse(ats_ours, 5, &a), CW_ERR_LENGTH);
}

static void test_times(void **state)
{
    (void)state;
    assert_int_equal(tcl_fc_us(tcl_fwt_fc(0)), 303);
    assert_int_equal(tcl_fwt_fc(14), TCL_FWT_MAX_FC);
    assert_int_equal(tcl_fwt_fc(15), 65536);
    assert_int_equal(tcl_fwt_temp_fc(4, 3), 3 * 65536);
    assert_int_equal(tcl_fwt_temp_fc(13, 59), TCL_FWT_MAX_FC);
    assert_int_equal(tcl_sfgt_fc(0), TCL_FRAME_DELAY_FC);
    assert_int_equal(tcl_frame_fc(4, 0), 38 * 128);
}

static void test_card_activation(void **state)
{
    (void)state;
    assert_int_equal(tcl_card_start(&card, ats_ours, sizeof ats_ours, buffer, sizeof buffer),
                     CW_OK);
    card_gets("E08F", TCL_WAIT, NULL); /* CID 15 */
    card_gets("02", TCL_WAIT, NULL);
    card_select("E081");
    card_gets("D1110B", TCL_SEND, "D1"); /* 424 to the reader, 848 from it */
    assert_true(card.dsi == 2 && card.dri == 3);
    card_gets("D11100", TCL_WAIT, NULL); /* once */
    card_gets("E081", TCL_WAIT, NULL);
    card_select("E081");
    card_gets("BA01", TCL_SEND, "AB01"); /* presence check, method 2 */
    card_gets("D1110B", TCL_WAIT, NULL); /* only after the ATS */
    card_gets("B2", TCL_WAIT, NULL);     /* without its CID */
    card_gets("BA02", TCL_WAIT, NULL);   /* another's */
    card_gets("F801", TCL_WAIT, NULL);   /* S(PARAMETERS) */
    card_gets("0A0100", TCL_COMMAND, NULL);
}

static void test_card_rules(void **state)
{
    (void)state;
    static const uint8_t answer[20] = {1, 2, 3};
    card_select("E000");                 /* FSD 16: 13 bytes a block */
    card_gets("1200A4", TCL_SEND, "A2"); /* rule 2 */
    card_gets("1200A4", TCL_WAIT, NULL); /* twice is once */
    card_gets("B2", TCL_SEND, "A2");     /* rule 11 */
    card_gets("B3", TCL_SEND, "A2");     /* rule 12: the next block is not here */
    card_gets("0304", TCL_COMMAND, NULL);
    assert_int_equal(card.command_len, 3);
    assert_memory_equal(buffer, "\x00\xA4\x04", 3);
    card_gets("B3", TCL_WAIT, NULL);                          /* at work, it hears nothing */
    assert_int_equal(tcl_card_more_time(&card, 5), TCL_SEND); /* rule 9 */
    assert_frame(card.out, card.out_len, "F205");
    card_gets("B3", TCL_SEND, "F205");
    card_gets("F206", TCL_WAIT, NULL);
    card_gets("F205", TCL_RESUME, NULL);
    assert_int_equal(tcl_card_answer(&card, answer, sizeof answer), TCL_SEND);
    assert_frame(card.out, card.out_len, "1301020300000000000000000000");
    card_gets("A3", TCL_SEND, "1301020300000000000000000000"); /* rule 11 */
    card_gets("A2", TCL_SEND, "0200000000000000");             /* rule 13 */
    card_gets("B2", TCL_SEND, "0200000000000000");
    card_gets("03", TCL_SEND, "03");   /* presence check, method 1; rule 10 */
    card_gets("03FF", TCL_WAIT, NULL); /* same number, other bytes: out of step */
    card_gets("B3", TCL_WAIT, NULL);
    card_gets("C2", TCL_HALT, "C2");
}

static void test_card_garbage(void **state)
{
    (void)state;
    uint8_t bytes[TCL_FRAME_MAX] = {0};
    card_select("E080");
    for (size_t n = 0; n < sizeof bytes; n++)
        assert_int_equal(tcl_card_frame(&card, bytes, n, true), TCL_WAIT);
    for (unsigned pcb = 0; pcb < 256; pcb++) {
        bytes[0] = (uint8_t)pcb;
        assert_int_equal(tcl_card_frame(&card, bytes, tcl_seal(bytes, 1), false), TCL_WAIT);
    }
    card_gets("0200", TCL_COMMAND, NULL);
}

static void test_reader_rules(void **state)
{
    (void)state;
    static const uint8_t command[20] = {0x00, 0xA4};
    uint8_t answer[40];
    reader_select();
    assert_int_equal(tcl_reader_command(&reader, command, 20, answer, sizeof answer), TCLR_SEND);
    assert_frame(reader.out, reader.out_len, "1200A40000000000000000000000");
    assert_int_equal(tcl_reader_silence(&reader), TCLR_SEND); /* rule 4 */
    assert_frame(reader.out, reader.out_len, "B2");
    reader_gets("A3", TCLR_SEND, "1200A40000000000000000000000"); /* rule 6 */
    reader_gets("A2", TCLR_SEND, "0300000000000000");             /* rule 7 */
    reader_gets("F2C2", TCLR_SEND, "F202");                       /* rule 3 */
    assert_int_equal(reader.wait_fc, tcl_fwt_temp_fc(4, 2) + TCL_FWT_DELTA_FC);
    reader_gets("0201", TCLR_SEND, "B3"); /* wrong number */
    reader_gets("1301", TCLR_SEND, "A2");
    assert_int_equal(tcl_reader_silence(&reader), TCLR_SEND); /* rule 5 */
    assert_frame(reader.out, reader.out_len, "A2");
    reader_gets("0202", TCLR_DONE, NULL);
    assert_int_equal(reader.response_len, 2);
    assert_memory_equal(answer, "\x01\x02", 2);
    assert_int_equal(tcl_reader_command(&reader, command, 2, answer, sizeof answer), TCLR_SEND);
    assert_frame(reader.out, reader.out_len, "0300A4");
    for (unsigned i = 0; i < TCL_RETRIES; i++)
        assert_int_equal(tcl_reader_silence(&reader), TCLR_SEND);
    assert_int_equal(tcl_reader_silence(&reader), TCLR_FAILED);
    reader_select();
    assert_int_equal(tcl_reader_deselect(&reader), TCLR_SEND);
    assert_int_equal(tcl_reader_silence(&reader), TCLR_SEND); /* rule 8 */
    reader_gets("C2", TCLR_DONE, NULL);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc_a),        cmocka_unit_test(test_ats),
        cmocka_unit_test(test_times),        cmocka_unit_test(test_card_activation),
        cmocka_unit_test(test_card_rules),   cmocka_unit_test(test_card_garbage),
        cmocka_unit_test(test_reader_rules),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
