/* string.S - what is called of <string.h> on few bytes and public ones, where size counts and speed
 * does not: newlib's are tuned for long strings and larger by 600 bytes. */
    .syntax unified
    .thumb

    .section .text.strcmp, "ax"
    .global strcmp
    .type   strcmp, %function
    .thumb_func
strcmp:
    ldrb    r2, [r0], #1
    ldrb    r3, [r1], #1
    cbz     r2, 1f
    cmp     r2, r3
    beq     strcmp
1:  subs    r0, r2, r3
    bx      lr

    .section .text.strchr, "ax"
    .global strchr
    .type   strchr, %function
    .thumb_func
strchr:
    uxtb    r1, r1
1:  ldrb    r2, [r0]
    cmp     r2, r1
    it      eq
    bxeq    lr
    adds    r0, #1
    cmp     r2, #0
    bne     1b
    movs    r0, #0
    bx      lr
