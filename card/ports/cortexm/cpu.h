/* cpu.h - the registers of an ARMv7-M or ARMv8-M core that the port touches (ARM DDI 0403E §B3, ARM
 * DDI 0553B §D1.2), so that no vendor's header is needed. */
#ifndef CARDWIRE_CARD_PORTS_CORTEXM_CPU_H
#define CARDWIRE_CARD_PORTS_CORTEXM_CPU_H

#include <stdint.h>

#define REG32(address) (*(volatile uint32_t *)(uintptr_t)(address))
#define REG8(address)  (*(volatile uint8_t *)(uintptr_t)(address))

#define NVIC_ISER(n) REG32(0xE000E100u + 4u * (n))
#define NVIC_IPR(n)  REG8(0xE000E400u + (n))
#define SCB_SHCSR    REG32(0xE000ED24u)
#define MPU_CTRL     REG32(0xE000ED94u)
#define MPU_RNR      REG32(0xE000ED98u)
#define MPU_RBAR     REG32(0xE000ED9Cu)
#define MPU_RASR     REG32(0xE000EDA0u) /* ARMv7-M */
#define MPU_RLAR     REG32(0xE000EDA0u) /* ARMv8-M */
#define MPU_MAIR0    REG32(0xE000EDC0u) /* ARMv8-M */

#define SHCSR_FAULTS                                                                               \
    0x00070000u            /* UsageFault, BusFault, MemManage by themselves, at priority 0         \
                            */
#define IRQ_PRIORITY 0x80u /* of every interrupt: none comes into another */

static inline void cpu_irq_enable(unsigned irq)
{
    NVIC_IPR(irq) = IRQ_PRIORITY;
    NVIC_ISER(irq / 32u) = 1u << (irq % 32u);
}

/* Between the two no interrupt comes; a fault does. By BASEPRI and not by PRIMASK, under which a
 * fault is a HardFault, and a HardFault that cannot stack is the end. They do not nest. */
static inline void cpu_lock(void)
{
    __asm__ volatile("msr basepri, %0\n\tisb" : : "r"(IRQ_PRIORITY) : "memory");
}

static inline void cpu_unlock(void)
{
    __asm__ volatile("msr basepri, %0" : : "r"(0) : "memory");
}

static inline void cpu_sleep(void)
{
    __asm__ volatile("dsb\n\twfi" : : : "memory");
}

/* Sleeps until an interrupt has come, unless *flag is set already. */
static inline void cpu_wait_for(const volatile _Bool *flag)
{
    __asm__ volatile("cpsid i" : : : "memory");
    if (!*flag)
        cpu_sleep(); /* wakes under PRIMASK too */
    __asm__ volatile("cpsie i\n\tisb" : : : "memory");
}

static inline void cpu_barrier(void)
{
    __asm__ volatile("dsb\n\tisb" : : : "memory");
}

#endif
