/* startup.S - reset, and every fault: no word of this uses the stack, because a fault may be the
 * stack's. All RAM is wiped on both ways. */
#include "card/ports/cortexm/board.h"
#include "card/ports/cortexm/image.h"

    .syntax unified
    .thumb

    .section .vectors, "a"
    .align 2
    .global vectors
vectors:
    .word   __stack_top
    .word   reset               /* 1 */
    .rept   14                  /* 2 NMI, which is the watchdog's, to 15: faults, and what is never used */
    .word   fault
    .endr
    .set    irq, 0
    .rept   BOARD_IRQ_COUNT
    .if     irq == BOARD_IRQ_LINK
    .word   serve_byte
    .elseif irq == BOARD_IRQ_TIMER
    .word   serve_timer
    .else
    .word   fault
    .endif
    .set    irq, irq + 1
    .endr

    .text
    .global reset
    .type   reset, %function
    .thumb_func
reset:
    cpsid   i
    ldr     r0, =__ram_start
    ldr     r1, =__ram_end
    ldr     r2, =__stack_top
    mov     r3, #0
    ldr     r4, =STACK_PAINT    /* the stack is at the bottom; how deep it was is read off the paint */
1:  str     r4, [r0], #4
    cmp     r0, r2
    bne     1b
2:  str     r3, [r0], #4
    cmp     r0, r1
    bne     2b
    ldr     sp, =__stack_top
#ifdef __ARM_ARCH_8M_MAIN__
    ldr     r0, =__ram_start
    msr     msplim, r0
#endif
    ldr     r0, =__data_start
    ldr     r1, =__data_end
    ldr     r2, =__data_load
3:  cmp     r0, r1
    itt     ne
    ldrne   r3, [r2], #4
    strne   r3, [r0], #4
    bne     3b
    cpsie   i                   /* no interrupt is enabled yet; faults are not held up */
    bl      chip_main
    /* it does not return; if it does, that is a fault */

    .global fault, __stack_chk_fail
    .type   fault, %function
    .type   __stack_chk_fail, %function
    .thumb_func
fault:
    .thumb_func
__stack_chk_fail:               /* a canary (-fstack-protector) is dead */
    cpsid   i
    ldr     r0, =__ram_start
    ldr     r1, =__ram_end
    mov     r3, #0
1:  str     r3, [r0], #4
    cmp     r0, r1
    bne     1b
    dsb
    ldr     r0, =0xE000ED0C     /* AIRCR: key, SYSRESETREQ */
    ldr     r1, =0x05FA0004
    str     r1, [r0]
    dsb
    .global halt
halt:
    b       halt

    .bss
    .align  2
    .global __stack_chk_guard
__stack_chk_guard:
    .space  4
